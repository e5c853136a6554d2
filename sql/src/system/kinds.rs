//! The types of expressions over catalogs: clients are told of them before there are any rows.
use sqlparser::ast::{BinaryOperator, Expr, FunctionArguments, UnaryOperator, Value as Literal};

use super::expression::{Cast, argument, kind_of, place};
use super::functions;
use super::select::{Evaluator, Scope};
use crate::frame::Type;

impl Evaluator<'_> {
    /// The type of an expression, as far as it shows; null has none.
    pub(super) fn kind(&self, expr: &Expr, scope: &Scope<'_>) -> Option<Type> {
        match expr {
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => self.kind(inner, scope),
            Expr::Identifier(ident) => place(scope, None, &ident.value).map(|found| found.2),
            Expr::CompoundIdentifier(idents) => match &idents[..] {
                [.., table, name] => place(scope, Some(&table.value), &name.value).map(|found| found.2),
                _ => None,
            },
            Expr::Value(literal) => match &literal.value {
                Literal::Number(digits, _) if digits.contains(['.', 'e']) => Some(Type::Float),
                Literal::Number(..) => Some(Type::Int),
                Literal::Boolean(_) => Some(Type::Bool),
                Literal::Null => None,
                _ => Some(Type::Text),
            },
            Expr::Cast { data_type, .. } => match kind_of(data_type) {
                Cast::Kind(kind) => Some(kind),
                _ => Some(Type::Text),
            },
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::StringConcat => Some(Type::Text),
                BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Divide
                | BinaryOperator::Modulo
                | BinaryOperator::BitwiseAnd
                | BinaryOperator::BitwiseOr => {
                    let is_float = [left, right].iter().any(|side| self.kind(side, scope) == Some(Type::Float));
                    Some(if is_float { Type::Float } else { Type::Int })
                }
                _ => Some(Type::Bool),
            },
            Expr::UnaryOp { op: UnaryOperator::Not, .. }
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Exists { .. }
            | Expr::Between { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::AnyOp { .. }
            | Expr::AllOp { .. } => Some(Type::Bool),
            Expr::UnaryOp { expr, .. } => self.kind(expr, scope),
            Expr::Case { conditions, else_result, .. } => {
                let mut kinds = conditions.iter().filter_map(|when| self.kind(&when.result, scope));
                kinds.next().or_else(|| else_result.as_ref().and_then(|result| self.kind(result, scope)))
            }
            Expr::Subquery(query) => {
                let answer = self.query(query, Some(&Scope { tuple: &[], ..*scope })).ok()?;
                answer.columns.first().map(|(_, kind)| *kind)
            }
            Expr::Position { .. } => Some(Type::Int),
            Expr::Function(function) => {
                let arguments: Vec<&Expr> = match &function.args {
                    FunctionArguments::List(list) => list.args.iter().filter_map(argument).collect(),
                    _ => Vec::new(),
                };
                let first = || arguments.iter().find_map(|expr| self.kind(expr, scope));
                functions::kind(&super::split(&function.name).1, first)
            }
            _ => Some(Type::Text),
        }
    }
}
