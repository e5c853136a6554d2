//! JSON bodies: one event, an array of events, or one event a line.
use bytes::Bytes;
use seam_shared::{Error, Result};
use serde_json::value::RawValue;

use crate::raw_event::RawEvent;

/// Reads a body that does not say which of the three it is. Several lines count as NDJSON if the first of them is whole.
///
/// # Errors
/// `Invalid`: it is none of them.
pub fn read(body: &Bytes) -> Result<Vec<RawEvent>> {
    if body.trim_ascii_start().starts_with(b"[") {
        return array(body);
    }
    let error = match serde_json::from_slice::<&RawValue>(body) {
        Ok(_) => return Ok(vec![RawEvent::new(1, body.slice_ref(body.trim_ascii()))]),
        Err(error) => error,
    };
    let first = body.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty());
    match first {
        None => Err(Error::invalid("body is empty")),
        Some(line) if line.len() < body.len() && serde_json::from_slice::<&RawValue>(line).is_ok() => Ok(lines(body)),
        Some(_) => Err(Error::invalid(format!("body is no JSON: {error}"))),
    }
}

/// Reads an array of events; an event's line is its place in the array.
///
/// # Errors
/// `Invalid`: it is no array.
pub fn array(body: &Bytes) -> Result<Vec<RawEvent>> {
    let items: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|e| Error::invalid(format!("body is no JSON array: {e}")))?;
    let event = |(line, item): (u64, &RawValue)| RawEvent::new(line, body.slice_ref(item.get().as_bytes()));
    Ok((1..).zip(items).map(event).collect())
}

/// Cuts a body into its lines; empty ones are skipped, but counted.
pub fn lines(body: &Bytes) -> Vec<RawEvent> {
    let mut events = Vec::new();
    let mut line = 1;
    lines_from(body, &mut line, &mut events);
    events
}

/// [`lines`] for one part of a longer text: `line` is the number of the first line and is moved behind the last.
pub(crate) fn lines_from(body: &Bytes, line: &mut u64, events: &mut Vec<RawEvent>) {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', body).chain((!body.ends_with(b"\n")).then_some(body.len()));
    for end in ends {
        let text = body[start..end].trim_ascii();
        if !text.is_empty() {
            events.push(RawEvent::new(*line, body.slice_ref(text)));
        }
        start = end + 1;
        *line += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(body: &str) -> Result<Vec<(u64, String)>> {
        let text = |e: &RawEvent| (e.line, String::from_utf8_lossy(&e.value).into_owned());
        read(&Bytes::copy_from_slice(body.as_bytes())).map(|events| events.iter().map(text).collect())
    }

    #[test]
    fn one_event_an_array_or_lines() {
        let own = |items: &[(u64, &str)]| items.iter().map(|(n, t)| (*n, (*t).to_owned())).collect::<Vec<_>>();
        assert_eq!(cut(" {\n \"a\": 1\n}\n").expect("one"), own(&[(1, "{\n \"a\": 1\n}")]));
        assert_eq!(cut("[{\"a\":1},\n 2]").expect("array"), own(&[(1, "{\"a\":1}"), (2, "2")]));
        assert_eq!(cut("{\"a\":1}\r\n\n{\"a\":2").expect("lines"), own(&[(1, "{\"a\":1}"), (3, "{\"a\":2")]));
        for body in ["", "\n \n", "{\"a\":", "{\"a\":1}x", "[1,", "hello\n{\"a\":1}"] {
            assert!(cut(body).is_err(), "{body}");
        }
        assert_eq!(cut("[]").expect("an empty array"), vec![]);
    }
}
