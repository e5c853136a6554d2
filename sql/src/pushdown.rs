//! What a rewritten query reads of each view: which panes, which keys, which columns. It may read too much, never too little.
use std::ops::ControlFlow;

use seam_shared::time::Timestamp;
use seam_shared::view::value::{FieldType, Value, parse_decimal};
use sqlparser::ast::{
    BinaryOperator, DataType, Expr, JoinOperator, Query, Select, SelectItem, TableFactor, TableWithJoins,
    Value as Literal, Visit, Visitor,
};

use crate::catalog::{Catalog, Origin, Table};
use crate::literal::{as_moment, as_number, as_text};
use crate::time;

/// A second: what limits that were computed with doubles are widened by.
const SECOND: i64 = 1_000_000;

/// What is read of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The table, by its place in the catalog.
    pub table: usize,
    /// Panes that end in `(after, until]`.
    pub after: i64,
    /// See `after`.
    pub until: i64,
    /// Per sliced dimension, the values that count.
    pub slices: Vec<(usize, Vec<Value>)>,
    /// The columns that are used.
    pub columns: Vec<usize>,
}

impl Read {
    /// All of a table.
    pub fn all(table: usize, columns: Vec<usize>) -> Read {
        Read { table, after: Timestamp::MIN.0, until: Timestamp::MAX.0, slices: Vec::new(), columns }
    }
    /// Whether anything limits the panes on both sides.
    pub fn is_bounded(&self) -> bool {
        self.after > Timestamp::MIN.0
    }
    /// Also what `other` reads.
    fn widen(&mut self, other: Read) {
        self.after = self.after.min(other.after);
        self.until = self.until.max(other.until);
        let mut both = Vec::new();
        for (dimension, mut values) in std::mem::take(&mut self.slices) {
            if let Some((_, others)) = other.slices.iter().find(|(d, _)| *d == dimension) {
                values.extend(others.iter().cloned());
                values.sort();
                values.dedup();
                both.push((dimension, values));
            }
        }
        self.slices = both;
    }
    fn slice(&mut self, dimension: usize, values: Vec<Value>) {
        match self.slices.iter_mut().find(|(d, _)| *d == dimension) {
            Some((_, known)) => known.retain(|value| values.contains(value)),
            None => self.slices.push((dimension, values)),
        }
    }
}

/// What a query reads of the tables in `tables`, in their order.
pub fn reads(query: &Query, catalog: &Catalog, tables: &[usize]) -> Vec<Read> {
    let mut walk = Walk { catalog, found: Vec::new(), used: Vec::new(), occurrences: Vec::new(), wildcard: false };
    let _ = query.visit(&mut walk);
    let read = |&table: &usize| {
        let definition = &catalog.tables[table];
        let is_used = |name: &str| walk.wildcard || walk.used.iter().any(|used| used == name);
        let columns = (0..definition.columns.len()).filter(|i| is_used(&definition.columns[*i].name)).collect();
        let mut found = walk.found.iter().filter(|read| read.table == table).cloned();
        let occurrences = walk.occurrences.iter().filter(|name| **name == definition.name).count();
        match found.next() {
            Some(mut read) if walk.found.iter().filter(|read| read.table == table).count() == occurrences => {
                found.for_each(|other| read.widen(other));
                Read { columns, ..read }
            }
            _ => Read::all(table, columns),
        }
    };
    tables.iter().map(read).collect()
}

struct Walk<'a> {
    catalog: &'a Catalog,
    /// A read for each place where a table stands in FROM.
    found: Vec<Read>,
    /// The names of columns anywhere.
    used: Vec<String>,
    /// The names of tables anywhere.
    occurrences: Vec<String>,
    wildcard: bool,
}

impl Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, .. } = factor
            && let Some(ident) = name.0.last().and_then(|part| part.as_ident())
        {
            self.occurrences.push(ident.value.clone());
        }
        ControlFlow::Continue(())
    }
    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.wildcard |= select
            .projection
            .iter()
            .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
        let mut relations = Vec::new();
        for from in &select.from {
            collect(from, &mut relations);
            self.wildcard |= from.joins.iter().any(|join| is_using(&join.join_operator));
        }
        let alone = relations.len() == 1;
        for (called, table) in relations {
            let Some(table) = table.and_then(|name| self.catalog.table(&name)) else { continue };
            let definition = &self.catalog.tables[table];
            let mut read = Read::all(table, Vec::new());
            if let Some(condition) = &select.selection {
                narrow(&mut read, condition, &Scope { table: definition, called: &called, alone });
            }
            self.found.push(read);
        }
        ControlFlow::Continue(())
    }
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.used.push(ident.value.clone()),
            Expr::CompoundIdentifier(idents) => self.used.extend(idents.last().map(|ident| ident.value.clone())),
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => self.wildcard = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether a join names columns outside expressions.
fn is_using(operator: &JoinOperator) -> bool {
    use sqlparser::ast::JoinConstraint::{Natural, Using};
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c) => matches!(c, Using(_) | Natural),
        JoinOperator::CrossJoin(_) => false,
        _ => true,
    }
}

/// The relations of FROM: what each is called, and the name of the table if it is one.
fn collect(from: &TableWithJoins, out: &mut Vec<(String, Option<String>)>) {
    let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    for factor in factors {
        match factor {
            TableFactor::Table { name, alias, .. } => {
                let table = name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.clone());
                let called = alias.as_ref().map(|alias| alias.name.value.clone()).or_else(|| table.clone());
                // Renamed columns are not followed.
                let renamed = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                out.push((called.unwrap_or_default(), table.filter(|_| !renamed)));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => collect(table_with_joins, out),
            _ => out.push((String::new(), None)),
        }
    }
}

/// One table among those of a FROM.
struct Scope<'a> {
    table: &'a Table,
    called: &'a str,
    alone: bool,
}

impl Scope<'_> {
    /// The column of this table that an expression names.
    fn column(&self, expr: &Expr) -> Option<Origin> {
        let name = match expr {
            Expr::Nested(inner) => return self.column(inner),
            Expr::Identifier(ident) if self.alone => &ident.value,
            Expr::CompoundIdentifier(idents) => match &idents[..] {
                [qualifier, name] if qualifier.value == self.called => &name.value,
                _ => return None,
            },
            _ => return None,
        };
        self.table.column(name).map(|column| self.table.columns[column].origin)
    }
    /// If an expression is a time of the pane: what must be added to it to have the pane's end, and whether it is in seconds.
    fn pane(&self, expr: &Expr) -> Option<(i64, bool)> {
        match expr {
            Expr::Nested(inner) => self.pane(inner),
            // What becomes of EXTRACT(EPOCH FROM time).
            Expr::BinaryOp { left, op: BinaryOperator::Divide, right } if is_million(right) => match left.as_ref() {
                Expr::Cast { expr, data_type: DataType::BigInt(_), .. } => {
                    self.pane(expr).filter(|(_, seconds)| !seconds).map(|(shift, _)| (shift, true))
                }
                _ => None,
            },
            _ => match self.column(expr)? {
                Origin::Time => Some((0, false)),
                Origin::PaneStart => Some((self.table.view.pane.0, false)),
                Origin::Dimension(_) | Origin::Measure(_) => None,
            },
        }
    }
}

fn is_million(expr: &Expr) -> bool {
    as_number(expr).is_some_and(|digits| digits == "1000000.0")
}

/// Leaves out of `read` what a condition cannot be true for.
fn narrow(read: &mut Read, condition: &Expr, scope: &Scope<'_>) {
    match condition {
        Expr::Nested(inner) => narrow(read, inner, scope),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            narrow(read, left, scope);
            narrow(read, right, scope);
        }
        Expr::BinaryOp { left, op, right } => {
            compare(read, left, op, right, scope);
            if let Some(op) = flipped(op) {
                compare(read, right, &op, left, scope);
            }
        }
        Expr::Between { expr, negated: false, low, high } => {
            compare(read, expr, &BinaryOperator::GtEq, low, scope);
            compare(read, expr, &BinaryOperator::LtEq, high, scope);
        }
        Expr::InList { expr, list, negated: false } => {
            if let Some(Origin::Dimension(dimension)) = scope.column(expr) {
                let kind = scope.table.view.dimensions[dimension].field_type;
                let values: Option<Vec<Value>> = list.iter().map(|item| value(item, kind)).collect();
                if let Some(values) = values {
                    read.slice(dimension, values);
                }
            }
        }
        Expr::IsNull(expr) => {
            if let Some(Origin::Dimension(dimension)) = scope.column(expr) {
                read.slice(dimension, vec![Value::Null]);
            }
        }
        _ => {}
    }
}

fn flipped(op: &BinaryOperator) -> Option<BinaryOperator> {
    use BinaryOperator as B;
    Some(match op {
        B::Eq => B::Eq,
        B::Lt => B::Gt,
        B::LtEq => B::GtEq,
        B::Gt => B::Lt,
        B::GtEq => B::LtEq,
        _ => return None,
    })
}

fn compare(read: &mut Read, left: &Expr, op: &BinaryOperator, right: &Expr, scope: &Scope<'_>) {
    use BinaryOperator as B;
    if let Some((shift, seconds)) = scope.pane(left) {
        let Some((low, high)) = limits(right, seconds) else { return };
        let (low, high) = (low.saturating_add(shift), high.saturating_add(shift));
        if matches!(op, B::Eq | B::GtEq) {
            read.after = read.after.max(low.saturating_sub(1));
        }
        if *op == B::Gt {
            read.after = read.after.max(low);
        }
        if matches!(op, B::Eq | B::LtEq) {
            read.until = read.until.min(high);
        }
        if *op == B::Lt {
            read.until = read.until.min(high.saturating_sub(1));
        }
    } else if *op == B::Eq
        && let Some(Origin::Dimension(dimension)) = scope.column(left)
        && let Some(value) = value(right, scope.table.view.dimensions[dimension].field_type)
    {
        read.slice(dimension, vec![value]);
    }
}

/// The moment that a constant is, in microseconds: not before the first, not after the second.
fn limits(expr: &Expr, seconds: bool) -> Option<(i64, i64)> {
    if seconds {
        let at = as_number(expr)?.parse::<f64>().ok()? * 1e6;
        let at = if at.abs() < 9e18 { at as i64 } else { return None };
        return Some((at.saturating_sub(SECOND), at.saturating_add(SECOND)));
    }
    let at = match expr {
        Expr::Nested(inner) => return limits(inner, seconds),
        Expr::Cast { expr, data_type: DataType::Date, .. } => time::moment(as_text(expr)?)?,
        _ => as_moment(expr)?,
    };
    Some((at, at))
}

/// A constant as a value of a dimension; `None` if it is none.
fn value(expr: &Expr, kind: FieldType) -> Option<Value> {
    match (kind, expr) {
        (_, Expr::Nested(inner)) => value(inner, kind),
        (FieldType::String, _) => as_text(expr).map(Value::text),
        (FieldType::Bool, Expr::Value(literal)) => match literal.value {
            Literal::Boolean(flag) => Some(Value::Bool(flag)),
            _ => None,
        },
        (FieldType::Int, _) => as_number(expr)?.parse().ok().map(Value::Int),
        (FieldType::Decimal(scale), _) => {
            parse_decimal(&as_number(expr)?, scale).map(|unscaled| Value::Decimal(unscaled, scale))
        }
        (FieldType::Bool | FieldType::Float, _) => None,
    }
}
