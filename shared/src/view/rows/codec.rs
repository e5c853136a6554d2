//! The compact binary spelling of rows: variable-length integers, column by column.
use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::view::aggregate::{FixedStats, FloatStats};
use crate::view::exact_sum::ExactSum;
use crate::view::rows::{Dimension, Rows, States};
use crate::view::value::Value;

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
        _ => Err(corrupt()),
    })?;
    if reader.rest.is_empty() { Ok(Rows { panes, dimensions, states }) } else { Err(corrupt()) }
}

fn corrupt() -> Error {
    Error::corrupt("stored rows are damaged")
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
#[inline]
fn put(out: &mut Vec<u8>, number: u128) {
    // Nearly all numbers are small, and arithmetic on 128 bits is not.
    match u64::try_from(number) {
        Ok(number) if number < 0x80 => out.push(number as u8),
        Ok(mut number) => {
            while number >= 0x80 {
                out.push(number as u8 | 0x80);
                number >>= 7;
            }
            out.push(number as u8);
        }
        Err(_) => put_large(out, number),
    }
}

fn put_large(out: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small magnitudes become small numbers: 0, -1, 1, -2, …
#[inline]
fn put_signed(out: &mut Vec<u8>, number: i128) {
    put(out, ((number << 1) ^ (number >> 127)) as u128);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(false) => out.push(1),
        Value::Bool(true) => out.push(2),
        Value::Int(number) => {
            out.push(3);
            put_signed(out, i128::from(*number));
        }
        Value::Decimal(number, scale) => {
            out.extend_from_slice(&[4, *scale]);
            put_signed(out, *number);
        }
        Value::Float(number) => {
            out.push(5);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Value::Str(text) => {
            out.push(6);
            put(out, text.len() as u128);
            out.extend_from_slice(text.as_bytes());
        }
    }
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

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Result<&[u8]> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(corrupt)?;
        self.rest = rest;
        Ok(head)
    }
    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }
    fn unsigned(&mut self) -> Result<u128> {
        let mut number = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7F);
            if shift == 126 && bits > 3 {
                return Err(corrupt());
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(corrupt())
    }
    fn signed(&mut self) -> Result<i128> {
        let number = self.unsigned()?;
        Ok((number >> 1) as i128 ^ -((number & 1) as i128))
    }
    fn count(&mut self) -> Result<u64> {
        u64::try_from(self.unsigned()?).map_err(|_| corrupt())
    }
    /// A count of things that take a byte each, or more.
    fn length(&mut self) -> Result<usize> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| corrupt())?;
        if length <= self.rest.len() { Ok(length) } else { Err(corrupt()) }
    }
    fn many<T>(&mut self, n: usize, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        if n > self.rest.len() {
            return Err(corrupt());
        }
        let mut all = Vec::with_capacity(n);
        for _ in 0..n {
            all.push(read(self)?);
        }
        Ok(all)
    }
    fn double(&mut self) -> Result<f64> {
        let bytes = self.take(8)?.try_into().map_err(|_| corrupt())?;
        Ok(f64::from_le_bytes(bytes))
    }
    fn value(&mut self) -> Result<Value> {
        Ok(match self.byte()? {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => Value::Int(i64::try_from(self.signed()?).map_err(|_| corrupt())?),
            4 => {
                let scale = self.byte()?;
                Value::Decimal(self.signed()?, scale)
            }
            5 => Value::Float(self.double()?),
            6 => {
                let length = self.length()?;
                Value::text(std::str::from_utf8(self.take(length)?).map_err(|_| corrupt())?)
            }
            _ => return Err(corrupt()),
        })
    }
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
}
