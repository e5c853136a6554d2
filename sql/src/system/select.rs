//! Queries over catalogs: joins by looking at each pair of rows, conditions as soon as what they name is there, groups, order.
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Function, GroupByExpr, LimitClause, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Visit, Visitor,
};

use super::functions;
use super::relations::{Columns, Row, World};
use super::value::Value;
use crate::catalog::Catalog;
use crate::error::{SqlError, state};
use crate::frame::Type;
use crate::rewrite::name_of;
use crate::session::Facts;

/// Expressions that one question may have evaluated.
const STEPS: usize = 10_000_000;
/// Rows that FROM may have on the way.
pub const TUPLES_MAX: usize = 500_000;

/// The rows of a query.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub columns: Vec<(String, Type)>,
    pub rows: Vec<Vec<Value>>,
}

/// Something in FROM.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it is called.
    pub alias: String,
    pub columns: Columns,
}

/// A row of each source.
pub type Tuple = Vec<Row>;

/// What FROM has, joined as far as it has been read.
#[derive(Debug, Default)]
pub struct Joined {
    pub sources: Vec<Source>,
    pub tuples: Vec<Tuple>,
}

/// Where names are looked for: in a row of each source, then in the query around.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub sources: &'a [Source],
    /// Nothing where only types matter.
    pub tuple: &'a [Row],
    /// The rows that an aggregate is over.
    pub group: Option<&'a [Tuple]>,
    /// What window functions say of this row.
    pub windows: Option<(&'a HashMap<String, Vec<i64>>, usize)>,
    pub around: Option<&'a Scope<'a>>,
}

/// Executes queries.
pub struct Evaluator<'a> {
    pub world: World<'a>,
    pub parameters: &'a [Expr],
    /// What WITH names.
    pub named: RefCell<Vec<(String, Rc<Answer>)>>,
    pub patterns: RefCell<HashMap<String, Option<regex::Regex>>>,
    steps: Cell<usize>,
}

/// A column of a SELECT list.
enum Shown<'a> {
    Expr(&'a Expr),
    Column(usize, usize),
}

type Result<T> = std::result::Result<T, SqlError>;

impl<'a> Evaluator<'a> {
    pub fn new(catalog: &'a Catalog, facts: &'a Facts, parameters: &'a [Expr]) -> Evaluator<'a> {
        let world = World { catalog, facts };
        Evaluator { world, parameters, named: RefCell::default(), patterns: RefCell::default(), steps: Cell::new(0) }
    }
    /// Counts one step.
    pub fn step(&self) -> Result<()> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > STEPS {
            return Err(SqlError::new(state::TOO_MUCH, "the question about the catalog takes too long"));
        }
        Ok(())
    }

    /// The answer to a query.
    pub fn query(&self, query: &Query, around: Option<&Scope<'_>>) -> Result<Answer> {
        let known = self.named.borrow().len();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let mut answer = self.query(&cte.query, around)?;
            for ((name, _), given) in answer.columns.iter_mut().zip(&cte.alias.columns) {
                name.clone_from(&given.name.value);
            }
            self.named.borrow_mut().push((cte.alias.name.value.clone(), Rc::new(answer)));
        }
        let keys: &[OrderByExpr] = match query.order_by.as_ref().map(|order| &order.kind) {
            Some(OrderByKind::Expressions(keys)) => keys,
            _ => &[],
        };
        let answer = self.body(&query.body, keys, around);
        self.named.borrow_mut().truncate(known);
        let mut answer = answer?;
        let constant = |expr: &Option<Expr>| -> Result<Option<usize>> {
            let Some(expr) = expr else { return Ok(None) };
            Ok(self.value(expr, &Scope::nothing(around))?.int().and_then(|count| usize::try_from(count).ok()))
        };
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            let skip = constant(&offset.as_ref().map(|offset| offset.value.clone()))?.unwrap_or(0);
            answer.rows.drain(..skip.min(answer.rows.len()));
            answer.rows.truncate(constant(limit)?.unwrap_or(usize::MAX));
        }
        Ok(answer)
    }

    fn body(&self, body: &SetExpr, keys: &[OrderByExpr], around: Option<&Scope<'_>>) -> Result<Answer> {
        let mut answer = match body {
            SetExpr::Select(select) => return self.select(select, keys, around),
            SetExpr::Query(query) => self.query(query, around)?,
            SetExpr::Values(values) => {
                let row = |row: &Vec<Expr>| row.iter().map(|cell| self.value(cell, &Scope::nothing(around))).collect();
                let rows: Vec<Vec<Value>> =
                    values.rows.iter().map(|values| row(&values.content)).collect::<Result<_>>()?;
                let first = values.rows.first().map_or(&[][..], |row| &row.content[..]);
                let kinds = first.iter().map(|cell| self.kind(cell, &Scope::nothing(around)).unwrap_or(Type::Text));
                let columns = (1..).zip(kinds).map(|(place, kind)| (format!("column{place}"), kind)).collect();
                Answer { columns, rows }
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let (mut left, right) = (self.body(left, &[], around)?, self.body(right, &[], around)?);
                match op {
                    SetOperator::Union => left.rows.extend(right.rows),
                    SetOperator::Intersect => left.rows.retain(|row| right.rows.contains(row)),
                    SetOperator::Except | SetOperator::Minus => left.rows.retain(|row| !right.rows.contains(row)),
                }
                if *set_quantifier != SetQuantifier::All {
                    left.rows = distinct(std::mem::take(&mut left.rows));
                }
                left
            }
            other => return Err(SqlError::unsupported(format!("a question about the catalog cannot hold {other}"))),
        };
        let place = |key: &OrderByExpr| match key.expr {
            Expr::Value(_) => key.expr.to_string().parse::<usize>().ok()?.checked_sub(1),
            ref expr => answer.columns.iter().position(|(name, _)| *name == name_of(expr)),
        };
        let places: Vec<(usize, &OrderByExpr)> = keys.iter().filter_map(|key| Some((place(key)?, key))).collect();
        answer.rows.sort_by(|a, b| {
            let mut orders = places.iter().map(|(at, key)| order(&a[*at], &b[*at], key));
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        Ok(answer)
    }

    fn select(&self, select: &Select, keys: &[OrderByExpr], around: Option<&Scope<'_>>) -> Result<Answer> {
        let mut conjuncts = Vec::new();
        if let Some(condition) = &select.selection {
            split(condition, &mut conjuncts);
        }
        let mut joined = self.from(&select.from, &mut conjuncts, around)?;
        let sources = std::mem::take(&mut joined.sources);
        let empty = Scope { sources: &sources, ..Scope::nothing(around) };
        let mut tuples = Vec::new();
        for tuple in joined.tuples {
            if self.all(&conjuncts, &Scope { tuple: &tuple, ..empty })? {
                tuples.push(tuple);
            }
        }
        let (columns, shown) = self.shown(select, &empty)?;
        let mut found = Found::default();
        let _ = select.projection.visit(&mut found);
        let _ = select.having.visit(&mut found);
        let grouping: &[Expr] = match &select.group_by {
            GroupByExpr::Expressions(keys, _) => keys,
            GroupByExpr::All(_) => &[],
        };
        let is_grouped = !grouping.is_empty() || found.aggregates;
        let groups = match is_grouped {
            true => self.groups(tuples, grouping, &shown, &empty)?,
            false => tuples.into_iter().map(|tuple| vec![tuple]).collect(),
        };
        let windows = self.windows(&found.windows, &groups, &empty)?;
        let mut rows: Vec<(Vec<Value>, Vec<Value>)> = Vec::new();
        for (place, group) in groups.iter().enumerate() {
            let tuple = group.first().map_or(&[][..], |tuple| &tuple[..]);
            let scope = Scope { group: is_grouped.then_some(group), windows: Some((&windows, place)), tuple, ..empty };
            if let Some(having) = &select.having
                && self.value(having, &scope)?.bool() != Some(true)
            {
                continue;
            }
            let row = self.row(&shown, &scope)?;
            let sorted_by = self.sorted_by(keys, &columns, &row, &scope)?;
            rows.push((row, sorted_by));
        }
        rows.sort_by(|(_, a), (_, b)| {
            let mut orders = keys.iter().enumerate().map(|(at, key)| order(&a[at], &b[at], key));
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        let mut rows: Vec<Vec<Value>> = rows.into_iter().map(|(row, _)| row).collect();
        if matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))) {
            rows = distinct(rows);
        }
        Ok(Answer { columns, rows })
    }

    /// The cells of one row.
    fn row(&self, shown: &[Shown<'_>], scope: &Scope<'_>) -> Result<Vec<Value>> {
        let cell = |shown: &Shown<'_>| match shown {
            Shown::Expr(expr) => self.value(expr, scope),
            Shown::Column(source, column) => {
                Ok(scope.tuple.get(*source).and_then(|row| row.get(*column)).cloned().unwrap_or(Value::Null))
            }
        };
        shown.iter().map(cell).collect()
    }

    /// What a row is sorted by: columns that are named by place or name, and any other expressions.
    fn sorted_by(
        &self,
        keys: &[OrderByExpr],
        columns: &[(String, Type)],
        row: &[Value],
        scope: &Scope<'_>,
    ) -> Result<Vec<Value>> {
        let value = |key: &OrderByExpr| {
            let named = match &key.expr {
                Expr::Value(_) => key.expr.to_string().parse::<usize>().ok().and_then(|n| n.checked_sub(1)),
                Expr::Identifier(ident) => columns.iter().position(|(name, _)| *name == ident.value),
                _ => None,
            };
            match named.and_then(|at| row.get(at)) {
                Some(value) => Ok(value.clone()),
                None => self.value(&key.expr, scope),
            }
        };
        keys.iter().map(value).collect()
    }

    /// What a SELECT list shows: names, types, and where from.
    fn shown<'s>(&self, select: &'s Select, scope: &Scope<'_>) -> Result<(Vec<(String, Type)>, Vec<Shown<'s>>)> {
        let (mut columns, mut shown) = (Vec::new(), Vec::new());
        for item in &select.projection {
            let (expr, name) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, name_of(expr)),
                SelectItem::ExprWithAlias { expr, alias } => (expr, alias.value.clone()),
                SelectItem::Wildcard(_)
                | SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), _) => {
                    let of = match item {
                        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                            Some(super::split(name).1)
                        }
                        _ => None,
                    };
                    for (at, source) in scope.sources.iter().enumerate() {
                        if of.as_ref().is_none_or(|of| source.alias.eq_ignore_ascii_case(of)) {
                            columns.extend(source.columns.iter().cloned());
                            shown.extend((0..source.columns.len()).map(|column| Shown::Column(at, column)));
                        }
                    }
                    continue;
                }
                other => {
                    return Err(SqlError::unsupported(format!("a question about the catalog cannot show {other}")));
                }
            };
            columns.push((name, self.kind(expr, scope).unwrap_or(Type::Text)));
            shown.push(Shown::Expr(expr));
        }
        Ok((columns, shown))
    }

    /// Rows with the same keys together, in the order in which they come; without keys, all together.
    fn groups(
        &self,
        tuples: Vec<Tuple>,
        keys: &[Expr],
        shown: &[Shown<'_>],
        empty: &Scope<'_>,
    ) -> Result<Vec<Vec<Tuple>>> {
        if keys.is_empty() {
            return Ok(vec![tuples]);
        }
        let (mut places, mut groups): (HashMap<String, usize>, Vec<Vec<Tuple>>) = (HashMap::new(), Vec::new());
        for tuple in tuples {
            let scope = Scope { tuple: &tuple, ..*empty };
            let mut key = String::new();
            for expr in keys {
                let place = expr.to_string().parse::<usize>().ok().and_then(|place| shown.get(place.checked_sub(1)?));
                let expr = match place {
                    Some(Shown::Expr(expr)) => expr,
                    _ => expr,
                };
                key.push_str(&format!("{:?}\u{0}", self.value(expr, &scope)?));
            }
            let place = *places.entry(key).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Vec::new());
            }
            groups[place].push(tuple);
        }
        Ok(groups)
    }

    /// What `row_number` and the like say of each row, by their text.
    fn windows(
        &self,
        calls: &[Function],
        groups: &[Vec<Tuple>],
        empty: &Scope<'_>,
    ) -> Result<HashMap<String, Vec<i64>>> {
        let mut found = HashMap::new();
        for call in calls {
            let Some(sqlparser::ast::WindowType::WindowSpec(over)) = &call.over else { continue };
            let mut rows = Vec::with_capacity(groups.len());
            for (at, group) in groups.iter().enumerate() {
                let scope = Scope { tuple: group.first().map_or(&[][..], |tuple| tuple), ..*empty };
                let part: Vec<Value> =
                    over.partition_by.iter().map(|expr| self.value(expr, &scope)).collect::<Result<_>>()?;
                let keys: Vec<Value> =
                    over.order_by.iter().map(|key| self.value(&key.expr, &scope)).collect::<Result<_>>()?;
                rows.push((format!("{part:?}"), keys, at));
            }
            rows.sort_by(|(a, a_keys, _), (b, b_keys, _)| {
                let mut orders = over.order_by.iter().enumerate().map(|(at, key)| order(&a_keys[at], &b_keys[at], key));
                a.cmp(b).then_with(|| orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal))
            });
            let (mut numbers, mut number) = (vec![0; rows.len()], 0);
            for (i, (part, _, at)) in rows.iter().enumerate() {
                number = if i > 0 && rows[i - 1].0 == *part { number + 1 } else { 1 };
                numbers[*at] = number;
            }
            found.insert(call.to_string(), numbers);
        }
        Ok(found)
    }

    /// Whether all conditions are true.
    pub fn all(&self, conditions: &[&Expr], scope: &Scope<'_>) -> Result<bool> {
        for condition in conditions {
            if self.value(condition, scope)?.bool() != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<'a> Scope<'a> {
    /// Where a query has nothing of its own.
    pub fn nothing(around: Option<&'a Scope<'a>>) -> Scope<'a> {
        Scope { sources: &[], tuple: &[], group: None, windows: None, around }
    }
}

/// What AND joins.
fn split<'e>(condition: &'e Expr, into: &mut Vec<&'e Expr>) {
    match condition {
        Expr::Nested(inner) => split(inner, into),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(left, into);
            split(right, into);
        }
        other => into.push(other),
    }
}

/// How two values are ordered by a key of ORDER BY: nulls are above all.
fn order(a: &Value, b: &Value, key: &OrderByExpr) -> Ordering {
    let is_descending = key.options.asc == Some(false);
    let nulls_first = key.options.nulls_first.unwrap_or(is_descending);
    let order = match (a.is_null(), b.is_null()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return if nulls_first { Ordering::Less } else { Ordering::Greater },
        (false, true) => return if nulls_first { Ordering::Greater } else { Ordering::Less },
        (false, false) => a.compare(b).unwrap_or(Ordering::Equal),
    };
    if is_descending { order.reverse() } else { order }
}

/// Each row once.
fn distinct(rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    let mut seen = std::collections::HashSet::new();
    rows.into_iter().filter(|row| seen.insert(format!("{row:?}"))).collect()
}

/// What expressions hold, queries within them aside.
#[derive(Debug, Default)]
pub struct Found {
    depth: usize,
    /// What counts and the like.
    pub aggregates: bool,
    /// Functions over windows.
    pub windows: Vec<Function>,
    /// Whether there is a query within.
    pub queries: bool,
    /// The tables that columns are named with; `None` for a column alone.
    pub tables: Vec<Option<String>>,
}

impl Visitor for Found {
    type Break = ();
    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries = true;
        self.depth += 1;
        ControlFlow::Continue(())
    }
    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if self.depth == 0 && function.over.is_some() => {
                self.windows.push(function.clone())
            }
            Expr::Function(function) if self.depth == 0 => {
                self.aggregates |= functions::is_aggregate(&super::split(&function.name).1);
            }
            Expr::Identifier(_) => self.tables.push(None),
            Expr::CompoundIdentifier(idents) => {
                self.tables.push(idents.iter().rev().nth(1).map(|ident| ident.value.clone()));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
