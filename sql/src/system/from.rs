//! FROM: catalogs, queries and functions as sources of rows, joined one after the other.
use std::rc::Rc;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor,
    TableWithJoins, Visit,
};

use super::functions;
use super::relations::{Relation, Row, World};
use super::select::{Answer, Evaluator, Found, Joined, Scope, Source, TUPLES_MAX, Tuple};
use super::value::Value;
use crate::error::{SqlError, state};
use crate::frame::Type;

type Result<T> = std::result::Result<T, SqlError>;

/// How a source is joined to what stands before it.
struct Link<'e> {
    conditions: Vec<&'e Expr>,
    using: Vec<String>,
    /// Whether rows that nothing fits to stay.
    is_left: bool,
}

impl Evaluator<'_> {
    /// All of FROM. Of the conditions of WHERE those that could be used on the way are taken out.
    pub(super) fn from<'e>(
        &self,
        from: &'e [TableWithJoins],
        conditions: &mut Vec<&'e Expr>,
        around: Option<&Scope<'_>>,
    ) -> Result<Joined> {
        let mut aliases = Vec::new();
        for one in from {
            aliases.extend(alias_of(&one.relation));
            aliases.extend(one.joins.iter().filter_map(|join| alias_of(&join.relation)));
        }
        let mut joined = Joined { sources: Vec::new(), tuples: vec![Vec::new()] };
        for one in from {
            let link = Link { conditions: Vec::new(), using: Vec::new(), is_left: false };
            joined = self.join(joined, &one.relation, link, &aliases, conditions, around)?;
            for join in &one.joins {
                joined = self.join(joined, &join.relation, link_of(join)?, &aliases, conditions, around)?;
            }
        }
        Ok(joined)
    }

    fn join<'e>(
        &self,
        left: Joined,
        factor: &TableFactor,
        mut link: Link<'e>,
        aliases: &[String],
        conditions: &mut Vec<&'e Expr>,
        around: Option<&Scope<'_>>,
    ) -> Result<Joined> {
        let is_lateral = match factor {
            TableFactor::Table { args, .. } => args.is_some(),
            TableFactor::Derived { lateral, .. } => *lateral,
            TableFactor::NestedJoin { .. } => false,
            _ => true,
        };
        let nulls = Scope { sources: &left.sources, ..Scope::nothing(around) };
        let mut right = self.factor(factor, if is_lateral { Some(&nulls) } else { around })?;
        let mut sources = left.sources.clone();
        sources.extend(right.sources.iter().cloned());
        let mut ready = Vec::new();
        conditions.retain(|condition| {
            let is_ready = is_ready(condition, &sources, aliases);
            if is_ready {
                ready.push(*condition);
            }
            !is_ready
        });
        if !link.is_left {
            link.conditions.append(&mut ready);
        }
        let empty: Tuple = right.sources.iter().map(|source| vec![Value::Null; source.columns.len()].into()).collect();
        let mut tuples = Vec::new();
        for before in &left.tuples {
            if tuples.len() > TUPLES_MAX {
                return Err(SqlError::new(state::TOO_MUCH, "the question about the catalog has too many rows"));
            }
            if is_lateral {
                right = self.factor(factor, Some(&Scope { tuple: before, ..nulls }))?;
            }
            let mut fits = false;
            for after in &right.tuples {
                self.step()?;
                let tuple: Tuple = before.iter().chain(after).cloned().collect();
                let scope = Scope { sources: &sources, tuple: &tuple, ..Scope::nothing(around) };
                if self.all(&link.conditions, &scope)? && is_same(&link.using, &sources, &tuple) {
                    fits = true;
                    if self.all(&ready, &scope)? {
                        tuples.push(tuple);
                    }
                }
            }
            if link.is_left && !fits {
                let tuple: Tuple = before.iter().chain(&empty).cloned().collect();
                if self.all(&ready, &Scope { sources: &sources, tuple: &tuple, ..Scope::nothing(around) })? {
                    tuples.push(tuple);
                }
            }
        }
        Ok(Joined { sources, tuples })
    }

    /// The rows of one part of FROM; `around` is what it may look at.
    fn factor(&self, factor: &TableFactor, around: Option<&Scope<'_>>) -> Result<Joined> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let (schema, called) = super::split(name);
                let given =
                    self.named.borrow().iter().rev().find(|(known, _)| schema.is_none() && *known == called).cloned();
                let relation = match given {
                    Some((_, answer)) => of_answer(&answer),
                    None => self.world.relation(schema.as_deref(), &called).unwrap_or_else(nothing),
                };
                Ok(joined(relation, alias.as_ref(), &called))
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.function(name, &args.args, alias.as_ref(), *with_ordinality, around)
            }
            TableFactor::Function { name, args, alias, .. } => self.function(name, args, alias.as_ref(), false, around),
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                let scope = Scope::nothing(around);
                let lists: Vec<Value> =
                    array_exprs.iter().map(|list| self.value(list, &scope)).collect::<Result<_>>()?;
                Ok(unfolded("unnest", lists.first().and_then(Value::list), alias.as_ref(), *with_ordinality))
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let answer = self.query(subquery, around)?;
                Ok(joined(of_answer(&answer), alias.as_ref(), ""))
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.from(std::slice::from_ref(table_with_joins), &mut Vec::new(), around)
            }
            other => Err(SqlError::unsupported(format!("a question about the catalog cannot read {other}"))),
        }
    }

    fn function(
        &self,
        name: &ObjectName,
        arguments: &[FunctionArg],
        alias: Option<&TableAlias>,
        with_ordinality: bool,
        around: Option<&Scope<'_>>,
    ) -> Result<Joined> {
        let scope = Scope::nothing(around);
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument {
                values.push(self.value(expr, &scope)?);
            }
        }
        let called = super::split(name).1;
        let items = match (called.as_str(), &values[..]) {
            ("pg_get_keywords", _) => return Ok(joined(World::keywords(), alias, &called)),
            ("unnest", [list]) => list.list(),
            ("generate_series", [from, to]) => from.int().zip(to.int()).map(|(from, to)| numbers(from, to)),
            ("generate_subscripts", [list, ..]) => {
                list.list().map(|items| numbers(1, i64::try_from(items.len()).unwrap_or(i64::MAX)))
            }
            // What says one thing is one row.
            (name, values) => Some(vec![functions::call(name, values, self.world)?]),
        };
        Ok(unfolded(&called, items, alias, with_ordinality))
    }
}

fn numbers(from: i64, to: i64) -> Vec<Value> {
    // Nobody counts further here: lists are as long as tables have columns.
    (from..=to.min(from.saturating_add(10_000))).map(Value::Int).collect()
}

/// Items as rows of one column, and the number of each if that is asked for.
fn unfolded(called: &str, items: Option<Vec<Value>>, alias: Option<&TableAlias>, with_ordinality: bool) -> Joined {
    let items = items.unwrap_or_default();
    let kind = match items.first() {
        Some(Value::Int(_)) => Type::Int,
        _ => Type::Text,
    };
    let named = alias.map_or(called, |alias| alias.name.value.as_str()).to_owned();
    let mut columns = vec![(named, kind)];
    if with_ordinality {
        columns.push(("ordinality".to_owned(), Type::Int));
    }
    let row = |(number, item)| -> Row {
        if with_ordinality { vec![item, Value::Int(number)].into() } else { vec![item].into() }
    };
    let rows = (1..).zip(items).map(row).collect();
    joined(Relation { columns: Rc::new(columns), rows }, alias, called)
}

/// What is not known: it has no rows, and whatever column.
fn nothing() -> Relation {
    Relation { columns: Rc::default(), rows: Vec::new() }
}

fn of_answer(answer: &Answer) -> Relation {
    let rows = answer.rows.iter().map(|row| Row::from(row.clone())).collect();
    Relation { columns: Rc::new(answer.columns.clone()), rows }
}

fn joined(relation: Relation, alias: Option<&TableAlias>, called: &str) -> Joined {
    let mut columns = relation.columns;
    if let Some(alias) = alias.filter(|alias| !alias.columns.is_empty()) {
        let mut renamed = columns.to_vec();
        for ((name, _), given) in renamed.iter_mut().zip(&alias.columns) {
            name.clone_from(&given.name.value);
        }
        columns = Rc::new(renamed);
    }
    let alias = alias.map_or_else(|| called.to_owned(), |alias| alias.name.value.clone());
    let tuples = relation.rows.into_iter().map(|row| vec![row]).collect();
    Joined { sources: vec![Source { alias, columns }], tuples }
}

fn alias_of(factor: &TableFactor) -> Option<String> {
    let alias = |alias: &Option<TableAlias>| alias.as_ref().map(|alias| alias.name.value.clone());
    match factor {
        TableFactor::Table { name, alias: given, .. } => alias(given).or_else(|| Some(super::split(name).1)),
        TableFactor::Derived { alias: given, .. }
        | TableFactor::Function { alias: given, .. }
        | TableFactor::UNNEST { alias: given, .. } => alias(given),
        _ => None,
    }
}

fn link_of(join: &Join) -> Result<Link<'_>> {
    let (constraint, is_left) = match &join.join_operator {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => (on, false),
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (on, true),
        _ => return Err(SqlError::unsupported("a question about the catalog cannot join like this")),
    };
    let mut link = Link { conditions: Vec::new(), using: Vec::new(), is_left };
    match constraint {
        JoinConstraint::On(on) => link.conditions.push(on),
        JoinConstraint::Using(columns) => link.using.extend(columns.iter().map(|column| super::split(column).1)),
        JoinConstraint::Natural | JoinConstraint::None => {}
    }
    Ok(link)
}

/// Whether the last source has the same values in these columns as one before it.
fn is_same(columns: &[String], sources: &[Source], tuple: &[Row]) -> bool {
    columns.iter().all(|column| {
        let of = |(source, row): (&Source, &Row)| {
            source.columns.iter().position(|(name, _)| name == column).map(|at| row[at].clone())
        };
        let mut found = sources.iter().zip(tuple).filter_map(of);
        let (first, last) = (found.next(), found.next_back());
        first.zip(last).is_some_and(|(a, b)| a.equals(&b) == Some(true))
    })
}

/// Whether all that a condition names is there; what is in no source of this FROM is in the query around.
fn is_ready(condition: &Expr, there: &[Source], aliases: &[String]) -> bool {
    let mut found = Found::default();
    let _ = condition.visit(&mut found);
    let is_there = |alias: &String| there.iter().any(|source| source.alias == *alias) || !aliases.contains(alias);
    !found.queries && found.tables.iter().all(|table| table.as_ref().is_some_and(is_there))
}
