//! The Parquet file of a view's rows: pane, key and partials in columns, the same rows always as the same bytes.
//!
//! Columns: `pane_end`, the dimensions, and for state `i`: `s{i}_count`, `s{i}_sum`, `s{i}_min`, `s{i}_max` (the last three null when
//! the count is 0). A float state's `s{i}_sum` is the exact sum in its canonical bytes, `s{i}_sum_double` the same for people
//! and other engines, and `s{i}_nan`, `s{i}_positive_infinite`, `s{i}_negative_infinite` are counted apart. Any other state has one
//! column, `s{i}_partial`: its bytes, or null when it is empty.
//!
//! Rows are ordered by pane and then by key; in a keyed view by key and then by pane, in small row groups under a seal, so that
//! [`by_key`] finds one key without reading the others.
pub mod by_key;
mod cells;
mod columns;

use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use hashbrown::HashMap;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use self::cells::{read_dimension, read_fixed, read_float, read_partials, unsigned};
use self::columns::{Columns, Memory};
use crate::error::{Error, Result};
use crate::lake::archive_file::{DECIMAL_DIGITS, column_type, timestamp_type};
use crate::lake::parquet_file::{self, GROUP_ROWS, KEYED_GROUP_ROWS, PLAIN_ROWS, Spelling, unbuilt, unread};
use crate::lake::sealed::Footer;
use crate::time::Timestamp;
use crate::view::aggregate::partial::Partial;
use crate::view::aggregate::{FixedStats, FloatStats};
use crate::view::definition::{StateDefinition, StateKind, View};
use crate::view::groups::Groups;
use crate::view::rows::{Dimension, Rows, States};
use crate::view::value::{FieldType, Value};

/// The columns of a view's files, as other engines see them.
pub fn schema(view: &View) -> Schema {
    columns_of(view, DataType::Utf8)
}

/// The same with text in dictionaries, as it is written and read here.
fn coded_schema(view: &View) -> Schema {
    columns_of(view, DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))
}

fn columns_of(view: &View, text: DataType) -> Schema {
    let mut fields = vec![Field::new("pane_end", timestamp_type(), false)];
    for dimension in &view.dimensions {
        let data_type = match dimension.field_type {
            FieldType::String => text.clone(),
            other => column_type(other),
        };
        fields.push(Field::new(&dimension.name, data_type, true));
    }
    for (i, state) in view.states.iter().enumerate() {
        let mut add =
            |name: &str, data_type, nullable| fields.push(Field::new(format!("s{i}_{name}"), data_type, nullable));
        match state.kind {
            StateKind::Partial(..) => add("partial", DataType::Binary, true),
            StateKind::Count => add("count", DataType::Int64, false),
            StateKind::Fixed { scale } => {
                add("count", DataType::Int64, false);
                let sum = DataType::Decimal128(DECIMAL_DIGITS, scale.cast_signed());
                let extreme = if is_integer(view, state) { DataType::Int64 } else { sum.clone() };
                add("sum", sum, true);
                add("min", extreme.clone(), true);
                add("max", extreme, true);
            }
            StateKind::Float => {
                add("count", DataType::Int64, false);
                add("sum", DataType::Binary, true);
                add("min", DataType::Float64, true);
                add("max", DataType::Float64, true);
                add("nan", DataType::Int64, false);
                add("positive_infinite", DataType::Int64, false);
                add("negative_infinite", DataType::Int64, false);
                add("sum_double", DataType::Float64, true);
            }
        }
    }
    Schema::new(fields)
}

fn is_integer(view: &View, state: &StateDefinition) -> bool {
    state.field.is_some_and(|field| view.source.fields[field].field_type == FieldType::Int)
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The Parquet file.
    pub bytes: Bytes,
    /// Its footer, where that seals all else: in keyed views.
    pub footer: Option<Footer>,
}

/// Rows of a keyed view that are made ready for the writer at a time.
const KEYED_STEP: usize = 8 * KEYED_GROUP_ROWS;

/// Writes rows in canonical order: sorted by pane and dimensions, no (pane, key) twice. The order of a dictionary's values makes
/// no difference to the bytes.
///
/// # Errors
/// `Internal` if the rows are not the view's.
pub fn write(view: &View, rows: &Rows) -> Result<Written> {
    let mut writer = Writer::new(view);
    writer.push(rows)?;
    writer.finish()
}

/// A file whose rows come piece by piece, and then the next.
#[derive(Debug)]
pub struct Writer {
    view: View,
    schema: Arc<Schema>,
    /// Once there are rows; by pane.
    file: Option<Columns>,
    /// Of the file before.
    memory: Option<Memory>,
    rows: u64,
    /// The rows of a keyed view, which are put in order when all have come.
    held: Groups,
}

impl Writer {
    /// No rows yet.
    pub fn new(view: &View) -> Writer {
        let held = Groups::new(view.dimensions.len(), &view.kinds());
        Writer { view: view.clone(), schema: Arc::new(coded_schema(view)), file: None, memory: None, rows: 0, held }
    }
    /// Appends rows that follow those before in canonical order.
    ///
    /// # Errors
    /// `Internal` if the rows are not the view's.
    pub fn push(&mut self, rows: &Rows) -> Result<()> {
        self.rows += rows.len() as u64;
        if self.view.keyed {
            self.held.merge(rows);
            return Ok(());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => self.begin_columns(rows.len())?,
        };
        self.file.insert(file).push(&self.view, rows)
    }

    fn batch(&self, rows: &Rows) -> Result<RecordBatch> {
        let panes = TimestampMicrosecondArray::from_iter_values(rows.panes.iter().map(|pane| pane.0));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(panes.with_timezone("UTC"))];
        for (definition, dimension) in self.view.dimensions.iter().zip(&rows.dimensions) {
            columns.push(write_dimension(definition.field_type, dimension, 0..rows.len())?);
        }
        for (definition, states) in self.view.states.iter().zip(&rows.states) {
            match states {
                States::Count(counts) => columns.push(counted(counts.iter().copied())),
                States::Fixed(stats) => {
                    write_fixed(definition.kind, is_integer(&self.view, definition), stats, &mut columns)?;
                }
                States::Float(stats) => write_float(stats, &mut columns),
                States::Partial(partials) => columns.push(write_partials(partials)),
            }
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(unbuilt)
    }
    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }
    /// The file; the rows that are pushed from now on are the next one's.
    ///
    /// # Errors
    /// `Internal` if the rows do not fit into a file.
    pub fn finish(&mut self) -> Result<Written> {
        self.rows = 0;
        if self.view.keyed {
            return self.finish_by_key();
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => self.begin_columns(0)?,
        };
        let (bytes, memory) = file.finish()?;
        self.memory = Some(memory);
        Ok(Written { bytes, footer: None })
    }

    fn finish_by_key(&mut self) -> Result<Written> {
        let empty = Groups::like(self.held.rows());
        let mut rows = std::mem::replace(&mut self.held, empty).into_unsorted();
        rows.sort_by_key();
        let mut file = self.begin(rows.len())?;
        let numbers: Vec<u32> = (0..rows.len() as u32).collect();
        for some in numbers.chunks(KEYED_STEP) {
            file.push(&self.batch(&rows.gather(some))?)?;
        }
        let (bytes, footer) = file.seal()?;
        Ok(Written { bytes, footer: Some(footer) })
    }

    fn begin_columns(&mut self, rows: usize) -> Result<Columns> {
        let memory = self.memory.take().unwrap_or_else(|| Memory::new(&self.schema, self.view.dimensions.len()));
        Columns::new(self.begin(rows)?, memory, rows > PLAIN_ROWS)
    }

    fn begin(&self, rows: usize) -> Result<parquet_file::Writer> {
        let dimensions = self.view.dimensions.len();
        let spelled = self.schema.fields().iter().enumerate().filter_map(|(i, field)| {
            let state = i > dimensions;
            if self.view.keyed && (1..=dimensions).contains(&i) {
                return None; // in a dictionary, with the statistics that keys are found by
            }
            let spelling = match field.data_type() {
                DataType::Timestamp(..) => Spelling::Differences { statistics: true },
                DataType::Int64 if state => Spelling::Differences { statistics: false },
                DataType::Binary | DataType::Decimal128(..) if state => Spelling::Plain,
                _ => Spelling::Repeating,
            };
            Some((field.name().as_str(), spelling))
        });
        let group_rows = if self.view.keyed { KEYED_GROUP_ROWS } else { GROUP_ROWS };
        let spelled: Vec<_> = spelled.collect();
        parquet_file::Writer::with_groups(self.schema.as_ref().clone(), &spelled, rows, group_rows)
    }
}

fn counted(counts: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(counts.map(u64::cast_signed)))
}

fn write_dimension(field_type: FieldType, dimension: &Dimension, range: Range<usize>) -> Result<ArrayRef> {
    let codes = &dimension.codes[range];
    let values = || codes.iter().map(|&code| &dimension.values[code as usize]);
    Ok(match field_type {
        FieldType::String => {
            let texts: StringArray =
                dimension.values.iter().map(|v| Some(if let Value::Str(s) = v { s } else { "" })).collect();
            let null: Vec<bool> = dimension.values.iter().map(|v| !matches!(v, Value::Str(_))).collect();
            let codes = codes.iter().map(|code| code.cast_signed());
            let keys: Int32Array = if null.contains(&true) {
                codes.map(|code| (!null[code as usize]).then_some(code)).collect()
            } else {
                Int32Array::from_iter_values(codes)
            };
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts)).map_err(unbuilt)?)
        }
        FieldType::Bool => {
            Arc::new(values().map(|v| if let Value::Bool(b) = v { Some(*b) } else { None }).collect::<BooleanArray>())
        }
        FieldType::Int => {
            Arc::new(values().map(|v| if let Value::Int(i) = v { Some(*i) } else { None }).collect::<Int64Array>())
        }
        FieldType::Decimal(scale) => {
            let numbers = values().map(|v| if let Value::Decimal(d, _) = v { Some(*d) } else { None });
            decimals(numbers.collect(), scale)?
        }
        FieldType::Float => return Err(Error::internal("a float is no dimension")),
    })
}

fn decimals(array: Decimal128Array, scale: u8) -> Result<ArrayRef> {
    Ok(Arc::new(array.with_precision_and_scale(DECIMAL_DIGITS, scale.cast_signed()).map_err(unbuilt)?))
}

fn write_fixed(kind: StateKind, integer: bool, stats: &[FixedStats], columns: &mut Vec<ArrayRef>) -> Result<()> {
    let StateKind::Fixed { scale } = kind else {
        return Err(Error::internal("rows hold other states than their view"));
    };
    let filled = |figure: fn(&FixedStats) -> i128| stats.iter().map(move |s| (s.count > 0).then(|| figure(s)));
    let none_empty = stats.iter().all(|s| s.count > 0);
    let decimals = |figure: fn(&FixedStats) -> i128| {
        decimals(
            if none_empty {
                Decimal128Array::from_iter_values(stats.iter().map(figure))
            } else {
                filled(figure).collect()
            },
            scale,
        )
    };
    let extreme = |figure: fn(&FixedStats) -> i128| -> Result<ArrayRef> {
        if !integer {
            return decimals(figure);
        }
        let narrow = filled(figure).map(|v| v.map(i64::try_from).transpose()).collect::<Result<Int64Array, _>>();
        Ok(Arc::new(narrow.map_err(|e| Error::internal("an integer field's extreme is no integer").because(e))?))
    };
    columns.push(counted(stats.iter().map(|s| s.count)));
    columns.push(decimals(|s| s.sum)?);
    columns.push(extreme(|s| s.min)?);
    columns.push(extreme(|s| s.max)?);
    Ok(())
}

fn write_float(stats: &[FloatStats], columns: &mut Vec<ArrayRef>) {
    let filled = |figure: fn(&FloatStats) -> f64| -> ArrayRef {
        Arc::new(stats.iter().map(|s| (s.count > 0).then(|| figure(s))).collect::<Float64Array>())
    };
    let sums = stats.iter().map(|s| {
        (s.count > 0).then(|| {
            let mut bytes = Vec::new();
            s.sum.encode(&mut bytes);
            bytes
        })
    });
    columns.push(counted(stats.iter().map(|s| s.count)));
    columns.push(Arc::new(sums.collect::<BinaryArray>()));
    columns.push(filled(|s| s.min));
    columns.push(filled(|s| s.max));
    columns.push(counted(stats.iter().map(|s| s.nan)));
    columns.push(counted(stats.iter().map(|s| s.positive_infinite)));
    columns.push(counted(stats.iter().map(|s| s.negative_infinite)));
    columns.push(filled(|s| s.sum.round()));
}

fn write_partials(partials: &[Partial]) -> ArrayRef {
    let bytes = partials.iter().map(|partial| {
        let mut bytes = Vec::new();
        partial.encode(&mut bytes);
        (!bytes.is_empty()).then_some(bytes)
    });
    Arc::new(bytes.collect::<BinaryArray>())
}

/// The rows of a file, in canonical order.
///
/// # Errors
/// `Corrupt` if the bytes are no file of the view.
pub fn read(view: &View, bytes: &Bytes) -> Result<Rows> {
    read_between(view, bytes, ALL.0, ALL.1)
}

/// Every pane.
const ALL: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

/// The rows of a file whose panes end in `(after, until]`. Row groups without such panes are not decoded.
///
/// # Errors
/// As [`read`].
pub fn read_between(view: &View, bytes: &Bytes, after: Timestamp, until: Timestamp) -> Result<Rows> {
    let footer = parquet_file::footer(bytes, coded_schema(view))?;
    let parquet = footer.metadata();
    let groups = (0..parquet.num_row_groups()).filter(|&g| may_hold(parquet.row_group(g), after, until)).collect();
    let columns = parquet.file_metadata().schema_descr();
    let mask = ProjectionMask::leaves(columns, needed(view, parquet));
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), footer)
        .with_batch_size(GROUP_ROWS)
        .with_row_groups(groups)
        .with_projection(mask)
        .build()
        .map_err(|e| unread().because(e))?;
    let mut rows = Reading::new(view);
    for batch in reader {
        let batch = batch.map_err(|e| unread().because(e))?;
        rows.append(&batch, if view.keyed { ALL } else { (after, until) }).ok_or_else(unread)?;
    }
    let mut rows = rows.rows;
    if view.keyed {
        let inside =
            |row: &u32| (after..=until).contains(&rows.panes[*row as usize]) && rows.panes[*row as usize] > after;
        let inside: Vec<u32> = (0..rows.len() as u32).filter(inside).collect();
        if inside.len() < rows.len() {
            rows = rows.gather(&inside);
        }
        rows.sort();
    }
    Ok(rows)
}

/// The columns that rows are made of: all but those that are there for other readers.
fn needed(view: &View, parquet: &ParquetMetaData) -> Vec<usize> {
    let names = parquet.file_metadata().schema_descr().columns().iter().map(|c| c.name()).enumerate();
    // a dimension's name may end so too
    names.filter(|(i, name)| *i <= view.dimensions.len() || !name.ends_with("_sum_double")).map(|(i, _)| i).collect()
}

fn may_hold(group: &RowGroupMetaData, after: Timestamp, until: Timestamp) -> bool {
    match group.column(0).statistics() {
        Some(Statistics::Int64(panes)) => {
            panes.max_opt().is_none_or(|&max| max > after.0) && panes.min_opt().is_none_or(|&min| min <= until.0)
        }
        _ => true,
    }
}

/// Rows while they are read, with the codes given out so far.
struct Reading<'a> {
    view: &'a View,
    rows: Rows,
    coders: Vec<Coder>,
}

/// The code of each value of one dimension.
#[derive(Default)]
struct Coder {
    null: Option<u32>,
    numbers: HashMap<i128, u32>,
    texts: HashMap<Box<str>, u32>,
}

impl Coder {
    fn null(&mut self, values: &mut Vec<Value>) -> u32 {
        *self.null.get_or_insert_with(|| push(values, Value::Null))
    }
    fn text(&mut self, text: &str, values: &mut Vec<Value>) -> u32 {
        if let Some(&code) = self.texts.get(text) {
            return code;
        }
        let code = push(values, Value::text(text));
        self.texts.insert(text.into(), code);
        code
    }
    /// Codes of numbers: runs of one value, common in sorted rows, are looked up once.
    fn numbers<T: Copy + Eq + Hash + Into<i128>>(
        &mut self,
        cells: impl Iterator<Item = Option<T>>,
        dimension: &mut Dimension,
        value: impl Fn(T) -> Value,
    ) {
        let Dimension { codes, values } = dimension;
        let mut last: Option<(Option<T>, u32)> = None;
        for cell in cells {
            let code = match (last, cell) {
                (Some((before, code)), _) if before == cell => code,
                (_, None) => self.null(values),
                (_, Some(n)) => *self.numbers.entry(n.into()).or_insert_with(|| push(values, value(n))),
            };
            last = Some((cell, code));
            codes.push(code);
        }
    }
}

fn push(values: &mut Vec<Value>, value: Value) -> u32 {
    values.push(value);
    u32::try_from(values.len() - 1).expect("a file has fewer than 2^32 values")
}

impl<'a> Reading<'a> {
    fn new(view: &'a View) -> Self {
        let rows = Rows::empty(view.dimensions.len(), &view.kinds());
        Reading { view, rows, coders: view.dimensions.iter().map(|_| Coder::default()).collect() }
    }
    /// Takes in the rows of a batch between two panes (all, unless they are in the order of panes); `None` if the batch is not
    /// of the view.
    fn append(&mut self, batch: &RecordBatch, (after, until): (Timestamp, Timestamp)) -> Option<()> {
        let panes = batch.column(0).as_primitive_opt::<TimestampMicrosecondType>()?.values();
        let start = panes.partition_point(|&pane| pane <= after.0);
        let end = panes.partition_point(|&pane| pane <= until.0);
        let batch = batch.slice(start, end.saturating_sub(start));
        let mut columns = batch.columns().iter().skip(1);
        self.rows.panes.extend(panes[start..end.max(start)].iter().map(|&pane| Timestamp(pane)));
        let dimensions = self.view.dimensions.iter().zip(&mut self.rows.dimensions).zip(&mut self.coders);
        for ((definition, dimension), coder) in dimensions {
            read_dimension(definition.field_type, columns.next()?, dimension, coder)?;
        }
        for states in &mut self.rows.states {
            let first = columns.next()?;
            match states {
                States::Partial(all) => read_partials(first, all)?,
                States::Count(all) => all.extend(unsigned(first)?),
                States::Fixed(all) => {
                    let (sums, mins, maxs) = (columns.next()?, columns.next()?, columns.next()?);
                    read_fixed(unsigned(first)?, [sums, mins, maxs], all)?;
                }
                States::Float(all) => {
                    let six = [
                        columns.next()?,
                        columns.next()?,
                        columns.next()?,
                        columns.next()?,
                        columns.next()?,
                        columns.next()?,
                    ];
                    read_float(unsigned(first)?, six, all)?;
                }
            }
        }
        Some(())
    }
}
