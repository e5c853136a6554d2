//! What the columns of an answer are called: by PostgreSQL's rules, and each name once for the engine.
use std::collections::{HashMap, HashSet};

use sqlparser::ast::{DataType, Expr, OrderByKind, Query, Select, SelectItem, SetExpr, Value};

use crate::literal::{name, quoted};

/// Gives every column of a SELECT list a name of its own; `shown` learns what those that had to be changed are shown as.
pub fn name_columns(select: &mut Select, shown: &mut HashMap<String, String>) {
    let mut taken = HashSet::new();
    for item in &mut select.projection {
        let called = match item {
            SelectItem::UnnamedExpr(expr) => name_of(expr),
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            _ => continue,
        };
        let mut unique = called.clone();
        let mut number = 2;
        while !taken.insert(unique.clone()) {
            unique = format!("{called}:{number}");
            number += 1;
        }
        let is_plain = matches!(item, SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
            && unique == called;
        if unique != called {
            shown.insert(unique.clone(), called);
        }
        if !is_plain && let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: quoted(&unique) };
        }
    }
}

/// What PostgreSQL calls a column that was given no name.
pub fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(idents) => idents.last().map_or(String::new(), |ident| ident.value.clone()),
        Expr::Function(function) => {
            function.name.0.last().and_then(|part| part.as_ident()).map_or(String::new(), |i| i.value.to_lowercase())
        }
        Expr::Nested(inner) => name_of(inner),
        Expr::Cast { expr, data_type, .. } => match name_of(expr).as_str() {
            "?column?" => type_name(data_type),
            inner => inner.to_owned(),
        },
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::AtTimeZone { .. } => "timezone".to_owned(),
        Expr::Interval(_) => "interval".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => "bool".to_owned(),
        _ => "?column?".to_owned(),
    }
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Int(_) | DataType::Integer(_) => "int4".to_owned(),
        DataType::BigInt(_) => "int8".to_owned(),
        DataType::DoublePrecision | DataType::Double(_) | DataType::Float(_) => "float8".to_owned(),
        DataType::Timestamp(..) => "timestamptz".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

/// ORDER BY may repeat an expression of the SELECT list; for the engine it names the column.
pub fn order_by_names(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind) else { return };
    for key in keys {
        let is_same = |item: &&SelectItem| matches!(item, SelectItem::ExprWithAlias { expr, .. } if *expr == key.expr);
        if let Some(SelectItem::ExprWithAlias { alias, .. }) = select.projection.iter().find(is_same) {
            key.expr = name(&alias.value);
        }
    }
}
