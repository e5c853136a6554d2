//! A dimension's values as small codes, given out as they first come.
use std::collections::HashMap;

use parquet::data_type::BoolType;
use seam_shared::error::{Error, Result};
use seam_shared::view::value::{FieldType, Value};

use super::decode::{self, Cells, Chunk, Decimals, Spare};
use super::index::Index;

/// The values of one dimension that have been seen.
#[derive(Debug, Default)]
pub struct Dictionary {
    values: Vec<Value>,
    null: Option<u32>,
    numbers: Index<u128, 8>,
    texts: HashMap<Box<str>, u32>,
}

impl Dictionary {
    /// The values by code.
    pub fn values(&self) -> &[Value] {
        &self.values
    }
    /// The code of a text.
    pub fn text(&mut self, text: &str) -> u32 {
        text_code(&mut self.texts, &mut self.values, text)
    }
    /// The code of an integer.
    pub fn integer(&mut self, integer: i64) -> u32 {
        self.numbers.get_or_insert(i128::from(integer).cast_unsigned(), || push(&mut self.values, Value::Int(integer)))
    }
    /// The code of any value of a dimension.
    pub fn value(&mut self, value: &Value) -> u32 {
        let values = &mut self.values;
        match value {
            Value::Str(text) => self.text(text),
            Value::Bool(flag) => {
                self.numbers.get_or_insert(i128::from(*flag).cast_unsigned(), || push(values, value.clone()))
            }
            Value::Int(integer) => self.integer(*integer),
            Value::Decimal(decimal, _) => {
                self.numbers.get_or_insert(decimal.cast_unsigned(), || push(values, value.clone()))
            }
            Value::Null | Value::Float(_) => self.null(),
        }
    }
    /// The codes of a column.
    ///
    /// # Errors
    /// `Corrupt` if it is of another type or not what an archiver writes.
    pub fn codes(&mut self, chunk: Chunk<'_>, field_type: FieldType, spare: &mut Spare) -> Result<Vec<u32>> {
        let codes = match field_type {
            FieldType::String => {
                let codes = decode::texts::<i32>(chunk, spare, |text| self.text(text).cast_signed())?;
                Cells { values: codes.values.into_iter().map(i32::cast_unsigned).collect(), missing: codes.missing }
            }
            FieldType::Bool => self.numbers(decode::plain::<BoolType>(chunk, spare)?, Value::Bool),
            FieldType::Int => self.numbers(decode::integers(chunk, spare)?, Value::Int),
            FieldType::Decimal(scale) => match decode::decimals(chunk, spare)? {
                Decimals::Narrow(narrow) => self.numbers(narrow, |number| Value::Decimal(number.into(), scale)),
                Decimals::Wide(wide) => self.numbers(wide, |number| Value::Decimal(number, scale)),
            },
            FieldType::Float => return Err(Error::internal("a float is no dimension")),
        };
        let mut all = codes.values;
        if !codes.missing.is_empty() {
            let null = self.null();
            codes.missing.iter().for_each(|row| all[*row as usize] = null);
        }
        Ok(all)
    }

    fn null(&mut self) -> u32 {
        *self.null.get_or_insert_with(|| push(&mut self.values, Value::Null))
    }
    fn numbers<T: Into<i128> + Copy>(&mut self, cells: Cells<T>, value: impl Fn(T) -> Value) -> Cells<u32> {
        let Dictionary { numbers, values, .. } = self;
        let mut missing = cells.missing.iter().peekable();
        let code = |(row, &number): (u32, &T)| match missing.next_if(|missing| **missing == row) {
            Some(_) => 0, // what stands there is no value
            None => numbers.get_or_insert(number.into().cast_unsigned(), || push(values, value(number))),
        };
        Cells { values: (0..).zip(&cells.values).map(code).collect(), missing: cells.missing }
    }
}

fn text_code(texts: &mut HashMap<Box<str>, u32>, values: &mut Vec<Value>, text: &str) -> u32 {
    if let Some(code) = texts.get(text) {
        return *code;
    }
    let code = push(values, Value::text(text));
    texts.insert(text.into(), code);
    code
}

fn push(values: &mut Vec<Value>, value: Value) -> u32 {
    values.push(value);
    values.len() as u32 - 1
}
