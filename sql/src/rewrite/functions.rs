//! Functions of PostgreSQL and TimescaleDB in the engine's words.
use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::{epoch, parts};
use crate::error::SqlError;
use crate::literal::{as_interval, as_moment, as_text, moment, parse, text};
use crate::session::{Facts, unknown_setting};
use crate::time::{self, Interval};

/// Where buckets of whole weeks begin: Monday, 2000-01-03.
const MONDAY: i64 = 946_857_600_000_000;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The arguments that are expressions.
pub fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let expression = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().filter_map(expression).collect()
}

/// What stands for a call; `None` if the engine knows it as it is.
pub fn replacement(function: &Function, facts: &Facts) -> Result<Option<Expr>, SqlError> {
    let called = parts(&function.name).last().map_or(String::new(), |part| part.to_lowercase());
    let arguments = arguments(function);
    Ok(Some(match (called.as_str(), &arguments[..]) {
        (
            "now"
            | "current_timestamp"
            | "localtimestamp"
            | "transaction_timestamp"
            | "statement_timestamp"
            | "clock_timestamp",
            _,
        ) => moment(facts.now),
        ("current_date", _) => parse(&format!("CAST('{}' AS DATE)", time::day(facts.now)))?,
        ("version", []) => text(facts.version()),
        ("current_database" | "current_catalog", []) => text(facts.database.clone()),
        ("current_schema", []) => text("public"),
        ("current_user" | "session_user" | "user" | "current_role", []) => text(facts.user.clone()),
        ("pg_backend_pid", []) => parse("1")?,
        ("pg_is_in_recovery", []) => parse("FALSE")?,
        (
            "has_schema_privilege"
            | "has_table_privilege"
            | "has_database_privilege"
            | "pg_table_is_visible"
            | "has_column_privilege",
            _,
        ) => parse("TRUE")?,
        ("quote_ident", [expr]) => (*expr).clone(),
        ("current_setting", [setting, rest @ ..]) => {
            let setting = as_text(setting).unwrap_or_default();
            match facts.setting(setting) {
                Some(value) => text(value),
                None if !rest.is_empty() => parse("NULL")?,
                None => return Err(unknown_setting(setting)),
            }
        }
        ("date_trunc", [unit, expr, rest @ ..]) => {
            if rest.first().and_then(|zone| as_text(zone)).is_some_and(|zone| !zone.eq_ignore_ascii_case("utc")) {
                return Err(SqlError::unsupported("times are in UTC; date_trunc cannot use another zone"));
            }
            truncate(as_text(unit).unwrap_or_default(), expr)?
        }
        ("time_bucket" | "time_bucket_gapfill", [width, expr, rest @ ..]) => {
            let origin = rest.first().and_then(|origin| as_moment(origin).or_else(|| time::moment(as_text(origin)?)));
            bucket(width, expr, origin.unwrap_or(MONDAY))?
        }
        ("date_bin", [width, expr, origin]) => {
            let origin = as_moment(origin).or_else(|| time::moment(as_text(origin)?));
            let error = || SqlError::unsupported("the origin of date_bin must be a constant");
            bucket(width, expr, origin.ok_or_else(error)?)?
        }
        ("date_part", [part, expr]) if as_text(part).is_some_and(|part| part.eq_ignore_ascii_case("epoch")) => {
            epoch(expr)?
        }
        ("to_timestamp", [seconds]) => {
            parse(&format!("CAST(CAST(ROUND(({seconds}) * 1000000.0) AS BIGINT) AS TIMESTAMP)"))?
        }
        ("to_timestamp", [text, _format]) => {
            let given = as_text(text).unwrap_or_default();
            let unknown = || {
                SqlError::unsupported(format!("to_timestamp cannot read {text}"))
                    .hint("Write it like 2026-01-31 12:00:00.")
            };
            moment(time::moment(given).ok_or_else(unknown)?)
        }
        ("to_date", [text, _format]) => {
            let given = as_text(text).unwrap_or_default();
            let unknown =
                || SqlError::unsupported(format!("to_date cannot read {text}")).hint("Write it like 2026-01-31.");
            parse(&format!("CAST('{}' AS DATE)", time::day(time::moment(given).ok_or_else(unknown)?)))?
        }
        ("to_char", [expr, format]) => {
            let format = as_text(format).unwrap_or_default();
            parse(&format!("STRFTIME({expr}, {})", text(pattern(format)?)))?
        }
        ("percentile_cont" | "percentile_disc", [fraction]) => {
            let [key] = &function.within_group[..] else { return Ok(None) };
            let named = if called == "percentile_cont" { "QUANTILE_CONT" } else { "QUANTILE_DISC" };
            let filter = function.filter.as_ref().map_or(String::new(), |filter| format!(" FILTER (WHERE {filter})"));
            parse(&format!("{named}({}, {fraction}){filter}", key.expr))?
        }
        _ => return Ok(None),
    }))
}

/// The start of the grid cell of a width that holds a moment.
fn grid(expr: &Expr, width: i64, origin: i64) -> Result<Expr, SqlError> {
    match as_moment(expr) {
        Some(at) => Ok(moment((at - origin).div_euclid(width) * width + origin)),
        None => parse(&format!(
            "CAST(((CAST({expr} AS BIGINT) - ({origin})) // {width}) * {width} + ({origin}) AS TIMESTAMP)"
        )),
    }
}

fn truncate(unit: &str, expr: &Expr) -> Result<Expr, SqlError> {
    let unit = unit.to_ascii_lowercase();
    let first_of =
        |format: &str| format!("CAST(CAST(STRFTIME(CAST({expr} AS TIMESTAMP), '{format}') AS DATE) AS TIMESTAMP)");
    match unit.strip_suffix('s').unwrap_or(&unit) {
        "microsecond" => grid(expr, 1, 0),
        "millisecond" => grid(expr, SECOND / 1_000, 0),
        "second" => grid(expr, SECOND, 0),
        "minute" => grid(expr, 60 * SECOND, 0),
        "hour" => grid(expr, 3_600 * SECOND, 0),
        "day" => grid(expr, DAY, 0),
        "week" => grid(expr, 7 * DAY, MONDAY),
        "month" => parse(&first_of("%Y-%m-01")),
        "year" => parse(&first_of("%Y-01-01")),
        "quarter" => {
            let [a, b, c, d] = ["%Y-01-01", "%Y-04-01", "%Y-07-01", "%Y-10-01"].map(first_of);
            let month = format!("EXTRACT(MONTH FROM CAST({expr} AS TIMESTAMP))");
            parse(&format!(
                "CASE WHEN {month} < 4 THEN {a} WHEN {month} < 7 THEN {b} WHEN {month} < 10 THEN {c} ELSE {d} END"
            ))
        }
        _ => Err(SqlError::new("22023", format!("unit \"{unit}\" not recognized for date_trunc"))
            .hint("The units are second, minute, hour, day, week, month, quarter and year.")),
    }
}

fn bucket(width: &Expr, expr: &Expr, origin: i64) -> Result<Expr, SqlError> {
    let interval = as_interval(width).or_else(|| Interval::parse(as_text(width)?));
    match interval {
        Some(Interval { months: 0, micros }) if micros > 0 => grid(expr, micros, origin),
        Some(Interval { months: 1, micros: 0 }) => truncate("month", expr),
        Some(Interval { months: 3, micros: 0 }) => truncate("quarter", expr),
        Some(Interval { months: 12, micros: 0 }) => truncate("year", expr),
        _ => Err(SqlError::new("22023", format!("{width} is no width of buckets"))
            .hint("Write it like '5 minutes', '1 day' or '1 month'.")),
    }
}

/// A pattern of `to_char` as one of `strftime`.
fn pattern(format: &str) -> Result<String, SqlError> {
    const PARTS: [(&str, &str); 16] = [
        ("YYYY", "%Y"),
        ("HH24", "%H"),
        ("HH12", "%I"),
        ("Month", "%B"),
        ("Mon", "%b"),
        ("Day", "%A"),
        ("Dy", "%a"),
        ("DDD", "%j"),
        ("IW", "%V"),
        ("MM", "%m"),
        ("DD", "%d"),
        ("MI", "%M"),
        ("SS", "%S"),
        ("US", "%6f"),
        ("MS", "%3f"),
        ("AM", "%p"),
    ];
    let mut out = String::new();
    let mut rest = format;
    while let Some(letter) = rest.chars().next() {
        if let Some((from, to)) = PARTS.iter().find(|(from, _)| rest.starts_with(from)) {
            out.push_str(to);
            rest = &rest[from.len()..];
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (literal, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            out.push_str(&literal.replace('%', "%%"));
            rest = after;
        } else if letter.is_ascii_alphabetic() && letter != 'T' {
            return Err(SqlError::unsupported(format!("to_char does not know \"{letter}\" in \"{format}\"")));
        } else {
            out.push_str(if letter == '%' { "%%" } else { &rest[..letter.len_utf8()] });
            rest = &rest[letter.len_utf8()..];
        }
    }
    Ok(out)
}
