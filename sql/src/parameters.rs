//! The parameters of prepared statements: what types they have, and their values as literals.
use std::collections::HashMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use pgwire::api::Type as WireType;
use pgwire::api::results::FieldFormat;
use seam_shared::view::value::decimal_text;
use sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, DataType, Expr, LimitClause, ObjectName, Query, Statement, Value, Visit,
    Visitor,
};

use crate::array;
use crate::catalog::Catalog;
use crate::error::{SqlError, state};
use crate::frame::Type;
use crate::literal::{literal, moment, named, number, text};
use crate::rewrite::{Relation, kinds};
use crate::session::Facts;
use crate::system;

/// Microseconds from 1970 to 2000.
const EPOCH_2000: i64 = 946_684_800_000_000;

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A value.
    One(Type),
    /// Values, for `= ANY ($1)`.
    List(Type),
    /// Numbers of objects, for the same.
    Oids,
    /// A length of time.
    Interval,
}

impl Expected {
    /// The type as the protocol names it.
    pub fn wire(self) -> WireType {
        match self {
            Expected::One(kind) => kind.wire(),
            Expected::List(Type::Int) => WireType::INT8_ARRAY,
            Expected::List(Type::Float) => WireType::FLOAT8_ARRAY,
            Expected::List(Type::Decimal(_)) => WireType::NUMERIC_ARRAY,
            Expected::List(Type::Bool) => WireType::BOOL_ARRAY,
            Expected::List(Type::Text) => WireType::TEXT_ARRAY,
            Expected::List(Type::Time) => WireType::TIMESTAMPTZ_ARRAY,
            Expected::List(Type::Date) => WireType::DATE_ARRAY,
            Expected::Oids => WireType::OID_ARRAY,
            Expected::Interval => WireType::INTERVAL,
        }
    }
}

/// The types of lists.
const LISTS: [WireType; 14] = [
    WireType::OID_ARRAY,
    WireType::INT2_ARRAY,
    WireType::INT4_ARRAY,
    WireType::INT8_ARRAY,
    WireType::FLOAT4_ARRAY,
    WireType::FLOAT8_ARRAY,
    WireType::NUMERIC_ARRAY,
    WireType::BOOL_ARRAY,
    WireType::TEXT_ARRAY,
    WireType::VARCHAR_ARRAY,
    WireType::BPCHAR_ARRAY,
    WireType::TIMESTAMP_ARRAY,
    WireType::TIMESTAMPTZ_ARRAY,
    WireType::DATE_ARRAY,
];

/// The types of `$1`, `$2` and so on, as far as what they are compared to tells; text for others.
pub fn types(statement: &Statement, catalog: &Catalog, facts: &Facts) -> Vec<Expected> {
    let mut tables = Tables { catalog, found: Vec::new(), names: Vec::new() };
    let _ = statement.visit(&mut tables);
    let mut kinds = kinds(catalog, &tables.found);
    if let Statement::Query(query) = statement
        && system::is_asked(query, catalog)
    {
        kinds.extend(system::kinds(&tables.names, catalog, facts));
    }
    let mut walk = Walk { kinds, found: Vec::new() };
    let _ = statement.visit(&mut walk);
    walk.found.into_iter().map(|kind| kind.unwrap_or(Expected::One(Type::Text))).collect()
}

struct Tables<'a> {
    catalog: &'a Catalog,
    found: Vec<Relation>,
    names: Vec<ObjectName>,
}

impl Visitor for Tables<'_> {
    type Break = ();
    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.as_str());
        self.names.push(relation.clone());
        self.found.extend(name.and_then(|name| self.catalog.table(name)).map(Relation::Table));
        ControlFlow::Continue(())
    }
}

struct Walk {
    kinds: HashMap<String, Type>,
    found: Vec<Option<Expected>>,
}

impl Walk {
    fn note(&mut self, expr: &Expr, kind: Option<Type>) {
        self.expect(expr, kind.map(Expected::One));
    }
    fn expect(&mut self, expr: &Expr, kind: Option<Expected>) {
        let Some(index) = index(expr) else { return };
        if self.found.len() <= index {
            self.found.resize(index + 1, None);
        }
        self.found[index] = self.found[index].or(kind);
    }
    fn kind(&self, expr: &Expr) -> Option<Type> {
        match expr {
            Expr::Nested(inner) => self.kind(inner),
            Expr::Identifier(ident) => self.kinds.get(&ident.value).copied(),
            Expr::CompoundIdentifier(idents) => self.kinds.get(&idents.last()?.value).copied(),
            Expr::Extract { .. } => Some(Type::Float),
            Expr::Function(function) => match function.name.to_string().as_str() {
                "count" => Some(Type::Int),
                "date_trunc" | "time_bucket" | "now" | "date_bin" => Some(Type::Time),
                "sum" | "avg" => Some(Type::Float),
                _ => None,
            },
            Expr::Cast { data_type, .. } => named(data_type),
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) if digits.contains(['.', 'e', 'E']) => Some(Type::Float),
                Value::Number(..) => Some(Type::Int),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Visitor for Walk {
    type Break = ();
    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            let counts = limit.iter().chain(offset.iter().map(|offset| &offset.value));
            counts.for_each(|count| self.note(count, Some(Type::Int)));
        }
        ControlFlow::Continue(())
    }
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        use BinaryOperator as B;
        match expr {
            Expr::BinaryOp { left, op: B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq, right } => {
                let (a, b) = (self.kind(left), self.kind(right));
                self.note(left, b);
                self.note(right, a);
            }
            Expr::BinaryOp { left, op: B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo, right } => {
                let number = |kind: &Type| matches!(kind, Type::Int | Type::Float | Type::Decimal(_));
                let (a, b) = (self.kind(left).filter(number), self.kind(right).filter(number));
                self.note(left, b);
                self.note(right, a);
            }
            Expr::Between { expr, low, high, .. } => {
                let kind = self.kind(expr);
                self.note(low, kind);
                self.note(high, kind);
            }
            Expr::InList { expr, list, .. } => {
                let kind = self.kind(expr);
                list.iter().for_each(|item| self.note(item, kind));
            }
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => {
                let kind = self.kind(left).unwrap_or(Type::Text);
                let (mut right, mut list) = (right.as_ref(), Expected::List(kind));
                while let Expr::Nested(inner) | Expr::Cast { expr: inner, .. } = right {
                    if let Expr::Cast { data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)), .. } = right
                    {
                        list = list_of(of);
                    }
                    right = inner;
                }
                self.expect(right, Some(list));
            }
            Expr::Cast { expr, data_type: DataType::Interval { .. }, .. } => {
                self.expect(expr, Some(Expected::Interval));
            }
            Expr::Cast { expr, data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)), .. } => {
                self.expect(expr, Some(list_of(of)));
            }
            Expr::Cast { expr, data_type, .. } => self.note(expr, named(data_type)),
            other => self.note(other, None),
        }
        ControlFlow::Continue(())
    }
}

/// A list of a type that a cast names.
fn list_of(items: &DataType) -> Expected {
    match items {
        DataType::Custom(..) if named(items) == Some(Type::Int) => Expected::Oids,
        _ => Expected::List(named(items).unwrap_or(Type::Text)),
    }
}

fn index(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else { return None };
    let Value::Placeholder(name) = &value.value else { return None };
    // The protocol counts them with 16 bits.
    name.strip_prefix('$')?.parse::<u16>().ok()?.checked_sub(1).map(usize::from)
}

/// A literal of a type, to find out what a statement answers with before there are values.
pub fn example(kind: Expected) -> Expr {
    let kind = match kind {
        Expected::One(kind) => kind,
        Expected::List(_) | Expected::Oids => return text("{}"),
        Expected::Interval => return text("1 second"),
    };
    match kind {
        Type::Int => number(1),
        Type::Float | Type::Decimal(_) => number("1.0"),
        Type::Bool => literal(Value::Boolean(true)),
        Type::Text => text(""),
        Type::Time => moment(0),
        Type::Date => text("2000-01-01"),
    }
}

/// A value as it was bound.
///
/// # Errors
/// It cannot be read, or its type is not known.
pub fn value(bytes: Option<&Bytes>, kind: &WireType, format: FieldFormat) -> Result<Expr, SqlError> {
    let Some(bytes) = bytes else { return Ok(literal(Value::Null)) };
    let wrong = || SqlError::new(state::BAD_VALUE, format!("a parameter is no {}", kind.name()));
    let is_text =
        [WireType::TEXT, WireType::VARCHAR, WireType::BPCHAR, WireType::UNKNOWN, WireType::NAME].contains(kind);
    if format == FieldFormat::Text || is_text {
        let given = std::str::from_utf8(bytes).map_err(|_| wrong())?;
        return match *kind {
            WireType::INT2 | WireType::INT4 | WireType::INT8 => {
                given.trim().parse::<i64>().map(number).map_err(|_| wrong())
            }
            WireType::FLOAT4 | WireType::FLOAT8 | WireType::NUMERIC => {
                let finite = given.trim().parse::<f64>().is_ok_and(f64::is_finite);
                if finite { Ok(number(given.trim())) } else { Err(wrong()) }
            }
            WireType::BOOL => match given.trim().to_ascii_lowercase().as_str() {
                "t" | "true" | "1" | "on" => Ok(literal(Value::Boolean(true))),
                "f" | "false" | "0" | "off" => Ok(literal(Value::Boolean(false))),
                _ => Err(wrong()),
            },
            WireType::TIMESTAMP | WireType::TIMESTAMPTZ => crate::time::moment(given).map(moment).ok_or_else(wrong),
            _ => Ok(text(given)),
        };
    }
    let int = || match bytes.len() {
        2 => Some(i64::from(i16::from_be_bytes(bytes[..].try_into().ok()?))),
        4 => Some(i64::from(i32::from_be_bytes(bytes[..].try_into().ok()?))),
        8 => Some(i64::from_be_bytes(bytes[..].try_into().ok()?)),
        _ => None,
    };
    let read = match *kind {
        WireType::INT2 | WireType::INT4 | WireType::INT8 | WireType::OID => int().map(number),
        WireType::FLOAT4 => bytes[..].try_into().ok().map(|b| f64::from(f32::from_be_bytes(b))).and_then(float),
        WireType::FLOAT8 => bytes[..].try_into().ok().map(f64::from_be_bytes).and_then(float),
        WireType::BOOL => bytes.first().map(|flag| literal(Value::Boolean(*flag != 0))),
        WireType::TIMESTAMP | WireType::TIMESTAMPTZ => int().map(|micros| moment(micros.saturating_add(EPOCH_2000))),
        WireType::DATE => int()
            .and_then(|days| days.checked_mul(86_400_000_000))
            .map(|since| text(crate::time::day(since.saturating_add(EPOCH_2000)))),
        WireType::NUMERIC => numeric(bytes).map(number),
        WireType::INTERVAL => interval(bytes).map(text),
        _ if LISTS.contains(kind) => return list(bytes)?.ok_or_else(wrong),
        _ => return Err(SqlError::unsupported(format!("parameters of the type {} are not supported", kind.name()))),
    };
    read.ok_or_else(wrong)
}

/// An array of values.
fn list(bytes: &Bytes) -> Result<Option<Expr>, SqlError> {
    let Some((kind, items)) = array::from_binary(bytes) else { return Ok(None) };
    let Some(kind) = WireType::from_oid(kind) else { return Ok(None) };
    let items: Result<Vec<Expr>, SqlError> =
        items.iter().flatten().map(|item| value(Some(item), &kind, FieldFormat::Binary)).collect();
    Ok(Some(Expr::Array(Array { elem: items?, named: true })))
}

/// Microseconds, days and months.
fn interval(bytes: &[u8]) -> Option<String> {
    let (micros, rest) = bytes.split_first_chunk::<8>()?;
    let (days, months) = rest.split_first_chunk::<4>()?;
    let months = i32::from_be_bytes(months.try_into().ok()?);
    let micros =
        i64::from(i32::from_be_bytes(*days)).checked_mul(86_400_000_000)?.checked_add(i64::from_be_bytes(*micros))?;
    Some(format!("{months} months {micros} us"))
}

fn float(value: f64) -> Option<Expr> {
    value.is_finite().then(|| number(format!("{value:?}")))
}

/// PostgreSQL's binary decimals.
fn numeric(bytes: &[u8]) -> Option<String> {
    let shorts: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
    let (&[count, weight, sign, scale], digits) = shorts.split_first_chunk::<4>()?;
    let (weight, scale) = (i32::from(weight), u8::try_from(scale).ok()?);
    if usize::try_from(count).ok()? != digits.len() || ![0, 0x4000].contains(&sign) {
        return None;
    }
    let mut unscaled: i128 = 0;
    for (place, &digit) in (0..).zip(digits) {
        // The place of the group's last digit, seen from that of the whole's.
        let exponent = (weight - place) * 4 + i32::from(scale);
        let digit = i128::from(digit);
        let part = match u32::try_from(exponent) {
            Ok(exponent) => digit.checked_mul(10_i128.checked_pow(exponent)?)?,
            Err(_) => digit / 10_i128.checked_pow(exponent.unsigned_abs())?,
        };
        unscaled = unscaled.checked_add(part)?;
    }
    Some(decimal_text(if sign == 0 { unscaled } else { -unscaled }, scale))
}
