//! `GET /v1/tap/{source}`: events as they come into the log, one JSON object a line, or as server-sent events for browsers.
//!
//! The topics that sinks write to the embedded log can be looked at in the same way.
//! Raw events know no row filter, so only `admin` may look. The stream ends after `limit` events, or with the caller's key.
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use seam_shared::access::Caller;
use seam_shared::log::{EventLog, Offset, OffsetVector, Partition, Record};
use seam_shared::outlet::log::RECORDS;
use seam_shared::{Error, Kind, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::door::Door;
use crate::problem::Problem;

/// How long to wait for more before looking again, and how much is read at once.
const PAUSE: Duration = Duration::from_millis(100);
const CHUNK: usize = 256;
const BYTES: usize = 1 << 20;
/// How often an idle stream shows that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// `end` (default), `start`, `-100` for the last so many of each partition, or positions like `clicks/0@12`.
    from: Option<String>,
    /// The stream ends after that many.
    limit: Option<u64>,
}

struct Tap {
    door: Arc<Door>,
    caller: Caller,
    partitions: Vec<(Partition, Offset)>,
    /// Where the next read begins, so that no partition waits for a busier one.
    turn: usize,
    left: u64,
    framing: Framing,
    ready: VecDeque<Bytes>,
    shown: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Lines,
    Events,
}

/// The stream of one source.
pub(crate) async fn tap(
    State(door): State<Arc<Door>>,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let framing = if accept.contains("text/event-stream") { Framing::Events } else { Framing::Lines };
    let started = async {
        let Query(asked) = asked.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "invalid", e.body_text()))?;
        // Of a topic that a sink writes, the other partition holds its marks.
        let partitions = match door.is_output(&source) {
            true => RECORDS + 1,
            false => door.log().open(&source, door.source(&source)?.partitions).await?.partitions,
        };
        let partitions = start(door.log(), &source, partitions, asked.from.as_deref().unwrap_or("end")).await?;
        let (left, ready, shown) = (asked.limit.unwrap_or(u64::MAX), VecDeque::new(), Instant::now());
        Ok::<_, Problem>(Tap { door: door.clone(), caller, partitions, turn: 0, left, framing, ready, shown })
    };
    match started.await {
        Ok(tap) => {
            let pieces = stream::unfold(tap, |mut tap| async {
                tap.next().await.map(|piece| (Ok::<_, Infallible>(piece), tap))
            });
            let media_type = match framing {
                Framing::Lines => "application/x-ndjson",
                Framing::Events => "text/event-stream",
            };
            let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-store")];
            (headers, Body::from_stream(pieces)).into_response()
        }
        Err(problem) => problem.at(uri.path()).into_response(),
    }
}

/// Where each partition begins.
async fn start(log: &Arc<dyn EventLog>, source: &str, partitions: u32, from: &str) -> Result<Vec<(Partition, Offset)>> {
    let last = from.strip_prefix('-').and_then(|count| count.parse::<u64>().ok());
    let named = match (from, last) {
        ("start" | "end", _) | (_, Some(_)) => OffsetVector::default(),
        _ => {
            let mut named = OffsetVector::parse_text(from).map_err(Error::invalid)?;
            named.remove(source).ok_or_else(|| Error::invalid(format!("`{from}` is no position of source {source}")))?
        }
    };
    let mut out = Vec::new();
    for number in 0..partitions {
        let partition = Partition::new(source, number);
        let (start, end) = log.bounds(&partition).await?;
        let at = match (from, last) {
            ("start", _) => start,
            ("end", _) => end,
            (_, Some(count)) => Offset(end.0.saturating_sub(count)),
            _ => named.0.get(&number).copied().unwrap_or(end),
        };
        out.push((partition, at.clamp(start, end)));
    }
    Ok(out)
}

impl Tap {
    /// The next piece of the stream; waits for one.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.caller.is_current(self.door.clock().now()) {
                return None;
            }
            if let Some(piece) = self.ready.pop_front() {
                self.shown = Instant::now();
                return Some(piece);
            }
            if self.left == 0 {
                return None;
            }
            match self.read().await {
                Ok(()) if self.ready.is_empty() => tokio::time::sleep(PAUSE).await,
                Ok(()) => {}
                Err(error) => {
                    self.left = 0;
                    self.ready.push_back(self.frame("error", &json!({ "error": error.message() }).to_string()));
                }
            }
            if self.ready.is_empty() && self.shown.elapsed() >= KEEP_ALIVE {
                self.ready.push_back(Bytes::from_static(if self.framing == Framing::Lines { b"\n" } else { b":\n\n" }));
            }
        }
    }

    /// Reads what came into one partition, trying each once.
    async fn read(&mut self) -> Result<()> {
        for _ in 0..self.partitions.len() {
            self.turn = (self.turn + 1) % self.partitions.len();
            let (partition, at) = self.partitions[self.turn].clone();
            let most = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
            let chunk = match self.door.log().read(&partition, at, most, BYTES).await {
                Ok(chunk) => chunk,
                // Retention was faster than the client: it goes on with what is kept.
                Err(error) if error.kind() == Kind::NotFound => {
                    self.partitions[self.turn].1 = self.door.log().bounds(&partition).await?.0;
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.partitions[self.turn].1 = chunk.next;
            for record in chunk.iter() {
                let piece = self.frame("event", &shown(partition.number, record));
                self.ready.push_back(piece);
                self.left -= 1;
            }
            if !chunk.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn frame(&self, name: &str, value: &str) -> Bytes {
        Bytes::from(match self.framing {
            Framing::Lines => format!("{value}\n"),
            Framing::Events => format!("event: {name}\ndata: {value}\n\n"),
        })
    }
}

/// One record with its place, in one line. An event is shown as it was written, with all digits of its numbers; what is no JSON, as
/// text.
fn shown(partition: u32, record: Record<'_>) -> String {
    let (offset, received) = (record.offset, record.timestamp);
    let event = match serde_json::from_slice::<&RawValue>(record.value) {
        Ok(event) if !event.get().contains(['\n', '\r']) => event.get().to_owned(),
        Ok(event) => serde_json::from_str(event.get()).unwrap_or(Value::Null).to_string(),
        Err(_) => Value::from(String::from_utf8_lossy(record.value)).to_string(),
    };
    format!(r#"{{"partition":{partition},"offset":{offset},"received":"{received}","event":{event}}}"#)
}
