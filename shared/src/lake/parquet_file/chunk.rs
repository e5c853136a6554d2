//! Column chunks that are spelled here and not by the library: numbers and codes of texts, a row group at a time and without a copy of
//! them as Arrow has it. Each is what any reader of Parquet knows: one dictionary or none, and one data page of the second version.
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::encode::{code_width, codes, differences, varint};
use super::unwritten;
use crate::error::{Error, Result};

const LEVEL: i32 = 1;
/// A page is compressed if that saves one byte of so many …
const SAVES: usize = 16;
/// … of its first ones.
const SAMPLE: usize = 16 << 10;
/// Integers may be put into a dictionary if there are at most so many between the least and the largest for each of them: there is a
/// bit for each.
const PLACES: u64 = 64;

/// The cells of a column in a row group.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cells<T> {
    /// Those that are there.
    pub values: Vec<T>,
    /// By row whether one is; nothing if all are.
    pub present: Vec<bool>,
}

impl<T> Cells<T> {
    /// Appends cells of rows that all have one.
    pub fn extend(&mut self, values: impl ExactSizeIterator<Item = T>) {
        if !self.present.is_empty() {
            self.present.resize(self.present.len() + values.len(), true);
        }
        self.values.extend(values);
    }
    /// Appends a cell.
    pub fn push(&mut self, value: Option<T>) {
        if self.present.is_empty() && value.is_none() {
            self.present.resize(self.values.len(), true);
        }
        if value.is_none() || !self.present.is_empty() {
            self.present.push(value.is_some());
        }
        self.values.extend(value);
    }
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        if self.present.is_empty() { self.values.len() } else { self.present.len() }
    }
    /// Takes all out, but not the memory for as many.
    pub fn clear(&mut self) {
        self.values.clear();
        self.present.clear();
    }
}

/// The bytes of a column in a row group.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// What goes into the file.
    pub bytes: Bytes,
    rows: usize,
    compression: Compression,
    uncompressed: usize,
    data_page: u64,
    encoding: Encoding,
    statistics: Option<Statistics>,
}

impl Chunk {
    /// What the footer is to say of it as that column's.
    ///
    /// # Errors
    /// `Internal` if it cannot be said.
    pub fn close(&self, column: ColumnDescPtr) -> Result<ColumnCloseResult> {
        let page = |page_type, encoding| PageEncodingStats { page_type, encoding, count: 1 };
        let (mut pages, mut encodings) = (Vec::new(), vec![self.encoding, Encoding::RLE]);
        if self.data_page > 0 {
            pages.push(page(PageType::DICTIONARY_PAGE, Encoding::PLAIN));
            encodings.push(Encoding::PLAIN);
        }
        pages.push(page(PageType::DATA_PAGE_V2, self.encoding));
        let mut metadata = ColumnChunkMetaData::builder(column)
            .set_encodings(encodings)
            .set_page_encoding_stats(pages)
            .set_compression(self.compression)
            .set_num_values(self.rows as i64)
            .set_total_compressed_size(self.bytes.len() as i64)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .set_data_page_offset(self.data_page as i64)
            .set_dictionary_page_offset((self.data_page > 0).then_some(0));
        if let Some(statistics) = &self.statistics {
            metadata = metadata.set_statistics(statistics.clone());
        }
        Ok(ColumnCloseResult {
            bytes_written: self.bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata: metadata.build().map_err(unwritten)?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        })
    }
}

/// Makes chunks; with memory that is used again.
#[derive(Default)]
pub struct Spelling {
    zstd: Option<Compressor<'static>>,
    page: Vec<u8>,
    dictionary: Vec<u8>,
    codes: Vec<u32>,
    /// By distance from the least value, a bit for each that occurs.
    seen: Vec<u64>,
    /// By word of these, how many occur before it.
    before: Vec<u32>,
}

impl std::fmt::Debug for Spelling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spelling").finish_non_exhaustive()
    }
}

impl Spelling {
    /// Begins a file whose pages are compressed, or not. Its compressor knows nothing of files before.
    ///
    /// # Errors
    /// `Internal` if there is no compressor.
    pub fn begin(&mut self, compressed: bool) -> Result<()> {
        self.zstd = compressed.then(|| Compressor::new(LEVEL)).transpose().map_err(unpacked)?;
        Ok(())
    }
    /// Integers by their differences.
    ///
    /// # Errors
    /// `Internal` if they do not fit into a page.
    pub fn integers(&mut self, cells: &Cells<i64>, nullable: bool, statistics: bool) -> Result<Chunk> {
        let statistics = statistics.then(|| {
            let (least, largest) = (cells.values.iter().min().copied(), cells.values.iter().max().copied());
            Statistics::int64(least, largest, None, Some((cells.rows() - cells.values.len()) as u64), false)
        });
        self.page.clear();
        differences(&cells.values, &mut self.page);
        let chunk = self.chunk(cells, nullable, Encoding::DELTA_BINARY_PACKED, None)?;
        Ok(Chunk { statistics, ..chunk })
    }
    /// Decimals of 16 bytes, which may be missing: in a dictionary if they are close to each other and every second one repeats.
    ///
    /// # Errors
    /// As [`Spelling::integers`].
    pub fn decimals(&mut self, cells: &Cells<i64>) -> Result<Chunk> {
        let values = &cells.values;
        let (least, largest) = values.iter().fold((i64::MAX, i64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let apart = largest.wrapping_sub(least).cast_unsigned();
        if least <= largest && apart < PLACES * values.len() as u64 {
            let distinct = self.number(values, least, apart as usize);
            if distinct * 2 <= values.len() {
                self.page.clear();
                let width = code_width(distinct);
                self.page.push(width as u8);
                codes(&self.codes, width, &mut self.page);
                return self.chunk(cells, true, Encoding::RLE_DICTIONARY, Some(distinct));
            }
        }
        self.page.clear();
        self.page.extend(values.iter().flat_map(|value| i128::from(*value).to_be_bytes()));
        self.chunk(cells, true, Encoding::PLAIN, None)
    }
    /// The same for those that do not fit into 64 bits.
    ///
    /// # Errors
    /// As [`Spelling::integers`].
    pub fn wide_decimals(&mut self, cells: &Cells<i128>) -> Result<Chunk> {
        self.page.clear();
        self.page.extend(cells.values.iter().flat_map(|value| value.to_be_bytes()));
        self.chunk(cells, true, Encoding::PLAIN, None)
    }
    /// Texts, which may be missing, by their numbers in a dictionary.
    ///
    /// # Errors
    /// As [`Spelling::integers`].
    pub fn texts<'a>(&mut self, cells: &Cells<u32>, dictionary: impl Iterator<Item = &'a str>) -> Result<Chunk> {
        self.dictionary.clear();
        let mut count = 0;
        for text in dictionary {
            let length = u32::try_from(text.len()).map_err(|e| Error::internal("a text is too long").because(e))?;
            self.dictionary.extend_from_slice(&length.to_le_bytes());
            self.dictionary.extend_from_slice(text.as_bytes());
            count += 1;
        }
        self.page.clear();
        let width = code_width(count);
        self.page.push(width as u8);
        codes(&cells.values, width, &mut self.page);
        self.chunk(cells, true, Encoding::RLE_DICTIONARY, Some(count))
    }

    /// Makes the dictionary of values and their codes, both in ascending order; tells how many differ.
    fn number(&mut self, values: &[i64], least: i64, apart: usize) -> usize {
        let Spelling { dictionary, codes, seen, before, .. } = self;
        let place = |value: i64| value.wrapping_sub(least) as usize;
        seen.clear();
        seen.resize(apart / 64 + 1, 0);
        values.iter().map(|value| place(*value)).for_each(|at| seen[at / 64] |= 1 << (at % 64));
        dictionary.clear();
        before.clear();
        let mut distinct = 0;
        for (word, bits) in seen.iter().enumerate() {
            before.push(distinct);
            distinct += bits.count_ones();
            let mut bits = *bits;
            while bits != 0 {
                let at = word * 64 + bits.trailing_zeros() as usize;
                dictionary.extend_from_slice(&i128::from(least + at as i64).to_be_bytes());
                bits &= bits - 1;
            }
        }
        codes.clear();
        codes.extend(values.iter().map(|value| {
            let at = place(*value);
            before[at / 64] + (seen[at / 64] & ((1 << (at % 64)) - 1)).count_ones()
        }));
        distinct as usize
    }
    /// The chunk of what is in `page`, and in `dictionary` if that has so many values.
    fn chunk<T>(
        &mut self,
        cells: &Cells<T>,
        nullable: bool,
        encoding: Encoding,
        dictionary: Option<usize>,
    ) -> Result<Chunk> {
        let compression = match self.zstd {
            Some(_) => Compression::ZSTD(ZstdLevel::try_new(LEVEL).map_err(unwritten)?),
            None => Compression::UNCOMPRESSED,
        };
        let mut out = TrackedWrite::new(Vec::new());
        let mut write = |page, length| {
            SerializedPageWriter::new(&mut out).write_page(CompressedPage::new(page, length)).map_err(unwritten)
        };
        let (mut uncompressed, mut data_page) = (0, 0);
        if let Some(count) = dictionary {
            let buf = match &mut self.zstd {
                Some(zstd) => zstd.compress(&self.dictionary).map_err(unpacked)?,
                None => self.dictionary.clone(),
            };
            let (buf, num_values) = (buf.into(), count as u32);
            let page = Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: false };
            let written = write(page, self.dictionary.len())?;
            (uncompressed, data_page) = (written.uncompressed_size, written.bytes_written);
        }
        let rows = cells.rows();
        let mut buf = if nullable { levels(cells) } else { Vec::new() };
        let (levels, length) = (buf.len(), buf.len() + self.page.len());
        let packed = smaller(self.zstd.as_mut(), &self.page)?;
        buf.extend_from_slice(packed.as_deref().unwrap_or(&self.page));
        let page = Page::DataPageV2 {
            buf: buf.into(),
            num_values: rows as u32,
            encoding,
            num_nulls: (rows - cells.values.len()) as u32,
            num_rows: rows as u32,
            def_levels_byte_len: levels as u32,
            rep_levels_byte_len: 0,
            is_compressed: packed.is_some(),
            statistics: None,
        };
        uncompressed += write(page, length)?.uncompressed_size;
        let bytes = out.into_inner().map_err(unwritten)?.into();
        Ok(Chunk { bytes, rows, compression, uncompressed, data_page, encoding, statistics: None })
    }
}

/// The page compressed, if that pays: told by its first bytes.
fn smaller(zstd: Option<&mut Compressor<'static>>, page: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(zstd) = zstd else { return Ok(None) };
    let mut pays = |part: &[u8]| -> Result<Option<Vec<u8>>> {
        let packed = zstd.compress(part).map_err(unpacked)?;
        Ok((packed.len() < part.len() - part.len() / SAVES).then_some(packed))
    };
    match page.get(..SAMPLE) {
        Some(sample) if pays(sample)?.is_none() => Ok(None),
        _ => pays(page),
    }
}

/// By row whether there is a cell, as Parquet spells it.
fn levels<T>(cells: &Cells<T>) -> Vec<u8> {
    let mut out = Vec::new();
    if cells.present.is_empty() {
        varint((cells.values.len() as u64) << 1, &mut out);
        out.push(1);
        return out;
    }
    let levels: Vec<u32> = cells.present.iter().map(|present| u32::from(*present)).collect();
    codes(&levels, 1, &mut out);
    out
}

fn unpacked(error: std::io::Error) -> Error {
    Error::internal("zstd failed").because(error)
}

#[cfg(test)]
mod tests;
