//! What waits of each event for one state: a number, the hash of a value, or a value; and where the event stands in the log.
use std::ops::Range;

use polars::prelude as pl;
use seam_shared::error::{Error, Result};
use seam_shared::log::Offset;
use seam_shared::time::Timestamp;
use seam_shared::view::aggregate::distinct::{hash, hash_integer, hash_text};
use seam_shared::view::aggregate::partial::{Aggregate, Lifted, Partial};
use seam_shared::view::aggregate::{FixedStats, FloatStats};
use seam_shared::view::definition::{Source, StateDefinition, StateKind, View};
use seam_shared::view::rows::States;
use seam_shared::view::value::{FieldType, Value};

use super::failed;

/// Where an event stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    time: Timestamp,
    partition: u32,
    offset: Offset,
}

impl Place {
    /// The places of events of one partition.
    ///
    /// # Errors
    /// `Corrupt` if there are no offsets.
    pub fn read(times: &[i64], partition: u32, offsets: &pl::Column) -> Result<Vec<Place>> {
        let (offsets, missing) = collect(offsets.as_materialized_series().i64().map_err(failed)?);
        if !missing.is_empty() || offsets.iter().any(|offset| *offset < 0) {
            return Err(Error::corrupt("an archive file has events without an offset"));
        }
        let place = |(time, offset): (&i64, &i64)| Place {
            time: Timestamp(*time),
            partition,
            offset: Offset(offset.cast_unsigned()),
        };
        Ok(times.iter().zip(&offsets).map(place).collect())
    }
}

/// Whether a state of the view goes by the place of events.
pub fn needs_places(view: &View) -> bool {
    let by_place =
        |kind| matches!(kind, StateKind::Partial(Aggregate::First | Aggregate::Last | Aggregate::Sessions(_), _));
    view.states.iter().any(|state| by_place(state.kind))
}

/// Whether the offsets of events are needed: for their places, or to tell their count windows.
pub fn needs_offsets(view: &View) -> bool {
    needs_places(view) || view.count_window.is_some()
}

/// What one state measures, one an event.
#[derive(Debug, Clone)]
pub struct Values {
    cells: Cells,
    /// The events, ascending, that have none.
    missing: Vec<u32>,
    /// The events, ascending, that take back what they say.
    retracted: Vec<u32>,
    field_type: FieldType,
}

#[derive(Debug, Clone)]
enum Cells {
    Narrow(Vec<i64>),
    Wide(Vec<i128>),
    Double(Vec<f64>),
    Hash(Vec<u64>),
    Any(Vec<Value>),
}

impl Values {
    /// None yet.
    pub fn empty(state: &StateDefinition, source: &Source) -> Values {
        let field_type = state.field.map_or(FieldType::Int, |field| source.fields[field].field_type);
        let cells = match (state.kind, field_type) {
            (StateKind::Partial(Aggregate::Distinct, _), _) => Cells::Hash(Vec::new()),
            (_, FieldType::Float) => Cells::Double(Vec::new()),
            (_, FieldType::String | FieldType::Bool) => Cells::Any(Vec::new()),
            (_, FieldType::Int | FieldType::Decimal(_)) => Cells::Narrow(Vec::new()),
        };
        Values { cells, missing: Vec::new(), retracted: Vec::new(), field_type }
    }
    /// A column as Polars read it: the field's, or ones for a state without a field; null where the state does not count.
    ///
    /// # Errors
    /// `Internal` if it is of another type.
    pub fn read(column: &pl::Column, state: &StateDefinition, source: &Source) -> Result<Values> {
        let series = column.as_materialized_series();
        let empty = Values::empty(state, source);
        let field_type = empty.field_type;
        let (cells, missing) = match (empty.cells, field_type, series.dtype()) {
            (Cells::Hash(_), FieldType::String, _) => apart(series.str().map_err(failed)?.iter(), hash_text),
            (Cells::Hash(_), FieldType::Int, _) => apart(series.i64().map_err(failed)?.iter(), hash_integer),
            (Cells::Hash(_), _, _) => {
                let hash_of = |value: Value| hash(&value).unwrap_or_default();
                let (values, missing) = any(series, field_type)?;
                (Cells::Hash(values.into_iter().map(hash_of).collect()), missing)
            }
            (Cells::Any(_), _, _) => {
                let (values, missing) = any(series, field_type)?;
                (Cells::Any(values), missing)
            }
            (_, FieldType::Int | FieldType::Decimal(_), pl::DataType::Int64) => {
                let (values, missing) = collect(series.i64().map_err(failed)?);
                (Cells::Narrow(values), missing)
            }
            (_, FieldType::Decimal(_), _) => {
                let (values, missing) = collect(series.decimal().map_err(failed)?.physical());
                (Cells::Wide(values), missing)
            }
            (_, FieldType::Float, _) => {
                let (values, missing) = collect(series.f64().map_err(failed)?);
                (Cells::Double(values), missing)
            }
            (_, FieldType::Int | FieldType::Bool | FieldType::String, other) => {
                let what = format!("a measured column is {other}, its field {field_type:?}");
                return Err(Error::internal(what));
            }
        };
        Ok(Values { cells, missing, retracted: Vec::new(), field_type })
    }
    /// With the events that take back what they say, as Polars told them.
    ///
    /// # Errors
    /// `Internal` if the column is none of flags.
    pub fn retracting(mut self, column: &pl::Column) -> Result<Values> {
        let flags = column.as_materialized_series().bool().map_err(failed)?;
        self.retracted = (0..).zip(flags.iter()).filter(|(_, flag)| *flag == Some(true)).map(|(i, _)| i).collect();
        Ok(self)
    }
    fn len(&self) -> usize {
        match &self.cells {
            Cells::Narrow(values) => values.len(),
            Cells::Wide(values) => values.len(),
            Cells::Double(values) => values.len(),
            Cells::Hash(values) => values.len(),
            Cells::Any(values) => values.len(),
        }
    }
    /// The memory that they take.
    pub fn bytes(&self) -> usize {
        let outside = |value: &Value| if let Value::Str(text) = value { text.len() } else { 0 };
        let each = match &self.cells {
            Cells::Narrow(_) | Cells::Double(_) | Cells::Hash(_) => self.len() * 8,
            Cells::Wide(_) => self.len() * 16,
            Cells::Any(values) => size_of_val(&**values) + values.iter().map(outside).sum::<usize>(),
        };
        each + (self.missing.len() + self.retracted.len()) * 4
    }
    /// Appends the values in `range`.
    pub fn extend(&mut self, from: &Values, range: &Range<usize>) {
        let base = self.len() as u32;
        for (mine, more) in [(&mut self.missing, &from.missing), (&mut self.retracted, &from.retracted)] {
            let first = more.partition_point(|&i| (i as usize) < range.start);
            let within = more[first..].iter().take_while(|&&i| (i as usize) < range.end);
            mine.extend(within.map(|i| base + i - range.start as u32));
        }
        match (&mut self.cells, &from.cells) {
            (Cells::Narrow(values), Cells::Narrow(more)) => values.extend_from_slice(&more[range.clone()]),
            (Cells::Wide(values), Cells::Wide(more)) => values.extend_from_slice(&more[range.clone()]),
            (Cells::Wide(values), Cells::Narrow(more)) => {
                values.extend(more[range.clone()].iter().map(|&value| i128::from(value)));
            }
            (Cells::Narrow(values), Cells::Wide(more)) => {
                let mut wide: Vec<i128> = values.iter().map(|&value| value.into()).collect();
                wide.extend_from_slice(&more[range.clone()]);
                self.cells = Cells::Wide(wide);
            }
            (Cells::Double(values), Cells::Double(more)) => values.extend_from_slice(&more[range.clone()]),
            (Cells::Hash(values), Cells::Hash(more)) => values.extend_from_slice(&more[range.clone()]),
            (Cells::Any(values), Cells::Any(more)) => values.extend_from_slice(&more[range.clone()]),
            (Cells::Narrow(_) | Cells::Wide(_) | Cells::Double(_) | Cells::Hash(_) | Cells::Any(_), _) => {
                debug_assert!(false, "a field has one type");
            }
        }
    }
    /// Hands each value over with its event's row. `places` are the events', if a state of the view goes by them.
    pub fn lift(&self, definition: &StateDefinition, rows: &[u32], places: &[Place], states: &mut States) {
        match (&self.cells, states) {
            (Cells::Narrow(values), States::Count(counts)) => self.each(values, rows, |_, row, _| counts[row] += 1),
            (Cells::Narrow(values), States::Fixed(stats)) => {
                self.each(values, rows, |_, row, value| FixedStats::lift(&mut stats[row], (*value).into()));
            }
            (Cells::Wide(values), States::Fixed(stats)) => {
                self.each(values, rows, |_, row, value| FixedStats::lift(&mut stats[row], *value));
            }
            (Cells::Double(values), States::Float(stats)) => {
                self.each(values, rows, |_, row, value| FloatStats::lift(&mut stats[row], *value));
            }
            (_, States::Partial(partials)) => self.lift_partials(definition, rows, places, partials),
            (_, States::Count(_) | States::Fixed(_) | States::Float(_)) => {
                debug_assert!(false, "a state's values are of its kind");
            }
        }
    }
    fn lift_partials(&self, definition: &StateDefinition, rows: &[u32], places: &[Place], partials: &mut [Partial]) {
        let StateKind::Partial(aggregate, _) = definition.kind else { return };
        let fixed = |partial: &mut Partial, number: i128| match aggregate {
            Aggregate::Variance => partial.variance().into_iter().for_each(|variance| variance.lift_fixed(number)),
            Aggregate::Quantiles(parts) => {
                partial.quantiles().into_iter().for_each(|sketch| sketch.lift_fixed(number, parts));
            }
            _ => {}
        };
        let summed = matches!(aggregate, Aggregate::Variance | Aggregate::Quantiles(_));
        let nowhere = Place { time: Timestamp(0), partition: 0, offset: Offset(0) };
        let mut lift = |event: usize, row: usize, value: &Value| {
            let Place { time, partition, offset } = places.get(event).copied().unwrap_or(nowhere);
            let retracted = self.retracted.binary_search(&(event as u32)).is_ok();
            partials[row].lift(aggregate, &definition.bounds, &Lifted { time, partition, offset, value, retracted });
        };
        match &self.cells {
            Cells::Narrow(values) if summed => {
                self.each(values, rows, |_, row, value| fixed(&mut partials[row], (*value).into()));
            }
            Cells::Wide(values) if summed => self.each(values, rows, |_, row, value| fixed(&mut partials[row], *value)),
            Cells::Hash(values) => self.each(values, rows, |_, row, hash| {
                partials[row].distinct().into_iter().for_each(|set| set.insert(*hash));
            }),
            Cells::Narrow(values) => {
                self.each(values, rows, |event, row, value| lift(event, row, &self.number((*value).into())));
            }
            Cells::Wide(values) => self.each(values, rows, |event, row, value| lift(event, row, &self.number(*value))),
            Cells::Double(values) => {
                self.each(values, rows, |event, row, value| lift(event, row, &Value::Float(*value)));
            }
            Cells::Any(values) => self.each(values, rows, lift),
        }
    }
    fn number(&self, number: i128) -> Value {
        match self.field_type {
            FieldType::Decimal(scale) => Value::Decimal(number, scale),
            _ => Value::Int(number as i64),
        }
    }
    /// Each value that is not missing with its event and row.
    fn each<T>(&self, values: &[T], rows: &[u32], mut add: impl FnMut(usize, usize, &T)) {
        let mut from = 0;
        let ends = self.missing.iter().map(|&i| i as usize).chain(std::iter::once(values.len()));
        for end in ends {
            let run = (from..end).zip(&rows[from..end]).zip(&values[from..end]);
            run.for_each(|((event, row), value)| add(event, *row as usize, value));
            from = end + 1;
        }
    }
}

/// The hashes of cells, and which are missing.
fn apart<T>(cells: impl Iterator<Item = Option<T>>, hash: impl Fn(T) -> u64) -> (Cells, Vec<u32>) {
    let (mut hashes, mut missing) = (Vec::new(), Vec::new());
    for cell in cells {
        match cell {
            Some(cell) => hashes.push(hash(cell)),
            None => {
                missing.push(hashes.len() as u32);
                hashes.push(0);
            }
        }
    }
    (Cells::Hash(hashes), missing)
}

/// The cells of a column as values, and which are missing.
fn any(series: &pl::Series, field_type: FieldType) -> Result<(Vec<Value>, Vec<u32>)> {
    let value = |cell: Option<Value>| cell.unwrap_or(Value::Null);
    let values: Vec<Value> = match (field_type, series.dtype()) {
        (FieldType::String, _) => series.str().map_err(failed)?.iter().map(|c| value(c.map(Value::text))).collect(),
        (FieldType::Bool, _) => series.bool().map_err(failed)?.iter().map(|c| value(c.map(Value::Bool))).collect(),
        (FieldType::Int, _) => series.i64().map_err(failed)?.iter().map(|c| value(c.map(Value::Int))).collect(),
        (FieldType::Float, _) => series.f64().map_err(failed)?.iter().map(|c| value(c.map(Value::Float))).collect(),
        (FieldType::Decimal(scale), pl::DataType::Int64) => {
            let cells = series.i64().map_err(failed)?.iter();
            cells.map(|c| value(c.map(|number| Value::Decimal(number.into(), scale)))).collect()
        }
        (FieldType::Decimal(scale), _) => {
            let cells = series.decimal().map_err(failed)?.physical().iter();
            cells.map(|c| value(c.map(|number| Value::Decimal(number, scale)))).collect()
        }
    };
    let missing = (0..).zip(&values).filter(|(_, value)| **value == Value::Null).map(|(i, _)| i).collect();
    Ok((values, missing))
}

/// The values of a column, and which are missing.
pub fn collect<T: pl::PolarsNumericType>(column: &pl::ChunkedArray<T>) -> (Vec<T::Native>, Vec<u32>) {
    let mut values = Vec::with_capacity(column.len());
    column.downcast_iter().for_each(|chunk| values.extend_from_slice(chunk.values()));
    let mut missing = Vec::new();
    if column.null_count() > 0 {
        missing.extend((0..).zip(column.iter()).filter(|(_, value)| value.is_none()).map(|(i, _)| i));
    }
    (values, missing)
}
