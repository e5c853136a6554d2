//! Questions about PostgreSQL's catalog that no engine here can execute, answered by what they show.
//!
//! psql's `\l`, `\du` or `\df`, and the libraries beneath most of Python, join dozens of catalogs with functions of PostgreSQL's own. All
//! that they can find out here is little: the tables, their columns, one database, one role, one schema; of all else there is nothing. So
//! such a question is answered with a row for each of those things that it is about, the columns being found by their names.
use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, Visit, Visitor,
};

use super::probes::matches;
use super::{FIRST_OID, Meta, PG};
use crate::catalog::{Catalog, ColumnDefinition, Table};
use crate::frame::{Cells, Column, Frame};
use crate::literal::as_text;
use crate::rewrite::name_of;

/// What a row of a picture is about.
#[derive(Clone, Copy)]
enum Thing<'a> {
    Table(usize, &'a Table),
    Column(usize, &'a Table, usize, &'a ColumnDefinition),
    Database,
    Role,
    Schema,
}

/// A cell of it.
enum Cell {
    Text(String),
    Int(i64),
    Bool(bool),
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The name given at login.
    pub user: &'a str,
    /// What the client calls the database.
    pub database: &'a str,
}

/// The answer to a question about the catalog that needs more of it than there is; `None` for any other.
pub fn picture(query: &Query, parameters: &[Expr], catalog: &Catalog, asker: Asker<'_>) -> Option<Frame> {
    let mut body = query.body.as_ref();
    while let SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    let SetExpr::Select(select) = body else { return None };
    // All of a query in FROM: what that one shows.
    if let ([SelectItem::Wildcard(_)], [from]) = (&select.projection[..], &select.from[..])
        && let (TableFactor::Derived { subquery, .. }, []) = (&from.relation, &from.joins[..])
    {
        return picture(subquery, parameters, catalog, asker);
    }
    let mut seen = Seen { catalog, own: false, catalogs: HashSet::new(), beyond: false };
    let _ = query.visit(&mut seen);
    if seen.own || seen.catalogs.is_empty() || !seen.beyond {
        return None;
    }
    let things = things(select, parameters, catalog);
    let mut columns = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, name_of(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias.value.clone()),
            _ => return None,
        };
        let cell = |thing: &Thing<'_>| cell(&name_of(expr), *thing, asker).or_else(|| cell(&name, *thing, asker));
        let cells: Vec<Option<Cell>> = things.iter().map(cell).collect();
        columns.push(Column { name, cells: typed(cells) });
    }
    Some(Frame(columns))
}

/// The type of a column is that of its first cell.
fn typed(cells: Vec<Option<Cell>>) -> Cells {
    match cells.iter().flatten().next() {
        Some(Cell::Int(_)) => Cells::Int(
            cells.into_iter().map(|cell| if let Some(Cell::Int(of)) = cell { Some(of) } else { None }).collect(),
        ),
        Some(Cell::Bool(_)) => Cells::Bool(
            cells.into_iter().map(|cell| if let Some(Cell::Bool(of)) = cell { Some(of) } else { None }).collect(),
        ),
        _ => Cells::Text(
            cells.into_iter().map(|cell| if let Some(Cell::Text(of)) = cell { Some(of) } else { None }).collect(),
        ),
    }
}

/// What a query names, and whether that is more than the engine is given.
struct Seen<'a> {
    catalog: &'a Catalog,
    /// It reads a view.
    own: bool,
    catalogs: HashSet<String>,
    beyond: bool,
}

impl Visitor for Seen<'_> {
    type Break = ();
    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let Some((schema, name)) = split(relation) else { return ControlFlow::Continue(()) };
        let is_catalog = match schema.as_deref() {
            Some(schema) => schema == PG || schema == super::INFORMATION,
            None => name.starts_with("pg_") && self.catalog.table(&name).is_none(),
        };
        if is_catalog {
            self.beyond |= Meta::find(schema.as_deref(), &name).is_none();
            self.catalogs.insert(name);
        } else {
            self.own |= self.catalog.table(&name).is_some();
        }
        ControlFlow::Continue(())
    }
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        // The engine's LIKE knows no escapes.
        self.beyond |=
            matches!(expr, Expr::Like { escape_char: Some(_), .. } | Expr::ILike { escape_char: Some(_), .. });
        if let Expr::Function(function) = expr {
            self.beyond |= split(&function.name).is_some_and(|(schema, _)| schema.as_deref() == Some(PG));
        }
        ControlFlow::Continue(())
    }
}

/// Schema and name.
fn split(name: &ObjectName) -> Option<(Option<String>, String)> {
    let mut parts = name.0.iter().rev().filter_map(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
    let name = parts.next()?;
    Some((parts.next(), name))
}

/// What a question is about: it says so by what it reads, and by what it wants that to be called.
fn things<'a>(select: &Select, parameters: &[Expr], catalog: &'a Catalog) -> Vec<Thing<'a>> {
    let mut about: Vec<String> = Vec::new();
    let mut add = |factor: &TableFactor| match factor {
        TableFactor::Table { name, .. } => about.extend(split(name).map(|(_, name)| name)),
        // A query within FROM counts or unfolds what there is none of.
        _ => about.push(String::new()),
    };
    for from in &select.from {
        add(&from.relation);
        for join in &from.joins {
            if !matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_)) {
                add(&join.relation);
            }
        }
    }
    // Descriptions of columns hang on what is joined to a table from the left, too.
    let all = select.from.iter().flat_map(|from| &from.joins).filter_map(|join| match &join.relation {
        TableFactor::Table { name, .. } => split(name).map(|(_, name)| name),
        _ => None,
    });
    let has_columns = about.iter().cloned().chain(all).any(|name| name == "pg_attribute");
    let known = [
        "pg_class",
        "pg_namespace",
        "pg_attribute",
        "pg_type",
        "pg_database",
        "pg_roles",
        "pg_user",
        "pg_tablespace",
        "pg_am",
    ];
    if !about.iter().all(|name| known.contains(&name.as_str())) {
        return Vec::new();
    }
    let names = |of: &str| about.iter().any(|name| name == of);
    let wanted = Wanted::new(select, parameters);
    let tables = catalog.tables.iter().enumerate().filter(|(i, table)| wanted.is(*i, &table.name));
    if names("pg_class") || names("pg_attribute") {
        if !wanted.tables {
            return Vec::new();
        }
        let mut tables: Vec<(usize, &Table)> = tables.collect();
        tables.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        if !has_columns {
            return tables.into_iter().map(|(i, table)| Thing::Table(i, table)).collect();
        }
        let columns = |(i, table): (usize, &'a Table)| {
            (1..).zip(&table.columns).map(move |(place, column)| Thing::Column(i, table, place, column))
        };
        return tables.into_iter().flat_map(columns).collect();
    }
    match about.first().map(String::as_str) {
        Some("pg_database") => vec![Thing::Database],
        Some("pg_roles" | "pg_user") => vec![Thing::Role],
        Some("pg_namespace") if about.len() == 1 => vec![Thing::Schema],
        _ => Vec::new(),
    }
}

/// Which tables a condition is about, as far as it says so by their names and numbers.
#[derive(Default)]
struct Wanted {
    names: Vec<Vec<String>>,
    /// Patterns of LIKE.
    like: Vec<String>,
    /// Patterns as psql makes them: `^(name)$`.
    regular: Vec<String>,
    numbers: Vec<Vec<i64>>,
    /// Whether tables are among the kinds of relations that are looked for.
    tables: bool,
}

impl Wanted {
    fn new(select: &Select, parameters: &[Expr]) -> Wanted {
        let mut wanted = Wanted { tables: true, ..Wanted::default() };
        if let Some(condition) = &select.selection {
            wanted.learn(condition, parameters);
        }
        wanted
    }
    fn is(&self, place: usize, name: &str) -> bool {
        self.names.iter().all(|names| names.iter().any(|wanted| wanted == name))
            && self.like.iter().all(|pattern| is_like(pattern, name))
            && self.regular.iter().all(|pattern| matches(pattern, name))
            && self.numbers.iter().all(|numbers| numbers.contains(&((FIRST_OID + place) as i64)))
    }
    /// What both sides of AND say is true of a row; of other conditions nothing is known.
    fn learn(&mut self, condition: &Expr, parameters: &[Expr]) {
        match condition {
            Expr::Nested(inner) => self.learn(inner, parameters),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.learn(left, parameters);
                self.learn(right, parameters);
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => self.one_of(left, vec![right], parameters),
            Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(op), right }
                if name_of(left) == "relname" && op.last().is_some_and(|op| op == "~") =>
            {
                let pattern = literal(right, parameters);
                self.regular.extend(pattern.and_then(|p| Some(p.strip_prefix("^(")?.strip_suffix(")$")?.to_owned())));
            }
            Expr::Like { expr, pattern, negated: false, .. } if name_of(expr) == "relname" => {
                self.like.extend(literal(pattern, parameters));
            }
            Expr::InList { expr, list, negated: false } => self.one_of(expr, list.iter().collect(), parameters),
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                let mut right = right.as_ref();
                while let Expr::Nested(inner) | Expr::Cast { expr: inner, .. } = right {
                    right = inner;
                }
                if let Expr::Array(array) = right {
                    self.one_of(left, array.elem.iter().collect(), parameters);
                }
            }
            _ => {}
        }
    }
    fn one_of(&mut self, expr: &Expr, list: Vec<&Expr>, parameters: &[Expr]) {
        let values: Option<Vec<String>> = list.into_iter().map(|value| literal(value, parameters)).collect();
        let Some(values) = values else { return };
        match name_of(expr).as_str() {
            "relname" | "table_name" => self.names.push(values),
            "relkind" => self.tables &= values.iter().any(|kind| kind == "r"),
            "attrelid" => self.numbers.push(values.iter().filter_map(|value| value.parse().ok()).collect()),
            "oid" if !self.is_schema(expr) => {
                self.numbers.push(values.iter().filter_map(|value| value.parse().ok()).collect());
            }
            "nspname" => self.tables &= values.iter().any(|schema| schema == "public"),
            _ => {}
        }
    }
    /// Whether a number is a schema's.
    fn is_schema(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::CompoundIdentifier(idents)
            if idents.iter().rev().nth(1).is_some_and(|table| ["n", "pg_namespace"].contains(&table.value.as_str())))
    }
}

/// Whether a name is LIKE a pattern: `%` stands for anything, `_` for a letter, `\\` before either for itself.
fn is_like(pattern: &str, name: &str) -> bool {
    fn from(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'%', rest @ ..] => (0..=name.len()).any(|skip| from(rest, &name[skip..])),
            [b'_', rest @ ..] => !name.is_empty() && from(rest, &name[1..]),
            [b'\\', letter, rest @ ..] | [letter, rest @ ..] => name.first() == Some(letter) && from(rest, &name[1..]),
        }
    }
    pattern.len() < 200 && from(pattern.as_bytes(), name.as_bytes())
}

/// A text, or what is bound for it.
fn literal(expr: &Expr, parameters: &[Expr]) -> Option<String> {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } | Expr::Collate { expr: inner, .. } => {
            literal(inner, parameters)
        }
        Expr::Value(value) => match &value.value {
            sqlparser::ast::Value::Placeholder(name) => {
                let place: usize = name.strip_prefix('$')?.parse().ok()?;
                literal(parameters.get(place.checked_sub(1)?)?, &[])
            }
            sqlparser::ast::Value::Number(digits, _) => Some(digits.to_string()),
            _ => as_text(expr).map(str::to_owned),
        },
        _ => None,
    }
}

/// What a thing has by that name.
fn cell(name: &str, thing: Thing<'_>, asker: Asker<'_>) -> Option<Cell> {
    let text = |text: &str| Some(Cell::Text(text.to_owned()));
    match (name, thing) {
        ("datname" | "Name", Thing::Database) => text(asker.database),
        ("Encoding" | "pg_encoding_to_char", Thing::Database) => text("UTF8"),
        ("Collate" | "Ctype" | "datcollate" | "datctype", Thing::Database) => text("C"),
        ("Locale Provider", Thing::Database) => text("libc"),
        ("datallowconn", Thing::Database) => Some(Cell::Bool(true)),
        ("datistemplate", Thing::Database) => Some(Cell::Bool(false)),
        ("oid", Thing::Database) => Some(Cell::Int(5)),
        ("rolname" | "usename", Thing::Role) => text(asker.user),
        ("rolinherit" | "rolcanlogin", Thing::Role) => Some(Cell::Bool(true)),
        ("rolconnlimit", Thing::Role) => Some(Cell::Int(-1)),
        ("memberof", Thing::Role) => text("{}"),
        ("oid" | "usesysid", Thing::Role) => Some(Cell::Int(10)),
        (name, Thing::Role) if name.starts_with("rol") && name != "rolvaliduntil" => Some(Cell::Bool(false)),
        ("Name", Thing::Schema) => text("public"),
        ("oid", Thing::Schema) => Some(Cell::Int(super::PUBLIC_OID)),
        ("relname" | "table_name" | "Name", Thing::Table(_, table) | Thing::Column(_, table, ..)) => text(&table.name),
        ("relchecks" | "reltablespace" | "reloftype", Thing::Table(..)) => Some(Cell::Int(0)),
        ("relreplident", Thing::Table(..)) => text("d"),
        ("relkind", _) => text("r"),
        ("relpersistence", _) => text("p"),
        ("Type", Thing::Table(..)) => text("table"),
        ("table_type", Thing::Table(..)) => text("TABLE"),
        ("Persistence", Thing::Table(..)) => text("permanent"),
        ("oid" | "attrelid", Thing::Table(i, _) | Thing::Column(i, ..)) => Some(Cell::Int((FIRST_OID + i) as i64)),
        ("attname" | "name", Thing::Column(.., column)) => text(&column.name),
        ("attnum", Thing::Column(_, _, place, _)) => Some(Cell::Int(place as i64)),
        ("atttypid", Thing::Column(.., column)) => Some(Cell::Int(i64::from(column.kind.wire().oid()))),
        ("format_type", Thing::Column(.., column)) => text(&column.kind.sql()),
        ("typname", Thing::Column(.., column)) => text(column.kind.wire().name()),
        ("attnotnull" | "not_null", Thing::Column(..)) => Some(Cell::Bool(false)),
        ("attidentity" | "attgenerated" | "generated", Thing::Column(..)) => text(""),
        ("attstorage", Thing::Column(..)) => text("p"),
        (name, Thing::Table(..)) if ["relhas", "relrow", "relforce", "relis"].iter().any(|of| name.starts_with(of)) => {
            Some(Cell::Bool(false))
        }
        ("nspname" | "Schema" | "schema" | "table_schem", _) => text("public"),
        ("Owner" | "pg_get_userbyid", _) => text("seam"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
