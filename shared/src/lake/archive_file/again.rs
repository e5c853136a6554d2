//! Archived events decoded again, from the bytes that the file keeps: by the fields that their source has now.
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Type as Physical;
use parquet::file::metadata::ParquetMetaData;

use super::{Written, read_ids, read_records, write};
use crate::error::{Error, Result};
use crate::event::batch::{EventBatch, Verdict};
use crate::event::decode::Decoder;
use crate::log::{Chunk, Offset};
use crate::view::definition::{Field, Source};
use crate::view::value::FieldType;

/// The records of a file, decoded as `source` has them. Their verdicts are those that they were archived with.
///
/// # Errors
/// `Corrupt` if the bytes are no archive file; `Invalid` naming an event that counted when it came and is none of the source's events
/// now, or the other way round.
pub fn decoded(source: &Arc<Source>, bytes: &Bytes) -> Result<(Chunk, EventBatch)> {
    let chunk = read_records(bytes)?;
    let mut batch = Decoder::new(source.clone()).decode(&chunk);
    let kept = read_ids(bytes)?;
    if kept.offsets != batch.offsets {
        return Err(Error::corrupt("an archive file holds other verdicts than records"));
    }
    for (row, (now, then)) in batch.verdicts.iter().zip(&kept.verdicts).enumerate() {
        let (now, then) = (*now != Verdict::Invalid, *then != Verdict::Invalid);
        if now != then {
            let word = |valid| if valid { "valid" } else { "refused" };
            let (name, offset) = (&source.name, batch.offsets[row]);
            return Err(Error::invalid(format!(
                "the event of {name} at offset {offset} was {} when it came and would be {} now: give the changed source another \
                 name",
                word(then),
                word(now)
            )));
        }
    }
    batch.verdicts = kept.verdicts;
    Ok((chunk, batch))
}

/// Whether a file has the column of a field, as it is now.
pub fn holds(file: &ParquetMetaData, field: &Field) -> bool {
    let columns = file.file_metadata().schema_descr().columns();
    let Some(column) = columns.iter().find(|column| column.name() == field.name) else { return false };
    match field.field_type {
        FieldType::String => column.physical_type() == Physical::BYTE_ARRAY,
        FieldType::Bool => column.physical_type() == Physical::BOOLEAN,
        FieldType::Int => column.physical_type() == Physical::INT64,
        FieldType::Float => column.physical_type() == Physical::DOUBLE,
        FieldType::Decimal(scale) => {
            let digits = column.physical_type() == Physical::FIXED_LEN_BYTE_ARRAY;
            digits && column.type_scale() == i32::from(scale)
        }
    }
}

/// The file that would have been written had the source had the fields then that it has now.
///
/// # Errors
/// As [`decoded`].
pub fn rewritten(source: &Arc<Source>, partition: u32, bytes: &Bytes) -> Result<Written> {
    let (chunk, batch) = decoded(source, bytes)?;
    write(source, partition, &[(batch, chunk)], Offset(0)..Offset(u64::MAX))
}
