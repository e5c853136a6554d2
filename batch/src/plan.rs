//! View -> Polars plan -> canonical rows: the batch layer's half of "one definition, compiled to both layers".
//!
//! Two steps. *Scan*: a lazy plan reads the columns the view needs, filters by verdict, time and `where:`. *Fold*: what Polars
//! decoded goes column by column into a table of groups (`fold`), by the algebra that the speed layer folds with. Nothing here
//! rounds, and nothing depends on the order of events.
mod dictionary;
mod filter;
mod fold;
mod index;
#[cfg(test)]
pub mod tests;

use bytes::Bytes;
use polars::prelude as pl;
use polars::prelude::IntoLazy;
use seam_shared::error::{Error, Result};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;

pub use self::fold::Fold;

/// Panes that end in `(start, end]`, which is to say events in `[start, end)`. Both are multiples of the view's pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    /// No pane ends here or before.
    pub start: Timestamp,
    /// The last pane's end.
    pub end: Timestamp,
}

/// A verified archive file, as Polars takes it.
#[derive(Debug)]
pub struct Input {
    source: pl::ScanSources,
    all_count: bool,
    times: Option<(Timestamp, Timestamp)>,
}

impl Input {
    /// A Parquet file; whether every row's verdict is `counts`, so that nobody need look; and the first and last event time, if known.
    pub fn new(bytes: Bytes, all_count: bool, times: Option<(Timestamp, Timestamp)>) -> Input {
        let bytes = Vec::from(bytes); // no copy: nobody else holds them
        Input { source: pl::ScanSources::Buffers(std::iter::once(bytes.into()).collect()), all_count, times }
    }
    fn lies_within(&self, span: Slice) -> bool {
        self.times.is_some_and(|(first, last)| first >= span.start && last < span.end)
    }
}

/// The events of the span that count for the view: `time` in microseconds, `d<i>` for each dimension, `s<i>` for each state's field.
fn scan(view: &View, input: &Input, span: Slice) -> Result<pl::LazyFrame> {
    let mut frame = read(input)?;
    let at = moments(&mut frame)?;
    let time = pl::col("seam_time");
    if !input.lies_within(span) {
        frame = frame.filter(time.clone().gt_eq(at(span.start)).and(time.clone().lt(at(span.end))));
    }
    if !input.all_count {
        frame = frame.filter(pl::col("seam_verdict").eq(pl::lit("counts")));
    }
    let mut after = None;
    if let Some(condition) = &view.filter {
        let expression = filter::compile(condition, &view.source);
        // a reader's statistics know nothing of NaN, which is above all numbers: such a filter must not skip row groups
        if filter::reads_floats(condition, &view.source) {
            after = Some(expression);
        } else {
            frame = frame.filter(expression);
        }
    }
    let field = |index: usize| pl::col(view.source.fields[index].name.as_str());
    let time = time.to_physical().alias("time");
    let dimensions = view.dimensions.iter().enumerate().map(|(i, d)| field(d.field).alias(dimension_name(i)));
    let states = view.states.iter().enumerate().filter_map(|(i, s)| Some(field(s.field?).alias(state_name(i))));
    let columns: Vec<pl::Expr> = std::iter::once(time).chain(dimensions).chain(states).collect();
    Ok(match after {
        None => frame.select(columns),
        Some(condition) => {
            let wanted = needed(view).into_iter().map(pl::col).collect::<Vec<_>>();
            let read = frame.select(wanted).collect().map_err(failed)?;
            read.lazy().filter(condition).select(columns)
        }
    })
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

/// The columns of the archive that the view reads.
fn needed(view: &View) -> Vec<String> {
    let mut fields: Vec<usize> =
        view.dimensions.iter().map(|d| d.field).chain(view.states.iter().filter_map(|s| s.field)).collect();
    if let Some(condition) = &view.filter {
        filter::fields(condition, &mut fields);
    }
    fields.sort_unstable();
    fields.dedup();
    let names = fields.into_iter().map(|field| view.source.fields[field].name.clone());
    std::iter::once("seam_time".to_owned()).chain(names).collect()
}

fn read(input: &Input) -> Result<pl::LazyFrame> {
    let options = pl::HiveOptions { enabled: Some(false), ..Default::default() }; // Polars has no such thing for buffers
    let arguments = pl::ScanArgsParquet { hive_options: options, ..Default::default() };
    pl::LazyFrame::scan_parquet_sources(input.source.clone(), arguments).map_err(failed)
}

fn dimension_name(i: usize) -> String {
    format!("d{i}")
}

fn state_name(i: usize) -> String {
    format!("s{i}")
}

fn failed(error: pl::PolarsError) -> Error {
    Error::internal("the view's plan failed").because(error)
}
