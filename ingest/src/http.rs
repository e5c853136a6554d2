//! The collector over HTTP: `POST /v1/events/{source}`.
//!
//! 202 with a receipt once everything is durable, if anything was accepted; 422 if every event was refused; 400 if the body
//! as a whole cannot be read; 404, 413, 415 and 503 as usual. All refusals are problem documents.
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use seam_shared::config::{Config, Format as Taken};
use seam_shared::log::Offset;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dead_letters::{self, DeadLetter};
use crate::door::{Door, Receipt};
use crate::formats::Format;
use crate::formats::unpack::Encoding;
use crate::limits;
use crate::problem::Problem;
use crate::tap;

/// Bodies beyond this are read beside the async threads.
const LARGE_BYTES: usize = 64 << 10;
/// Memory for bodies is given out in pieces of this size.
const PIECE_BYTES: usize = 1 << 10;

#[derive(Debug, Clone)]
struct Collector {
    door: Arc<Door>,
    memory: Arc<Semaphore>,
    rules: Arc<Rules>,
}

/// What the collector takes, as configured.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Bytes of the largest body, after decompression.
    pub max_body: usize,
    /// The formats of sources that do not take all.
    pub formats: BTreeMap<String, Vec<Taken>>,
}

impl Default for Rules {
    /// Every format, and bodies as large as memory is set aside for.
    fn default() -> Self {
        Self { max_body: limits::BODY_BYTES, formats: BTreeMap::new() }
    }
}

impl Rules {
    /// Those of a configuration. No body is larger than [`limits::BODY_BYTES`], whatever is configured.
    pub fn of(config: &Config) -> Self {
        let max_body = usize::try_from(config.server.max_body).unwrap_or(usize::MAX).min(limits::BODY_BYTES);
        let some = config.intake.iter().filter(|intake| intake.formats.len() < Taken::ALL.len());
        Self { max_body, formats: some.map(|intake| (intake.source.clone(), intake.formats.clone())).collect() }
    }
    /// Refuses a format that a source does not take.
    fn check(&self, source: &str, format: &Format) -> Result<(), Problem> {
        let Some(taken) = self.formats.get(source) else { return Ok(()) };
        let of_body = match format {
            Format::Json => Taken::Json,
            Format::Ndjson => Taken::Ndjson,
            Format::CloudEvent | Format::CloudEvents | Format::CloudEventData(_) => Taken::Cloudevents,
            Format::Csv => Taken::Csv,
        };
        if taken.contains(&of_body) {
            return Ok(());
        }
        let names: Vec<&str> = taken.iter().map(|format| format.name()).collect();
        let detail = format!("source `{source}` takes {} only", names.join(", "));
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail))
    }
}

/// The routes of the collector, which takes what `rules` say.
pub fn routes(door: Arc<Door>, rules: Rules) -> Router {
    let memory = Arc::new(Semaphore::new(limits::BODIES_BYTES / PIECE_BYTES));
    let rules = Arc::new(rules);
    Router::new()
        .route("/v1/events/{source}", post(post_events))
        .route("/v1/dead-letters/{source}", get(get_dead_letters))
        .route("/v1/dead-letters/{source}/{entry}", get(get_dead_letter))
        .route("/v1/dead-letters/{source}/{entry}/replay", post(replay_dead_letter))
        .with_state(Collector { door: door.clone(), memory, rules })
        .merge(Router::new().route("/v1/tap/{source}", get(tap::tap)).with_state(door))
}

/// What stands in a path, if it can be read.
type InPath<T> = Result<Path<T>, PathRejection>;

fn unreadable(rejection: PathRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid", rejection.body_text())
}

/// Dead letters of one answer, unless `limit` asks for fewer.
const LETTERS: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LettersQuery {
    from: Option<u64>,
    limit: Option<usize>,
}

async fn get_dead_letters(
    State(collector): State<Collector>,
    path: InPath<String>,
    query: Result<Query<LettersQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Path(source) = path.map_err(unreadable)?;
    let Query(query) = query.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "invalid", e.body_text()))?;
    collector.door.source(&source)?;
    let limit = query.limit.unwrap_or(LETTERS).min(LETTERS);
    let log = collector.door.log();
    let (letters, kept) = match query.from {
        Some(from) => dead_letters::list(log, &source, Offset(from), limit).await?,
        None => dead_letters::newest(log, &source, limit).await?,
    };
    let letters: Vec<_> = letters.iter().map(DeadLetter::to_json).collect();
    Ok(axum::Json(serde_json::json!({ "kept": kept, "letters": letters })).into_response())
}

async fn get_dead_letter(State(collector): State<Collector>, path: InPath<(String, u64)>) -> Result<Response, Problem> {
    let Path((source, entry)) = path.map_err(unreadable)?;
    collector.door.source(&source)?;
    let letter = dead_letters::show(collector.door.log(), &source, Offset(entry)).await?;
    Ok(axum::Json(letter.to_json()).into_response())
}

async fn replay_dead_letter(
    State(collector): State<Collector>,
    path: InPath<(String, u64)>,
) -> Result<Response, Problem> {
    let Path((source, entry)) = path.map_err(unreadable)?;
    answer(collector.door.replay(&source, Offset(entry)).await?)
}

async fn post_events(
    State(collector): State<Collector>,
    path: InPath<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let source = match path {
        Ok(Path(source)) => source,
        Err(rejection) => return unreadable(rejection).at(uri.path()).into_response(),
    };
    match receive(&collector, &source, &headers, body).await {
        Ok(receipt) => answer(receipt).map_or_else(|p| p.at(uri.path()).into_response(), IntoResponse::into_response),
        Err(problem) => problem.at(uri.path()).into_response(),
    }
}

async fn receive(collector: &Collector, source: &str, headers: &HeaderMap, body: Body) -> Result<Receipt, Problem> {
    collector.door.source(source).map_err(|e| Problem::new(StatusCode::NOT_FOUND, "unknown-source", e.message()))?;
    let format = format_of(headers)?;
    collector.rules.check(source, &format)?;
    let encoding = encoding_of(headers)?;
    let max_body = collector.rules.max_body;
    let (body, mut memory) = read_body(collector, headers, body, encoding.limit(max_body)).await?;
    // What a packed body unpacks to is not known yet: it may be as much as the limit allows.
    let unpacked = if encoding == Encoding::Identity { 0 } else { max_body.min(body.len().saturating_mul(1100)) };
    memory.merge(reserve(collector, unpacked)?);
    let large = body.len() + unpacked > LARGE_BYTES;
    let lines_before = lines_before(headers)?;
    let read = move |source: &_| {
        let mut events = format.read(source, &encoding.unpack(body, max_body)?)?;
        events.iter_mut().for_each(|event| event.line = event.line.saturating_add(lines_before));
        Ok(events)
    };
    Ok(collector.door.submit_with(source, large, read).await?)
}

/// The answer to a body that could be read.
fn answer(receipt: Receipt) -> Result<Response, Problem> {
    if receipt.accepted > 0 {
        return Ok((StatusCode::ACCEPTED, axum::Json(receipt)).into_response());
    }
    if receipt.rejected == 0 {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid", "body holds no events"));
    }
    let (status, name) = if receipt.too_large == receipt.rejected {
        (StatusCode::PAYLOAD_TOO_LARGE, "too-large")
    } else {
        (StatusCode::UNPROCESSABLE_ENTITY, "all-refused")
    };
    let detail = match receipt.rejected {
        1 => "the event was refused; it is kept in the dead letters".to_owned(),
        all => format!("all {all} events were refused; they are kept in the dead letters"),
    };
    Err(Problem::new(status, name, detail).with_refused(receipt.rejected, receipt.errors))
}

fn header_text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Result<&'h str, Problem> {
    let text = headers.get(name).map_or(Ok(""), header::HeaderValue::to_str);
    text.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "invalid", format!("header {name} is no text")))
}

fn format_of(headers: &HeaderMap) -> Result<Format, Problem> {
    let media_type = header_text(headers, &header::CONTENT_TYPE)?;
    let unsupported = || {
        let known = "JSON (application/json), NDJSON (application/x-ndjson), CSV (text/csv) and CloudEvents";
        let detail = format!("media type `{media_type}` cannot be read; there are {known}");
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
    };
    let format = Format::of_media_type(media_type);
    if !headers.contains_key("ce-specversion") {
        return format.ok_or_else(unsupported);
    }
    let data_type = media_type.split(';').next().unwrap_or_default().trim();
    match format {
        Some(structured @ (Format::CloudEvent | Format::CloudEvents)) => Ok(structured),
        Some(Format::Json) => Ok(Format::CloudEventData(attributes(headers)?)),
        None if data_type.ends_with("+json") => Ok(Format::CloudEventData(attributes(headers)?)),
        _ => Err(unsupported()),
    }
}

/// The context attributes of a CloudEvent in binary mode: headers `ce-<name>`, percent-encoded.
fn attributes(headers: &HeaderMap) -> Result<Vec<(String, String)>, Problem> {
    let mut attributes = Vec::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let text = percent_decoded(value.as_bytes()).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "invalid", format!("header ce-{name} is no percent-encoded text"))
        })?;
        attributes.push((name.to_owned(), text));
    }
    Ok(attributes)
}

fn percent_decoded(value: &[u8]) -> Option<String> {
    let digit = |at: usize| value.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        if byte == b'%' {
            out.push(u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()?);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

/// Of a part of a file: how many of the file's lines come before the body's, so that receipts and dead letters name lines of the file.
pub const LINES_BEFORE: HeaderName = HeaderName::from_static("seam-lines-before");

fn lines_before(headers: &HeaderMap) -> Result<u64, Problem> {
    let text = header_text(headers, &LINES_BEFORE)?;
    let number = if text.is_empty() { Some(0) } else { text.parse().ok() };
    number.ok_or_else(|| {
        let detail = format!("header {LINES_BEFORE} is a number of lines, not `{text}`");
        Problem::new(StatusCode::BAD_REQUEST, "invalid", detail)
    })
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let text = header_text(headers, &header::CONTENT_ENCODING)?;
    Encoding::of_header(text).ok_or_else(|| {
        let detail = format!("content encoding `{text}` cannot be unpacked; there are gzip, zstd and identity");
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail)
    })
}

fn reserve(collector: &Collector, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
    Arc::clone(&collector.memory).try_acquire_many_owned(pieces).map_err(|_| {
        let detail = format!("more than {} bytes of bodies are being read; send it again later", limits::BODIES_BYTES);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    })
}

/// Takes what a client still sends, within reason: many read no answer before they have sent all of it.
async fn discard(body: Body, at_most: usize) {
    let mut parts = body.into_data_stream();
    let mut taken = 0;
    while taken < at_most {
        match parts.next().await {
            Some(Ok(part)) => taken += part.len(),
            _ => break,
        }
    }
}

/// Reads a body of at most `limit` bytes, within the memory that all bodies share.
async fn read_body(
    collector: &Collector,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let too_large = || {
        let detail = format!("body has more than {limit} bytes; send it in parts");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    };
    let length = header_text(headers, &header::CONTENT_LENGTH)?.parse::<usize>().unwrap_or(0);
    if length > limit {
        discard(body, 2 * limit).await;
        return Err(too_large());
    }
    let mut memory = reserve(collector, length)?;
    let mut held = length;
    let mut whole = BytesMut::with_capacity(length);
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let broken = |_| Problem::new(StatusCode::BAD_REQUEST, "invalid", "body ended before it was whole");
        let part = part.map_err(broken)?;
        if whole.len() + part.len() > limit {
            return Err(too_large());
        }
        whole.extend_from_slice(&part);
        if whole.len() > held {
            memory.merge(reserve(collector, whole.len() - held)?);
            held = whole.len();
        }
    }
    Ok((whole.freeze(), memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_percent_decoded() {
        assert_eq!(percent_decoded(b"Euro%20%E2%82%AC").as_deref(), Some("Euro \u{20ac}"));
        assert_eq!(percent_decoded(b"100%"), None);
        assert_eq!(percent_decoded(b"%ff"), None);
    }
}
