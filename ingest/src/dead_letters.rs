//! Refused events: kept in the log with the reason, in the topic `<source>.dlq`.
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seam_shared::log::{EventLog, Offset, Partition};
use seam_shared::time::Timestamp;
use seam_shared::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::raw_event::RawEvent;

/// One refused event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its offset among the source's dead letters.
    pub offset: Offset,
    /// When it was refused.
    pub received: Timestamp,
    /// Where it stood in its body or file, from 1.
    pub line: u64,
    /// Why it was refused.
    pub reason: String,
    /// Its bytes as they came in (CSV rows and CloudEvents may be in their JSON form).
    pub event: Vec<u8>,
    /// How many bytes it had; more than `event` holds if it was too large to keep.
    pub bytes: u64,
}

/// The record as stored. Bytes that are no UTF-8 text are kept as base64.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    source: String,
    line: u64,
    reason: String,
    received: String,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_base64: Option<String>,
}

impl DeadLetter {
    /// The letter as the HTTP API shows it; bytes that are no text are shown as base64.
    pub fn to_json(&self) -> serde_json::Value {
        let mut out = serde_json::json!({
            "entry": self.offset,
            "received": self.received.to_rfc3339(),
            "line": self.line,
            "reason": self.reason,
            "bytes": self.bytes,
        });
        match std::str::from_utf8(&self.event) {
            Ok(text) => out["event"] = text.into(),
            Err(_) => out["event_base64"] = BASE64.encode(&self.event).into(),
        }
        out
    }

    /// The letter that [`DeadLetter::to_json`] shows.
    ///
    /// # Errors
    /// `Corrupt` if it is none.
    pub fn from_json(letter: &serde_json::Value) -> Result<Self> {
        let no_letter = || Error::corrupt(format!("this is no dead letter: {letter}"));
        let number = |name: &str| letter[name].as_u64().ok_or_else(no_letter);
        let text = |name: &str| letter[name].as_str().ok_or_else(no_letter);
        let event = match letter["event"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => BASE64.decode(text("event_base64")?).map_err(|e| no_letter().because(e))?,
        };
        Ok(Self {
            offset: Offset(number("entry")?),
            received: Timestamp::parse_rfc3339(text("received")?).ok_or_else(no_letter)?,
            line: number("line")?,
            reason: text("reason")?.to_owned(),
            event,
            bytes: number("bytes")?,
        })
    }
}

/// The topic of a source's dead letters. It has one partition.
pub fn topic(source: &str) -> String {
    format!("{source}.dlq")
}

/// The record that keeps `event`.
pub(crate) fn encode(source: &str, event: &RawEvent, reason: &str, received: Timestamp) -> Vec<u8> {
    let whole = event.value.len() <= limits::EVENT_BYTES;
    let kept = if whole { &event.value[..] } else { &event.value[..limits::DEAD_LETTER_BYTES] };
    let text = std::str::from_utf8(kept).ok().map(str::to_owned);
    let stored = Stored {
        source: source.to_owned(),
        line: event.line,
        reason: reason.to_owned(),
        received: received.to_rfc3339(),
        bytes: event.value.len() as u64,
        event_base64: text.is_none().then(|| BASE64.encode(kept)),
        event: text,
    };
    serde_json::to_vec(&stored).expect("strings and numbers can be written as JSON")
}

fn decode(offset: Offset, timestamp: Timestamp, value: &[u8]) -> Result<DeadLetter> {
    let damaged = || Error::corrupt(format!("dead letter {offset} is damaged"));
    let stored: Stored = serde_json::from_slice(value).map_err(|e| damaged().because(e))?;
    let event = match (stored.event, stored.event_base64) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(text)) => BASE64.decode(&text).map_err(|e| damaged().because(e))?,
        (None, None) => return Err(damaged()),
    };
    let received = Timestamp::parse_rfc3339(&stored.received).unwrap_or(timestamp);
    Ok(DeadLetter { offset, received, line: stored.line, reason: stored.reason, event, bytes: stored.bytes })
}

/// The dead letters of `source` from an offset on, at most `limit`; and how many there are in all.
///
/// # Errors
/// The log's; `Corrupt` names a damaged letter.
pub async fn list(log: &Arc<dyn EventLog>, source: &str, from: Offset, limit: usize) -> Result<(Vec<DeadLetter>, u64)> {
    let topic = topic(source);
    log.open(&topic, 1).await?;
    let partition = Partition::new(topic, 0);
    let (start, end) = log.bounds(&partition).await?;
    let mut at = from.max(start);
    let mut letters = Vec::new();
    while at < end && letters.len() < limit {
        let chunk = log.read(&partition, at, limit - letters.len(), 8 << 20).await?;
        if chunk.is_empty() {
            break;
        }
        for record in chunk.iter() {
            letters.push(decode(record.offset, record.timestamp, record.value)?);
        }
        at = chunk.next;
    }
    Ok((letters, end.0 - start.0))
}

/// The newest dead letters of `source`, oldest first, at most `limit`; and how many there are in all.
///
/// # Errors
/// As [`list`].
pub async fn newest(log: &Arc<dyn EventLog>, source: &str, limit: usize) -> Result<(Vec<DeadLetter>, u64)> {
    let topic = topic(source);
    log.open(&topic, 1).await?;
    let (_, end) = log.bounds(&Partition::new(topic, 0)).await?;
    list(log, source, Offset(end.0.saturating_sub(limit as u64)), limit).await
}

/// The dead letter at an offset.
///
/// # Errors
/// `NotFound` if there is none; the log's.
pub async fn show(log: &Arc<dyn EventLog>, source: &str, offset: Offset) -> Result<DeadLetter> {
    let (letters, _) = list(log, source, offset, 1).await?;
    let letter = letters.into_iter().find(|letter| letter.offset == offset);
    letter.ok_or_else(|| Error::not_found(format!("dead letter {offset} of source `{source}` does not exist")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_keep_the_original_bytes() {
        for bytes in [&b"{\"a\":1}"[..], &b"\xff\x00x"[..]] {
            let record = encode("clicks", &RawEvent::new(17, bytes.to_vec()), "no", Timestamp(1_000_000));
            let letter = decode(Offset(3), Timestamp(9), &record).expect("a letter that was just written");
            assert_eq!(DeadLetter::from_json(&letter.to_json()).expect("the letter"), letter);
            assert_eq!((letter.line, letter.event, letter.received), (17, bytes.to_vec(), Timestamp(1_000_000)));
        }
        let large = RawEvent::new(1, vec![b'x'; limits::EVENT_BYTES + 1]);
        let letter = decode(Offset(0), Timestamp(0), &encode("s", &large, "no", Timestamp(0))).expect("a letter");
        assert_eq!((letter.event.len(), letter.bytes), (limits::DEAD_LETTER_BYTES, limits::EVENT_BYTES as u64 + 1));
    }
}
