//! From the parameters of a URL to a checked query; every refusal names the parameter and what was probably meant.
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use seam_shared::Kind;
use seam_shared::access::Caller;
use seam_shared::config::{Config, MeasureOf, Metric, Mode};
use seam_shared::log::OffsetVector;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{DimensionDefinition, Field, View};
use seam_shared::view::expression::Expression;
use seam_shared::view::value::{FieldType, Value, parse_decimal};

use super::refusal::{Refusal, nearest};
use super::times::{Asked, Grid, Resolved, parse_moment, resolve};
use super::{
    Cursor, Fill, Format, LIMIT_DEFAULT, LIMIT_MAX, Layer, Length, OrderBy, OrderKey, Query, Rate, TIMEOUT_MAX, Term,
    WINDOW_DEFAULT, Which, Zone, divisor,
};

/// The parameters that a metric query may have.
pub const PARAMETERS: [&str; 21] = [
    "dimension",
    "window",
    "cumulative",
    "tz",
    "final",
    "per",
    "top",
    "from",
    "to",
    "at",
    "step",
    "limit",
    "order",
    "fill",
    "layer",
    "min_position",
    "timeout",
    "where",
    "cursor",
    "generation",
    "as_of",
];

/// What can be asked for: the metrics of a configuration by name.
#[derive(Debug)]
pub struct Catalog {
    config: Arc<Config>,
    /// What answers under each name now.
    metrics: ArcSwap<HashMap<String, Arc<Metric>>>,
}

impl Catalog {
    /// The metrics of `config`.
    pub fn new(config: Arc<Config>) -> Catalog {
        let catalog = Catalog { metrics: ArcSwap::default(), config: config.clone() };
        catalog.show(config.metrics.iter().cloned());
        catalog
    }
    /// Other metrics, under the limits of `config`.
    pub fn of(config: Arc<Config>, metrics: impl Iterator<Item = Metric>) -> Catalog {
        let catalog = Catalog { metrics: ArcSwap::default(), config };
        catalog.show(metrics);
        catalog
    }
    /// Lets these be what answers under their names from now on.
    pub fn show(&self, metrics: impl Iterator<Item = Metric>) {
        self.metrics.store(Arc::new(metrics.map(|metric| (metric.name.clone(), Arc::new(metric))).collect()));
    }
    /// The metrics in the file's order.
    pub fn metrics(&self) -> Vec<Arc<Metric>> {
        let shown = self.metrics.load();
        self.config.metrics.iter().filter_map(|metric| shown.get(&metric.name).cloned()).collect()
    }
    /// The configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }
    /// A name without the extension that asks for a format, and that format; a metric's own name is no extension.
    pub fn split_extension<'a>(&self, name: &'a str) -> (&'a str, Option<Format>) {
        let ends = |(format, extension, _): (Format, &str, &str)| Some((name.strip_suffix(extension)?, Some(format)));
        let split = Format::NAMES.into_iter().find_map(ends);
        split.filter(|_| !self.metrics.load().contains_key(name)).unwrap_or((name, None))
    }
    /// A metric by name, or a refusal that names the nearest.
    pub fn metric(&self, name: &str) -> Result<Arc<Metric>, Refusal> {
        let metrics = self.metrics.load();
        metrics.get(name).cloned().ok_or_else(|| {
            let suggestion = nearest(name, metrics.keys().map(String::as_str)).map(str::to_owned);
            let lists = if suggestion.is_none() { "; /api/analytics/metrics lists those there are" } else { "" };
            let detail = format!("there is no metric `{name}`{lists}");
            Refusal { kind: Kind::NotFound, problem: "unknown-metric", detail, parameter: None, suggestion }
        })
    }
}

/// What is asked and by whom: the metric's name, the decoded parameters in order, and the time of day.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// The metric.
    pub metric: &'a str,
    /// Names and values.
    pub parameters: &'a [(String, String)],
    /// What `now` means.
    pub now: Timestamp,
    /// How to write the answer.
    pub format: Format,
}

/// Reads and checks a request.
pub fn parse(catalog: &Catalog, request: Request<'_>) -> Result<Query, Refusal> {
    let metric = catalog.metric(request.metric)?;
    let parameters = Parameters::check(request.parameters)?;
    let measures = metric.kind.measures();
    let pane = measures.iter().map(|m| m.view.pane).reduce(common_multiple).unwrap_or(Span::MINUTE);
    let zone = parameters.one("tz").map_or(Ok(Zone::UTC), Zone::parse)?;
    let is_final = parameters.choice("final", &[("true", true), ("false", false)])?.unwrap_or(false);
    let moment = |name: &str| parameters.one(name).map(|text| parse_moment(name, text, request.now, zone)).transpose();
    let length = |name: &str| parameters.one(name).map(|text| Length::parse(name, text)).transpose();
    let asked = Asked {
        from: moment("from")?,
        to: moment("to")?,
        at: moment("at")?,
        step: length("step")?,
        window: length("window")?,
        cumulative: length("cumulative")?,
        zone,
        is_final,
    };
    let grid = Grid { pane, window: default_window(&measures[0].view, pane), now: request.now };
    let Resolved { shape, step, times } = resolve(asked, grid)?;
    let dimensions = dimensions(&parameters, &measures)?;
    let terms =
        measures.iter().map(|m| term(request.caller, m, &dimensions, &parameters)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = dimensions.into_iter().map(|d| d.name.to_owned()).collect();
    let until = request.now.min(times.span().1);
    if is_final && parameters.one("layer") == Some("speed") {
        let detail =
            "the speed layer alone holds what no generation covers yet, so that none of its windows is complete";
        return Err(Refusal::parameter("final", detail));
    }
    let generation = generation(&parameters, request.now, zone)?;
    refuse_batch_of_kappa(&parameters, catalog.config.batch.mode)?;
    let query = Query {
        rate: rate(&parameters, &metric)?.map(|per| Rate { per, until }),
        top: parameters.one("top").map(|text| rows("top", text)).transpose()?,
        order: order(&parameters, &names)?,
        limit: limit(&parameters)?,
        fill: parameters
            .choice("fill", &[("none", Fill::None), ("null", Fill::Null), ("zero", Fill::Zero)])?
            .unwrap_or(Fill::Natural),
        layer: parameters
            .choice("layer", &[("merged", Layer::Merged), ("batch", Layer::Batch), ("speed", Layer::Speed)])?
            .unwrap_or(if generation.is_some() { Layer::Batch } else { Layer::Merged }),
        generation,
        min_position: min_position(&parameters, &measures[0].view)?,
        timeout: timeout(&parameters, catalog.config.server.query_timeout)?,
        format: request.format,
        cursor: parameters.one("cursor").map(cursor).transpose()?,
        dimensions: names,
        terms,
        window: shape,
        step,
        times,
        zone,
        is_final,
        ahead: None,
        metric: metric.clone(),
    };
    super::sessions::check(&query)?;
    Ok(query)
}

/// Checked names: no unknown one, none twice but `dimension`.
struct Parameters<'a>(&'a [(String, String)]);

impl<'a> Parameters<'a> {
    fn check(given: &'a [(String, String)]) -> Result<Self, Refusal> {
        for (i, (name, _)) in given.iter().enumerate() {
            if !PARAMETERS.contains(&name.as_str()) {
                let refusal =
                    Refusal::parameter(name, format!("there is no parameter `{name}`")).named("unknown-parameter");
                return Err(refusal.suggest(nearest(name, PARAMETERS.into_iter())));
            }
            if name != "dimension" && given[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(Refusal::parameter(name, format!("`{name}` is given more than once")));
            }
        }
        Ok(Parameters(given))
    }
    fn one(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
    fn span(&self, name: &str) -> Result<Option<Span>, Refusal> {
        self.one(name).map(|text| Span::parse(text).map_err(|e| Refusal::parameter(name, e))).transpose()
    }
    fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Refusal> {
        let Some(text) = self.one(name) else { return Ok(None) };
        if let Some((_, chosen)) = choices.iter().find(|(n, _)| *n == text) {
            return Ok(Some(*chosen));
        }
        let names: Vec<&str> = choices.iter().map(|(n, _)| *n).collect();
        let detail = format!("{name}=`{text}` is none of {}", names.join(", "));
        Err(Refusal::parameter(name, detail).suggest(nearest(text, names.into_iter())))
    }
}

fn common_multiple(a: Span, b: Span) -> Span {
    Span(a.0 / divisor(a.0, b.0) * b.0)
}

/// Five minutes; where the panes are no part of that, the view's shortest window that they are a part of, or one pane.
fn default_window(view: &View, pane: Span) -> Span {
    if WINDOW_DEFAULT.0 % pane.0 == 0 {
        return WINDOW_DEFAULT;
    }
    view.windows.iter().copied().filter(|w| w.0 % pane.0 == 0).min().unwrap_or(pane)
}

/// A dimension that was named, and the texts of the values that it is sliced to.
struct Asks<'a> {
    name: &'a str,
    values: Vec<&'a str>,
}

/// That a view has no such dimension, and which it has.
pub fn no_dimension(view: &View, name: &str) -> String {
    let known: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    match &known[..] {
        [] => format!("view {} has no dimension `{name}`, and no other", view.name),
        known => format!("view {} has no dimension `{name}`; it has {}", view.name, known.join(", ")),
    }
}

fn dimensions<'a>(parameters: &Parameters<'a>, measures: &[&MeasureOf]) -> Result<Vec<Asks<'a>>, Refusal> {
    let mut out: Vec<Asks<'_>> = Vec::new();
    for (_, text) in parameters.0.iter().filter(|(name, _)| name == "dimension") {
        for item in split_list(text).into_iter().filter(|item| !item.is_empty()) {
            let (name, value) = item.split_once(':').map_or((item, None), |(n, v)| (n, Some(v)));
            for measure in measures {
                if measure.view.dimension(name).is_none() {
                    let known = measure.view.dimensions.iter().map(|d| d.name.as_str());
                    let detail = no_dimension(&measure.view, name);
                    let refusal = Refusal::parameter("dimension", detail).named("unknown-dimension");
                    return Err(refusal.suggest(nearest(name, known)));
                }
            }
            let at = out.iter().position(|asks| asks.name == name).unwrap_or_else(|| {
                out.push(Asks { name, values: Vec::new() });
                out.len() - 1
            });
            out[at].values.extend(value);
        }
    }
    Ok(out)
}

/// Splits at commas outside double quotes.
fn split_list(text: &str) -> Vec<&str> {
    let (mut items, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items
}

fn term(
    caller: &Caller,
    measure: &MeasureOf,
    asked: &[Asks<'_>],
    parameters: &Parameters<'_>,
) -> Result<Term, Refusal> {
    let view = &measure.view;
    let admission = caller.admit(view)?;
    let (mut dimensions, mut slices) = (Vec::new(), Vec::new());
    for asks in asked {
        let d = view.dimension(asks.name).expect("checked when the list was read");
        dimensions.push(d);
        if !asks.values.is_empty() {
            let values = asks.values.iter().map(|text| value_of(&view.dimensions[d], text));
            let mut values = values.collect::<Result<Vec<Value>, Refusal>>()?;
            values.sort();
            values.dedup();
            slices.push((d, values));
        }
    }
    slices.sort_by_key(|(d, _)| *d);
    let mut conditions: Vec<Expression> = measure.filter.iter().cloned().collect();
    if let Some(text) = parameters.one("where") {
        conditions.push(condition(view, text)?);
    }
    let definition = measure.definition();
    let (state, figure) = (definition.state, definition.figure);
    Ok(Term { view: view.clone(), state, figure, dimensions, slices, conditions, admission })
}

fn condition(view: &View, text: &str) -> Result<Expression, Refusal> {
    let as_field = |d: &DimensionDefinition| Field::new(&d.name, vec![d.name.clone()], d.field_type);
    let fields: Vec<Field> = view.dimensions.iter().map(as_field).collect();
    Expression::parse(text, &fields).map_err(|error| {
        let character = text.get(..error.at).map_or(0, |before| before.chars().count()) + 1;
        let hint = error.suggestion.map_or(String::new(), |suggestion| format!("; {suggestion}"));
        Refusal::parameter("where", format!("{} (at character {character}){hint}", error.message))
    })
}

/// Reads a value of a dimension: `null`, a text in double quotes, or the value as it is.
///
/// # Errors
/// A refusal of the parameter `dimension` when it is none.
pub fn value_of(dimension: &DimensionDefinition, text: &str) -> Result<Value, Refusal> {
    if text == "null" {
        return Ok(Value::Null);
    }
    let quoted = if text.starts_with('"') { serde_json::from_str::<String>(text).ok() } else { None };
    let value = match dimension.field_type {
        FieldType::String if text.starts_with('"') => quoted.as_deref().map(Value::text),
        FieldType::String => Some(Value::text(text)),
        FieldType::Bool => text.parse().ok().map(Value::Bool),
        FieldType::Int => text.parse().ok().map(Value::Int),
        FieldType::Decimal(scale) => parse_decimal(text, scale).map(|d| Value::Decimal(d, scale)),
        FieldType::Float => None,
    };
    value.ok_or_else(|| {
        let detail = format!(
            "`{text}` is no value of dimension {}, which holds {}",
            dimension.name,
            type_name(dimension.field_type)
        );
        Refusal::parameter("dimension", detail)
    })
}

fn type_name(field_type: FieldType) -> String {
    match field_type {
        FieldType::String => "text; with a comma or a quote in it, write it as a JSON string".to_owned(),
        FieldType::Bool => "true and false".to_owned(),
        FieldType::Int => "whole numbers".to_owned(),
        FieldType::Decimal(scale) => format!("numbers with at most {scale} digits after the point"),
        FieldType::Float => "numbers that cannot be compared exactly".to_owned(),
    }
}

fn order(parameters: &Parameters<'_>, dimensions: &[String]) -> Result<Vec<OrderKey>, Refusal> {
    let text = parameters.one("order").unwrap_or("");
    let mut keys = Vec::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let (name, descending) = item.strip_prefix('-').map_or((item, false), |rest| (rest, true));
        let by = match (name, dimensions.iter().position(|d| d == name)) {
            (_, Some(d)) => OrderBy::Dimension(d),
            ("time", None) => OrderBy::Time,
            ("value", None) => OrderBy::Value,
            _ => {
                let detail = format!("rows have no `{name}` to order by");
                let known = dimensions.iter().map(String::as_str).chain(["time", "value"]);
                return Err(Refusal::parameter("order", detail).suggest(nearest(name, known)));
            }
        };
        keys.push(OrderKey { by, descending });
    }
    Ok(keys)
}

fn limit(parameters: &Parameters<'_>) -> Result<usize, Refusal> {
    parameters.one("limit").map_or(Ok(LIMIT_DEFAULT), |text| rows("limit", text))
}

/// Reads a number of rows.
fn rows(name: &str, text: &str) -> Result<usize, Refusal> {
    let number = text.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
    number.ok_or_else(|| Refusal::parameter(name, format!("{name}=`{text}` is no number from 1 to {LIMIT_MAX}")))
}

/// The time that a value is said per: as the query says, else as the metric does.
fn rate(parameters: &Parameters<'_>, metric: &Metric) -> Result<Option<Span>, Refusal> {
    let units = [("second", Span::SECOND), ("minute", Span::MINUTE), ("hour", Span::HOUR), ("day", Span::DAY)];
    let per = match parameters.one("per") {
        None => return Ok(metric.per),
        Some(text) => units.iter().find(|(name, _)| *name == text).map(|(_, span)| *span).or(Span::parse(text).ok()),
    };
    let Some(per) = per.filter(|per| per.0 > 0) else {
        return Err(Refusal::parameter("per", "per= is second, minute, hour, day, or a duration like 10s"));
    };
    if metric.can_be_rate() {
        return Ok(Some(per));
    }
    let detail = format!(
        "{} is no number of events and no sum: it does not grow with time, so there is none per time",
        metric.name
    );
    Err(Refusal::parameter("per", detail))
}

/// As asked, or as configured; the longest is what is configured, or [`TIMEOUT_MAX`] if that is longer.
fn timeout(parameters: &Parameters<'_>, configured: Span) -> Result<Span, Refusal> {
    let timeout = parameters.span("timeout")?.unwrap_or(configured);
    let longest = configured.max(TIMEOUT_MAX);
    if timeout > longest {
        return Err(Refusal::parameter("timeout", format!("timeout={timeout} is longer than the longest, {longest}")));
    }
    Ok(timeout)
}

/// Without a batch layer there is nothing to wait for: no generation will ever be.
fn refuse_batch_of_kappa(parameters: &Parameters<'_>, mode: Mode) -> Result<(), Refusal> {
    let of_batch = |name: &&str| parameters.one(name).is_some_and(|text| *name != "layer" || text == "batch");
    match ["layer", "generation", "as_of"].into_iter().find(of_batch).filter(|_| mode == Mode::Kappa) {
        Some(name) => {
            let detail =
                "`batch: { mode: kappa }` has no batch layer, and never a generation: the speed layer holds everything";
            Err(Refusal::parameter(name, detail))
        }
        None => Ok(()),
    }
}

/// The generation asked for: by its number, or by a moment at which it was the newest.
fn generation(parameters: &Parameters<'_>, now: Timestamp, zone: Zone) -> Result<Option<Which>, Refusal> {
    let by_number = parameters.one("generation").map(|text| {
        let number = text.parse().ok().filter(|number| *number > 0).map(Which::Number);
        number.ok_or_else(|| Refusal::parameter("generation", format!("generation=`{text}` is no number from 1 on")))
    });
    let by_time = parameters.one("as_of").map(|text| Ok(Which::AsOf(parse_moment("as_of", text, now, zone)?)));
    if by_number.is_some() && by_time.is_some() {
        return Err(Refusal::parameter("as_of", "`as_of` and `generation` both name one generation; give one of them"));
    }
    let which = by_number.or(by_time).transpose()?;
    if which.is_some() && parameters.one("layer") == Some("speed") {
        return Err(Refusal::parameter("layer", "the speed layer has no generations"));
    }
    Ok(which)
}

fn cursor(text: &str) -> Result<Cursor, Refusal> {
    let parts =
        text.split_once('-').and_then(|(tag, rows)| Some(Cursor { tag: tag.to_owned(), rows: rows.parse().ok()? }));
    parts.ok_or_else(|| Refusal::parameter("cursor", "this is no cursor; `meta.next` of an answer holds one"))
}

fn min_position(parameters: &Parameters<'_>, view: &View) -> Result<Option<OffsetVector>, Refusal> {
    let Some(text) = parameters.one("min_position") else { return Ok(None) };
    let mut vectors = OffsetVector::parse_text(text).map_err(|e| Refusal::parameter("min_position", e))?;
    let source = &view.source.name;
    let vector = vectors.remove(source);
    if let Some(other) = vectors.keys().next() {
        let detail = format!("the metric follows source {source}, not {other}");
        return Err(Refusal::parameter("min_position", detail));
    }
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_outside_quotes_only() {
        assert_eq!(split_list("a,b:\"x,\\\"y\",c"), ["a", "b:\"x,\\\"y\"", "c"]);
        assert_eq!(split_list(""), [""]);
    }

    #[test]
    fn panes_of_two_views_meet_at_their_common_multiple() {
        assert_eq!(common_multiple(Span(4), Span(6)), Span(12));
        assert_eq!(common_multiple(Span(5), Span(5)), Span(5));
    }
}
