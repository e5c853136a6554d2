//! From a leaf to the queries that answer it.
use std::sync::Arc;

use promql_parser::label::{MatchOp, Matcher};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{DimensionDefinition, Figure};
use seam_shared::view::value::{FieldType, Value, parse_decimal};

use crate::prometheus::catalogue::{Definition, Shape};
use crate::prometheus::failure::Failure;
use crate::prometheus::labels::NAME;
use crate::prometheus::panes::Seen;
use crate::prometheus::source::{Fold, Grid, Grouping, Leaf, Reads};
use crate::query::{Format, Query, Request, WINDOW_MAX, parse};

/// What the values of an ask are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All up to each moment.
    Total,
    /// What lies in a window before each moment.
    Window,
    /// The samples of each pane; what is asked of them is computed from them.
    Samples,
}

/// What is asked for one series name.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The name's definition.
    pub definition: Arc<Definition>,
    /// What values are.
    pub extent: Extent,
    /// The moments, on the grid of the panes.
    pub times: Grid,
    /// How many moments each series is shown at.
    pub moments: usize,
    /// The labels that rows show, as places in the definition.
    pub shown: Vec<usize>,
    /// Matchers that are left to do.
    pub matchers: Vec<Matcher>,
    /// The labels that results keep, where groups are folded already.
    pub kept: Option<Vec<usize>>,
    /// What is before the first moment of a total.
    pub before: Option<Arc<Query>>,
    /// The rest.
    pub query: Option<Arc<Query>>,
}

impl Ask {
    /// What it reads.
    pub fn queries(&self) -> impl Iterator<Item = &Arc<Query>> {
        self.before.iter().chain(&self.query)
    }
}

/// What a leaf asks, by series name.
///
/// # Errors
/// `execution` where a function does not go with a series, or a window does not fit its panes.
pub fn asks(seen: Seen<'_>, leaf: &Leaf) -> Result<Vec<Ask>, Failure> {
    let mut out = Vec::new();
    for definition in seen.select(leaf) {
        let (extent, window) = extent(&definition, leaf.reads)?;
        let times = times(leaf, definition.pane, extent);
        let folded = leaf.folded.as_ref().filter(|(fold, _)| commutes(*fold, &definition, leaf.reads));
        let kept = folded.map(|(_, grouping)| kept(&definition, grouping));
        out.extend(ask(seen, definition, leaf, (extent, window), times, kept)?);
    }
    Ok(out)
}

/// What is asked for the keys that series have in (from, to]: all of them, or their values of one label.
///
/// # Errors
/// As the query.
pub fn keys(
    seen: Seen<'_>,
    definition: &Arc<Definition>,
    matchers: &[Matcher],
    (from, to): (Option<Timestamp>, Timestamp),
    only: Option<&str>,
) -> Result<Option<Ask>, Failure> {
    let to = to.ceil(definition.pane);
    let all = WINDOW_MAX;
    let window = from.map_or(all, |from| Span((to.0 - from.floor(definition.pane).0).clamp(definition.pane.0, all.0)));
    let leaf = Leaf { matchers: matchers.to_vec(), grid: Grid::instant(to), reads: Reads::Value, folded: None };
    let kept = only.map(|name| definition.label(name).into_iter().collect());
    ask(seen, definition.clone(), &leaf, (Extent::Window, window), leaf.grid, kept)
}

fn extent(definition: &Definition, reads: Reads) -> Result<(Extent, Span), Failure> {
    let pane = definition.pane;
    if let Some(window) = reads.window()
        && (window.0 % pane.0 != 0 || window > WINDOW_MAX)
    {
        let nearest = Span(((window.0 / pane.0).saturating_add(1)).max(1).saturating_mul(pane.0).min(WINDOW_MAX.0));
        let name = &definition.name;
        return Err(Failure::execution(format!(
            "{name} is kept in panes of {pane}, and [{window}] is no multiple of that; the next is [{nearest}]"
        )));
    }
    let of_value = match definition.shape {
        Shape::Counter => (Extent::Total, WINDOW_MAX),
        Shape::Pane => (Extent::Window, pane),
        Shape::Window(window) => (Extent::Window, window),
    };
    Ok(match (reads, definition.shape, definition.figure()) {
        (Reads::Value | Reads::When, ..) => of_value,
        (Reads::Increase(window) | Reads::Change(window), Shape::Counter, _) => (Extent::Window, window),
        (Reads::Increase(_), ..) => {
            let name = &definition.name;
            return Err(Failure::execution(format!(
                "{name} is a gauge; increase and rate take counters, whose names metadata lists"
            )));
        }
        (Reads::Lowest(window), Shape::Pane, Some(Figure::Min)) => (Extent::Window, window),
        (Reads::Highest(window), Shape::Pane, Some(Figure::Max)) => (Extent::Window, window),
        (Reads::Lowest(_) | Reads::Highest(_) | Reads::Change(_) | Reads::Samples(_), ..) => {
            (Extent::Samples, of_value.1)
        }
    })
}

/// Whether folding groups is the same as merging their states.
fn commutes(fold: Fold, definition: &Definition, reads: Reads) -> bool {
    match (fold, reads) {
        (Fold::Sum, Reads::Value | Reads::Increase(_)) => definition.is_additive(),
        (Fold::Min, Reads::Value | Reads::Lowest(_)) => definition.figure() == Some(Figure::Min),
        (Fold::Max, Reads::Value | Reads::Highest(_)) => definition.figure() == Some(Figure::Max),
        _ => false,
    }
}

fn kept(definition: &Definition, grouping: &Grouping) -> Vec<usize> {
    let keeps = |label: &str| match grouping {
        Grouping::By(names) => names.iter().any(|name| name == label),
        Grouping::Without(names) => !names.iter().any(|name| name == label),
    };
    (0..definition.labels.len()).filter(|place| keeps(&definition.labels[*place].0)).collect()
}

/// The moments on the grid of the panes that a leaf's moments come down to.
fn times(leaf: &Leaf, pane: Span, extent: Extent) -> Grid {
    let (first, last) = (leaf.grid.first.floor(pane), leaf.grid.last().floor(pane));
    let panes = |from: Timestamp| ((last.0 - from.0) / pane.0) as usize + 1;
    match leaf.reads.window().filter(|_| extent == Extent::Samples) {
        Some(window) => {
            let first = first.minus(window).plus(pane);
            Grid { first, step: pane, count: panes(first) }
        }
        None if leaf.grid.count == 1 => Grid { first, step: pane, count: 1 },
        None if leaf.grid.step.0 % pane.0 == 0 => Grid { first, ..leaf.grid },
        None => Grid { first, step: pane, count: panes(first) },
    }
}

fn ask(
    seen: Seen<'_>,
    definition: Arc<Definition>,
    leaf: &Leaf,
    (extent, window): (Extent, Span),
    times: Grid,
    kept: Option<Vec<usize>>,
) -> Result<Option<Ask>, Failure> {
    let (mut slices, mut left) = (Vec::new(), Vec::new());
    for matcher in leaf.matchers.iter().filter(|matcher| matcher.name != NAME) {
        match (definition.label(&matcher.name), alternatives(matcher)) {
            (None, _) if matcher.is_match("") => {}
            (None, _) => return Ok(None),
            (Some(place), Some(texts)) => slices.push((place, texts)),
            (Some(place), None) => left.push((place, matcher.clone())),
        }
    }
    let mut shown: Vec<usize> = kept.clone().unwrap_or_else(|| (0..definition.labels.len()).collect());
    shown.extend(left.iter().map(|(place, _)| *place));
    shown.sort_unstable();
    shown.dedup();
    let query = |window: Span, times: Grid| {
        let mut query = read(seen, &definition, &shown, window, times)?;
        let any = slice(&mut query, &definition, &slices);
        Ok::<_, Failure>(any.then(|| Arc::new(query)))
    };
    let total = extent == Extent::Total || extent == Extent::Samples && definition.shape == Shape::Counter;
    let (before, query) = if total {
        let rest = Grid { first: times.at(1), count: times.count.saturating_sub(1), ..times };
        let before = query(WINDOW_MAX, Grid::instant(times.first))?;
        (before, if rest.count > 0 { query(times.step, rest)? } else { None })
    } else {
        (None, query(window, times)?)
    };
    if before.is_none() && query.is_none() {
        return Ok(None);
    }
    let matchers = left.into_iter().map(|(_, matcher)| matcher).collect();
    let moments = times.count.max(leaf.grid.count);
    Ok(Some(Ask { definition, extent, times, moments, shown, matchers, kept, before, query }))
}

/// A query in the words of the HTTP API, so that both read it alike.
fn read(seen: Seen<'_>, definition: &Definition, shown: &[usize], window: Span, times: Grid) -> Result<Query, Failure> {
    let micros = |span: Span| format!("{}us", span.0);
    let mut parameters = vec![("window".to_owned(), micros(window))];
    for place in shown {
        parameters.push(("dimension".to_owned(), definition.labels[*place].1.clone()));
    }
    if times.count == 1 {
        parameters.push(("at".to_owned(), times.first.to_rfc3339()));
    } else {
        parameters.push(("from".to_owned(), times.first.minus(times.step).to_rfc3339()));
        parameters.push(("to".to_owned(), times.last().to_rfc3339()));
        parameters.push(("step".to_owned(), micros(times.step)));
    }
    let metric = definition.metric.as_str();
    let request =
        Request { caller: seen.caller, metric, parameters: &parameters, now: times.last(), format: Format::Json };
    Ok(parse(&seen.catalogue.queries, request)?)
}

/// Slices a query; false when nothing can match.
fn slice(query: &mut Query, definition: &Definition, slices: &[(usize, Vec<String>)]) -> bool {
    for term in &mut query.terms {
        for (place, texts) in slices {
            let Some(d) = term.view.dimension(&definition.labels[*place].1) else { return false };
            let dimension = &term.view.dimensions[d];
            let mut values: Vec<Value> = texts.iter().flat_map(|text| values(dimension, text)).collect();
            values.sort();
            values.dedup();
            if let Some((_, known)) = term.slices.iter_mut().find(|(known, _)| *known == d) {
                values.retain(|value| known.contains(value));
                *known = values.clone();
            } else {
                term.slices.push((d, values.clone()));
            }
            if values.is_empty() {
                return false;
            }
        }
        term.slices.sort_by_key(|(d, _)| *d);
    }
    true
}

/// The texts that a matcher allows, if it names them: `=` does, and `=~` of plain words.
fn alternatives(matcher: &Matcher) -> Option<Vec<String>> {
    match &matcher.op {
        MatchOp::Equal => Some(vec![matcher.value.clone()]),
        MatchOp::Re(_) => {
            let word = |text: &&str| text.chars().all(|c| c.is_alphanumeric() || "_-: /@".contains(c));
            let words: Vec<&str> = matcher.value.split('|').collect();
            words.iter().all(word).then(|| words.into_iter().map(str::to_owned).collect())
        }
        MatchOp::NotEqual | MatchOp::NotRe(_) => None,
    }
}

/// The values of a dimension that a label shows as `text`.
fn values(dimension: &DimensionDefinition, text: &str) -> Vec<Value> {
    let value = match dimension.field_type {
        FieldType::String => {
            return if text.is_empty() { vec![Value::Null, Value::text("")] } else { vec![Value::text(text)] };
        }
        _ if text.is_empty() => Some(Value::Null),
        FieldType::Bool => text.parse().ok().map(Value::Bool),
        FieldType::Int => text.parse().ok().map(Value::Int),
        FieldType::Decimal(scale) => parse_decimal(text, scale).map(|d| Value::Decimal(d, scale)),
        FieldType::Float => None,
    };
    // `01` and `1.0` are no labels.
    value.into_iter().filter(|value| *value == Value::Null || value.to_string() == text).collect()
}
