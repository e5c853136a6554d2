//! From merged states to the rows of an answer: figures, ratios, empty windows, order and limit. Pure.
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use seam_shared::time::Timestamp;
use seam_shared::view::aggregate::{Figures, State};
use seam_shared::view::definition::StateKind;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;

use crate::json::Json;
use crate::query::{Fill, OrderBy, POINTS_MAX, Query, Refusal, Term};
use crate::scan::key_of;

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The window's end.
    pub time: Timestamp,
    /// The dimensions' values in the query's order.
    pub key: Vec<Value>,
    /// The metric's value.
    pub value: Value,
    /// What else is known of it.
    pub detail: Detail,
}

/// What a row shows beside its value.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// Nothing: the value is the count of events.
    Count,
    /// All figures of the measured field.
    Figures(Box<Figures>),
    /// What was divided by what.
    Ratio(Value, Value),
}

/// The rows of an answer from the merged states of each term, in the query's order; not yet limited.
///
/// # Errors
/// `TooLarge` when filled rows are more than may be computed.
pub fn points(query: &Query, merged: &[Rows]) -> Result<Vec<Point>, Refusal> {
    let mut points = match (&query.terms[..], merged) {
        ([term], [rows]) => {
            (0..rows.len()).map(|i| single(term, rows.panes[i], key_of(rows, i), &rows.states[0].get(i))).collect()
        }
        _ => ratios(query, merged),
    };
    fill(query, &mut points)?;
    if !query.order.is_empty() {
        points.sort_by(|a, b| compare(query, a, b));
    }
    Ok(points)
}

fn single(term: &Term, time: Timestamp, key: Vec<Value>, state: &State) -> Point {
    let figures = state.present(term.kind());
    let value = figures.get(term.figure);
    let detail = if term.kind() == StateKind::Count { Detail::Count } else { Detail::Figures(Box::new(figures)) };
    Point { time, key, value, detail }
}

fn ratios(query: &Query, merged: &[Rows]) -> Vec<Point> {
    let mut joined: BTreeMap<(Timestamp, Vec<Value>), Vec<Value>> = BTreeMap::new();
    let empty: Vec<Value> =
        query.terms.iter().map(|t| State::empty(t.kind()).present(t.kind()).get(t.figure)).collect();
    for (i, (term, rows)) in query.terms.iter().zip(merged).enumerate() {
        for row in 0..rows.len() {
            let parts = joined.entry((rows.panes[row], key_of(rows, row))).or_insert_with(|| empty.clone());
            parts[i] = rows.states[0].get(row).present(term.kind()).get(term.figure);
        }
    }
    joined.into_iter().map(|((time, key), parts)| ratio(time, key, &parts)).collect()
}

fn ratio(time: Timestamp, key: Vec<Value>, parts: &[Value]) -> Point {
    let (numerator, denominator) = (parts[0].clone(), parts[1].clone());
    let value = match (as_double(&numerator), as_double(&denominator)) {
        (Some(n), Some(d)) if d != 0.0 && (n / d).is_finite() => Value::Float(n / d),
        _ => Value::Null,
    };
    Point { time, key, value, detail: Detail::Ratio(numerator, denominator) }
}

fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        Value::Decimal(d, scale) => Some(*d as f64 / 10f64.powi(i32::from(*scale))),
        Value::Float(f) => Some(*f),
        Value::Null | Value::Bool(_) | Value::Str(_) => None,
    }
}

/// A row for a window without events.
fn empty_point(query: &Query, time: Timestamp, key: Vec<Value>) -> Point {
    let empty = |term: &Term| State::empty(term.kind());
    let mut point = match &query.terms[..] {
        [term] => single(term, time, key, &empty(term)),
        terms => {
            let parts: Vec<Value> = terms.iter().map(|t| empty(t).present(t.kind()).get(t.figure)).collect();
            ratio(time, key, &parts)
        }
    };
    match query.fill {
        Fill::Null => point.value = Value::Null,
        Fill::Zero => point.value = Value::Int(0),
        Fill::Natural | Fill::None => {}
    }
    point
}

fn fill(query: &Query, points: &mut Vec<Point>) -> Result<(), Refusal> {
    let keys: BTreeSet<Vec<Value>> = match query.fill {
        Fill::None => return Ok(()),
        Fill::Natural if !query.dimensions.is_empty() => return Ok(()),
        _ if query.dimensions.is_empty() => BTreeSet::from([Vec::new()]),
        Fill::Natural | Fill::Null | Fill::Zero => points.iter().map(|point| point.key.clone()).collect(),
    };
    let total = keys.len() * query.times.count;
    if total > POINTS_MAX {
        return Err(Refusal::too_large(format!(
            "{} groups at {} times are {total} points; at most {POINTS_MAX} are computed",
            keys.len(),
            query.times.count
        )));
    }
    if points.len() == total {
        return Ok(());
    }
    let mut found = std::mem::take(points).into_iter().peekable();
    for i in 0..query.times.count {
        let time = query.times.at(i);
        for key in &keys {
            let point = found.next_if(|point| point.time == time && point.key == *key);
            points.push(point.unwrap_or_else(|| empty_point(query, time, key.clone())));
        }
    }
    Ok(())
}

fn compare(query: &Query, a: &Point, b: &Point) -> Ordering {
    for key in &query.order {
        let ordering = match key.by {
            OrderBy::Time => a.time.cmp(&b.time),
            OrderBy::Dimension(d) => a.key[d].cmp(&b.key[d]),
            OrderBy::Value => match (&a.value, &b.value) {
                (Value::Null, Value::Null) => Ordering::Equal,
                (Value::Null, _) => return Ordering::Greater,
                (_, Value::Null) => return Ordering::Less,
                // A filled zero is an integer among values that may be decimals or doubles.
                (x, y) if std::mem::discriminant(x) != std::mem::discriminant(y) => {
                    as_double(x).partial_cmp(&as_double(y)).unwrap_or(Ordering::Equal)
                }
                (x, y) => x.cmp(y),
            },
        };
        let ordering = if key.descending { ordering.reverse() } else { ordering };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    a.time.cmp(&b.time).then_with(|| a.key.cmp(&b.key))
}

/// Writes the rows as an array of flat objects.
pub fn write_points(json: &mut Json, query: &Query, points: &[Point]) {
    json.open('[');
    // Rows of one time follow each other as a rule: its text is made once.
    let mut last: Option<(Timestamp, String, String)> = None;
    for point in points {
        if last.as_ref().is_none_or(|(time, ..)| *time != point.time) {
            let start = point.time.minus(query.window).to_rfc3339();
            last = Some((point.time, point.time.to_rfc3339(), start));
        }
        let Some((_, time, start)) = &last else { continue };
        json.open('{').key("time").text(time).key("start").text(start);
        for (name, value) in query.dimensions.iter().zip(&point.key) {
            json.key(name).value(value);
        }
        write_value(json, point);
        json.close('}');
    }
    json.close(']');
}

/// Writes a row's value and figures as members of the object that is open.
pub fn write_value(json: &mut Json, point: &Point) {
    json.key("value").value(&point.value);
    match &point.detail {
        Detail::Count => {}
        Detail::Ratio(numerator, denominator) => {
            json.key("numerator").value(numerator).key("denominator").value(denominator);
        }
        Detail::Figures(figures) => {
            let Figures { count, sum, avg, min, max, not_finite } = figures.as_ref();
            json.key("count").number(*count).key("sum").value(sum).key("avg").value(avg);
            json.key("min").value(min).key("max").value(max);
            let [nan, positive, negative] = *not_finite;
            if nan + positive + negative > 0 {
                json.key("not_finite").open('{').key("nan").number(nan).key("inf").number(positive);
                json.key("-inf").number(negative).close('}');
            }
        }
    }
}
