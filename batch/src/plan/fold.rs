//! The groups of a stretch of time while its events come in, file by file.
//!
//! Pane and dimensions become integers: each dimension's value a code, all but the last code together the number of their
//! combination, that and the last code a 64-bit key. Each pane has a table of its own, small enough for the processor's caches,
//! because events come almost in the order of time; and a slice whose events have all come can be taken out.
use std::sync::Arc;

use polars::prelude as pl;
use seam_shared::error::{Error, Result};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::{FixedStats, FloatStats};
use seam_shared::view::definition::{StateKind, View};
use seam_shared::view::rows::{Dimension, Rows, States};
use seam_shared::view::value::FieldType;

use super::dictionary::Dictionary;
use super::index::Numbered;
use super::{Input, Slice, dimension_name, failed, scan, state_name};

/// Groups of the panes in a stretch of time. Takes memory for the groups that are in it.
#[derive(Debug)]
pub struct Fold {
    view: Arc<View>,
    span: Slice,
    dictionaries: Vec<Dictionary>,
    /// From the second dimension on, the combinations of codes up to it, but for those of all dimensions: a pane's keys.
    combinations: Vec<Numbered<8>>,
    /// The panes that have events, numbered from the span's start: a span may have a million panes more than events.
    numbers: Numbered<8>,
    /// In the same order.
    panes: Vec<Pane>,
}

#[derive(Debug, Default)]
struct Pane {
    keys: Numbered<2>,
    states: Vec<States>,
}

/// Where an event belongs: its pane and the row in it.
type Place = (u32, u32);

impl Fold {
    /// No groups yet of the panes in `span`.
    pub fn new(view: Arc<View>, span: Slice) -> Fold {
        Fold {
            span,
            dictionaries: view.dimensions.iter().map(|_| Dictionary::default()).collect(),
            combinations: (2..view.dimensions.len()).map(|_| Numbered::default()).collect(),
            numbers: Numbered::default(),
            panes: Vec::new(),
            view,
        }
    }
    /// Adds the events of a file that fall into the span and count.
    ///
    /// # Errors
    /// `Corrupt` if the file is not of the view's source, `Internal` if Polars refuses the plan.
    pub fn add(&mut self, input: &Input) -> Result<()> {
        let events = scan(&self.view, input, self.span)?.collect().map_err(failed)?;
        let keys = self.keys(&events)?;
        let places = self.places(&events, &keys)?;
        drop(keys);
        for (i, state) in Arc::clone(&self.view).states.iter().enumerate() {
            let Some(field) = state.field else {
                let mut counts =
                    self.columns(i, |states| if let States::Count(counts) = states { Some(counts) } else { None });
                places.iter().for_each(|&(pane, row)| counts[pane as usize][row as usize] += 1);
                continue;
            };
            let column = events.column(&state_name(i)).map_err(failed)?.as_materialized_series();
            self.lift(i, state.kind, self.view.source.fields[field].field_type, column, &places)?;
        }
        Ok(())
    }
    /// Takes out the canonical rows of the panes in `slice`, a part of the span.
    pub fn take(&mut self, slice: Slice) -> Rows {
        let number = |time: Timestamp| ((time.0 - self.span.start.0) / self.view.pane.0) as u64;
        let within = number(slice.start)..number(slice.end);
        let numbers = self.numbers.keys().iter().copied().zip(0..);
        let mut places: Vec<(u64, usize)> = numbers.filter(|(number, _)| within.contains(number)).collect();
        places.sort_unstable();
        let len = places.iter().map(|(_, place)| self.panes[*place].keys.keys().len()).sum();
        let mut rows = Rows::empty(self.view.dimensions.len(), &self.view.kinds());
        let mut keys: Vec<u64> = Vec::with_capacity(len);
        rows.panes.reserve_exact(len);
        for (i, place) in places {
            let pane = std::mem::take(&mut self.panes[place]);
            keys.extend(pane.keys.keys());
            let ends = self.span.start.plus(Span((i as i64 + 1) * self.view.pane.0));
            rows.panes.resize(keys.len(), ends);
            rows.states.iter_mut().zip(pane.states).for_each(|(all, states)| append(all, states, len));
        }
        for (d, dimension) in rows.dimensions.iter_mut().enumerate().rev() {
            *dimension = Dimension {
                codes: keys.iter().map(|key| *key as u32).collect(),
                values: self.dictionaries[d].values().to_vec(),
            };
            keys.iter_mut().for_each(|key| *key >>= 32);
            if d >= 2 {
                let combinations = self.combinations[d - 2].keys();
                keys.iter_mut().for_each(|key| *key = combinations[*key as usize]);
            }
        }
        rows.sort();
        rows
    }

    /// The key of each event within its pane.
    fn keys(&mut self, events: &pl::DataFrame) -> Result<Vec<u64>> {
        let mut keys = vec![0; events.height()];
        for (i, dimension) in self.view.dimensions.iter().enumerate() {
            let column = events.column(&dimension_name(i)).map_err(failed)?;
            let codes = self.dictionaries[i].codes(column, dimension.field_type)?;
            if i >= 2 {
                let combinations = &mut self.combinations[i - 2];
                keys.iter_mut().for_each(|key| *key = combinations.number(*key).into());
            }
            keys.iter_mut().zip(codes).for_each(|(key, code)| *key = *key << 32 | u64::from(code));
        }
        Ok(keys)
    }
    /// The place of each event, new groups with empty states.
    fn places(&mut self, events: &pl::DataFrame, keys: &[u64]) -> Result<Vec<Place>> {
        let times = events.column("time").map_err(failed)?.as_materialized_series();
        let times = times.i64().map_err(failed)?;
        let strange = || Error::corrupt("an archive file holds other times than its table says");
        if times.null_count() > 0 {
            return Err(strange());
        }
        let (start, length) = (self.span.start.0, self.view.pane.0);
        let mut places = Vec::with_capacity(keys.len());
        let kinds = self.view.kinds();
        let (mut number, mut pane) = (0, 0..0);
        let all = times.downcast_iter().flat_map(|chunk| chunk.values().iter());
        for (time, key) in all.zip(keys) {
            if !pane.contains(time) {
                if *time < start || *time >= self.span.end.0 {
                    return Err(strange());
                }
                let first = time - (time - start) % length;
                pane = first..first + length;
                number = self.numbers.number(((first - start) / length) as u64) as usize;
                if number == self.panes.len() {
                    let states = kinds.iter().map(|kind| States::empty(*kind)).collect();
                    self.panes.push(Pane { keys: Numbered::default(), states });
                }
            }
            places.push((number as u32, self.panes[number].keys.number(*key)));
        }
        for pane in &mut self.panes {
            let len = pane.keys.keys().len();
            pane.states.iter_mut().for_each(|states| (states.len()..len).for_each(|_| states.push_empty()));
        }
        Ok(places)
    }
    fn lift(
        &mut self,
        state: usize,
        kind: StateKind,
        field_type: FieldType,
        column: &pl::Series,
        places: &[Place],
    ) -> Result<()> {
        if kind == StateKind::Float {
            let mut all =
                self.columns(state, |states| if let States::Float(stats) = states { Some(stats) } else { None });
            let add = |(pane, row): Place, value| FloatStats::lift(&mut all[pane as usize][row as usize], value);
            each(column.f64().map_err(failed)?, places, add);
            return Ok(());
        }
        let mut all = self.columns(state, |states| if let States::Fixed(stats) = states { Some(stats) } else { None });
        let mut add = |(pane, row): Place, value| FixedStats::lift(&mut all[pane as usize][row as usize], value);
        if field_type == FieldType::Int {
            each(column.i64().map_err(failed)?, places, |place, value| add(place, value.into()));
        } else {
            each(column.decimal().map_err(failed)?.physical(), places, add);
        }
        Ok(())
    }
    /// One state's columns, of all panes.
    fn columns<'a, T>(&'a mut self, state: usize, column: fn(&mut States) -> Option<&mut Vec<T>>) -> Vec<&'a mut [T]> {
        // a pane that was taken has no columns
        let column = |pane: &'a mut Pane| -> &'a mut [T] {
            pane.states.get_mut(state).and_then(column).map_or(&mut [], |all| all)
        };
        self.panes.iter_mut().map(column).collect()
    }
}

/// Hands each value that is not null over with its event's place.
fn each<T: pl::PolarsNumericType>(
    values: &pl::ChunkedArray<T>,
    places: &[Place],
    mut add: impl FnMut(Place, T::Native),
) {
    if values.null_count() > 0 {
        values.iter().zip(places).for_each(|(value, place)| value.into_iter().for_each(|value| add(*place, value)));
        return;
    }
    let mut places = places.iter();
    for chunk in values.downcast_iter() {
        chunk.values().iter().zip(places.by_ref()).for_each(|(value, place)| add(*place, *value));
    }
}

fn append(all: &mut States, more: States, len: usize) {
    match (all, more) {
        (States::Count(all), States::Count(more)) => extend(all, more, len),
        (States::Fixed(all), States::Fixed(more)) => extend(all, more, len),
        (States::Float(all), States::Float(more)) => extend(all, more, len),
        (States::Count(_) | States::Fixed(_) | States::Float(_), _) => {
            debug_assert!(false, "state columns of one view have one kind");
        }
    }
}

fn extend<T>(all: &mut Vec<T>, more: Vec<T>, len: usize) {
    all.reserve_exact(len - all.len());
    all.extend(more);
}
