//! Expressions over rows of catalogs.
use std::cmp::Ordering;

use regex::Regex;
use sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Subscript, UnaryOperator, Value as Literal,
};

use super::functions;
use super::select::{Evaluator, Scope, Source};
use super::value::{Value, and, any, is_like, truth};
use crate::error::SqlError;
use crate::frame::Type;
use crate::literal::as_text;

type Result<T> = std::result::Result<T, SqlError>;

impl Evaluator<'_> {
    /// The value of an expression.
    pub(super) fn value(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Value> {
        self.step()?;
        let of = |expr: &Expr| self.value(expr, scope);
        let is = |expr: &Expr| Ok::<_, SqlError>(of(expr)?.bool());
        Ok(match expr {
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } | Expr::AtTimeZone { timestamp: inner, .. } => {
                of(inner)?
            }
            Expr::Identifier(ident) => column(scope, None, &ident.value),
            Expr::CompoundIdentifier(idents) => match &idents[..] {
                [.., table, name] => column(scope, Some(&table.value), &name.value),
                _ => Value::Null,
            },
            Expr::Value(literal) => self.literal(&literal.value, expr)?,
            Expr::Cast { expr: inner, data_type, .. } => self.cast(of(inner)?, data_type)?,
            Expr::TypedString(typed) => {
                let text = typed.value.value.clone().into_string().map_or(Value::Null, Value::Text);
                self.cast(text, &typed.data_type)?
            }
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, scope)?,
            Expr::UnaryOp { op, expr: inner } => match (op, of(inner)?) {
                (UnaryOperator::Not, value) => truth(value.bool().map(|is| !is)),
                (UnaryOperator::Minus, Value::Int(value)) => Value::Int(-value),
                (UnaryOperator::Minus, Value::Float(value)) => Value::Float(-value),
                (_, value) => value,
            },
            Expr::Case { operand, conditions, else_result, .. } => {
                let operand = operand.as_ref().map(|operand| of(operand)).transpose()?;
                for when in conditions {
                    let met = match &operand {
                        Some(operand) => operand.equals(&of(&when.condition)?),
                        None => is(&when.condition)?,
                    };
                    if met == Some(true) {
                        return of(&when.result);
                    }
                }
                else_result.as_ref().map_or(Ok(Value::Null), |result| of(result))?
            }
            Expr::Array(array) => Value::List(array.elem.iter().map(of).collect::<Result<_>>()?),
            Expr::Tuple(items) => Value::List(items.iter().map(of).collect::<Result<_>>()?),
            Expr::CompoundFieldAccess { root, access_chain } => {
                access_chain.iter().try_fold(of(root)?, |value, access| self.element(&value, access, scope))?
            }
            Expr::Substring { expr: inner, substring_from, substring_for, .. } => {
                let number = |given: &Option<Box<Expr>>| given.as_ref().map(|expr| of(expr)).transpose();
                let mut values = vec![of(inner)?];
                values.extend(number(substring_from)?);
                values.extend(number(substring_for)?);
                functions::call("substring", &values, self.world)?
            }
            Expr::Position { expr: part, r#in: whole } => {
                functions::call("strpos", &[of(whole)?, of(part)?], self.world)?
            }
            Expr::Trim { expr: inner, .. } => functions::call("btrim", &[of(inner)?], self.world)?,
            Expr::Function(function) => self.call(function, scope)?,
            other => self.condition(other, scope)?,
        })
    }

    /// What is written out: a number, a truth, a text (`expr` is the whole of it), or the place of a parameter.
    fn literal(&self, literal: &Literal, expr: &Expr) -> Result<Value> {
        Ok(match literal {
            Literal::Number(digits, _) => {
                digits.parse().map(Value::Int).unwrap_or_else(|_| digits.parse().map_or(Value::Null, Value::Float))
            }
            Literal::Boolean(value) => Value::Bool(*value),
            Literal::Placeholder(name) => {
                let place = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                let bound = place.and_then(|place| self.parameters.get(place.checked_sub(1)?));
                bound.map_or(Ok(Value::Null), |bound| self.value(bound, &Scope::nothing(None)))?
            }
            _ => as_text(expr).map_or(Value::Null, Value::of),
        })
    }

    /// An element of an array, counted from 1; null where there is none.
    fn element(&self, array: &Value, access: &AccessExpr, scope: &Scope<'_>) -> Result<Value> {
        let AccessExpr::Subscript(Subscript::Index { index }) = access else { return Ok(Value::Null) };
        let place = self.value(index, scope)?.int().and_then(|place| usize::try_from(place).ok()?.checked_sub(1));
        Ok(place.and_then(|place| array.list()?.get(place).cloned()).unwrap_or(Value::Null))
    }

    /// Whether something is so; null for any other expression.
    fn condition(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Value> {
        let of = |expr: &Expr| self.value(expr, scope);
        let is = |expr: &Expr| Ok::<_, SqlError>(of(expr)?.bool());
        Ok(match expr {
            Expr::IsNull(inner) => Value::Bool(of(inner)?.is_null()),
            Expr::IsNotNull(inner) => Value::Bool(!of(inner)?.is_null()),
            Expr::IsTrue(inner) => Value::Bool(is(inner)? == Some(true)),
            Expr::IsNotTrue(inner) => Value::Bool(is(inner)? != Some(true)),
            Expr::IsFalse(inner) => Value::Bool(is(inner)? == Some(false)),
            Expr::IsNotFalse(inner) => Value::Bool(is(inner)? != Some(false)),
            Expr::IsDistinctFrom(a, b) => Value::Bool(!is_same(&of(a)?, &of(b)?)),
            Expr::IsNotDistinctFrom(a, b) => Value::Bool(is_same(&of(a)?, &of(b)?)),
            Expr::InList { expr: inner, list, negated } => {
                let value = of(inner)?;
                let list: Vec<Value> = list.iter().map(of).collect::<Result<_>>()?;
                truth(any(list.iter().map(|item| value.equals(item))).map(|is| is != *negated))
            }
            Expr::InSubquery { expr: inner, subquery, negated } => {
                let (value, answer) = (of(inner)?, self.query(subquery, Some(scope))?);
                let row =
                    |row: Vec<Value>| if row.len() == 1 { row.into_iter().next() } else { Some(Value::List(row)) };
                let rows = answer.rows.into_iter().filter_map(row);
                truth(any(rows.map(|row| value.equals(&row))).map(|is| is != *negated))
            }
            Expr::Exists { subquery, negated } => {
                Value::Bool(self.query(subquery, Some(scope))?.rows.is_empty() == *negated)
            }
            Expr::Subquery(query) => {
                let first = self.query(query, Some(scope))?.rows.into_iter().next();
                first.and_then(|row| row.into_iter().next()).unwrap_or(Value::Null)
            }
            Expr::Between { expr: inner, negated, low, high } => {
                let (value, low, high) = (of(inner)?, of(low)?, of(high)?);
                let within = and(value.compare(&low).map(Ordering::is_ge), value.compare(&high).map(Ordering::is_le));
                truth(within.map(|is| is != *negated))
            }
            Expr::Like { negated, expr: inner, pattern, escape_char, .. } => {
                let escape = escape_char
                    .as_ref()
                    .map_or(Some('\\'), |given| given.value.clone().into_string().and_then(|text| text.chars().next()));
                like(&of(inner)?, &of(pattern)?, escape, *negated)
            }
            Expr::ILike { negated, expr: inner, pattern, .. } => {
                let low = |value: Value| value.text().map_or(Value::Null, |text| Value::Text(text.to_lowercase()));
                like(&low(of(inner)?), &low(of(pattern)?), Some('\\'), *negated)
            }
            Expr::AnyOp { left, compare_op, right, .. } => {
                let value = of(left)?;
                let list = self.list(right, scope)?;
                match list {
                    None => Value::Null,
                    Some(list) => truth(any(list.iter().map(|item| self.compare(&value, compare_op, item).bool()))),
                }
            }
            Expr::AllOp { left, compare_op, right } => {
                let value = of(left)?;
                let found = |list: Vec<Value>| {
                    any(list.iter().map(|item| self.compare(&value, compare_op, item).bool().map(|is| !is)))
                };
                self.list(right, scope)?.map_or(Value::Null, |list| truth(found(list).map(|is| !is)))
            }
            _ => Value::Null,
        })
    }

    /// The items that ANY and ALL are about.
    fn list(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Option<Vec<Value>>> {
        match expr {
            Expr::Nested(inner) => self.list(inner, scope),
            Expr::Subquery(query) => {
                let rows = self.query(query, Some(scope))?.rows.into_iter();
                Ok(Some(rows.filter_map(|row| row.into_iter().next()).collect()))
            }
            other => Ok(self.value(other, scope)?.list()),
        }
    }

    fn call(&self, function: &Function, scope: &Scope<'_>) -> Result<Value> {
        let name = super::split(&function.name).1;
        if function.over.is_some() {
            let number = scope.windows.and_then(|(found, place)| found.get(&function.to_string())?.get(place).copied());
            return Ok(number.map_or(Value::Null, Value::Int));
        }
        let arguments = match &function.args {
            FunctionArguments::None => Vec::new(),
            FunctionArguments::Subquery(query) => {
                let rows = self.query(query, Some(scope))?.rows.into_iter();
                return Ok(Value::List(rows.filter_map(|row| row.into_iter().next()).collect()));
            }
            FunctionArguments::List(list) => list.args.iter().filter_map(argument).collect(),
        };
        if let Some(group) = scope.group.filter(|_| functions::is_aggregate(&name)) {
            let mut rows = Vec::with_capacity(group.len());
            for tuple in group {
                let within = Scope { tuple, group: None, ..*scope };
                if let Some(filter) = &function.filter
                    && self.value(filter, &within)?.bool() != Some(true)
                {
                    continue;
                }
                rows.push(arguments.iter().map(|expr| self.value(expr, &within)).collect::<Result<Vec<Value>>>()?);
            }
            return Ok(functions::aggregate(&name, rows));
        }
        if name == "coalesce" {
            for expr in arguments {
                let value = self.value(expr, scope)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            return Ok(Value::Null);
        }
        let values: Vec<Value> = arguments.iter().map(|expr| self.value(expr, scope)).collect::<Result<_>>()?;
        functions::call(&name, &values, self.world)
    }

    fn binary(&self, left: &Expr, op: &BinaryOperator, right: &Expr, scope: &Scope<'_>) -> Result<Value> {
        use BinaryOperator as B;
        let a = self.value(left, scope)?;
        match (op, a.bool()) {
            (B::And, Some(false)) => return Ok(Value::Bool(false)),
            (B::Or, Some(true)) => return Ok(Value::Bool(true)),
            _ => {}
        }
        let b = self.value(right, scope)?;
        Ok(match op {
            B::And => truth(and(a.bool(), b.bool())),
            B::Or => truth(any([a.bool(), b.bool()].into_iter())),
            _ => self.compare(&a, op, &b),
        })
    }

    /// What an operator makes of two values.
    fn compare(&self, a: &Value, op: &BinaryOperator, b: &Value) -> Value {
        use BinaryOperator as B;
        if a.is_null() || b.is_null() {
            return Value::Null;
        }
        let order = |is: fn(Ordering) -> bool| truth(a.compare(b).map(is));
        let matches = |folded: bool, negated: bool| {
            let found = a.text().zip(b.text()).and_then(|(text, pattern)| self.matches(&pattern, &text, folded));
            truth(found.map(|is| is != negated))
        };
        match op {
            B::Eq => order(Ordering::is_eq),
            B::NotEq => order(Ordering::is_ne),
            B::Lt => order(Ordering::is_lt),
            B::LtEq => order(Ordering::is_le),
            B::Gt => order(Ordering::is_gt),
            B::GtEq => order(Ordering::is_ge),
            B::StringConcat => match (a, b) {
                (Value::List(a), Value::List(b)) => Value::List(a.iter().chain(b).cloned().collect()),
                _ => a.text().zip(b.text()).map_or(Value::Null, |(a, b)| Value::Text(a + &b)),
            },
            B::PGRegexMatch => matches(false, false),
            B::PGRegexIMatch => matches(true, false),
            B::PGRegexNotMatch => matches(false, true),
            B::PGRegexNotIMatch => matches(true, true),
            B::PGLikeMatch => like(a, b, Some('\\'), false),
            B::PGNotLikeMatch => like(a, b, Some('\\'), true),
            B::PGCustomBinaryOperator(named) => match named.last().map(String::as_str) {
                Some("~") => matches(false, false),
                Some("~*") => matches(true, false),
                Some("!~") => matches(false, true),
                Some("!~*") => matches(true, true),
                Some("~~") => like(a, b, Some('\\'), false),
                Some("!~~") => like(a, b, Some('\\'), true),
                Some("=") => order(Ordering::is_eq),
                Some("<>" | "!=") => order(Ordering::is_ne),
                _ => Value::Null,
            },
            _ => arithmetic(a, op, b),
        }
    }

    /// Whether a text matches a regular expression; `None` if that is none.
    pub(super) fn matches(&self, pattern: &str, text: &str, folded: bool) -> Option<bool> {
        let pattern = if folded { format!("(?i){pattern}") } else { pattern.to_owned() };
        let mut known = self.patterns.borrow_mut();
        let made = known.entry(pattern).or_insert_with_key(|pattern| Regex::new(pattern).ok());
        made.as_ref().map(|pattern| pattern.is_match(text))
    }

    fn cast(&self, value: Value, to: &DataType) -> Result<Value> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        let known = |int: Option<i64>| int.map_or(Value::Null, Value::Int);
        Ok(match kind_of(to) {
            Cast::Kind(Type::Int) => known(value.int()),
            Cast::Kind(Type::Float) => value.float().map_or(Value::Null, Value::Float),
            Cast::Kind(Type::Bool) => truth(value.bool()),
            Cast::Kind(_) => value.text().map_or(Value::Null, Value::Text),
            Cast::List => value.list().map_or(Value::Null, Value::List),
            Cast::Class => match value.int() {
                Some(oid) => Value::Named(oid, self.world.class_name(oid).unwrap_or_else(|| oid.to_string())),
                None => functions::to_regclass(&value, self.world),
            },
            Cast::Type => match value.int() {
                Some(oid) => Value::Named(oid, functions::format_type(oid, -1)),
                None => functions::to_regtype(&value),
            },
            Cast::Same => value,
        })
    }
}

/// What a cast makes.
pub(super) enum Cast {
    Kind(Type),
    List,
    /// The number of a table, shown by its name.
    Class,
    Type,
    /// What is not known here stays as it is.
    Same,
}

pub(super) fn kind_of(to: &DataType) -> Cast {
    let named = to.to_string().to_lowercase();
    let named = named.strip_prefix("pg_catalog.").unwrap_or(&named).trim_matches('"');
    match to {
        DataType::Array(ArrayElemTypeDef::SquareBracket(..) | ArrayElemTypeDef::AngleBracket(_)) => Cast::List,
        _ => match named.split('(').next().unwrap_or(named).trim_end() {
            "int" | "int2" | "int4" | "int8" | "integer" | "smallint" | "bigint" | "oid" | "xid" => {
                Cast::Kind(Type::Int)
            }
            "float" | "float4" | "float8" | "real" | "double precision" | "numeric" | "decimal" => {
                Cast::Kind(Type::Float)
            }
            "bool" | "boolean" => Cast::Kind(Type::Bool),
            "text" | "name" | "varchar" | "character varying" | "char" | "character" | "bpchar" => {
                Cast::Kind(Type::Text)
            }
            "regclass" => Cast::Class,
            "regtype" => Cast::Type,
            _ => Cast::Same,
        },
    }
}

/// The source and column of a name, and its type: here, else in the query around.
pub(super) fn place<'s>(
    scope: &Scope<'s>,
    table: Option<&str>,
    name: &str,
) -> Option<(Scope<'s>, (usize, usize), Type)> {
    let of = |(at, source): (usize, &Source)| {
        let is_meant = table.is_none_or(|table| source.alias == table);
        let found = source.columns.iter().position(|(known, _)| is_meant && known == name)?;
        Some((at, found, source.columns[found].1))
    };
    match scope.sources.iter().enumerate().find_map(of) {
        Some((source, column, kind)) => Some((*scope, (source, column), kind)),
        None => place(scope.around?, table, name),
    }
}

/// The value of a column; null if nothing of it is known.
fn column(scope: &Scope<'_>, table: Option<&str>, name: &str) -> Value {
    let found = place(scope, table, name);
    let cell = found.and_then(|(scope, (source, column), _)| scope.tuple.get(source)?.get(column).cloned());
    cell.unwrap_or(Value::Null)
}

pub(super) fn argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn is_same(a: &Value, b: &Value) -> bool {
    a.equals(b).unwrap_or(a.is_null() && b.is_null())
}

fn like(value: &Value, pattern: &Value, escape: Option<char>, negated: bool) -> Value {
    let both = value.text().zip(pattern.text());
    truth(both.map(|(text, pattern)| is_like(&pattern, &text, escape) != negated))
}

fn arithmetic(a: &Value, op: &BinaryOperator, b: &Value) -> Value {
    use BinaryOperator as B;
    if let (Value::Float(_), _) | (_, Value::Float(_)) = (a, b) {
        let Some((a, b)) = a.float().zip(b.float()) else { return Value::Null };
        return match op {
            B::Plus => Value::Float(a + b),
            B::Minus => Value::Float(a - b),
            B::Multiply => Value::Float(a * b),
            B::Divide if b != 0.0 => Value::Float(a / b),
            _ => Value::Null,
        };
    }
    let Some((a, b)) = a.int().zip(b.int()) else { return Value::Null };
    let found = match op {
        B::Plus => a.checked_add(b),
        B::Minus => a.checked_sub(b),
        B::Multiply => a.checked_mul(b),
        B::Divide => a.checked_div(b),
        B::Modulo => a.checked_rem(b),
        B::BitwiseAnd => Some(a & b),
        B::BitwiseOr => Some(a | b),
        B::PGBitwiseShiftRight => u32::try_from(b).ok().and_then(|b| a.checked_shr(b)),
        B::PGBitwiseShiftLeft => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)),
        _ => None,
    };
    found.map_or(Value::Null, Value::Int)
}
