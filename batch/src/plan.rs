//! View -> Polars plan -> canonical rows: the batch layer's half of "one definition, compiled to both layers".
//!
//! Three steps. *Excerpt*: the parts of an archive file that the view needs, verified, with codes in the place of texts. *Scan*: a
//! lazy plan reads them, filters by verdict, time and `where:`. *Fold*: what Polars decoded goes column by column into tables of
//! groups (`fold`), by the algebra that the speed layer folds with. Nothing here rounds, and nothing depends on the order of events.
mod dictionary;
mod excerpt;
mod filter;
mod fold;
mod index;
mod order;
mod pane;
#[cfg(test)]
pub mod tests;
mod values;
mod windows;

use polars::prelude as pl;
use polars::prelude::IntoLazy;
use seam_shared::error::{Error, Result};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;

use self::excerpt::Excerpt;
pub use self::excerpt::Input;
pub use self::fold::Fold;
pub use self::windows::{FileWindows, Numberer};

/// Panes that end in `(start, end]`, which is to say events in `[start, end)`. Both are multiples of the view's pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    /// No pane ends here or before.
    pub start: Timestamp,
    /// The last pane's end.
    pub end: Timestamp,
}

/// The events of the span that count for the view: `time` in microseconds, `d<i>` for each dimension, `s<i>` for what each state
/// measures, `r<i>` for whether it takes that back, and `offset` if a state or a count window goes by it.
fn scan(view: &View, input: &Input, excerpt: Excerpt, span: Slice) -> Result<pl::LazyFrame> {
    let Excerpt { bytes, coded, narrow } = excerpt;
    let mut frame = read(bytes)?;
    let at = moments(&mut frame)?;
    let time = pl::col("seam_time");
    if !input.all_within {
        frame = frame.filter(time.clone().gt_eq(at(span.start)).and(time.clone().lt(at(span.end))));
    }
    if !input.all_count {
        frame = frame.filter(pl::col("seam_verdict").eq(pl::lit("counts")));
    }
    if let Some(condition) = &view.filter {
        // a reader's statistics know nothing of NaN, which is above all numbers: such a filter must not skip row groups
        if filter::reads_floats(condition, &view.source) {
            frame = frame.collect().map_err(failed)?.lazy();
        }
        frame = frame.filter(filter::compile(condition, &view.source));
    }
    let field = |index: usize| pl::col(view.source.fields[index].name.as_str());
    let time = time.to_physical().alias("time");
    let dimensions = view.keys().iter().enumerate().map(|(i, dimension)| {
        let column = if coded[i] { pl::col(excerpt::code_name(i)) } else { field(dimension.field) };
        column.alias(dimension_name(i))
    });
    let states = view.states.iter().enumerate().filter_map(|(i, state)| {
        let column = match state.field {
            None if state.counts_events() => return None,
            None => pl::lit(1i64).cast(pl::DataType::Int64), // a plain one is a narrower integer to Polars
            Some(_) if narrow[i] => pl::col(excerpt::narrow_name(i)),
            Some(index) => field(index),
        };
        // what a state's own filter leaves out is missing from its column
        let column = match &state.filter {
            None => column,
            Some(condition) => {
                let kept = pl::when(filter::compile(condition, &view.source)).then(column).otherwise(pl::lit(pl::NULL));
                if state.field.is_none() { kept.cast(pl::DataType::Int64) } else { kept }
            }
        };
        Some(column.alias(state_name(i)))
    });
    let offset = values::needs_offsets(view).then(|| pl::col("seam_offset").alias("offset"));
    let retracted = view.states.iter().enumerate().filter_map(|(i, state)| {
        let condition = filter::compile(state.retract.as_deref()?, &view.source);
        Some(condition.fill_null(pl::lit(false)).alias(retracted_name(i)))
    });
    let columns = std::iter::once(time).chain(dimensions).chain(states).chain(retracted).chain(offset);
    Ok(frame.select(columns.collect::<Vec<_>>()))
}

/// How to write a moment so that it has the very type of the files' event time: only then do their statistics apply.
fn moments(frame: &mut pl::LazyFrame) -> Result<impl Fn(Timestamp) -> pl::Expr + use<>> {
    let schema = frame.collect_schema().map_err(failed)?;
    let moment = schema.get("seam_time").cloned();
    let Some(pl::DataType::Datetime(pl::TimeUnit::Microseconds, zone)) = moment.clone() else {
        return Err(Error::corrupt("an archive file has no event time"));
    };
    let (moment, zone) = (moment.unwrap_or(pl::DataType::Null), zone.map(std::sync::Arc::new));
    Ok(move |time: Timestamp| {
        let value = pl::AnyValue::DatetimeOwned(time.0, pl::TimeUnit::Microseconds, zone.clone());
        pl::lit(pl::Scalar::new(moment.clone(), value))
    })
}

fn read(bytes: Vec<u8>) -> Result<pl::LazyFrame> {
    let options = pl::HiveOptions { enabled: Some(false), ..Default::default() }; // Polars has no such thing for buffers
    let arguments = pl::ScanArgsParquet { hive_options: options, ..Default::default() };
    let source = pl::ScanSources::Buffers(std::iter::once(bytes.into()).collect());
    pl::LazyFrame::scan_parquet_sources(source, arguments).map_err(failed)
}

fn dimension_name(i: usize) -> String {
    format!("d{i}")
}

fn state_name(i: usize) -> String {
    format!("s{i}")
}

fn retracted_name(i: usize) -> String {
    format!("r{i}")
}

fn failed(error: pl::PolarsError) -> Error {
    Error::internal("the view's plan failed").because(error)
}
