//! Refused events: kept in the log with the reason, in the topic `<source>.dlq`.
use std::sync::Arc;

use seam_shared::log::{EventLog, Offset, Partition};
use seam_shared::time::Timestamp;
use seam_shared::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::door::{Door, RawEvent, Receipt};
use crate::limits;

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
            Err(_) => out["event_base64"] = base64(&self.event).into(),
        }
        out
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
        event_base64: text.is_none().then(|| base64(kept)),
        event: text,
    };
    serde_json::to_vec(&stored).expect("strings and numbers can be written as JSON")
}

fn decode(offset: Offset, timestamp: Timestamp, value: &[u8]) -> Result<DeadLetter> {
    let damaged = || Error::corrupt(format!("dead letter {offset} is damaged"));
    let stored: Stored = serde_json::from_slice(value).map_err(|e| damaged().because(e))?;
    let event = match (stored.event, stored.event_base64) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(text)) => from_base64(&text).ok_or_else(damaged)?,
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

/// Sends a dead letter through the door again, e.g. after the source's definition was mended. The letter stays; if it is
/// refused again there is a second one.
///
/// # Errors
/// `Invalid` if the event was too large to keep whole; those of [`show`] and [`Door::submit`].
pub async fn replay(door: &Door, source: &str, offset: Offset) -> Result<Receipt> {
    let letter = show(door.log(), source, offset).await?;
    if letter.event.len() as u64 != letter.bytes {
        return Err(Error::invalid(format!("dead letter {offset} of source `{source}` was too large to keep whole")));
    }
    door.submit(source, vec![RawEvent::new(letter.line, letter.event)]).await
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 with padding.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number = (0..3).fold(0usize, |n, i| n << 8 | usize::from(*three.get(i).unwrap_or(&0)));
        for digit in 0..4 {
            let present = digit <= three.len();
            out.push(if present { char::from(DIGITS[number >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    out
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.as_bytes().chunks(4) {
        let digits: Vec<usize> = four
            .iter()
            .take_while(|b| **b != b'=')
            .map(|b| DIGITS.iter().position(|d| d == b))
            .collect::<Option<_>>()?;
        let number = (0..4).fold(0usize, |n, i| n << 6 | digits.get(i).unwrap_or(&0));
        let bytes = u32::try_from(number).ok()?.to_be_bytes();
        out.extend_from_slice(bytes.get(1..digits.len())?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_the_standard_has_it() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(from_base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_base64(&base64(&all)), Some(all));
        assert_eq!(from_base64("Z!=="), None);
    }

    #[test]
    fn letters_keep_the_original_bytes() {
        for bytes in [&b"{\"a\":1}"[..], &b"\xff\x00x"[..]] {
            let record = encode("clicks", &RawEvent::new(17, bytes.to_vec()), "no", Timestamp(1_000_000));
            let letter = decode(Offset(3), Timestamp(9), &record).expect("a letter that was just written");
            assert_eq!((letter.line, letter.event, letter.received), (17, bytes.to_vec(), Timestamp(1_000_000)));
        }
        let large = RawEvent::new(1, vec![b'x'; limits::EVENT_BYTES + 1]);
        let letter = decode(Offset(0), Timestamp(0), &encode("s", &large, "no", Timestamp(0))).expect("a letter");
        assert_eq!((letter.event.len(), letter.bytes), (limits::DEAD_LETTER_BYTES, limits::EVENT_BYTES as u64 + 1));
    }
}
