//! From bodies to raw events: which format it is, and one reader for each.
pub mod cloud_events;
pub mod csv;
pub mod json;
pub mod unpack;

use bytes::Bytes;
use seam_shared::Result;
use seam_shared::view::definition::Source;

use crate::raw_event::RawEvent;

/// How the events of a body are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One event, an array of events or NDJSON: the body tells which.
    Json,
    /// One event a line.
    Ndjson,
    /// Rows under a header of names.
    Csv,
    /// One CloudEvent with its attributes in the body.
    CloudEvent,
    /// An array of CloudEvents.
    CloudEvents,
    /// One CloudEvent with its attributes (name and value) in the headers.
    CloudEventData(Vec<(String, String)>),
}

impl Format {
    /// The format of a media type (parameters aside); `None` if there is no reader for it. What curl sends unasked
    /// (`application/x-www-form-urlencoded`) is taken as JSON.
    pub fn of_media_type(media_type: &str) -> Option<Format> {
        let name = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match name.as_str() {
            "application/json"
            | "text/json"
            | "text/plain"
            | "application/octet-stream"
            | "application/x-www-form-urlencoded"
            | "" => Format::Json,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Format::Ndjson
            }
            "text/csv" | "application/csv" => Format::Csv,
            "application/cloudevents+json" => Format::CloudEvent,
            "application/cloudevents-batch+json" => Format::CloudEvents,
            _ => return None,
        })
    }

    /// Cuts an unpacked body into events. What can be told apart as an event but is none is a refused event, not an error.
    ///
    /// # Errors
    /// `Invalid`: the body as a whole cannot be read.
    pub fn read(&self, source: &Source, body: &Bytes) -> Result<Vec<RawEvent>> {
        let body = &without_mark(body);
        match self {
            Format::Json => json::read(body),
            Format::Ndjson => Ok(json::lines(body)),
            Format::Csv => csv::read(source, body),
            Format::CloudEvent => cloud_events::read_one(source, body),
            Format::CloudEvents => cloud_events::read_batch(source, body),
            Format::CloudEventData(attributes) => cloud_events::read_data(source, attributes, body),
        }
    }
}

/// The body without a byte order mark.
fn without_mark(body: &Bytes) -> Bytes {
    body.slice(if body.starts_with(b"\xef\xbb\xbf") { 3.. } else { 0.. })
}
