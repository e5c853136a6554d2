//! Groups of decimals, which the engine cannot make as it is built.
use sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem, SetExpr, SetOperator, SetQuantifier};

use super::{Rewrite, name_of};
use crate::error::SqlError;
use crate::frame::Type;
use crate::literal::{as_number, parse, quoted};

impl Rewrite<'_> {
    /// Groups by the doubles that decimals are.
    pub(super) fn group_by_floats(&self, select: &mut Select) -> Result<(), SqlError> {
        let is_decimal = |expr: &Expr| matches!(self.kind(expr), Some(Type::Decimal(_)));
        let float = |expr: &Expr| parse(&format!("CAST({expr} AS DOUBLE PRECISION)"));
        let mut keys: Vec<Expr> = Vec::new();
        if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
            for group in groups {
                let place = as_number(group).and_then(|digits| digits.parse::<usize>().ok()?.checked_sub(1));
                match place {
                    Some(place) => keys.extend(select.projection.get(place).and_then(expression).cloned()),
                    None if is_decimal(group) => {
                        keys.push(group.clone());
                        *group = float(group)?;
                    }
                    None => {}
                }
            }
        }
        if select.distinct.is_some() {
            keys.extend(select.projection.iter().filter_map(expression).cloned());
        }
        keys.retain(is_decimal);
        for item in &mut select.projection {
            let (expr, alias) = match item {
                SelectItem::UnnamedExpr(expr) => (expr.clone(), quoted(&name_of(expr))),
                SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.clone()),
                _ => continue,
            };
            if keys.contains(&expr) {
                *item = SelectItem::ExprWithAlias { expr: float(&expr)?, alias };
            }
        }
        Ok(())
    }
}

impl Rewrite<'_> {
    /// What compares whole rows (UNION without ALL and the like) compares the doubles that decimals are.
    pub(super) fn compare_floats(&self, body: &mut SetExpr) -> Result<(), SqlError> {
        let SetExpr::SetOperation { left, op, set_quantifier, right } = body else { return Ok(()) };
        let compares = *op != SetOperator::Union || *set_quantifier != SetQuantifier::All;
        for side in [left, right] {
            if compares { self.to_floats(side)? } else { self.compare_floats(side)? }
        }
        Ok(())
    }
    fn to_floats(&self, body: &mut SetExpr) -> Result<(), SqlError> {
        let select = match body {
            SetExpr::Select(select) => select,
            SetExpr::SetOperation { left, right, .. } => {
                self.to_floats(left)?;
                return self.to_floats(right);
            }
            _ => return Ok(()),
        };
        for item in &mut select.projection {
            let alias = match item {
                SelectItem::UnnamedExpr(expr) => quoted(&name_of(expr)),
                SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
                _ => continue,
            };
            if let Some(expr) = expression(item).filter(|expr| matches!(self.kind(expr), Some(Type::Decimal(_)))) {
                let expr = parse(&format!("CAST({expr} AS DOUBLE PRECISION)"))?;
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        Ok(())
    }
}

/// The expression of a column.
fn expression(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}
