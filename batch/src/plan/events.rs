//! The events of a row group that count for a view, column by column: what they are grouped by and what they measure.
//!
//! Numbers are decoded to vectors; Polars evaluates the conditions of the view and of its states, over the fields that these mention.
use parquet::data_type::{BoolType, DoubleType};
use polars::prelude as pl;
use polars::prelude::{IntoLazy, IntoSeries, NewChunkedArray};
use seam_shared::error::{Error, Result};
use seam_shared::view::definition::{Field, View};
use seam_shared::view::value::FieldType;

use super::decode::{self, Cells, Chunk, Decimals, Spare, unread};
use super::dictionary::Dictionary;
use super::input::{Input, conditions};
use super::values::{Values, needs_offsets};
use super::{Slice, failed, filter};

/// Columns of equal length.
#[derive(Debug)]
pub struct Events {
    /// When they happened, in microseconds.
    pub times: Vec<i64>,
    /// By dimension that is a field, the codes.
    pub codes: Vec<Vec<u32>>,
    /// By state what it measures; `None` for a count of all.
    pub values: Vec<Option<Values>>,
    /// Where they stand in the log, if that is needed.
    pub offsets: Vec<i64>,
}

impl Events {
    /// Those of a row group that happened in the span. New values of dimensions get codes.
    ///
    /// # Errors
    /// `Corrupt` if the file is none of the view's source that an archiver writes, `Internal` if Polars refuses the conditions.
    pub fn read(
        view: &View,
        input: &Input,
        group: usize,
        span: Slice,
        dictionaries: &mut [Dictionary],
        spare: &mut Spare,
    ) -> Result<Events> {
        let chunk_of = |field: usize| input.chunk(group, &view.source.fields[field].name);
        let times = decode::integers(input.chunk(group, "seam_time")?, spare)?;
        let masks = Masks::evaluate(view, input, group, spare)?;
        let mut codes = Vec::with_capacity(view.keys().len());
        for (dimension, dictionary) in view.keys().iter().zip(dictionaries) {
            codes.push(dictionary.codes(chunk_of(dimension.field)?, dimension.field_type, spare)?);
        }
        let mut values = Vec::with_capacity(view.states.len());
        for (i, state) in view.states.iter().enumerate() {
            values.push(match state.field {
                None if state.counts_events() => None,
                None => Some(Values::ones(times.values.len()).masked(masks.counted(i)?, masks.retracted(i)?)),
                Some(field) => {
                    let values = Values::read(chunk_of(field)?, state, &view.source, spare)?;
                    Some(values.masked(masks.counted(i)?, masks.retracted(i)?))
                }
            });
        }
        let mut offsets = Vec::new();
        if needs_offsets(view) {
            offsets = decode::integers(input.chunk(group, "seam_offset")?, spare)?.values;
            if offsets.iter().any(|offset| *offset < 0) {
                return Err(Error::corrupt("an archive file has events without an offset"));
            }
        }
        let picks = picks(input, group, (&times, span), masks.kept()?, spare)?;
        let mut events = Events { times: times.values, codes, values, offsets };
        if let Some(picks) = picks {
            events.pick(&picks);
        }
        Ok(events)
    }
    /// Gives their memory to those that are read next.
    pub fn recycle(self, spare: &mut Spare) {
        let of_values = self.values.into_iter().flatten().filter_map(Values::into_integers);
        let integers = of_values.chain([self.times, self.offsets]).filter(|vector| vector.capacity() > 0);
        spare.integers.extend(integers);
        let signed = |codes: Vec<u32>| codes.into_iter().map(u32::cast_signed).collect::<Vec<i32>>();
        spare.codes.extend(self.codes.into_iter().map(signed));
    }

    fn pick(&mut self, picks: &[u32]) {
        let numbers = |all: &mut Vec<i64>| {
            if !all.is_empty() {
                *all = picks.iter().map(|i| all[*i as usize]).collect();
            }
        };
        numbers(&mut self.times);
        numbers(&mut self.offsets);
        for codes in &mut self.codes {
            *codes = picks.iter().map(|i| codes[*i as usize]).collect();
        }
        self.values.iter_mut().flatten().for_each(|values| *values = values.pick(picks));
    }
}

/// The rows that count and lie within the span, if those are not all.
fn picks(
    input: &Input,
    group: usize,
    (times, span): (&Cells<i64>, Slice),
    kept: Option<&pl::BooleanChunked>,
    spare: &mut Spare,
) -> Result<Option<Vec<u32>>> {
    if input.all_count && input.all_within && kept.is_none() {
        return if times.missing.is_empty() { Ok(None) } else { Err(unread()) };
    }
    let mut picked = vec![true; times.values.len()];
    times.missing.iter().for_each(|row| picked[*row as usize] = false);
    if !input.all_count {
        let verdicts =
            decode::texts::<i32>(input.chunk(group, "seam_verdict")?, spare, |text| i32::from(text == "counts"))?;
        picked.iter_mut().zip(&verdicts.values).for_each(|(picked, counts)| *picked &= *counts == 1);
    }
    if !input.all_within {
        let within = span.start.0..span.end.0;
        picked.iter_mut().zip(&times.values).for_each(|(picked, time)| *picked &= within.contains(time));
    }
    if let Some(kept) = kept {
        picked.iter_mut().zip(kept.iter()).for_each(|(picked, kept)| *picked &= kept == Some(true));
    }
    Ok(Some((0..).zip(&picked).filter(|(_, picked)| **picked).map(|(row, _)| row).collect()))
}

/// What the conditions say of each row.
struct Masks(Option<pl::DataFrame>);

const KEPT: &str = "seam_kept";

impl Masks {
    fn evaluate(view: &View, input: &Input, group: usize, spare: &mut Spare) -> Result<Masks> {
        let mut fields = Vec::new();
        conditions(view).for_each(|condition| condition.fields(&mut fields));
        if conditions(view).next().is_none() {
            return Ok(Masks(None));
        }
        fields.sort_unstable();
        fields.dedup();
        let mut columns = vec![pl::Column::new_scalar("seam_row".into(), pl::Scalar::from(0i32), input.rows(group))];
        for field in fields {
            let field = &view.source.fields[field];
            columns.push(column(field, input.chunk(group, &field.name)?, spare)?);
        }
        let compile = |condition| filter::compile(condition, &view.source);
        let mut masks: Vec<pl::Expr> = view.filter.iter().map(|filter| compile(filter).alias(KEPT)).collect();
        for (i, state) in view.states.iter().enumerate() {
            masks.extend(state.filter.as_deref().map(|condition| compile(condition).alias(counted(i))));
            masks.extend(state.retract.as_deref().map(|condition| compile(condition).alias(retracted(i))));
        }
        let frame = pl::DataFrame::new(input.rows(group), columns).map_err(failed)?;
        Ok(Masks(Some(frame.lazy().with_columns(masks).collect().map_err(failed)?)))
    }
    fn kept(&self) -> Result<Option<&pl::BooleanChunked>> {
        self.mask(KEPT)
    }
    fn counted(&self, state: usize) -> Result<Option<&pl::BooleanChunked>> {
        self.mask(&counted(state))
    }
    fn retracted(&self, state: usize) -> Result<Option<&pl::BooleanChunked>> {
        self.mask(&retracted(state))
    }
    fn mask(&self, name: &str) -> Result<Option<&pl::BooleanChunked>> {
        let Some(column) = self.0.as_ref().and_then(|masks| masks.column(name).ok()) else { return Ok(None) };
        column.as_materialized_series().bool().map(Some).map_err(failed)
    }
}

fn counted(state: usize) -> String {
    format!("seam_counted{state}")
}

fn retracted(state: usize) -> String {
    format!("seam_retracted{state}")
}

/// A field's column for Polars.
fn column(field: &Field, chunk: Chunk<'_>, spare: &mut Spare) -> Result<pl::Column> {
    fn cells<T: Copy>(cells: &Cells<T>) -> impl Iterator<Item = Option<T>> {
        let mut missing = cells.missing.iter().peekable();
        (0..).zip(&cells.values).map(move |(row, value)| missing.next_if(|m| **m == row).is_none().then_some(*value))
    }
    let name = field.name.as_str().into();
    let series = match field.field_type {
        FieldType::String => {
            let mut texts: Vec<Box<str>> = Vec::new();
            let codes = decode::texts::<i32>(chunk, spare, |text| {
                texts.push(text.into());
                texts.len() as i32 - 1
            })?;
            let texts = cells(&codes).map(|code| code.map(|code| &*texts[code as usize]));
            pl::StringChunked::from_iter_options(name, texts).into_series()
        }
        FieldType::Bool => {
            pl::BooleanChunked::from_iter_options(name, cells(&decode::plain::<BoolType>(chunk, spare)?)).into_series()
        }
        FieldType::Int => {
            pl::Int64Chunked::from_iter_options(name, cells(&decode::integers(chunk, spare)?)).into_series()
        }
        FieldType::Float => {
            pl::Float64Chunked::from_iter_options(name, cells(&decode::plain::<DoubleType>(chunk, spare)?))
                .into_series()
        }
        FieldType::Decimal(scale) => {
            let decimals = match decode::decimals(chunk, spare)? {
                Decimals::Narrow(narrow) => {
                    pl::Int128Chunked::from_iter_options(name, cells(&narrow).map(|cell| cell.map(i128::from)))
                }
                Decimals::Wide(wide) => pl::Int128Chunked::from_iter_options(name, cells(&wide)),
            };
            decimals.into_decimal(38, usize::from(scale)).map_err(failed)?.into_series()
        }
    };
    Ok(series.into())
}
