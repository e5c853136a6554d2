//! The Parquet file of archived events: every record of whole segments, typed columns beside the original bytes.
//!
//! Rows are ordered by the UTC hour of their event time and within it by offset, invalid records last: the file of a quiet topic
//! spans days, and a reader that wants one of them skips the other row groups by their statistics.
mod again;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::Result;
use crate::event::batch::{Column, EventBatch, Excluded, Verdict};
use crate::lake::parquet_file::{GROUP_ROWS, Spelling, Writer, unbuilt, unread};
use crate::lake::sealed::Footer;
use crate::log::{Chunk, Offset};
use crate::time::{Span, Timestamp};
use crate::view::definition::Source;
use crate::view::value::{FieldType, Value};
pub use again::{decoded, holds, rewritten};

/// Digits of every decimal column.
pub const DECIMAL_DIGITS: u8 = 38;

const SPELLINGS: [(&str, Spelling); 5] = [
    ("seam_offset", Spelling::Differences { statistics: true }),
    ("seam_log_time", Spelling::Differences { statistics: true }),
    ("seam_time", Spelling::Differences { statistics: true }),
    ("seam_id", Spelling::Plain),
    ("seam_payload", Spelling::Plain),
];

/// A file's content and what the table says of it.
#[derive(Debug, Clone)]
pub struct Written {
    /// The Parquet file.
    pub bytes: Bytes,
    /// Its footer, which seals all else.
    pub footer: Footer,
    /// Its rows.
    pub rows: u64,
    /// The UTC days of its events, by their start, with how many rows count.
    pub days: BTreeMap<Timestamp, u64>,
    /// The first and last event time; `None` when no record is valid.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Its records that count nowhere.
    pub excluded: Excluded,
}

/// The columns of a source's archive. What a recompute reads lies side by side; ids and payloads are at the end.
pub fn schema(source: &Source) -> Schema {
    let mut fields = vec![
        Field::new("seam_partition", DataType::Int32, false),
        Field::new("seam_offset", DataType::Int64, false),
        Field::new("seam_log_time", timestamp_type(), false),
        Field::new("seam_verdict", DataType::Utf8, false),
        Field::new("seam_time", timestamp_type(), true),
    ];
    fields.extend(source.fields.iter().map(|f| Field::new(&f.name, column_type(f.field_type), true)));
    fields.push(Field::new("seam_id", DataType::Utf8, true));
    fields.push(Field::new("seam_payload", DataType::Binary, false));
    Schema::new(fields)
}

/// Microseconds in UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The Arrow type of a field's column.
pub fn column_type(field_type: FieldType) -> DataType {
    match field_type {
        FieldType::String => DataType::Utf8,
        FieldType::Bool => DataType::Boolean,
        FieldType::Int => DataType::Int64,
        FieldType::Decimal(scale) => DataType::Decimal128(DECIMAL_DIGITS, scale.cast_signed()),
        FieldType::Float => DataType::Float64,
    }
}

/// A verdict as the archive spells it.
pub fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Counts => "counts",
        Verdict::Duplicate => "duplicate",
        Verdict::Invalid => "invalid",
    }
}

/// Writes the records in `range` of decoded runs, each beside the chunk it was decoded from, in log order. Equal events
/// give equal bytes.
///
/// # Errors
/// `Internal` if a batch is not the source's.
pub fn write(source: &Source, partition: u32, parts: &[(EventBatch, Chunk)], range: Range<Offset>) -> Result<Written> {
    let places = order(parts, &range);
    let schema = schema(source);
    let mut writer = Writer::new(schema.clone(), &SPELLINGS, places.len())?;
    for group in places.chunks(GROUP_ROWS) {
        let columns = columns(source, partition, parts, group)?;
        writer.push(&RecordBatch::try_new(Arc::new(schema.clone()), columns).map_err(unbuilt)?)?;
    }
    let (bytes, footer) = writer.seal()?;
    let mut days = BTreeMap::new();
    let mut times: Option<(Timestamp, Timestamp)> = None;
    let mut excluded = Excluded::default();
    for place in &places {
        let batch = &parts[place.part].0;
        let (time, verdict) = (batch.times[place.row], batch.verdicts[place.row]);
        excluded.note(verdict);
        if verdict == Verdict::Counts {
            *days.entry(time.floor(Span::DAY)).or_insert(0) += 1;
        }
        if verdict != Verdict::Invalid {
            times = Some(times.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        }
    }
    Ok(Written { bytes, footer, rows: places.len() as u64, days, times, excluded })
}

/// Where a row of the file comes from.
#[derive(Clone, Copy)]
struct Place {
    part: usize,
    row: usize,
}

fn order(parts: &[(EventBatch, Chunk)], range: &Range<Offset>) -> Vec<Place> {
    let all = parts.iter().enumerate().flat_map(|(part, (batch, _))| {
        let start = batch.offsets.partition_point(|&offset| offset < range.start);
        let end = batch.offsets.partition_point(|&offset| offset < range.end);
        (start..end).map(move |row| Place { part, row })
    });
    let mut places: Vec<Place> = all.collect();
    places.sort_by_cached_key(|place| {
        let batch = &parts[place.part].0;
        let valid = batch.verdicts[place.row] != Verdict::Invalid;
        if valid { batch.times[place.row].floor(Span::HOUR).0 } else { i64::MAX }
    });
    places
}

fn columns(source: &Source, partition: u32, parts: &[(EventBatch, Chunk)], group: &[Place]) -> Result<Vec<ArrayRef>> {
    let batches = || group.iter().map(|place| (&parts[place.part].0, place.row));
    let payloads = group.iter().map(|place| parts[place.part].1.get(place.row).value);
    let log_times = TimestampMicrosecondArray::from_iter_values(batches().map(|(b, i)| b.log_times[i].0));
    let valid = |(b, i): (&EventBatch, usize)| (b.verdicts[i] != Verdict::Invalid).then_some(b.times[i].0);
    let times: TimestampMicrosecondArray = batches().map(valid).collect();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(group.iter().map(|_| partition.cast_signed()))),
        Arc::new(Int64Array::from_iter_values(batches().map(|(b, i)| b.offsets[i].0.cast_signed()))),
        Arc::new(log_times.with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(batches().map(|(b, i)| verdict_text(b.verdicts[i])))),
        Arc::new(times.with_timezone("UTC")),
    ];
    for (index, field) in source.fields.iter().enumerate() {
        columns.push(column(field.field_type, index, parts, group)?);
    }
    columns.push(Arc::new(batches().map(|(b, i)| b.ids.get(i)).collect::<StringArray>()));
    columns.push(Arc::new(BinaryArray::from_iter_values(payloads)));
    Ok(columns)
}

fn column(field_type: FieldType, index: usize, parts: &[(EventBatch, Chunk)], group: &[Place]) -> Result<ArrayRef> {
    // what an invalid record's columns hold is meaningless
    let rows = || {
        group.iter().map(|place| {
            let batch = &parts[place.part].0;
            (batch.verdicts[place.row] != Verdict::Invalid).then_some((batch, place.row))
        })
    };
    Ok(match field_type {
        FieldType::String => Arc::new(rows().map(|r| r.and_then(|(b, i)| text(b, index, i))).collect::<StringArray>()),
        FieldType::Bool => {
            Arc::new(rows().map(|r| r.and_then(|(b, i)| boolean(b, index, i))).collect::<BooleanArray>())
        }
        FieldType::Int => Arc::new(rows().map(|r| r.and_then(|(b, i)| integer(b, index, i))).collect::<Int64Array>()),
        FieldType::Float => {
            Arc::new(rows().map(|r| r.and_then(|(b, i)| double(b, index, i))).collect::<Float64Array>())
        }
        FieldType::Decimal(scale) => {
            let values: Decimal128Array = rows().map(|r| r.and_then(|(b, i)| decimal(b, index, i))).collect();
            Arc::new(values.with_precision_and_scale(DECIMAL_DIGITS, scale.cast_signed()).map_err(unbuilt)?)
        }
    })
}

fn text(batch: &EventBatch, column: usize, row: usize) -> Option<&str> {
    match &batch.columns[column] {
        Column::Str(codes) => match &batch.dictionaries[column][codes[row] as usize] {
            Value::Str(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn boolean(batch: &EventBatch, column: usize, row: usize) -> Option<bool> {
    match &batch.columns[column] {
        Column::Bool(values, present) => present[row].then_some(values[row]),
        _ => None,
    }
}

fn integer(batch: &EventBatch, column: usize, row: usize) -> Option<i64> {
    match &batch.columns[column] {
        Column::Int(values, present) => present[row].then_some(values[row]),
        _ => None,
    }
}

fn double(batch: &EventBatch, column: usize, row: usize) -> Option<f64> {
    match &batch.columns[column] {
        Column::Float(values, present) => present[row].then_some(values[row]),
        _ => None,
    }
}

fn decimal(batch: &EventBatch, column: usize, row: usize) -> Option<i128> {
    match &batch.columns[column] {
        Column::Decimal(values, present, _) => present[row].then_some(values[row]),
        _ => None,
    }
}

/// What the duplicate rule needs of an archive file, in offset order: offsets, log times, verdicts and ids. No event times, no
/// fields.
///
/// # Errors
/// `Corrupt` if the bytes are no archive file.
pub fn read_ids(bytes: &Bytes) -> Result<EventBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|e| unread().because(e))?;
    let columns = reader.parquet_schema();
    let mask = ProjectionMask::columns(columns, ["seam_offset", "seam_log_time", "seam_verdict", "seam_id"]);
    let reader = reader.with_projection(mask).build().map_err(|e| unread().because(e))?;
    let mut rows = Vec::new();
    for batch in reader {
        read_id_columns(&batch.map_err(|e| unread().because(e))?, &mut rows).ok_or_else(unread)?;
    }
    rows.sort_unstable_by_key(|row| row.0);
    let mut batch = EventBatch::default();
    for (offset, log_time, verdict, id) in rows {
        batch.offsets.push(Offset(offset.cast_unsigned()));
        batch.log_times.push(Timestamp(log_time));
        batch.verdicts.push(verdict);
        batch.ids.push(id.as_deref());
    }
    Ok(batch)
}

/// The records of an archive file as the log had them, in offset order. `next` is behind the last of them.
///
/// # Errors
/// `Corrupt` if the bytes are no archive file.
pub fn read_records(bytes: &Bytes) -> Result<Chunk> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|e| unread().because(e))?;
    let columns = reader.parquet_schema();
    let mask = ProjectionMask::columns(columns, ["seam_offset", "seam_log_time", "seam_payload"]);
    let reader = reader.with_projection(mask).build().map_err(|e| unread().because(e))?;
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().map_err(|e| unread().because(e))?;
    let mut places = Vec::new();
    for (part, batch) in batches.iter().enumerate() {
        let offsets = batch.column(0).as_primitive_opt::<Int64Type>().ok_or_else(unread)?;
        places.extend(offsets.values().iter().enumerate().map(|(row, offset)| (*offset, part, row)));
    }
    places.sort_unstable();
    let mut chunk = Chunk::at(Offset(places.first().map_or(0, |(offset, ..)| offset.cast_unsigned())));
    for (offset, part, row) in places {
        let batch = &batches[part];
        let log_times = batch.column(1).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(unread)?;
        let payloads = batch.column(2).as_binary_opt::<i32>().ok_or_else(unread)?;
        let offset = Offset(offset.cast_unsigned());
        if offset < chunk.next {
            return Err(unread());
        }
        chunk.push(offset, Timestamp(log_times.value(row)), payloads.value(row));
    }
    Ok(chunk)
}

type IdRow = (i64, i64, Verdict, Option<Box<str>>);

fn read_id_columns(batch: &RecordBatch, rows: &mut Vec<IdRow>) -> Option<()> {
    let offsets = batch.column(0).as_primitive_opt::<Int64Type>()?.values();
    let log_times = batch.column(1).as_primitive_opt::<TimestampMicrosecondType>()?.values();
    let (verdicts, ids) = (batch.column(2).as_string_opt::<i32>()?, batch.column(3).as_string_opt::<i32>()?);
    for ((offset, log_time), (verdict, id)) in offsets.iter().zip(log_times).zip(verdicts.iter().zip(ids)) {
        let verdict = match verdict? {
            "counts" => Verdict::Counts,
            "duplicate" => Verdict::Duplicate,
            "invalid" => Verdict::Invalid,
            _ => return None,
        };
        rows.push((*offset, *log_time, verdict, id.map(Into::into)));
    }
    Some(())
}
