//! Reading single keys of a keyed view's file. The footer tells row groups apart by their keys; of those that can hold the keys,
//! first the key columns are fetched, and the others only where rows match. Every column chunk is verified by its own hash.
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use super::{ALL, Coder, Reading, coded_schema, may_hold, needed, read_dimension};
use crate::error::{Error, Kind, Result};
use crate::lake::parquet_file::{KEYED_GROUP_ROWS, unread};
use crate::lake::sealed::{SealedFile, range_of};
use crate::lake::views::ViewFile;
use crate::time::Timestamp;
use crate::view::definition::View;
use crate::view::rows::{Dimension, Rows};
use crate::view::value::Value;

/// Row groups that are held in memory at a time.
const GROUPS_AT_A_TIME: usize = 16;

/// A dimension, and the values that count in it.
pub type Slice = (usize, Vec<Value>);

/// What is looked for: slices of some dimensions, in panes that end in `(after, until]`.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The slices; a key counts if each of them holds its value.
    pub keys: &'a [Slice],
    /// The panes.
    pub range: (Timestamp, Timestamp),
}

/// A keyed view's file whose footer is verified.
#[derive(Debug)]
pub struct KeyedFile {
    sealed: SealedFile,
    footer: ArrowReaderMetadata,
    /// The leaf columns that rows are made of.
    needed: Vec<usize>,
}

impl KeyedFile {
    /// Reads and verifies the footer of a file.
    ///
    /// # Errors
    /// As [`SealedFile::open`]; `Corrupt` too where the file has none that seals it.
    pub async fn open(store: &dyn ObjectStore, view: &View, file: &ViewFile) -> Result<KeyedFile> {
        let strange = || Error::corrupt(format!("file {} is none that keys can be read from", file.path));
        let footer = file.footer.as_ref().ok_or_else(strange)?;
        let sealed = SealedFile::open(store, &file.path, file.bytes, footer).await?;
        let options = ArrowReaderOptions::new().with_schema(Arc::new(coded_schema(view)));
        let footer = ArrowReaderMetadata::try_new(sealed.metadata().clone(), options);
        let footer = footer.map_err(|e| strange().because(e))?;
        Ok(KeyedFile { needed: needed(view, sealed.metadata()), sealed, footer })
    }
    /// About how much memory it takes.
    pub fn memory(&self) -> usize {
        self.sealed.memory()
    }
    /// The first and the last pane of its rows.
    pub fn panes(&self) -> Option<(Timestamp, Timestamp)> {
        let of_group = |group: &RowGroupMetaData| match group.column(0).statistics() {
            Some(Statistics::Int64(panes)) => Some((Timestamp(*panes.min_opt()?), Timestamp(*panes.max_opt()?))),
            _ => None,
        };
        let groups = self.sealed.metadata().row_groups().iter().filter_map(of_group);
        groups.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
    /// The rows that are looked for, by key and pane.
    ///
    /// # Errors
    /// `Corrupt` naming the file when a column chunk is not what was written; `TooLarge` beyond `rows_max` rows; `NotFound`
    /// naming it when it is gone; `Unavailable` when the store cannot be read.
    pub async fn read(
        &self,
        store: &dyn ObjectStore,
        view: &View,
        wanted: Wanted<'_>,
        rows_max: usize,
    ) -> Result<Rows> {
        let mut found = Reading::new(view);
        for groups in self.groups_near(wanted).chunks(GROUPS_AT_A_TIME) {
            self.read_groups(store, groups, wanted, &mut found).await?;
            if found.rows.len() > rows_max {
                let detail = format!("more than {rows_max} rows of view {} match", view.name);
                return Err(Error::new(Kind::TooLarge, detail));
            }
        }
        Ok(found.rows)
    }
    /// The keys behind `after` in their order, or the first ones: at most `most` of those that `admits` lets pass.
    ///
    /// # Errors
    /// As [`KeyedFile::read`].
    pub async fn keys_after(
        &self,
        store: &dyn ObjectStore,
        view: &View,
        after: Option<&[Value]>,
        most: usize,
        admits: &(dyn Fn(&[Value]) -> bool + Sync),
    ) -> Result<Vec<Vec<Value>>> {
        let mut keys: Vec<Vec<Value>> = Vec::new();
        let columns: Vec<usize> = (1..=view.dimensions.len()).collect();
        let metadata = self.sealed.metadata();
        for group in 0..metadata.num_row_groups() {
            let is_behind = |first: &Value| is_above(metadata.row_group(group).column(1), first);
            if after.and_then(<[Value]>::first).is_some_and(is_behind) {
                continue;
            }
            let mut parts = Parts::default();
            self.fetch(store, &[group], &columns, &mut parts).await?;
            let (_, dimensions) = self.decode_keys(view, parts, &[group], &columns)?;
            for row in 0..dimensions.first().map_or(0, |d| d.codes.len()) {
                let value = |d: &Dimension| d.values[d.codes[row] as usize].clone();
                let key: Vec<Value> = dimensions.iter().map(value).collect();
                let is_new = keys.last() != Some(&key) && after.is_none_or(|after| key.as_slice() > after);
                if is_new && admits(&key) {
                    keys.push(key);
                    if keys.len() == most {
                        return Ok(keys);
                    }
                }
            }
        }
        Ok(keys)
    }

    fn groups_near(&self, Wanted { keys, range: (after, until) }: Wanted<'_>) -> Vec<usize> {
        let near = |group: &RowGroupMetaData| {
            let in_one = |(d, values): &Slice| values.iter().any(|value| is_within(group.column(1 + d), value));
            may_hold(group, after, until) && keys.iter().all(in_one)
        };
        let groups = self.sealed.metadata().row_groups().iter().enumerate();
        groups.filter(|(_, group)| near(group)).map(|(g, _)| g).collect()
    }
    async fn read_groups(
        &self,
        store: &dyn ObjectStore,
        groups: &[usize],
        wanted: Wanted<'_>,
        found: &mut Reading<'_>,
    ) -> Result<()> {
        let mut parts = Parts::default();
        let mut looked_at: Vec<usize> = std::iter::once(0).chain(wanted.keys.iter().map(|(d, _)| 1 + d)).collect();
        looked_at.sort_unstable();
        looked_at.dedup();
        self.fetch(store, groups, &looked_at, &mut parts).await?;
        let matches = self.matches(found.view, parts.clone(), groups, &looked_at, wanted)?;
        // row groups without a match are done with
        let (mut held, mut selected, mut at) = (Vec::new(), Vec::new(), 0);
        for &group in groups {
            let rows = usize::try_from(self.sealed.metadata().row_group(group).num_rows()).unwrap_or(0);
            let of_group = matches.get(at..at + rows).ok_or_else(unread)?;
            at += rows;
            if of_group.contains(&true) {
                held.push(group);
                let runs = of_group.chunk_by(|a, b| a == b);
                selected.extend(runs.map(|run| RowSelector { row_count: run.len(), skip: !run[0] }));
            }
        }
        if held.is_empty() {
            return Ok(());
        }
        let others: Vec<usize> = self.needed.iter().copied().filter(|column| !looked_at.contains(column)).collect();
        self.fetch(store, &held, &others, &mut parts).await?;
        for batch in self.reader(parts, &held, &self.needed, Some(RowSelection::from(selected)))? {
            let batch = batch.map_err(|e| self.damaged().because(e))?;
            found.append(&batch, ALL).ok_or_else(|| self.damaged())?;
        }
        Ok(())
    }
    /// Which rows of some row groups match.
    fn matches(
        &self,
        view: &View,
        parts: Parts,
        groups: &[usize],
        columns: &[usize],
        Wanted { keys, range: (after, until) }: Wanted<'_>,
    ) -> Result<Vec<bool>> {
        let (panes, dimensions) = self.decode_keys(view, parts, groups, columns)?;
        let mut matches: Vec<bool> = panes.iter().map(|&pane| after.0 < pane && pane <= until.0).collect();
        for (d, wanted) in keys {
            let place = columns.iter().filter(|column| **column > 0).position(|column| *column == 1 + d);
            let dimension = place.and_then(|place| dimensions.get(place)).ok_or_else(unread)?;
            let counts: Vec<bool> = dimension.values.iter().map(|value| wanted.contains(value)).collect();
            matches.iter_mut().zip(&dimension.codes).for_each(|(is, &code)| *is &= counts[code as usize]);
        }
        Ok(matches)
    }
    /// The panes and the dimensions that are among some columns, in order.
    fn decode_keys(
        &self,
        view: &View,
        parts: Parts,
        groups: &[usize],
        columns: &[usize],
    ) -> Result<(Vec<i64>, Vec<Dimension>)> {
        let wanted: Vec<usize> = columns.iter().filter(|column| **column > 0).map(|column| column - 1).collect();
        let mut panes = Vec::new();
        let mut dimensions = vec![Dimension::default(); wanted.len()];
        let mut coders: Vec<Coder> = wanted.iter().map(|_| Coder::default()).collect();
        for batch in self.reader(parts, groups, columns, None)? {
            let batch = batch.map_err(|e| self.damaged().because(e))?;
            let mut arrays = batch.columns().iter();
            if columns.first() == Some(&0) {
                let array = arrays.next().and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>());
                panes.extend_from_slice(array.ok_or_else(|| self.damaged())?.values());
            }
            for ((array, d), (dimension, coder)) in arrays.zip(&wanted).zip(dimensions.iter_mut().zip(&mut coders)) {
                let read = read_dimension(view.dimensions[*d].field_type, array, dimension, coder);
                read.ok_or_else(|| self.damaged())?;
            }
        }
        Ok((panes, dimensions))
    }
    async fn fetch(
        &self,
        store: &dyn ObjectStore,
        groups: &[usize],
        columns: &[usize],
        parts: &mut Parts,
    ) -> Result<()> {
        let wanted: Vec<(usize, usize)> =
            groups.iter().flat_map(|&group| columns.iter().map(move |&column| (group, column))).collect();
        let chunks = self.sealed.chunks(store, &wanted).await?;
        for ((group, column), bytes) in wanted.into_iter().zip(chunks) {
            let range = range_of(self.sealed.metadata().row_group(group).column(column));
            parts.0.insert(range.start, bytes);
        }
        Ok(())
    }
    fn reader(
        &self,
        parts: Parts,
        groups: &[usize],
        columns: &[usize],
        selection: Option<RowSelection>,
    ) -> Result<ParquetRecordBatchReader> {
        let schema = self.sealed.metadata().file_metadata().schema_descr();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(parts, self.footer.clone())
            .with_batch_size(KEYED_GROUP_ROWS)
            .with_row_groups(groups.to_vec())
            .with_projection(ProjectionMask::leaves(schema, columns.iter().copied()));
        let builder = match selection {
            Some(selection) => builder.with_row_selection(selection),
            None => builder,
        };
        builder.build().map_err(|e| self.damaged().because(e))
    }
    fn damaged(&self) -> Error {
        Error::corrupt(format!("file {} has other contents than the table says", self.sealed.path()))
    }
}

/// Whether a column chunk may hold a value, by its statistics.
fn is_within(chunk: &ColumnChunkMetaData, value: &Value) -> bool {
    let Some(statistics) = chunk.statistics() else { return true };
    if *value == Value::Null {
        return statistics.null_count_opt() != Some(0);
    }
    !is_below(chunk, value) && !is_above(chunk, value)
}

/// Whether a value is below all that a column chunk holds.
fn is_below(chunk: &ColumnChunkMetaData, value: &Value) -> bool {
    match (chunk.statistics(), value) {
        (Some(Statistics::Boolean(s)), Value::Bool(b)) => s.min_opt().is_some_and(|min| b < min),
        (Some(Statistics::Int64(s)), Value::Int(i)) => s.min_opt().is_some_and(|min| i < min),
        (Some(Statistics::FixedLenByteArray(s)), Value::Decimal(d, _)) => {
            s.min_opt().and_then(|min| big_endian(min.data())).is_some_and(|min| *d < min)
        }
        (Some(Statistics::ByteArray(s)), Value::Str(text)) => s.min_opt().is_some_and(|m| text.as_bytes() < m.data()),
        _ => false,
    }
}

/// Whether a value is above all that a column chunk holds.
fn is_above(chunk: &ColumnChunkMetaData, value: &Value) -> bool {
    match (chunk.statistics(), value) {
        (Some(Statistics::Boolean(s)), Value::Bool(b)) => s.max_opt().is_some_and(|max| b > max),
        (Some(Statistics::Int64(s)), Value::Int(i)) => s.max_opt().is_some_and(|max| i > max),
        (Some(Statistics::FixedLenByteArray(s)), Value::Decimal(d, _)) => {
            s.max_opt().and_then(|max| big_endian(max.data())).is_some_and(|max| *d > max)
        }
        (Some(Statistics::ByteArray(s)), Value::Str(text)) => s.max_opt().is_some_and(|m| text.as_bytes() > m.data()),
        _ => false,
    }
}

/// Reads a decimal as Parquet has it.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if *bytes.first()? >= 0x80 { u8::MAX } else { 0 };
    let mut wide = [sign; 16];
    let from = wide.len().checked_sub(bytes.len())?;
    wide[from..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// Parts of a file by their place, in the stead of the whole.
#[derive(Debug, Clone, Default)]
struct Parts(BTreeMap<u64, Bytes>);

impl Parts {
    fn behind(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let found = self.0.range(..=start).next_back();
        let rest = found.and_then(|(at, part)| {
            let skipped = usize::try_from(start - at).ok()?;
            (skipped < part.len()).then(|| part.slice(skipped..))
        });
        rest.ok_or_else(|| ParquetError::General(format!("byte {start} was not fetched")))
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.0.iter().next_back().map_or(0, |(at, part)| at + part.len() as u64)
    }
}

impl ChunkReader for Parts {
    type T = Reader<Bytes>;
    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.behind(start)?.reader())
    }
    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let rest = self.behind(start)?;
        if rest.len() < length {
            return Err(ParquetError::General(format!("{length} bytes from {start} on were not fetched")));
        }
        Ok(rest.slice(..length))
    }
}
