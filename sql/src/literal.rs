//! Small pieces of syntax trees: literals, and expressions written as text.
use sqlparser::ast::{CastKind, DataType, Expr, Ident, TimezoneInfo, UnaryOperator, Value, ValueWithSpan};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Span;

use crate::error::{SqlError, state};
use crate::frame::Type;
use crate::time::Interval;

/// A literal.
pub fn literal(value: Value) -> Expr {
    Expr::Value(ValueWithSpan { value, span: Span::empty() })
}

/// A text literal.
pub fn text(text: impl Into<String>) -> Expr {
    literal(Value::SingleQuotedString(text.into()))
}

/// A number literal.
pub fn number(number: impl std::fmt::Display) -> Expr {
    literal(Value::Number(number.to_string(), false))
}

/// A quoted name.
pub fn name(name: &str) -> Expr {
    Expr::Identifier(quoted(name))
}

/// A quoted identifier.
pub fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// A moment, in microseconds since 1970.
pub fn moment(micros: i64) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(number(micros)),
        data_type: DataType::Timestamp(None, TimezoneInfo::None),
        array: false,
        format: None,
    }
}

/// The type that a cast names.
pub fn named(data_type: &DataType) -> Option<Type> {
    match data_type {
        DataType::Timestamp(..) => Some(Type::Time),
        DataType::SmallInt(_)
        | DataType::Int2(_)
        | DataType::Int(_)
        | DataType::Int4(_)
        | DataType::Integer(_)
        | DataType::Int8(_)
        | DataType::BigInt(_) => Some(Type::Int),
        DataType::DoublePrecision | DataType::Float(_) | DataType::Numeric(_) => Some(Type::Float),
        DataType::Date => Some(Type::Date),
        DataType::Boolean | DataType::Bool => Some(Type::Bool),
        DataType::Custom(name, _) if name.to_string().trim_start_matches("pg_catalog.") == "oid" => Some(Type::Int),
        _ => None,
    }
}

/// The text in a text literal.
pub fn as_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            Value::DollarQuotedString(quoted) => Some(&quoted.value),
            _ => None,
        },
        Expr::Nested(inner) => as_text(inner),
        _ => None,
    }
}

/// The digits of a number literal, with its sign.
pub fn as_number(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => Some(digits.clone()),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            as_number(expr).map(|digits| match digits.strip_prefix('-') {
                Some(digits) => digits.to_owned(),
                None => format!("-{digits}"),
            })
        }
        Expr::Nested(inner) => as_number(inner),
        _ => None,
    }
}

/// The moment in what [`moment`] makes.
pub fn as_moment(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Cast { expr, data_type: DataType::Timestamp(_, _), .. } => as_number(expr)?.parse().ok(),
        Expr::Nested(inner) => as_moment(inner),
        _ => None,
    }
}

/// The interval in an interval literal.
pub fn as_interval(expr: &Expr) -> Option<Interval> {
    match expr {
        Expr::Interval(interval) => {
            let value = as_text(&interval.value).map(str::to_owned).or_else(|| as_number(&interval.value))?;
            match &interval.leading_field {
                Some(field) => Interval::parse(&format!("{value} {field}")),
                None => Interval::parse(&value),
            }
        }
        Expr::Nested(inner) => as_interval(inner),
        _ => None,
    }
}

/// An expression of the engine's dialect.
///
/// # Errors
/// An internal error when the text is none: what is put into it was parsed before.
pub fn parse(text: &str) -> Result<Expr, SqlError> {
    let wrong = |error| SqlError::new(state::INTERNAL, format!("`{text}` cannot be read: {error}"));
    let dialect = GenericDialect {};
    Parser::new(&dialect).try_with_sql(text).and_then(|mut parser| parser.parse_expr()).map_err(wrong)
}
