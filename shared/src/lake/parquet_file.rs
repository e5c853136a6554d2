//! How Seam writes and reads Parquet: the same rows always give the same bytes.
pub mod chunk;
mod encode;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriterOptions};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::error::{Error, Result};
use crate::lake::sealed::{self, Footer};
use crate::lake::verified;

/// Rows of a row group: what a reader skips or reads as one.
pub const GROUP_ROWS: usize = 131_072;
/// Rows of a row group in a file by key: what is read for one key, and how finely the footer tells keys apart.
pub const KEYED_GROUP_ROWS: usize = 8_192;
/// Rows up to which a file is not compressed: a compressor a column would take longer than all the rest, and save little beside
/// the footer.
pub const PLAIN_ROWS: usize = 32;
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

/// A Parquet file in the making.
#[derive(Debug)]
pub struct Writer {
    writer: ArrowWriter<Vec<u8>>,
}

impl Writer {
    /// No rows yet, and how many there will be, if that is few.
    ///
    /// # Errors
    /// `Internal` for a schema that Parquet does not know.
    pub fn new(schema: Schema, spellings: &[(&str, Spelling)], rows: usize) -> Result<Writer> {
        Writer::with_groups(schema, spellings, rows, GROUP_ROWS)
    }
    /// The same with so many rows in a row group.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn with_groups(
        schema: Schema,
        spellings: &[(&str, Spelling)],
        rows: usize,
        group_rows: usize,
    ) -> Result<Writer> {
        let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("zstd has a level 1"));
        let mut properties = WriterProperties::builder()
            .set_created_by("Seam".to_owned())
            // only since this version may decimals be in a dictionary; its other novelties are not used
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_encoding(Encoding::PLAIN)
            .set_compression(if rows <= PLAIN_ROWS { Compression::UNCOMPRESSED } else { zstd })
            .set_max_row_group_row_count(Some(group_rows))
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
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::new(schema), options).map_err(unwritten)?;
        Ok(Writer { writer })
    }
    /// Appends rows. Row groups are full, but for the last.
    ///
    /// # Errors
    /// `Internal` if the rows are not of the schema.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        self.writer.write(rows).map_err(unwritten)
    }
    /// The file before its first row, to be written column by column, and what writes columns of Arrow.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub fn into_columns(self) -> Result<(SerializedFileWriter<Vec<u8>>, ArrowRowGroupWriterFactory)> {
        self.writer.into_serialized_writer().map_err(unwritten)
    }
    /// The file.
    ///
    /// # Errors
    /// `Internal` if the rows do not fit into a file.
    pub fn finish(self) -> Result<Bytes> {
        Ok(self.writer.into_inner().map_err(unwritten)?.into())
    }
    /// The file, with the hashes of its column chunks in its footer.
    ///
    /// # Errors
    /// As [`Writer::finish`].
    pub fn seal(mut self) -> Result<(Bytes, Footer)> {
        self.writer.flush().map_err(unwritten)?;
        self.writer.sync().map_err(|e| unwritten(e.into()))?;
        let (bytes, groups) = (self.writer.inner(), self.writer.flushed_row_groups());
        let ranges: Vec<_> = groups.iter().flat_map(|group| group.columns()).map(sealed::range_of).collect();
        let hashes: Vec<String> =
            ranges.iter().map(|r| verified::hash(&bytes[r.start as usize..r.end as usize])).collect();
        let content = bytes.len();
        self.writer.append_key_value_metadata(KeyValue::new(sealed::HASHES.to_owned(), hashes.join(" ")));
        let bytes = self.finish()?;
        let footer = &bytes[content..];
        let footer = Footer { bytes: footer.len() as u64, blake3: verified::hash(footer) };
        Ok((bytes, footer))
    }
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

/// The error of a file that cannot be written.
pub fn unwritten(error: ParquetError) -> Error {
    Error::internal("a parquet file cannot be written").because(error)
}
