//! How Seam writes and reads Parquet: the same rows always give the same bytes.
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::{Error, Result};

/// Rows of a row group: what a reader skips or reads as one.
pub const GROUP_ROWS: usize = 131_072;
/// Rows of a first row group up to which a file is not compressed: a compressor a column would take longer than all the rest,
/// and save little beside the footer.
const PLAIN_ROWS: usize = 32;
/// A dictionary may grow to this, so that a group's column has one dictionary or none.
const DICTIONARY_BYTES: usize = 16 << 20;

/// How a column is spelled when not in a dictionary with statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Few values repeat: no dictionary. Nobody looks for one: no statistics.
    Plain,
    /// Integers that differ little from row to row, which is all that is written.
    Differences {
        /// Whether readers skip row groups by it.
        statistics: bool,
    },
    /// Many values repeat but nobody looks for one: no statistics.
    Repeating,
}

/// A Parquet file of `batches`, one row group each.
///
/// # Errors
/// `Internal` if the batches are not of `schema`.
pub fn write<I>(schema: Schema, spellings: &[(&str, Spelling)], batches: I) -> Result<Bytes>
where
    I: IntoIterator<Item = Result<RecordBatch>>,
{
    let mut batches = batches.into_iter().peekable();
    let is_small = batches.peek().is_none_or(|batch| batch.as_ref().is_ok_and(|batch| batch.num_rows() <= PLAIN_ROWS));
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("zstd has a level 1"));
    let mut properties = WriterProperties::builder()
        .set_created_by("Seam".to_owned())
        .set_compression(if is_small { Compression::UNCOMPRESSED } else { zstd })
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    for (name, spelling) in spellings {
        let column = ColumnPath::from(*name);
        if *spelling != Spelling::Repeating {
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        if let Spelling::Differences { .. } = spelling {
            properties = properties.set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if !matches!(spelling, Spelling::Differences { statistics: true }) {
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
        }
    }
    // without Arrow's own schema in the file, every reader sees plain Parquet types
    let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut out, Arc::new(schema), options).map_err(unwritten)?;
    for batch in batches {
        writer.write(&batch?).map_err(unwritten)?;
        writer.flush().map_err(unwritten)?;
    }
    writer.close().map_err(unwritten)?;
    Ok(out.into())
}

/// The footer of a file, with its columns read as `schema` says.
///
/// # Errors
/// `Corrupt` if the bytes are no Parquet file of that schema.
pub fn footer(bytes: &Bytes, schema: Schema) -> Result<ArrowReaderMetadata> {
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::load(bytes, options).map_err(|e| unread().because(e))
}

/// The error for bytes that are not what the schema promises.
pub fn unread() -> Error {
    Error::corrupt("a parquet file has other contents than the table says")
}

/// The error of an array that cannot be built.
pub fn unbuilt(error: ArrowError) -> Error {
    Error::internal("rows do not fit their columns").because(error)
}

fn unwritten(error: ParquetError) -> Error {
    Error::internal("a parquet file cannot be written").because(error)
}
