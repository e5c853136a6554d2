//! The answer to an ask: merged states by series and moment, and what they show.
use std::sync::Arc;

use hashbrown::HashMap;
use seam_shared::time::Timestamp;
use seam_shared::view::aggregate::State;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;

use super::{Ask, Extent};
use crate::prometheus::catalogue::Shape;
use crate::prometheus::evaluate::{VALUES_MAX, seconds};
use crate::prometheus::failure::Failure;
use crate::prometheus::labels::{Labels, NAME};
use crate::prometheus::source::{Grid, Samples, Series};

/// The states of one or two terms.
type Cell = Option<Vec<State>>;

/// Merged states by series and moment.
#[derive(Debug)]
pub struct Table<'a> {
    ask: &'a Ask,
    series_max: usize,
    index: HashMap<Labels, usize>,
    labels: Vec<Labels>,
    /// What is before the first moment, of a total.
    before: Vec<Cell>,
    /// What is at each moment, or comes to a total there.
    cells: Vec<Vec<Cell>>,
}

impl<'a> Table<'a> {
    /// An empty table for the answer to `ask`.
    pub fn new(ask: &'a Ask, series_max: usize) -> Table<'a> {
        let series_max = series_max.min(VALUES_MAX / ask.moments.max(1));
        let (index, labels, before, cells) = (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
        Table { ask, series_max, index, labels, before, cells }
    }
    /// Adds what is before the first moment and at it.
    ///
    /// # Errors
    /// When there are too many series.
    pub fn add_before(&mut self, rows: &Rows) -> Result<(), Failure> {
        for (row, at) in self.places(rows)?.into_iter().enumerate() {
            if let Some(at) = at {
                combine(&mut self.before[at], rows, row);
            }
        }
        Ok(())
    }
    /// Adds what is at the moments.
    ///
    /// # Errors
    /// When there are too many series.
    pub fn add(&mut self, rows: &Rows) -> Result<(), Failure> {
        let Grid { first, step, count } = self.ask.times;
        for (row, at) in self.places(rows)?.into_iter().enumerate() {
            let i = ((rows.panes[row].0 - first.0) / step.0) as usize;
            if let Some(at) = at {
                self.cells[at].resize(count, None);
                combine(&mut self.cells[at][i], rows, row);
            }
        }
        Ok(())
    }
    /// The series of each row; `None` where a matcher does not match.
    fn places(&mut self, rows: &Rows) -> Result<Vec<Option<usize>>, Failure> {
        let mut known: HashMap<Vec<u32>, Option<usize>> = HashMap::new();
        let mut out = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            let codes: Vec<u32> = rows.dimensions.iter().map(|dimension| dimension.codes[row]).collect();
            let place = match known.get(&codes) {
                Some(place) => *place,
                None => {
                    let place = self.place(rows, row)?;
                    known.insert(codes, place);
                    place
                }
            };
            out.push(place);
        }
        Ok(out)
    }
    fn place(&mut self, rows: &Rows, row: usize) -> Result<Option<usize>, Failure> {
        let ask = self.ask;
        let text = |d: usize| match rows.value(d, row) {
            Value::Null => Arc::from(""),
            Value::Str(text) => Arc::from(text.as_ref()),
            other => Arc::from(other.to_string()),
        };
        let shown = ask.shown.iter().enumerate();
        let pairs: Vec<(usize, Arc<str>)> = shown.map(|(d, place)| (*place, text(d))).collect();
        let label = |(place, text): &(usize, Arc<str>)| (ask.definition.labels[*place].0.clone(), text.clone());
        let all = Labels::new(pairs.iter().map(label));
        if !ask.matchers.iter().all(|matcher| matcher.is_match(all.get(&matcher.name))) {
            return Ok(None);
        }
        let is_kept = |(place, _): &&(usize, Arc<str>)| ask.kept.as_ref().is_none_or(|kept| kept.contains(place));
        let mut labels = Labels::new(pairs.iter().filter(is_kept).map(label));
        labels.set(NAME, &ask.definition.name);
        self.series_of(labels).map(Some)
    }
    fn series_of(&mut self, labels: Labels) -> Result<usize, Failure> {
        if let Some(&at) = self.index.get(&labels) {
            return Ok(at);
        }
        if self.labels.len() >= self.series_max {
            return Err(Failure::execution(format!(
                "{} has more than {} series here at {} moments; add matchers, sum by fewer labels, or ask with SQL or the HTTP API",
                self.ask.definition.name, self.series_max, self.ask.moments
            )));
        }
        self.index.insert(labels.clone(), self.labels.len());
        self.labels.push(labels);
        self.before.push(None);
        self.cells.push(Vec::new());
        Ok(self.labels.len() - 1)
    }
    /// The labels of all series.
    pub fn into_labels(self) -> Vec<Labels> {
        self.labels
    }
    /// Values at the moments of the ask.
    fn values(&mut self) -> Vec<(Labels, Vec<Option<f64>>)> {
        let ask = self.ask;
        let is_total = ask.before.is_some();
        // A counter of everything is there when nothing has come yet.
        let counts_nothing = ask.definition.is_additive()
            && ask.extent != Extent::Samples
            && ask.shown.is_empty()
            && (ask.definition.shape == Shape::Counter);
        if counts_nothing && self.labels.is_empty() {
            let labels = Labels::from([(NAME, ask.definition.name.as_str())]);
            self.series_of(labels).expect("there is room for one");
        }
        let mut out = Vec::with_capacity(self.labels.len());
        for (at, labels) in std::mem::take(&mut self.labels).into_iter().enumerate() {
            let mut cells = std::mem::take(&mut self.cells[at]);
            cells.resize(ask.times.count, None);
            let mut total = self.before[at].take();
            let values = cells.into_iter().map(|cell| {
                let value = if is_total {
                    merge(&mut total, cell);
                    self.value(&total)
                } else {
                    self.value(&cell)
                };
                if counts_nothing { value.or(Some(0.0)) } else { value }
            });
            out.push((labels, values.collect()));
        }
        out
    }
    fn value(&self, cell: &Cell) -> Option<f64> {
        let states = cell.as_ref()?;
        let figures = self.ask.definition.measures.iter().zip(states).map(|(measure, state)| {
            let definition = measure.definition();
            number(&state.present(&measure.view.states[definition.state]).get(definition.figure))
        });
        let figures: Vec<Option<f64>> = figures.collect();
        match figures[..] {
            [one] => one,
            [Some(n), Some(d)] => Some(n / d).filter(|ratio| d != 0.0 && ratio.is_finite()),
            _ => None,
        }
    }
    /// The series at the moments of a grid, those on the grid of the panes that come before them.
    pub fn series(mut self, grid: &Grid, when: bool) -> Vec<Series> {
        let Grid { first, step, count } = self.ask.times;
        let pane = self.ask.definition.pane;
        let place = |at: Timestamp| (((at.floor(pane).0 - first.0) / step.0) as usize).min(count - 1);
        let places: Vec<usize> = grid.iter().map(place).collect();
        let values = self.values().into_iter().map(|(labels, values)| {
            let at = |place: &usize| values[*place].map(|v| if when { seconds(self.ask.times.at(*place)) } else { v });
            Series { labels, values: places.iter().map(at).collect() }
        });
        values.collect()
    }
    /// The series as samples.
    pub fn samples(mut self) -> Vec<Samples> {
        let times = self.ask.times;
        let values = self.values().into_iter().map(|(labels, values)| {
            let list = times.iter().zip(values).filter_map(|(at, value)| Some((at, value?))).collect();
            Samples { labels, list }
        });
        values.collect()
    }
}

fn combine(cell: &mut Cell, rows: &Rows, row: usize) {
    let states = rows.states.iter().map(|states| states.get(row)).collect();
    merge(cell, Some(states));
}

fn merge(cell: &mut Cell, other: Cell) {
    match (cell.as_mut(), other) {
        (_, None) => {}
        (None, other) => *cell = other,
        (Some(states), Some(others)) => states.iter_mut().zip(&others).for_each(|(state, other)| state.combine(other)),
    }
}

/// A figure as a double, the nearest one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        Value::Float(f) => Some(*f),
        Value::Decimal(..) => value.to_json().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Str(_) => None,
    }
}
