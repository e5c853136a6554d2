//! The HTTP API of Prometheus over merged panes: what Grafana, promtool and vmalert ask, answered exactly.
//!
//! A query is parsed, planned (what is outside the subset is refused), read once (all views at one moment), and evaluated. Counters
//! are sums of panes: `increase(x[w])` at t is the sum of the panes that end in (t - w, t], with t rounded down to a pane; nothing
//! is extrapolated, and nothing resets.
pub mod catalogue;
pub mod evaluate;
pub mod failure;
pub mod labels;
pub mod moment;
pub mod panes;
pub mod plan;
pub mod provisioning;
pub mod source;
pub mod syntax;

mod http;
pub(crate) mod write;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use seam_shared::access::Caller;
use seam_shared::log::Partition;
use seam_shared::view::definition::View;
use tokio::time::Instant;

use crate::Serving;
use crate::answer::{Extent, Reading, views_of};
use crate::pin::Pin;
use crate::pin::pinned::PinnedView;
use crate::query::{Query, Spelling};
use catalogue::Catalogue;
use evaluate::{Value, evaluate};
use failure::{Failure, Reason};
use panes::Halved;
use panes::{Ask, Panes, Seen, asks};
use plan::Plan;

/// Moments of a range query, at most.
pub const STEPS_MAX: usize = 11_000;

/// What the routes share.
#[derive(Debug)]
pub struct Prometheus {
    serving: Arc<Serving>,
    catalogue: Arc<Catalogue>,
}

/// A result with what should be said about it.
#[derive(Debug)]
pub(crate) struct Told<T> {
    /// What was asked for.
    pub(crate) data: T,
    /// What is missing.
    pub(crate) warnings: Vec<String>,
    /// What is good to know.
    pub(crate) infos: Vec<String>,
}

/// A result of which nothing else is to be said.
pub(crate) fn told<T>(data: T) -> Told<T> {
    Told { data, warnings: Vec::new(), infos: Vec::new() }
}

/// The routes below `/prometheus`, but those that tell of rules.
pub fn routes(serving: Arc<Serving>) -> Router {
    let api = Router::new()
        .route("/query", get(http::query).post(http::query))
        .route("/query_range", get(http::query_range).post(http::query_range))
        .route("/query_exemplars", get(http::nothing).post(http::nothing))
        .route("/labels", get(http::labels).post(http::labels))
        .route("/label/{name}/values", get(http::label_values))
        .route("/series", get(http::series).post(http::series))
        .route("/metadata", get(http::metadata))
        .route("/parse_query", get(http::parse_query).post(http::parse_query))
        .route("/format_query", get(http::format_query).post(http::format_query))
        .route("/status/buildinfo", get(http::build_info))
        .fallback(http::not_found)
        .with_state(Arc::new(Prometheus::new(serving)));
    let signs = Router::new().route("/-/healthy", get(http::alive)).route("/-/ready", get(http::alive));
    Router::new().nest("/prometheus/api/v1", api).nest("/prometheus", signs)
}

impl Prometheus {
    /// The views of `serving` as series.
    pub fn new(serving: Arc<Serving>) -> Prometheus {
        let catalogue = Arc::new(Catalogue::new(serving.config()));
        Prometheus { serving, catalogue }
    }
    /// How long a query may take, and how many series a selector may have.
    fn limits(&self) -> (Duration, usize) {
        let settings = self.serving.config().server.prometheus;
        (Duration::from_micros(settings.timeout.0.unsigned_abs()), settings.max_series)
    }
    /// Evaluates a plan over one moment of all views that it needs.
    async fn evaluate(&self, caller: &Caller, plan: Plan, timeout: Option<Duration>) -> Result<Told<Value>, Failure> {
        let (longest, series_max) = self.limits();
        let deadline = Instant::now() + timeout.unwrap_or(longest).min(longest);
        let mut needed = Vec::new();
        let mut infos = Vec::new();
        for leaf in &plan.leaves {
            needed.extend(asks(self.seen(caller), leaf)?);
            infos.extend(self.unknown(caller, &leaf.matchers));
        }
        infos.dedup();
        let (views, halves, pin) = self.read(&needed, deadline).await?;
        let warnings = pin.map_or(Vec::new(), |pin| missing(&pin));
        let (catalogue, serving, caller) = (self.catalogue.clone(), self.serving.clone(), caller.clone());
        let work = move || {
            let (cache, seen) = (serving.cache(), Seen { catalogue: &catalogue, caller: &caller });
            let panes = Panes { seen, views, halves, cache, marks: serving.alerts.marks(&caller), series_max };
            evaluate(&plan, &panes, deadline)
        };
        let data = join(tokio::task::spawn_blocking(work).await)?;
        Ok(Told { data, warnings, infos })
    }
    /// What the asks need of all views, at one moment.
    async fn read(
        &self,
        asks: &[Ask],
        deadline: Instant,
    ) -> Result<(Vec<Arc<View>>, Halved, Option<Arc<Pin>>), Failure> {
        let queries: Vec<Arc<Query>> = asks.iter().flat_map(Ask::queries).cloned().collect();
        if queries.is_empty() {
            return Ok(Default::default());
        }
        let views = views_of(queries.iter().map(Arc::as_ref));
        let mut spelling = Spelling::default();
        "prometheus".hash(&mut spelling);
        let reading = self.serving.read(&queries, &views, &spelling.0, Extent::Scanned, |_| false);
        let reading = tokio::time::timeout_at(deadline, reading).await;
        let late = |_| Failure { reason: Reason::Timeout, text: "query timed out while it was read".to_owned() };
        let Reading { pin, halves, .. } = reading.map_err(late)??;
        let halves = halves.unwrap_or_default();
        let by_query = queries.iter().zip(halves.chunks(views.len().max(1)));
        let halved = by_query.map(|(query, halves)| (panes::spelled(query), halves.to_vec())).collect();
        Ok((views, halved, Some(pin)))
    }
    /// The names, as far as a caller may see them.
    fn seen<'a>(&'a self, caller: &'a Caller) -> Seen<'a> {
        Seen { catalogue: &self.catalogue, caller }
    }
    /// What there may be in the place of a name that there is not.
    fn unknown(&self, caller: &Caller, matchers: &[promql_parser::label::Matcher]) -> Option<String> {
        let name = matchers.iter().find(|matcher| matcher.name == labels::NAME)?;
        let is_equal = matches!(name.op, promql_parser::label::MatchOp::Equal);
        // Grafana asks for it on every dashboard.
        let is_known = name.value == "ALERTS" || self.catalogue.find(&name.value).is_some();
        (is_equal && !is_known)
            .then(|| self.catalogue.hint(&name.value, |definition| self.seen(caller).shows(definition)))
    }
}

fn join<T>(done: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    done.unwrap_or_else(|error| Err(Failure { reason: Reason::Internal, text: format!("the query failed: {error}") }))
}

/// What a pin does without.
fn missing(pin: &Pin) -> Vec<String> {
    let mut out = Vec::new();
    for pinned in &pin.views {
        if pinned.generation.is_none() {
            let view = &pinned.view.name;
            out.push(format!("view {view} has no batch generation yet: the answer is what the speed layer holds"));
        }
        out.extend(missing_parts(pinned));
    }
    out
}

/// The partitions of a view that are answered from its generation alone, and why.
fn missing_parts(pinned: &PinnedView) -> impl Iterator<Item = String> {
    let (view, source) = (&pinned.view.name, &pinned.view.source.name);
    pinned.parts.iter().filter(|(_, part)| part.held.is_none()).map(move |(&number, part)| {
        let partition = Partition::new(source.as_str(), number);
        let why = if part.away { "the state store cannot be reached" } else { "the speed layer holds no state of it" };
        let upto = part.coverage;
        format!("view {view} is answered only up to {partition}@{upto}: {why}")
    })
}
