//! From merged states to the rows of an answer: figures, ratios, empty windows, order and limit. Pure.
pub mod figures;
pub mod rate;
mod rows;
pub mod table;

use std::cmp::Ordering;
use std::ops::Range;

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::{Figures, State};
use seam_shared::view::rows::{Rows, States};
use seam_shared::view::value::{FieldType, Value, decimal_to_double, quotient};

use crate::query::{Fill, OrderBy, OrderKey, POINTS_MAX, Query, Refusal, Term};

use table::{Cells, Table};

/// The rows of an answer, in the query's order.
#[derive(Debug)]
pub struct Points {
    /// The merged states of each term, by window and key.
    merged: Rows,
    /// The rows to show.
    pub list: Vec<Point>,
    /// Where the view's data begins, if it has any and that was asked for.
    begin: Option<Timestamp>,
    /// A session may go on behind what was read for it.
    pub goes_on: bool,
}

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The window's end.
    pub time: Timestamp,
    /// The metric's value.
    pub value: Value,
    /// A row of the merged states with its key.
    key: u32,
    /// Whether that row is its own; else it has no events.
    is_own: bool,
}

/// The rows of an answer from the merged states of each term, in the query's order; not yet limited. `begin` is where the view's
/// data begins; it matters to rates.
///
/// # Errors
/// `TooLarge` when filled rows are more than may be computed.
pub fn points(query: &Query, merged: Rows, begin: Option<Timestamp>) -> Result<Points, Refusal> {
    let mut points = Points { list: Vec::with_capacity(merged.len()), merged, begin, goes_on: false };
    for (key, &time) in (0..).zip(&points.merged.panes) {
        let mut point = Point { time, value: Value::Null, key, is_own: true };
        point.value = points.value(query, &point);
        points.list.push(point);
    }
    points.fill(query)?;
    let Points { merged, list, .. } = &mut points;
    if let Some(top) = query.top {
        keep_top(query, merged, list, top);
    }
    if !query.order.is_empty() {
        list.sort_by(|a, b| compare(&query.order, merged, a, b));
    }
    Ok(points)
}

/// The value of a window without events.
pub fn value_of_nothing(query: &Query) -> Value {
    let mut values =
        query.terms.iter().map(|term| State::empty(term.kind()).present(term.definition()).get(term.figure));
    match (values.next(), values.next()) {
        (Some(numerator), Some(denominator)) => ratio(&numerator, &denominator),
        (Some(value), None) => value,
        (None, _) => Value::Null,
    }
}

/// The type of a query's dimension.
pub fn dimension_type(query: &Query, d: usize) -> FieldType {
    let of_term = |term: &Term| Some(term.view.dimensions[*term.dimensions.get(d)?].field_type);
    query.terms.first().and_then(of_term).unwrap_or(FieldType::String)
}

/// The type of a query's value.
pub fn value_type(query: &Query) -> FieldType {
    match &query.terms[..] {
        [term] if query.rate.is_none() => figures::type_of(term, term.figure),
        _ => FieldType::Float,
    }
}

/// What a row shows behind its value.
fn figure_columns(query: &Query) -> Vec<(String, FieldType)> {
    match &query.terms[..] {
        [term] => figures::columns(term),
        [numerator, denominator, ..] => {
            let of = |name: &str, term: &Term| (name.to_owned(), figures::type_of(term, term.figure));
            vec![of("numerator", numerator), of("denominator", denominator)]
        }
        [] => Vec::new(),
    }
}

/// The order of two values; null is behind all others.
pub fn compare_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        // A filled zero is an integer among values that may be decimals or doubles.
        (x, y) if std::mem::discriminant(x) != std::mem::discriminant(y) => {
            as_double(x).partial_cmp(&as_double(y)).unwrap_or(Ordering::Equal)
        }
        (x, y) => x.cmp(y),
    }
}

/// The order of two values, the smallest first or the largest; null comes last in either direction.
pub fn order_of_values(a: &Value, b: &Value, descending: bool) -> Ordering {
    let order = compare_values(a, b);
    if descending && *a != Value::Null && *b != Value::Null { order.reverse() } else { order }
}

/// What is known of a row: the figures of the measured field, or of numerator and denominator.
enum Known {
    One(Figures),
    Two(Value, Value),
}

impl Known {
    fn value(&self, query: &Query) -> Value {
        match (self, query.terms.first()) {
            (Known::One(figures), Some(term)) => figures.get(term.figure),
            (Known::One(_), None) => Value::Null,
            (Known::Two(numerator, denominator), _) => ratio(numerator, denominator),
        }
    }
}

fn ratio(numerator: &Value, denominator: &Value) -> Value {
    if let Some(exact) = exact_ratio(numerator, denominator, 1, 1) {
        return Value::Float(exact);
    }
    match (as_double(numerator), as_double(denominator)) {
        (Some(n), Some(d)) if d != 0.0 && (n / d).is_finite() => Value::Float(n / d),
        _ => Value::Null,
    }
}

/// `(value * times) / (by * parts)`, rounded once; `None` where one of the two is no integer or decimal, the second is 0, or
/// the digits are too many.
pub fn exact_ratio(value: &Value, by: &Value, times: i64, parts: i64) -> Option<f64> {
    let whole = |value: &Value| match value {
        Value::Int(int) => Some((i128::from(*int), 0)),
        Value::Decimal(unscaled, scale) => Some((*unscaled, *scale)),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::Str(_) => None,
    };
    let ((above, of_above), (below, of_below)) = (whole(value)?, whole(by)?);
    let power = |scale: u8| 10i128.pow(scale.into());
    let above = above.checked_mul(times.into())?.checked_mul(power(of_below))?;
    let below = below.checked_mul(parts.into())?.checked_mul(power(of_above))?;
    let above = if below < 0 { above.checked_neg()? } else { above };
    (below != 0).then(|| quotient(above, below.unsigned_abs()))
}

pub fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        Value::Decimal(d, scale) => Some(decimal_to_double(*d, *scale)),
        Value::Float(f) => Some(*f),
        Value::Null | Value::Bool(_) | Value::Str(_) => None,
    }
}

/// The codes of a row's key, which compare as its values do.
fn codes(merged: &Rows, row: u32) -> impl Iterator<Item = u32> {
    merged.dimensions.iter().map(move |dimension| dimension.codes[row as usize])
}

/// Of each time the rows that the order puts first; without an order, those with the largest value. They are then in that order.
fn keep_top(query: &Query, merged: &Rows, list: &mut Vec<Point>, top: usize) {
    let largest = [OrderKey { by: OrderBy::Value, descending: true }];
    let order = if query.order.is_empty() { &largest[..] } else { &query.order };
    let mut kept = Vec::with_capacity(list.len().min(top * query.times.count()));
    // Rows come by time.
    for of_time in list.chunk_by_mut(|a, b| a.time == b.time) {
        let by_order = |a: &Point, b: &Point| compare(order, merged, a, b);
        let first = of_time.len().min(top);
        if first < of_time.len() {
            of_time.select_nth_unstable_by(first, by_order);
        }
        of_time[..first].sort_unstable_by(by_order);
        kept.extend_from_slice(&of_time[..first]);
    }
    *list = kept;
}

fn compare(order: &[OrderKey], merged: &Rows, a: &Point, b: &Point) -> Ordering {
    for key in order {
        let ordering = match key.by {
            OrderBy::Time => a.time.cmp(&b.time),
            OrderBy::Dimension(d) => {
                let code = |point: &Point| merged.dimensions[d].codes[point.key as usize];
                code(a).cmp(&code(b))
            }
            OrderBy::Value => match order_of_values(&a.value, &b.value, key.descending) {
                Ordering::Equal => continue,
                found => return found,
            },
        };
        let ordering = if key.descending { ordering.reverse() } else { ordering };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    a.time.cmp(&b.time).then_with(|| codes(merged, a.key).cmp(codes(merged, b.key)))
}

impl Points {
    /// A row's value of dimension `d` of the query.
    pub fn dimension(&self, point: &Point, d: usize) -> &Value {
        self.merged.value(d, point.key as usize)
    }
    fn figures(&self, query: &Query, point: &Point) -> Known {
        let states = query.terms.iter().zip(&self.merged.states);
        let mut figures = states.map(|(term, states)| {
            let state = if point.is_own { states.get(point.key as usize) } else { State::empty(term.kind()) };
            (term, state.present(term.definition()))
        });
        match (figures.next(), figures.next()) {
            (Some((numerator, a)), Some((denominator, b))) => {
                Known::Two(a.get(numerator.figure), b.get(denominator.figure))
            }
            (Some((_, figures)), None) => Known::One(figures),
            (None, _) => Known::Two(Value::Null, Value::Null),
        }
    }
    /// A row's value: what its figures say, or so much of that per time.
    fn value(&self, query: &Query, point: &Point) -> Value {
        let value = match (&query.terms[..], &self.merged.states[..]) {
            ([term], [states]) if point.is_own => states.figure(point.key as usize, term.definition(), term.figure),
            _ => self.figures(query, point).value(query),
        };
        match &query.rate {
            Some(rate) => rate.of(&value, rate.covered(query.window_of(point.time), self.begin)),
            None => value,
        }
    }
    /// The seconds that a row's window covers, where its value is a rate.
    fn covered_seconds(&self, query: &Query, point: &Point) -> Option<Value> {
        let covered = query.rate.as_ref()?.covered(query.window_of(point.time), self.begin);
        Some(Value::Int(covered.0 / Span::SECOND.0))
    }
    /// A row for a window without events.
    fn empty(&self, query: &Query, time: Timestamp, key: u32) -> Point {
        let mut point = Point { time, value: Value::Null, key, is_own: false };
        point.value = match query.fill {
            Fill::Null => Value::Null,
            Fill::Zero => Value::Int(0),
            Fill::Natural | Fill::None => self.value(query, &point),
        };
        point
    }
    fn fill(&mut self, query: &Query) -> Result<(), Refusal> {
        let merged = &self.merged;
        let keys: Vec<u32> = match query.fill {
            Fill::None => return Ok(()),
            Fill::Natural if !query.dimensions.is_empty() => return Ok(()),
            _ if query.dimensions.is_empty() => vec![0],
            Fill::Natural | Fill::Null | Fill::Zero => {
                let mut keys: Vec<u32> = (0..merged.len() as u32).collect();
                keys.sort_by(|a, b| codes(merged, *a).cmp(codes(merged, *b)));
                keys.dedup_by(|a, b| codes(merged, *a).eq(codes(merged, *b)));
                keys
            }
        };
        let total = keys.len() * query.times.count();
        if total > POINTS_MAX {
            return Err(Refusal::too_large(format!(
                "{} groups at {} times are {total} points; at most {POINTS_MAX} are computed",
                keys.len(),
                query.times.count()
            )));
        }
        if self.list.len() == total {
            return Ok(());
        }
        let mut found = std::mem::take(&mut self.list).into_iter().peekable();
        for i in 0..query.times.count() {
            let time = query.times.end(i);
            for &key in &keys {
                let is_this =
                    |point: &Point| point.time == time && codes(&self.merged, point.key).eq(codes(&self.merged, key));
                let point = found.next_if(is_this).unwrap_or_else(|| self.empty(query, time, key));
                self.list.push(point);
            }
        }
        Ok(())
    }
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let merged = self.merged.len() * (8 + 4 * self.merged.dimensions.len() + 112 * self.merged.states.len());
        let partials: usize = self.merged.states.iter().map(States::heap_bytes).sum();
        merged + partials + self.list.len() * size_of::<Point>()
    }
    /// Rows as a table: what CSV, Arrow and Parquet show.
    pub fn table(&self, query: &Query, rows: Range<usize>) -> Table {
        let list = &self.list[rows];
        let mut table = Table::new(list.len()).in_zone(query.zone);
        table.push("time", Cells::Times(list.iter().map(|point| point.time).collect()));
        table.push("start", Cells::Times(list.iter().map(|point| query.window_of(point.time).0).collect()));
        if query.times.ended.is_some() {
            let is_partial = |point: &Point| query.is_partial(point.time).map_or(Value::Null, Value::Bool);
            table.push("partial", Cells::Values(FieldType::Bool, list.iter().map(is_partial).collect()));
        }
        for (d, name) in query.dimensions.iter().enumerate() {
            let values = list.iter().map(|point| self.dimension(point, d).clone()).collect();
            table.push(name, Cells::Values(dimension_type(query, d), values));
        }
        let values = list.iter().map(|point| point.value.clone()).collect();
        table.push("value", Cells::Values(value_type(query), values));
        if query.rate.is_some() {
            let seconds = list.iter().map(|point| self.covered_seconds(query, point).unwrap_or(Value::Null));
            table.push("covered_seconds", Cells::Values(FieldType::Int, seconds.collect()));
        }
        let figures = figure_columns(query);
        let mut columns: Vec<Vec<Value>> = figures.iter().map(|_| Vec::with_capacity(list.len())).collect();
        for point in list.iter().filter(|_| !figures.is_empty()) {
            let cells = match self.figures(query, point) {
                Known::One(known) => figures::cells(&known),
                Known::Two(numerator, denominator) => vec![numerator, denominator],
            };
            columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        }
        for ((name, kind), values) in figures.into_iter().zip(columns) {
            table.push(name, Cells::Values(kind, values));
        }
        table
    }
}

#[cfg(test)]
mod tests;
