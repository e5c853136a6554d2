//! The groups of one pane. Events wait in columns until many have come or the pane is taken: then all are folded at once, with one
//! table for all panes that stays in the processor's caches, and come out in canonical order without having been sorted.
use std::ops::Range;

use seam_shared::view::aggregate::{FixedStats, FloatStats};
use seam_shared::view::definition::View;
use seam_shared::view::rows::States;

use super::order::Order;
use super::values::{Place, Values};

/// Where so many events come to each rank that there may be, rows are ranks.
const DENSE: u64 = 4;

/// One pane.
#[derive(Debug)]
pub struct Pane {
    /// Its groups so far, and their states.
    pub keys: Vec<u64>,
    /// By state.
    pub states: Vec<States>,
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
    /// No groups; events wait in `waiting`, which has none.
    pub fn new(view: &View, waiting: Waiting) -> Pane {
        let states = view.states.iter().map(|state| States::empty(state.kind)).collect();
        Pane { keys: Vec::new(), states, waiting }
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
        self.keys.iter().chain(&self.waiting.keys)
    }
    /// Folds what waits; the groups are in canonical order then.
    pub fn fold(&mut self, view: &View, order: &Order, table: &mut Table) {
        let Waiting { keys: events, values: waiting, places } = &self.waiting;
        let (mut keys, picks) = table.number(order, &self.keys, events);
        let (old, new) = table.rows.split_at(self.keys.len());
        for ((states, values), definition) in self.states.iter_mut().zip(waiting).zip(&view.states) {
            let mut all = states.empty_like();
            match (&mut all, &mut *states) {
                (States::Count(all), States::Count(before)) => {
                    all.resize(keys.len(), 0);
                    old.iter().zip(before).for_each(|(row, count)| all[*row as usize] = *count);
                    if values.is_none() {
                        new.iter().for_each(|row| all[*row as usize] += 1);
                    }
                }
                (States::Fixed(all), States::Fixed(before)) => {
                    all.resize(keys.len(), FixedStats::default());
                    old.iter().zip(before).for_each(|(row, stats)| all[*row as usize] = *stats);
                }
                (States::Float(all), States::Float(before)) => {
                    all.resize(keys.len(), FloatStats::default());
                    old.iter().zip(before).for_each(|(row, stats)| all[*row as usize] = std::mem::take(stats));
                }
                (States::Partial(all), States::Partial(before)) => {
                    all.resize_with(keys.len(), Default::default);
                    old.iter().zip(before).for_each(|(row, partial)| all[*row as usize] = std::mem::take(partial));
                }
                (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
                    debug_assert!(false, "an empty column is of its kind");
                }
            }
            if let Some(values) = values {
                values.lift(definition, new, places, &mut all);
            }
            *states = match &picks {
                Some(picks) => all.gather(picks),
                None => all,
            };
        }
        if let Some(picks) = picks {
            keys = picks.iter().map(|row| keys[*row as usize]).collect();
        }
        self.keys = keys;
        self.waiting.clear();
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

/// Whether so many events are many for each of the ranks that there may be.
pub fn is_dense(ranks: u64, events: usize) -> bool {
    ranks > 0 && ranks * DENSE <= events as u64
}

impl Table {
    /// The distinct keys in canonical order; with anything between them where the rows to take are told.
    fn number(&mut self, order: &Order, groups: &[u64], events: &[u64]) -> (Vec<u64>, Option<Vec<u32>>) {
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
            return (keys, None);
        }
        if is_dense(end, events.len()) {
            return self.by_rank(order, all(), end);
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
        (keys, None)
    }
    /// The same where almost every rank is some key's: its row is its rank.
    fn by_rank<'a>(
        &mut self,
        order: &Order,
        all: impl Iterator<Item = &'a u64>,
        end: u64,
    ) -> (Vec<u64>, Option<Vec<u32>>) {
        const NO_KEY: u64 = u64::MAX;
        let mut keys = vec![NO_KEY; end as usize];
        self.rows.extend(all.map(|key| {
            let rank = order.rank(*key);
            keys[rank as usize] = *key;
            rank as u32
        }));
        let picks = (0..).zip(&keys).filter(|(_, key)| **key != NO_KEY).map(|(row, _)| row).collect();
        (keys, Some(picks))
    }
}
