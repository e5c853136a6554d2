//! `["is", "region", ["eu", null]]` and the like, read as the text of a condition over a view's dimensions. Pure.
use std::sync::Arc;

use seam_shared::view::definition::{Field, View};
use seam_shared::view::expression::Expression;
use serde_json::Value as Json;

use super::{at_member, kind};
use crate::query::{Refusal, nearest, no_dimension};

/// How deep conditions may nest.
const DEPTH_MAX: usize = 30;
/// The words that a condition may begin with.
const WORDS: [&str; 9] = ["is", "is_not", "lt", "le", "gt", "ge", "and", "or", "not"];

/// The text of a filter: one condition, or a list of those that must all be true. Each is checked against every view.
///
/// # Errors
/// A refusal that points to the part at fault.
pub fn text(filter: &Json, views: &[Arc<View>]) -> Result<String, Refusal> {
    let Json::Array(items) = filter else {
        return Err(at_member(
            "filter",
            format!("expected conditions like [\"is\", \"region\", [\"eu\"]], {}", found(filter)),
        ));
    };
    match items.first() {
        None => Err(at_member("filter", "the list of conditions is empty")),
        Some(Json::String(_)) => condition(filter, "filter", views, 0),
        Some(_) => all(items, "filter", 0, " and ", views, 0),
    }
}

fn found(value: &Json) -> String {
    format!("found {}", kind(value))
}

/// Conditions from the `first` item on, joined by a word.
fn all(
    items: &[Json],
    at: &str,
    first: usize,
    word: &str,
    views: &[Arc<View>],
    depth: usize,
) -> Result<String, Refusal> {
    let parts = items.iter().enumerate().skip(first);
    let parts: Vec<String> =
        parts.map(|(i, part)| condition(part, &format!("{at}/{i}"), views, depth + 1)).collect::<Result<_, _>>()?;
    if parts.is_empty() {
        return Err(at_member(at, "there is no condition behind this word"));
    }
    Ok(format!("({})", parts.join(word)))
}

fn condition(part: &Json, at: &str, views: &[Arc<View>], depth: usize) -> Result<String, Refusal> {
    if depth > DEPTH_MAX {
        return Err(at_member(at, format!("conditions nest deeper than {DEPTH_MAX}")));
    }
    let Json::Array(items) = part else {
        return Err(at_member(
            at,
            format!("expected a condition like [\"is\", \"region\", [\"eu\"]], {}", found(part)),
        ));
    };
    let word = items.first().and_then(Json::as_str).unwrap_or_default();
    match word {
        // A list of conditions within an `and` or `or` reads as in the bare list.
        "and" | "or" => {
            let joined = format!(" {word} ");
            match items.get(1) {
                Some(Json::Array(inner)) if items.len() == 2 && !inner.first().is_some_and(Json::is_string) => {
                    all(inner, &format!("{at}/1"), 0, &joined, views, depth)
                }
                _ => all(items, at, 1, &joined, views, depth),
            }
        }
        "not" if items.len() == 2 => Ok(format!("not {}", condition(&items[1], &format!("{at}/1"), views, depth + 1)?)),
        "not" => Err(at_member(at, "`not` takes one condition")),
        "is" | "is_not" | "lt" | "le" | "gt" | "ge" => comparison(word, items, at, views),
        _ => {
            let refusal = at_member(&format!("{at}/0"), format!("`{word}` begins no condition; {}", WORDS.join(", ")));
            Err(refusal.suggest(nearest(word, WORDS.into_iter())))
        }
    }
}

fn comparison(word: &str, items: &[Json], at: &str, views: &[Arc<View>]) -> Result<String, Refusal> {
    let [_, dimension, operand] = items else {
        return Err(at_member(at, format!("`{word}` takes a dimension and what to compare it with")));
    };
    let here = |i: usize| format!("{at}/{i}");
    let name =
        dimension.as_str().ok_or_else(|| at_member(&here(1), format!("expected a name, {}", found(dimension))))?;
    if let Some(view) = views.iter().find(|view| view.dimension(name).is_none()) {
        let known = view.dimensions.iter().map(|d| d.name.as_str());
        let refusal = at_member(&here(1), no_dimension(view, name));
        return Err(refusal.named("unknown-dimension").suggest(nearest(name, known)));
    }
    let text = match word {
        "is" | "is_not" => membership(name, operand, word == "is", &here(2))?,
        _ => {
            let symbol = match word {
                "lt" => "<",
                "le" => "<=",
                "gt" => ">",
                _ => ">=",
            };
            let literal =
                literal(operand).ok_or_else(|| at_member(&here(2), format!("expected a value, {}", found(operand))))?;
            format!("(`{name}` {symbol} {literal})")
        }
    };
    for view in views {
        let fields = fields(view);
        Expression::parse(&text, &fields).map_err(|error| at_member(&here(2), error.message))?;
    }
    Ok(text)
}

/// Whether a dimension has, or has not, one of some values. Null is a value like others here.
fn membership(name: &str, operand: &Json, is: bool, at: &str) -> Result<String, Refusal> {
    let values = match operand {
        Json::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    if values.is_empty() {
        return Err(at_member(at, "the list of values is empty"));
    }
    let mut literals = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate().filter(|(_, value)| !value.is_null()) {
        let wrong = || at_member(&format!("{at}/{i}"), format!("expected a value, {}", found(value)));
        literals.push(literal(value).ok_or_else(wrong)?);
    }
    let with_null = literals.len() < values.len();
    let (listed, null) = (format!("`{name}` in [{}]", literals.join(", ")), format!("`{name}` is null"));
    Ok(match (literals.is_empty(), with_null, is) {
        (true, _, true) => format!("({null})"),
        (true, _, false) => format!("(not {null})"),
        (false, true, true) => format!("({listed} or {null})"),
        (false, false, true) => format!("({listed})"),
        (false, true, false) => format!("(not {listed} and not {null})"),
        (false, false, false) => format!("(not {listed} or {null})"),
    })
}

/// A value as a condition's text spells it.
fn literal(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn fields(view: &View) -> Vec<Field> {
    let dimensions = view.dimensions.iter();
    let field = |name: &String, field_type| Field::new(name, vec![name.clone()], field_type);
    dimensions.map(|d| field(&d.name, d.field_type)).collect()
}
