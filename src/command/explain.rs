//! `seam explain`: how an answer comes about, in sentences or as the API says it.
use std::fmt::Write as _;

use seam_shared::{Error, Result};
use serde_json::Value;

use crate::args::{Output, Query};
use crate::client::Client;
use crate::command::query;
use crate::output::counted;

/// Asks, and says it as wanted.
///
/// # Errors
/// The client's; `Invalid` for CSV.
pub fn run(client: &Client, query: &Query) -> Result<String> {
    if matches!(query.output, Output::Csv) {
        return Err(Error::invalid("an explanation has no rows that CSV could hold; take -o json"));
    }
    let explained = query::explanation(client, query)?;
    Ok(match query.output {
        Output::Json => format!("{explained:#}"),
        Output::Table | Output::Csv => sentences(&explained),
    })
}

fn sentences(explained: &Value) -> String {
    let mut out = format!(
        "{} over {}: {}, from panes after {} until {}\n",
        text(explained, "/metric"),
        text(explained, "/window"),
        count(explained, "/points", "point"),
        text(explained, "/panes/after"),
        text(explained, "/panes/until"),
    );
    for view in list(explained, "/views") {
        let rows = count(view, "/rows_at_hand", "row");
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}, panes of {}, {rows} at hand", text(view, "/id"), text(view, "/pane"));
        generation(&mut out, view);
        for partition in list(view, "/partitions") {
            speed(&mut out, partition);
        }
        if number(view, "/late/events") > 0 {
            let _ = writeln!(out, "  of the speed layer's, {} came late", count(view, "/late/events", "event"));
        }
    }
    out + &query::stamp(explained.get("stamp").unwrap_or(&Value::Null))
}

fn generation(out: &mut String, view: &Value) {
    let Some(generation) = view.get("generation").filter(|generation| generation.is_object()) else {
        let _ = writeln!(out, "  no generation");
        return;
    };
    let files = list(generation, "/files");
    let _ = writeln!(
        out,
        "  generation {}, published {}: {} of {}",
        number(generation, "/number"),
        text(generation, "/published"),
        files.len(),
        count(generation, "/files_in_all", "file"),
    );
    for file in files {
        let (rows, bytes) = (count(file, "/rows", "row"), count(file, "/bytes", "byte"));
        let _ = writeln!(out, "    {}: {rows}, {bytes}", text(file, "/path"));
    }
}

fn speed(out: &mut String, partition: &Value) {
    let _ = write!(out, "  {}@{}", text(partition, "/partition"), number(partition, "/coverage"));
    if partition.get("position").is_some_and(Value::is_u64) {
        let _ = write!(
            out,
            ": the speed layer holds {} to {}; {} of {}, and {} of the open one from {}",
            number(partition, "/floor"),
            number(partition, "/position"),
            number(partition, "/closed_segments_used"),
            count(partition, "/closed_segments", "closed segment"),
            count(partition, "/open_segment/rows", "row"),
            number(partition, "/open_segment/start"),
        );
    }
    out.push('\n');
}

fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or("nothing")
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

fn count(value: &Value, path: &str, noun: &str) -> String {
    counted(number(value, path), noun)
}

fn list<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_names_files_segments_and_shares() {
        let file = json!({ "path": "views/v@1/part-a.parquet", "bytes": 1242, "rows": 1 });
        let explained = json!({
            "metric": "events.total", "window": "1d", "points": 1,
            "panes": { "after": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z" },
            "views": [{
                "id": "v@1", "pane": "10s", "rows_at_hand": 5, "late": { "rows": 1, "events": 2 },
                "generation": { "number": 3, "published": "2026-01-03T00:00:00Z", "files_in_all": 6, "files": [file] },
                "partitions": [{
                    "partition": "clicks/0", "coverage": 34, "position": 34, "floor": 32,
                    "closed_segments": 1, "closed_segments_used": 0, "open_segment": { "start": 32, "rows": 2 },
                }],
            }],
            "stamp": { "coverage": "clicks/0@34", "views": [{
                "view": "v", "generation": 3, "batch": { "text": "clicks/0@32" }, "speed": { "text": "clicks/0@34" },
                "excluded": { "invalid": 0, "duplicates": 1 },
                "shares": { "batch": { "events": 16 }, "speed": { "events": 1 } },
            }] },
        });
        let said = "events.total over 1d: 1 point, from panes after 2026-01-01T00:00:00Z until 2026-01-02T00:00:00Z\n\
            v@1, panes of 10s, 5 rows at hand\n  generation 3, published 2026-01-03T00:00:00Z: 1 of 6 files\n    \
            views/v@1/part-a.parquet: 1 row, 1242 bytes\n  clicks/0@34: the speed layer holds 32 to 34; 0 of 1 closed \
            segment, and 2 rows of the open one from 32\n  of the speed layer's, 2 events came late\nexact up to \
            clicks/0@34\nv: generation 3 to clicks/0@32 (16 events), speed to clicks/0@34 (1 event)\n    left out: 1 duplicate";
        assert_eq!(sentences(&explained), said);
    }
}
