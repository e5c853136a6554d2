//! Where the row of a pane and key is: the index of a table, beside the rows that it is of.
use std::hash::{BuildHasher, Hasher};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::time::Timestamp;
use crate::view::rows::{Rows, States};
use crate::view::value::Value;

/// What becomes of a row that meets one with its pane and key.
pub(crate) type Join = fn(&mut States, usize, &States, usize);

/// Rows by pane and key. Keys are hashed as small integers: each dimension's values are interned once.
///
/// Every call takes the rows that it is of: who holds them may share them with readers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// Per dimension, the codes of its values.
    codes: Vec<HashTable<u32>>,
    /// The numbers of the rows.
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Index {
    /// Of a table without rows.
    pub(crate) fn new(dimensions: usize) -> Index {
        let codes = (0..dimensions).map(|_| HashTable::new()).collect();
        Index { codes, places: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }
    /// Makes room for that many more rows.
    pub(crate) fn reserve(&mut self, rows: &Rows, more: usize) {
        let hasher = &self.hasher;
        self.places.reserve(more, |&row| hash_of_row(hasher, rows, row as usize));
    }
    /// The code of a value in dimension `d`, given to it on its first use.
    pub(crate) fn intern(&mut self, rows: &mut Rows, d: usize, value: &Value) -> u32 {
        let values = &mut rows.dimensions[d].values;
        let hash = |value: &Value| self.hasher.hash_one(value);
        let is_it = |&code: &u32| values[code as usize] == *value;
        match self.codes[d].entry(hash(value), is_it, |&code| hash(&values[code as usize])) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let code = values.len() as u32;
                vacant.insert(code);
                values.push(value.clone());
                code
            }
        }
    }
    /// The number of the row with that pane and those codes; a new row has empty states.
    #[inline]
    pub(crate) fn row(&mut self, rows: &mut Rows, pane: Timestamp, codes: &[u32]) -> usize {
        debug_assert_eq!(codes.len(), rows.dimensions.len(), "one code a dimension");
        let hash = hash_of(&self.hasher, pane, codes.iter().copied());
        let is_it = |&row: &u32| {
            let row = row as usize;
            rows.panes[row] == pane && rows.dimensions.iter().zip(codes).all(|(d, code)| d.codes[row] == *code)
        };
        match self.places.entry(hash, is_it, |&row| hash_of_row(&self.hasher, rows, row as usize)) {
            Entry::Occupied(found) => *found.get() as usize,
            Entry::Vacant(vacant) => {
                let row = rows.panes.len();
                vacant.insert(row as u32);
                rows.panes.push(pane);
                rows.dimensions.iter_mut().zip(codes).for_each(|(d, code)| d.codes.push(*code));
                rows.states.iter_mut().for_each(States::push_empty);
                row
            }
        }
    }
    /// Joins each row of `others`, of the same view, with the row of its pane and key, or with a new, empty one.
    pub(crate) fn join(&mut self, rows: &mut Rows, others: &Rows, join: Join) {
        debug_assert_eq!(others.states.len(), rows.states.len(), "rows of one view have the same states");
        let all: Vec<usize> = (0..others.dimensions.len()).collect();
        let mut translations = Translations::new(others, &all);
        let place = |i: usize| translations.row(self, rows, i, others.panes[i]);
        let places: Vec<usize> = (0..others.len()).map(place).collect();
        for (column, other) in rows.states.iter_mut().zip(&others.states) {
            places.iter().enumerate().for_each(|(i, &row)| join(column, row, other, i));
        }
    }
}

#[inline]
fn hash_of(hasher: &DefaultHashBuilder, pane: Timestamp, codes: impl Iterator<Item = u32>) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_i64(pane.0);
    codes.for_each(|code| state.write_u32(code));
    state.finish()
}

fn hash_of_row(hasher: &DefaultHashBuilder, rows: &Rows, row: usize) -> u64 {
    hash_of(hasher, rows.panes[row], rows.dimensions.iter().map(|d| d.codes[row]))
}

/// The codes of one table by those of another, each looked up on its first use.
pub(super) struct Translations<'a> {
    others: &'a Rows,
    /// Those of the other table's dimensions that are this one's, in its order.
    dimensions: &'a [usize],
    /// By dimension and code; `u32::MAX` is not yet known.
    known: Vec<Vec<u32>>,
    codes: Vec<u32>,
}

impl<'a> Translations<'a> {
    pub(super) fn new(others: &'a Rows, dimensions: &'a [usize]) -> Self {
        let known = dimensions.iter().map(|&d| vec![u32::MAX; others.dimensions[d].values.len()]).collect();
        Translations { others, dimensions, known, codes: vec![0; dimensions.len()] }
    }
    /// The row with `pane` and the key of row `i` of the other table.
    #[inline]
    pub(super) fn row(&mut self, index: &mut Index, rows: &mut Rows, i: usize, pane: Timestamp) -> usize {
        for (to, &from) in self.dimensions.iter().enumerate() {
            let from = &self.others.dimensions[from];
            let old = from.codes[i] as usize;
            let mut code = self.known[to][old];
            if code == u32::MAX {
                code = index.intern(rows, to, &from.values[old]);
                self.known[to][old] = code;
            }
            self.codes[to] = code;
        }
        index.row(rows, pane, &self.codes)
    }
}
