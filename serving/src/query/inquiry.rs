//! Several metrics asked together, as the JSON body of `POST /api/analytics/query`. Each becomes a query in the words of the URL,
//! so that both say the same; a refusal points to the member at fault. Pure.
mod filter;

use std::sync::Arc;

use seam_shared::Kind;
use seam_shared::access::Caller;
use seam_shared::log::OffsetVector;
use seam_shared::time::Timestamp;
use serde_json::{Map, Value as Json};

use crate::query::{self, Catalog, Cursor, Format, Length, PARAMETERS, Query, Refusal, Request, Shape, nearest};

/// The most metrics of one inquiry.
pub const METRICS_MAX: usize = 20;
/// Members that a URL has no parameter for, or another one.
const MEMBERS: [&str; 4] = ["metrics", "dimensions", "filter", "range"];

/// What rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// The window's end.
    Time,
    /// A dimension, by its place.
    Dimension(usize),
    /// A metric's value, by its place.
    Metric(usize),
}

/// A checked inquiry.
#[derive(Debug, Clone)]
pub struct Inquiry {
    /// One query a metric: of the same dimensions, times and layer.
    pub queries: Vec<Arc<Query>>,
    /// What rows are ordered by, each with whether the largest comes first; then by time and dimensions.
    pub order: Vec<(By, bool)>,
    /// How the answer is written.
    pub format: Format,
    /// The view whose measures they are, where the state of a key is asked for.
    pub view: Option<String>,
}

impl Inquiry {
    /// The first of its queries: what all have in common is the same in each.
    pub fn first(&self) -> &Query {
        &self.queries[0]
    }
    /// The page that is asked for, if not the first.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.first().cursor.as_ref()
    }
    /// The names of its metrics.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.queries.iter().map(|query| query.metric.name.as_str())
    }
}

/// The members that a body may have.
pub fn members() -> impl Iterator<Item = &'static str> {
    MEMBERS.into_iter().chain(PARAMETERS.into_iter().filter(|name| *name != "dimension"))
}

/// Reads and checks a body; `now` is what `now` means.
///
/// # Errors
/// A refusal that points to the member at fault.
pub fn parse(
    catalog: &Catalog,
    caller: &Caller,
    body: &[u8],
    now: Timestamp,
    format: Format,
) -> Result<Inquiry, Refusal> {
    let body: Json = serde_json::from_slice(body)
        .map_err(|error| at_member("", format!("the body is no JSON: {error}")).named("invalid-json"))?;
    let Json::Object(body) = body else {
        return Err(at_member("", r#"the body is no JSON object; write it like {"metrics": ["events.total"]}"#));
    };
    if let Some(name) = body.keys().find(|name| !members().any(|known| known == name.as_str())) {
        let refusal = at_member(&escaped(name), format!("there is no member `{name}`"));
        return Err(refusal.named("unknown-member").suggest(nearest(name, members())));
    }
    let metrics = metrics(catalog, &body)?;
    let mut parameters = parameters(&body)?;
    if metrics.len() > 1 && parameters.iter().any(|(name, _)| name == "top") {
        return Err(at_member("top", "the top groups are those of one metric; ask for each alone"));
    }
    if let Some(filter) = body.get("filter").filter(|filter| !filter.is_null()) {
        let views = metrics.iter().flat_map(|name| catalog.metric(name)).flat_map(|metric| {
            metric.kind.measures().into_iter().map(|measure| measure.view.clone()).collect::<Vec<_>>()
        });
        let condition = filter::text(filter, &views.collect::<Vec<_>>())?;
        match parameters.iter_mut().find(|(name, _)| name == "where") {
            Some((_, text)) => *text = format!("({text}) and ({condition})"),
            None => parameters.push(("where".to_owned(), condition)),
        }
    }
    let read = |parameters: &[(String, String)]| -> Result<Vec<Arc<Query>>, Refusal> {
        let each = metrics.iter().enumerate().map(|(i, metric)| {
            let own = of_source(catalog, metric, parameters);
            let asked = query::parse(catalog, Request { caller, metric, parameters: &own, now, format });
            asked.map(Arc::new).map_err(|refusal| pointed(refusal, i, &body))
        });
        each.collect()
    };
    let mut queries = read(&parameters)?;
    if !agree(&queries) {
        queries = read(&aligned(parameters, &queries))?;
    }
    if !agree(&queries) {
        let detail = "the panes of these metrics' views do not fit each other: name window, range and step that are \
                      multiples of all of them";
        return Err(at_member("metrics", detail));
    }
    check_sources(&body, &queries)?;
    let order = order(&body, &queries)?;
    Ok(Inquiry { queries, order, format, view: None })
}

/// A refusal of the member at that JSON pointer.
fn at_member(pointer: &str, detail: impl Into<String>) -> Refusal {
    let pointer = if pointer.is_empty() { "#".to_owned() } else { format!("#/{pointer}") };
    Refusal::parameter(pointer, detail).named("invalid-member")
}

/// A member's name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn metrics(catalog: &Catalog, body: &Map<String, Json>) -> Result<Vec<String>, Refusal> {
    let missing = || at_member("metrics", "name the metrics: \"metrics\": [\"events.total\"]");
    let names = texts("metrics", body.get("metrics").ok_or_else(missing)?)?;
    if names.is_empty() {
        return Err(missing());
    }
    if names.len() > METRICS_MAX {
        let detail = format!("{} metrics are asked for; at most {METRICS_MAX} are answered together", names.len());
        return Err(at_member("metrics", detail));
    }
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            return Err(at_member(&format!("metrics/{i}"), format!("`{name}` is there already")));
        }
        catalog.metric(name).map_err(|refusal| Refusal {
            kind: Kind::Invalid,
            parameter: Some(format!("#/metrics/{i}")),
            ..refusal
        })?;
    }
    Ok(names)
}

/// One text, or a list of them.
fn texts(name: &str, value: &Json) -> Result<Vec<String>, Refusal> {
    match value {
        Json::Null => Ok(Vec::new()),
        Json::String(text) => Ok(vec![text.clone()]),
        Json::Array(items) => items.iter().enumerate().map(|(i, item)| scalar(&format!("{name}/{i}"), item)).collect(),
        Json::Bool(_) | Json::Number(_) | Json::Object(_) => {
            Err(at_member(name, format!("expected a list of texts, found {}", kind(value))))
        }
    }
}

/// A text, or a number or flag in its spelling.
fn scalar(pointer: &str, value: &Json) -> Result<String, Refusal> {
    match value {
        Json::String(text) => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        Json::Bool(flag) => Ok(flag.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => {
            Err(at_member(pointer, format!("expected a text, found {}", kind(value))))
        }
    }
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a flag",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// The members as parameters of a URL, but for those that have a way of their own.
fn parameters(body: &Map<String, Json>) -> Result<Vec<(String, String)>, Refusal> {
    let mut out: Vec<(String, String)> = Vec::new();
    for (name, value) in body.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "metrics" | "filter" | "order" => {}
            "dimensions" => {
                out.extend(texts(name, value)?.into_iter().map(|text| ("dimension".to_owned(), text)));
            }
            "range" => {
                let ends = value.as_array().filter(|ends| ends.len() == 2);
                let wrong = || at_member("range", "expected first moment and end: [\"now-1d\", \"now\"]");
                for (i, (name, end)) in ["from", "to"].into_iter().zip(ends.ok_or_else(wrong)?).enumerate() {
                    if body.get(name).is_some_and(|other| !other.is_null()) {
                        return Err(at_member(name, format!("`range` says already what `{name}` is")));
                    }
                    out.push((name.to_owned(), scalar(&format!("range/{i}"), end)?));
                }
            }
            _ => out.push((name.clone(), scalar(name, value)?)),
        }
    }
    Ok(out)
}

/// The parameters with the part of `min_position` that is about the metric's source.
fn of_source(catalog: &Catalog, metric: &str, parameters: &[(String, String)]) -> Vec<(String, String)> {
    let source = catalog.metric(metric).ok().map(|metric| metric.kind.measures()[0].view.source.name.clone());
    let mut own = parameters.to_vec();
    own.retain_mut(|(name, text)| {
        let (true, Some(source)) = (name == "min_position", &source) else { return true };
        // What cannot be read is refused where it is checked.
        let Ok(vectors) = OffsetVector::parse_text(text) else { return true };
        match vectors.get(source) {
            Some(vector) => {
                *text = vector.to_text(source);
                true
            }
            None => false,
        }
    });
    own
}

fn check_sources(body: &Map<String, Json>, queries: &[Arc<Query>]) -> Result<(), Refusal> {
    let Some(Json::String(text)) = body.get("min_position") else { return Ok(()) };
    let vectors = OffsetVector::parse_text(text).unwrap_or_default();
    match vectors.keys().find(|source| queries.iter().all(|query| query.source() != source.as_str())) {
        Some(other) => Err(at_member("min_position", format!("none of the metrics follows source {other}"))),
        None => Ok(()),
    }
}

/// Points a refusal of the parameter in a URL to the member of the body that it came from.
fn pointed(refusal: Refusal, metric: usize, body: &Map<String, Json>) -> Refusal {
    let pointer = match refusal.parameter.as_deref() {
        None if ["unknown-metric", "denied"].contains(&refusal.problem) => format!("#/metrics/{metric}"),
        None => return refusal,
        Some("dimension") => "#/dimensions".to_owned(),
        Some("from") if body.contains_key("range") => "#/range/0".to_owned(),
        Some("to") if body.contains_key("range") => "#/range/1".to_owned(),
        Some("where") if !body.contains_key("where") => "#/filter".to_owned(),
        Some(name) => format!("#/{}", escaped(name)),
    };
    Refusal { parameter: Some(pointer), ..refusal }
}

fn agree(queries: &[Arc<Query>]) -> bool {
    queries.windows(2).all(|pair| pair[0].times == pair[1].times && pair[0].window == pair[1].window)
}

/// The parameters with moments and window that suit the coarsest panes.
fn aligned(mut parameters: Vec<(String, String)>, queries: &[Arc<Query>]) -> Vec<(String, String)> {
    let mut set = |name: &str, text: String| {
        parameters.retain(|(other, _)| other != name);
        parameters.push((name.to_owned(), text));
    };
    let fixed = |query: &Arc<Query>| match query.window {
        Shape::Rolling(Length::Fixed(window)) => Some(window),
        Shape::Rolling(Length::Calendar(_)) | Shape::Cumulative(_) => None,
    };
    let longest = queries.iter().filter_map(fixed).max();
    if let (Some(window), false) = (longest, queries.windows(2).all(|pair| pair[0].window == pair[1].window)) {
        set("window", window.to_string());
    }
    let ranges = queries.iter().filter_map(|query| query.times.range);
    match ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) {
        Some((from, to)) => {
            set("from", from.to_rfc3339());
            set("to", to.to_rfc3339());
        }
        None => {
            let last = queries.iter().map(|query| query.times.span().1).max().unwrap_or_default();
            parameters.retain(|(name, _)| name != "to");
            parameters.retain(|(name, _)| name != "at");
            parameters.push(("at".to_owned(), last.to_rfc3339()));
        }
    }
    parameters
}

fn order(body: &Map<String, Json>, queries: &[Arc<Query>]) -> Result<Vec<(By, bool)>, Refusal> {
    let items = match body.get("order") {
        Some(Json::String(text)) => text.split(',').map(str::to_owned).collect(),
        other => texts("order", other.unwrap_or(&Json::Null))?,
    };
    let dimensions = &queries[0].dimensions;
    let mut keys = Vec::new();
    for (i, item) in items.iter().enumerate().filter(|(_, item)| !item.is_empty()) {
        let (name, descending) = item.strip_prefix('-').map_or((item.as_str(), false), |rest| (rest, true));
        let of_metric = queries.iter().position(|query| query.metric.name == name);
        let by = match (dimensions.iter().position(|d| d == name), of_metric) {
            (Some(d), _) => By::Dimension(d),
            (None, Some(metric)) => By::Metric(metric),
            (None, None) if name == "time" => By::Time,
            (None, None) if name == "value" && queries.len() == 1 => By::Metric(0),
            (None, None) => {
                let metrics = queries.iter().map(|query| query.metric.name.as_str());
                let known = dimensions.iter().map(String::as_str).chain(["time"]).chain(metrics);
                let refusal = at_member(&format!("order/{i}"), format!("rows have no `{name}` to order by"));
                return Err(refusal.suggest(nearest(name, known)));
            }
        };
        keys.push((by, descending));
    }
    let names = queries.iter().enumerate().map(|(i, query)| (i, &query.metric.name));
    for (i, name) in names {
        if dimensions.contains(name) || ["time", "start"].contains(&name.as_str()) {
            let detail = format!("rows have a column `{name}` already; ask for this metric alone");
            return Err(at_member(&format!("metrics/{i}"), detail));
        }
    }
    Ok(keys)
}
