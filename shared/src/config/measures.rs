//! Measures: `function(field, argument) where condition`, taken apart, and the states that they need, shared where they can be.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::report::{Place, Problems, nearest};
use super::retract;
use super::tree::Node;
use crate::time::Span;
use crate::view::aggregate::histogram::BOUNDS_MAX;
use crate::view::aggregate::partial::Aggregate;
use crate::view::aggregate::quantiles::{PARTS_DEFAULT, parts_for};
use crate::view::aggregate::unit::Unit;
use crate::view::definition::{Field, Figure, Measure, Source, StateDefinition, StateKind};
use crate::view::expression::Expression;
use crate::view::value::{FieldType, Value, parse_decimal};

/// What can be called in `measures`.
const FUNCTIONS: [&str; 18] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "stats",
    "variance",
    "var_samp",
    "var_pop",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "distinct",
    "quantile",
    "quantiles",
    "first",
    "last",
    "sessions",
];
/// The quantiles that `quantiles(f)` offers by suffix, in millionths; any other that a metric of the file names is there too.
const QUANTILES: [(&str, u32); 6] = [
    (".p50", 500_000),
    (".p75", 750_000),
    (".p90", 900_000),
    (".p95", 950_000),
    (".p99", 990_000),
    (".p99.9", 999_000),
];
/// The longest gap of a session.
const GAP_MAX: Span = Span(Span::DAY.0);
const EXAMPLE: &str = "write it like count(), sum(price) or stats(price)";

/// What is not offered: names, why not, and what to do instead.
const REFUSED: [(&[&str], &str, &str); 9] = [
    (
        &["median", "percentile", "percentiles", "tdigest", "kll", "approx_percentile"],
        "is not kept as such: sketches like t-digest and KLL depend on the order of events",
        "write quantile(f, 0.5) or quantiles(f)",
    ),
    (
        &["mode", "most_common"],
        "needs every value with its count, so that no partial of it is bounded",
        "make the field a dimension and ask for order=-value&limit=1",
    ),
    (
        &["string_agg", "array_agg", "group_concat", "listagg", "collect", "list"],
        "depends on the order of events, and its partial is not bounded",
        "keep the values as a dimension, or their number with distinct(f)",
    ),
    (
        &["lag", "lead", "delta", "derivative", "row_number", "rank", "ewma", "moving_average"],
        "depends on the order in which events come, which late events change",
        "use first(f) and last(f), which go by event time, or a sliding window",
    ),
    (
        &["top", "topk", "top_k", "bottom"],
        "is right only of merged groups, not of partials",
        "make the field a dimension and ask for order=-value&limit=N",
    ),
    (&["ratio", "rate"], "is no measure of its own", "name two metrics: `metrics: { r: { ratio: [a, b] } }`"),
    (
        &["product", "geometric_mean"],
        "has no partial that stays exact and bounded",
        "measure a field that holds logarithms",
    ),
    (
        &["count_distinct", "approx_distinct", "uniq", "hll", "cardinality"],
        "is called `distinct` here",
        "write distinct(f): exact for few values, then within 1 %",
    ),
    (&["duration"], "is not supported yet", ""),
];

/// A measure's text taken apart, e.g. `sum(price) where type = "sale"`. Each part comes with the byte where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MeasureCall {
    /// The function's name.
    pub function: String,
    /// The field.
    pub field: Option<(String, usize)>,
    /// What follows the field.
    pub argument: Option<(String, usize)>,
    /// The condition.
    pub condition: Option<(String, usize)>,
}

impl MeasureCall {
    /// The type of a field that no source declares.
    pub fn field_type(&self) -> FieldType {
        match self.function.as_str() {
            "distinct" | "first" | "last" => FieldType::String,
            _ => FieldType::Float,
        }
    }
}

/// Takes `function(field, argument) where condition` apart; the error is the byte where it stops to be one.
pub(super) fn parse_call(text: &str) -> Result<MeasureCall, usize> {
    let open = text.find('(').ok_or(0usize)?;
    let close = closing(text, open).ok_or(text.trim_end().len().saturating_sub(1))?;
    let trimmed = |from: usize, to: usize| {
        let part = &text[from..to];
        let start = from + (part.len() - part.trim_start().len());
        (!part.trim().is_empty()).then(|| (part.trim().to_owned(), start))
    };
    let rest = &text[close + 1..];
    let condition = match rest.trim_start().strip_prefix("where") {
        Some(after) if after.starts_with(|c: char| c.is_whitespace() || c == '(') => {
            Some(trimmed(text.len() - after.len(), text.len()).ok_or(close + 1)?)
        }
        _ if rest.trim().is_empty() => None,
        _ => return Err(close + 1),
    };
    let comma = text[open + 1..close].find(',').map(|at| open + 1 + at);
    let field = trimmed(open + 1, comma.unwrap_or(close));
    if let Some((name, start)) = &field
        && let Some(bad) = name.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
    {
        return Err(start + bad);
    }
    let argument = match comma {
        Some(comma) => Some(trimmed(comma + 1, close).ok_or(comma)?),
        None => None,
    };
    Ok(MeasureCall { function: text[..open].trim().to_owned(), field, argument, condition })
}

/// The bracket that closes the one at `open`.
fn closing(text: &str, open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// What orders the states of a view: those without a filter first, the plain ones before the general, then by field.
type Rank = (Option<String>, Option<Aggregate>, Option<String>, Vec<String>);

fn rank(state: &StateDefinition, source: &Source) -> Rank {
    let aggregate = match state.kind {
        StateKind::Partial(aggregate, _) => Some(aggregate),
        StateKind::Count | StateKind::Fixed { .. } | StateKind::Float => None,
    };
    (
        state.filter.as_ref().map(|filter| filter.display(&source.fields).to_string()),
        aggregate,
        state.field.map(|field| source.fields[field].name.clone()),
        state.bounds.iter().map(Value::to_json).collect(),
    )
}

/// The measures of a view, and the states they need: a count first, then one for each field, kind and filter in an order that
/// does not depend on the file's. `retract` says which events of the source take something back; `asked` are the measures of the view that metrics name.
pub(super) fn compile(
    node: &Node,
    (source, retract): (&Source, Option<&Arc<Expression>>),
    asked: &[&str],
    problems: &mut Problems,
) -> (Vec<StateDefinition>, Vec<Measure>) {
    let Some(table) = node.get("measures") else { return Default::default() };
    if table.entries().is_empty() {
        problems.add(table.place, "a view measures something, for example `events: count()`");
    }
    let mut wanted: Vec<(String, Rank, Figure, Place)> = Vec::new();
    let mut ranked = BTreeMap::new();
    let count = StateDefinition::new(StateKind::Count, None);
    ranked.insert(rank(&count, source), count);
    for (key, value) in table.entries() {
        let Some((state, mut figures)) = measure(value, (source, retract), problems) else { continue };
        if figures.iter().any(|(_, figure)| matches!(figure, Figure::Quantile(_))) && figures.len() > 1 {
            for &name in asked {
                let Some(suffix) = name.strip_prefix(&key.name) else { continue };
                let millionths = suffix.strip_prefix(".p").and_then(percent);
                if let Some(millionths) = millionths.filter(|_| figures.iter().all(|(known, _)| known != suffix)) {
                    figures.push((suffix.to_owned(), Figure::Quantile(millionths)));
                }
            }
        }
        let rank = rank(&state, source);
        for (suffix, figure) in figures {
            wanted.push((format!("{}{suffix}", key.name), rank.clone(), figure, key.place));
        }
        ranked.insert(rank, state);
    }
    let mut measures: Vec<Measure> = Vec::new();
    for (name, rank, figure, place) in wanted {
        if measures.iter().any(|m| m.name == name) {
            problems.add(place, format!("the measure `{name}` is there already"));
        }
        let state = ranked.keys().position(|known| *known == rank).unwrap_or(0);
        measures.push(Measure { name, state, figure });
    }
    (ranked.into_values().collect(), measures)
}

/// The figures of a measure, each with the suffix of its name.
type Figures = Vec<(String, Figure)>;

fn only(figure: Figure) -> Figures {
    vec![(String::new(), figure)]
}

fn listed<'a>(figures: impl IntoIterator<Item = (&'a str, Figure)>) -> Figures {
    figures.into_iter().map(|(suffix, figure)| (suffix.to_owned(), figure)).collect()
}

/// One line of `measures`: its state and its figures.
fn measure(
    node: &Node,
    (source, retract): (&Source, Option<&Arc<Expression>>),
    problems: &mut Problems,
) -> Option<(StateDefinition, Figures)> {
    let text = node.text()?;
    let call = match parse_call(text) {
        Ok(call) => call,
        Err(at) => {
            problems.suggest(node.inside(at), format!("`{text}` is no measure"), Some(EXAMPLE.to_owned()));
            return None;
        }
    };
    let function = call.function.as_str();
    if !FUNCTIONS.contains(&function) && function != "histogram" {
        let place = Place { length: function.chars().count().max(1), ..node.inside(0) };
        no_function(function, place, problems);
        return None;
    }
    let filter = match &call.condition {
        None => None,
        Some((condition, at)) => match Expression::parse(condition, &source.fields) {
            Ok(expression) => Some(Arc::new(expression)),
            Err(error) => {
                problems.condition(node.inside(at + error.at), error);
                return None;
            }
        },
    };
    let field = match &call.field {
        Some((name, at)) => Some(measured(
            function,
            name,
            Place { length: name.chars().count(), ..node.inside(*at) },
            source,
            problems,
        )?),
        None if function == "count" => None,
        None => {
            let place = Place { length: function.chars().count().max(1), ..node.inside(0) };
            problems.suggest(place, format!("`{function}` needs a field"), Some(EXAMPLE.to_owned()));
            return None;
        }
    };
    let argument = call.argument.as_ref();
    let argument =
        argument.map(|(text, at)| (text.as_str(), Place { length: text.chars().count(), ..node.inside(*at) }));
    let (mut state, figures) = state(function, field.map(|f| &source.fields[f]), argument, node.place, problems)?;
    (state.field, state.filter) = (field, filter);
    if let Some(retract) = retract {
        let place = Place { length: function.chars().count().max(1), ..node.inside(0) };
        state.kind = retract::net(function, field.map(|f| source.fields[f].field_type), place, problems)?;
        state.retract = Some(retract.clone());
    }
    Some((state, figures))
}

fn no_function(function: &str, place: Place, problems: &mut Problems) {
    if let Some((_, reason, instead)) = REFUSED.iter().find(|(names, ..)| names.contains(&function)) {
        let instead = (!instead.is_empty()).then(|| (*instead).to_owned());
        problems.suggest(place, format!("`{function}` {reason}"), instead);
        return;
    }
    let average = matches!(function, "mean" | "average").then(|| "did you mean `avg`?".to_owned());
    let suggestion = average.or_else(|| nearest(function, FUNCTIONS.into_iter().chain(["histogram"])));
    problems.suggest(place, format!("there is no measure `{function}`"), suggestion);
}

/// The field that a function measures.
fn measured(function: &str, name: &str, place: Place, source: &Source, problems: &mut Problems) -> Option<usize> {
    let any_type = matches!(function, "distinct" | "first" | "last" | "sessions");
    let Some(field) = source.field(name) else {
        let fitting = source.fields.iter().filter(|f| any_type || is_number(f.field_type)).map(|f| f.name.as_str());
        if !problems.is_broken(name) {
            problems.unknown(place, &format!("the source `{}` has no field", source.name), name, fitting);
        }
        return None;
    };
    if function == "sessions" && source.fields[field].field_type == FieldType::Float {
        problems
            .add(place, format!("`{name}` is a float; the user of a session is a string, an int, a bool or a decimal"));
        return None;
    }
    if any_type || is_number(source.fields[field].field_type) {
        return Some(field);
    }
    problems.add(place, format!("`{name}` is no number; {function} takes int, decimal or float fields"));
    None
}

fn is_number(field_type: FieldType) -> bool {
    matches!(field_type, FieldType::Int | FieldType::Decimal(_) | FieldType::Float)
}

fn plain(field: Option<&Field>) -> StateKind {
    match field.map(|field| field.field_type) {
        None => StateKind::Count,
        Some(FieldType::Float) => StateKind::Float,
        Some(FieldType::Decimal(scale)) => StateKind::Fixed { scale },
        Some(FieldType::Int | FieldType::Bool | FieldType::String) => StateKind::Fixed { scale: 0 },
    }
}

/// The state of a function over a field, without its field and filter, and what it shows of it.
fn state(
    function: &str,
    field: Option<&Field>,
    argument: Option<(&str, Place)>,
    place: Place,
    problems: &mut Problems,
) -> Option<(StateDefinition, Figures)> {
    let field_type = field.map_or(FieldType::Int, |field| field.field_type);
    let of = |aggregate| StateDefinition::new(StateKind::Partial(aggregate, Unit::of(field_type)), None);
    let plain = || StateDefinition::new(plain(field), None);
    if let Some((text, place)) = argument
        && !matches!(function, "quantile" | "quantiles" | "histogram" | "sessions")
    {
        problems.add(place, format!("`{function}` takes a field and no more; `{text}` is too much"));
        return None;
    }
    let numbers = [(".count", Figure::Count), (".min", Figure::Min), (".max", Figure::Max)];
    Some(match function {
        "count" => (plain(), only(Figure::Count)),
        "sum" => (plain(), only(Figure::Sum)),
        "avg" => (plain(), only(Figure::Avg)),
        "min" => (plain(), only(Figure::Min)),
        "max" => (plain(), only(Figure::Max)),
        "stats" => {
            let sums = [(".sum", Figure::Sum), (".avg", Figure::Avg)];
            (plain(), listed(numbers[..1].iter().copied().chain(sums).chain(numbers[1..].iter().copied())))
        }
        "variance" | "var_samp" => (of(Aggregate::Variance), only(Figure::VarSamp)),
        "var_pop" => (of(Aggregate::Variance), only(Figure::VarPop)),
        "stddev" | "stddev_samp" => (of(Aggregate::Variance), only(Figure::StddevSamp)),
        "stddev_pop" => (of(Aggregate::Variance), only(Figure::StddevPop)),
        "distinct" => (of(Aggregate::Distinct), only(Figure::Distinct)),
        "first" => (of(Aggregate::First), only(Figure::Value)),
        "last" => (of(Aggregate::Last), only(Figure::Value)),
        "sessions" => {
            let figures = [("", Figure::Sessions), (".bounces", Figure::Bounces), (".events", Figure::SessionEvents)];
            let lengths = [(".length", Figure::SessionLength), (".longest", Figure::SessionLongest)];
            (of(Aggregate::Sessions(gap(argument, place, problems)?)), listed(figures.into_iter().chain(lengths)))
        }
        "quantiles" => {
            let parts = match argument {
                None => PARTS_DEFAULT,
                Some((text, place)) => accuracy(text, place, problems)?,
            };
            let quantiles = QUANTILES.map(|(suffix, millionths)| (suffix, Figure::Quantile(millionths)));
            (of(Aggregate::Quantiles(parts)), listed(numbers.into_iter().chain(quantiles)))
        }
        "quantile" => {
            let (quantile, parts) = quantile(argument, place, problems)?;
            (of(Aggregate::Quantiles(parts)), only(Figure::Quantile(quantile)))
        }
        _ => {
            let bounds = bounds(argument, field_type, place, problems)?;
            let state = of(Aggregate::Histogram);
            (StateDefinition { bounds: bounds.into(), ..state }, only(Figure::Histogram))
        }
    })
}

/// Reads `95`, `99.9` or `99_9` as a share of a hundred, in millionths.
fn percent(text: &str) -> Option<u32> {
    let text = text.replace('_', ".");
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.contains(['e', 'E']) {
        return None;
    }
    let millionths = parse_decimal(&text, 4)?;
    u32::try_from(millionths).ok().filter(|millionths| *millionths <= 1_000_000)
}

/// Reads `0.95` or `95%` in millionths.
fn share(text: &str) -> Option<u32> {
    if let Some(text) = text.strip_suffix('%') {
        return percent(text.trim());
    }
    let millionths = parse_decimal(text.trim(), 6)?;
    u32::try_from(millionths).ok().filter(|millionths| *millionths <= 1_000_000)
}

fn quantile(argument: Option<(&str, Place)>, place: Place, problems: &mut Problems) -> Option<(u32, u16)> {
    let wrong = "a quantile is a share from 0 to 1 with at most six digits, e.g. quantile(f, 0.95)";
    let Some((text, place)) = argument else {
        problems.add(place, wrong);
        return None;
    };
    let (quantile, rest) = text.split_once(',').map_or((text, None), |(quantile, rest)| (quantile, Some(rest)));
    let Some(quantile) = share(quantile) else {
        problems.add(place, wrong);
        return None;
    };
    let parts = rest.map_or(Some(PARTS_DEFAULT), |rest| accuracy(rest.trim(), place, problems))?;
    Some((quantile, parts))
}

/// The gap of `sessions(user, 30m)`.
fn gap(argument: Option<(&str, Place)>, place: Place, problems: &mut Problems) -> Option<Span> {
    let example = "write it like sessions(user_id, 30m)";
    let Some((text, place)) = argument else {
        problems.suggest(place, "`sessions` needs its gap", Some(example.to_owned()));
        return None;
    };
    match Span::parse(text) {
        Ok(gap) if gap > Span(0) && gap <= GAP_MAX => Some(gap),
        Ok(_) => {
            problems.add(place, format!("a gap is more than nothing and at most {GAP_MAX}"));
            None
        }
        Err(message) => {
            problems.suggest(place, message, Some(example.to_owned()));
            None
        }
    }
}

/// The parts of a power of two for an accuracy like `1%` or `0.005`.
fn accuracy(text: &str, place: Place, problems: &mut Problems) -> Option<u16> {
    let parts = share(text).and_then(|millionths| parts_for(f64::from(millionths) / 1e6));
    if parts.is_none() {
        problems.add(place, format!("`{text}` is no accuracy of quantiles; it is from 0.05% to 33%, 1% by default"));
    }
    parts
}

/// The bounds `[10, 50, 100]` as values of the field's type.
fn bounds(
    argument: Option<(&str, Place)>,
    field_type: FieldType,
    place: Place,
    problems: &mut Problems,
) -> Option<Vec<Value>> {
    let example = "write them like histogram(latency, [10, 50, 100])";
    let Some((text, place)) = argument else {
        problems.suggest(place, "`histogram` needs its bounds", Some(example.to_owned()));
        return None;
    };
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let Some(bounds) = inner.map(|inner| inner.split(',').map(|bound| number(bound.trim(), field_type))) else {
        problems.suggest(place, format!("`{text}` is no list of bounds"), Some(example.to_owned()));
        return None;
    };
    let Some(bounds) = bounds.collect::<Option<Vec<Value>>>() else {
        problems.suggest(place, "a bound is a number that the field can hold exactly", Some(example.to_owned()));
        return None;
    };
    if !bounds.is_sorted_by(|a, b| a < b) || bounds.len() > BOUNDS_MAX {
        problems.add(place, format!("bounds ascend, each larger than the one before; there are at most {BOUNDS_MAX}"));
        return None;
    }
    Some(bounds)
}

fn number(text: &str, field_type: FieldType) -> Option<Value> {
    match field_type {
        FieldType::Int => text.parse().ok().map(Value::Int),
        FieldType::Decimal(scale) => parse_decimal(text, scale).map(|number| Value::Decimal(number, scale)),
        FieldType::Float => text.parse::<f64>().ok().filter(|x| x.is_finite()).map(|x| Value::Float(x + 0.0)),
        FieldType::Bool | FieldType::String => None,
    }
}
