//! `where:` as a Polars expression with the evaluator's meaning: three-valued, NaN equal to itself and above every number.
use polars::prelude as pl;
use seam_shared::view::definition::Source;
use seam_shared::view::expression::{Comparison, Expression};
use seam_shared::view::value::Value;

/// The condition over the archive's columns. An event counts where it is true, not where it is unknown.
pub fn compile(condition: &Expression, source: &Source) -> pl::Expr {
    let column = |field: usize| pl::col(source.fields[field].name.as_str());
    match condition {
        Expression::Compare(field, comparison, value) => {
            let (left, right) = (column(*field), literal(value));
            match comparison {
                Comparison::Eq => left.eq(right),
                Comparison::Ne => left.neq(right),
                Comparison::Lt => left.lt(right),
                Comparison::Le => left.lt_eq(right),
                Comparison::Gt => left.gt(right),
                Comparison::Ge => left.gt_eq(right),
            }
        }
        Expression::In(field, values) => {
            let any = values.iter().map(|value| column(*field).eq(literal(value)));
            any.reduce(pl::Expr::or).unwrap_or_else(|| pl::lit(false))
        }
        Expression::IsNull(field) => column(*field).is_null(),
        Expression::Not(inner) => compile(inner, source).not(),
        Expression::And(parts) => {
            parts.iter().map(|part| compile(part, source)).reduce(pl::Expr::and).unwrap_or_else(|| pl::lit(true))
        }
        Expression::Or(parts) => {
            parts.iter().map(|part| compile(part, source)).reduce(pl::Expr::or).unwrap_or_else(|| pl::lit(false))
        }
    }
}

fn literal(value: &Value) -> pl::Expr {
    match value {
        Value::Null => pl::lit(pl::NULL).cast(pl::DataType::Boolean),
        Value::Bool(value) => pl::lit(*value),
        Value::Int(value) => pl::lit(*value),
        Value::Decimal(value, scale) => {
            let (digits, scale) = (38, usize::from(*scale));
            let scalar =
                pl::Scalar::new(pl::DataType::Decimal(digits, scale), pl::AnyValue::Decimal(*value, digits, scale));
            pl::lit(scalar)
        }
        Value::Float(value) => pl::lit(*value),
        Value::Str(value) => pl::lit(value.as_ref()),
    }
}
