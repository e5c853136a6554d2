//! Views: filter, dimensions, pane, windows and measures, compiled against the source's fields.
use std::num::NonZeroU64;
use std::sync::Arc;

use super::report::{Place, Problems, meant};
use super::tree::Node;
use super::{identity, measures, retract};
use crate::time::Span;
use crate::view::definition::{COUNT_WINDOW, DimensionDefinition, Field, PARTITION, Source, View};
use crate::view::expression::Expression;
use crate::view::value::FieldType;

/// Dimensions of one view.
const MAX_DIMENSIONS: usize = 32;
/// The windows of a view that names none.
const WINDOWS: [Span; 3] = [Span(5 * Span::MINUTE.0), Span::HOUR, Span::DAY];
/// The largest pane that is chosen by itself: calendar days of every time zone are unions of such panes.
const MAX_DEFAULT_PANE: Span = Span(15 * Span::MINUTE.0);
/// What the rows of answers name so beside the dimensions: a dimension of that name would be there twice.
const ANSWER_NAMES: [&str; 21] = [
    "time",
    "start",
    "partial",
    "value",
    "covered_seconds",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "numerator",
    "denominator",
    "not_finite",
    "var_pop",
    "var_samp",
    "stddev_pop",
    "stddev_samp",
    "exact",
    "quantiles",
    "at",
    "histogram",
];
/// The views whose parts are all right, in the file's order.
pub(super) fn compile(root: &Node, sources: &[Arc<Source>], problems: &mut Problems) -> Vec<Arc<View>> {
    let retractions = retract::by_source(root, sources, problems);
    let entries = root.get("views").map_or(&[][..], Node::entries);
    let views = entries.iter().filter_map(|(key, node)| {
        let from = node.get("from")?;
        let name = from.text()?;
        let named = |name: &str| sources.iter().find(|source| source.name == name);
        let known = named(name);
        let source = match known {
            Some(source) => source,
            None => {
                let names = || sources.iter().map(|source| source.name.as_str());
                problems.unknown(from.place, "there is no source", name, names());
                // What else is wrong is said at the same time, as far as that can be known.
                let Some(source) = meant(name, names()).and_then(named) else {
                    panes(node, problems);
                    return None;
                };
                source
            }
        };
        let retract = retractions.iter().find(|(of, _)| *of == name).map(|(_, retract)| retract);
        let view = view(&key.name, node, (source, retract), &asked(root, &key.name), problems).map(Arc::new);
        view.filter(|_| known.is_some())
    });
    views.collect()
}

/// The measures of a view that metrics name.
fn asked<'a>(root: &'a Node, view: &str) -> Vec<&'a str> {
    let metrics = root.get("metrics").map_or(&[][..], Node::entries).iter();
    metrics
        .filter(|(_, node)| node.text_of("view") == Some(view))
        .filter_map(|(_, node)| node.text_of("measure"))
        .collect()
}

fn view(
    name: &str,
    node: &Node,
    (source, retract): (&Arc<Source>, Option<&Arc<Expression>>),
    asked: &[&str],
    problems: &mut Problems,
) -> Option<View> {
    let filter = node.get("where").map(|condition| expression(condition, &source.fields, problems));
    let mut dimensions = dimensions(node, source, problems);
    let (pane, windows) = panes(node, problems);
    let (states, measures) = measures::compile(node, (source, retract), asked, problems);
    let keyed = keyed(node, &dimensions, problems);
    let count_window = node.number("count_window").and_then(NonZeroU64::new);
    if let (Some(node), Some(_)) = (node.get("count_window"), retract) {
        let message = "the events of this source can be taken back, but the ranks of those behind them are given";
        problems.suggest(node.place, message, Some("leave out `retract` of the source, or `count_window`".to_owned()));
    }
    if count_window.is_some() {
        count_window_fits(node, &dimensions, problems);
        dimensions.extend(DimensionDefinition::of_count_window());
    }
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
        keyed,
        count_window,
        pane,
        windows,
        states,
        measures,
    };
    view.id = identity::of(&view);
    Some(view)
}

/// What cannot be together with a count window.
fn count_window_fits(node: &Node, dimensions: &[DimensionDefinition], problems: &mut Problems) {
    let names = [PARTITION, COUNT_WINDOW];
    let place = |name: &str| {
        let listed = node.get("dimensions").into_iter().flat_map(|list| list.texts());
        listed.filter(|(text, _)| *text == name).map(|(_, place)| place).next().unwrap_or(node.place)
    };
    for dimension in dimensions.iter().filter(|d| names.contains(&d.name.as_str())) {
        let name = &dimension.name;
        let message = format!("`count_window` gives the view a dimension `{name}`; a field of that name cannot be one");
        let better = format!("name the field otherwise, with `path: $.{name}`");
        problems.suggest(place(name), message, Some(better));
    }
    let measures = node.get("measures").map_or(&[][..], Node::entries);
    let is_sessions = |text: &str| measures::parse_call(text).is_ok_and(|call| call.function == "sessions");
    for (_, measure) in measures.iter().filter(|(_, measure)| measure.text().is_some_and(is_sessions)) {
        let message =
            "a session lasts as long as its user goes on, a count window so many events: each would tear the other";
        problems.suggest(measure.place, message, Some("measure sessions in a view of their own".to_owned()));
    }
}

/// A condition over `fields`; what is wrong in it is shown inside the string.
pub(super) fn expression(node: &Node, fields: &[Field], problems: &mut Problems) -> Option<Expression> {
    match Expression::parse(node.text()?, fields) {
        Ok(expression) => Some(expression),
        Err(error) => {
            problems.condition(node.inside(error.at), error);
            None
        }
    }
}

fn dimensions(node: &Node, source: &Source, problems: &mut Problems) -> Vec<DimensionDefinition> {
    let mut out: Vec<DimensionDefinition> = Vec::new();
    let Some(list) = node.get("dimensions") else { return out };
    for (name, place) in list.texts() {
        let Some(field) = source.field(name) else {
            if !problems.is_broken(name) {
                problems.unknown(place, &no_field(source), name, source.fields.iter().map(|f| f.name.as_str()));
            }
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

/// Whether the view's files lie by key; without a dimension there is none to look for.
fn keyed(node: &Node, dimensions: &[DimensionDefinition], problems: &mut Problems) -> bool {
    let Some(flag) = node.get("keyed").filter(|flag| flag.text() == Some("true")) else { return false };
    if dimensions.is_empty() && node.get("dimensions").is_none_or(|list| list.items().is_empty()) {
        let suggestion = Some("name what its keys are made of, like `dimensions: [user]`".to_owned());
        problems.suggest(flag.place, "a keyed view is read by key, and this one has no dimension", suggestion);
    }
    true
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
