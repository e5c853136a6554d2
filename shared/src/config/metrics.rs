//! Metrics: the public names of measures, of measures of some keys, of ratios and of rates.
use std::sync::Arc;

use super::condition::expression;
use super::recommend::PREFIX;
use super::report::{Place, Problems};
use super::tree::{Content, Key, Node};
use super::{MeasureOf, Metric, MetricKind};
use crate::time::Span;
use crate::view::definition::{DimensionDefinition, Field, View};

/// What is made of other metrics has one of these.
const MADE: [&str; 2] = ["ratio", "rate"];

/// The metrics in the file's order; without `metrics`, one for each measure of each view that it declares.
pub(super) fn compile(root: &Node, views: &[Arc<View>], problems: &mut Problems) -> Vec<Metric> {
    let Some(table) = root.get("metrics") else { return every_measure(views) };
    let mut metrics: Vec<Option<Metric>> = Vec::new();
    for (key, node) in table.entries() {
        let is_made = MADE.iter().any(|made| node.get(made).is_some());
        metrics.push(if is_made { None } else { simple(root, key, node, views, problems) });
        if let Some(per) = node.get("per").filter(|_| node.get("rate").is_none()) {
            let suggestion = "write { rate: <a metric>, per: 1s }".to_owned();
            problems.suggest(per.place, "`per` is of a rate, and this is none", Some(suggestion));
        }
    }
    for (i, (key, node)) in table.entries().iter().enumerate() {
        if let Some(list) = node.get("ratio") {
            metrics[i] = ratio(key, node, list, table, &metrics, problems);
        } else if let Some(of) = node.get("rate") {
            metrics[i] = rate(key, node, of, table, &metrics, problems);
        }
    }
    metrics.into_iter().flatten().collect()
}

fn every_measure(views: &[Arc<View>]) -> Vec<Metric> {
    let all = views.iter().filter(|view| !view.name.starts_with(PREFIX)).flat_map(|view| {
        view.measures.iter().enumerate().map(|(measure, definition)| Metric {
            name: format!("{}.{}", view.name, definition.name),
            kind: MetricKind::Measure(MeasureOf { view: view.clone(), measure, filter: None }),
            help: None,
            unit: None,
            per: None,
        })
    });
    all.collect()
}

fn named(key: &Key, node: &Node, kind: MetricKind) -> Metric {
    let text = |name| node.text_of(name).map(str::to_owned);
    Metric { name: key.name.clone(), kind, help: text("help"), unit: text("unit"), per: None }
}

fn simple(root: &Node, key: &Key, node: &Node, views: &[Arc<View>], problems: &mut Problems) -> Option<Metric> {
    for needed in ["view", "measure"] {
        if node.get(needed).is_none() && (node.is_null() || matches!(node.content, Content::Mapping(_))) {
            let place = Place { length: 1, ..node.place };
            let suggestion = "a metric is { view: …, measure: … }, { ratio: […, …] } or { rate: …, per: … }".to_owned();
            problems.suggest(place, format!("the key `{needed}` is missing"), Some(suggestion));
        }
    }
    let view_node = node.get("view")?;
    let name = view_node.text()?;
    let Some(view) = views.iter().find(|view| view.name == name) else {
        let declared = root.get("views").map_or(&[][..], Node::entries).iter().map(|(key, _)| key.name.as_str());
        // a view that is there but wrong has been reported
        if !declared.clone().any(|other| other == name) {
            problems.unknown(view_node.place, "there is no view", name, declared);
        }
        return None;
    };
    let filter = node.get("where").map(|condition| expression(condition, &dimension_fields(view), problems));
    let measure_node = node.get("measure")?;
    let measure = measure_node.text()?;
    let found = view.measures.iter().position(|m| m.name == measure);
    let average = || view.measures.iter().position(|m| m.name == format!("{measure}.avg"));
    let Some(measure) = found.or_else(average) else {
        let what = format!("the view `{name}` has no measure");
        problems.unknown(measure_node.place, &what, measure, view.measures.iter().map(|m| m.name.as_str()));
        return None;
    };
    let filter = match filter {
        Some(parsed) => Some(parsed?),
        None => None,
    };
    Some(named(key, node, MetricKind::Measure(MeasureOf { view: view.clone(), measure, filter })))
}

/// A view's dimensions as the fields of a condition, so that its indexes are those of the dimensions.
fn dimension_fields(view: &View) -> Vec<Field> {
    let field = |dimension: &DimensionDefinition| Field::new(&dimension.name, Vec::new(), dimension.field_type);
    view.dimensions.iter().map(field).collect()
}

fn ratio(
    key: &Key,
    node: &Node,
    list: &Node,
    table: &Node,
    metrics: &[Option<Metric>],
    problems: &mut Problems,
) -> Option<Metric> {
    refuse_own(node, "a ratio", "its two metrics have", problems);
    let names = list.texts();
    let [numerator, denominator] = names.as_slice() else {
        if !list.items().is_empty() && names.len() == list.items().len() {
            problems.add(list.place, format!("a ratio has two metrics, this one {}", names.len()));
        }
        return None;
    };
    let numerator = part(*numerator, table, metrics, problems);
    let denominator = part(*denominator, table, metrics, problems);
    let (numerator, denominator) = (numerator?, denominator?);
    let (above, below) = (&numerator.view.source.name, &denominator.view.source.name);
    if above != below {
        let message = format!("`{above}` and `{below}` are different sources: no one position of the log covers both");
        problems.add(list.place, message);
        return None;
    }
    Some(named(key, node, MetricKind::Ratio(numerator, denominator)))
}

fn refuse_own(node: &Node, what: &str, who: &str, problems: &mut Problems) {
    for (other, value) in node.entries() {
        if ["view", "measure", "where"].contains(&other.name.as_str()) && !value.is_null() {
            problems.add(other.place, format!("{what} has no `{}` of its own; {who}", other.name));
        }
    }
}

fn rate(
    key: &Key,
    node: &Node,
    of: &Node,
    table: &Node,
    metrics: &[Option<Metric>],
    problems: &mut Problems,
) -> Option<Metric> {
    refuse_own(node, "a rate", "its metric has", problems);
    let measure = part((of.text()?, of.place), table, metrics, problems)?;
    let per = node.duration("per").unwrap_or(Span::SECOND);
    let metric = Metric { per: Some(per), ..named(key, node, MetricKind::Measure(measure)) };
    if !metric.can_be_rate() {
        let message = "a rate is of a number of events or of a sum; what this metric shows does not grow with time";
        problems.add(of.place, message);
        return None;
    }
    Some(metric)
}

fn part(
    (name, place): (&str, Place),
    table: &Node,
    metrics: &[Option<Metric>],
    problems: &mut Problems,
) -> Option<MeasureOf> {
    if let Some(metric) = metrics.iter().flatten().find(|metric| metric.name == name)
        && let (MetricKind::Measure(measure), None) = (&metric.kind, metric.per)
    {
        return Some(measure.clone());
    }
    match table.get(name) {
        Some(node) if node.get("ratio").is_some() => {
            problems.add(place, format!("`{name}` is a ratio itself; a ratio is made of plain measures"));
        }
        Some(node) if node.get("rate").is_some() => {
            problems.add(place, format!("`{name}` is a rate itself; name the metric that it is the rate of"));
        }
        // a metric that is there but wrong has been reported
        Some(_) => {}
        None => {
            let known = table.entries().iter().map(|(key, _)| key.name.as_str());
            problems.unknown(place, "there is no metric", name, known);
        }
    }
    None
}
