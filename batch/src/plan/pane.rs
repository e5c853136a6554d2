//! The groups of one pane. Events wait in columns until many have come or the pane is taken: then all are folded at once, with one
//! table for all panes that stays in the processor's caches, and come out in canonical order without having been sorted.
use std::ops::Range;

use polars::prelude as pl;
use seam_shared::error::{Error, Result};
use seam_shared::view::aggregate::{FixedStats, FloatStats};
use seam_shared::view::definition::StateKind;
use seam_shared::view::rows::States;
use seam_shared::view::value::FieldType;

use super::failed;
use super::order::Order;

/// Values of one state's field, one an event.
#[derive(Debug, Clone)]
pub struct Values {
    numbers: Numbers,
    /// The events, ascending, that have none.
    missing: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Numbers {
    Narrow(Vec<i64>),
    Wide(Vec<i128>),
    Double(Vec<f64>),
}

impl Values {
    fn empty(kind: StateKind) -> Values {
        let numbers = if kind == StateKind::Float { Numbers::Double(Vec::new()) } else { Numbers::Narrow(Vec::new()) };
        Values { numbers, missing: Vec::new() }
    }
    /// A column of the field as Polars read it.
    ///
    /// # Errors
    /// `Internal` if it is of another type.
    pub fn read(column: &pl::Column, field_type: FieldType) -> Result<Values> {
        let series = column.as_materialized_series();
        Ok(match (field_type, series.dtype()) {
            (FieldType::Int | FieldType::Decimal(_), pl::DataType::Int64) => {
                let (values, missing) = collect(series.i64().map_err(failed)?);
                Values { numbers: Numbers::Narrow(values), missing }
            }
            (FieldType::Decimal(_), _) => {
                let (values, missing) = collect(series.decimal().map_err(failed)?.physical());
                Values { numbers: Numbers::Wide(values), missing }
            }
            (FieldType::Float, _) => {
                let (values, missing) = collect(series.f64().map_err(failed)?);
                Values { numbers: Numbers::Double(values), missing }
            }
            (FieldType::Int | FieldType::Bool | FieldType::String, _) => {
                return Err(Error::internal("a measured column has another type than its field"));
            }
        })
    }
    fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Narrow(values) => values.len(),
            Numbers::Wide(values) => values.len(),
            Numbers::Double(values) => values.len(),
        }
    }
    fn bytes(&self) -> usize {
        let each = if let Numbers::Wide(_) = self.numbers { 16 } else { 8 };
        self.len() * each + self.missing.len() * 4
    }
    fn extend(&mut self, from: &Values, range: &Range<usize>) {
        let base = self.len() as u32;
        if !from.missing.is_empty() {
            let first = from.missing.partition_point(|&i| (i as usize) < range.start);
            let missing = from.missing[first..].iter().take_while(|&&i| (i as usize) < range.end);
            self.missing.extend(missing.map(|i| base + i - range.start as u32));
        }
        match (&mut self.numbers, &from.numbers) {
            (Numbers::Narrow(values), Numbers::Narrow(more)) => values.extend_from_slice(&more[range.clone()]),
            (Numbers::Wide(values), Numbers::Wide(more)) => values.extend_from_slice(&more[range.clone()]),
            (Numbers::Wide(values), Numbers::Narrow(more)) => {
                values.extend(more[range.clone()].iter().map(|&value| i128::from(value)));
            }
            (Numbers::Narrow(values), Numbers::Wide(more)) => {
                let mut wide: Vec<i128> = values.iter().map(|&value| value.into()).collect();
                wide.extend_from_slice(&more[range.clone()]);
                self.numbers = Numbers::Wide(wide);
            }
            (Numbers::Double(values), Numbers::Double(more)) => values.extend_from_slice(&more[range.clone()]),
            (Numbers::Double(_), _) | (_, Numbers::Double(_)) => {
                debug_assert!(false, "a field has one type");
            }
        }
    }
    /// Hands each value over with its event's row.
    fn lift(&self, rows: &[u32], states: &mut States) {
        match (&self.numbers, states) {
            (Numbers::Narrow(values), States::Fixed(stats)) => {
                self.each(values, rows, |row, value| FixedStats::lift(&mut stats[row], value.into()));
            }
            (Numbers::Wide(values), States::Fixed(stats)) => {
                self.each(values, rows, |row, value| FixedStats::lift(&mut stats[row], value));
            }
            (Numbers::Double(values), States::Float(stats)) => {
                self.each(values, rows, |row, value| FloatStats::lift(&mut stats[row], value));
            }
            (Numbers::Narrow(_) | Numbers::Wide(_) | Numbers::Double(_), _) => {
                debug_assert!(false, "a state's values are of its kind");
            }
        }
    }
    fn each<T: Copy>(&self, values: &[T], rows: &[u32], mut add: impl FnMut(usize, T)) {
        let mut from = 0;
        let ends = self.missing.iter().map(|&i| i as usize).chain(std::iter::once(values.len()));
        for end in ends {
            rows[from..end].iter().zip(&values[from..end]).for_each(|(row, value)| add(*row as usize, *value));
            from = end + 1;
        }
    }
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

/// One pane.
#[derive(Debug)]
pub struct Pane {
    /// Its groups so far, and their states.
    pub keys: Vec<u64>,
    /// By state.
    pub states: Vec<States>,
    /// The keys of the events that wait.
    waiting: Vec<u64>,
    /// By state the values that wait; `None` for a count.
    values: Vec<Option<Values>>,
}

impl Pane {
    /// No groups.
    pub fn new(kinds: &[StateKind]) -> Pane {
        Pane {
            keys: Vec::new(),
            states: kinds.iter().map(|kind| States::empty(*kind)).collect(),
            waiting: Vec::new(),
            values: kinds.iter().map(|kind| (*kind != StateKind::Count).then(|| Values::empty(*kind))).collect(),
        }
    }
    /// Lets the events in `range` of all columns wait.
    pub fn extend(&mut self, keys: &[u64], values: &[Option<Values>], range: &Range<usize>) {
        self.waiting.extend_from_slice(&keys[range.clone()]);
        for (mine, more) in self.values.iter_mut().zip(values) {
            if let (Some(mine), Some(more)) = (mine, more) {
                mine.extend(more, range);
            }
        }
    }
    /// The keys of groups and of waiting events.
    pub fn all_keys(&self) -> impl Iterator<Item = &u64> {
        self.keys.iter().chain(&self.waiting)
    }
    /// How many bytes wait.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.len() * 8 + self.values.iter().flatten().map(Values::bytes).sum::<usize>()
    }
    /// Folds what waits; the groups are in canonical order then.
    pub fn fold(&mut self, order: &Order, table: &mut Table) {
        let keys = table.number(order, &self.keys, &self.waiting);
        let (old, new) = table.rows.split_at(self.keys.len());
        for (states, values) in self.states.iter_mut().zip(&self.values) {
            let mut all = states.empty_like();
            match (&mut all, &mut *states) {
                (States::Count(all), States::Count(before)) => {
                    all.resize(keys.len(), 0);
                    old.iter().zip(before).for_each(|(row, count)| all[*row as usize] = *count);
                    new.iter().for_each(|row| all[*row as usize] += 1);
                }
                (States::Fixed(all), States::Fixed(before)) => {
                    all.resize(keys.len(), FixedStats::default());
                    old.iter().zip(before).for_each(|(row, stats)| all[*row as usize] = *stats);
                }
                (States::Float(all), States::Float(before)) => {
                    all.resize(keys.len(), FloatStats::default());
                    old.iter().zip(before).for_each(|(row, stats)| all[*row as usize] = std::mem::take(stats));
                }
                (States::Count(_) | States::Fixed(_) | States::Float(_), _) => {
                    debug_assert!(false, "an empty column is of its kind");
                }
            }
            if let Some(values) = values {
                values.lift(new, &mut all);
            }
            *states = all;
        }
        self.keys = keys;
        self.waiting = Vec::new();
        for values in self.values.iter_mut().flatten() {
            values.missing = Vec::new();
            match &mut values.numbers {
                Numbers::Narrow(numbers) => *numbers = Vec::new(),
                Numbers::Wide(numbers) => *numbers = Vec::new(),
                Numbers::Double(numbers) => *numbers = Vec::new(),
            }
        }
    }
}

/// Numbers the distinct keys of one pane after the other.
#[derive(Debug, Default)]
pub struct Table {
    /// By rank, a bit for each key that occurs.
    seen: Vec<u64>,
    /// By rank, the row.
    places: Vec<u32>,
    /// By key, the groups' first, the row.
    rows: Vec<u32>,
}

impl Table {
    /// The distinct keys in canonical order.
    fn number(&mut self, order: &Order, groups: &[u64], events: &[u64]) -> Vec<u64> {
        let (count, end) = (groups.len() + events.len(), order.end());
        let all = || groups.iter().chain(events);
        self.rows.clear();
        self.rows.reserve(count);
        let mut keys = Vec::new();
        if end > 64 * count as u64 {
            // a table by rank would be mostly empty
            let mut sorted: Vec<(u64, u32)> = all().map(|key| order.rank(*key)).zip(0..).collect();
            sorted.sort_unstable();
            self.rows.resize(count, 0);
            for same in sorted.chunk_by(|a, b| a.0 == b.0) {
                same.iter().for_each(|(_, i)| self.rows[*i as usize] = keys.len() as u32);
                let first = same[0].1 as usize;
                keys.push(if first < groups.len() { groups[first] } else { events[first - groups.len()] });
            }
            return keys;
        }
        self.seen.clear();
        self.seen.resize(end.div_ceil(64) as usize, 0);
        if self.places.len() < end as usize {
            self.places.resize(end as usize, 0);
        }
        for key in all() {
            let rank = order.rank(*key);
            self.rows.push(rank as u32);
            self.seen[(rank / 64) as usize] |= 1 << (rank % 64);
        }
        let mut len = 0;
        for (word, bits) in self.seen.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                self.places[word * 64 + bits.trailing_zeros() as usize] = len;
                len += 1;
                bits &= bits - 1;
            }
        }
        keys.resize(len as usize, 0);
        for (row, key) in self.rows.iter_mut().zip(all()) {
            *row = self.places[*row as usize];
            keys[*row as usize] = *key;
        }
        keys
    }
}
