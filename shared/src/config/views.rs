//! Views: filter, dimensions, pane, windows and measures, compiled against the source's fields.
use std::collections::BTreeSet;
use std::sync::Arc;

use super::identity;
use super::report::{Place, Problems, nearest};
use super::tree::Node;
use crate::time::Span;
use crate::view::definition::{DimensionDefinition, Field, Figure, Measure, Source, StateDefinition, StateKind, View};
use crate::view::expression::Expression;
use crate::view::value::FieldType;

/// Dimensions of one view.
const MAX_DIMENSIONS: usize = 32;
/// The windows of a view that names none.
const WINDOWS: [Span; 3] = [Span(5 * Span::MINUTE.0), Span::HOUR, Span::DAY];
/// The largest pane that is chosen by itself: calendar days of every time zone are unions of such panes.
const MAX_DEFAULT_PANE: Span = Span(15 * Span::MINUTE.0);
/// What can be called in `measures`.
const FUNCTIONS: [&str; 6] = ["count", "sum", "avg", "min", "max", "stats"];
/// What the rows of answers name so beside the dimensions: a dimension of that name would be there twice.
const ANSWER_NAMES: [&str; 11] =
    ["time", "start", "value", "count", "sum", "avg", "min", "max", "numerator", "denominator", "not_finite"];
/// What later versions will offer.
const LATER: [&str; 10] =
    ["distinct", "quantiles", "variance", "stddev", "first", "last", "top", "duration", "ratio", "rank"];

/// A measure's text taken apart, e.g. `sum(price)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MeasureCall {
    /// The function's name.
    pub function: String,
    /// The field and the byte where it stands.
    pub field: Option<(String, usize)>,
}

/// Takes `function(field)` apart; the error is the byte where it stops to be one.
pub(super) fn parse_call(text: &str) -> Result<MeasureCall, usize> {
    let open = text.find('(').ok_or(0usize)?;
    let close = text.rfind(')').filter(|close| *close > open).ok_or(text.trim_end().len().saturating_sub(1))?;
    if !text[close + 1..].trim().is_empty() {
        return Err(close + 1);
    }
    let inner = &text[open + 1..close];
    let start = open + 1 + (inner.len() - inner.trim_start().len());
    let field = (!inner.trim().is_empty()).then(|| (inner.trim().to_owned(), start));
    if let Some((name, start)) = &field
        && let Some(bad) = name.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
    {
        return Err(start + bad);
    }
    Ok(MeasureCall { function: text[..open].trim().to_owned(), field })
}

/// The views whose parts are all right, in the file's order.
pub(super) fn compile(root: &Node, sources: &[Arc<Source>], problems: &mut Problems) -> Vec<Arc<View>> {
    let entries = root.get("views").map_or(&[][..], Node::entries);
    let views = entries.iter().filter_map(|(key, node)| {
        let from = node.get("from")?;
        let name = from.text()?;
        let Some(source) = sources.iter().find(|s| s.name == name) else {
            problems.unknown(from.place, "there is no source", name, sources.iter().map(|s| s.name.as_str()));
            return None;
        };
        view(&key.name, node, source, problems).map(Arc::new)
    });
    views.collect()
}

fn view(name: &str, node: &Node, source: &Arc<Source>, problems: &mut Problems) -> Option<View> {
    let filter = node.get("where").map(|condition| expression(condition, &source.fields, problems));
    let dimensions = dimensions(node, source, problems);
    let (pane, windows) = panes(node, problems);
    let (states, measures) = measures(node, source, problems);
    let filter = match filter {
        Some(parsed) => Some(parsed?),
        None => None,
    };
    let mut view = View {
        name: name.to_owned(),
        id: "".into(),
        source: source.clone(),
        filter,
        dimensions,
        pane,
        windows,
        states,
        measures,
    };
    view.id = identity::of(&view);
    Some(view)
}

/// A condition over `fields`; what is wrong in it is shown inside the string.
pub(super) fn expression(node: &Node, fields: &[Field], problems: &mut Problems) -> Option<Expression> {
    match Expression::parse(node.text()?, fields) {
        Ok(expression) => Some(expression),
        Err(error) => {
            problems.suggest(node.inside(error.at), error.message, error.suggestion);
            None
        }
    }
}

fn dimensions(node: &Node, source: &Source, problems: &mut Problems) -> Vec<DimensionDefinition> {
    let mut out: Vec<DimensionDefinition> = Vec::new();
    let Some(list) = node.get("dimensions") else { return out };
    for (name, place) in list.texts() {
        let Some(field) = source.field(name) else {
            problems.unknown(place, &no_field(source), name, source.fields.iter().map(|f| f.name.as_str()));
            continue;
        };
        let field_type = source.fields[field].field_type;
        if ANSWER_NAMES.contains(&name) {
            let message = format!("`{name}` is a name of its own in every answer; a dimension cannot have it");
            problems.suggest(place, message, Some(format!("name the field otherwise, with `path: $.{name}`")));
        } else if is_column(name) {
            problems.add(place, format!("`{name}` is a column of its own in the view's files"));
        } else if field_type == FieldType::Float {
            let message = format!("`{name}` is a float; a dimension is string, bool, int or decimal");
            problems.suggest(place, message, Some("make the field decimal(n) if its values are exact".to_owned()));
        } else if out.iter().any(|d| d.name == name) {
            problems.add(place, format!("the dimension `{name}` is there already"));
        } else {
            out.push(DimensionDefinition { name: name.to_owned(), field, field_type });
        }
    }
    if list.items().len() > MAX_DIMENSIONS {
        problems.add(
            list.place,
            format!("a view has at most {MAX_DIMENSIONS} dimensions, this one {}", list.items().len()),
        );
    }
    out
}

/// Whether the view's files name a column of theirs so: `pane_end`, or `s0_count` and the like.
fn is_column(name: &str) -> bool {
    let state = name.strip_prefix('s').and_then(|rest| rest.split_once('_'));
    name == "pane_end" || state.is_some_and(|(n, _)| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

fn no_field(source: &Source) -> String {
    format!("the source `{}` has no field", source.name)
}

/// The pane and the windows. Without a pane, it is the largest that divides every window, a day and is at most 15 minutes.
fn panes(node: &Node, problems: &mut Problems) -> (Span, Vec<Span>) {
    let listed: Vec<(Span, Place)> = match node.get("windows") {
        Some(list) => list.items().iter().filter_map(|w| Some((w.as_duration()?, w.place))).collect(),
        None => WINDOWS.iter().map(|w| (*w, node.place)).collect(),
    };
    let mut windows: Vec<Span> = Vec::new();
    for (window, place) in &listed {
        if windows.contains(window) {
            problems.add(*place, format!("the window {window} is there already"));
        } else {
            windows.push(*window);
        }
    }
    let Some(pane_node) = node.get("pane") else { return (default_pane(&windows), windows) };
    let Some(pane) = pane_node.as_duration() else { return (Span::MINUTE, windows) };
    if Span::DAY.0 % pane.0 != 0 {
        let seconds = Span::DAY.0 / Span::SECOND.0;
        let parts = (1..=seconds).filter(|n| seconds % n == 0).map(|n| n * Span::SECOND.0);
        let fitting = Span(parts.min_by_key(|part| part.abs_diff(pane.0)).unwrap_or(Span::SECOND.0));
        let message = format!("a day cannot be cut into panes of {pane}: they leave a remainder");
        problems.suggest(pane_node.place, message, Some(format!("did you mean {fitting}?")));
        return (pane, windows);
    }
    if node.get("windows").is_none() {
        windows.retain(|w| w.0 % pane.0 == 0);
    }
    for (window, place) in listed.iter().filter(|(w, _)| w.0 % pane.0 != 0 && node.get("windows").is_some()) {
        let below = Span(window.0 / pane.0 * pane.0);
        let above = Span(below.0 + pane.0);
        let near = if below.0 == 0 { format!("{above}") } else { format!("{below} or {above}") };
        let message = format!("the window {window} is no multiple of the pane {pane}");
        problems.suggest(*place, message, Some(format!("did you mean {near}?")));
    }
    (pane, windows)
}

/// The largest span that divides all of `windows` and a day and is at most 15 minutes.
fn default_pane(windows: &[Span]) -> Span {
    let common = windows.iter().fold(Span::DAY.0, |a, b| gcd(a, b.0));
    let parts = (1..).map(|n| (n, common / n)).take_while(|(_, size)| *size > 0);
    parts
        .filter(|(n, size)| common % n == 0 && *size <= MAX_DEFAULT_PANE.0)
        .map(|(_, size)| Span(size))
        .next()
        .unwrap_or(Span(1))
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The measures, and the states they need: a count first, then one for each measured field in the order of the names, so
/// that the order in the file does not matter.
fn measures(node: &Node, source: &Source, problems: &mut Problems) -> (Vec<StateDefinition>, Vec<Measure>) {
    let mut wanted: Vec<(String, Option<usize>, Figure, Place)> = Vec::new();
    let Some(table) = node.get("measures") else { return Default::default() };
    if table.entries().is_empty() {
        problems.add(table.place, "a view measures something, for example `events: count()`");
    }
    for (key, value) in table.entries() {
        let Some((field, figures)) = measure(value, source, problems) else { continue };
        for (suffix, figure) in figures {
            wanted.push((format!("{}{suffix}", key.name), field, figure, key.place));
        }
    }
    let fields: BTreeSet<(&str, usize)> =
        wanted.iter().filter_map(|w| w.1).map(|f| (source.fields[f].name.as_str(), f)).collect();
    let mut states = vec![StateDefinition { kind: StateKind::Count, field: None }];
    states.extend(
        fields.iter().map(|&(_, f)| StateDefinition { kind: kind(source.fields[f].field_type), field: Some(f) }),
    );
    let mut measures: Vec<Measure> = Vec::new();
    for (name, field, figure, place) in wanted {
        if measures.iter().any(|m| m.name == name) {
            problems.add(place, format!("the measure `{name}` is there already"));
        }
        let state = states.iter().position(|s| s.field == field).unwrap_or(0);
        measures.push(Measure { name, state, figure });
    }
    (states, measures)
}

fn kind(field_type: FieldType) -> StateKind {
    match field_type {
        FieldType::Float => StateKind::Float,
        FieldType::Decimal(scale) => StateKind::Fixed { scale },
        FieldType::Int | FieldType::Bool | FieldType::String => StateKind::Fixed { scale: 0 },
    }
}

/// The figures of a measure, each with the suffix of its name.
type Figures = Vec<(&'static str, Figure)>;

fn figures(function: &str) -> Option<Figures> {
    Some(match function {
        "count" => vec![("", Figure::Count)],
        "sum" => vec![("", Figure::Sum)],
        "avg" => vec![("", Figure::Avg)],
        "min" => vec![("", Figure::Min)],
        "max" => vec![("", Figure::Max)],
        "stats" => vec![
            (".count", Figure::Count),
            (".sum", Figure::Sum),
            (".avg", Figure::Avg),
            (".min", Figure::Min),
            (".max", Figure::Max),
        ],
        _ => return None,
    })
}

/// One line of `measures`: its field and its figures.
fn measure(node: &Node, source: &Source, problems: &mut Problems) -> Option<(Option<usize>, Figures)> {
    let text = node.text()?;
    let example = "write it like count(), sum(price) or stats(price)".to_owned();
    let call = match parse_call(text) {
        Ok(call) => call,
        Err(at) => {
            problems.suggest(node.inside(at), format!("`{text}` is no measure"), Some(example));
            return None;
        }
    };
    let function = call.function.as_str();
    let place = Place { length: function.chars().count().max(1), ..node.inside(0) };
    let Some(figures) = figures(function) else {
        if LATER.contains(&function) {
            problems.add(place, format!("`{function}` is not supported yet"));
        } else {
            let average = matches!(function, "mean" | "average").then(|| "did you mean `avg`?".to_owned());
            let suggestion = average.or_else(|| nearest(function, FUNCTIONS));
            problems.suggest(place, format!("there is no measure `{function}`"), suggestion);
        }
        return None;
    };
    let Some((name, at)) = call.field else {
        if function == "count" {
            return Some((None, figures));
        }
        problems.suggest(place, format!("`{function}` needs a field"), Some(example));
        return None;
    };
    let place = Place { length: name.chars().count(), ..node.inside(at) };
    let Some(field) = source.field(&name) else {
        let numbers = source.fields.iter().filter(|f| is_number(f.field_type)).map(|f| f.name.as_str());
        problems.unknown(place, &no_field(source), &name, numbers);
        return None;
    };
    if !is_number(source.fields[field].field_type) {
        problems.add(place, format!("`{name}` is no number; {function} takes int, decimal or float fields"));
        return None;
    }
    Some((Some(field), figures))
}

fn is_number(field_type: FieldType) -> bool {
    matches!(field_type, FieldType::Int | FieldType::Decimal(_) | FieldType::Float)
}
