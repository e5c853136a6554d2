//! The small expression language of `where:`: parsed once, then evaluated on rows by the speed layer and as a plan by batch.
use crate::view::value::Value;

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq)]
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
