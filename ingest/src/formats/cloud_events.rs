//! CloudEvents 1.0, flattened to the one form of the log: a flat JSON event.
//!
//! The members of `data` (an object) become the event's members. The context attributes follow where data has no member of
//! that name: `id` and `time` at the places that the source maps, the others (`type`, `source`, `subject`, extensions) under
//! their own names. The id is kept as it is: by the specification only `source` and `id` together are unique, so producers
//! whose ids clash must write a unique one.
use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use seam_shared::view::definition::Source;
use seam_shared::{Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::formats::json;
use crate::raw_event::RawEvent;

/// Reads a body in structured mode.
///
/// # Errors
/// `Invalid`: it is no JSON.
pub fn read_one(source: &Source, body: &Bytes) -> Result<Vec<RawEvent>> {
    let text: &RawValue =
        serde_json::from_slice(body).map_err(|e| Error::invalid(format!("body is no CloudEvent: {e}")))?;
    Ok(vec![event(1, body.slice_ref(text.get().as_bytes()), |text| structured(source, text))])
}

/// Reads a body in batched mode.
///
/// # Errors
/// `Invalid`: it is no JSON array.
pub fn read_batch(source: &Source, body: &Bytes) -> Result<Vec<RawEvent>> {
    let items = json::array(body)?;
    Ok(items.into_iter().map(|item| event(item.line, item.value, |text| structured(source, text))).collect())
}

/// Reads a body in binary mode: `attributes` come from the headers, the body is the data.
///
/// # Errors
/// None today; what is wrong with the one event is its refusal.
pub fn read_data(source: &Source, attributes: &[(String, String)], body: &Bytes) -> Result<Vec<RawEvent>> {
    let flatten_body = |text: &str| {
        let quoted: Vec<(String, String)> =
            attributes.iter().map(|(name, value)| (name.clone(), quoted(value))).collect();
        let context = quoted.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), value.as_str())).collect();
        flatten(source, context, (!text.trim().is_empty()).then_some(text))
    };
    Ok(vec![event(1, body.clone(), flatten_body)])
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn event(line: u64, original: Bytes, flatten: impl FnOnce(&str) -> Result<String, String>) -> RawEvent {
    let flat = std::str::from_utf8(&original).map_err(|_| "event is no UTF-8 text".to_owned()).and_then(flatten);
    match flat {
        Ok(flat) => RawEvent::new(line, flat),
        Err(reason) => RawEvent::refused(line, original, reason),
    }
}

fn structured(source: &Source, text: &str) -> Result<String, String> {
    let Members(mut members) = serde_json::from_str(text).map_err(|e| format!("CloudEvent is no JSON object: {e}"))?;
    let data = members.iter().rposition(|(name, _)| name == "data").map(|at| members.remove(at).1);
    if members.iter().any(|(name, _)| name == "data_base64") {
        return Err("CloudEvent has binary data; only a JSON object can be taken".to_owned());
    }
    flatten(source, members, data.filter(|text| *text != "null"))
}

/// Joins the context attributes (name and JSON text) and the data.
fn flatten(source: &Source, context: Vec<(Cow<'_, str>, &str)>, data: Option<&str>) -> Result<String, String> {
    let attribute = |name: &str| context.iter().rfind(|(n, _)| n == name).map(|(_, value)| *value);
    if attribute("specversion") != Some("\"1.0\"") {
        return Err("CloudEvent needs `specversion` \"1.0\"".to_owned());
    }
    for name in ["id", "source", "type"] {
        if attribute(name).is_none_or(|value| !value.starts_with('"') || value.len() < 3) {
            return Err(format!("CloudEvent needs `{name}`, a string that is not empty"));
        }
    }
    let data = data.unwrap_or("{}");
    let Members(mut members) =
        serde_json::from_str(data).map_err(|_| "CloudEvent `data` must be a JSON object".to_owned())?;
    let mut placed = Vec::new();
    for (name, value) in &context {
        match name.as_ref() {
            "specversion" | "datacontenttype" | "dataschema" => {}
            "id" if source.id.is_some() => placed.extend(source.id.as_deref().map(|path| (path, *value))),
            "time" => placed.push((&source.time, *value)),
            _ if members.iter().any(|(n, _)| n == name) => {}
            _ => members.push((name.clone(), value)),
        }
    }
    let mut flat = join(&members);
    for (path, value) in placed {
        flat = place(&flat, path, value)?;
    }
    Ok(flat)
}

/// The object `text` with `value` at `path`, unless it has something there (null is nothing).
fn place(text: &str, path: &[String], value: &str) -> Result<String, String> {
    let Members(mut members) = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let Some((name, rest)) = path.split_first() else { return Ok(text.to_owned()) };
    let at = members.iter().rposition(|(n, _)| n == name);
    let old = at.map_or("null", |at| members[at].1);
    let new = match (rest.is_empty(), old) {
        (true, "null") => value.to_owned(),
        (false, "null") => place("{}", rest, value)?,
        (false, inner) if inner.starts_with('{') => place(inner, rest, value)?,
        _ => return Ok(text.to_owned()),
    };
    members.retain(|(n, _)| n != name);
    members.push((Cow::Borrowed(name.as_str()), &new));
    Ok(join(&members))
}

fn join(members: &[(Cow<'_, str>, &str)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// An object's members as they are written: names, and the values' texts.
struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((Cow::Owned(name), map.next_value::<&'de RawValue>()?.get()));
                }
                Ok(Members(members))
            }
        }
        json.deserialize_map(Visit)
    }
}
