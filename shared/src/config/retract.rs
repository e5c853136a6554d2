//! `retract`: which events of a source take back what earlier ones said, and what can be measured of such a source.
use std::sync::Arc;

use super::condition::expression;
use super::report::{Place, Problems};
use super::tree::Node;
use crate::view::aggregate::partial::Aggregate;
use crate::view::aggregate::unit::Unit;
use crate::view::definition::{Source, StateKind};
use crate::view::expression::Expression;
use crate::view::value::FieldType;

/// By source, which of its events take back what an earlier one said.
pub(super) fn by_source<'a>(
    root: &'a Node,
    sources: &[Arc<Source>],
    problems: &mut Problems,
) -> Vec<(&'a str, Arc<Expression>)> {
    let mut all = Vec::new();
    for (key, node) in root.get("sources").map_or(&[][..], Node::entries) {
        let source = sources.iter().find(|source| source.name == key.name);
        if let (Some(source), Some(condition)) = (source, node.get("retract"))
            && let Some(condition) = expression(condition, &source.fields, problems)
        {
            all.push((key.name.as_str(), Arc::new(condition)));
        }
    }
    all
}

/// The state of a function over events that may be taken back; only what can be subtracted has one.
pub(super) fn net(
    function: &str,
    field_type: Option<FieldType>,
    place: Place,
    problems: &mut Problems,
) -> Option<StateKind> {
    const INSTEAD: &str = "write count(), sum(f) or avg(f)";
    let why = match function {
        "count" | "sum" | "avg" => {
            let unit = field_type.map_or(Unit::Scaled(0), Unit::of);
            return Some(StateKind::Partial(Aggregate::Net, unit));
        }
        "min" | "max" | "stats" | "first" | "last" => {
            "keeps the extremes alone: when one is taken back, the one behind it is not known"
        }
        "quantile" | "quantiles" => "keeps the smallest and the largest value, which cannot be taken back",
        "distinct" => "does not keep how often a value came, so that it cannot tell when the last one was taken back",
        "sessions" => "has joined sessions that an event bridged, and could not tell them apart without it",
        _ => "cannot take back what an event said yet",
    };
    let message = format!("events of this source can be taken back (`retract`), and `{function}` {why}");
    problems.suggest(place, message, Some(INSTEAD.to_owned()));
    None
}
