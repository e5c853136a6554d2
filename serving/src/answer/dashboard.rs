//! The dashboard: several metrics at one pin, so that all figures on it come from one generation and one vector. Which half put
//! what into it is said of each figure, as several may count the same events.
use std::hash::Hash;
use std::sync::Arc;

use seam_shared::Kind;
use seam_shared::access::Caller;

use crate::Serving;
use crate::answer::kept::Body;
use crate::answer::{Answer, Merged};
use crate::deadline::within;
use crate::json::Json;
use crate::pin::Pin;
use crate::pin::pinned::PinnedView;
use crate::query::{Query, Refusal, Spelling};

/// Members under which the metrics that every deployment should have are found, whatever else is on the dashboard.
const WELL_KNOWN: [(&str, &str); 3] =
    [("events.total", "totalEvents"), ("errors.rate", "errorRate"), ("processing.latency", "processingLatency")];

/// The parameters that the dashboard takes.
const PARAMETERS: [&str; 5] = ["window", "cumulative", "at", "tz", "layer"];

impl Serving {
    /// Answers with those of the configured metrics that the caller may see, over one window each; with `known` that names the
    /// tag, nothing is computed.
    ///
    /// # Errors
    /// As [`Serving::answer`]; `Invalid` for a parameter that the dashboard does not take; `Denied` when there are metrics and
    /// the caller may see none.
    pub async fn dashboard(
        &self,
        caller: &Caller,
        parameters: &[(String, String)],
        known: Option<&str>,
    ) -> Result<Answer, Refusal> {
        if let Some((name, _)) = parameters.iter().find(|(name, _)| !PARAMETERS.contains(&name.as_str())) {
            let detail = format!("the dashboard has no parameter `{name}`; it takes {}", PARAMETERS.join(", "));
            return Err(Refusal::parameter(name, detail).named("unknown-parameter"));
        }
        let config = self.config().clone();
        let mut parameters = parameters.to_vec();
        if !parameters.iter().any(|(name, _)| name == "window" || name == "cumulative") {
            parameters.push(("window".to_owned(), config.dashboard.window.to_string()));
        }
        let mut queries: Vec<Arc<Query>> = Vec::new();
        let mut denied = None;
        for name in &config.dashboard.metrics {
            match self.parse(caller, name, &parameters) {
                Ok(query) => queries.push(Arc::new(query)),
                Err(refusal) if refusal.kind == Kind::Denied => denied = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
        if let Some(refusal) = denied.filter(|_| queries.is_empty()) {
            return Err(refusal);
        }
        let mut spelling = Spelling::default();
        let told: Vec<_> = queries.iter().map(|query| (&query.metric.help, &query.metric.unit)).collect();
        ("dashboard", &config.name, &queries, told).hash(&mut spelling);
        let timeout = queries.first().map_or(config.server.query_timeout, |query| query.timeout);
        within(
            timeout,
            self.compute(&queries, &spelling.0, known, true, |pin, _, queries, merged| {
                Ok(Body { bytes: write(&config.name, queries, pin, &merged).into(), next: None })
            }),
        )
        .await
    }
}

fn write(name: &str, queries: &[Arc<Query>], pin: &Pin, merged: &[Merged]) -> Vec<u8> {
    let mut json = Json::with_capacity(4_096);
    json.open('{').key("name").text(name);
    for (query, (points, _)) in queries.iter().zip(merged) {
        let well_known = WELL_KNOWN.iter().find(|(name, _)| *name == query.metric.name);
        if let (Some((_, member)), [point]) = (well_known, &points.list[..]) {
            json.key(member).value(&point.value);
        }
    }
    json.key("metrics").open('[');
    for (query, (points, shares)) in queries.iter().zip(merged) {
        let metric = &query.metric;
        json.open('{').key("metric").text(&metric.name).key("help").optional_text(metric.help.as_deref());
        json.key("unit").optional_text(metric.unit.as_deref()).key("window").text(&query.window.to_string());
        for point in &points.list {
            json.key("time").time_in(query.zone, point.time);
            json.key("start").time_in(query.zone, query.window_of(point.time).0);
            points.write_value(&mut json, query, point);
        }
        json.key("shares").open('[');
        let asked = |view: &PinnedView| query.terms.iter().any(|term| term.view.id == view.view.id);
        for (view, shares) in pin.views.iter().zip(shares).filter(|(view, _)| asked(view)) {
            json.open('{').key("view").text(&view.view.name);
            shares.write(&mut json, &view.view);
            json.close('}');
        }
        json.close(']').close('}');
    }
    json.close(']').key("meta").open('{');
    pin.stamp.write(json.key("stamp"), None);
    json.close('}').close('}');
    json.into_bytes()
}
