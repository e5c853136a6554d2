//! Several queries at one moment, of one snapshot of all views that any of them needs: how a group of rules is evaluated. What is wrong
//! with one query is its own affair.
use std::sync::Arc;

use promql_parser::parser::Expr;
use seam_shared::access::Caller;
use seam_shared::time::Timestamp;
use tokio::time::Instant;

use super::evaluate::{Value, evaluate};
use super::failure::{Failure, Reason};
use super::labels::Labels;
use super::panes::{Ask, Panes, Seen, asks};
use super::plan::{Plan, plan};
use super::source::Grid;
use super::{Prometheus, join, missing_parts};
use crate::answer::views_of;
use crate::pin::Pin;

/// What a query came to at a moment.
#[derive(Debug, Clone)]
pub struct Sampled {
    /// Series and their values, NaN among them.
    pub samples: Vec<(Labels, f64)>,
    /// What was read for it; nothing if it needs no series.
    pub pin: Option<Arc<Pin>>,
}

struct Planned {
    plan: Plan,
    asks: Vec<Ask>,
}

impl Prometheus {
    /// Evaluates queries at a moment over one snapshot. A query that needs a part of a view that cannot be read now fails: its value is
    /// not known. Each may take as long as any query, whatever the others take.
    pub async fn sample(&self, queries: &[&Expr], at: Timestamp) -> Vec<Result<Sampled, Failure>> {
        let failure = match self.sampled(queries, at).await {
            Ok(sampled) => return sampled,
            Err(failure) => failure,
        };
        if queries.len() == 1 || failure.reason == Reason::Unavailable {
            return vec![Err(failure); queries.len()];
        }
        // One of them is what all failed with, or waited for.
        let mut out = Vec::with_capacity(queries.len());
        for query in queries {
            let alone = self.sampled(&[*query], at).await;
            out.push(alone.and_then(|mut sampled| sampled.remove(0)));
        }
        out
    }
    async fn sampled(&self, queries: &[&Expr], at: Timestamp) -> Result<Vec<Result<Sampled, Failure>>, Failure> {
        let (longest, series_max) = self.limits();
        let planned: Vec<_> = queries.iter().map(|query| self.planned(query, at)).collect();
        let needed: Vec<Ask> = planned.iter().flatten().flat_map(|planned| planned.asks.clone()).collect();
        let (views, halves, pin) = self.read(&needed, Instant::now() + longest).await?;
        let (catalogue, serving) = (self.catalogue.clone(), self.serving.clone());
        let work = move || {
            let caller = Caller::trusted();
            let (cache, seen) = (serving.cache(), Seen { catalogue: &catalogue, caller: &caller });
            let panes = Panes { seen, views, halves, cache, marks: Vec::new(), series_max };
            let one = |planned: Result<Planned, Failure>| {
                let Planned { plan, asks } = planned?;
                whole(pin.as_deref(), &asks)?;
                let samples = samples(evaluate(&plan, &panes, Instant::now() + longest)?)?;
                Ok(Sampled { samples, pin: pin.clone().filter(|_| !asks.is_empty()) })
            };
            Ok(planned.into_iter().map(one).collect())
        };
        join(tokio::task::spawn_blocking(work).await)
    }
    fn planned(&self, query: &Expr, at: Timestamp) -> Result<Planned, Failure> {
        let plan = plan(query, Grid::instant(at))?;
        let mut needed = Vec::new();
        for leaf in &plan.leaves {
            needed.extend(asks(self.seen(&Caller::trusted()), leaf)?);
        }
        Ok(Planned { plan, asks: needed })
    }
}

/// Refuses a pin that lacks a part of what is asked.
fn whole(pin: Option<&Pin>, asks: &[Ask]) -> Result<(), Failure> {
    let Some(pin) = pin else { return Ok(()) };
    let asked = views_of(asks.iter().flat_map(Ask::queries).map(Arc::as_ref));
    let of_asked = pin.views.iter().filter(|pinned| asked.iter().any(|view| view.id == pinned.view.id));
    match of_asked.flat_map(missing_parts).next() {
        Some(text) => Err(Failure { reason: Reason::Unavailable, text }),
        None => Ok(()),
    }
}

fn samples(value: Value) -> Result<Vec<(Labels, f64)>, Failure> {
    match value {
        Value::Scalar(values) => Ok(values.first().map(|value| (Labels::default(), *value)).into_iter().collect()),
        Value::Vector(series) => {
            let sample = |series: super::source::Series| Some((series.labels, *series.values.first()?.as_ref()?));
            Ok(series.into_iter().filter_map(sample).collect())
        }
        Value::Samples(_) | Value::Text(_) => Err(Failure::bad_data("a rule is an instant vector or a scalar")),
    }
}
