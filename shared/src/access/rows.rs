//! Row filters: for some dimensions the values that a caller may see, as its key or its token names them.
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value as Json};

use super::denied;
use crate::Result;
use crate::view::definition::{DimensionDefinition, View};
use crate::view::expression::Expression;
use crate::view::value::{FieldType, Value, parse_decimal};

/// By dimension, the values that may be seen; without any dimension, everything may.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowFilter(BTreeMap<String, Vec<Json>>);

impl RowFilter {
    /// Reads `{"region": ["eu", "us"], "type": "click"}`.
    ///
    /// # Errors
    /// What is no list of values.
    pub fn from_json(filter: &Map<String, Json>) -> Result<RowFilter, String> {
        let mut out = BTreeMap::new();
        for (dimension, values) in filter {
            let values = match values {
                Json::Array(values) => values.clone(),
                one => vec![one.clone()],
            };
            if values.iter().any(|value| value.is_array() || value.is_object()) {
                return Err(format!("the filter on `{dimension}` is no list of values"));
            }
            out.insert(dimension.clone(), values);
        }
        Ok(RowFilter(out))
    }
    /// Whether all rows may be seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The dimensions it is about.
    pub fn dimensions(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
    /// The same without what it says of a dimension.
    pub(super) fn without(&self, dimension: &str) -> RowFilter {
        let others = self.0.iter().filter(|(name, _)| *name != dimension);
        RowFilter(others.map(|(name, values)| (name.clone(), values.clone())).collect())
    }
    /// The condition over a view's dimensions; `None` when all rows may be seen.
    pub(super) fn over(&self, view: &View) -> Result<Option<Expression>> {
        let mut conditions = Vec::with_capacity(self.0.len());
        for (name, values) in &self.0 {
            let d = view.dimension(name).ok_or_else(|| {
                let view = &view.name;
                denied(format!("this key sees rows by `{name}` only, and view {view} has no such dimension"))
            })?;
            conditions.push(one_of(d, &view.dimensions[d], values)?);
        }
        Ok((!conditions.is_empty()).then_some(Expression::And(conditions)))
    }
}

/// `dimension in values`, where null is a value like others. Without values no row is admitted.
fn one_of(d: usize, dimension: &DimensionDefinition, values: &[Json]) -> Result<Expression> {
    let read = |json: &Json| {
        value(dimension.field_type, json).ok_or_else(|| {
            denied(format!("this key's filter names {json}, which is no value of dimension `{}`", dimension.name))
        })
    };
    let mut values = values.iter().map(read).collect::<Result<Vec<Value>>>()?;
    values.sort();
    values.dedup();
    let some: Vec<Value> = values.iter().filter(|value| **value != Value::Null).cloned().collect();
    let among = Expression::In(d, some.clone());
    Ok(match (some.len() < values.len(), some.is_empty()) {
        (false, _) => among,
        (true, true) => Expression::IsNull(d),
        (true, false) => Expression::Or(vec![among, Expression::IsNull(d)]),
    })
}

fn value(field_type: FieldType, json: &Json) -> Option<Value> {
    let text = match json {
        Json::Null => return Some(Value::Null),
        Json::String(text) => text.clone(),
        // a number is no text, even if it looks like one
        _ if field_type == FieldType::String => return None,
        other => other.to_string(),
    };
    match field_type {
        FieldType::String => Some(Value::text(&text)),
        FieldType::Bool => text.parse().ok().map(Value::Bool),
        FieldType::Int => text.parse().ok().map(Value::Int),
        FieldType::Decimal(scale) => parse_decimal(&text, scale).map(|d| Value::Decimal(d, scale)),
        FieldType::Float => None,
    }
}

impl fmt::Display for RowFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (dimension, values) in &self.0 {
            write!(f, "{}{}", Json::from(dimension.as_str()), Json::from(values.clone()))?;
        }
        Ok(())
    }
}
