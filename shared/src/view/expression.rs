//! The small expression language of `where:`: parsed once, then evaluated on rows by the speed layer and as a plan by batch.
mod columns;
mod parse;
#[cfg(test)]
pub(super) mod tests;

use std::cmp::Ordering;
use std::fmt;

use crate::event::batch::EventBatch;
use crate::view::field::Field;
use crate::view::value::Value;

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// A typed condition over fields, named by their index. Three-valued, as in SQL: a comparison with null is unknown.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum Expression {
    /// `field op literal`; the literal has the field's type.
    Compare(usize, Comparison, Value),
    /// `field in [literals]`; the literals have the field's type and are not null.
    In(usize, Vec<Value>),
    /// `field is null`; never unknown.
    IsNull(usize),
    /// `not e`
    Not(Box<Expression>),
    /// `a and b and …`
    And(Vec<Expression>),
    /// `a or b or …`
    Or(Vec<Expression>),
}

/// What is wrong with a condition's text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// The byte of the text where the trouble starts.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right, e.g. ``did you mean `type`?``.
    pub suggestion: Option<String>,
    /// The field that there is not, if that is the trouble.
    pub unknown: Option<String>,
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.message, self.at)?;
        self.suggestion.iter().try_for_each(|suggestion| write!(f, "; {suggestion}"))
    }
}

impl std::error::Error for ExpressionError {}

impl Comparison {
    /// How it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Eq => "=",
            Comparison::Ne => "!=",
            Comparison::Lt => "<",
            Comparison::Le => "<=",
            Comparison::Gt => ">",
            Comparison::Ge => ">=",
        }
    }
    /// Whether it holds of two values in that order.
    #[inline]
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Eq => order.is_eq(),
            Comparison::Ne => order.is_ne(),
            Comparison::Lt => order.is_lt(),
            Comparison::Le => order.is_le(),
            Comparison::Gt => order.is_gt(),
            Comparison::Ge => order.is_ge(),
        }
    }
}

impl Expression {
    /// Reads a condition over `fields`, e.g. `type in ["click", "purchase"] and not (delay > 15 or region is null)`.
    ///
    /// # Errors
    /// Unknown fields, literals that the field's type cannot hold exactly, and text that is no condition, each with its place.
    pub fn parse(text: &str, fields: &[Field]) -> Result<Expression, ExpressionError> {
        parse::parse(text, fields)
    }
    /// Whether it holds of one event, whose fields are given by index; `None` is unknown.
    pub fn matches(&self, field: &dyn Fn(usize) -> Value) -> Option<bool> {
        match self {
            Expression::Compare(index, comparison, literal) => {
                compare(&field(*index), literal).map(|order| comparison.holds(order))
            }
            Expression::In(index, literals) => {
                let value = field(*index);
                (value != Value::Null).then(|| literals.iter().any(|l| compare(&value, l) == Some(Ordering::Equal)))
            }
            Expression::IsNull(index) => Some(field(*index) == Value::Null),
            Expression::Not(inner) => inner.matches(field).map(|truth| !truth),
            Expression::And(parts) => settle(parts.iter().map(|part| part.matches(field)), false),
            Expression::Or(parts) => settle(parts.iter().map(|part| part.matches(field)), true),
        }
    }
    /// Which records of a batch it definitely holds of; meaningless for invalid records.
    pub fn filter(&self, batch: &EventBatch) -> Vec<bool> {
        columns::filter(self, batch)
    }
    /// Adds the fields that it reads, each as often as it occurs.
    pub fn fields(&self, out: &mut Vec<usize>) {
        match self {
            Expression::Compare(field, ..) | Expression::In(field, _) | Expression::IsNull(field) => out.push(*field),
            Expression::Not(inner) => inner.fields(out),
            Expression::And(parts) | Expression::Or(parts) => parts.iter().for_each(|part| part.fields(out)),
        }
    }
    /// The condition as text that [`Expression::parse`] reads back as the same condition.
    pub fn display<'a>(&'a self, fields: &'a [Field]) -> impl fmt::Display + 'a {
        Written { expression: self, fields }
    }
}

/// One part that says `decisive` decides; otherwise one that is unknown leaves all unknown.
fn settle(parts: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut outcome = Some(!decisive);
    for part in parts {
        if part == Some(decisive) {
            return part;
        }
        outcome = outcome.and(part);
    }
    outcome
}

/// The order of two values of one type, `None` if one is null. NaN equals NaN and is above all, whatever its sign.
fn compare(value: &Value, literal: &Value) -> Option<Ordering> {
    match (value, literal) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Float(a), Value::Float(b)) => Some(compare_doubles(*a, *b)),
        (a, b) => Some(a.cmp(b)),
    }
}

fn compare_doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

struct Written<'a> {
    expression: &'a Expression,
    fields: &'a [Field],
}

impl Written<'_> {
    fn name(&self, index: usize) -> String {
        parse::name_text(&self.fields[index].name)
    }
    /// Parts joined by a word; those that bind no tighter than it in parentheses.
    fn join(&self, f: &mut fmt::Formatter<'_>, parts: &[Expression], word: &str) -> fmt::Result {
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                write!(f, " {word} ")?;
            }
            let part_text = Written { expression: part, fields: self.fields };
            let loose = matches!(part, Expression::Or(_)) || word == "and" && matches!(part, Expression::And(_));
            if loose { write!(f, "({part_text})")? } else { write!(f, "{part_text}")? }
        }
        Ok(())
    }
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expression {
            Expression::Compare(index, comparison, literal) => {
                write!(f, "{} {} {}", self.name(*index), comparison.symbol(), parse::literal_text(literal))
            }
            Expression::In(index, literals) => {
                let literals: Vec<String> = literals.iter().map(parse::literal_text).collect();
                write!(f, "{} in [{}]", self.name(*index), literals.join(", "))
            }
            Expression::IsNull(index) => write!(f, "{} is null", self.name(*index)),
            Expression::Not(inner) => match inner.as_ref() {
                Expression::IsNull(index) => write!(f, "{} is not null", self.name(*index)),
                inner => write!(f, "not ({})", Written { expression: inner, fields: self.fields }),
            },
            Expression::And(parts) => self.join(f, parts, "and"),
            Expression::Or(parts) => self.join(f, parts, "or"),
        }
    }
}
