//! The find-or-insert table of partials by pane and key: what the speed fold, the batch merge and serving group with.
pub mod rolled;

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::time::Timestamp;
use crate::view::aggregate::State;
use crate::view::definition::StateKind;
use crate::view::rows::{Dimension, Rows, States};
use crate::view::value::Value;

/// Rows with an index over (pane, key). Keys are hashed as small integers: each dimension's values are interned once.
///
/// A row keeps its number for the life of the table, so that a caller may note which rows it touched.
#[derive(Debug, Default)]
pub struct Groups {
    rows: Rows,
    /// Per dimension, the codes of its values.
    interned: Vec<HashTable<u32>>,
    /// The numbers of the rows.
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Rows {
    /// Takes over each row of `newer`, of the same view, in the place of the row with its pane and key, or as a new row.
    pub fn upsert(&mut self, newer: &Rows) {
        let mut groups = Groups::like(self);
        groups.merge(self);
        groups.replace(newer);
        *self = groups.into_unsorted();
    }
}

/// What becomes of a row that meets one with its pane and key.
type Join = fn(&mut States, usize, &States, usize);

impl Groups {
    /// An empty table for a view with that many dimensions and those states.
    pub fn new(dimensions: usize, kinds: &[StateKind]) -> Groups {
        Groups::over(Rows::empty(dimensions, kinds))
    }
    /// An empty table for rows shaped like these.
    pub fn like(rows: &Rows) -> Groups {
        Groups::over(Rows {
            panes: Vec::new(),
            dimensions: vec![Dimension::default(); rows.dimensions.len()],
            states: rows.states.iter().map(States::empty_like).collect(),
        })
    }
    fn over(rows: Rows) -> Groups {
        let interned = rows.dimensions.iter().map(|_| HashTable::new()).collect();
        Groups { rows, interned, index: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }
    /// Makes room for that many rows.
    pub fn reserve(&mut self, rows: usize) {
        let Rows { panes, dimensions, states } = &mut self.rows;
        panes.reserve(rows);
        states.iter_mut().for_each(|states| states.reserve(rows));
        dimensions.iter_mut().for_each(|d| d.codes.reserve(rows));
        let hasher = &self.hasher;
        self.index.reserve(rows, |&row| {
            let row = row as usize;
            hash_of(hasher, panes[row], dimensions.iter().map(|d| d.codes[row]))
        });
    }
    /// The code of a value in dimension `d`, given to it on its first use; good for the life of the table.
    pub fn intern(&mut self, d: usize, value: &Value) -> u32 {
        let values = &mut self.rows.dimensions[d].values;
        let hash = |value: &Value| self.hasher.hash_one(value);
        let entry = self.interned[d].entry(
            hash(value),
            |&code| values[code as usize] == *value,
            |&code| hash(&values[code as usize]),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(found) => *found.get(),
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                let code = values.len() as u32;
                vacant.insert(code);
                values.push(value.clone());
                code
            }
        }
    }
    /// The number of the row with that pane and those codes (one a dimension, from [`Groups::intern`]); a new row has empty
    /// states.
    #[inline]
    pub fn row(&mut self, pane: Timestamp, codes: &[u32]) -> usize {
        debug_assert_eq!(codes.len(), self.rows.dimensions.len(), "one code a dimension");
        let Rows { panes, dimensions, states } = &mut self.rows;
        let hash = hash_of(&self.hasher, pane, codes.iter().copied());
        let entry = self.index.entry(
            hash,
            |&row| {
                let row = row as usize;
                panes[row] == pane && dimensions.iter().zip(codes).all(|(d, code)| d.codes[row] == *code)
            },
            |&row| {
                let row = row as usize;
                hash_of(&self.hasher, panes[row], dimensions.iter().map(|d| d.codes[row]))
            },
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(found) => *found.get() as usize,
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                let row = panes.len();
                vacant.insert(row as u32);
                panes.push(pane);
                dimensions.iter_mut().zip(codes).for_each(|(d, code)| d.codes.push(*code));
                states.iter_mut().for_each(States::push_empty);
                row
            }
        }
    }
    /// Combines all rows of `rows`, of the same view.
    pub fn merge(&mut self, rows: &Rows) {
        self.join(rows, States::combine);
    }
    /// Takes over all rows of `rows`, of the same view, in the place of those with the same pane and key.
    pub fn replace(&mut self, rows: &Rows) {
        self.join(rows, States::replace);
    }
    /// Combines one row of states into (pane, key).
    pub fn merge_row(&mut self, pane: Timestamp, key: &[Value], states: &[State]) {
        debug_assert_eq!(states.len(), self.rows.states.len(), "one state a column");
        let codes: Vec<u32> = key.iter().enumerate().map(|(d, value)| self.intern(d, value)).collect();
        let row = self.row(pane, &codes);
        for (column, state) in self.rows.states.iter_mut().zip(states) {
            column.combine_state(row, state);
        }
    }
    /// Combines the rows that `pane_of` gives a place in time, with the chosen dimensions and states of theirs, in the order
    /// of this table's: the roll-up of a query. `None` leaves a row out.
    pub fn merge_chosen(
        &mut self,
        rows: &Rows,
        dimensions: &[usize],
        states: &[usize],
        mut pane_of: impl FnMut(usize) -> Option<Timestamp>,
    ) {
        let mut translations = Translations::new(rows, dimensions);
        for i in 0..rows.len() {
            let Some(pane) = pane_of(i) else { continue };
            let row = translations.row(self, rows, i, pane);
            for (column, &state) in self.rows.states.iter_mut().zip(states) {
                column.combine(row, &rows.states[state], i);
            }
        }
    }
    fn join(&mut self, rows: &Rows, join: Join) {
        debug_assert_eq!(rows.states.len(), self.rows.states.len(), "rows of one view have the same states");
        let all: Vec<usize> = (0..rows.dimensions.len()).collect();
        let mut translations = Translations::new(rows, &all);
        let places: Vec<usize> = (0..rows.len()).map(|i| translations.row(self, rows, i, rows.panes[i])).collect();
        for (column, other) in self.rows.states.iter_mut().zip(&rows.states) {
            places.iter().enumerate().for_each(|(i, &row)| join(column, row, other, i));
        }
    }
    /// The rows as they stand, in the order in which their keys first came.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }
    /// The state columns, to lift events into the rows that [`Groups::row`] named.
    pub fn states_mut(&mut self) -> &mut [States] {
        &mut self.rows.states
    }
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// All rows in canonical form.
    pub fn into_rows(self) -> Rows {
        let mut rows = self.rows;
        rows.sort();
        rows
    }
    /// All rows in the order in which their keys first came; [`Rows::sort`] makes them canonical.
    pub fn into_unsorted(self) -> Rows {
        self.rows
    }
}

#[inline]
fn hash_of(hasher: &DefaultHashBuilder, pane: Timestamp, codes: impl Iterator<Item = u32>) -> u64 {
    use std::hash::Hasher;
    let mut state = hasher.build_hasher();
    state.write_i64(pane.0);
    codes.for_each(|code| state.write_u32(code));
    state.finish()
}

/// The codes of one table by those of another, each looked up on its first use.
struct Translations<'a> {
    dimensions: &'a [usize],
    /// By dimension and code; `u32::MAX` is not yet known.
    known: Vec<Vec<u32>>,
    codes: Vec<u32>,
}

impl<'a> Translations<'a> {
    fn new(rows: &Rows, dimensions: &'a [usize]) -> Self {
        let known = dimensions.iter().map(|&d| vec![u32::MAX; rows.dimensions[d].values.len()]).collect();
        Translations { dimensions, known, codes: vec![0; dimensions.len()] }
    }
    /// The row of `groups` with `pane` and the key of row `i` of `rows`.
    #[inline]
    fn row(&mut self, groups: &mut Groups, rows: &Rows, i: usize, pane: Timestamp) -> usize {
        for (to, &from) in self.dimensions.iter().enumerate() {
            let old = rows.dimensions[from].codes[i] as usize;
            let mut code = self.known[to][old];
            if code == u32::MAX {
                code = groups.intern(to, &rows.dimensions[from].values[old]);
                self.known[to][old] = code;
            }
            self.codes[to] = code;
        }
        groups.row(pane, &self.codes)
    }
}
