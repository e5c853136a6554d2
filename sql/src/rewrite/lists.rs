//! Whether a value is in a list that is bound, or written as an array.
use sqlparser::ast::{Expr, Value};

use super::Rewrite;
use crate::array;
use crate::error::SqlError;
use crate::literal::{as_text, literal, text};

impl Rewrite<'_> {
    /// `x = ANY ('{a,b}')` and `x = ANY (ARRAY['a', 'b'])`.
    pub(super) fn any_of(&self, left: &Expr, right: &Expr, negated: bool) -> Result<Option<Expr>, SqlError> {
        let mut list: Vec<Expr> = match right {
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => return self.any_of(left, inner, negated),
            Expr::Array(array) => array.elem.clone(),
            // Whether something is equal to NULL is not known, and so it is not found.
            other => match as_text(other).and_then(array::from_text) {
                Some(items) => items.into_iter().flatten().map(text).collect(),
                None => return Ok(None),
            },
        };
        if list.is_empty() {
            return Ok(Some(literal(Value::Boolean(negated))));
        }
        list.iter_mut().try_for_each(|item| self.coerce(left, item))?;
        Ok(Some(Expr::InList { expr: Box::new(left.clone()), list, negated }))
    }
}
