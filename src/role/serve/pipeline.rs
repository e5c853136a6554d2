//! `GET /api/analytics/pipeline`: how far log, archive, batch and speed have come, and the batch runs; and the dead letters as a list.
//!
//! It is put together from log, lake and state store, so that any process that serves can tell. What only the process at work counts
//! (late events, duplicates, ended runs) is `null` elsewhere, and `unknown` says so.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use seam_batch::job;
use seam_batch::lease::Lease;
use seam_ingest::dead_letters;
use seam_serving::Serving;
use seam_serving::pin::pinned::PinnedView;
use seam_serving::problem;
use seam_serving::query::{Layer, Refusal};
use seam_shared::access::Caller;
use seam_shared::config::OWN_STREAM;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::views::ViewTable;
use seam_shared::log::{Offset, OffsetVector, Partition};
use seam_shared::telemetry::SourceLabels;
use seam_shared::view::definition::{Source, View};
use seam_shared::{Error, Kind, Result};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::super::Role;
use crate::wire::Ports;

/// How long all who ask share one picture: putting it together asks log, lake and state store.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Generations that the history of a view shows.
const HISTORY: u64 = 20;
/// Ends of segments that are told of a partition.
const SEGMENTS: usize = 200;
/// Dead letters of one answer at most, and unless asked otherwise.
const LETTERS: (usize, usize) = (1_000, 100);

/// What tells how the pipeline stands.
pub struct Pipeline {
    ports: Arc<Ports>,
    serving: Arc<Serving>,
    /// What this process does: what it does not do, others count.
    roles: Vec<Role>,
    known: Mutex<Known>,
}

/// What does not change, or not within a second.
#[derive(Default)]
struct Known {
    picture: Option<(Instant, Arc<Value>)>,
    archives: BTreeMap<String, ArchiveTable>,
    /// Generations that were told before, by view and number.
    history: BTreeMap<(String, u64), Value>,
}

/// The routes, for a process that has these roles.
pub fn routes(ports: Arc<Ports>, serving: Arc<Serving>, roles: Vec<Role>) -> Router {
    let pipeline = Arc::new(Pipeline { ports, serving, roles, known: Mutex::default() });
    Router::new()
        .route("/api/analytics/pipeline", get(picture))
        .route("/api/analytics/dead_letters", get(letters))
        .with_state(pipeline)
}

async fn picture(State(pipeline): State<Arc<Pipeline>>, Extension(caller): Extension<Caller>, uri: Uri) -> Response {
    if !caller.may_query_some() {
        let denied = Error::new(Kind::Denied, "this key has no scope `query`");
        return problem::respond(&uri, &Refusal::from(denied));
    }
    match pipeline.shared().await {
        Ok(whole) => json_response(&seen_by(&caller, &whole)),
        Err(error) => problem::respond(&uri, &Refusal::from(error)),
    }
}

/// Only what is about views that the caller may ask for.
fn seen_by(caller: &Caller, whole: &Value) -> Value {
    let mut seen = whole.clone();
    let may = |view: &Value| view["view"].as_str().is_some_and(|name| caller.may_query(name));
    let keep = |list: &mut Value, test: &dyn Fn(&Value) -> bool| {
        if let Some(list) = list.as_array_mut() {
            list.retain(test);
        }
    };
    keep(&mut seen["views"], &may);
    keep(&mut seen["batch"]["running"], &may);
    keep(&mut seen["batch"]["runs"], &may);
    let sources: Vec<Value> =
        seen["views"].as_array().into_iter().flatten().map(|view| view["source"].clone()).collect();
    keep(&mut seen["sources"], &|source| sources.contains(&source["name"]));
    seen
}

async fn letters(State(pipeline): State<Arc<Pipeline>>, Extension(caller): Extension<Caller>, uri: Uri) -> Response {
    match pipeline.letters(&caller, &uri).await {
        Ok(body) => json_response(&body),
        Err(refusal) => problem::respond(&uri, &refusal),
    }
}

fn json_response(body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "private, no-cache")];
    (headers, body.to_string()).into_response()
}

impl Pipeline {
    async fn shared(&self) -> Result<Arc<Value>> {
        let mut known = self.known.lock().await;
        if let Some((at, picture)) = &known.picture
            && at.elapsed() < SHARED_FOR
        {
            return Ok(picture.clone());
        }
        let picture = Arc::new(self.whole(&mut known).await?);
        known.picture = Some((Instant::now(), picture.clone()));
        Ok(picture)
    }

    async fn whole(&self, known: &mut Known) -> Result<Value> {
        let config = &self.ports.config;
        let (mut sources, mut views) = (Vec::new(), Vec::new());
        for source in &config.sources {
            sources.push(self.source(source, known).await);
        }
        for view in &config.views {
            views.push(self.view(view, known).await);
        }
        let mut unknown = Vec::new();
        if !self.has(Role::Speed) {
            unknown.push("Late events and duplicates are counted by the processes that fold the log, not by this one.");
        }
        Ok(json!({
            "now": self.ports.clock.now().to_rfc3339(),
            "name": config.name,
            "version": env!("CARGO_PKG_VERSION"),
            "roles": self.roles.iter().map(|role| role.name()).collect::<Vec<_>>(),
            "sources": sources,
            "views": views,
            "batch": self.batch().await,
            "unknown": unknown,
        }))
    }

    fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    async fn source(&self, source: &Arc<Source>, known: &mut Known) -> Value {
        let own = self.ports.with_own && source.name == OWN_STREAM;
        let (partitions, problem) = match self.partitions(source, known).await {
            Ok(partitions) => (partitions, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let refused = match own {
            true => None,
            false => dead_letters::newest(&self.ports.log, &source.name, 0).await.ok().map(|(_, kept)| kept),
        };
        let telemetry = &self.ports.telemetry;
        let labels = SourceLabels { source: source.name.clone() };
        let counted = self.has(Role::Speed);
        json!({
            "name": source.name,
            "own": own,
            "late": counted.then(|| telemetry.late_events.get_or_create(&labels).get()),
            "duplicates": counted.then(|| telemetry.duplicate_events.get_or_create(&labels).get()),
            "dead_letters": refused,
            "partitions": partitions,
            "problem": problem,
        })
    }

    async fn partitions(&self, source: &Arc<Source>, known: &mut Known) -> Result<Vec<Value>> {
        let archived = self.archived(source, known).await?;
        let topic = self.ports.topic(source).await?;
        let mut out = Vec::new();
        for number in 0..topic.partitions {
            let bounds = self.ports.log.bounds(&Partition::new(source.name.as_str(), number)).await.ok();
            out.push(json!({
                "partition": number,
                "log_start": bounds.map(|(start, _)| start),
                "log_end": bounds.map(|(_, end)| end),
                "archived": archived.0.get(&number),
            }));
        }
        Ok(out)
    }

    /// How far a source is archived. Its table is not made here.
    async fn archived(&self, source: &Arc<Source>, known: &mut Known) -> Result<OffsetVector> {
        if !known.archives.contains_key(&source.name) {
            let (lake, clock) = (self.ports.lake.clone(), self.ports.clock.clone());
            let Some((table, _)) = ArchiveTable::existing(lake, source, clock).await? else {
                return Ok(OffsetVector::default());
            };
            known.archives.insert(source.name.clone(), table);
        }
        Ok(known.archives[&source.name].latest().await?.positions.clone())
    }

    async fn view(&self, view: &Arc<View>, known: &mut Known) -> Value {
        let told =
            json!({ "view": view.name, "id": view.id, "source": view.source.name, "pane": view.pane.to_string() });
        let mut told = told.as_object().cloned().unwrap_or_default();
        let (pinned, problem) = match self.serving.pin(std::slice::from_ref(view), Layer::Merged, false).await {
            Ok(pin) => (Some(pin), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let pinned = pinned.as_ref().and_then(|pin| pin.views.first());
        let newest = match pinned {
            Some(pinned) => self.serving.newest(pinned).await.ok().flatten(),
            None => None,
        };
        let generation = pinned.and_then(|pinned| pinned.generation.as_ref());
        told.insert("newest".into(), json!(newest.map(|newest| newest.to_rfc3339())));
        told.insert(
            "generation".into(),
            generation.map_or(Value::Null, |generation| {
                json!({
                    "number": generation.number,
                    "published": generation.published.to_rfc3339(),
                    "rows": generation.files.iter().map(|file| file.rows).sum::<u64>(),
                    "files": generation.files.len(),
                    "bytes": generation.files.iter().map(|file| file.bytes).sum::<u64>(),
                    "drift": generation.info.get("drift"),
                })
            }),
        );
        told.insert("partitions".into(), pinned.map_or(json!([]), partitions_of));
        let history = match generation {
            Some(generation) => self.history(view, generation.number, known).await,
            None => Vec::new(),
        };
        told.insert("history".into(), Value::Array(history));
        told.insert("problem".into(), json!(problem));
        Value::Object(told)
    }

    /// The newest generations, the newest first; what cannot be read is left out.
    async fn history(&self, view: &Arc<View>, newest: u64, known: &mut Known) -> Vec<Value> {
        let table = ViewTable::new(self.ports.lake.clone(), view.clone(), self.ports.clock.clone());
        let mut out = Vec::new();
        for number in (newest.saturating_sub(HISTORY - 1).max(1)..=newest).rev() {
            let key = (view.id.to_string(), number);
            if !known.history.contains_key(&key) {
                let Ok(Some(found)) = table.published(number).await else { continue };
                let cut: BTreeMap<String, Offset> = found.cut.0.iter().map(|(n, at)| (n.to_string(), *at)).collect();
                let drift = found.info.get("drift").cloned();
                let told = json!({ "number": number, "published": found.at.to_rfc3339(), "cut": cut, "drift": drift });
                known.history.insert(key.clone(), told);
            }
            out.extend(known.history.get(&key).cloned());
        }
        known.history.retain(|(id, number), _| *id != view.id.as_ref() || number + HISTORY > newest);
        out
    }

    async fn batch(&self) -> Value {
        let settings = &self.ports.config.batch;
        let next = settings.schedule.as_ref().and_then(|schedule| schedule.next_after(self.ports.clock.now()));
        let at_work = self.ports.runs.at_work();
        let mut running = Vec::new();
        for view in &self.ports.config.views {
            let holder =
                Lease::holder(&self.ports.lake, &self.ports.clock, &job::lease_name(view)).await.ok().flatten();
            let here = at_work.get(&view.name);
            if holder.is_some() || here.is_some() {
                running.push(json!({
                    "view": view.name,
                    "holder": holder.map(|holder| holder.holder),
                    "begun": here.map(|run| run.begun.to_rfc3339()),
                    "days": here.and_then(|run| run.days),
                    "days_done": here.map(|run| run.days_done),
                }));
            }
        }
        let ended = |run: seam_batch::runs::Ended| {
            let mut told = json!(run.outcome);
            told["begun"] = run.begun.to_rfc3339().into();
            told
        };
        json!({
            "schedule": settings.schedule.as_ref().map(|schedule| schedule.text()),
            "zone": settings.schedule.as_ref().map(|schedule| schedule.zone().to_string()),
            "next": next.filter(|_| self.has(Role::Batch)).map(|next| next.to_rfc3339()),
            "running": running,
            "runs": self.has(Role::Batch).then(|| self.ports.runs.ended().into_iter().map(ended).collect::<Vec<_>>()),
        })
    }

    /// The newest dead letters of a source. They are raw events: for those who may see everything.
    async fn letters(&self, caller: &Caller, uri: &Uri) -> std::result::Result<Value, Refusal> {
        if !caller.is_admin() {
            return Err(Error::new(Kind::Denied, "refused events are shown to keys with the scope `admin`").into());
        }
        let parsed = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        let given = parsed.map_err(|e| Refusal::from(Error::invalid(e.body_text())))?.0;
        let (mut source, mut limit) = (None, LETTERS.1);
        for (name, value) in &given {
            match name.as_str() {
                "source" => source = Some(value.as_str()),
                "limit" => {
                    let found = value.parse().ok().filter(|limit| (1..=LETTERS.0).contains(limit));
                    let bad =
                        || Refusal::parameter("limit", format!("limit=`{value}` is no number from 1 to {}", LETTERS.0));
                    limit = found.ok_or_else(bad)?;
                }
                _ => {
                    return Err(
                        Refusal::parameter(name, format!("there is no parameter `{name}`")).named("unknown-parameter")
                    );
                }
            }
        }
        let source = source.ok_or_else(|| Refusal::parameter("source", "name the source: ?source=clicks"))?;
        if self.ports.config.source(source).is_none() {
            return Err(Error::not_found(format!("there is no source `{source}`")).into());
        }
        let (letters, kept) = dead_letters::newest(&self.ports.log, source, limit).await?;
        let letters: Vec<Value> = letters.iter().map(dead_letters::DeadLetter::to_json).collect();
        Ok(json!({ "source": source, "kept": kept, "letters": letters }))
    }
}

/// What each half holds of each partition.
fn partitions_of(pinned: &PinnedView) -> Value {
    let part = |(number, part): (&u32, &seam_serving::pin::pinned::Part)| {
        let cut = pinned.generation.as_ref().map(|generation| generation.cut.get(*number));
        let held = part.held.as_ref();
        let ends: Vec<Offset> = held
            .map_or(Vec::new(), |held| held.closed.iter().rev().take(SEGMENTS).map(|segment| segment.end).collect());
        json!({
            "partition": number,
            "cut": cut,
            "floor": held.map(|held| held.progress.floor),
            "position": held.map(|held| held.progress.position),
            "segments": ends,
        })
    };
    pinned.parts.iter().map(part).collect()
}
