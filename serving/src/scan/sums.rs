//! Sums: what a scan has merged, by key and cell. A cell of a key is found by its place, not by a hash, where there is room. Pure.
use std::cmp::Ordering;
use std::hash::{BuildHasher, Hasher};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::StateKind;
use seam_shared::view::rows::{Dimension, Rows, States};
use seam_shared::view::value::Value;

/// Places that there may be, those of cells without a row included; they take four bytes each.
const PLACES_MAX: usize = 1 << 22;
/// A place without a row.
const NONE: u32 = u32::MAX;
/// Places by one row that are looked at one by one; where there are more, rows are sorted.
const SPARSE: usize = 8;
/// The pane of keys, which have none.
const NO_PANE: Timestamp = Timestamp(0);

/// A table of states by key and cell.
pub struct Sums {
    keys: KeyTable,
    /// How many cells a key can have.
    cells: usize,
    places: Places,
    key_of: Vec<u32>,
    cell_of: Vec<i64>,
    states: Vec<States>,
}

/// Where the row of a key and cell is.
enum Places {
    /// By key, then by cell.
    Grid(Vec<u32>),
    /// By hash, for keys with few of many cells.
    Hashed(HashTable<u32>, DefaultHashBuilder),
}

/// What order rows come in; keys are in the order of their values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By cell, then by key.
    Cell,
    /// By key, then by cell.
    Key,
}

impl Sums {
    /// No rows, with so many dimensions and those states; cells are numbered below `cells`.
    pub fn new(dimensions: usize, kinds: &[StateKind], cells: usize) -> Sums {
        let states = kinds.iter().map(|&kind| States::empty(kind)).collect();
        let places = if cells > PLACES_MAX { hashed() } else { Places::Grid(Vec::new()) };
        let keys = KeyTable::new(dimensions);
        Sums { keys, cells, places, key_of: Vec::new(), cell_of: Vec::new(), states }
    }
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.cell_of.len()
    }
    /// Memory that general partials take outside of the columns, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.states.iter().map(States::heap_bytes).sum()
    }
    /// The states, to be merged into.
    #[inline]
    pub fn states_mut(&mut self) -> &mut [States] {
        &mut self.states
    }
    fn key(&mut self, codes: &[u32]) -> u32 {
        let key = self.keys.find(codes);
        if let Places::Grid(grid) = &mut self.places {
            let needed = self.keys.count * self.cells;
            if needed > PLACES_MAX {
                self.give_up_places();
            } else if needed > grid.len() {
                grid.resize(needed, NONE);
            }
        }
        key
    }
    fn give_up_places(&mut self) {
        self.places = hashed();
        let Places::Hashed(table, hasher) = &mut self.places else { return };
        let hash = |row: u32| hasher.hash_one((self.key_of[row as usize], self.cell_of[row as usize]));
        for row in 0..self.cell_of.len() as u32 {
            table.insert_unique(hash(row), row, |&row| hash(row));
        }
    }
    /// The row of a key and cell; a new one has empty states.
    #[inline]
    pub fn row(&mut self, key: u32, cell: i64) -> usize {
        let Sums { places, key_of, cell_of, .. } = self;
        let next = cell_of.len() as u32;
        let row = match places {
            Places::Grid(grid) => {
                let place = &mut grid[key as usize * self.cells + cell as usize];
                if *place == NONE {
                    *place = next;
                }
                *place
            }
            Places::Hashed(table, hasher) => {
                let hash = |row: u32| hasher.hash_one((key_of[row as usize], cell_of[row as usize]));
                let is_it = |&row: &u32| key_of[row as usize] == key && cell_of[row as usize] == cell;
                match table.entry(hasher.hash_one((key, cell)), is_it, |&row| hash(row)) {
                    Entry::Occupied(found) => *found.get(),
                    Entry::Vacant(vacant) => *vacant.insert(next).get(),
                }
            }
        };
        if row == next {
            key_of.push(key);
            cell_of.push(cell);
            self.states.iter_mut().for_each(States::push_empty);
        }
        row as usize
    }
    /// The states.
    pub fn states(&self) -> &[States] {
        &self.states
    }
    /// The number of a row's cell.
    pub fn cell(&self, row: u32) -> i64 {
        self.cell_of[row as usize]
    }
    /// The order of two rows by the values of their keys.
    pub fn compare_keys(&self, a: u32, b: u32) -> Ordering {
        let KeyTable { names, codes, .. } = &self.keys;
        let value = |d: usize, row: u32| &names[d].values[codes[d][self.key_of[row as usize] as usize] as usize];
        let by_dimension = (0..names.len()).map(|d| value(d, a).cmp(value(d, b)));
        by_dimension.fold(Ordering::Equal, Ordering::then)
    }
    /// The same with some of the rows alone.
    #[must_use]
    pub fn only(self, rows: &[u32]) -> Sums {
        let Sums { keys: all, cells, key_of, cell_of, states, .. } = self;
        let mut keys = KeyTable::new(all.names.len());
        let mut key = |row: &u32| {
            let of = key_of[*row as usize] as usize;
            let named = all.names.iter().zip(&all.codes).zip(&mut keys.names);
            let code = |((from, codes), to): ((&Names, &Vec<u32>), &mut Names)| {
                to.code(&from.values[codes[of] as usize], NONE, &keys.hasher)
            };
            let codes: Vec<u32> = named.map(code).collect();
            keys.find(&codes)
        };
        let key_of = rows.iter().map(&mut key).collect();
        let cell_of = rows.iter().map(|row| cell_of[*row as usize]).collect();
        let states = states.iter().map(|states| states.gather(rows)).collect();
        Sums { keys, cells, places: hashed(), key_of, cell_of, states }
    }
    /// All rows in an order, with the panes that `pane` gives their cells. By cell, they are in canonical form if it gives them in time.
    pub fn into_rows(self, by: By, pane: impl Fn(i64) -> Timestamp) -> Rows {
        let Sums { keys, cells, places, key_of, cell_of, states } = self;
        // Of one key there is nothing to sort but cells, and these come in time as a rule.
        if keys.count == 1 && cell_of.is_sorted() {
            let codes = || vec![0; cell_of.len()];
            let dimensions = keys.names.into_iter().map(|names| Dimension { codes: codes(), values: names.values });
            let dimensions = dimensions.collect();
            return Rows { panes: cell_of.into_iter().map(pane).collect(), dimensions, states };
        }
        let mut keys = keys.into_rows();
        keys.sort();
        let Some(States::Count(by_rank)) = keys.states.pop() else { return Rows::default() };
        let mut ranks = vec![0_u32; by_rank.len()];
        by_rank.iter().zip(0..).for_each(|(&key, rank)| ranks[key as usize] = rank);
        let sorts_as = |row: u32| {
            let (rank, cell) = (i64::from(ranks[key_of[row as usize] as usize]), cell_of[row as usize]);
            if by == By::Cell { (cell, rank) } else { (rank, cell) }
        };
        let rows = cell_of.len() as u32;
        let in_order = (1..rows).all(|row| sorts_as(row - 1) < sorts_as(row));
        let order: Vec<u32> = match places {
            _ if in_order => (0..rows).collect(),
            Places::Grid(grid) if grid.len() <= SPARSE * rows as usize => {
                let at = |key: u64, cell: usize| grid[key as usize * cells + cell];
                let all: Box<dyn Iterator<Item = u32>> = match by {
                    By::Cell => Box::new((0..cells).flat_map(|cell| by_rank.iter().map(move |&key| at(key, cell)))),
                    By::Key => Box::new(by_rank.iter().flat_map(|&key| (0..cells).map(move |cell| at(key, cell)))),
                };
                all.filter(|row| *row != NONE).collect()
            }
            Places::Grid(_) | Places::Hashed(..) => {
                let mut order: Vec<u32> = (0..rows).collect();
                order.sort_unstable_by_key(|&row| sorts_as(row));
                order
            }
        };
        let states = if in_order { states } else { states.iter().map(|states| states.gather(&order)).collect() };
        let code = |d: &Dimension, row: u32| d.codes[ranks[key_of[row as usize] as usize] as usize];
        let coded =
            |d: Dimension| Dimension { codes: order.iter().map(|&row| code(&d, row)).collect(), values: d.values };
        let panes = order.iter().map(|&row| pane(cell_of[row as usize])).collect();
        Rows { panes, dimensions: keys.dimensions.into_iter().map(coded).collect(), states }
    }
}

/// The keys of a table, each once.
struct KeyTable {
    names: Vec<Names>,
    /// By dimension, the code of each key.
    codes: Vec<Vec<u32>>,
    count: usize,
    /// The keys by their codes, where there is more than one dimension.
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// The values of a dimension by code. As long as they come in order, as they do from one block, or from blocks that have the same ones,
/// no index is needed to find them.
#[derive(Default)]
struct Names {
    values: Vec<Value>,
    /// The dictionary that they begin with, by its hash.
    dictionary: Option<[u8; 32]>,
    index: Option<HashTable<u32>>,
}

impl Names {
    /// The code of a value; it is likely to be `guess`.
    #[inline]
    fn code(&mut self, value: &Value, guess: u32, hasher: &DefaultHashBuilder) -> u32 {
        if self.values.get(guess as usize) == Some(value) {
            return guess;
        }
        let next = self.values.len() as u32;
        if self.index.is_none() {
            if self.values.last().is_none_or(|last| last < value) {
                self.values.push(value.clone());
                return next;
            }
            if let Ok(code) = self.values.binary_search(value) {
                return code as u32;
            }
        }
        let Names { values, index, .. } = self;
        let hash = |code: u32| hasher.hash_one(&values[code as usize]);
        let index = index.get_or_insert_with(|| {
            let mut index = HashTable::with_capacity(values.len() * 2);
            for code in 0..next {
                index.insert_unique(hash(code), code, |&code| hash(code));
            }
            index
        });
        let is_it = |&code: &u32| values[code as usize] == *value;
        let code = match index.entry(hasher.hash_one(value), is_it, |&code| hash(code)) {
            Entry::Occupied(found) => return *found.get(),
            Entry::Vacant(vacant) => *vacant.insert(next).get(),
        };
        values.push(value.clone());
        code
    }
}

impl KeyTable {
    fn new(dimensions: usize) -> KeyTable {
        KeyTable {
            names: (0..dimensions).map(|_| Names::default()).collect(),
            codes: vec![Vec::new(); dimensions],
            count: 0,
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
    /// The key with these codes.
    fn find(&mut self, wanted: &[u32]) -> u32 {
        let KeyTable { codes, count, index, hasher, .. } = self;
        let next = *count as u32;
        let key = match wanted {
            [] => 0,
            // Each value comes with its key.
            [code] => *code,
            _ => {
                let is_it = |&key: &u32| codes.iter().zip(wanted).all(|(codes, code)| codes[key as usize] == *code);
                let hash = |&key: &u32| hash_of(hasher, codes.iter().map(|codes| codes[key as usize]));
                match index.entry(hash_of(hasher, wanted.iter().copied()), is_it, hash) {
                    Entry::Occupied(found) => *found.get(),
                    Entry::Vacant(vacant) => *vacant.insert(next).get(),
                }
            }
        };
        if key == next {
            *count += 1;
            codes.iter_mut().zip(wanted).for_each(|(codes, code)| codes.push(*code));
        }
        key
    }
    /// The keys as rows without panes; their state is the number of the key.
    fn into_rows(self) -> Rows {
        let KeyTable { names, codes, count, .. } = self;
        let dimensions = names.into_iter().zip(codes).map(|(names, codes)| Dimension { codes, values: names.values });
        let numbers = States::Count((0..count as u64).collect());
        Rows { panes: vec![NO_PANE; count], dimensions: dimensions.collect(), states: vec![numbers] }
    }
}

#[inline]
fn hash_of(hasher: &DefaultHashBuilder, codes: impl Iterator<Item = u32>) -> u64 {
    let mut state = hasher.build_hasher();
    codes.for_each(|code| state.write_u32(code));
    state.finish()
}

fn hashed() -> Places {
    Places::Hashed(HashTable::new(), DefaultHashBuilder::default())
}

/// The keys of a table by those of what is scanned. Each value is looked up on its first use, unless the table's values are known to be
/// the same; and as what is scanned is in order and much alike from block to block, the next one is looked for where the last one was
/// found.
pub struct Keys<'a> {
    dimensions: &'a [usize],
    /// The hashes of the dictionaries of what is scanned, if they are known.
    dictionaries: &'a [[u8; 32]],
    /// By dimension, the table's codes.
    known: Vec<Known>,
    /// The codes of the key at hand.
    codes: Vec<u32>,
    last: u32,
}

/// The table's codes of a dimension of what is scanned.
enum Known {
    /// They are the same.
    Same,
    /// Those that were looked up already, by code; nothing where fewer keys are scanned than there are codes.
    Found(Vec<u32>),
}

impl<'a> Keys<'a> {
    /// Of `count` keys (or rows) with the dimensions `scanned`, of which the table has `dimensions`.
    pub fn new(
        sums: &Sums,
        dimensions: &'a [usize],
        scanned: &[Dimension],
        dictionaries: &'a [[u8; 32]],
        count: usize,
    ) -> Self {
        let known = dimensions.iter().zip(&sums.keys.names).map(|(&d, names)| match dictionaries.get(d) {
            Some(dictionary) if names.dictionary == Some(*dictionary) => Known::Same,
            _ => Known::Found(vec![NONE; Some(scanned[d].values.len()).filter(|codes| *codes <= count).unwrap_or(0)]),
        });
        Keys { dimensions, dictionaries, known: known.collect(), codes: vec![NONE; dimensions.len()], last: NONE }
    }
    /// Remembers which of the dictionaries of what was scanned the table's are.
    pub fn learn(&self, sums: &mut Sums) {
        for ((&d, known), names) in self.dimensions.iter().zip(&self.known).zip(&mut sums.keys.names) {
            if let (Some(dictionary), None, Known::Found(codes)) = (self.dictionaries.get(d), names.dictionary, known)
                && !codes.is_empty()
                && codes.iter().zip(0..).all(|(code, own)| *code == own)
            {
                names.dictionary = Some(*dictionary);
            }
        }
    }
    /// The table's key of the key (or row) `i` that is scanned.
    #[inline]
    pub fn of(&mut self, sums: &mut Sums, scanned: &[Dimension], i: usize) -> u32 {
        for (to, &from) in self.dimensions.iter().enumerate() {
            let theirs = scanned[from].codes[i];
            self.codes[to] = match &mut self.known[to] {
                Known::Same => theirs,
                Known::Found(found) => match found.get(theirs as usize) {
                    Some(&code) if code != NONE => code,
                    place => {
                        let is_kept = place.is_some();
                        let (guess, value) = (self.codes[to].wrapping_add(1), &scanned[from].values[theirs as usize]);
                        let KeyTable { names, hasher, .. } = &mut sums.keys;
                        let code = names[to].code(value, guess, hasher);
                        if is_kept {
                            found[theirs as usize] = code;
                        }
                        code
                    }
                },
            };
        }
        let held = &sums.keys.codes;
        let is_it = |key: u32| held.iter().zip(&self.codes).all(|(codes, code)| codes.get(key as usize) == Some(code));
        let mut likely = [self.last, self.last.wrapping_add(1)].into_iter();
        let found = likely.find(|&key| (key as usize) < sums.keys.count && is_it(key));
        self.last = found.unwrap_or_else(|| sums.key(&self.codes));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;
    use seam_shared::view::groups::Groups;

    /// The same by the table that everybody else uses.
    fn plain(rows: &[(i64, [Value; 2], u64)], by: By) -> Vec<(i64, Value, Value, u64)> {
        let mut groups = Groups::new(2, &[StateKind::Count]);
        for (cell, key, count) in rows {
            let state = seam_shared::view::aggregate::State::Count(*count);
            groups.merge_row(Timestamp(*cell), key, &[state]);
        }
        let mut out = listed(&groups.into_rows());
        if by == By::Key {
            out.sort_by(|a, b| (&a.1, &a.2, a.0).cmp(&(&b.1, &b.2, b.0)));
        }
        out
    }
    fn listed(rows: &Rows) -> Vec<(i64, Value, Value, u64)> {
        let States::Count(counts) = &rows.states[0] else { panic!("counts") };
        let row = |i: usize| (rows.panes[i].0, rows.value(0, i).clone(), rows.value(1, i).clone(), counts[i]);
        (0..rows.len()).map(row).collect()
    }

    #[test]
    fn rows_are_those_of_a_plain_table_whatever_order_they_come_in() {
        let mut learnt = 0;
        for seed in 1..120 {
            let mut dice = Dice(seed);
            let (keys, cells) =
                ([1, 4, 90][dice.pick(3) as usize], [1, 7, 300, PLACES_MAX as u64 / 10][dice.pick(4) as usize]);
            let mut rows: Vec<(i64, [Value; 2], u64)> = (0..dice.pick(600))
                .map(|_| {
                    let key = [Value::text(&format!("k{}", dice.pick(keys))), Value::Int(dice.pick(2) as i64)];
                    (dice.pick(cells) as i64, key, dice.pick(9))
                })
                .collect();
            if dice.pick(2) == 0 {
                rows.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
            }
            for by in [By::Cell, By::Key] {
                let mut sums = Sums::new(2, &[StateKind::Count], cells as usize);
                // In blocks, each with dictionaries of its own.
                for block in rows.chunks(1 + dice.pick(200) as usize) {
                    let mut held = Rows::empty(2, &[]);
                    for (cell, key, _) in block {
                        held.push_row(Timestamp(*cell), key);
                    }
                    let sorted = crate::block::ByKey::new(held.clone(), None);
                    let is_same = sorted.dimensions.iter().zip(&held.dimensions).all(|(a, b)| a.values == b.values);
                    let known = if is_same { &sorted.dictionaries[..] } else { &[] };
                    learnt += usize::from(is_same);
                    let remembered = block.len() * dice.pick(2) as usize;
                    let mut of = Keys::new(&sums, &[0, 1], &held.dimensions, known, remembered);
                    for (i, (cell, _, count)) in block.iter().enumerate() {
                        let key = of.of(&mut sums, &held.dimensions, i);
                        let row = sums.row(key, *cell);
                        sums.states_mut()[0].combine_state(row, &seam_shared::view::aggregate::State::Count(*count));
                    }
                    of.learn(&mut sums);
                }
                let got = sums.into_rows(by, Timestamp);
                if by == By::Cell {
                    let mut canonical = got.clone();
                    canonical.sort();
                    assert_eq!(got, canonical, "seed {seed}");
                }
                assert_eq!(listed(&got), plain(&rows, by), "seed {seed}");
            }
        }
        assert!(learnt > 100, "{learnt}");
    }

    #[test]
    fn some_rows_alone_are_what_they_were_among_all() {
        let mut dice = Dice(5);
        for rows in [1, 40, 300] {
            let mut sums = Sums::new(2, &[StateKind::Count], 3);
            for _ in 0..rows {
                let mut held = Rows::empty(2, &[]);
                held.push_row(
                    Timestamp(0),
                    &[Value::text(&format!("k{}", dice.pick(50))), Value::Int(dice.pick(3) as i64)],
                );
                let key = Keys::new(&sums, &[0, 1], &held.dimensions, &[], 1).of(&mut sums, &held.dimensions, 0);
                let row = sums.row(key, dice.pick(3) as i64);
                sums.states_mut()[0].combine_state(row, &seam_shared::view::aggregate::State::Count(dice.pick(9)));
            }
            let picks: Vec<u32> = (0..sums.len() as u32).rev().filter(|_| dice.pick(2) == 0).collect();
            let (cells, counts) = (sums.cell_of.clone(), sums.states[0].clone());
            let key = |row: u32| {
                let of = sums.key_of[row as usize] as usize;
                [0, 1].map(|d: usize| sums.keys.names[d].values[sums.keys.codes[d][of] as usize].clone())
            };
            let States::Count(counts) = counts else { panic!("counts") };
            let count = |row: &u32| (cells[*row as usize], key(*row), counts[*row as usize]);
            let mut expected: Vec<_> = picks.iter().map(count).collect();
            expected.sort();
            for pair in picks.windows(2) {
                assert_eq!(sums.compare_keys(pair[0], pair[1]), key(pair[0]).cmp(&key(pair[1])));
            }
            let got = listed(&sums.only(&picks).into_rows(By::Cell, Timestamp));
            let got: Vec<_> = got.into_iter().map(|(cell, a, b, count)| (cell, [a, b], count)).collect();
            assert_eq!(got, expected);
        }
    }
}
