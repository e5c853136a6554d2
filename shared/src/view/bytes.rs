//! The small spelling that stored partials are made of: variable-length integers, values, and a reader that never panics.
use crate::error::{Error, Result};
use crate::view::value::Value;

pub(crate) fn corrupt() -> Error {
    Error::corrupt("stored rows are damaged")
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, number: u128) {
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

/// Three counts, as the aggregates keep of values that are not finite.
pub(crate) fn put_counts(out: &mut Vec<u8>, counts: &[u64; 3]) {
    counts.iter().for_each(|count| put(out, (*count).into()));
}

pub(crate) fn read_counts(reader: &mut Reader<'_>) -> Result<[u64; 3]> {
    Ok([reader.count()?, reader.count()?, reader.count()?])
}

/// Small magnitudes become small numbers: 0, -1, 1, -2, …
#[inline]
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i128) {
    put(out, ((number << 1) ^ (number >> 127)) as u128);
}

pub(crate) fn put_value(out: &mut Vec<u8>, value: &Value) {
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

/// What is left to be read. Every error is `Kind::Corrupt`.
pub(crate) struct Reader<'a> {
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(corrupt)?;
        self.rest = rest;
        Ok(head)
    }
    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }
    #[inline]
    pub fn unsigned(&mut self) -> Result<u128> {
        // Nearly all numbers are small, and arithmetic on 128 bits is not.
        let mut number = 0u64;
        for (i, &byte) in self.rest.iter().take(9).enumerate() {
            number |= u64::from(byte & 0x7F) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(u128::from(number));
            }
        }
        self.unsigned_large()
    }
    fn unsigned_large(&mut self) -> Result<u128> {
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
    pub fn signed(&mut self) -> Result<i128> {
        let number = self.unsigned()?;
        Ok((number >> 1) as i128 ^ -((number & 1) as i128))
    }
    pub fn count(&mut self) -> Result<u64> {
        u64::try_from(self.unsigned()?).map_err(|_| corrupt())
    }
    /// A count of things that take a byte each, or more.
    pub fn length(&mut self) -> Result<usize> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| corrupt())?;
        if length <= self.rest.len() { Ok(length) } else { Err(corrupt()) }
    }
    pub fn many<T>(&mut self, n: usize, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        if n > self.rest.len() {
            return Err(corrupt());
        }
        let mut all = Vec::with_capacity(n);
        for _ in 0..n {
            all.push(read(self)?);
        }
        Ok(all)
    }
    pub fn double(&mut self) -> Result<f64> {
        let bytes = self.take(8)?.try_into().map_err(|_| corrupt())?;
        Ok(f64::from_le_bytes(bytes))
    }
    pub fn value(&mut self) -> Result<Value> {
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
}
