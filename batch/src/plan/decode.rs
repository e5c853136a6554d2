//! Column chunks as vectors of numbers. Parquet's own decoders do it, given another dictionary where that spares work.
//!
//! Where a chunk is wholly in a dictionary, the values of the dictionary are turned into the numbers that are wanted (a text into its
//! code or hash, a decimal into an integer) and put in its place before the same data pages: so a text is looked at once a row group.
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, Repetition, Type as Physical};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArrayType, DataType, FixedLenByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::SerializedPageReader;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, ColumnPath, Type};
use seam_shared::error::{Error, Result};
use seam_shared::lake::sealed::range_of;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

/// Bytes of a decimal in an archive file.
const DECIMAL_BYTES: usize = 16;

/// A column of a row group.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Its pages.
    pub bytes: &'a Bytes,
    /// What the footer says of it.
    pub was: &'a ColumnChunkMetaData,
    /// The rows of the group.
    pub rows: usize,
}

/// A cell for each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells<T> {
    /// Anything where a cell is missing.
    pub values: Vec<T>,
    /// The rows, ascending, whose cell is missing.
    pub missing: Vec<u32>,
}

/// Vectors to use again: memory that is fresh for each row group costs as much as decoding into it.
#[derive(Default)]
pub struct Spare {
    /// Of integers.
    pub integers: Vec<Vec<i64>>,
    /// Of codes.
    pub codes: Vec<Vec<i32>>,
    levels: Vec<i16>,
    zstd: Option<Decompressor<'static>>,
}

impl std::fmt::Debug for Spare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spare").finish_non_exhaustive()
    }
}

/// A number that texts can be turned into within a dictionary.
pub trait Number: Default + Copy {
    /// Parquet's type of it.
    type Type: DataType<T = Self>;
    /// As a dictionary spells it.
    fn spell(self, out: &mut Vec<u8>);
    /// The vectors of its kind.
    fn spare(spare: &mut Spare) -> &mut Vec<Vec<Self>>;
}

impl Number for i32 {
    type Type = Int32Type;
    fn spell(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn spare(spare: &mut Spare) -> &mut Vec<Vec<i32>> {
        &mut spare.codes
    }
}

impl Number for i64 {
    type Type = Int64Type;
    fn spell(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn spare(spare: &mut Spare) -> &mut Vec<Vec<i64>> {
        &mut spare.integers
    }
}

/// The cells of a column as they are.
///
/// # Errors
/// `Corrupt` if it is of another type or not what an archiver writes.
pub fn plain<T: DataType>(chunk: Chunk<'_>, spare: &mut Spare) -> Result<Cells<T::T>>
where
    T::T: Default,
{
    let values = read_plain::<T>(chunk, Vec::new(), spare)?;
    spread(values, &spare.levels, chunk.rows)
}

/// The cells of a column of integers.
///
/// # Errors
/// As [`plain`].
pub fn integers(chunk: Chunk<'_>, spare: &mut Spare) -> Result<Cells<i64>> {
    let values = spare.integers.pop().unwrap_or_default();
    let values = read_plain::<Int64Type>(chunk, values, spare)?;
    spread(values, &spare.levels, chunk.rows)
}

/// The cells of a text column as numbers: each text of a dictionary is turned into one once, others cell by cell.
///
/// # Errors
/// As [`plain`].
pub fn texts<N: Number>(chunk: Chunk<'_>, spare: &mut Spare, mut number: impl FnMut(&str) -> N) -> Result<Cells<N>> {
    if chunk.was.column_type() == Physical::BYTE_ARRAY && only_dictionary(chunk.was) {
        let mut pages = Pages::read(chunk, spare)?;
        let (content, count) = pages.dictionary()?;
        let (mut texts, mut numbers) = (&*content, Vec::with_capacity(count * size_of::<N>()));
        for _ in 0..count {
            let (length, rest) = texts.split_first_chunk().ok_or_else(unread)?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(unread)?;
            number(text_of(text)?).spell(&mut numbers);
            texts = rest;
        }
        return swapped(chunk, numbers, count, pages, spare);
    }
    let cells = read_plain::<ByteArrayType>(chunk, Vec::new(), spare)?;
    let values = cells.iter().map(|cell| Ok(number(text_of(cell.data())?))).collect::<Result<Vec<N>>>()?;
    spread(values, &spare.levels, chunk.rows)
}

/// Decimals: as 64-bit integers if all of them fit.
#[derive(Debug)]
pub enum Decimals {
    /// They do.
    Narrow(Cells<i64>),
    /// They do not.
    Wide(Cells<i128>),
}

/// The cells of a decimal column, unscaled.
///
/// # Errors
/// As [`plain`].
pub fn decimals(chunk: Chunk<'_>, spare: &mut Spare) -> Result<Decimals> {
    if chunk.was.column_type() == Physical::FIXED_LEN_BYTE_ARRAY && only_dictionary(chunk.was) {
        let mut pages = Pages::read(chunk, spare)?;
        let (content, count) = pages.dictionary()?;
        let decimals = content.as_chunks::<DECIMAL_BYTES>().0;
        if decimals.len() != count {
            return Err(unread());
        }
        let mut numbers = Vec::with_capacity(count * 8);
        let narrow = decimals.iter().try_for_each(|decimal| {
            i64::try_from(i128::from_be_bytes(*decimal)).map(|number| number.spell(&mut numbers))
        });
        if narrow.is_ok() {
            return Ok(Decimals::Narrow(swapped(chunk, numbers, count, pages, spare)?));
        }
    }
    let cells = read_plain::<FixedLenByteArrayType>(chunk, Vec::new(), spare)?;
    let levels = &spare.levels;
    let wide = |cell: &[u8]| cell.try_into().map(i128::from_be_bytes).map_err(|_| unread());
    let values = cells.iter().map(|cell| wide(cell.data())).collect::<Result<Vec<i128>>>()?;
    match values.iter().map(|value| i64::try_from(*value)).collect::<Result<Vec<i64>, _>>() {
        Ok(narrow) => Ok(Decimals::Narrow(spread(narrow, levels, chunk.rows)?)),
        Err(_) => Ok(Decimals::Wide(spread(values, levels, chunk.rows)?)),
    }
}

fn text_of(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| unread().because(error))
}

fn only_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    if chunk.dictionary_page_offset().is_none() {
        return false;
    }
    if let Some(pages) = chunk.page_encoding_stats() {
        let data = |kind| matches!(kind, PageType::DATA_PAGE | PageType::DATA_PAGE_V2);
        return pages.iter().all(|page| !data(page.page_type) || page.encoding == Encoding::RLE_DICTIONARY);
    }
    chunk.page_encoding_stats_mask().is_some_and(|mask| mask.is_only(Encoding::RLE_DICTIONARY))
}

/// What the data pages say with another dictionary.
fn swapped<N: Number>(
    chunk: Chunk<'_>,
    dictionary: Vec<u8>,
    count: usize,
    mut pages: Pages,
    spare: &mut Spare,
) -> Result<Cells<N>> {
    pages.pages.push_front(Page::DictionaryPage {
        buf: dictionary.into(),
        num_values: count as u32,
        encoding: Encoding::PLAIN,
        is_sorted: false,
    });
    let values = N::spare(spare).pop().unwrap_or_default();
    let values = read::<N::Type>(chunk, pages, values, spare)?;
    spread(values, &spare.levels, chunk.rows)
}

/// The values of a column as it is.
fn read_plain<T: DataType>(chunk: Chunk<'_>, values: Vec<T::T>, spare: &mut Spare) -> Result<Vec<T::T>> {
    if chunk.was.column_type() != T::get_physical_type() {
        return Err(unread());
    }
    read::<T>(chunk, Pages::read(chunk, spare)?, values, spare)
}

/// The values that are there, in the place of what is in `values`, and by row whether one is.
fn read<T: DataType>(
    chunk: Chunk<'_>,
    pages: Pages,
    mut values: Vec<T::T>,
    Spare { levels, .. }: &mut Spare,
) -> Result<Vec<T::T>> {
    values.clear();
    values.reserve(chunk.rows);
    levels.clear();
    // where nothing is missing, nobody need look what is
    let nullable = if pages.whole { 0 } else { chunk.was.column_descr().max_def_level() };
    let column = column(T::get_physical_type(), nullable, chunk.was.column_descr().type_length())?;
    let mut reader = ColumnReaderImpl::<T>::new(column, Box::new(pages));
    let (rows, _, _) = reader.read_records(chunk.rows, Some(levels), None, &mut values).map_err(strange)?;
    if rows == chunk.rows { Ok(values) } else { Err(unread()) }
}

fn column(physical: Physical, nullable: i16, length: i32) -> Result<ColumnDescPtr> {
    let repetition = if nullable > 0 { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let kind = Type::primitive_type_builder("cells", physical).with_repetition(repetition).with_length(length);
    let kind = kind.build().map_err(strange)?;
    Ok(Arc::new(ColumnDescriptor::new(Arc::new(kind), nullable, 0, ColumnPath::from("cells"))))
}

/// Each value in its row.
fn spread<T: Default + Clone>(values: Vec<T>, levels: &[i16], rows: usize) -> Result<Cells<T>> {
    if values.len() == rows {
        return Ok(Cells { values, missing: Vec::new() });
    }
    if levels.len() != rows {
        return Err(unread());
    }
    let missing = (0..).zip(levels).filter(|(_, level)| **level == 0).map(|(row, _)| row).collect();
    let mut next = values.into_iter();
    let cells = levels.iter().map(|level| if *level == 0 { Some(T::default()) } else { next.next() });
    Ok(Cells { values: cells.collect::<Option<Vec<T>>>().ok_or_else(unread)?, missing })
}

/// The pages of a chunk, decompressed.
struct Pages {
    pages: VecDeque<Page>,
    /// Whether no cell is missing, as each of the pages says.
    whole: bool,
}

impl Pages {
    /// Reads them all. The library would make a decompressor a chunk, which costs as much as a small page.
    fn read(chunk: Chunk<'_>, Spare { zstd, .. }: &mut Spare) -> Result<Pages> {
        let start = range_of(chunk.was).start.cast_signed();
        let moved = chunk.was.clone().into_builder();
        let moved = moved.set_data_page_offset(chunk.was.data_page_offset() - start);
        let moved = moved.set_dictionary_page_offset(chunk.was.dictionary_page_offset().map(|at| at - start));
        let mut unpack = match chunk.was.compression() {
            Compression::UNCOMPRESSED => None,
            Compression::ZSTD(_) => Some(match zstd {
                Some(zstd) => zstd,
                None => zstd.insert(Decompressor::new().map_err(|e| Error::internal("zstd failed").because(e))?),
            }),
            _ => return Err(unread()),
        };
        let moved = moved.set_compression(Compression::UNCOMPRESSED).build().map_err(strange)?;
        let found = SerializedPageReader::new(Arc::new(chunk.bytes.clone()), &moved, chunk.rows, None);
        let (mut pages, mut whole) = (VecDeque::new(), true);
        for page in found.map_err(strange)? {
            let mut page = page.map_err(strange)?;
            let plain = match &mut page {
                Page::DataPageV2 {
                    buf, num_nulls, def_levels_byte_len, rep_levels_byte_len, is_compressed, ..
                } => {
                    whole &= *num_nulls == 0;
                    let levels = (*def_levels_byte_len + *rep_levels_byte_len) as usize;
                    is_compressed.then_some((buf, levels))
                }
                Page::DataPage { buf, .. } => {
                    whole = false;
                    Some((buf, 0))
                }
                Page::DictionaryPage { buf, .. } => Some((buf, 0)),
            };
            if let (Some(zstd), Some((buf, levels))) = (&mut unpack, plain) {
                let most = usize::try_from(chunk.was.uncompressed_size()).map_err(|_| unread())?;
                *buf = unpacked(zstd, buf, levels, most)?;
            }
            pages.push_back(page);
        }
        Ok(Pages { pages, whole })
    }
    /// Takes out the content of the first page, the dictionary, and how many values it has.
    fn dictionary(&mut self) -> Result<(Bytes, usize)> {
        match self.pages.pop_front() {
            Some(Page::DictionaryPage { buf, num_values, .. }) => Ok((buf, num_values as usize)),
            _ => Err(unread()),
        }
    }
}

/// A page's content, of which so many bytes come before what is compressed; it takes no more than `most`.
fn unpacked(zstd: &mut Decompressor<'static>, packed: &[u8], levels: usize, most: usize) -> Result<Bytes> {
    let (levels, packed) = packed.split_at_checked(levels).ok_or_else(unread)?;
    if packed.is_empty() {
        return Ok(Bytes::copy_from_slice(levels));
    }
    let said = get_frame_content_size(packed).ok().flatten().and_then(|said| usize::try_from(said).ok());
    let content =
        zstd.decompress(packed, said.map_or(most, |said| said.min(most))).map_err(|error| unread().because(error))?;
    Ok(if levels.is_empty() { content.into() } else { [levels, &content].concat().into() })
}

impl Iterator for Pages {
    type Item = Result<Page, ParquetError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.pages.pop_front().map(Ok)
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        Ok(self.pages.pop_front())
    }
    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        Ok(self.pages.front().map(|page| {
            let is_dict = page.is_dictionary_page();
            let values = (!is_dict).then(|| page.num_values() as usize);
            PageMetadata { num_rows: None, num_levels: values, is_dict }
        }))
    }
    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.pages.pop_front();
        Ok(())
    }
}

/// The error of contents that no archiver writes.
pub fn unread() -> Error {
    Error::corrupt("a column of an archive file has other contents than its footer says")
}

fn strange(error: ParquetError) -> Error {
    Error::corrupt("an archive file is none that an archiver writes").because(error)
}

#[cfg(test)]
mod tests;
