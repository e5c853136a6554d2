//! What the single texts of the file mean: names, paths, numbers, sizes, zones, types of fields.
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::report::nearest;
use crate::view::value::FieldType;

/// What is wrong, and perhaps a suggestion.
pub(super) type Wrong = (String, Option<String>);

/// A text field that holds URLs.
pub(super) const URL: &str = "url";

/// Whether the text is a name as they are allowed everywhere; the error says what is.
pub(super) fn identifier(text: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
    if text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(good) && text.len() <= 63 {
        return Ok(());
    }
    let rule = "lower-case letters, digits, _ and . after a first letter, at most 63";
    let mut better = String::new();
    for c in text.chars() {
        if c.is_ascii_uppercase() && !better.is_empty() && !better.ends_with(['_', '.']) {
            better.push('_');
        }
        better.push(if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '_' });
    }
    let better = better.trim_matches('_');
    if better.starts_with(|c: char| c.is_ascii_lowercase()) && better.len() <= 63 {
        return Err(format!("write {rule}, like `{better}`"));
    }
    Err(format!("write {rule}"))
}

/// Reads `65536` and `65_536`.
pub(super) fn whole_number(text: &str) -> Option<i64> {
    if text.starts_with('_') || text.ends_with('_') { None } else { text.replace('_', "").parse().ok() }
}

/// Reads `127.0.0.1:8080`, or `localhost:8080` as the same. Other names are for a resolver to know, and a file means the same anywhere.
pub fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    }
}

/// Reads `512`, `64KiB`, `16MiB`, `1GB` as bytes, at least 1.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

/// Reads `$.a.b` or `$.a['b.c']` as member names from the outermost object inwards; the error may hold a suggestion.
pub(super) fn path(text: &str) -> Result<Vec<String>, Option<String>> {
    let Some(mut rest) = text.strip_prefix('$') else {
        let plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
        return Err(plain.then(|| format!("did you mean `$.{text}`?")));
    };
    let mut members = Vec::new();
    while !rest.is_empty() {
        let (member, after) = if let Some(quoted) = rest.strip_prefix("['") {
            quoted.split_once("']").ok_or(None)?
        } else {
            let tail = rest.strip_prefix('.').ok_or(None)?;
            tail.split_at(tail.find(['.', '[']).unwrap_or(tail.len()))
        };
        if member.is_empty() {
            return Err(None);
        }
        members.push(member.to_owned());
        rest = after;
    }
    if members.is_empty() { Err(None) } else { Ok(members) }
}

/// Reads an IANA time zone; the error holds a suggestion.
pub(super) fn zone(text: &str) -> Result<chrono_tz::Tz, Wrong> {
    chrono_tz::Tz::from_str(text).map_err(|_| {
        let near = nearest(text, chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name()));
        (format!("there is no time zone `{text}`"), near.or_else(|| Some("name one like Europe/Berlin".to_owned())))
    })
}

/// Reads `string`, `url`, `bool`, `int`, `float`, `decimal(2)`; the error is a message and perhaps a suggestion.
pub(super) fn field_type(text: &str) -> Result<FieldType, Wrong> {
    let text = text.trim();
    match text {
        "string" | URL => return Ok(FieldType::String),
        "bool" => return Ok(FieldType::Bool),
        "int" => return Ok(FieldType::Int),
        "float" => return Ok(FieldType::Float),
        _ => {}
    }
    let hint = || Some("write decimal(2) for two digits after the point, 0 to 18".to_owned());
    if let Some(inner) = text.strip_prefix("decimal") {
        let digits = inner.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).map(str::trim);
        return match digits.and_then(|d| d.parse::<u8>().ok()) {
            Some(scale @ 0..=18) => Ok(FieldType::Decimal(scale)),
            _ => Err((format!("`{text}` is no field type"), hint())),
        };
    }
    let alias = match text.to_lowercase().as_str() {
        "text" | "str" | "varchar" | "keyword" => Some("string"),
        "integer" | "int64" | "bigint" | "long" => Some("int"),
        "double" | "float64" | "real" | "number" => Some("float"),
        "boolean" => Some("bool"),
        "money" | "numeric" => Some("decimal(2)"),
        "uri" | "link" | "href" => Some(URL),
        _ => None,
    };
    let suggestion = match alias {
        Some(alias) => Some(format!("did you mean `{alias}`?")),
        None => nearest(text, ["string", URL, "bool", "int", "float", "decimal(2)"]),
    };
    Err((format!("`{text}` is no field type"), suggestion))
}
