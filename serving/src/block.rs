//! Blocks: the scan-ready form of rows, for batch files and speed segments alike, and the roll-ups of them.
use std::hash::Hash;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::State;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::{Dimension, Rows, States};
use seam_shared::view::value::Value;

use crate::block_key::{BlockKey, Shape};
use crate::query::Spelling;

/// Rows in one of two forms: what many queries will scan by key, what few will scan as the store has it.
#[derive(Debug)]
pub enum Block {
    /// Rows that are not changed any more, by key.
    ByKey(ByKey),
    /// Rows as they are held.
    AsHeld(Arc<Rows>),
}

/// Rows by key: each key once, its rows side by side in the order of their panes. Keys are in the order of their values, and
/// so are the codes of values.
#[derive(Debug)]
pub struct ByKey {
    /// The dimensions, with one code a key.
    pub dimensions: Vec<Dimension>,
    /// The hash of each dimension's values in order: where it is the same, codes mean the same.
    pub dictionaries: Vec<[u8; 32]>,
    /// Each key's first row, and the number of rows.
    starts: Vec<u32>,
    /// The pane of each row.
    pub panes: Vec<Timestamp>,
    /// The states of each row.
    pub states: Vec<States>,
    /// How many rows each key has, if all keys have the same panes.
    even: Option<usize>,
    /// In a roll-up, how many rows each of its rows stands for.
    weights: Option<States>,
    /// The first and the last pane.
    pub span: (Timestamp, Timestamp),
    /// What the cache calls it; `None` if it is in no cache.
    pub name: Option<Arc<BlockKey>>,
    /// What of it is remembered longer than itself.
    pub facts: Arc<Facts>,
    bytes: usize,
}

/// What decides how a block by key is scanned: remembered when its rows are not held any more.
#[derive(Debug)]
pub struct Facts {
    /// How many rows there are.
    pub rows: usize,
    /// How many keys.
    pub keys: usize,
    /// How many values each dimension has.
    pub values: Vec<usize>,
    /// The first and the last pane.
    pub span: (Timestamp, Timestamp),
    /// The width of its panes, where they are not the view's.
    pub width: Option<Span>,
    /// What it was rolled up to.
    pub shapes: Mutex<Vec<Shape>>,
}

impl Facts {
    /// The shape of the rows as they are; `None` for a view with more dimensions than a shape can name.
    pub fn shape(&self) -> Option<Shape> {
        let dimensions = 1_u64.checked_shl(self.values.len() as u32)? - 1;
        Some(Shape { dimensions, width: None })
    }
}

impl Block {
    /// `rows`, given in any order, by key.
    pub fn sorted(rows: Rows) -> Block {
        Block::ByKey(ByKey::new(rows, None))
    }
    /// Rows of a roll-up to panes of that width, in any order, each standing for as many rows as `weights` says.
    pub fn rolled(rows: Rows, weights: States, width: Span) -> Block {
        let mut by_key = ByKey::new(rows, Some(weights));
        by_key.widen(Some(width));
        Block::ByKey(by_key)
    }
    /// `rows` as they are.
    pub fn unsorted(rows: Arc<Rows>) -> Block {
        Block::AsHeld(rows)
    }
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Block::ByKey(by_key) => by_key.panes.len(),
            Block::AsHeld(rows) => rows.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The first pane that it holds.
    pub fn first_pane(&self) -> Option<Timestamp> {
        match self {
            Block::ByKey(by_key) => (!by_key.panes.is_empty()).then_some(by_key.span.0),
            Block::AsHeld(rows) => rows.panes.iter().min().copied(),
        }
    }
    /// Its rows by key, if it has them so.
    pub fn by_key(&self) -> Option<&ByKey> {
        match self {
            Block::ByKey(by_key) => Some(by_key),
            Block::AsHeld(_) => None,
        }
    }
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Block::ByKey(by_key) => by_key.bytes,
            Block::AsHeld(rows) => size_of_columns(&rows.panes, &rows.dimensions, &rows.states),
        }
    }
    /// The same under a name.
    #[must_use]
    pub fn named(mut self, name: &BlockKey) -> Block {
        if let Block::ByKey(by_key) = &mut self {
            by_key.name = Some(Arc::new(name.clone()));
        }
        self
    }
}

impl ByKey {
    /// `rows`, in any order, each standing for as many rows as `weights` says. No two have the same pane and key.
    pub fn new(mut rows: Rows, weights: Option<States>) -> ByKey {
        let weighted = weights.is_some();
        rows.states.extend(weights);
        rows.sort();
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        for dimension in rows.dimensions.iter().rev() {
            order = by_code(order, dimension);
        }
        let Rows { panes, mut dimensions, mut states } = rows;
        let is_same = |a: u32, b: u32| dimensions.iter().all(|d| d.codes[a as usize] == d.codes[b as usize]);
        let begins = |place: &usize| *place == 0 || !is_same(order[place - 1], order[*place]);
        let mut starts: Vec<u32> = (0..order.len()).filter(begins).map(|place| place as u32).collect();
        for dimension in &mut dimensions {
            let code_of = |&start: &u32| dimension.codes[order[start as usize] as usize];
            dimension.codes = starts.iter().map(code_of).collect();
        }
        let dictionaries = dimensions.iter().map(|dimension| hash_of(&dimension.values)).collect();
        starts.push(order.len() as u32);
        let panes: Vec<Timestamp> = order.iter().map(|&row| panes[row as usize]).collect();
        states.iter_mut().for_each(|states| reorder(states, &order));
        let even = starts.get(1).map(|rows| *rows as usize);
        let even = even.filter(|rows| panes.chunks(*rows).all(|of_key| *of_key == panes[..*rows]));
        let even = even.filter(|rows| starts.iter().enumerate().all(|(key, start)| *start as usize == key * rows));
        let bytes = size_of_columns(&panes, &dimensions, &states) + starts.len() * size_of::<u32>();
        let weights = if weighted { states.pop() } else { None };
        let ends = panes.iter().fold((Timestamp(i64::MAX), Timestamp(i64::MIN)), |(a, b), &p| (a.min(p), b.max(p)));
        let facts = Facts {
            rows: panes.len(),
            keys: starts.len() - 1,
            values: dimensions.iter().map(|d| d.values.len()).collect(),
            span: ends,
            width: None,
            shapes: Mutex::default(),
        };
        ByKey {
            dimensions,
            dictionaries,
            starts,
            even,
            panes,
            states,
            weights,
            span: ends,
            name: None,
            facts: Arc::new(facts),
            bytes,
        }
    }
    fn widen(&mut self, width: Option<Span>) {
        if let Some(facts) = Arc::get_mut(&mut self.facts) {
            facts.width = width;
        }
    }
    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.starts.len() - 1
    }
    /// Whether all keys have the same panes.
    pub fn is_even(&self) -> bool {
        self.even.is_some()
    }
    /// The shape of the rows as they are; `None` for a view with more dimensions than a shape can name.
    pub fn shape(&self) -> Option<Shape> {
        self.facts.shape()
    }
    /// The rows of a key.
    pub fn rows(&self, key: usize) -> Range<usize> {
        self.starts[key] as usize..self.starts[key + 1] as usize
    }
    /// The part of `keys`, whose dimensions before `d` are all equal, that has `code` in dimension `d`.
    pub fn narrow(&self, keys: Range<usize>, d: usize, code: u32) -> Range<usize> {
        let Dimension { codes, values } = &self.dimensions[d];
        let codes = &codes[keys.clone()];
        // Where each value has as many keys, they begin there.
        let near = |code: u32| codes.len() * code as usize / values.len().max(1);
        let from = partition_near(codes, near(code), |c| c < code);
        let to = partition_near(codes, near(code + 1), |c| c <= code);
        keys.start + from..keys.start + to
    }
    /// How many rows of the view `rows` stand for.
    pub fn weight(&self, rows: Range<usize>) -> u64 {
        match &self.weights {
            Some(States::Count(weights)) => weights[rows].iter().sum(),
            _ => rows.len() as u64,
        }
    }
    /// How many of the rows from `from` on are in panes that end at `until` or before; they follow each other in time.
    pub fn rows_until(&self, from: Range<usize>, until: Timestamp) -> usize {
        self.rows_until_near(&from, until, 0)
    }
    /// How many of the rows are in panes that end at `until` or before; they follow each other in time, and it is likely to be about `near`.
    #[inline]
    pub fn rows_until_near(&self, rows: &Range<usize>, until: Timestamp, near: usize) -> usize {
        partition_near(&self.panes[rows.clone()], near, |pane| pane <= until)
    }
    /// The rows merged into a shape. The dimensions that it leaves out stay, with nothing in them.
    pub fn roll_up(&self, shape: Shape) -> Block {
        let kept: Vec<usize> = (0..self.dimensions.len()).filter(|d| shape.dimensions >> d & 1 == 1).collect();
        let pane = |pane: Timestamp| shape.width.map_or(pane, |width| pane.ceil(width));
        merged(&[self], &kept, &pane, shape.width.or(self.facts.width))
    }
    fn merge_into(&self, groups: &mut Groups, kept: &[usize], pane_of: &dyn Fn(Timestamp) -> Timestamp) {
        let mut known: Vec<Vec<u32>> = Vec::with_capacity(kept.len());
        for (to, &d) in kept.iter().enumerate() {
            known.push(self.dimensions[d].values.iter().map(|value| groups.intern(to, value)).collect());
        }
        let mut codes = vec![0; kept.len()];
        for key in 0..self.keys() {
            let code = |(known, d): (&Vec<u32>, &usize)| known[self.dimensions[*d].codes[key] as usize];
            codes.iter_mut().zip(known.iter().zip(kept).map(code)).for_each(|(to, code)| *to = code);
            let mut rows = self.rows(key);
            while !rows.is_empty() {
                let pane = pane_of(self.panes[rows.start]);
                let end = rows.start + self.rows_until(rows.clone(), pane);
                let (to, range) = (groups.row(pane, &codes), rows.start..end);
                let (weights, states) = groups.states_mut().split_last_mut().expect("the weights are one of them");
                states.iter_mut().zip(&self.states).for_each(|(s, from)| s.combine_all(to, from, range.clone()));
                weights.combine_state(to, &State::Count(self.weight(range)));
                rows.start = end;
            }
        }
    }
}

/// Blocks of a view put into one, with the dimensions `kept` and the panes that `pane_of` says, which are that wide.
pub fn merged(
    blocks: &[&ByKey],
    kept: &[usize],
    pane_of: &dyn Fn(Timestamp) -> Timestamp,
    width: Option<Span>,
) -> Block {
    let Some(first) = blocks.first() else { return Block::sorted(Rows::default()) };
    let mut states: Vec<States> = first.states.iter().map(States::empty_like).collect();
    states.push(States::Count(Vec::new()));
    let dimensions = vec![Dimension::default(); kept.len()];
    let mut groups = Groups::like(&Rows { panes: Vec::new(), dimensions, states });
    blocks.iter().for_each(|block| block.merge_into(&mut groups, kept, pane_of));
    let mut rows = groups.into_unsorted();
    let weights = rows.states.pop();
    for d in (0..first.dimensions.len()).filter(|d| !kept.contains(d)) {
        rows.dimensions.insert(d, Dimension { codes: vec![0; rows.panes.len()], values: vec![Value::Null] });
    }
    let mut out = ByKey::new(rows, weights);
    out.widen(width);
    Block::ByKey(out)
}

/// How many of `items` meet a condition that those in front meet and those behind do not; it is likely to be about `near`.
#[inline]
fn partition_near<T: Copy>(items: &[T], near: usize, holds: impl Fn(T) -> bool) -> usize {
    let near = near.min(items.len());
    // All before `low` meet it, and none from `high` on.
    let (mut low, mut high, mut step) = (near, near, 1);
    while low > 0 && !holds(items[low - 1]) {
        (low, high) = (low.saturating_sub(step), low - 1);
        step *= 2;
    }
    while high < items.len() && holds(items[high]) {
        (low, high) = (high + 1, (high + step).min(items.len()));
        step *= 2;
    }
    low + items[low..high].partition_point(|item| holds(*item))
}

fn hash_of(values: &[Value]) -> [u8; 32] {
    let mut spelling = Spelling::default();
    values.hash(&mut spelling);
    *blake3::hash(&spelling.0).as_bytes()
}

/// Row numbers by their code in a dimension; those with the same code stay in their order.
fn by_code(order: Vec<u32>, dimension: &Dimension) -> Vec<u32> {
    if dimension.values.len() <= 1 {
        return order;
    }
    let mut next = vec![0; dimension.values.len()];
    dimension.codes.iter().for_each(|&code| next[code as usize] += 1);
    let mut before = 0;
    for count in &mut next {
        before += std::mem::replace(count, before);
    }
    let mut out = vec![0; order.len()];
    for row in order {
        let place: &mut usize = &mut next[dimension.codes[row as usize] as usize];
        out[*place] = row;
        *place += 1;
    }
    out
}

fn reorder(states: &mut States, order: &[u32]) {
    match states {
        States::Count(v) => *v = order.iter().map(|&row| v[row as usize]).collect(),
        States::Fixed(v) => *v = order.iter().map(|&row| v[row as usize]).collect(),
        States::Float(v) => *v = order.iter().map(|&row| std::mem::take(&mut v[row as usize])).collect(),
        States::Partial(v) => *v = order.iter().map(|&row| std::mem::take(&mut v[row as usize])).collect(),
    }
}

fn size_of_value(value: &Value) -> usize {
    size_of::<Value>() + if let Value::Str(text) = value { text.len() + 16 } else { 0 }
}

fn size_of_columns(panes: &[Timestamp], dimensions: &[Dimension], states: &[States]) -> usize {
    let dimensions = dimensions.iter().map(|d| d.codes.len() * 4 + d.values.iter().map(size_of_value).sum::<usize>());
    let states = states.iter().map(|states| match states {
        States::Count(v) => v.len() * 8,
        States::Fixed(v) => std::mem::size_of_val(v.as_slice()),
        // The limbs of an exact sum lie outside the struct; ordinary data has few.
        States::Float(v) => std::mem::size_of_val(v.as_slice()) + v.len() * 48,
        States::Partial(v) => std::mem::size_of_val(v.as_slice()) + states.heap_bytes(),
    });
    panes.len() * 8 + dimensions.sum::<usize>() + states.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;
    use seam_shared::view::definition::StateKind;

    fn rows(n: u64) -> Rows {
        let mut rows = Rows::empty(2, &[StateKind::Count, StateKind::Float]);
        for i in 0..n {
            let (a, b) = (format!("a{}", (i * 7) % 5), (i * 3 % 4) as i64);
            let row = rows.push_row(Timestamp(60 - 20 * (i as i64 % 3)), &[Value::text(&a), Value::Int(b)]);
            rows.states[0].lift(row, &Value::Null);
            rows.states[1].lift(row, &Value::Float(i as f64 / 8.0));
        }
        rows
    }

    #[test]
    fn each_key_is_there_once_with_its_rows_in_time() {
        let block = Block::sorted(rows(60));
        let by_key = block.by_key().expect("sorted");
        assert_eq!((block.len(), by_key.keys(), by_key.span), (60, 20, (Timestamp(20), Timestamp(60))));
        for (key, (a, b)) in (0..5).flat_map(|a| (0..4).map(move |b| (a, b))).enumerate() {
            let keys = by_key.narrow(by_key.narrow(0..20, 0, a), 1, b);
            assert_eq!(keys, key..key + 1);
            assert_eq!(by_key.panes[by_key.rows(key)], [20, 40, 60].map(Timestamp));
        }
        assert!(by_key.narrow(0..20, 0, 5).is_empty());
        for until in 0..80 {
            let expected = [20, 40, 60].iter().filter(|pane| **pane <= until).count();
            assert_eq!(by_key.rows_until(3..6, Timestamp(until)), expected);
            assert!((0..9).all(|near| by_key.rows_until_near(&(3..6), Timestamp(until), near) == expected));
        }
        let empty = Block::sorted(Rows::default());
        assert_eq!((empty.len(), empty.by_key().map(ByKey::keys)), (0, Some(0)));
    }

    #[test]
    fn a_code_is_found_wherever_it_is_thought_to_be() {
        let mut dice = Dice(9);
        for _ in 0..300 {
            let mut codes: Vec<u32> = (0..dice.pick(40)).map(|_| dice.pick(12) as u32).collect();
            codes.sort_unstable();
            for code in 0..13 {
                let expected = codes.partition_point(|c| *c < code);
                assert!((0..60).all(|near| partition_near(&codes, near, |c| c < code) == expected), "{codes:?} {code}");
            }
        }
    }

    #[test]
    fn a_roll_up_holds_the_same_in_fewer_rows() {
        let all = rows(60);
        let block = Block::sorted(all.clone());
        let by_key = block.by_key().expect("sorted");
        let coarse = Some(Span(40));
        for (dimensions, width, keys) in [(0b10, None, 4), (0b10, coarse, 4), (0, coarse, 1), (0b11, coarse, 20)] {
            let fine = by_key.roll_up(Shape { dimensions, width: None });
            let rolled = [by_key, fine.by_key().expect("by key")].map(|from| from.roll_up(Shape { dimensions, width }));
            let [rolled, again] = rolled.each_ref().map(|block| block.by_key().expect("by key"));
            assert_eq!((&rolled.panes, &rolled.states), (&again.panes, &again.states), "in one step or in two");
            assert_eq!(rolled.keys(), keys);
            assert_eq!(rolled.panes.len(), keys * if width.is_some() { 2 } else { 3 });
            assert_eq!(rolled.weight(0..rolled.panes.len()), 60);
            for key in 0..keys {
                for row in rolled.rows(key) {
                    let mut expected = Rows::empty(0, &[StateKind::Count, StateKind::Float]);
                    let sum = expected.push_row(Timestamp(0), &[]);
                    for i in 0..all.len() {
                        let pane = width.map_or(all.panes[i], |width| all.panes[i].ceil(width));
                        let same = |d: usize| {
                            let kept = &rolled.dimensions[d];
                            dimensions >> d & 1 == 0 || kept.values[kept.codes[key] as usize] == *all.value(d, i)
                        };
                        if pane == rolled.panes[row] && same(0) && same(1) {
                            expected.states.iter_mut().zip(&all.states).for_each(|(to, from)| to.combine(sum, from, i));
                        }
                    }
                    for (states, expected) in rolled.states.iter().zip(&expected.states) {
                        assert_eq!(states.get(row), expected.get(0));
                    }
                }
            }
        }
    }
}
