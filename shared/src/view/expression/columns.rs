//! The columnar evaluation of a condition: truth is a byte, so that `and` is the smaller and `or` the larger of two.
use std::cmp::Ordering;

use crate::event::batch::{Column, EventBatch};
use crate::view::expression::{Expression, compare, compare_doubles};
use crate::view::value::Value;

const FALSE: u8 = 0;
const UNKNOWN: u8 = 1;
const TRUE: u8 = 2;

pub fn filter(expression: &Expression, batch: &EventBatch) -> Vec<bool> {
    truths(expression, batch).into_iter().map(|truth| truth == TRUE).collect()
}

fn truths(expression: &Expression, batch: &EventBatch) -> Vec<u8> {
    match expression {
        Expression::Compare(field, comparison, literal) => {
            let holds = |order| comparison.holds(order);
            match (&batch.columns[*field], literal) {
                (Column::Int(values, present), Value::Int(literal)) => {
                    known(values, present, |value| holds(value.cmp(literal)))
                }
                (Column::Decimal(values, present, _), Value::Decimal(literal, _)) => {
                    known(values, present, |value| holds(value.cmp(literal)))
                }
                (Column::Float(values, present), Value::Float(literal)) => {
                    known(values, present, |value| holds(compare_doubles(*value, *literal)))
                }
                (Column::Bool(values, present), Value::Bool(literal)) => {
                    known(values, present, |value| holds(value.cmp(literal)))
                }
                _ => text(batch, *field, |value| truth(compare(value, literal).map(holds))),
            }
        }
        Expression::In(field, literals) => {
            let among = |value: &Value| literals.iter().any(|l| compare(value, l) == Some(Ordering::Equal));
            match &batch.columns[*field] {
                Column::Int(values, present) => known(values, present, |value| among(&Value::Int(*value))),
                Column::Decimal(values, present, scale) => {
                    known(values, present, |value| among(&Value::Decimal(*value, *scale)))
                }
                Column::Float(values, present) => known(values, present, |value| among(&Value::Float(*value))),
                Column::Bool(values, present) => known(values, present, |value| among(&Value::Bool(*value))),
                Column::Str(_) => text(batch, *field, |value| truth((*value != Value::Null).then(|| among(value)))),
            }
        }
        Expression::IsNull(field) => match &batch.columns[*field] {
            Column::Int(_, present)
            | Column::Decimal(_, present, _)
            | Column::Float(_, present)
            | Column::Bool(_, present) => present.iter().map(|present| truth(Some(!present))).collect(),
            Column::Str(codes) => codes.iter().map(|code| truth(Some(*code == 0))).collect(),
        },
        Expression::Not(inner) => truths(inner, batch).into_iter().map(|truth| TRUE - truth).collect(),
        Expression::And(parts) => fold(parts, batch, TRUE, u8::min),
        Expression::Or(parts) => fold(parts, batch, FALSE, u8::max),
    }
}

fn truth(outcome: Option<bool>) -> u8 {
    match outcome {
        Some(true) => TRUE,
        Some(false) => FALSE,
        None => UNKNOWN,
    }
}

fn known<T>(values: &[T], present: &[bool], holds: impl Fn(&T) -> bool) -> Vec<u8> {
    let one = |(value, present): (&T, &bool)| if *present { truth(Some(holds(value))) } else { UNKNOWN };
    values.iter().zip(present).map(one).collect()
}

/// A text column: each distinct value is looked at once, or each record if there are fewer of them.
fn text(batch: &EventBatch, field: usize, outcome: impl Fn(&Value) -> u8) -> Vec<u8> {
    let Column::Str(codes) = &batch.columns[field] else {
        debug_assert!(false, "literals have the type of their field");
        return vec![UNKNOWN; batch.offsets.len()];
    };
    let values = &batch.dictionaries[field];
    if values.len() > codes.len() {
        return codes.iter().map(|code| outcome(&values[*code as usize])).collect();
    }
    let by_code: Vec<u8> = values.iter().map(outcome).collect();
    codes.iter().map(|code| by_code[*code as usize]).collect()
}

fn fold(parts: &[Expression], batch: &EventBatch, start: u8, choose: fn(u8, u8) -> u8) -> Vec<u8> {
    let mut all = vec![start; batch.offsets.len()];
    for part in parts {
        all.iter_mut().zip(truths(part, batch)).for_each(|(all, one)| *all = choose(*all, one));
    }
    all
}
