//! From PostgreSQL's dialect to the engine's: names resolved, moments made plain, functions that the engine has not spelt out.
mod functions;
mod groups;
mod lists;
mod names;

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, DateTimeField, Expr, Ident, ObjectName, ObjectNamePart, Query, Select,
    TableAlias, TableFactor, UnaryOperator, Value, VisitMut, VisitorMut,
};

use crate::catalog::Catalog;
use crate::error::{SqlError, state};
use crate::frame::Type;
use crate::literal::{as_interval, as_moment, as_number, as_text, moment, named, number, parse, quoted, text};
use crate::meta::Meta;
use crate::session::Facts;
use crate::time;

pub use functions::arguments;
pub use names::name_of;

/// A relation that a query names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// A view's table, by its place in the catalog.
    Table(usize),
    /// A table about the tables.
    Meta(Meta),
}

/// What becomes of a query on the way to the engine, beside its new text.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// The relations that it names, each once.
    pub relations: Vec<Relation>,
    /// What columns are shown as, by the names that the engine sees.
    pub shown: HashMap<String, String>,
    /// What joined tables are called.
    pub aliases: Vec<String>,
}

/// Rewrites `query` in place. `parameters` stand for `$1`, `$2` and so on.
///
/// # Errors
/// A table that does not exist, or what the engine cannot do.
pub fn rewrite(
    query: &mut Query,
    catalog: &Catalog,
    facts: &Facts,
    parameters: &[Expr],
) -> Result<Rewritten, SqlError> {
    let mut resolve = Resolve { catalog, scopes: Vec::new(), out: Rewritten::default() };
    if let ControlFlow::Break(error) = query.visit(&mut resolve) {
        return Err(error);
    }
    let out = resolve.out;
    let kinds = kinds(catalog, &out.relations);
    let mut rewrite = Rewrite { kinds, facts, parameters, out };
    match query.visit(&mut rewrite) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(rewrite.out),
    }
}

/// The types of columns by name, where all relations agree.
pub fn kinds(catalog: &Catalog, relations: &[Relation]) -> HashMap<String, Type> {
    let mut kinds = HashMap::new();
    let mut disputed = Vec::new();
    for relation in relations {
        let Relation::Table(table) = relation else { continue };
        for column in &catalog.tables[*table].columns {
            if *kinds.entry(column.name.clone()).or_insert(column.kind) != column.kind {
                disputed.push(column.name.clone());
            }
        }
    }
    for name in &disputed {
        kinds.remove(name);
    }
    kinds
}

/// The parts of a name.
fn parts(name: &ObjectName) -> Vec<&str> {
    name.0.iter().filter_map(ObjectNamePart::as_ident).map(|ident| ident.value.as_str()).collect()
}

/// Finds what relations are.
struct Resolve<'a> {
    catalog: &'a Catalog,
    /// The names that each query around gives to queries of its own.
    scopes: Vec<Vec<String>>,
    out: Rewritten,
}

impl Resolve<'_> {
    fn find(&self, name: &ObjectName) -> Result<Option<Relation>, SqlError> {
        let parts = parts(name);
        let (schema, table) = match parts[..] {
            [table] if self.scopes.iter().flatten().any(|scope| scope == table) => return Ok(None),
            [table] => (None, table),
            [schema, table] | [_, schema, table] => (Some(schema), table),
            _ => return Err(self.catalog.unknown(&name.to_string())),
        };
        if schema.is_none_or(|schema| schema == "public")
            && let Some(table) = self.catalog.table(table)
        {
            return Ok(Some(Relation::Table(table)));
        }
        let meta = Meta::find(schema, table).map(Relation::Meta);
        meta.map(Some).ok_or_else(|| self.catalog.unknown(table))
    }
}

impl VisitorMut for Resolve<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.scopes.push(tables.map(|cte| cte.alias.name.value.clone()).collect());
        if !query.locks.is_empty() {
            return ControlFlow::Break(SqlError::unsupported("rows cannot be locked: everything here is read-only"));
        }
        ControlFlow::Continue(())
    }
    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        let TableFactor::Table { name, alias, args, .. } = factor else {
            return match factor {
                TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
                other => ControlFlow::Break(SqlError::unsupported(format!("FROM cannot hold {other}"))),
            };
        };
        if args.is_some() {
            let message = format!("the function {name} cannot stand in FROM");
            return ControlFlow::Break(SqlError::unsupported(message));
        }
        let relation = match self.find(name) {
            Err(error) => return ControlFlow::Break(error),
            Ok(relation) => relation,
        };
        let called = parts(name).last().map_or(String::new(), |part| (*part).to_owned());
        self.out.aliases.push(alias.as_ref().map_or(called.clone(), |alias| alias.name.value.clone()));
        let internal = match relation {
            None => called,
            Some(Relation::Table(table)) => self.catalog.tables[table].name.clone(),
            Some(Relation::Meta(meta)) => {
                let add = || TableAlias { explicit: true, name: quoted(&called), columns: Vec::new(), at: None };
                *alias = Some(alias.take().unwrap_or_else(add));
                meta.name().to_owned()
            }
        };
        *name = ObjectName(vec![ObjectNamePart::Identifier(quoted(&internal))]);
        if let Some(relation) = relation.filter(|relation| !self.out.relations.contains(relation)) {
            self.out.relations.push(relation);
        }
        ControlFlow::Continue(())
    }
}

/// Rewrites expressions from the inside out.
struct Rewrite<'a> {
    kinds: HashMap<String, Type>,
    facts: &'a Facts,
    parameters: &'a [Expr],
    out: Rewritten,
}

impl VisitorMut for Rewrite<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        match self.compare_floats(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        names::name_columns(select, &mut self.out.shown);
        match self.group_by_floats(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        names::order_by_names(query);
        ControlFlow::Continue(())
    }
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match self.replacement(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(new)) => {
                *expr = new;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Rewrite<'_> {
    /// What stands for an expression whose parts are rewritten already.
    fn replacement(&self, expr: &mut Expr) -> Result<Option<Expr>, SqlError> {
        Ok(match expr {
            Expr::Identifier(ident) => {
                *ident = quoted(&ident.value);
                None
            }
            Expr::CompoundIdentifier(idents) => {
                let from = idents.len().saturating_sub(2);
                let idents: Vec<Ident> = idents[from..].iter().map(|ident| quoted(&ident.value)).collect();
                Some(Expr::CompoundIdentifier(idents))
            }
            // Drivers put what they write out themselves into parentheses.
            Expr::Nested(inner) if matches!(**inner, Expr::Value(_)) => Some((**inner).clone()),
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) => Some(self.parameter(name)?),
                Value::EscapedStringLiteral(quoted) => Some(text(quoted.clone())),
                _ => None,
            },
            Expr::Function(function) => functions::replacement(function, self.facts)?,
            Expr::Extract { field: DateTimeField::Epoch, expr, .. } => Some(epoch(expr)?),
            Expr::TypedString(typed) => {
                let value = typed.value.value.clone().into_string().unwrap_or_default();
                self.cast(&text(value), &typed.data_type)?
            }
            Expr::Cast { expr, data_type, kind: CastKind::Cast | CastKind::DoubleColon, .. } => {
                self.cast(expr, data_type)?
            }
            Expr::AtTimeZone { timestamp, time_zone } => Some(at_time_zone(timestamp, time_zone)?),
            Expr::Between { expr, low, high, .. } => {
                self.coerce(expr, low)?;
                self.coerce(expr, high)?;
                None
            }
            Expr::InList { expr, list, .. } => {
                list.iter_mut().try_for_each(|item| self.coerce(expr, item))?;
                None
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => self.any_of(left, right, false)?,
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => self.any_of(left, right, true)?,
            Expr::Interval(_) => match as_interval(expr) {
                Some(interval) => Some(spelt(interval)?),
                None => return Err(SqlError::new(state::NO_TIME, format!("{expr} is no interval"))),
            },
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right)?,
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                as_interval(expr).map(|interval| spelt(interval.negated())).transpose()?
            }
            _ => None,
        })
    }

    fn parameter(&self, name: &str) -> Result<Expr, SqlError> {
        let index = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let found = index.and_then(|index| self.parameters.get(index.checked_sub(1)?));
        found.cloned().ok_or_else(|| SqlError::new("42P02", format!("there is no parameter {name}")))
    }

    fn binary(&self, left: &mut Expr, op: &BinaryOperator, right: &mut Expr) -> Result<Option<Expr>, SqlError> {
        use BinaryOperator as B;
        match op {
            B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq => {
                self.coerce(left, right)?;
                self.coerce(right, left)?;
                Ok(None)
            }
            B::Plus | B::Minus => {
                let Some(interval) = as_interval(right) else {
                    return Ok(match (op, as_interval(left)) {
                        (B::Plus, Some(interval)) => Some(moved(right, interval)?),
                        _ => None,
                    });
                };
                let interval = if *op == B::Minus { interval.negated() } else { interval };
                Ok(Some(moved(left, interval)?))
            }
            B::Divide | B::Modulo if is_zero(right) => Err(SqlError::new(state::BY_ZERO, "division by zero")),
            // Of decimals the engine would keep the digits of the dividend alone.
            B::Divide if !matches!(self.kind(left), Some(Type::Float | Type::Time)) => {
                Ok(Some(parse(&format!("CAST({left} AS DOUBLE PRECISION) / {right}"))?))
            }
            _ => Ok(None),
        }
    }

    /// Reads the text `item` as what `expr`, to which it is compared, is.
    fn coerce(&self, expr: &Expr, item: &mut Expr) -> Result<(), SqlError> {
        self.read_as(self.kind(expr), item)
    }
    fn read_as(&self, kind: Option<Type>, item: &mut Expr) -> Result<(), SqlError> {
        let Some(given) = as_text(item) else { return Ok(()) };
        let wrong = |what: &str| SqlError::new(state::BAD_VALUE, format!("invalid input for {what}: \"{given}\""));
        let new = match kind {
            Some(Type::Time) => {
                let at = time::moment(given).or_else(|| (given == "now").then_some(self.facts.now));
                let error = || SqlError::new(state::NO_TIME, format!("invalid timestamp: \"{given}\""));
                moment(at.ok_or_else(error)?)
            }
            Some(kind @ (Type::Int | Type::Float | Type::Decimal(_))) => {
                let is_number = given.trim().parse::<f64>().is_ok_and(f64::is_finite);
                if !is_number {
                    return Err(wrong(&kind.sql()));
                }
                number(given.trim())
            }
            Some(Type::Bool) => match given.to_ascii_lowercase().as_str() {
                "t" | "true" | "on" | "yes" | "1" => parse("TRUE")?,
                "f" | "false" | "off" | "no" | "0" => parse("FALSE")?,
                _ => return Err(wrong("boolean")),
            },
            None if time::is_full_moment(given) => match time::moment(given) {
                Some(micros) => moment(micros),
                None => return Ok(()),
            },
            Some(Type::Date) => match time::moment(given) {
                Some(at) => parse(&format!("CAST('{}' AS DATE)", time::day(at)))?,
                None => return Err(wrong("date")),
            },
            Some(Type::Text) | None => return Ok(()),
        };
        *item = new;
        Ok(())
    }

    /// What an expression is, as far as that shows.
    fn kind(&self, expr: &Expr) -> Option<Type> {
        match expr {
            Expr::Identifier(ident) => self.kinds.get(&ident.value).copied(),
            Expr::CompoundIdentifier(idents) => self.kinds.get(&idents.last()?.value).copied(),
            Expr::Nested(inner) => self.kind(inner),
            Expr::Cast { data_type, .. } => match data_type {
                DataType::Timestamp(..) => Some(Type::Time),
                DataType::BigInt(_) | DataType::Int(_) | DataType::Integer(_) => Some(Type::Int),
                DataType::Double(_) | DataType::DoublePrecision | DataType::Float(_) => Some(Type::Float),
                DataType::Text => Some(Type::Text),
                DataType::Date => Some(Type::Date),
                _ => None,
            },
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) if digits.contains(['.', 'e', 'E']) => Some(Type::Float),
                Value::Number(..) => Some(Type::Int),
                Value::Boolean(_) => Some(Type::Bool),
                _ => None,
            },
            Expr::Function(function) => {
                let called = parts(&function.name).last()?.to_lowercase();
                match called.as_str() {
                    "count" => Some(Type::Int),
                    "avg" | "quantile_cont" | "stddev" => Some(Type::Float),
                    "min" | "max" | "sum" | "first" | "last" | "first_value" | "last_value" | "lag" | "lead"
                    | "abs" => self.kind(functions::arguments(function).first()?),
                    _ => None,
                }
            }
            Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } => {
                match (self.kind(left), self.kind(right)) {
                    (Some(Type::Time), None) => Some(Type::Time),
                    (a, b) if a == b => a,
                    (Some(Type::Float), Some(Type::Int)) | (Some(Type::Int), Some(Type::Float)) => Some(Type::Float),
                    _ => None,
                }
            }
            Expr::BinaryOp { op: BinaryOperator::Divide, .. } | Expr::Floor { .. } | Expr::Ceil { .. } => {
                Some(Type::Float)
            }
            _ => None,
        }
    }

    fn cast(&self, expr: &Expr, to: &DataType) -> Result<Option<Expr>, SqlError> {
        // LIMIT takes nothing but a number as it is.
        if named(to) == Some(Type::Int) && as_number(expr).is_some_and(|digits| digits.parse::<i64>().is_ok()) {
            return Ok(Some(expr.clone()));
        }
        if let (Some(kind @ (Type::Int | Type::Bool)), Some(_)) = (named(to), as_text(expr)) {
            let mut value = expr.clone();
            self.read_as(Some(kind), &mut value)?;
            return Ok(Some(value));
        }
        Ok(match to {
            DataType::Timestamp(..) | DataType::Datetime(_) => Some(match as_text(expr) {
                Some("now") => moment(self.facts.now),
                Some(given) => {
                    let error = || SqlError::new(state::NO_TIME, format!("invalid timestamp: \"{given}\""));
                    moment(time::moment(given).ok_or_else(error)?)
                }
                None => parse(&format!("CAST({expr} AS TIMESTAMP)"))?,
            }),
            DataType::Interval { .. } => match as_text(expr).and_then(time::Interval::parse) {
                Some(interval) => Some(spelt(interval)?),
                None => return Err(SqlError::new(state::NO_TIME, format!("{expr} is no interval"))),
            },
            to if named(to) == Some(Type::Int) => Some(match self.kind(expr) {
                // The engine would cut off what PostgreSQL rounds.
                Some(Type::Float | Type::Decimal(_)) => parse(&format!("CAST(ROUND({expr}) AS BIGINT)"))?,
                _ => parse(&format!("CAST({expr} AS BIGINT)"))?,
            }),
            DataType::Numeric(sqlparser::ast::ExactNumberInfo::None)
            | DataType::Decimal(sqlparser::ast::ExactNumberInfo::None)
            | DataType::Real
            | DataType::Float4 => Some(parse(&format!("CAST({expr} AS DOUBLE PRECISION)"))?),
            DataType::Custom(..) | DataType::Regclass => {
                return Err(SqlError::unsupported(format!("nothing can be cast to {to}")));
            }
            _ => None,
        })
    }
}

/// Whether an expression is zero, as it stands.
fn is_zero(expr: &Expr) -> bool {
    as_number(expr).and_then(|digits| digits.parse::<f64>().ok()) == Some(0.0)
}

/// Seconds since 1970.
fn epoch(expr: &Expr) -> Result<Expr, SqlError> {
    match as_moment(expr) {
        Some(micros) => Ok(number(format!("{:?}", micros as f64 / 1e6))),
        None => parse(&format!("(CAST({expr} AS BIGINT) / 1000000.0)")),
    }
}

fn at_time_zone(timestamp: &Expr, zone: &Expr) -> Result<Expr, SqlError> {
    match as_text(zone).map(str::to_ascii_lowercase).as_deref() {
        Some("utc" | "etc/utc" | "gmt" | "z" | "+00" | "+00:00") => match as_moment(timestamp) {
            Some(at) => Ok(moment(at)),
            None => parse(&format!("CAST({timestamp} AS TIMESTAMP)")),
        },
        _ => Err(SqlError::unsupported(format!("times are in UTC; AT TIME ZONE {zone} is not supported"))
            .hint("Calendar days of a zone: ask the HTTP API with `tz`.")),
    }
}

/// An interval as the engine reads it.
fn spelt(interval: time::Interval) -> Result<Expr, SqlError> {
    let time::Interval { months, micros } = interval;
    if months < 0 || micros < 0 {
        // The engine knows no signs here; what an interval is added to is moved before it gets there.
        return Ok(Expr::Interval(sqlparser::ast::Interval {
            value: Box::new(text(format!("{months} months {micros} us"))),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        }));
    }
    let value = match (months, micros) {
        (0, micros) => format!("{micros} us"),
        (months, 0) => format!("{months} months"),
        (months, micros) => format!("{months} months {micros} us"),
    };
    parse(&format!("INTERVAL '{value}'"))
}

/// A moment or a column of them, moved.
fn moved(expr: &Expr, interval: time::Interval) -> Result<Expr, SqlError> {
    if let Some(micros) = as_moment(expr) {
        let out = || SqlError::new(state::NO_TIME, "the time is out of range");
        return Ok(moment(interval.add_to(micros).ok_or_else(out)?));
    }
    match (interval.months, interval.micros) {
        (0, micros) => parse(&format!("CAST(CAST({expr} AS BIGINT) + ({micros}) AS TIMESTAMP)")),
        (months, 0) if months > 0 => parse(&format!("CAST({expr} AS TIMESTAMP) + INTERVAL '{months} months'")),
        (months, 0) => parse(&format!("CAST({expr} AS TIMESTAMP) - INTERVAL '{} months'", -months)),
        _ => Err(SqlError::unsupported(
            "an interval of months and more cannot be added to a column; add them one by one",
        )),
    }
}

#[cfg(test)]
mod tests;
