//! What is wrong with alert rules, said when they are read: an expression that is no PromQL or outside the supported subset, names of
//! series and labels that there are not, and templates that name nothing.
use std::collections::BTreeSet;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::value::ValueType;
use seam_shared::access::Caller;
use seam_shared::config::{AlertRule, Config, Problem, Written};
use seam_shared::time::Timestamp;

use super::reach::reach;
use super::rule::plainly;
use super::template::Template;
use crate::prometheus::catalogue::Catalogue;
use crate::prometheus::failure::Failure;
use crate::prometheus::labels::NAME;
use crate::prometheus::panes::{Seen, asks};
use crate::prometheus::plan::{Plan, parse, plan};
use crate::prometheus::source::{Grid, Leaf};
use crate::query::nearest;

/// Any moment: whether a rule means something does not depend on when.
const ANY_TIME: Timestamp = Timestamp(1_767_225_600_000_000);

/// Everything that is wrong with the rules of a file that is right otherwise.
pub fn check(config: &Config) -> Vec<Problem> {
    if config.alerts.is_empty() {
        return Vec::new();
    }
    let catalogue = Catalogue::new(&config.clone().with_own_stream());
    let caller = Caller::trusted();
    let seen = Seen { catalogue: &catalogue, caller: &caller };
    config.alerts.iter().flat_map(|group| &group.rules).flat_map(|rule| of_rule(rule, seen)).collect()
}

fn of_rule(rule: &AlertRule, seen: Seen<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let labels = match planned(&rule.expr.text) {
        Ok(plan) => {
            problems.extend(plan.leaves.iter().filter_map(|leaf| of_leaf(leaf, &rule.expr, seen)));
            // Where a series is not known, neither are its labels.
            problems.is_empty().then(|| reach(&plan, seen))
        }
        Err(failure) => {
            let text = plainly(&failure);
            problems.push(rule.expr.problem(None, format!("the expression of `{}`: {text}", rule.name), None));
            None
        }
    };
    let texts = rule.labels.iter().chain(&rule.annotations);
    problems.extend(texts.flat_map(|(_, text)| of_template(text, labels.as_ref())));
    problems
}

fn planned(text: &str) -> Result<Plan, Failure> {
    let expression = parse(text)?;
    if !matches!(expression.value_type(), ValueType::Vector | ValueType::Scalar) {
        return Err(Failure::bad_data("a rule is an instant vector or a scalar, such as `increase(x[5m]) > 10`"));
    }
    plan(&expression, Grid::instant(ANY_TIME))
}

/// What is wrong with a selector.
fn of_leaf(leaf: &Leaf, expr: &Written, seen: Seen<'_>) -> Option<Problem> {
    let named = leaf.matchers.iter().find(|matcher| matcher.name == NAME && matches!(matcher.op, MatchOp::Equal));
    let name = named.map_or("", |matcher| matcher.value.as_str());
    let selected = seen.select(leaf);
    if selected.is_empty() {
        let hint = seen.catalogue.hint(name, |_| true);
        let (message, suggestion) = match hint.split_once("; ") {
            Some((message, suggestion)) => (message.to_owned(), Some(suggestion.to_owned())),
            None if name.is_empty() => ("no series has such a name".to_owned(), None),
            None => (hint, None),
        };
        return Some(expr.problem(word(&expr.text, name), message, suggestion));
    }
    let labels: BTreeSet<&str> =
        selected.iter().flat_map(|definition| definition.labels.iter().map(|(label, _)| label.as_ref())).collect();
    let unknown =
        |matcher: &&Matcher| matcher.name != NAME && !matcher.is_match("") && !labels.contains(matcher.name.as_str());
    if let Some(matcher) = leaf.matchers.iter().find(unknown) {
        let message = format!("{} has no label `{}`", if name.is_empty() { "it" } else { name }, matcher.name);
        return Some(expr.problem(word(&expr.text, &matcher.name), message, suggested(&matcher.name, &labels)));
    }
    let failure = asks(seen, leaf).err()?;
    Some(expr.problem(word(&expr.text, name), failure.text, None))
}

fn of_template(text: &Written, labels: Option<&BTreeSet<String>>) -> Option<Problem> {
    let template = match Template::parse(&text.text) {
        Ok(template) => template,
        Err(wrong) => return Some(text.problem(Some(wrong.at), wrong.message, wrong.suggestion)),
    };
    let known: BTreeSet<&str> = labels?.iter().map(String::as_str).filter(|label| *label != NAME).collect();
    let unknown = template.labels().find(|label| !labels.is_some_and(|labels| labels.contains(*label)))?;
    let message = format!("the series of the expression have no label `{unknown}`");
    Some(text.problem(word(&text.text, unknown), message, suggested(unknown, &known)))
}

fn suggested(name: &str, known: &BTreeSet<&str>) -> Option<String> {
    if let Some(near) = nearest(name, known.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<String> = known.iter().map(|label| format!("`{label}`")).collect();
    Some(if all.is_empty() { "they have none".to_owned() } else { format!("there are {}", all.join(", ")) })
}

/// Where a word begins in a text.
fn word(text: &str, word: &str) -> Option<usize> {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let found = text
        .match_indices(word)
        .find(|(at, _)| !text[..*at].ends_with(is_inside) && !text[at + word.len()..].starts_with(is_inside));
    found.filter(|_| !word.is_empty()).map(|(at, _)| at)
}
