//! The columns of a file by pane while its rows come. Panes, texts, counts and statistics wait as plain vectors until a row group is
//! whole and are then spelled at once; everything else goes through Arrow.
use std::ops::Range;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::{DataType, FieldRef, Schema};
use hashbrown::HashMap;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::file::writer::SerializedFileWriter;

use super::{write_dimension, write_float, write_partials};
use crate::error::{Error, Result};
use crate::lake::parquet_file::chunk::{Cells, Chunk, Spelling};
use crate::lake::parquet_file::{GROUP_ROWS, Writer, unwritten};
use crate::view::aggregate::FixedStats;
use crate::view::definition::View;
use crate::view::rows::{Dimension, Rows, States};
use crate::view::value::Value;

/// A row group ends early when the texts of one column take so much.
const TEXT_BYTES: usize = 16 << 20;

/// A file in the making.
#[derive(Debug)]
pub struct Columns {
    file: SerializedFileWriter<Vec<u8>>,
    arrow: ArrowRowGroupWriterFactory,
    memory: Memory,
    /// Rows of the group that is not written yet.
    rows: usize,
}

/// What the columns of a file wait in and are spelled with, to be used again for the next file.
#[derive(Debug)]
pub struct Memory {
    columns: Vec<Column>,
    spelling: Spelling,
}

#[derive(Debug)]
enum Column {
    /// Whether readers skip row groups by it, and whether cells may be missing.
    Integers {
        cells: Cells<i64>,
        statistics: bool,
        nullable: bool,
    },
    Decimals(Cells<i64>),
    /// Decimals of which some do not fit into 64 bits.
    Wide(Cells<i128>),
    Texts(Texts),
    Arrow(FieldRef, Option<Box<ArrowColumnWriter>>),
}

/// A dimension of texts.
#[derive(Debug, Default)]
struct Texts {
    cells: Cells<u32>,
    known: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
    bytes: usize,
}

impl Memory {
    /// Of files of a view with so many dimensions.
    pub fn new(schema: &Schema, dimensions: usize) -> Memory {
        let column = |(i, field): (usize, &FieldRef)| match field.data_type() {
            DataType::Timestamp(..) if i == 0 => {
                Column::Integers { cells: Cells::default(), statistics: true, nullable: field.is_nullable() }
            }
            DataType::Dictionary(..) => Column::Texts(Texts::default()),
            DataType::Int64 if i > dimensions => {
                Column::Integers { cells: Cells::default(), statistics: false, nullable: field.is_nullable() }
            }
            DataType::Decimal128(..) if i > dimensions => Column::Decimals(Cells::default()),
            _ => Column::Arrow(Arc::clone(field), None),
        };
        Memory { columns: schema.fields().iter().enumerate().map(column).collect(), spelling: Spelling::default() }
    }
}

impl Columns {
    /// No rows yet.
    ///
    /// # Errors
    /// `Internal` if there is no compressor.
    pub fn new(file: Writer, mut memory: Memory, compressed: bool) -> Result<Columns> {
        let (file, arrow) = file.into_columns()?;
        memory.spelling.begin(compressed)?;
        Ok(Columns { file, arrow, memory, rows: 0 })
    }
    /// Appends rows.
    ///
    /// # Errors
    /// `Internal` if they are not the view's.
    pub fn push(&mut self, view: &View, rows: &Rows) -> Result<()> {
        let mut from = 0;
        while from < rows.len() {
            let to = rows.len().min(from + GROUP_ROWS - self.rows);
            self.append(view, rows, from..to)?;
            let long = |column: &Column| matches!(column, Column::Texts(texts) if texts.bytes > TEXT_BYTES);
            if self.rows == GROUP_ROWS || self.memory.columns.iter().any(long) {
                self.flush()?;
            }
            from = to;
        }
        Ok(())
    }
    /// The file, and memory for the next.
    ///
    /// # Errors
    /// `Internal` if the rows do not fit into one.
    pub fn finish(mut self) -> Result<(bytes::Bytes, Memory)> {
        if self.rows > 0 {
            self.flush()?;
        }
        Ok((self.file.into_inner().map_err(unwritten)?.into(), self.memory))
    }

    fn append(&mut self, view: &View, rows: &Rows, range: Range<usize>) -> Result<()> {
        self.begin_arrow()?;
        self.rows += range.len();
        let mut columns = self.memory.columns.iter_mut();
        let mut next = || columns.next().ok_or_else(strange);
        next()?.extend(rows.panes[range.clone()].iter().map(|pane| pane.0))?;
        for (definition, dimension) in view.dimensions.iter().zip(&rows.dimensions) {
            match next()? {
                Column::Texts(texts) => texts.append(dimension, range.clone()),
                column => column.append(&write_dimension(definition.field_type, dimension, range.clone())?)?,
            }
        }
        for states in &rows.states {
            match states {
                States::Count(counts) => next()?.extend(counts[range.clone()].iter().map(|n| n.cast_signed()))?,
                States::Fixed(stats) => {
                    let stats = &stats[range.clone()];
                    next()?.extend(stats.iter().map(|stats| stats.count.cast_signed()))?;
                    next()?.figures(stats, |stats| stats.sum)?;
                    next()?.figures(stats, |stats| stats.min)?;
                    next()?.figures(stats, |stats| stats.max)?;
                }
                States::Float(stats) => {
                    let mut arrays = Vec::new();
                    write_float(&stats[range.clone()], &mut arrays);
                    arrays.iter().try_for_each(|array| next()?.append(array))?;
                }
                States::Partial(partials) => next()?.append(&write_partials(&partials[range.clone()]))?,
            }
        }
        Ok(())
    }
    /// Makes the writers of Arrow's columns for a group that begins.
    fn begin_arrow(&mut self) -> Result<()> {
        let is_arrow = |column: &Column| matches!(column, Column::Arrow(..));
        if self.rows > 0 || !self.memory.columns.iter().any(is_arrow) {
            return Ok(());
        }
        let writers = self.arrow.create_column_writers(self.file.flushed_row_groups().len()).map_err(unwritten)?;
        for (column, writer) in self.memory.columns.iter_mut().zip(writers) {
            if let Column::Arrow(_, made) = column {
                *made = Some(Box::new(writer));
            }
        }
        Ok(())
    }
    /// Writes the row group.
    fn flush(&mut self) -> Result<()> {
        let Columns { file, memory: Memory { columns, spelling }, rows, .. } = self;
        let descriptions = file.schema_descr().columns().to_vec();
        let mut group = file.next_row_group().map_err(unwritten)?;
        // counts are often the same in two columns
        let mut before: Option<(usize, Chunk)> = None;
        for (i, description) in descriptions.into_iter().enumerate() {
            if let Column::Arrow(_, writer) = &mut columns[i] {
                let chunk = writer.take().ok_or_else(strange)?.close().map_err(unwritten)?;
                chunk.append_to_row_group(&mut group).map_err(unwritten)?;
                continue;
            }
            let chunk = match &before {
                Some((j, chunk)) if columns[i].is_spelled_as(&columns[*j]) => chunk.clone(),
                _ => columns[i].spell(spelling)?,
            };
            group.append_column(&chunk.bytes, chunk.close(description)?).map_err(unwritten)?;
            if matches!(columns[i], Column::Integers { .. }) {
                before = Some((i, chunk));
            }
        }
        group.close().map_err(unwritten)?;
        columns.iter_mut().for_each(Column::clear);
        *rows = 0;
        Ok(())
    }
}

impl Column {
    /// Appends integers of rows that all have one.
    fn extend(&mut self, values: impl ExactSizeIterator<Item = i64>) -> Result<()> {
        let Column::Integers { cells, .. } = self else { return Err(strange()) };
        cells.extend(values);
        Ok(())
    }
    /// Appends an array.
    fn append(&mut self, array: &ArrayRef) -> Result<()> {
        match self {
            Column::Integers { cells, .. } => {
                let integers = array.as_primitive_opt::<Int64Type>().ok_or_else(strange)?;
                integers.iter().for_each(|integer| cells.push(integer));
            }
            Column::Arrow(field, Some(writer)) => {
                for leaf in compute_leaves(field, array).map_err(unwritten)? {
                    writer.write(&leaf).map_err(unwritten)?;
                }
            }
            Column::Arrow(_, None) | Column::Decimals(_) | Column::Wide(_) | Column::Texts(_) => return Err(strange()),
        }
        Ok(())
    }
    /// Appends a figure of statistics; no cell where they are empty.
    fn figures(&mut self, stats: &[FixedStats], figure: fn(&FixedStats) -> i128) -> Result<()> {
        let narrow = |stats: &FixedStats| i64::try_from(figure(stats));
        if let Column::Decimals(cells) = self
            && stats.iter().any(|stats| stats.count > 0 && narrow(stats).is_err())
        {
            let Cells { values, present } = std::mem::take(cells);
            *self = Column::Wide(Cells { values: values.into_iter().map(i128::from).collect(), present });
        }
        let filled = |stats: &FixedStats| stats.count > 0;
        match self {
            Column::Integers { cells, .. } | Column::Decimals(cells) => {
                if stats.iter().all(filled) && stats.iter().all(|stats| narrow(stats).is_ok()) {
                    cells.extend(stats.iter().map(|stats| figure(stats) as i64));
                    return Ok(());
                }
                for stats in stats {
                    let value = filled(stats).then(|| narrow(stats)).transpose();
                    let no_integer = "an integer field's extreme is no integer";
                    cells.push(value.map_err(|error| Error::internal(no_integer).because(error))?);
                }
            }
            Column::Wide(cells) => stats.iter().for_each(|stats| cells.push(filled(stats).then(|| figure(stats)))),
            Column::Texts(_) | Column::Arrow(..) => return Err(strange()),
        }
        Ok(())
    }
    fn is_spelled_as(&self, other: &Column) -> bool {
        match (self, other) {
            (
                Column::Integers { cells, statistics, nullable },
                Column::Integers { cells: others, statistics: other_statistics, nullable: other_nullable },
            ) => (cells, statistics, nullable) == (others, other_statistics, other_nullable),
            _ => false,
        }
    }
    fn spell(&mut self, spelling: &mut Spelling) -> Result<Chunk> {
        match self {
            Column::Integers { cells, statistics, nullable } => spelling.integers(cells, *nullable, *statistics),
            Column::Decimals(cells) => spelling.decimals(cells),
            Column::Wide(cells) => spelling.wide_decimals(cells),
            Column::Texts(texts) => texts.spell(spelling),
            Column::Arrow(..) => Err(strange()),
        }
    }
    fn clear(&mut self) {
        match self {
            Column::Integers { cells, .. } | Column::Decimals(cells) => cells.clear(),
            Column::Wide(_) => *self = Column::Decimals(Cells::default()),
            Column::Texts(texts) => {
                texts.cells.clear();
                texts.known.clear();
                texts.texts.clear();
                texts.bytes = 0;
            }
            Column::Arrow(..) => {}
        }
    }
}

impl Texts {
    fn append(&mut self, dimension: &Dimension, range: Range<usize>) {
        const UNSEEN: u32 = u32::MAX;
        const NULL: u32 = u32::MAX - 1;
        let Texts { cells, known, texts, bytes } = self;
        let mut numbers = vec![UNSEEN; dimension.values.len()];
        let mut number = |value: &Value| {
            let Value::Str(text) = value else { return NULL };
            if let Some(number) = known.get(&**text) {
                return *number;
            }
            *bytes += text.len();
            texts.push(text.clone());
            known.insert(text.clone(), texts.len() as u32 - 1);
            texts.len() as u32 - 1
        };
        let codes = &dimension.codes[range];
        let mut nulls = false;
        for code in codes {
            let known = &mut numbers[*code as usize];
            if *known == UNSEEN {
                *known = number(&dimension.values[*code as usize]);
                nulls |= *known == NULL;
            }
        }
        if nulls {
            let of = |code: &u32| Some(numbers[*code as usize]).filter(|number| *number != NULL);
            codes.iter().for_each(|code| cells.push(of(code)));
        } else {
            cells.extend(codes.iter().map(|code| numbers[*code as usize]));
        }
    }
    /// With the texts in ascending order, so that it makes no difference which came first.
    fn spell(&mut self, spelling: &mut Spelling) -> Result<Chunk> {
        let mut sorted: Vec<u32> = (0..self.texts.len() as u32).collect();
        sorted.sort_unstable_by_key(|number| &self.texts[*number as usize]);
        let mut codes = vec![0; sorted.len()];
        (0..).zip(&sorted).for_each(|(code, number)| codes[*number as usize] = code);
        self.cells.values.iter_mut().for_each(|number| *number = codes[*number as usize]);
        spelling.texts(&self.cells, sorted.iter().map(|number| &*self.texts[*number as usize]))
    }
}

fn strange() -> Error {
    Error::internal("rows hold other columns than their view")
}
