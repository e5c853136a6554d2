//! `seam query`: asks a running Seam, and prints the answer with its stamp.
use seam_shared::{Error, Result};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::args::{Output, Query};
use crate::client::Client;
use crate::output::counted;
use crate::table::table;

/// The points of an answer, with each value as it is written.
#[derive(Deserialize)]
struct Points {
    points: Vec<Point>,
}

/// Names and values in the order of the answer; `None` is null. Texts that would look like something else are quoted, as they
/// are written in a question.
struct Point(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Point;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a point")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Point, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    let text = match serde_json::from_str(value.get()) {
                        Ok(Value::Null) => None,
                        Ok(Value::String(text)) if text.is_empty() || text == "null" || text.starts_with('"') => {
                            Some(value.get().to_owned())
                        }
                        Ok(Value::String(text)) => Some(text),
                        _ => Some(value.get().to_owned()),
                    };
                    members.push((name, text));
                }
                Ok(Point(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn parameters(query: &Query) -> Vec<(&'static str, String)> {
    let mut out: Vec<(&'static str, String)> = query.by.iter().map(|by| ("dimension", by.clone())).collect();
    let optional = [
        ("window", &query.window),
        ("cumulative", &query.cumulative),
        ("tz", &query.tz),
        ("from", &query.from),
        ("to", &query.to),
        ("at", &query.at),
        ("step", &query.step),
        ("per", &query.per),
        ("order", &query.order),
        ("fill", &query.fill),
        ("where", &query.condition),
        ("layer", &query.layer),
        ("min_position", &query.min_position),
    ];
    out.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    out.extend(query.limit.map(|limit| ("limit", limit.to_string())));
    out.extend(query.top.map(|top| ("top", top.to_string())));
    out.extend(query.is_final.then(|| ("final", "true".to_owned())));
    out
}

/// `seam query`: the answer, then in a table its stamp.
pub fn query(client: &Client, query: &Query) -> Result<String> {
    let path = format!("/api/analytics/metrics/{}", in_path(&query.metric));
    // The server's own CSV tells the empty text from none.
    let extension = if let Output::Csv = query.output { ".csv" } else { "" };
    let mut reply = client.get(&(path + extension), &parameters(query))?;
    let text = std::mem::take(&mut reply.text);
    let answer = reply.success()?;
    if !matches!(query.output, Output::Table) {
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let read: Points = serde_json::from_str(&text)
        .map_err(|e| Error::internal("the answer is not what this version of seam expects").because(e))?;
    let dimensions = answer.get("dimensions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (names, rows) = columns(&read.points, &dimensions.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let mut lines = vec![table(&names, &rows)];
    if answer.pointer("/meta/truncated").and_then(Value::as_bool) == Some(true) {
        let all = answer.pointer("/meta/rows").and_then(Value::as_u64).unwrap_or_default();
        lines.push(format!("{} of {all} rows; --limit shows more, 10000 at most", rows.len()));
    }
    lines.extend(completeness(&answer));
    lines.push(stamp(answer.pointer("/meta/stamp").unwrap_or(&Value::Null)));
    Ok(lines.join("\n"))
}

/// How the answer comes about.
pub fn explanation(client: &Client, query: &Query) -> Result<Value> {
    let path = format!("/api/analytics/explain/{}", in_path(&query.metric));
    client.get(&path, &parameters(query))?.success()
}

/// A name as it is written in a path: whatever was typed is one name, and the server says that there is none of it.
fn in_path(name: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || byte == b'.' && !name.starts_with('.');
    let letter = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(letter).collect()
}

/// Column names in the order of their first appearance, and the rows.
/// Where there is no figure a cell is empty; a dimension is null.
fn columns(points: &[Point], dimensions: &[&str]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in points.iter().flat_map(|point| &point.0) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let cell = |point: &Point, name: &String| {
        let found = point.0.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.clone());
        found.unwrap_or_else(|| if dimensions.contains(&name.as_str()) { "null".to_owned() } else { String::new() })
    };
    let rows = points.iter().map(|p| names.iter().map(|n| cell(p, n)).collect()).collect();
    (names, rows)
}

/// How many events of an answer came out of a generation.
pub fn batch_events(client: &Client, query: &Query) -> Result<u64> {
    Ok(shares(&answer(client, query)?).0)
}

/// What each half put into an answer, in a sentence.
pub fn parts(client: &Client, query: &Query) -> Result<String> {
    Ok(match shares(&answer(client, query)?) {
        (0, speed) => format!("The answer is the speed layer's: {speed} events"),
        (batch, speed) => format!("The answer is the batch layer's ({batch} events) and the speed layer's ({speed})"),
    })
}

fn answer(client: &Client, query: &Query) -> Result<Value> {
    client.get(&format!("/api/analytics/metrics/{}", query.metric), &parameters(query))?.success()
}

/// The events that batch and speed put into an answer from one view.
fn shares(answer: &Value) -> (u64, u64) {
    let events = |half: &str| answer.pointer(&format!("/meta/stamp/views/0/shares/{half}/events"));
    let count = |half: &str| events(half).and_then(Value::as_u64).unwrap_or_default();
    (count("batch"), count("speed"))
}

/// Of an answer with complete windows only: how far it goes.
fn completeness(answer: &Value) -> Option<String> {
    let text = |path: &str| answer.pointer(path).and_then(Value::as_str).unwrap_or("nothing");
    answer.pointer("/meta/final")?;
    let through = format!("complete through {}", text("/meta/final_through"));
    let left_out = answer.pointer("/meta/left_out").and_then(Value::as_u64).filter(|windows| *windows > 0);
    Some(match left_out {
        Some(windows) => format!("{through}\n{} left out: {}", counted(windows, "window"), text("/meta/why")),
        None => through,
    })
}

/// What a stamp says, in sentences.
pub fn stamp(stamp: &Value) -> String {
    let coverage = stamp.get("coverage").and_then(Value::as_str).unwrap_or("nothing");
    let mut lines = vec![format!("exact up to {coverage}")];
    for view in stamp.get("views").and_then(Value::as_array).into_iter().flatten() {
        let part = |path: &str| view.pointer(path).and_then(Value::as_str).unwrap_or("nothing").to_owned();
        let number = |path: &str| view.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        let events = |half: &str| counted(number(&format!("/shares/{half}/events")), "event");
        let generation = view.get("generation").and_then(Value::as_u64).map_or_else(
            || "no generation yet".to_owned(),
            |g| format!("generation {g} to {} ({})", part("/batch/text"), events("batch")),
        );
        lines.push(format!("{}: {generation}, speed to {} ({})", part("/view"), part("/speed/text"), events("speed")));
        let parts = [("/excluded/duplicates", "duplicate"), ("/excluded/invalid", "invalid record")];
        let parts = parts.map(|(path, noun)| (number(path), noun)).into_iter().filter(|(found, _)| *found > 0);
        let parts: Vec<String> = parts.map(|(found, noun)| counted(found, noun)).collect();
        if !parts.is_empty() {
            lines.push(format!("    left out: {}", parts.join(", ")));
        }
    }
    lines.join("\n")
}
