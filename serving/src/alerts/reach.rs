//! The labels that the series of a query can have at all: what a template may name.
use std::collections::BTreeSet;

use crate::prometheus::labels::NAME;
use crate::prometheus::panes::Seen;
use crate::prometheus::plan::{Aggregator, Function, Node, Plan};
use crate::prometheus::source::Grouping;

/// Every label that a series of the plan's result may have.
pub fn reach(plan: &Plan, seen: Seen<'_>) -> BTreeSet<String> {
    of(&plan.root, plan, seen)
}

fn of(node: &Node, plan: &Plan, seen: Seen<'_>) -> BTreeSet<String> {
    let leaf = |leaf: &usize| {
        let selected = seen.select(&plan.leaves[*leaf]);
        let labels =
            selected.iter().flat_map(|definition| definition.labels.iter().map(|(label, _)| label.to_string()));
        labels.chain([NAME.to_owned()]).collect()
    };
    match node {
        Node::Number(_) | Node::Text(_) => BTreeSet::new(),
        Node::Values(at) | Node::Samples(at) | Node::OverTime(_, at, _) => leaf(at),
        Node::Negate(inner) => of(inner, plan, seen),
        Node::Binary(binary) => {
            let mut labels = of(&binary.left.0, plan, seen);
            labels.extend(of(&binary.right.0, plan, seen));
            labels
        }
        Node::Aggregate(aggregate) => {
            let mut labels = of(&aggregate.inner, plan, seen);
            if !matches!(aggregate.aggregator, Aggregator::TopK | Aggregator::BottomK) {
                match &aggregate.grouping {
                    Grouping::By(names) => labels.retain(|label| names.contains(label)),
                    Grouping::Without(names) => labels.retain(|label| label != NAME && !names.contains(label)),
                }
            }
            if let (Aggregator::CountValues, Some(Node::Text(label))) = (aggregate.aggregator, &aggregate.parameter) {
                labels.insert(label.clone());
            }
            labels
        }
        Node::Call(function, arguments) => {
            let mut labels: BTreeSet<String> = arguments.first().map(|first| of(first, plan, seen)).unwrap_or_default();
            if let (Function::LabelReplace | Function::LabelJoin, Some(Node::Text(label))) =
                (function, arguments.get(1))
            {
                labels.insert(label.clone());
            }
            labels
        }
        Node::Absent(_, labels) => labels.iter().map(|(name, _)| name.clone()).collect(),
    }
}
