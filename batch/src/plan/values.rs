//! What waits of each event for one state: a number, the hash of a value, or a value; and where the event stands in the log.
use std::ops::Range;

use parquet::data_type::{BoolType, DoubleType};
use polars::prelude as pl;
use seam_shared::error::Result;
use seam_shared::log::Offset;
use seam_shared::time::Timestamp;
use seam_shared::view::aggregate::distinct::{hash, hash_integer, hash_text};
use seam_shared::view::aggregate::partial::{Aggregate, Lifted, Partial};
use seam_shared::view::aggregate::{FixedStats, FloatStats};
use seam_shared::view::definition::{Source, StateDefinition, StateKind, View};
use seam_shared::view::rows::States;
use seam_shared::view::value::{FieldType, Value};

use super::decode::{self, Chunk, Decimals, Spare};

/// Where an event stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    time: Timestamp,
    partition: u32,
    offset: Offset,
}

impl Place {
    /// The places of events of one partition.
    pub fn all(times: &[i64], partition: u32, offsets: &[i64]) -> Vec<Place> {
        let place = |(time, offset): (&i64, &i64)| Place {
            time: Timestamp(*time),
            partition,
            offset: Offset(offset.cast_unsigned()),
        };
        times.iter().zip(offsets).map(place).collect()
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
    /// A one for each event: what a state without a field measures.
    pub fn ones(events: usize) -> Values {
        Values {
            cells: Cells::Narrow(vec![1; events]),
            missing: Vec::new(),
            retracted: Vec::new(),
            field_type: FieldType::Int,
        }
    }
    /// The field's column.
    ///
    /// # Errors
    /// `Corrupt` if it is of another type or not what an archiver writes.
    pub fn read(chunk: Chunk<'_>, state: &StateDefinition, source: &Source, spare: &mut Spare) -> Result<Values> {
        let empty = Values::empty(state, source);
        let (cells, missing) = match (empty.cells, empty.field_type) {
            (Cells::Hash(_), FieldType::String) => {
                let hashes = decode::texts::<i64>(chunk, spare, |text| hash_text(text).cast_signed())?;
                (Cells::Hash(hashes.values.into_iter().map(i64::cast_unsigned).collect()), hashes.missing)
            }
            (Cells::Hash(_), FieldType::Int) => {
                let integers = decode::integers(chunk, spare)?;
                (Cells::Hash(integers.values.into_iter().map(hash_integer).collect()), integers.missing)
            }
            (Cells::Hash(_), field_type) => {
                let hash_of = |value: Value| hash(&value).unwrap_or_default();
                let values = any(chunk, field_type, spare)?;
                (Cells::Hash(values.values.into_iter().map(hash_of).collect()), values.missing)
            }
            (Cells::Any(_), field_type) => {
                let values = any(chunk, field_type, spare)?;
                (Cells::Any(values.values), values.missing)
            }
            (_, FieldType::Float) => {
                let doubles = decode::plain::<DoubleType>(chunk, spare)?;
                (Cells::Double(doubles.values), doubles.missing)
            }
            (_, FieldType::Decimal(_)) => match decode::decimals(chunk, spare)? {
                Decimals::Narrow(narrow) => (Cells::Narrow(narrow.values), narrow.missing),
                Decimals::Wide(wide) => (Cells::Wide(wide.values), wide.missing),
            },
            (_, FieldType::Int | FieldType::Bool | FieldType::String) => {
                let integers = decode::integers(chunk, spare)?;
                (Cells::Narrow(integers.values), integers.missing)
            }
        };
        Ok(Values { cells, missing, retracted: Vec::new(), field_type: empty.field_type })
    }
    /// The memory of integers, to use again.
    pub fn into_integers(self) -> Option<Vec<i64>> {
        if let Cells::Narrow(values) = self.cells { Some(values) } else { None }
    }
    /// Takes out all values, but not the memory for as many.
    pub fn clear(&mut self) {
        self.missing.clear();
        self.retracted.clear();
        match &mut self.cells {
            Cells::Narrow(values) => values.clear(),
            Cells::Wide(_) => self.cells = Cells::Narrow(Vec::new()), // the next ones may be narrow again
            Cells::Double(values) => values.clear(),
            Cells::Hash(values) => values.clear(),
            Cells::Any(values) => values.clear(),
        }
    }
    /// Without the events that the state does not count, and with those that take back what they say.
    #[must_use]
    pub fn masked(mut self, counted: Option<&pl::BooleanChunked>, retracted: Option<&pl::BooleanChunked>) -> Values {
        if let Some(counted) = counted {
            let mut missing = self.missing.iter().copied().peekable();
            let out = |(row, counts): (u32, Option<bool>)| {
                let missing = missing.next_if(|missing| *missing == row).is_some();
                (missing || counts != Some(true)).then_some(row)
            };
            self.missing = (0..).zip(counted.iter()).filter_map(out).collect();
        }
        if let Some(retracted) = retracted {
            let flags = (0..).zip(retracted.iter());
            self.retracted = flags.filter(|(_, flag)| *flag == Some(true)).map(|(row, _)| row).collect();
        }
        self
    }
    /// Those of some events, ascending.
    #[must_use]
    pub fn pick(&self, picks: &[u32]) -> Values {
        fn of<T: Clone>(values: &[T], picks: &[u32]) -> Vec<T> {
            picks.iter().map(|&i| values[i as usize].clone()).collect()
        }
        let marked = |marks: &[u32]| {
            let mut marks = marks.iter().peekable();
            let is_marked = |(_, pick): &(u32, &u32)| {
                while marks.next_if(|mark| *mark < *pick).is_some() {}
                marks.peek() == Some(pick)
            };
            (0..).zip(picks).filter(is_marked).map(|(row, _)| row).collect::<Vec<u32>>()
        };
        let cells = match &self.cells {
            Cells::Narrow(values) => Cells::Narrow(of(values, picks)),
            Cells::Wide(values) => Cells::Wide(of(values, picks)),
            Cells::Double(values) => Cells::Double(of(values, picks)),
            Cells::Hash(values) => Cells::Hash(of(values, picks)),
            Cells::Any(values) => Cells::Any(of(values, picks)),
        };
        let (missing, retracted) = (marked(&self.missing), marked(&self.retracted));
        Values { cells, missing, retracted, field_type: self.field_type }
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
            (Cells::Narrow(values), States::Fixed(stats)) => self.lift_narrow(values, rows, stats),
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
    /// Adds up in 64 bits where many values come to few rows and no sum of theirs can be too large for that.
    fn lift_narrow(&self, values: &[i64], rows: &[u32], stats: &mut [FixedStats]) {
        let largest = values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
        let fits = u128::from(largest) * values.len() as u128 <= i64::MAX as u128;
        if !fits || values.len() < VALUES_A_ROW * stats.len() {
            self.each(values, rows, |_, row, value| FixedStats::lift(&mut stats[row], (*value).into()));
            return;
        }
        let mut narrow = vec![NarrowStats { count: 0, sum: 0, min: i64::MAX, max: i64::MIN }; stats.len()];
        self.each(values, rows, |_, row, value| narrow[row].lift(*value));
        for (stats, NarrowStats { count, sum, min, max }) in stats.iter_mut().zip(narrow) {
            if count > 0 {
                stats.combine(&FixedStats { count, sum: sum.into(), min: min.into(), max: max.into() });
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

/// From so many values a row on, statistics are first added up in 64 bits.
pub const VALUES_A_ROW: usize = 4;

/// Half as large as [`FixedStats`], of which more stay in the processor's caches.
#[derive(Debug, Clone, Copy)]
struct NarrowStats {
    count: u64,
    sum: i64,
    min: i64,
    max: i64,
}

impl NarrowStats {
    #[inline]
    fn lift(&mut self, value: i64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(value); // never does, by the check before
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

/// The cells of a column as values.
fn any(chunk: Chunk<'_>, field_type: FieldType, spare: &mut Spare) -> Result<decode::Cells<Value>> {
    fn with<T>(cells: decode::Cells<T>, value: impl Fn(T) -> Value) -> decode::Cells<Value> {
        let mut values: Vec<Value> = cells.values.into_iter().map(value).collect();
        cells.missing.iter().for_each(|row| values[*row as usize] = Value::Null);
        decode::Cells { values, missing: cells.missing }
    }
    Ok(match field_type {
        FieldType::String => {
            let mut texts = Vec::new();
            let codes = decode::texts::<i32>(chunk, spare, |text| {
                texts.push(Value::text(text));
                texts.len() as i32 - 1
            })?;
            with(codes, |code| texts.get(code as usize).cloned().unwrap_or(Value::Null))
        }
        FieldType::Bool => with(decode::plain::<BoolType>(chunk, spare)?, Value::Bool),
        FieldType::Int => with(decode::integers(chunk, spare)?, Value::Int),
        FieldType::Float => with(decode::plain::<DoubleType>(chunk, spare)?, Value::Float),
        FieldType::Decimal(scale) => match decode::decimals(chunk, spare)? {
            Decimals::Narrow(narrow) => with(narrow, |number| Value::Decimal(number.into(), scale)),
            Decimals::Wide(wide) => with(wide, |number| Value::Decimal(number, scale)),
        },
    })
}
