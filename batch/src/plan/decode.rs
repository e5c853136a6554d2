//! Column chunks as vectors of numbers. Parquet's own decoders do it, given another dictionary where that spares work.
//!
//! Where a chunk is wholly in a dictionary, the values of the dictionary are turned into the numbers that are wanted (a text into its
//! code or hash, a decimal into an integer) and put in its place before the same data pages: so a text is looked at once a row group.
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Encoding, PageType, Repetition, Type as Physical};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArrayType, DataType, FixedLenByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::SerializedPageReader;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, ColumnPath, Type};
use seam_shared::error::{Error, Result};
use seam_shared::lake::sealed::range_of;

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
#[derive(Debug, Default)]
pub struct Spare {
    /// Of integers.
    pub integers: Vec<Vec<i64>>,
    /// Of codes.
    pub codes: Vec<Vec<i32>>,
    levels: Vec<i16>,
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
pub fn plain<T: DataType>(chunk: Chunk<'_>) -> Result<Cells<T::T>>
where
    T::T: Default,
{
    let mut levels = Vec::new();
    let values = read_plain::<T>(chunk, Vec::new(), &mut levels)?;
    spread(values, &levels, chunk.rows)
}

/// The cells of a column of integers.
///
/// # Errors
/// As [`plain`].
pub fn integers(chunk: Chunk<'_>, spare: &mut Spare) -> Result<Cells<i64>> {
    let values = spare.integers.pop().unwrap_or_default();
    let values = read_plain::<Int64Type>(chunk, values, &mut spare.levels)?;
    spread(values, &spare.levels, chunk.rows)
}

/// The cells of a text column as numbers: each text of a dictionary is turned into one once, others cell by cell.
///
/// # Errors
/// As [`plain`].
pub fn texts<N: Number>(chunk: Chunk<'_>, spare: &mut Spare, mut number: impl FnMut(&str) -> N) -> Result<Cells<N>> {
    if only_dictionary(chunk.was) {
        let mut pages = pages(chunk)?;
        let (content, count) = dictionary(&mut pages)?;
        let (mut texts, mut numbers) = (&*content, Vec::with_capacity(count * size_of::<N>()));
        for _ in 0..count {
            let (length, rest) = texts.split_first_chunk().ok_or_else(unread)?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(unread)?;
            number(text_of(text)?).spell(&mut numbers);
            texts = rest;
        }
        return swapped(chunk, numbers, count, pages, spare);
    }
    let mut levels = Vec::new();
    let cells = read_plain::<ByteArrayType>(chunk, Vec::new(), &mut levels)?;
    let values = cells.iter().map(|cell| Ok(number(text_of(cell.data())?))).collect::<Result<Vec<N>>>()?;
    spread(values, &levels, chunk.rows)
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
    if only_dictionary(chunk.was) {
        let mut pages = pages(chunk)?;
        let (content, count) = dictionary(&mut pages)?;
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
    let mut levels = Vec::new();
    let cells = read_plain::<FixedLenByteArrayType>(chunk, Vec::new(), &mut levels)?;
    let wide = |cell: &[u8]| cell.try_into().map(i128::from_be_bytes).map_err(|_| unread());
    let values = cells.iter().map(|cell| wide(cell.data())).collect::<Result<Vec<i128>>>()?;
    match values.iter().map(|value| i64::try_from(*value)).collect::<Result<Vec<i64>, _>>() {
        Ok(narrow) => Ok(Decimals::Narrow(spread(narrow, &levels, chunk.rows)?)),
        Err(_) => Ok(Decimals::Wide(spread(values, &levels, chunk.rows)?)),
    }
}

fn text_of(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| unread().because(error))
}

fn pages(chunk: Chunk<'_>) -> Result<SerializedPageReader<Bytes>> {
    let start = range_of(chunk.was).start.cast_signed();
    let moved = chunk.was.clone().into_builder();
    let moved = moved.set_data_page_offset(chunk.was.data_page_offset() - start);
    let moved = moved.set_dictionary_page_offset(chunk.was.dictionary_page_offset().map(|at| at - start));
    let moved = moved.build().map_err(strange)?;
    SerializedPageReader::new(Arc::new(chunk.bytes.clone()), &moved, chunk.rows, None).map_err(strange)
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

/// The content of a chunk's first page, its dictionary, and how many values it has.
fn dictionary(pages: &mut SerializedPageReader<Bytes>) -> Result<(Bytes, usize)> {
    match pages.get_next_page().map_err(strange)? {
        Some(Page::DictionaryPage { buf, num_values, .. }) => Ok((buf, num_values as usize)),
        _ => Err(unread()),
    }
}

/// What the data pages say with another dictionary.
fn swapped<N: Number>(
    chunk: Chunk<'_>,
    dictionary: Vec<u8>,
    count: usize,
    pages: SerializedPageReader<Bytes>,
    spare: &mut Spare,
) -> Result<Cells<N>> {
    let physical: Physical = N::Type::get_physical_type();
    let nullable = chunk.was.column_descr().max_def_level();
    let repetition = if nullable > 0 { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let kind = Type::primitive_type_builder("number", physical).with_repetition(repetition).build();
    let column = ColumnDescriptor::new(Arc::new(kind.map_err(strange)?), nullable, 0, ColumnPath::from("number"));
    let first = Page::DictionaryPage {
        buf: dictionary.into(),
        num_values: count as u32,
        encoding: Encoding::PLAIN,
        is_sorted: false,
    };
    let (pages, values) = (Swapped { first: Some(first), rest: pages }, N::spare(spare).pop().unwrap_or_default());
    let values = read::<N::Type>(chunk, Arc::new(column), pages, values, &mut spare.levels)?;
    spread(values, &spare.levels, chunk.rows)
}

/// The values of a column as it is.
fn read_plain<T: DataType>(chunk: Chunk<'_>, values: Vec<T::T>, levels: &mut Vec<i16>) -> Result<Vec<T::T>> {
    if chunk.was.column_type() != T::get_physical_type() {
        return Err(unread());
    }
    read::<T>(chunk, chunk.was.column_descr_ptr(), pages(chunk)?, values, levels)
}

/// The values that are there, in the place of what is in `values`, and by row whether one is.
fn read<T: DataType>(
    chunk: Chunk<'_>,
    column: ColumnDescPtr,
    pages: impl PageReader + 'static,
    mut values: Vec<T::T>,
    levels: &mut Vec<i16>,
) -> Result<Vec<T::T>> {
    values.clear();
    values.reserve(chunk.rows);
    levels.clear();
    let mut reader = ColumnReaderImpl::<T>::new(column, Box::new(pages));
    let (rows, _, _) = reader.read_records(chunk.rows, Some(levels), None, &mut values).map_err(strange)?;
    if rows == chunk.rows { Ok(values) } else { Err(unread()) }
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

/// The pages of a chunk with another dictionary.
struct Swapped {
    first: Option<Page>,
    rest: SerializedPageReader<Bytes>,
}

impl Iterator for Swapped {
    type Item = Result<Page, ParquetError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Swapped {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        if self.first.is_some() { Ok(self.first.take()) } else { self.rest.get_next_page() }
    }
    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        if self.first.is_some() {
            return Ok(Some(PageMetadata { num_rows: None, num_levels: None, is_dict: true }));
        }
        self.rest.peek_next_page()
    }
    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        if self.first.take().is_some() { Ok(()) } else { self.rest.skip_next_page() }
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
