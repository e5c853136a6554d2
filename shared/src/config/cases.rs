//! The file's `tests`: events, a question, and what its answer must say. `seam test` runs them through every layer.
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::Metric;
use super::report::Problems;
use super::tree::{Content, Node, Scalar};
use crate::event::decode;
use crate::view::definition::Source;

/// The layers that a test may ask.
pub const LAYERS: [&str; 3] = ["speed", "batch", "merged"];

/// One test of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct TestCase {
    /// What it is called.
    pub name: String,
    /// The source that the metric's view follows.
    pub source: String,
    /// The events in order of arrival, each as JSON.
    pub events: Vec<String>,
    /// The metric asked for.
    pub metric: String,
    /// The parameters of the question, as in a URL.
    pub parameters: Vec<(String, String)>,
    /// The rows of the answer: of each, the members that matter.
    pub expect: Vec<Map<String, Json>>,
    /// The layers that must say so; all by default.
    pub layers: Vec<String>,
}

/// The tests whose parts are all right, in the file's order.
pub(super) fn compile(
    root: &Node,
    sources: &[Arc<Source>],
    metrics: &[Metric],
    problems: &mut Problems,
) -> Vec<TestCase> {
    let nodes = root.get("tests").map_or(&[][..], Node::items);
    nodes.iter().filter_map(|node| case(node, sources, metrics, problems)).collect()
}

fn case(node: &Node, sources: &[Arc<Source>], metrics: &[Metric], problems: &mut Problems) -> Option<TestCase> {
    let query = node.get("query")?;
    let Some(metric_node) = query.get("metric") else {
        problems.add(query.place, "the key `metric` is missing: a test asks for a metric");
        return None;
    };
    let asked = metric_node.text()?;
    let Some(metric) = metrics.iter().find(|metric| metric.name == asked) else {
        problems.unknown(metric_node.place, "there is no metric", asked, metrics.iter().map(|m| m.name.as_str()));
        return None;
    };
    let source_name = &metric.kind.measures().first()?.view.source.name;
    let source = sources.iter().find(|source| source.name == *source_name)?;
    let mut events = Vec::new();
    for event in node.get("events")?.items() {
        let text = json(event).to_string();
        match decode::check(source, text.as_bytes()) {
            Ok(_) => events.push(text),
            Err(rejection) => {
                problems.add(event.place, format!("this is no event of `{source_name}`: {}", rejection.reason))
            }
        }
    }
    let mut expect = Vec::new();
    for row in node.get("expect")?.items() {
        match json(row) {
            Json::Object(members) => expect.push(members),
            _ => problems.add(row.place, format!("expected a row like {{ value: 2 }}, found {}", row.describe())),
        }
    }
    let layers: Vec<String> = match node.get("layers") {
        Some(list) => list.texts().into_iter().map(|(name, _)| name.to_owned()).collect(),
        None => LAYERS.map(str::to_owned).to_vec(),
    };
    let parameters = query.entries().iter().filter(|(key, _)| key.name != "metric");
    let parameters = parameters.flat_map(|(key, value)| {
        let texts = match &value.content {
            Content::Sequence(_) => value.texts().into_iter().map(|(text, _)| text).collect(),
            Content::Scalar(_) | Content::Mapping(_) => value.text().into_iter().collect::<Vec<_>>(),
        };
        texts.into_iter().map(|text| (key.name.clone(), text.to_owned()))
    });
    Some(TestCase {
        name: node.text_of("name")?.to_owned(),
        source: source_name.clone(),
        events,
        metric: asked.to_owned(),
        parameters: parameters.collect(),
        expect,
        layers,
    })
}

/// A node as JSON. Plain scalars that look like numbers, flags or null are those; everything else is text.
fn json(node: &Node) -> Json {
    match &node.content {
        Content::Mapping(entries) => entries.iter().map(|(key, value)| (key.name.clone(), json(value))).collect(),
        Content::Sequence(items) => items.iter().map(json).collect(),
        Content::Scalar(scalar) => scalar_json(scalar),
    }
}

fn scalar_json(scalar: &Scalar) -> Json {
    let text = scalar.text.as_str();
    match text {
        _ if scalar.is_null() => Json::Null,
        _ if !scalar.plain => Json::from(text),
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Json::from(number),
            (Err(_), Ok(number)) if number.is_finite() && text.contains(|c: char| c.is_ascii_digit()) => {
                Json::from(number)
            }
            _ => Json::from(text),
        },
    }
}
