//! `GET /api/analytics/live?metric=&dimension=&window=`: a metric as a feed of server-sent events, one a group that changed.
//!
//! Every event carries the whole new value, the old one, and the stamp of the answer that it is from. The last event of an answer
//! has an `id`: coverage and tag. A client that comes back with it as `Last-Event-ID` gets nothing twice if nothing changed since,
//! else every group once; so it can miss steps in between but never a value.
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use seam_shared::access::Caller;
use serde_json::{Value, json};

use super::{parameters, problem};
use crate::Serving;
use crate::query::Refusal;

/// How often it looks whether there is something new.
const LOOK: Duration = Duration::from_millis(200);
/// How often a comment keeps an idle connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The header of a client that comes back.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The feed of one metric.
pub async fn feed(
    State(serving): State<Arc<Serving>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let begun = async {
        let mut given = parameters(&uri)?;
        let at = given.iter().position(|(name, _)| name == "metric");
        let missing = || Refusal::parameter("metric", "name the metric: ?metric=events.total".to_owned());
        let metric = given.remove(at.ok_or_else(missing)?).1;
        if let Some((name, _)) =
            given.iter().find(|(name, _)| ["from", "step", "limit", "min_position", "cursor"].contains(&name.as_str()))
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
            resumed: last_seen(&headers),
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

/// The tag in the id of the last event that a client saw.
fn last_seen(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(LAST_EVENT_ID)?.to_str().ok()?;
    id.rsplit_once(';').map(|(_, tag)| tag.to_owned())
}

struct Feed {
    serving: Arc<Serving>,
    caller: Caller,
    metric: String,
    given: Vec<(String, String)>,
    tag: Option<String>,
    /// The tag of the answer that the client saw last, before it came back.
    resumed: Option<String>,
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
        let query = self.serving.parse(&self.caller, &self.metric, &self.given)?;
        let dimensions = query.dimensions.clone();
        let answer = self.serving.answer(&query.into(), self.tag.as_deref()).await?;
        let tag = answer.tag.trim_matches('"').to_owned();
        self.tag = Some(answer.tag);
        let Some(body) = answer.body else { return Ok(()) };
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let stamp = answer.pointer("/meta/stamp").cloned().unwrap_or_default();
        let id = format!("{};{tag}", stamp.get("coverage").and_then(Value::as_str).unwrap_or_default());
        let points = answer.get("points").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let group =
            |point: &Value| Value::from_iter(dimensions.iter().map(|name| point[name.as_str()].clone())).to_string();
        let now: BTreeMap<String, Value> = points.iter().map(|point| (group(point), point.clone())).collect();
        let mut changes = Vec::new();
        // What the client has seen needs no telling; only what changes from there on.
        if self.resumed.take().is_none_or(|seen| seen != tag) {
            for (key, point) in &now {
                let old = self.shown.get(key).and_then(|old| old.get("value")).cloned();
                if old.as_ref() != point.get("value") {
                    changes.push(change(&self.metric, point, old, &stamp));
                }
            }
            for (_, point) in self.shown.iter_mut().filter(|(key, _)| !now.contains_key(*key)) {
                let old = point.get("value").cloned();
                point["value"] = Value::Null;
                changes.push(change(&self.metric, point, old, &stamp));
            }
        }
        self.shown = now;
        let last = changes.pop();
        self.ready.extend(changes.into_iter().map(|data| Event::default().event("point").data(data)));
        // Only now has the client seen all of the answer. An event without data changes nothing but the id.
        let event = Event::default().id(id);
        self.ready.push_back(match last {
            Some(data) => event.event("point").data(data),
            None => event,
        });
        Ok(())
    }
}

fn change(metric: &str, point: &Value, old: Option<Value>, stamp: &Value) -> String {
    let mut data = json!({ "metric": metric });
    for (name, value) in point.as_object().into_iter().flatten() {
        data[name.as_str()] = value.clone();
    }
    data["old"] = old.unwrap_or_default();
    data["coverage"] = stamp["coverage"].clone();
    data["stamp"] = stamp.clone();
    data.to_string()
}
