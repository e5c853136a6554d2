//! View -> Polars plan -> canonical rows: the batch layer's half of "one definition, compiled to both layers".
//!
//! Three steps. *Scan*: a lazy plan reads the columns the view needs, filters by verdict, time slice and `where:`, and names each
//! event's pane. *Lower*: what Polars cannot add up exactly becomes integer columns that it can (`lower`), and pane and
//! dimensions become one integer key that sorts as the canonical order does (`key`). *Group*: Polars groups by that key; the
//! sums are put together again as the algebra's states. Nothing here rounds, and nothing depends on the order of events.
mod filter;
mod key;
mod lower;
#[cfg(test)]
pub mod tests;

use bytes::Bytes;
use polars::prelude as pl;
use polars::prelude::IntoLazy;
use seam_shared::error::{Error, Result};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::{StateKind, View};
use seam_shared::view::rows::{Rows, States};

/// Panes that end in `(start, end]`, which is to say events in `[start, end)`. Both are multiples of the view's pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    /// No pane ends here or before.
    pub start: Timestamp,
    /// The last pane's end.
    pub end: Timestamp,
}

/// A verified archive file, as Polars takes it. Clones share the bytes.
#[derive(Debug, Clone)]
pub struct Input {
    source: pl::ScanSources,
    all_count: bool,
}

impl Input {
    /// A Parquet file, and whether every row's verdict is `counts`, so that nobody need look.
    pub fn new(bytes: Bytes, all_count: bool) -> Input {
        let bytes = Vec::from(bytes); // no copy: nobody else holds them
        Input { source: pl::ScanSources::Buffers(std::iter::once(bytes.into()).collect()), all_count }
    }
}

/// The canonical rows of a view's panes in `slice`, computed from archive files in one go. Memory grows with the rows of the files
/// that fall into the slice; [`crate::compute`] bounds both.
///
/// # Errors
/// `Corrupt` if a file is not of the view's source, `Internal` if Polars refuses the plan.
pub fn compute_files(view: &View, inputs: &[Input], slice: Slice) -> Result<Rows> {
    let kinds = view.kinds();
    if inputs.is_empty() {
        return Ok(Rows::empty(view.dimensions.len(), &kinds));
    }
    let events = scan(view, inputs, slice)?.collect().map_err(failed)?;
    if events.height() == 0 {
        return Ok(Rows::empty(view.dimensions.len(), &kinds));
    }
    let packed = key::pack(view, &events)?;
    let mut columns = vec![pl::Column::new("key".into(), &packed.keys)];
    let mut states = Vec::with_capacity(view.states.len());
    for (i, state) in view.states.iter().enumerate() {
        let lowered = match state.kind {
            StateKind::Count => lower::State::count(i),
            StateKind::Fixed { .. } => {
                lower::State::fixed(i, events.column(&state_name(i)).map_err(failed)?, &mut columns)?
            }
            StateKind::Float => lower::State::float(i, events.column(&state_name(i)).map_err(failed)?, &mut columns)?,
        };
        states.push(lowered);
    }
    drop(events);
    let lowered = pl::DataFrame::new_infer_height(columns).map_err(failed)?;
    let mut aggregations = vec![pl::len().alias("rows")];
    states.iter().for_each(|state| aggregations.extend(state.aggregations()));
    let by_key = |frame: pl::LazyFrame| frame.sort(["key"], pl::SortMultipleOptions::default()).collect();
    let grouped = by_key(lowered.clone().lazy().group_by([pl::col("key")]).agg(aggregations)).map_err(failed)?;
    let keys = integers(&grouped, "key")?;
    let (panes, dimensions) = packed.unpack(&keys, slice, view.pane);
    let states =
        states.iter().map(|state| state.assemble(&grouped, &lowered, &keys)).collect::<Result<Vec<States>>>()?;
    Ok(Rows { panes, dimensions, states })
}

/// The events of the slice that count for the view: `since` (the slice's start, in microseconds), `d<i>` for each dimension, `s<i>` for each
/// state's field.
fn scan(view: &View, inputs: &[Input], slice: Slice) -> Result<pl::LazyFrame> {
    let mut frame = read(inputs)?;
    let at = moments(&mut frame)?;
    let time = pl::col("seam_time");
    frame = frame.filter(time.clone().gt_eq(at(slice.start)).and(time.clone().lt(at(slice.end))));
    if !inputs.iter().all(|input| input.all_count) {
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
    let since = (time.to_physical() - pl::lit(slice.start.0)).alias("since");
    let dimensions = view.dimensions.iter().enumerate().map(|(i, d)| field(d.field).alias(dimension_name(i)));
    let states = view.states.iter().enumerate().filter_map(|(i, s)| Some(field(s.field?).alias(state_name(i))));
    let columns: Vec<pl::Expr> = std::iter::once(since).chain(dimensions).chain(states).collect();
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

fn read(inputs: &[Input]) -> Result<pl::LazyFrame> {
    let buffers = inputs.iter().flat_map(|input| match &input.source {
        pl::ScanSources::Buffers(buffers) => buffers.to_vec(),
        _ => Vec::new(), // `Input::new` makes buffers only
    });
    let buffers = buffers.collect();
    let options = pl::HiveOptions { enabled: Some(false), ..Default::default() }; // Polars has no such thing for buffers
    let arguments = pl::ScanArgsParquet { hive_options: options, ..Default::default() };
    pl::LazyFrame::scan_parquet_sources(pl::ScanSources::Buffers(buffers), arguments).map_err(failed)
}

fn dimension_name(i: usize) -> String {
    format!("d{i}")
}

fn state_name(i: usize) -> String {
    format!("s{i}")
}

fn integers(frame: &pl::DataFrame, name: &str) -> Result<Vec<i64>> {
    let column = frame.column(name).and_then(|c| c.cast(&pl::DataType::Int64)).map_err(failed)?;
    let column = column.i64().map_err(failed)?;
    Ok(column.iter().map(|v| v.unwrap_or(0)).collect())
}

fn failed(error: pl::PolarsError) -> Error {
    Error::internal("the view's plan failed").because(error)
}
