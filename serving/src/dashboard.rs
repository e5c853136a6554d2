//! The dashboard: several metrics at one pin, so that all figures on it come from one generation and one vector.
use std::sync::Arc;

use crate::answer::{Answer, Merged, views_of};
use crate::json::Json;
use crate::pin::PinnedView;
use crate::query::{Query, Refusal};
use crate::stamp::{self, Shares};
use crate::{Serving, present};

/// Members under which the metrics that every deployment should have are found, whatever else is on the dashboard.
const WELL_KNOWN: [(&str, &str); 3] =
    [("events.total", "totalEvents"), ("errors.rate", "errorRate"), ("processing.latency", "processingLatency")];

/// The parameters that the dashboard takes.
const PARAMETERS: [&str; 3] = ["window", "at", "layer"];

impl Serving {
    /// Answers with the configured metrics over one window each; with `known` that names the tag, nothing is computed.
    ///
    /// # Errors
    /// As [`Serving::answer`]; `Invalid` for a parameter that the dashboard does not take.
    pub async fn dashboard(&self, parameters: &[(String, String)], known: Option<&str>) -> Result<Answer, Refusal> {
        if let Some((name, _)) = parameters.iter().find(|(name, _)| !PARAMETERS.contains(&name.as_str())) {
            let detail = format!("the dashboard has no parameter `{name}`; it takes {}", PARAMETERS.join(", "));
            return Err(Refusal::parameter(name, detail).named("unknown-parameter"));
        }
        let config = self.config().clone();
        let mut parameters = parameters.to_vec();
        if !parameters.iter().any(|(name, _)| name == "window") {
            parameters.push(("window".to_owned(), config.dashboard.window.to_string()));
        }
        let parse = |name: &String| self.parse(name, &parameters).map(Arc::new);
        let queries = config.dashboard.metrics.iter().map(parse).collect::<Result<Vec<Arc<Query>>, _>>()?;
        let questions: Vec<String> = queries.iter().map(|query| query.canonical()).collect();
        let question = format!("dashboard\n{}", questions.join("\n"));
        self.compute(&queries, &question, known, |pinned, merged| write(&config.name, &queries, pinned, merged)).await
    }
}

fn write(name: &str, queries: &[Arc<Query>], pinned: &[PinnedView], merged: &[Merged]) -> Vec<u8> {
    let mut json = Json::with_capacity(4_096);
    json.open('{').key("name").text(name);
    for (query, (points, _)) in queries.iter().zip(merged) {
        let well_known = WELL_KNOWN.iter().find(|(name, _)| *name == query.metric.name);
        if let (Some((_, member)), [point]) = (well_known, &points[..]) {
            json.key(member).value(&point.value);
        }
    }
    json.key("metrics").open('[');
    for (query, (points, _)) in queries.iter().zip(merged) {
        let metric = &query.metric;
        json.open('{').key("metric").text(&metric.name).key("help").optional_text(metric.help.as_deref());
        json.key("unit").optional_text(metric.unit.as_deref()).key("window").text(&query.window.to_string());
        for point in points {
            json.key("time").time(point.time).key("start").time(point.time.minus(query.window));
            present::write_value(&mut json, point);
        }
        json.close('}');
    }
    json.close(']').key("meta").open('{').key("stamp");
    let views = views_of(queries.iter().map(Arc::as_ref));
    let mut shares = vec![Shares::default(); views.len()];
    for (_, shared) in merged {
        for (total, share) in shares.iter_mut().zip(shared) {
            total.batch += share.batch;
            total.speed += share.speed;
        }
    }
    let layer = queries.first().map_or(crate::query::Layer::Merged, |query| query.layer);
    stamp::write(&mut json, layer, pinned, &shares);
    json.close('}').close('}');
    json.into_bytes()
}
