//! Columns of typed cells: what an engine is given, what it answers with, and how that goes over the wire.
use std::ops::Range;

use bytes::{BufMut, BytesMut};
use pgwire::api::Type as WireType;
use pgwire::api::results::{FieldFormat, FieldInfo};
use seam_shared::time::Timestamp;
use seam_shared::view::value::decimal_text;
use serde::{Deserialize, Serialize};

/// Microseconds from 1970 to 2000, where PostgreSQL's binary times begin.
const EPOCH_2000: i64 = 946_684_800_000_000;
const DAYS_2000: i32 = 10_957;

/// The types of columns. No others leave the server: clients know all of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// int8.
    Int,
    /// float8.
    Float,
    /// numeric with that many digits after the point.
    Decimal(u8),
    /// bool.
    Bool,
    /// text.
    Text,
    /// timestamptz.
    Time,
    /// date.
    Date,
}

impl Type {
    /// The type as the protocol names it.
    pub fn wire(self) -> WireType {
        match self {
            Type::Int => WireType::INT8,
            Type::Float => WireType::FLOAT8,
            Type::Decimal(_) => WireType::NUMERIC,
            Type::Bool => WireType::BOOL,
            Type::Text => WireType::TEXT,
            Type::Time => WireType::TIMESTAMPTZ,
            Type::Date => WireType::DATE,
        }
    }
    /// The type as `format_type` spells it.
    pub fn sql(self) -> String {
        match self {
            Type::Int => "bigint".to_owned(),
            Type::Float => "double precision".to_owned(),
            Type::Decimal(scale) => format!("numeric(38,{scale})"),
            Type::Bool => "boolean".to_owned(),
            Type::Text => "text".to_owned(),
            Type::Time => "timestamp with time zone".to_owned(),
            Type::Date => "date".to_owned(),
        }
    }
    fn size(self) -> i16 {
        match self {
            Type::Int | Type::Float | Type::Time => 8,
            Type::Bool => 1,
            Type::Date => 4,
            Type::Decimal(_) | Type::Text => -1,
        }
    }
}

/// The cells of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Cells {
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    /// Scaled integers with that many digits after the point.
    Decimal(Vec<Option<i128>>, u8),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    /// Text by its codes in a dictionary.
    Coded(Vec<u32>, Vec<Option<String>>),
    /// Microseconds since 1970 in UTC.
    Time(Vec<Option<i64>>),
    /// Days since 1970.
    Date(Vec<Option<i32>>),
}

impl Cells {
    /// No cells of a type.
    pub fn empty(kind: Type) -> Cells {
        match kind {
            Type::Int => Cells::Int(Vec::new()),
            Type::Float => Cells::Float(Vec::new()),
            Type::Decimal(scale) => Cells::Decimal(Vec::new(), scale),
            Type::Bool => Cells::Bool(Vec::new()),
            Type::Text => Cells::Text(Vec::new()),
            Type::Time => Cells::Time(Vec::new()),
            Type::Date => Cells::Date(Vec::new()),
        }
    }
    /// Some of them.
    fn part(&self, range: Range<usize>) -> Cells {
        match self {
            Cells::Int(v) => Cells::Int(v[range].to_vec()),
            Cells::Float(v) => Cells::Float(v[range].to_vec()),
            Cells::Decimal(v, scale) => Cells::Decimal(v[range].to_vec(), *scale),
            Cells::Bool(v) => Cells::Bool(v[range].to_vec()),
            Cells::Text(v) => Cells::Text(v[range].to_vec()),
            Cells::Coded(v, values) => Cells::Coded(v[range].to_vec(), values.clone()),
            Cells::Time(v) => Cells::Time(v[range].to_vec()),
            Cells::Date(v) => Cells::Date(v[range].to_vec()),
        }
    }
    /// Their type.
    pub fn kind(&self) -> Type {
        match self {
            Cells::Int(_) => Type::Int,
            Cells::Float(_) => Type::Float,
            Cells::Decimal(_, scale) => Type::Decimal(*scale),
            Cells::Bool(_) => Type::Bool,
            Cells::Text(_) | Cells::Coded(..) => Type::Text,
            Cells::Time(_) => Type::Time,
            Cells::Date(_) => Type::Date,
        }
    }
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Cells::Int(v) | Cells::Time(v) => v.len(),
            Cells::Float(v) => v.len(),
            Cells::Decimal(v, _) => v.len(),
            Cells::Bool(v) => v.len(),
            Cells::Text(v) => v.len(),
            Cells::Coded(v, _) => v.len(),
            Cells::Date(v) => v.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// One cell as text; `None` for null.
    pub fn text(&self, row: usize) -> Option<String> {
        match self {
            Cells::Int(v) => v[row].map(|value| value.to_string()),
            Cells::Float(v) => v[row].map(float_text),
            Cells::Decimal(v, scale) => v[row].map(|value| decimal_text(value, *scale)),
            Cells::Bool(v) => v[row].map(|value| if value { "t" } else { "f" }.to_owned()),
            Cells::Text(v) => v[row].clone(),
            Cells::Coded(v, values) => values[v[row] as usize].clone(),
            Cells::Time(v) => v[row].map(time_text),
            Cells::Date(v) => v[row].map(|days| {
                let midnight = Timestamp(i64::from(days) * 86_400_000_000);
                midnight.to_rfc3339().split('T').next().unwrap_or_default().to_owned()
            }),
        }
    }
    /// Appends one cell to a row of the protocol.
    fn write(&self, row: usize, format: FieldFormat, out: &mut BytesMut) {
        if format == FieldFormat::Text {
            match self.text(row) {
                None => out.put_i32(-1),
                Some(text) => put_bytes(out, text.as_bytes()),
            }
            return;
        }
        let written = match self {
            Cells::Int(v) => v[row].map(|value| put_bytes(out, &value.to_be_bytes())),
            Cells::Float(v) => v[row].map(|value| put_bytes(out, &value.to_be_bytes())),
            Cells::Decimal(v, scale) => v[row].map(|value| put_bytes(out, &numeric_bytes(value, *scale))),
            Cells::Bool(v) => v[row].map(|value| put_bytes(out, &[u8::from(value)])),
            Cells::Text(v) => v[row].as_ref().map(|value| put_bytes(out, value.as_bytes())),
            Cells::Coded(v, values) => values[v[row] as usize].as_ref().map(|value| put_bytes(out, value.as_bytes())),
            Cells::Time(v) => v[row].map(|value| put_bytes(out, &value.saturating_sub(EPOCH_2000).to_be_bytes())),
            Cells::Date(v) => v[row].map(|value| put_bytes(out, &value.saturating_sub(DAYS_2000).to_be_bytes())),
        };
        if written.is_none() {
            out.put_i32(-1);
        }
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

/// As PostgreSQL spells it: the shortest text that reads back the same.
fn float_text(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        _ if value != 0.0 && !(1e-4..1e15).contains(&value.abs()) => {
            let text = format!("{value:e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        _ => value.to_string(),
    }
}

/// A moment as PostgreSQL spells it in UTC.
pub fn time_text(micros: i64) -> String {
    let text = Timestamp(micros).to_rfc3339();
    let text = text.strip_suffix('Z').unwrap_or(&text);
    let text = if text.contains('.') { text.trim_end_matches('0') } else { text };
    format!("{}+00", text.replacen('T', " ", 1))
}

/// A decimal in PostgreSQL's binary form: groups of four digits.
fn numeric_bytes(value: i128, scale: u8) -> Vec<u8> {
    let digits = value.unsigned_abs().to_string();
    let scale = usize::from(scale);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let group = |text: &[u8]| text.iter().fold(0_i16, |sum, digit| sum * 10 + i16::from(digit - b'0'));
    let mut weight = (whole.len() / 4) as i16 - 1;
    let mut groups: Vec<i16> = whole.as_bytes().chunks(4).chain(fraction.as_bytes().chunks(4)).map(group).collect();
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign: u16 = if value < 0 { 0x4000 } else { 0 };
    let mut out = Vec::with_capacity(8 + groups.len() * 2);
    out.extend((groups.len() as i16).to_be_bytes());
    out.extend(weight.to_be_bytes());
    out.extend(sign.to_be_bytes());
    out.extend((scale as i16).to_be_bytes());
    groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
    out
}

/// A named column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its cells.
    pub cells: Cells,
}

/// Columns of the same length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Frame(pub Vec<Column>);

impl Frame {
    /// Rows of text under those names; how small tables are made by hand.
    pub fn of_text<const N: usize>(names: [&str; N], rows: &[[Option<String>; N]]) -> Frame {
        let column = |(i, name): (usize, &&str)| Column {
            name: (*name).to_owned(),
            cells: Cells::Text(rows.iter().map(|row| row[i].clone()).collect()),
        };
        Frame(names.iter().enumerate().map(column).collect())
    }
    /// One row of one text.
    pub fn one(name: &str, text: impl Into<String>) -> Frame {
        Frame::of_text([name], &[[Some(text.into())]])
    }
    /// Some of its rows.
    pub fn part(&self, range: Range<usize>) -> Frame {
        let column = |column: &Column| Column { name: column.name.clone(), cells: column.cells.part(range.clone()) };
        Frame(self.0.iter().map(column).collect())
    }
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.0.first().map_or(0, |column| column.cells.len())
    }
    /// The columns as the protocol describes them.
    pub fn fields(&self, format: impl Fn(usize) -> FieldFormat) -> Vec<FieldInfo> {
        let field = |(i, column): (usize, &Column)| {
            let kind = column.cells.kind();
            let modifier = match kind {
                Type::Decimal(scale) => (38 << 16 | i32::from(scale)) + 4,
                _ => -1,
            };
            FieldInfo::new(column.name.clone(), None, None, kind.wire(), format(i))
                .with_type_size(kind.size())
                .with_type_modifier(modifier)
        };
        self.0.iter().enumerate().map(field).collect()
    }
    /// Appends a row as the protocol spells it.
    pub fn write(&self, row: usize, fields: &[FieldInfo], out: &mut BytesMut) {
        for (column, field) in self.0.iter().zip(fields) {
            column.cells.write(row, field.format(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_spelt_as_postgresql_spells_them() {
        let of = |cells: Cells| cells.text(0).expect("not null");
        assert_eq!(of(Cells::Time(vec![Some(1_767_225_600_500_000)])), "2026-01-01 00:00:00.5+00");
        assert_eq!(of(Cells::Time(vec![Some(1_767_225_600_000_000)])), "2026-01-01 00:00:00+00");
        assert_eq!(of(Cells::Date(vec![Some(20_454)])), "2026-01-01");
        assert_eq!(of(Cells::Decimal(vec![Some(-1230)], 2)), "-12.30");
        for (value, text) in [(1.5, "1.5"), (3.0, "3"), (1e15, "1e+15"), (1.25e-7, "1.25e-07"), (-0.5, "-0.5")] {
            assert_eq!(float_text(value), text);
        }
    }

    #[test]
    fn decimals_go_in_groups_of_four_digits() {
        let shorts = |value, scale| -> Vec<i16> {
            numeric_bytes(value, scale).chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
        };
        assert_eq!(shorts(0, 2), [0, 0, 0, 2]);
        assert_eq!(shorts(1230, 2), [2, 0, 0, 2, 12, 3000]);
        assert_eq!(shorts(-123_456_789, 4), [3, 1, 0x4000, 4, 1, 2345, 6789]);
        assert_eq!(shorts(7, 6), [1, -2, 0, 6, 700]);
    }
}
