//! Parquet files of which a reader fetches and verifies only what it uses: the commit seals the footer, the footer every column chunk.
//!
//! The footer's key `seam.blake3` holds the content hash of each column chunk, row group by row group; the table's commit holds
//! the hash of the footer. So a recompute of four columns neither reads nor hashes the payloads beside them, and yet no bit that
//! it uses goes unchecked.
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};

use crate::error::{Error, Result};
use crate::lake::verified;

/// Where a footer keeps the hashes of its file's column chunks.
pub const HASHES: &str = "seam.blake3";
/// After the footer's content: its length and the magic bytes.
const TAIL: usize = 8;

/// What a commit says of a file's footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// How many bytes at the end of the file it takes.
    pub bytes: u64,
    /// Their content hash.
    pub blake3: String,
}

/// A file whose footer is verified.
#[derive(Debug)]
pub struct SealedFile {
    path: Path,
    metadata: Arc<ParquetMetaData>,
    /// Of the column chunks, row group by row group.
    hashes: Vec<String>,
}

impl SealedFile {
    /// Reads and verifies the footer of the file at `path` with so many bytes.
    ///
    /// # Errors
    /// `Corrupt` naming the file when its footer is not what the commit says; `NotFound` naming it when it is missing;
    /// `Unavailable` when the store cannot be read.
    pub async fn open(store: &dyn ObjectStore, path: &Path, bytes: u64, footer: &Footer) -> Result<SealedFile> {
        let range = bytes.saturating_sub(footer.bytes)..bytes;
        let found = verified::get_parts(store, path, &[(range, &footer.blake3)]).await?;
        let strange = || Error::corrupt(format!("file {path} has a footer that no archiver writes"));
        let content =
            found.first().and_then(|found| found.get(..found.len().checked_sub(TAIL)?)).ok_or_else(strange)?;
        let metadata = ParquetMetaDataReader::decode_metadata(content).map_err(|e| strange().because(e))?;
        let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let hashes = pairs.filter(|pair| pair.key == HASHES).find_map(|pair| pair.value.as_deref()).unwrap_or("");
        let hashes: Vec<String> = hashes.split_ascii_whitespace().map(str::to_owned).collect();
        if hashes.len() != metadata.row_groups().iter().map(|group| group.num_columns()).sum::<usize>() {
            return Err(strange());
        }
        Ok(SealedFile { path: path.clone(), metadata: Arc::new(metadata), hashes })
    }
    /// Its path in the store.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// What the footer says.
    pub fn metadata(&self) -> &Arc<ParquetMetaData> {
        &self.metadata
    }
    /// About how much memory it takes.
    pub fn memory(&self) -> usize {
        let hashes: usize = self.hashes.iter().map(|hash| hash.len() + size_of::<String>()).sum();
        self.metadata.memory_size() + hashes
    }
    /// The bytes of some column chunks, named by row group and column.
    ///
    /// # Errors
    /// As [`SealedFile::open`].
    pub async fn chunks(&self, store: &dyn ObjectStore, wanted: &[(usize, usize)]) -> Result<Vec<Bytes>> {
        let part = |&(group, column): &(usize, usize)| {
            let before: usize = self.metadata.row_groups()[..group].iter().map(|group| group.num_columns()).sum();
            let chunk = self.metadata.row_group(group).column(column);
            (range_of(chunk), self.hashes[before + column].as_str())
        };
        verified::get_parts(store, &self.path, &wanted.iter().map(part).collect::<Vec<_>>()).await
    }
    /// The number of a column.
    ///
    /// # Errors
    /// `Corrupt` naming the file if it has no such column.
    pub fn column(&self, name: &str) -> Result<usize> {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        let found = columns.iter().position(|column| column.name() == name);
        found.ok_or_else(|| Error::corrupt(format!("file {} has no column {name}", self.path)))
    }
}

/// Where a column chunk lies in its file.
pub fn range_of(chunk: &ColumnChunkMetaData) -> Range<u64> {
    let (start, length) = chunk.byte_range();
    start..start + length
}
