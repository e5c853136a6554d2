//! The rows of an open segment under absolute upserts: cheap to write to, cheap to hand out.
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::time::Timestamp;
use crate::view::rows::{Dimension, Rows, States};
use crate::view::value::Value;

/// Waiting rows are taken in at the latest when there are this many, and twice as many as the table has.
const WAITING_ROWS_MIN: usize = 16_384;

/// A table of rows by (pane, key). What is written waits until somebody asks for the table: a segment that closes before
/// anybody asks costs nothing. The table is copied on write only while a reader still holds the last one.
#[derive(Debug, Default, Clone)]
pub(super) struct OpenRows {
    rows: Arc<Rows>,
    /// Row numbers by the hash of (pane, codes).
    index: HashTable<u32>,
    /// By dimension: the code of each value in `rows`.
    codes: Vec<HashMap<Value, u32>>,
    hasher: DefaultHashBuilder,
    waiting: Vec<Rows>,
    waiting_rows: usize,
}

impl OpenRows {
    /// Takes rows that replace those with their pane and key.
    pub(super) fn write(&mut self, newer: Rows) {
        if newer.is_empty() {
            return;
        }
        self.waiting_rows += newer.len();
        self.waiting.push(newer);
        if self.waiting_rows > WAITING_ROWS_MIN.max(2 * self.rows.len()) {
            self.take_in();
        }
    }
    /// All rows as they stand.
    pub(super) fn rows(&mut self) -> Arc<Rows> {
        self.take_in();
        Arc::clone(&self.rows)
    }

    fn take_in(&mut self) {
        self.waiting_rows = 0;
        for newer in std::mem::take(&mut self.waiting) {
            self.upsert(&newer);
        }
    }

    fn upsert(&mut self, newer: &Rows) {
        let rows = Arc::make_mut(&mut self.rows);
        if rows.is_empty() {
            rows.dimensions = vec![Dimension::default(); newer.dimensions.len()];
            rows.states = newer.states.iter().map(empty_like).collect();
            self.codes = vec![HashMap::default(); newer.dimensions.len()];
        }
        let pairs = newer.dimensions.iter().zip(&mut rows.dimensions).zip(&mut self.codes);
        let keys: Vec<Vec<u32>> = pairs.map(|((from, to), codes)| translate(from, to, codes)).collect();
        for (row, &pane) in newer.panes.iter().enumerate() {
            let hash = hash_key(&self.hasher, pane, keys.iter().map(|codes| codes[row]));
            let same = |&at: &u32| {
                let at = at as usize;
                rows.panes[at] == pane && rows.dimensions.iter().zip(&keys).all(|(d, codes)| d.codes[at] == codes[row])
            };
            let rehash = |&at: &u32| {
                let at = at as usize;
                hash_key(&self.hasher, rows.panes[at], rows.dimensions.iter().map(|d| d.codes[at]))
            };
            match self.index.entry(hash, same, rehash) {
                Entry::Occupied(found) => {
                    let at = *found.get() as usize;
                    rows.states.iter_mut().zip(&newer.states).for_each(|(to, from)| replace(to, at, from, row));
                }
                Entry::Vacant(free) => {
                    free.insert(rows.panes.len() as u32);
                    rows.panes.push(pane);
                    rows.dimensions.iter_mut().zip(&keys).for_each(|(d, codes)| d.codes.push(codes[row]));
                    rows.states.iter_mut().zip(&newer.states).for_each(|(to, from)| push(to, from, row));
                }
            }
        }
    }
}

fn hash_key(hasher: &DefaultHashBuilder, pane: Timestamp, codes: impl Iterator<Item = u32>) -> u64 {
    codes.fold(hasher.hash_one(pane.0), |hash, code| hasher.hash_one((hash, code)))
}

/// The codes in `to`'s dictionary of `from`'s rows; values that are new to it are added.
fn translate(from: &Dimension, to: &mut Dimension, codes: &mut HashMap<Value, u32>) -> Vec<u32> {
    let mut known: Vec<Option<u32>> = vec![None; from.values.len()];
    let translated = from.codes.iter().map(|&code| {
        *known[code as usize].get_or_insert_with(|| {
            *codes.entry_ref(&from.values[code as usize]).or_insert_with(|| {
                to.values.push(from.values[code as usize].clone());
                (to.values.len() - 1) as u32
            })
        })
    });
    translated.collect()
}

fn empty_like(states: &States) -> States {
    match states {
        States::Count(_) => States::Count(Vec::new()),
        States::Fixed(_) => States::Fixed(Vec::new()),
        States::Float(_) => States::Float(Vec::new()),
        States::Partial(_) => States::Partial(Vec::new()),
    }
}

fn replace(to: &mut States, at: usize, from: &States, row: usize) {
    match (to, from) {
        (States::Count(to), States::Count(from)) => to[at] = from[row],
        (States::Fixed(to), States::Fixed(from)) => to[at] = from[row],
        (States::Float(to), States::Float(from)) => to[at].clone_from(&from[row]),
        (States::Partial(to), States::Partial(from)) => to[at].clone_from(&from[row]),
        (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
            debug_assert!(false, "state columns of one view have one kind");
        }
    }
}

fn push(to: &mut States, from: &States, row: usize) {
    match (to, from) {
        (States::Count(to), States::Count(from)) => to.push(from[row]),
        (States::Fixed(to), States::Fixed(from)) => to.push(from[row]),
        (States::Float(to), States::Float(from)) => to.push(from[row].clone()),
        (States::Partial(to), States::Partial(from)) => to.push(from[row].clone()),
        (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
            debug_assert!(false, "state columns of one view have one kind");
        }
    }
}
