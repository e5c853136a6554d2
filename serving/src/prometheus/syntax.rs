//! A query as the tree that Prometheus' own page and editors draw: what `parse_query` answers.
use std::time::{Duration, UNIX_EPOCH};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AtModifier, BinaryExpr, Expr, LabelModifier, Offset, VectorMatchCardinality, VectorSelector,
};
use serde_json::{Value, json};

use super::labels::NAME;

/// The tree of an expression, whether or not Seam can answer it.
pub fn tree(expression: &Expr) -> Value {
    match expression {
        Expr::NumberLiteral(number) => json!({ "type": "numberLiteral", "val": number_text(number.val) }),
        Expr::StringLiteral(text) => json!({ "type": "stringLiteral", "val": text.val }),
        Expr::Paren(inner) => json!({ "type": "parenExpr", "expr": tree(&inner.expr) }),
        Expr::Unary(unary) => json!({ "type": "unaryExpr", "op": "-", "expr": tree(&unary.expr) }),
        Expr::VectorSelector(selector) => selected("vectorSelector", selector),
        Expr::MatrixSelector(matrix) => {
            let mut out = selected("matrixSelector", &matrix.vs);
            out["range"] = json!(millis(matrix.range));
            out
        }
        Expr::Subquery(subquery) => {
            let (timestamp, bound) = at(subquery.at.as_ref());
            json!({
                "type": "subquery",
                "expr": tree(&subquery.expr),
                "range": millis(subquery.range),
                "step": subquery.step.map_or(0, millis),
                "offset": offset(subquery.offset.as_ref()),
                "timestamp": timestamp,
                "startOrEnd": bound,
            })
        }
        Expr::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.to_string(),
            "expr": tree(&aggregate.expr),
            "param": aggregate.param.as_ref().map(|parameter| tree(parameter)),
            "grouping": aggregate.modifier.as_ref().map_or(&Vec::new(), names),
            "without": matches!(aggregate.modifier, Some(LabelModifier::Exclude(_))),
        }),
        Expr::Binary(binary) => json!({
            "type": "binaryExpr",
            "op": binary.op.to_string(),
            "lhs": tree(&binary.lhs),
            "rhs": tree(&binary.rhs),
            "matching": matching(binary),
            "bool": binary.modifier.as_ref().is_some_and(|modifier| modifier.return_bool),
        }),
        Expr::Call(call) => {
            let types: Vec<String> = call.func.arg_types.iter().map(ToString::to_string).collect();
            json!({
                "type": "call",
                "func": {
                    "name": call.func.name,
                    "argTypes": types,
                    "variadic": call.func.variadic,
                    "returnType": call.func.return_type.to_string(),
                },
                "args": call.args.args.iter().map(|argument| tree(argument)).collect::<Vec<_>>(),
            })
        }
        // Nothing that is parsed from text is one.
        Expr::Extension(_) => json!({ "type": "placeholder", "children": [] }),
    }
}

fn selected(kind: &str, selector: &VectorSelector) -> Value {
    let (timestamp, bound) = at(selector.at.as_ref());
    let named = selector.name.iter().map(|name| Matcher::new(MatchOp::Equal, NAME, name));
    let matchers = selector.matchers.matchers.iter().cloned().chain(named);
    let matchers = matchers.map(|matcher| {
        let operator = match matcher.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Re(_) => "=~",
            MatchOp::NotRe(_) => "!~",
        };
        json!({ "name": matcher.name, "value": matcher.value, "type": operator })
    });
    json!({
        "type": kind,
        "name": selector.name.clone().unwrap_or_default(),
        "matchers": matchers.collect::<Vec<_>>(),
        "offset": offset(selector.offset.as_ref()),
        "timestamp": timestamp,
        "startOrEnd": bound,
    })
}

/// How both sides find each other; nothing where one of them is a number.
fn matching(binary: &BinaryExpr) -> Option<Value> {
    let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
    if !is_vector(&binary.lhs) || !is_vector(&binary.rhs) {
        return None;
    }
    let modifier = binary.modifier.clone().unwrap_or_default();
    let is_set = ["and", "or", "unless"].contains(&binary.op.to_string().as_str());
    let (card, include) = match &modifier.card {
        VectorMatchCardinality::OneToOne if is_set => ("many-to-many", Vec::new()),
        VectorMatchCardinality::OneToOne => ("one-to-one", Vec::new()),
        VectorMatchCardinality::ManyToOne(labels) => ("many-to-one", labels.labels.clone()),
        VectorMatchCardinality::OneToMany(labels) => ("one-to-many", labels.labels.clone()),
        VectorMatchCardinality::ManyToMany => ("many-to-many", Vec::new()),
    };
    Some(json!({
        "card": card,
        "labels": modifier.matching.as_ref().map_or(&Vec::new(), names),
        "on": matches!(modifier.matching, Some(LabelModifier::Include(_))),
        "include": include,
    }))
}

fn names(modifier: &LabelModifier) -> &Vec<String> {
    &modifier.labels().labels
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn offset(offset: Option<&Offset>) -> i64 {
    match offset {
        None => 0,
        Some(Offset::Pos(back)) => millis(*back),
        Some(Offset::Neg(ahead)) => -millis(*ahead),
    }
}

/// A fixed moment in milliseconds, or an end of the range.
fn at(modifier: Option<&AtModifier>) -> (Option<i64>, Option<&'static str>) {
    match modifier {
        None => (None, None),
        Some(AtModifier::Start) => (None, Some("start")),
        Some(AtModifier::End) => (None, Some("end")),
        Some(AtModifier::At(moment)) => {
            let since = moment.duration_since(UNIX_EPOCH);
            (Some(since.map_or_else(|before| -millis(before.duration()), millis)), None)
        }
    }
}

/// As Prometheus writes it: without an exponent.
fn number_text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number.to_string()
}
