//! `GET /api/analytics/live?metric=&dimension=&window=`: a metric as a feed of server-sent events, one a group that changed.
//!
//! Every event carries the whole new value, the old one, and the coverage at which it holds (also as its `id`). A client that
//! comes back gets every group once, so it can miss steps in between but never a value.
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use seam_shared::access::Caller;
use serde_json::{Map, Value, json};

use super::{parameters, problem};
use crate::Serving;
use crate::query::Refusal;

/// How often it looks whether there is something new.
const LOOK: Duration = Duration::from_millis(200);
/// How often a comment keeps an idle connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Members of a point that name the group or the figure's parts; the others are its window and value.
const FIGURES: [&str; 21] = [
    "time",
    "start",
    "partial",
    "covered_seconds",
    "value",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "numerator",
    "denominator",
    "not_finite",
    "var_pop",
    "var_samp",
    "stddev_pop",
    "stddev_samp",
    "exact",
    "quantiles",
    "at",
    "histogram",
];

/// The feed of one metric.
pub async fn feed(State(serving): State<Arc<Serving>>, Extension(caller): Extension<Caller>, uri: Uri) -> Response {
    let begun = async {
        let mut given = parameters(&uri)?;
        let at = given.iter().position(|(name, _)| name == "metric");
        let missing = || Refusal::parameter("metric", "name the metric: ?metric=events.total".to_owned());
        let metric = given.remove(at.ok_or_else(missing)?).1;
        if let Some((name, _)) =
            given.iter().find(|(name, _)| ["from", "step", "limit", "min_position"].contains(&name.as_str()))
        {
            return Err(Refusal::parameter(
                name,
                "a feed shows one window, the newest or the one up to `to`".to_owned(),
            ));
        }
        serving.parse(&caller, &metric, &given)?;
        Ok::<_, Refusal>(Feed {
            serving,
            caller,
            metric,
            given,
            tag: None,
            shown: BTreeMap::new(),
            ready: VecDeque::new(),
        })
    };
    match begun.await {
        Ok(feed) => {
            let events = stream::unfold(feed, |mut feed| async {
                feed.next().await.map(|event| (Ok::<_, Infallible>(event), feed))
            });
            Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
        }
        Err(refusal) => problem::respond(&uri, &refusal),
    }
}

struct Feed {
    serving: Arc<Serving>,
    caller: Caller,
    metric: String,
    given: Vec<(String, String)>,
    tag: Option<String>,
    /// By group: the point shown last.
    shown: BTreeMap<String, Value>,
    ready: VecDeque<Event>,
}

impl Feed {
    /// The next event; waits until something changes. None once the caller's key has expired or was taken away.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if !self.caller.is_current(self.serving.now()) {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match self.look().await {
                Ok(()) if self.ready.is_empty() => tokio::time::sleep(LOOK).await,
                Ok(()) => {}
                Err(refusal) => {
                    // Trouble that passes: the feed goes on when the answer can be had again.
                    tokio::time::sleep(LOOK * 5).await;
                    return Some(Event::default().event("unavailable").data(refusal.detail));
                }
            }
        }
    }

    /// Asks again and notes what changed.
    async fn look(&mut self) -> Result<(), Refusal> {
        let question = self.serving.parse(&self.caller, &self.metric, &self.given)?.into();
        let answer = self.serving.answer(&question, self.tag.as_deref()).await?;
        self.tag = Some(answer.tag);
        let Some(body) = answer.body else { return Ok(()) };
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let coverage = answer.pointer("/meta/stamp/coverage").and_then(Value::as_str).unwrap_or_default();
        let points = answer.get("points").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut now: BTreeMap<String, Value> = points.iter().map(|point| (group(point), point.clone())).collect();
        for (key, point) in &now {
            let old = self.shown.get(key).and_then(|old| old.get("value")).cloned();
            if old.as_ref() != point.get("value") {
                self.ready.push_back(change(&self.metric, point, old, coverage));
            }
        }
        for (key, point) in &mut self.shown {
            if !now.contains_key(key) {
                let old = point.get("value").cloned();
                point["value"] = Value::Null;
                self.ready.push_back(change(&self.metric, point, old, coverage));
            }
        }
        std::mem::swap(&mut self.shown, &mut now);
        Ok(())
    }
}

/// A point's group: its dimensions.
fn group(point: &Value) -> String {
    let members = point.as_object().into_iter().flatten();
    let group: Map<String, Value> =
        members.filter(|(name, _)| !FIGURES.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect();
    Value::Object(group).to_string()
}

fn change(metric: &str, point: &Value, old: Option<Value>, coverage: &str) -> Event {
    let mut data = json!({ "metric": metric });
    for (name, value) in point.as_object().into_iter().flatten() {
        data[name.as_str()] = value.clone();
    }
    data["old"] = old.unwrap_or_default();
    data["coverage"] = coverage.into();
    Event::default().event("point").id(coverage).data(data.to_string())
}
