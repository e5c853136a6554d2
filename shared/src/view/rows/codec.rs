//! The compact binary spelling of rows: variable-length integers, column by column.
use crate::error::Result;
use crate::time::Timestamp;
use crate::view::aggregate::partial::Partial;
use crate::view::aggregate::{FixedStats, FloatStats};
use crate::view::bytes::{Reader, corrupt, put, put_signed, put_value};
use crate::view::exact_sum::ExactSum;
use crate::view::rows::{Dimension, Rows, States};

const VERSION: u8 = 1;
/// More columns than any view may have.
const COLUMNS_MAX: usize = 4096;

pub fn encode(rows: &Rows) -> Vec<u8> {
    // A guess that spares most of the copying while it grows: small numbers take a byte each.
    let mut out = Vec::with_capacity(64 + rows.len() * (2 + 2 * rows.dimensions.len() + 8 * rows.states.len()));
    out.push(VERSION);
    put(&mut out, rows.len() as u128);
    put(&mut out, rows.dimensions.len() as u128);
    put(&mut out, rows.states.len() as u128);
    let mut last = 0;
    for pane in &rows.panes {
        put_signed(&mut out, i128::from(pane.0) - i128::from(last));
        last = pane.0;
    }
    for dimension in &rows.dimensions {
        put(&mut out, dimension.values.len() as u128);
        dimension.values.iter().for_each(|value| put_value(&mut out, value));
        dimension.codes.iter().for_each(|&code| put(&mut out, u128::from(code)));
    }
    for states in &rows.states {
        match states {
            States::Count(counts) => {
                out.push(0);
                counts.iter().for_each(|&count| put(&mut out, u128::from(count)));
            }
            States::Fixed(stats) => {
                out.push(1);
                stats.iter().for_each(|stats| put_fixed(&mut out, stats));
            }
            States::Float(stats) => {
                out.push(2);
                stats.iter().for_each(|stats| put_float(&mut out, stats));
            }
            States::Partial(partials) => {
                out.push(3);
                let mut bytes = Vec::new();
                for partial in partials {
                    bytes.clear();
                    partial.encode(&mut bytes);
                    put(&mut out, bytes.len() as u128);
                    out.extend_from_slice(&bytes);
                }
            }
        }
    }
    out
}

pub fn decode(bytes: &[u8]) -> Result<Rows> {
    let mut reader = Reader { rest: bytes };
    if reader.byte()? != VERSION {
        return Err(corrupt());
    }
    // every row, value and column takes at least one byte: so no count may be larger than what is left
    let length = reader.length()?;
    let dimensions = reader.length()?.min(COLUMNS_MAX);
    let states = reader.length()?.min(COLUMNS_MAX);
    let mut last = 0i128;
    let panes = reader.many(length, |r| {
        last = last.checked_add(r.signed()?).ok_or_else(corrupt)?;
        i64::try_from(last).map(Timestamp).map_err(|_| corrupt())
    })?;
    let dimensions = reader.many(dimensions, |r| {
        let distinct = r.length()?;
        let values = r.many(distinct, Reader::value)?;
        let codes = r.many(length, |r| {
            let code = r.unsigned()?;
            if code < distinct as u128 { Ok(code as u32) } else { Err(corrupt()) }
        })?;
        Ok(Dimension { codes, values })
    })?;
    let states = reader.many(states, |r| match r.byte()? {
        0 => Ok(States::Count(r.many(length, Reader::count)?)),
        1 => Ok(States::Fixed(r.many(length, Reader::fixed)?)),
        2 => Ok(States::Float(r.many(length, Reader::float)?)),
        3 => Ok(States::Partial(r.many(length, Reader::partial)?)),
        _ => Err(corrupt()),
    })?;
    if reader.rest.is_empty() { Ok(Rows { panes, dimensions, states }) } else { Err(corrupt()) }
}

fn put_fixed(out: &mut Vec<u8>, stats: &FixedStats) {
    put(out, u128::from(stats.count));
    if stats.count > 0 {
        put_signed(out, stats.sum);
        put_signed(out, stats.min);
        put(out, stats.max.wrapping_sub(stats.min) as u128);
    }
}

fn put_float(out: &mut Vec<u8>, stats: &FloatStats) {
    put(out, u128::from(stats.count));
    if stats.count > 0 {
        stats.sum.encode(out);
        out.extend_from_slice(&stats.min.to_le_bytes());
        out.extend_from_slice(&stats.max.to_le_bytes());
    }
    for count in [stats.nan, stats.positive_infinite, stats.negative_infinite] {
        put(out, u128::from(count));
    }
}

impl Reader<'_> {
    fn fixed(&mut self) -> Result<FixedStats> {
        let count = self.count()?;
        if count == 0 {
            return Ok(FixedStats::default());
        }
        let (sum, min) = (self.signed()?, self.signed()?);
        Ok(FixedStats { count, sum, min, max: min.wrapping_add(self.unsigned()? as i128) })
    }
    fn float(&mut self) -> Result<FloatStats> {
        let mut stats = FloatStats { count: self.count()?, ..FloatStats::default() };
        if stats.count > 0 {
            stats.sum = ExactSum::decode(&mut self.rest)?;
            (stats.min, stats.max) = (self.double()?, self.double()?);
        }
        stats.nan = self.count()?;
        stats.positive_infinite = self.count()?;
        stats.negative_infinite = self.count()?;
        Ok(stats)
    }
    fn partial(&mut self) -> Result<Partial> {
        let length = self.length()?;
        Partial::decode(self.take(length)?)
    }
}
