//! The find-or-insert table of partials by pane and key: what files of views, roll-ups, the audit and serving group with. The folds of the two
//! layers have tables of their own.
pub(crate) mod index;
pub mod rolled;

use self::index::{Index, Translations};
use crate::time::Timestamp;
use crate::view::aggregate::State;
use crate::view::definition::StateKind;
use crate::view::rows::{Rows, States};
use crate::view::value::Value;

/// Rows with an index over (pane, key).
///
/// A row keeps its number for the life of the table, so that a caller may note which rows it touched.
#[derive(Debug, Default)]
pub struct Groups {
    rows: Rows,
    index: Index,
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

impl Groups {
    /// An empty table for a view with that many dimensions and those states.
    pub fn new(dimensions: usize, kinds: &[StateKind]) -> Groups {
        Groups::over(Rows::empty(dimensions, kinds))
    }
    /// An empty table for rows shaped like these.
    pub fn like(rows: &Rows) -> Groups {
        Groups::over(rows.empty_like())
    }
    fn over(rows: Rows) -> Groups {
        let index = Index::new(rows.dimensions.len());
        Groups { rows, index }
    }
    /// Makes room for that many rows.
    pub fn reserve(&mut self, rows: usize) {
        self.index.reserve(&self.rows, rows);
        let Rows { panes, dimensions, states } = &mut self.rows;
        panes.reserve(rows);
        states.iter_mut().for_each(|states| states.reserve(rows));
        dimensions.iter_mut().for_each(|d| d.codes.reserve(rows));
    }
    /// The code of a value in dimension `d`, given to it on its first use; good for the life of the table.
    pub fn intern(&mut self, d: usize, value: &Value) -> u32 {
        self.index.intern(&mut self.rows, d, value)
    }
    /// The number of the row with that pane and those codes (one a dimension, from [`Groups::intern`]); a new row has empty
    /// states.
    #[inline]
    pub fn row(&mut self, pane: Timestamp, codes: &[u32]) -> usize {
        self.index.row(&mut self.rows, pane, codes)
    }
    /// Combines all rows of `rows`, of the same view.
    pub fn merge(&mut self, rows: &Rows) {
        self.index.join(&mut self.rows, rows, States::combine);
    }
    /// Takes over all rows of `rows`, of the same view, in the place of those with the same pane and key.
    pub fn replace(&mut self, rows: &Rows) {
        self.index.join(&mut self.rows, rows, States::replace);
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
            let row = translations.row(&mut self.index, &mut self.rows, i, pane);
            for (column, &state) in self.rows.states.iter_mut().zip(states) {
                column.combine(row, &rows.states[state], i);
            }
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
