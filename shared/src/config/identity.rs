//! The view's identity: a hash over everything that changes what the view holds, and over nothing else.
use serde_json::{Value, json};

use crate::event::url::UrlRule;
use crate::state::ViewId;
use crate::view::aggregate::partial::Aggregate;
use crate::view::definition::{Field, Origin, StateDefinition, StateKind, View};
use crate::view::expression::Expression;
use crate::view::value::Value as Literal;

/// Raised when the same definition begins to mean something else, so that stored partials of old are not mixed in.
const SEMANTICS_VERSION: u32 = 1;

/// `name@` and twelve hex digits. Windows, names of measures and metrics do not count: they are asked of the same partials.
pub(super) fn of(view: &View) -> ViewId {
    let hash = blake3::hash(canonical(view).to_string().as_bytes()).to_hex();
    format!("{}@{}", view.name, &hash[..12]).into()
}

/// The definition in one spelling, whatever the order of keys in the file. Positions of fields in the source do not count.
fn canonical(view: &View) -> Value {
    let source = &view.source;
    let name_of = |field: usize| source.fields[field].name.as_str();
    let states: Vec<Value> = view.states.iter().map(|definition| state(definition, &name_of)).collect();
    let dimensions: Vec<&str> = view.keys().iter().map(|d| name_of(d.field)).collect();
    let mut all = json!({
        "semantics": SEMANTICS_VERSION,
        "source": source.name,
        "id": source.id,
        "time": source.time,
        "fields": fields(view),
        "filter": view.filter.as_ref().map(|condition| filter(condition, &name_of)),
        "dimensions": dimensions,
        "pane": view.pane.0,
        "states": states,
        "duplicates": source.duplicates.map(|rule| json!([rule.horizon.0, rule.max_records])),
        "segments": [json!(source.segments.max_events), json!(source.segments.interval.0)],
    });
    // A wider type lets events count that did not before, for every view of the source.
    let widened: Vec<Value> = source.fields.iter().filter_map(widened).collect();
    if !widened.is_empty() {
        all["widened"] = Value::Array(widened);
    }
    // its files are others, though they hold the same
    if view.keyed {
        all["keyed"] = json!(true);
    }
    if let Some(records) = view.count_window {
        all["count_window"] = json!(records);
    }
    all
}

/// A state's kind, field and conditions.
fn state<'n>(state: &StateDefinition, name_of: &dyn Fn(usize) -> &'n str) -> Value {
    let kind = match state.kind {
        StateKind::Count => "count".to_owned(),
        StateKind::Fixed { scale } => format!("fixed({scale})"),
        StateKind::Float => "float".to_owned(),
        StateKind::Partial(Aggregate::Variance, _) => "variance".to_owned(),
        StateKind::Partial(Aggregate::Distinct, _) => "distinct".to_owned(),
        StateKind::Partial(Aggregate::Quantiles(parts), _) => format!("quantiles({parts})"),
        StateKind::Partial(Aggregate::First, _) => "first".to_owned(),
        StateKind::Partial(Aggregate::Last, _) => "last".to_owned(),
        StateKind::Partial(Aggregate::Histogram, _) => "histogram".to_owned(),
        StateKind::Partial(Aggregate::Sessions(gap), _) => format!("sessions({})", gap.0),
        StateKind::Partial(Aggregate::Net, _) => "net".to_owned(),
    };
    let mut parts = vec![json!(kind), json!(state.field.map(name_of))];
    // what a state has only now and then is left out where it has not: its identity stays what it was
    if let Some(condition) = &state.filter {
        parts.push(json!({ "where": filter(condition, name_of) }));
    }
    if let Some(condition) = &state.retract {
        parts.push(json!({ "retract": filter(condition, name_of) }));
    }
    if !state.bounds.is_empty() {
        parts.push(json!({ "bounds": state.bounds.iter().map(literal).collect::<Vec<_>>() }));
    }
    Value::Array(parts)
}

fn widened(field: &Field) -> Option<Value> {
    match field.origin {
        Origin::Widened(before) => Some(json!([field.name, before.to_string(), field.field_type.to_string()])),
        Origin::First | Origin::Optional => None,
    }
}

/// The fields that the view reads, with their places and types, by name.
fn fields(view: &View) -> Vec<Value> {
    let mut used: Vec<usize> = view.keys().iter().map(|d| d.field).collect();
    used.extend(view.states.iter().filter_map(|state| state.field));
    let of_states = view.states.iter().flat_map(|state| state.filter.iter().chain(&state.retract));
    of_states.for_each(|filter| filter.fields(&mut used));
    view.filter.iter().for_each(|filter| filter.fields(&mut used));
    let mut fields: Vec<&Field> = used.iter().map(|&field| &view.source.fields[field]).collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields.dedup();
    let spelled = |field: &&Field| match field.origin {
        Origin::Optional => json!([field.name, field.path, field_type(field), "optional"]),
        Origin::First | Origin::Widened(_) => json!([field.name, field.path, field_type(field)]),
    };
    fields.iter().map(spelled).collect()
}

/// A field's type, and for URLs the form that they are brought into.
fn field_type(field: &Field) -> String {
    match field.url {
        None => field.field_type.to_string(),
        Some(UrlRule::Keep) => "url".to_owned(),
        Some(UrlRule::Drop) => "url without query".to_owned(),
    }
}

/// A filter as a tree of names and literals: however it was spelled, and wherever its fields stand in the source.
fn filter<'n>(expression: &Expression, name_of: &dyn Fn(usize) -> &'n str) -> Value {
    let all = |parts: &[Expression]| parts.iter().map(|part| filter(part, name_of)).collect::<Vec<_>>();
    match expression {
        Expression::Compare(field, comparison, value) => {
            json!([comparison.symbol(), name_of(*field), literal(value)])
        }
        Expression::In(field, values) => json!(["in", name_of(*field), values.iter().map(literal).collect::<Vec<_>>()]),
        Expression::IsNull(field) => json!(["null", name_of(*field)]),
        Expression::Not(inner) => json!(["not", filter(inner, name_of)]),
        Expression::And(parts) => json!(["and", all(parts)]),
        Expression::Or(parts) => json!(["or", all(parts)]),
    }
}

fn literal(value: &Literal) -> Value {
    match value {
        Literal::Null => Value::Null,
        Literal::Bool(flag) => json!(flag),
        Literal::Int(number) => json!(number),
        Literal::Decimal(unscaled, scale) => json!(["decimal", unscaled.to_string(), scale]),
        Literal::Float(number) => json!(["float", number.to_bits()]),
        Literal::Str(text) => json!(text),
    }
}
