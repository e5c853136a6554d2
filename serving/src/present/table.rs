//! A table of typed columns, and the forms in which it leaves: JSON rows, CSV, a stream of Arrow's, Parquet. Pure.
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use seam_shared::lake::archive_file::{DECIMAL_DIGITS, column_type, timestamp_type};
use seam_shared::time::Timestamp;
use seam_shared::view::value::{FieldType, Value};
use seam_shared::{Error, Result};

use crate::json::Json;
use crate::query::Zone;

/// What a column holds.
#[derive(Debug, Clone)]
pub enum Cells {
    /// Moments; microseconds in UTC.
    Times(Vec<Timestamp>),
    /// Values of that type, or null.
    Values(FieldType, Vec<Value>),
}

/// Named columns of equal length.
#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: Vec<(String, Cells)>,
    rows: usize,
    /// How JSON and CSV write times; Arrow and Parquet hold moments.
    zone: Zone,
}

/// What is said of a table beside its rows, by name.
pub type Notes = Vec<(&'static str, String)>;

impl Table {
    /// A table without columns that has `rows` rows.
    pub fn new(rows: usize) -> Table {
        Table { columns: Vec::new(), rows, zone: Zone::UTC }
    }
    /// The same with times written as in a zone.
    #[must_use]
    pub fn in_zone(self, zone: Zone) -> Table {
        Table { zone, ..self }
    }
    /// Adds a column, which has one cell a row.
    pub fn push(&mut self, name: impl Into<String>, cells: Cells) {
        self.columns.push((name.into(), cells));
    }
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.rows * self.columns.len() * size_of::<Value>()
    }
    /// Writes rows as flat objects: items of the list that is open, or one a line.
    pub fn write_rows(&self, json: &mut Json, rows: Range<usize>, is_list: bool) {
        for row in rows {
            json.open('{');
            for (name, cells) in &self.columns {
                json.named(name);
                match cells {
                    Cells::Times(times) => json.time_in(self.zone, times[row]),
                    Cells::Values(_, values) => json.value(&values[row]),
                };
            }
            json.close('}');
            if !is_list {
                json.raw("\n");
            }
        }
    }
    /// Rows as CSV (RFC 4180) after a line of names: text in quotes where it must be, nothing for null.
    pub fn csv(&self, rows: Range<usize>) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + rows.len() * 24 * self.columns.len());
        line(&mut out, self.columns.iter().map(|(name, _)| Some(name.clone())));
        for row in rows {
            let cell = |(_, cells): &(String, Cells)| match cells {
                Cells::Times(times) => Some(self.zone.text(times[row])),
                Cells::Values(_, values) => (values[row] != Value::Null).then(|| values[row].to_string()),
            };
            line(&mut out, self.columns.iter().map(cell));
        }
        out
    }
    /// Rows as a stream of Arrow's IPC format, with `notes` in the metadata of its schema.
    ///
    /// # Errors
    /// `Internal` when a value does not fit its column.
    pub fn arrow(&self, rows: Range<usize>, notes: Notes) -> Result<Vec<u8>> {
        let batch = self.batch(rows, &notes).map_err(unwritten)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(unwritten)?;
        writer.write(&batch).and_then(|()| writer.finish()).map_err(unwritten)?;
        writer.into_inner().map_err(unwritten)
    }
    /// Rows as a Parquet file, with `notes` in the metadata of the file.
    ///
    /// # Errors
    /// As [`Table::arrow`].
    pub fn parquet(&self, rows: Range<usize>, notes: Notes) -> Result<Vec<u8>> {
        let batch = self.batch(rows, &Notes::new()).map_err(unwritten)?;
        let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("zstd has a level 1"));
        let notes = notes.into_iter().map(|(name, text)| KeyValue::new(name.to_owned(), text)).collect();
        let properties = WriterProperties::builder().set_created_by("Seam".to_owned()).set_compression(zstd);
        let properties = properties.set_key_value_metadata(Some(notes)).build();
        let unwritten = |error| Error::internal("an answer cannot be written as Parquet").because(error);
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).map_err(unwritten)?;
        writer.write(&batch).map_err(unwritten)?;
        writer.into_inner().map_err(unwritten)
    }

    fn batch(&self, rows: Range<usize>, notes: &Notes) -> std::result::Result<RecordBatch, ArrowError> {
        let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
        for (name, cells) in &self.columns {
            let (field, column) = match cells {
                Cells::Times(times) => {
                    let times = TimestampMicrosecondArray::from_iter_values(times[rows.clone()].iter().map(|t| t.0));
                    (Field::new(name, timestamp_type(), false), Arc::new(times.with_timezone("UTC")) as ArrayRef)
                }
                Cells::Values(kind, values) => {
                    (Field::new(name, column_type(*kind), true), column(*kind, &values[rows.clone()])?)
                }
            };
            fields.push(field);
            columns.push(column);
        }
        let notes = notes.iter().map(|(name, text)| ((*name).to_owned(), text.clone()));
        let schema = Schema::new(fields).with_metadata(notes.collect());
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
    }
}

fn unwritten(error: ArrowError) -> Error {
    Error::internal("an answer cannot be written as Arrow").because(error)
}

fn column(kind: FieldType, values: &[Value]) -> std::result::Result<ArrayRef, ArrowError> {
    Ok(match kind {
        FieldType::String => Arc::new(values.iter().map(text).collect::<StringArray>()),
        FieldType::Bool => Arc::new(values.iter().map(boolean).collect::<BooleanArray>()),
        FieldType::Int => Arc::new(values.iter().map(integer).collect::<Int64Array>()),
        FieldType::Float => Arc::new(values.iter().map(double).collect::<Float64Array>()),
        FieldType::Decimal(scale) => {
            let values: Decimal128Array = values.iter().map(|value| decimal(value, scale)).collect();
            Arc::new(values.with_precision_and_scale(DECIMAL_DIGITS, scale.cast_signed())?)
        }
    })
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => Some(*value),
        Value::Decimal(value, 0) => i64::try_from(*value).ok(),
        _ => None,
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Float(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        _ => None,
    }
}

/// A scaled integer; what was filled in is an integer without scale.
fn decimal(value: &Value, scale: u8) -> Option<i128> {
    match value {
        Value::Decimal(value, own) if *own == scale => Some(*value),
        Value::Int(value) => i128::from(*value).checked_mul(10_i128.checked_pow(u32::from(scale))?),
        _ => None,
    }
}

/// A line of CSV: nothing for null, a pair of quotes for empty text.
fn line(out: &mut Vec<u8>, cells: impl Iterator<Item = Option<String>>) {
    for (i, cell) in cells.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match cell {
            None => {}
            Some(cell) if cell.is_empty() || cell.contains(['"', ',', '\n', '\r']) => {
                out.extend_from_slice(format!("\"{}\"", cell.replace('"', "\"\"")).as_bytes());
            }
            Some(cell) => out.extend_from_slice(cell.as_bytes()),
        }
    }
    out.extend_from_slice(b"\r\n");
}
