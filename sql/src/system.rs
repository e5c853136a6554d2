//! What clients ask of PostgreSQL's own catalogs, executed over small tables that are made for each question.
//!
//! psql's commands, drivers and tools like DBeaver or Metabase join dozens of catalogs, with subqueries that look at the row around
//! them and functions of PostgreSQL's own; Polars' SQL knows neither. There is little to find here (the views, their columns, the types
//! of those, one role, one database), so a plain evaluator, row by row, is quick enough. A catalog, a column of one or a function that
//! is not known here has no rows, is null, or answers null: of what it is about there is nothing.
mod expression;
mod from;
mod functions;
mod kinds;
mod relations;
mod select;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, Query, TableFactor, Visit, Visitor};

use crate::catalog::Catalog;
use crate::error::SqlError;
use crate::frame::{Cells, Column, Frame, Type};
use crate::session::Facts;
use relations::World;
use select::{Answer, Evaluator};
use value::Value;

/// The schema of the catalogs.
const PG: &str = "pg_catalog";
/// The schema of the standard's views of them.
const INFORMATION: &str = "information_schema";

/// The answer to a question about catalogs; `None` if the query is about anything else.
pub fn answer(query: &Query, parameters: &[Expr], catalog: &Catalog, facts: &Facts) -> Option<Result<Frame, SqlError>> {
    if !is_asked(query, catalog) {
        return None;
    }
    let evaluator = Evaluator::new(catalog, facts, parameters);
    Some(evaluator.query(query, None).map(frame))
}

/// Whether a query is about catalogs.
pub fn is_asked(query: &Query, catalog: &Catalog) -> bool {
    let mut seen = Seen::new(catalog);
    let _ = query.visit(&mut seen);
    !seen.own && if seen.relations { seen.catalogs } else { seen.system && !seen.others }
}

/// The types of the columns of catalogs, by their names.
pub fn kinds(relations: &[ObjectName], catalog: &Catalog, facts: &Facts) -> HashMap<String, Type> {
    let of = |name: &ObjectName| {
        let (schema, name) = split(name);
        World { catalog, facts }.relation(schema.as_deref(), &name)
    };
    relations.iter().filter_map(of).flat_map(|relation| relation.columns.to_vec()).collect()
}

/// What a query names.
struct Seen<'a> {
    catalog: &'a Catalog,
    /// Views, or tables of Seam's own.
    own: bool,
    /// Anything in FROM.
    relations: bool,
    catalogs: bool,
    /// Functions that tell of the system.
    system: bool,
    /// Functions that are not known here.
    others: bool,
}

impl<'a> Seen<'a> {
    fn new(catalog: &'a Catalog) -> Seen<'a> {
        Seen { catalog, own: false, relations: false, catalogs: false, system: false, others: false }
    }
}

impl Visitor for Seen<'_> {
    type Break = ();
    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let (schema, name) = split(relation);
        let is_catalog = match schema.as_deref() {
            Some(schema) => schema == PG || schema == INFORMATION,
            None => name.starts_with("pg_") && self.catalog.table(&name).is_none(),
        };
        self.relations = true;
        self.catalogs |= is_catalog;
        self.own |= !is_catalog
            && (self.catalog.table(&name).is_some() || crate::meta::Meta::find(schema.as_deref(), &name).is_some());
        ControlFlow::Continue(())
    }
    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.relations |= !matches!(factor, TableFactor::Derived { .. });
        ControlFlow::Continue(())
    }
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Cast { data_type, .. } = expr {
            self.system |= data_type.to_string().trim_start_matches("pg_catalog.").starts_with("reg");
        }
        if let Expr::Function(function) = expr {
            let (schema, name) = split(&function.name);
            let is_system = functions::tells_of_system(&name);
            self.system |= is_system || schema.as_deref() == Some(PG);
            self.others |= !is_system && !functions::is_known(&name);
        }
        ControlFlow::Continue(())
    }
}

/// Schema and name.
fn split(name: &ObjectName) -> (Option<String>, String) {
    let mut parts = name.0.iter().rev().filter_map(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
    let name = parts.next().unwrap_or_default();
    (parts.next(), name)
}

fn frame(answer: Answer) -> Frame {
    let column = |(at, (name, kind)): (usize, (String, Type))| {
        let cells = answer.rows.iter().map(|row| row.get(at).unwrap_or(&Value::Null));
        let cells = match kind {
            Type::Int => Cells::Int(cells.map(Value::int).collect()),
            Type::Float => Cells::Float(cells.map(Value::float).collect()),
            Type::Bool => Cells::Bool(cells.map(Value::bool).collect()),
            _ => Cells::Text(cells.map(Value::text).collect()),
        };
        Column { name, cells }
    };
    Frame(answer.columns.iter().cloned().enumerate().map(column).collect())
}
