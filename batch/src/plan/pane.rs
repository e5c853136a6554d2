//! The groups of one pane. Events wait in columns until many have come or the pane is taken: then all are folded at once, with one
//! table for all panes that stays in the processor's caches, and come out in canonical order without having been sorted.
//!
//! Where at least as many events wait as there may be groups, a group's row is its rank from then on, and events are folded in place.
use std::ops::Range;

use seam_shared::view::aggregate::{FixedStats, FloatStats};
use seam_shared::view::definition::View;
use seam_shared::view::rows::States;

use super::order::Order;
use super::values::{Place, Values};

/// Stands in a row that is no group's.
const NO_KEY: u64 = u64::MAX;

/// One pane.
#[derive(Debug)]
pub struct Pane {
    /// Its groups so far.
    pub keys: Vec<u64>,
    /// Their states, column by column.
    pub states: Vec<States>,
    /// Where rows are ranks, and not every one of them a group: the version of the order.
    ranked: Option<u64>,
    /// Its events that are in no group yet.
    pub waiting: Waiting,
}

/// Events that wait to be folded.
#[derive(Debug)]
pub struct Waiting {
    keys: Vec<u64>,
    /// By state; `None` for a count of all.
    values: Vec<Option<Values>>,
    /// Where they stand, if a state goes by it.
    places: Vec<Place>,
}

impl Waiting {
    /// None yet.
    pub fn new(view: &View) -> Waiting {
        let values =
            view.states.iter().map(|state| (!state.counts_events()).then(|| Values::empty(state, &view.source)));
        Waiting { keys: Vec::new(), values: values.collect(), places: Vec::new() }
    }
    /// How many there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }
    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.keys.len() * 8
            + size_of_val(&*self.places)
            + self.values.iter().flatten().map(Values::bytes).sum::<usize>()
    }
    /// For how many there is memory already.
    pub fn room(&self) -> usize {
        self.keys.capacity()
    }
    /// Takes them out, but not the memory for as many.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.places.clear();
        self.values.iter_mut().flatten().for_each(Values::clear);
    }
}

impl Pane {
    /// No groups, no events.
    pub fn new(view: &View) -> Pane {
        let states = view.states.iter().map(|state| States::empty(state.kind)).collect();
        Pane { keys: Vec::new(), states, ranked: None, waiting: Waiting::new(view) }
    }
    /// Lets the events in `range` of all columns wait.
    pub fn extend(&mut self, keys: &[u64], values: &[Option<Values>], places: &[Place], range: &Range<usize>) {
        self.waiting.keys.extend_from_slice(&keys[range.clone()]);
        self.waiting.places.extend_from_slice(places.get(range.clone()).unwrap_or_default());
        for (mine, more) in self.waiting.values.iter_mut().zip(values) {
            if let (Some(mine), Some(more)) = (mine, more) {
                mine.extend(more, range);
            }
        }
    }
    /// The keys of groups and of waiting events.
    pub fn all_keys(&self) -> impl Iterator<Item = &u64> {
        self.keys.iter().filter(|key| **key != NO_KEY).chain(&self.waiting.keys)
    }
    /// Folds what waits.
    pub fn fold(&mut self, view: &View, order: &Order, table: &mut Table) {
        if self.ranked == Some(order.version()) {
            table.rank(order, self.waiting.keys.iter(), &mut self.keys);
        } else {
            self.settle();
            let (keys, is_ranked) = table.number(order, &self.keys, &self.waiting.keys);
            let before = &table.rows[..self.keys.len()];
            self.states.iter_mut().for_each(|states| *states = moved(states, before, keys.len()));
            table.rows.drain(..self.keys.len());
            self.keys = keys;
            self.ranked = is_ranked.then(|| order.version());
        }
        let Waiting { values: waiting, places, .. } = &self.waiting;
        for ((states, values), definition) in self.states.iter_mut().zip(waiting).zip(&view.states) {
            match (states, values) {
                (states, Some(values)) => values.lift(definition, &table.rows, places, states),
                (States::Count(counts), None) => table.rows.iter().for_each(|row| counts[*row as usize] += 1),
                (_, None) => debug_assert!(false, "only a count has no values"),
            }
        }
        self.waiting.clear();
    }
    /// Folds what waits; the groups are in canonical order then.
    pub fn finish(&mut self, view: &View, order: &Order, table: &mut Table) {
        self.fold(view, order, table);
        self.settle();
    }
    /// Takes out the rows that are no group's.
    fn settle(&mut self) {
        if self.ranked.take().is_some() {
            let picks: Vec<u32> =
                (0..).zip(&self.keys).filter(|(_, key)| **key != NO_KEY).map(|(row, _)| row).collect();
            self.states.iter_mut().for_each(|states| *states = states.gather(&picks));
            self.keys.retain(|key| *key != NO_KEY);
        }
    }
}

/// The states in other rows of so many.
fn moved(states: &mut States, to: &[u32], len: usize) -> States {
    let mut all = states.empty_like();
    let rows = to.iter().map(|row| *row as usize);
    match (&mut all, states) {
        (States::Count(all), States::Count(before)) => {
            all.resize(len, 0);
            rows.zip(before).for_each(|(row, count)| all[row] = *count);
        }
        (States::Fixed(all), States::Fixed(before)) => {
            all.resize(len, FixedStats::default());
            rows.zip(before).for_each(|(row, stats)| all[row] = *stats);
        }
        (States::Float(all), States::Float(before)) => {
            all.resize(len, FloatStats::default());
            rows.zip(before).for_each(|(row, stats)| all[row] = std::mem::take(stats));
        }
        (States::Partial(all), States::Partial(before)) => {
            all.resize_with(len, Default::default);
            rows.zip(before).for_each(|(row, partial)| all[row] = std::mem::take(partial));
        }
        (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
            debug_assert!(false, "an empty column is of its kind");
        }
    }
    all
}

/// Numbers the distinct keys of one pane after the other.
#[derive(Debug, Default)]
pub struct Table {
    /// By rank, 1 for each key that occurs.
    seen: Vec<u8>,
    /// By rank, the row.
    places: Vec<u32>,
    /// By key, the groups' first, the row.
    rows: Vec<u32>,
}

impl Table {
    /// The distinct keys in canonical order, and whether each lies at its rank.
    fn number(&mut self, order: &Order, groups: &[u64], events: &[u64]) -> (Vec<u64>, bool) {
        let (count, end) = (groups.len() + events.len(), order.end());
        let all = || groups.iter().chain(events);
        if end > 64 * count as u64 || end > u64::from(u32::MAX) {
            // a table by rank would be mostly empty, or a rank is no row
            let mut sorted: Vec<(u64, u32)> = all().map(|key| order.rank(*key)).zip(0..).collect();
            sorted.sort_unstable();
            self.rows.resize(count, 0);
            let mut keys = Vec::new();
            for same in sorted.chunk_by(|a, b| a.0 == b.0) {
                same.iter().for_each(|(_, i)| self.rows[*i as usize] = keys.len() as u32);
                let first = same[0].1 as usize;
                keys.push(if first < groups.len() { groups[first] } else { events[first - groups.len()] });
            }
            return (keys, false);
        }
        if end <= events.len() as u64 {
            let mut keys = vec![NO_KEY; end as usize];
            self.rank(order, all(), &mut keys);
            return (keys, true);
        }
        self.see(order, all());
        if self.places.len() < end as usize {
            self.places.resize(end as usize, 0);
        }
        let mut keys = Vec::with_capacity(count);
        for rank in ones(&self.seen) {
            self.places[rank] = keys.len() as u32;
            keys.push(order.key(rank as u64));
        }
        self.rows.iter_mut().for_each(|row| *row = self.places[*row as usize]);
        (keys, false)
    }
    /// Takes ranks for rows, and notes the keys that occur.
    fn rank<'a>(&mut self, order: &Order, all: impl Iterator<Item = &'a u64>, keys: &mut [u64]) {
        self.see(order, all);
        ones(&self.seen).for_each(|rank| keys[rank] = order.key(rank as u64));
    }
    /// Takes ranks for rows, and notes which there are.
    fn see<'a>(&mut self, order: &Order, all: impl Iterator<Item = &'a u64>) {
        let Table { seen, rows, .. } = self;
        seen.clear();
        seen.resize(order.end().next_multiple_of(8) as usize, 0);
        rows.clear();
        rows.extend(all.map(|key| {
            let rank = order.rank(*key);
            seen[rank as usize] = 1;
            rank as u32
        }));
    }
}

/// The places of ones among zeros, eight at a time.
fn ones(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let eights = bytes.as_chunks::<8>().0.iter().map(|eight| u64::from_le_bytes(*eight));
    (0..).step_by(8).zip(eights).flat_map(|(first, mut eight)| {
        std::iter::from_fn(move || {
            let at = (eight != 0).then(|| first + eight.trailing_zeros() as usize / 8);
            eight &= eight.wrapping_sub(1);
            at
        })
    })
}
