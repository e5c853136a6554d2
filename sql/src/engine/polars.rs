//! The engine: Polars' SQL over data frames. Moments are naive there, and in UTC; no other crate's names leave this file.
use polars::prelude::*;
use polars::sql::SQLContext;
use seam_serving::query::nearest;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::error::{SqlError, state};
use crate::frame::{Cells, Column as FrameColumn, Frame};

/// The widest decimals.
const PRECISION: usize = 38;

/// Polars' SQL.
#[derive(Debug, Clone, Copy, Default)]
pub struct Polars;

impl Engine for Polars {
    /// Polars looks at no token in the middle of its work: whoever must be able to end it runs it in a process.
    fn run(&self, query: &str, tables: Vec<(String, Frame)>, _: &CancellationToken) -> Result<Frame, SqlError> {
        let mut context = SQLContext::new();
        let mut known: Vec<String> = Vec::new();
        let had_infinite = tables.iter().any(|(_, frame)| has_infinite(frame));
        for (name, frame) in tables {
            known.extend(frame.0.iter().map(|column| column.name.clone()));
            context.register(&name, to_polars(frame).map_err(|error| sql_error(&error, &[]))?.lazy());
        }
        let told = |error: PolarsError| sql_error(&error, &known);
        // What the engine does not foresee ends it with a panic.
        let work = || context.execute(query).and_then(|lazy| lazy.collect());
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|_| {
            SqlError::unsupported("the engine cannot do this, perhaps because it compares decimals")
                .hint("Cast decimals: CAST(x AS DOUBLE PRECISION).")
        })?;
        let frame = from_polars(&answer.map_err(told)?)?;
        // Where PostgreSQL divides by zero it says so; the engine goes on with infinity.
        if query.contains(['/', '%']) && !had_infinite && has_infinite(&frame) {
            return Err(SqlError::new(state::BY_ZERO, "division by zero").hint("Divide by NULLIF(x, 0): that is null."));
        }
        Ok(frame)
    }
}

/// Whether there is infinity, or what is no number.
fn has_infinite(frame: &Frame) -> bool {
    let is_infinite = |cell: &Option<f64>| cell.is_some_and(|value| !value.is_finite());
    frame.0.iter().any(|column| matches!(&column.cells, Cells::Float(cells) if cells.iter().any(is_infinite)))
}

fn to_polars(frame: Frame) -> PolarsResult<DataFrame> {
    let rows = frame.rows();
    let columns: PolarsResult<Vec<Column>> = frame.0.into_iter().map(to_column).collect();
    DataFrame::new(rows, columns?)
}

fn to_column(column: FrameColumn) -> PolarsResult<Column> {
    let name = PlSmallStr::from_string(column.name);
    let series = match column.cells {
        Cells::Int(cells) => Int64Chunked::from_iter_options(name, cells.into_iter()).into_series(),
        Cells::Float(cells) => Float64Chunked::from_iter_options(name, cells.into_iter()).into_series(),
        Cells::Decimal(cells, scale) => {
            let unscaled = Int128Chunked::from_iter_options(name, cells.into_iter());
            unscaled.into_decimal(PRECISION, usize::from(scale))?.into_series()
        }
        Cells::Bool(cells) => BooleanChunked::from_iter_options(name, cells.into_iter()).into_series(),
        Cells::Text(cells) => StringChunked::from_iter_options(name, cells.into_iter()).into_series(),
        Cells::Coded(codes, values) => {
            let values = StringChunked::from_iter_options(name, values.into_iter()).into_series();
            values.take(&IdxCa::from_vec(PlSmallStr::EMPTY, codes))?
        }
        Cells::Time(cells) => Int64Chunked::from_iter_options(name, cells.into_iter())
            .into_datetime(TimeUnit::Microseconds, None)
            .into_series(),
        Cells::Date(cells) => Int32Chunked::from_iter_options(name, cells.into_iter()).into_date().into_series(),
    };
    Ok(series.into_column())
}

fn from_polars(frame: &DataFrame) -> Result<Frame, SqlError> {
    let column = |column: &Column| -> Result<FrameColumn, SqlError> {
        let name = column.name().to_string();
        let cells = from_column(column).map_err(|error| match error {
            PolarsError::InvalidOperation(what) => SqlError::unsupported(what.to_string()),
            error => sql_error(&error, &[]),
        })?;
        Ok(FrameColumn { name, cells })
    };
    frame.columns().iter().map(column).collect::<Result<Vec<_>, _>>().map(Frame)
}

fn from_column(column: &Column) -> PolarsResult<Cells> {
    let series = column.as_materialized_series();
    Ok(match series.dtype() {
        DataType::Boolean => Cells::Bool(series.bool()?.iter().collect()),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => Cells::Int(series.strict_cast(&DataType::Int64)?.i64()?.iter().collect()),
        DataType::Int128 => Cells::Decimal(series.i128()?.iter().collect(), 0),
        DataType::Float32 | DataType::Float64 => Cells::Float(series.cast(&DataType::Float64)?.f64()?.iter().collect()),
        DataType::Decimal(_, scale) => {
            let scale = u8::try_from(*scale).unwrap_or(u8::MAX);
            Cells::Decimal(series.decimal()?.physical().iter().collect(), scale)
        }
        DataType::String => Cells::Text(series.str()?.iter().map(|text| text.map(str::to_owned)).collect()),
        DataType::Datetime(..) => {
            let micros = series.cast(&DataType::Datetime(TimeUnit::Microseconds, None))?;
            Cells::Time(micros.datetime()?.physical().iter().collect())
        }
        DataType::Date => Cells::Date(series.date()?.physical().iter().collect()),
        DataType::Duration(_) => {
            let micros = series.cast(&DataType::Duration(TimeUnit::Microseconds))?;
            Cells::Text(micros.duration()?.physical().iter().map(|micros| micros.map(duration_text)).collect())
        }
        DataType::Null => Cells::Text(vec![None; series.len()]),
        DataType::Categorical(..) | DataType::Enum(..) | DataType::Time => {
            let text = series.cast(&DataType::String)?;
            Cells::Text(text.str()?.iter().map(|text| text.map(str::to_owned)).collect())
        }
        other => {
            polars_bail!(InvalidOperation: "the column {} is of the type {other}, which clients do not know", series.name())
        }
    })
}

/// A length of time as PostgreSQL spells it.
fn duration_text(micros: i64) -> String {
    let (sign, micros) = if micros < 0 { ("-", micros.unsigned_abs()) } else { ("", micros.unsigned_abs()) };
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

/// What Polars says, in the terms of PostgreSQL.
fn sql_error(error: &PolarsError, columns: &[String]) -> SqlError {
    let whole = error.to_string();
    let message = whole.lines().next().unwrap_or_default().trim();
    let named = message.split(['"', '\'', '`']).nth(1).unwrap_or(message);
    let known = || columns.iter().map(String::as_str).filter(|column| *column != named);
    match error {
        PolarsError::Context { error, .. } => sql_error(error, columns),
        PolarsError::ColumnNotFound(_) | PolarsError::SchemaFieldNotFound(_) => no_column(named, known()),
        PolarsError::SQLInterface(_) | PolarsError::SQLSyntax(_) => {
            let code = match message {
                _ if message.contains("unsupported function") => state::NO_FUNCTION,
                _ if message.contains("ambiguous") => state::AMBIGUOUS,
                _ if message.contains("GROUP BY clause") => state::GROUPING,
                _ if message.contains("unable to find column") || message.contains("no column named") => {
                    return no_column(named, known());
                }
                _ => state::NOT_SUPPORTED,
            };
            let shown = match message {
                // The engine shows how it stores what it cannot do.
                _ if message.contains("Span(Location") => {
                    "a query within an expression is not supported; put it in WITH or FROM"
                }
                _ => message.split_once(':').map_or(message, |(_, what)| what.trim()),
            };
            SqlError::new(code, shown)
        }
        PolarsError::Duplicate(_) => SqlError::new(state::AMBIGUOUS, message),
        PolarsError::SchemaMismatch(_) | PolarsError::InvalidOperation(_) => SqlError::new(state::TYPES, message),
        PolarsError::ComputeError(_) | PolarsError::OutOfBounds(_) | PolarsError::ShapeMismatch(_) => {
            SqlError::new(state::BAD_DATA, message)
        }
        _ => SqlError::new(state::INTERNAL, message),
    }
}

fn no_column<'a>(named: &str, known: impl Iterator<Item = &'a str>) -> SqlError {
    SqlError::new(state::NO_COLUMN, format!("column \"{named}\" does not exist")).did_you_mean(nearest(named, known))
}
