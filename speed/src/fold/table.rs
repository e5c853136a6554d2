//! The rows of one view in the open segment: an index over small integers, and typed state columns.
//!
//! Not `shared`'s `Groups`, which merge rows whose codes are each their own: here events come by the thousand with codes of dictionaries
//! that all views share and with hashes made a column at a time, and a commit takes only the rows that changed since the last.
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use seam_shared::event::batch::Column;
use seam_shared::time::Timestamp;
use seam_shared::view::definition::{StateKind, View};
use seam_shared::view::rows::{Rows, States};

use super::counted::dictionary_of;
use super::dictionary::Dictionary;
use super::keys::{Keys, hash, join, split};
use super::measured::{Measured, lift_partials};

/// One view's rows since its segment opened.
#[derive(Debug)]
pub struct Table {
    index: HashTable<u32>,
    /// Row-major keys of `width` words: the pane's two halves, then a code for each dimension.
    keys: Vec<u32>,
    width: usize,
    /// The dictionary of each dimension.
    fields: Vec<usize>,
    states: Vec<States>,
    kinds: Vec<StateKind>,
    rows: u32,
    /// Rows below this one were in the last commit; those of them that changed since are marked and listed.
    committed: u32,
    changed: Vec<bool>,
    changes: Vec<u32>,
    /// Scratch: the row of each selected event.
    slots: Vec<u32>,
    /// Scratch: the events that pass a state's own filter, and their rows.
    passing: (Vec<u32>, Vec<u32>),
}

impl Table {
    /// No rows yet.
    pub fn new(view: &View) -> Self {
        let kinds = view.kinds();
        Self {
            index: HashTable::new(),
            keys: Vec::new(),
            width: 2 + view.dimensions.len(),
            fields: (0..view.dimensions.len()).map(|d| dictionary_of(view, d)).collect(),
            states: kinds.iter().map(|&kind| States::empty(kind)).collect(),
            kinds,
            rows: 0,
            committed: 0,
            changed: Vec::new(),
            changes: Vec::new(),
            slots: Vec::new(),
            passing: Default::default(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Folds the `selected` events, whose pane ends, codes and hashes (see [`hash_all`]) lie at `event - first`.
    pub fn fold(&mut self, selected: &[u32], first: usize, keys: &Keys<'_>, measured: &[Measured<'_>]) {
        self.slots.clear();
        self.slots.reserve(selected.len());
        let mut key = vec![0u32; self.width];
        for &event in selected {
            let i = event as usize - first;
            split(keys.panes[i], &mut key);
            for (word, codes) in key[2..].iter_mut().zip(keys.codes) {
                *word = codes[i];
            }
            let slot = self.slot(&key, keys.hashes[i]);
            self.slots.push(slot);
        }
        self.mark_changes();
        for (states, measured) in self.states.iter_mut().zip(measured) {
            match measured.passes {
                None => lift_all(states, measured, selected, &self.slots),
                Some(passes) => {
                    let (events, slots) = &mut self.passing;
                    events.clear();
                    slots.clear();
                    for (&event, &slot) in
                        selected.iter().zip(&self.slots).filter(|(event, _)| passes[**event as usize])
                    {
                        events.push(event);
                        slots.push(slot);
                    }
                    lift_all(states, measured, events, slots);
                }
            }
        }
    }

    /// Puts in what the store holds of the open segment; it counts as committed.
    pub fn refill(&mut self, rows: &Rows, dictionaries: &mut [Dictionary]) {
        let mut key = vec![0u32; self.width];
        for i in 0..rows.len() {
            split(rows.panes[i], &mut key);
            for (d, &field) in self.fields.iter().enumerate() {
                key[2 + d] = dictionaries[field].code(rows.value(d, i));
            }
            let slot = self.slot(&key, hash(&key)) as usize;
            for (states, held) in self.states.iter_mut().zip(&rows.states) {
                states.combine(slot, held, i);
            }
        }
        self.committed = self.rows;
        self.changed = vec![false; self.rows as usize];
        self.changes.clear();
    }

    /// The row of a key, made if there is none.
    #[inline]
    fn slot(&mut self, key: &[u32], hash_of_key: u64) -> u32 {
        let width = self.width;
        let keys = &self.keys;
        let at = |row: u32| &keys[row as usize * width..][..width];
        // Word by word: keys are too short for a call that compares memory.
        let same = |row: u32| at(row).iter().zip(key).all(|(a, b)| a == b);
        match self.index.entry(hash_of_key, |&row| same(row), |&row| hash(at(row))) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let row = self.rows;
                entry.insert(row);
                self.rows += 1;
                self.keys.extend_from_slice(key);
                self.states.iter_mut().for_each(States::push_empty);
                row
            }
        }
    }

    fn mark_changes(&mut self) {
        if self.committed == 0 {
            return;
        }
        for &slot in &self.slots {
            if slot < self.committed && !self.changed[slot as usize] {
                self.changed[slot as usize] = true;
                self.changes.push(slot);
            }
        }
    }

    /// The rows that changed since the last call, or since [`Table::refill`]; they count as committed from now on.
    pub fn take_changes(&mut self, dictionaries: &mut [Dictionary]) -> Rows {
        let mut rows = std::mem::take(&mut self.changes);
        for &row in &rows {
            self.changed[row as usize] = false;
        }
        rows.extend(self.committed..self.rows);
        self.committed = self.rows;
        self.changed.resize(self.rows as usize, false);
        let states = self.states.iter().map(|states| states.gather(&rows)).collect();
        let out = self.gather_keys(&rows, dictionaries, states);
        rows.clear();
        self.changes = rows;
        out
    }

    /// All rows; the table is empty afterwards, for the next segment.
    pub fn take_all(&mut self, dictionaries: &mut [Dictionary]) -> Rows {
        let rows: Vec<u32> = (0..self.rows).collect();
        let next = self.kinds.iter().map(|&kind| States::empty(kind)).collect();
        let states = std::mem::replace(&mut self.states, next);
        let out = self.gather_keys(&rows, dictionaries, states);
        self.clear();
        out
    }

    /// Drops all rows.
    pub fn clear(&mut self) {
        self.index.clear();
        self.keys.clear();
        self.states = self.kinds.iter().map(|&kind| States::empty(kind)).collect();
        self.rows = 0;
        self.committed = 0;
        self.changed.clear();
        self.changes.clear();
    }

    fn gather_keys(&self, rows: &[u32], dictionaries: &mut [Dictionary], states: Vec<States>) -> Rows {
        let word = |row: u32, at: usize| self.keys[row as usize * self.width + at];
        let pane = |row: u32| Timestamp(i64::from_ne_bytes(join(word(row, 0), word(row, 1))));
        Rows {
            panes: rows.iter().map(|&row| pane(row)).collect(),
            dimensions: (self.fields.iter().enumerate())
                .map(|(d, &field)| dictionaries[field].dimension(rows.iter().map(|&row| word(row, 2 + d))))
                .collect(),
            states,
        }
    }
}

/// One pass over one state column: the kind is decided once, not for each event.
fn lift_all(states: &mut States, measured: &Measured<'_>, selected: &[u32], slots: &[u32]) {
    let events = || selected.iter().map(|&e| e as usize).zip(slots.iter().map(|&s| s as usize));
    match (states, measured.column()) {
        (States::Partial(partials), _) => lift_partials(partials, measured, events()),
        (States::Count(counts), _) => {
            for &slot in slots {
                counts[slot as usize] += 1;
            }
        }
        (States::Fixed(stats), Some(Column::Int(values, valid))) => {
            for (event, slot) in events().filter(|&(event, _)| valid[event]) {
                stats[slot].lift(i128::from(values[event]));
            }
        }
        (States::Fixed(stats), Some(Column::Decimal(values, valid, _))) => {
            for (event, slot) in events().filter(|&(event, _)| valid[event]) {
                stats[slot].lift(values[event]);
            }
        }
        (States::Float(stats), Some(Column::Float(values, valid))) => {
            for (event, slot) in events().filter(|&(event, _)| valid[event]) {
                stats[slot].lift(values[event]);
            }
        }
        (States::Fixed(_) | States::Float(_), _) => {
            debug_assert!(false, "definitions are typed: a state measures a field of its kind");
        }
    }
}
