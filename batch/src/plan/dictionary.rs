//! A dimension's values as small codes, given out as they first come.
use std::collections::HashMap;

use polars::prelude as pl;
use seam_shared::error::{Error, Result};
use seam_shared::view::value::{FieldType, Value};

use super::failed;
use super::index::Index;

/// A text of at most so many bytes lies in its view, whose lowest 32 bits are the length.
const SHORT: u32 = 12;

/// The values of one dimension that have been seen.
#[derive(Debug, Default)]
pub struct Dictionary {
    values: Vec<Value>,
    null: Option<u32>,
    numbers: Index<u128, 8>,
    /// By the views of short texts.
    short: Index<u128, 8>,
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
    /// The codes of a column that holds codes, or null.
    pub fn coded(&mut self, column: &pl::Column) -> Result<Vec<u32>> {
        let codes = column.as_materialized_series().i32().map_err(failed)?;
        let mut all = Vec::with_capacity(codes.len());
        if codes.null_count() == 0 {
            codes.downcast_iter().for_each(|chunk| all.extend(chunk.values().iter().map(|code| code.cast_unsigned())));
        } else {
            let null = self.null();
            all.extend(codes.iter().map(|code| code.map_or(null, i32::cast_unsigned)));
        }
        Ok(all)
    }
    /// The codes of a column.
    pub fn codes(&mut self, column: &pl::Column, field_type: FieldType) -> Result<Vec<u32>> {
        let series = column.as_materialized_series();
        Ok(match field_type {
            FieldType::String => self.texts(series.str().map_err(failed)?),
            FieldType::Bool => {
                let flags = series.bool().map_err(failed)?.iter().map(|cell| cell.map(i128::from));
                self.numbers(flags, |flag| Value::Bool(flag != 0))
            }
            FieldType::Int => {
                let integers = series.i64().map_err(failed)?.iter().map(|cell| cell.map(i128::from));
                self.numbers(integers, |integer| Value::Int(integer as i64))
            }
            FieldType::Decimal(scale) => {
                let decimals = series.decimal().map_err(failed)?.physical().iter();
                self.numbers(decimals, |decimal| Value::Decimal(decimal, scale))
            }
            FieldType::Float => return Err(Error::internal("a float is no dimension")),
        })
    }

    fn null(&mut self) -> u32 {
        *self.null.get_or_insert_with(|| push(&mut self.values, Value::Null))
    }
    fn numbers(&mut self, cells: impl Iterator<Item = Option<i128>>, value: impl Fn(i128) -> Value) -> Vec<u32> {
        let code = |cell: Option<i128>| match cell {
            None => self.null(),
            Some(cell) => self.numbers.get_or_insert(cell.cast_unsigned(), || push(&mut self.values, value(cell))),
        };
        cells.map(code).collect()
    }
    /// Text is coded by its *view*: sixteen bytes that hold a short text itself, or say where in the chunk's buffers a long one
    /// lies. Equal views are equal texts, and a Parquet dictionary gives equal texts equal views: almost every row takes one
    /// look into a small table, and no text is hashed.
    fn texts(&mut self, column: &pl::StringChunked) -> Vec<u32> {
        let mut codes = Vec::with_capacity(column.len());
        for chunk in column.downcast_iter() {
            let mut long: Index<u128, 8> = Index::default();
            let Dictionary { values, short, texts, .. } = self;
            let mut code = |i: usize, view: u128| {
                let known = if view as u32 <= SHORT { &mut *short } else { &mut long };
                known.get_or_insert(view, || text_code(texts, values, chunk.value(i)))
            };
            let all = chunk.views().iter().enumerate();
            if column.null_count() == 0 {
                codes.extend(all.map(|(i, view)| code(i, view.as_u128())));
            } else {
                const NULL: u32 = u32::MAX;
                let from = codes.len();
                let coded = all.zip(chunk.iter());
                codes
                    .extend(coded.map(|((i, view), text)| if text.is_some() { code(i, view.as_u128()) } else { NULL }));
                let null = self.null();
                codes[from..].iter_mut().filter(|code| **code == NULL).for_each(|code| *code = null);
            }
        }
        codes
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
