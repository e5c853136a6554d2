//! Rows of partials: the one columnar form in which speed, state store, lake and serving hand (pane, key, states) around.
mod codec;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::view::aggregate::partial::{Lifted, Partial};
use crate::view::aggregate::{FixedStats, FloatStats, State};
use crate::view::definition::{StateDefinition, StateKind};
use crate::view::value::Value;

/// A dictionary-coded dimension: row `i` holds `values[codes[i]]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dimension {
    /// One code a row.
    pub codes: Vec<u32>,
    /// The distinct values; may hold more than the rows use.
    pub values: Vec<Value>,
}

/// One state column.
#[derive(Debug, Clone, PartialEq)]
pub enum States {
    /// Counts.
    Count(Vec<u64>),
    /// Statistics of scaled integers.
    Fixed(Vec<FixedStats>),
    /// Statistics of doubles.
    Float(Vec<FloatStats>),
    /// General partials.
    Partial(Vec<Partial>),
}

/// Partials by pane and key. All columns have the same length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// The END of each row's pane.
    pub panes: Vec<Timestamp>,
    /// The view's dimensions in order.
    pub dimensions: Vec<Dimension>,
    /// The view's states in order.
    pub states: Vec<States>,
}

impl Dimension {
    /// The rows `picks` in that order, with the values that they use in the order in which they first occur.
    fn gather(&self, picks: &[u32]) -> Dimension {
        let mut new_codes = vec![u32::MAX; self.values.len()];
        let mut out = Dimension { codes: Vec::with_capacity(picks.len()), values: Vec::new() };
        for &pick in picks {
            let old = self.codes[pick as usize] as usize;
            if new_codes[old] == u32::MAX {
                new_codes[old] = out.values.len() as u32;
                out.values.push(self.values[old].clone());
            }
            out.codes.push(new_codes[old]);
        }
        out
    }
    /// Sorts the dictionary and drops what no row uses: then codes compare as their values do.
    fn canonicalize(&mut self) {
        let mut used = vec![false; self.values.len()];
        self.codes.iter().for_each(|&code| used[code as usize] = true);
        let values = std::mem::take(&mut self.values);
        let mut sorted: Vec<(Value, usize)> = values.into_iter().zip(0..).filter(|(_, old)| used[*old]).collect();
        sorted.sort_unstable();
        let mut new_codes = vec![0u32; used.len()];
        for (value, old) in sorted {
            if self.values.last() != Some(&value) {
                self.values.push(value);
            }
            new_codes[old] = (self.values.len() - 1) as u32;
        }
        self.codes.iter_mut().for_each(|code| *code = new_codes[*code as usize]);
    }
}

impl States {
    /// An empty column of `kind`.
    pub fn empty(kind: StateKind) -> States {
        match kind {
            StateKind::Count => States::Count(Vec::new()),
            StateKind::Fixed { .. } => States::Fixed(Vec::new()),
            StateKind::Float => States::Float(Vec::new()),
            StateKind::Partial(..) => States::Partial(Vec::new()),
        }
    }
    /// An empty column of the same kind.
    pub fn empty_like(&self) -> States {
        self.gather(&[])
    }
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            States::Count(v) => v.len(),
            States::Fixed(v) => v.len(),
            States::Float(v) => v.len(),
            States::Partial(v) => v.len(),
        }
    }
    /// Makes room for that many more rows.
    pub fn reserve(&mut self, rows: usize) {
        match self {
            States::Count(v) => v.reserve(rows),
            States::Fixed(v) => v.reserve(rows),
            States::Float(v) => v.reserve(rows),
            States::Partial(v) => v.reserve(rows),
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Memory that general partials take outside of the column, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match self {
            States::Count(_) | States::Fixed(_) | States::Float(_) => 0,
            States::Partial(v) => v.iter().map(Partial::heap_bytes).sum(),
        }
    }
    /// The state in row `i`.
    pub fn get(&self, i: usize) -> State {
        match self {
            States::Count(v) => State::Count(v[i]),
            States::Fixed(v) => State::Fixed(v[i]),
            States::Float(v) => State::Float(v[i].clone()),
            States::Partial(v) => State::Partial(v[i].clone()),
        }
    }
    /// The rows `picks` in that order.
    #[must_use]
    pub fn gather(&self, picks: &[u32]) -> States {
        match self {
            States::Count(v) => States::Count(picks.iter().map(|&i| v[i as usize]).collect()),
            States::Fixed(v) => States::Fixed(picks.iter().map(|&i| v[i as usize]).collect()),
            States::Float(v) => States::Float(picks.iter().map(|&i| v[i as usize].clone()).collect()),
            States::Partial(v) => States::Partial(picks.iter().map(|&i| v[i as usize].clone()).collect()),
        }
    }
    /// Appends the identity.
    pub fn push_empty(&mut self) {
        match self {
            States::Count(v) => v.push(0),
            States::Fixed(v) => v.push(FixedStats::default()),
            States::Float(v) => v.push(FloatStats::default()),
            States::Partial(v) => v.push(Partial::Empty),
        }
    }
    /// Adds one event that the state counts to row `i`, whatever its kind.
    pub fn lift_event(&mut self, i: usize, definition: &StateDefinition, event: &Lifted<'_>) {
        match (self, definition.kind) {
            (States::Partial(v), StateKind::Partial(aggregate, _)) => v[i].lift(aggregate, &definition.bounds, event),
            (states, _) => states.lift(i, event.value),
        }
    }
    /// Adds one event's value to row `i` of a column that needs no more than that; a null adds nothing, but a `Count` counts it.
    pub fn lift(&mut self, i: usize, value: &Value) {
        match (self, value) {
            (States::Count(v), _) => v[i] += 1,
            (States::Fixed(v), Value::Int(n)) => v[i].lift(i128::from(*n)),
            (States::Fixed(v), Value::Decimal(n, _)) => v[i].lift(*n),
            (States::Float(v), Value::Float(x)) => v[i].lift(*x),
            (States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
                debug_assert_eq!(value, &Value::Null, "definitions are typed: only the measured type or null arrives");
            }
        }
    }
    /// Combines a state of the same kind into row `i`.
    pub fn combine_state(&mut self, i: usize, state: &State) {
        match (self, state) {
            (States::Count(v), State::Count(n)) => v[i] += n,
            (States::Fixed(v), State::Fixed(s)) => v[i].combine(s),
            (States::Float(v), State::Float(s)) => v[i].combine(s),
            (States::Partial(v), State::Partial(s)) => v[i].combine(s),
            (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
                debug_assert!(false, "state columns of one view have one kind");
            }
        }
    }
    /// Combines row `j` of `other`, a column of the same kind, into row `i`.
    pub fn combine(&mut self, i: usize, other: &States, j: usize) {
        match (self, other) {
            (States::Count(a), States::Count(b)) => a[i] += b[j],
            (States::Fixed(a), States::Fixed(b)) => a[i].combine(&b[j]),
            (States::Float(a), States::Float(b)) => a[i].combine(&b[j]),
            (States::Partial(a), States::Partial(b)) => a[i].combine(&b[j]),
            (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
                debug_assert!(false, "state columns of one view have one kind");
            }
        }
    }
    /// Combines row `j` into row `i`, a later one.
    pub fn combine_within(&mut self, i: usize, j: usize) {
        debug_assert!(j < i, "from an earlier row into a later one");
        match self {
            States::Count(v) => v[i] += v[j],
            States::Fixed(v) => {
                let earlier = v[j];
                v[i].combine(&earlier);
            }
            States::Float(v) => {
                let (earlier, later) = v.split_at_mut(i);
                later[0].combine(&earlier[j]);
            }
            States::Partial(v) => {
                let (earlier, later) = v.split_at_mut(i);
                later[0].combine(&earlier[j]);
            }
        }
    }
    /// Combines the rows `range` of `other`, a column of the same kind, into row `i`.
    pub fn combine_all(&mut self, i: usize, other: &States, range: Range<usize>) {
        match (self, other) {
            (States::Count(a), States::Count(b)) => a[i] += b[range].iter().sum::<u64>(),
            (States::Fixed(a), States::Fixed(b)) => {
                // In registers, not in memory, from one to the next.
                let mut sum = a[i];
                b[range].iter().for_each(|state| sum.combine(state));
                a[i] = sum;
            }
            (States::Float(a), States::Float(b)) => b[range].iter().for_each(|state| a[i].combine(state)),
            (States::Partial(a), States::Partial(b)) => b[range].iter().for_each(|state| a[i].combine(state)),
            (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
                debug_assert!(false, "state columns of one view have one kind");
            }
        }
    }
    /// Combines the rows of `other` from `first` on, a column of the same kind, into the rows `into`, one into each.
    pub fn combine_rows(&mut self, into: &[u32], other: &States, first: usize) {
        match (self, other) {
            (States::Count(a), States::Count(b)) => {
                into.iter().zip(&b[first..]).for_each(|(&i, count)| a[i as usize] += count);
            }
            (States::Fixed(a), States::Fixed(b)) => {
                into.iter().zip(&b[first..]).for_each(|(&i, stats)| a[i as usize].combine(stats));
            }
            (States::Float(a), States::Float(b)) => {
                into.iter().zip(&b[first..]).for_each(|(&i, stats)| a[i as usize].combine(stats));
            }
            (States::Partial(a), States::Partial(b)) => {
                into.iter().zip(&b[first..]).for_each(|(&i, partial)| a[i as usize].combine(partial));
            }
            (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
                debug_assert!(false, "state columns of one view have one kind");
            }
        }
    }
    /// Puts row `j` of `other`, a column of the same kind, in the place of row `i`.
    pub fn replace(&mut self, i: usize, other: &States, j: usize) {
        match (self, other) {
            (States::Count(a), States::Count(b)) => a[i] = b[j],
            (States::Fixed(a), States::Fixed(b)) => a[i] = b[j],
            (States::Float(a), States::Float(b)) => a[i].clone_from(&b[j]),
            (States::Partial(a), States::Partial(b)) => a[i].clone_from(&b[j]),
            (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
                debug_assert!(false, "state columns of one view have one kind");
            }
        }
    }
    fn is_of(&self, kind: StateKind) -> bool {
        match (self, kind) {
            (States::Count(_), StateKind::Count)
            | (States::Fixed(_), StateKind::Fixed { .. })
            | (States::Float(_), StateKind::Float) => true,
            (States::Partial(all), StateKind::Partial(aggregate, _)) => all.iter().all(|one| one.is_of(aggregate)),
            (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => false,
        }
    }
}

impl Rows {
    /// No rows, of a view with that many dimensions and those states.
    pub fn empty(dimensions: usize, kinds: &[StateKind]) -> Rows {
        Rows {
            panes: Vec::new(),
            dimensions: vec![Dimension::default(); dimensions],
            states: kinds.iter().map(|&kind| States::empty(kind)).collect(),
        }
    }
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.panes.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }
    /// Row `i`'s value of dimension `d`.
    pub fn value(&self, d: usize, i: usize) -> &Value {
        let dimension = &self.dimensions[d];
        &dimension.values[dimension.codes[i] as usize]
    }
    /// Appends a row with empty states and answers with its number. It looks each value up in the whole dictionary: for
    /// many rows use [`Groups`](crate::view::groups::Groups).
    pub fn push_row(&mut self, pane: Timestamp, key: &[Value]) -> usize {
        debug_assert_eq!(key.len(), self.dimensions.len(), "one value a dimension");
        self.panes.push(pane);
        for (dimension, value) in self.dimensions.iter_mut().zip(key) {
            let code = dimension.values.iter().position(|v| v == value).unwrap_or_else(|| {
                dimension.values.push(value.clone());
                dimension.values.len() - 1
            });
            dimension.codes.push(code as u32);
        }
        self.states.iter_mut().for_each(States::push_empty);
        self.len() - 1
    }
    /// The rows `picks` in that order, with dictionaries that hold no more than they use.
    #[must_use]
    pub fn gather(&self, picks: &[u32]) -> Rows {
        Rows {
            panes: picks.iter().map(|&i| self.panes[i as usize]).collect(),
            dimensions: self.dimensions.iter().map(|d| d.gather(picks)).collect(),
            states: self.states.iter().map(|s| s.gather(picks)).collect(),
        }
    }
    /// Brings the rows into their canonical form: dictionaries sorted and without unused values, rows by pane and then by the
    /// dimensions' values in order. The same set of rows gives the same form, whatever the order in which it came about.
    pub fn sort(&mut self) {
        self.dimensions.iter_mut().for_each(Dimension::canonicalize);
        let order = self.order();
        self.arrange(&order);
    }
    /// The same, but by the dimensions' values in order and then by pane: the order of a keyed view's files.
    pub fn sort_by_key(&mut self) {
        self.dimensions.iter_mut().for_each(Dimension::canonicalize);
        let key = |row: u32| self.dimensions.iter().map(move |d| d.codes[row as usize]);
        let pane = |row: u32| self.panes[row as usize];
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_by(|&a, &b| key(a).cmp(key(b)).then_with(|| pane(a).cmp(&pane(b))));
        self.arrange(&order);
    }
    /// Puts the rows into another order.
    fn arrange(&mut self, order: &[u32]) {
        if order.is_sorted() {
            return;
        }
        self.panes = order.iter().map(|&i| self.panes[i as usize]).collect();
        self.states = self.states.iter().map(|s| s.gather(order)).collect();
        for dimension in &mut self.dimensions {
            dimension.codes = order.iter().map(|&i| dimension.codes[i as usize]).collect();
        }
    }
    /// The numbers of the rows in canonical order; the dictionaries must be sorted.
    fn order(&self) -> Vec<u32> {
        let bits = |largest: u64| 64 - largest.leading_zeros();
        let first = self.panes.iter().min().copied().unwrap_or_default();
        let since_first = |pane: Timestamp| pane.0.wrapping_sub(first.0) as u64;
        let widths: Vec<u32> = self.dimensions.iter().map(|d| bits(d.values.len() as u64)).collect();
        let width =
            bits(self.panes.iter().map(|&pane| since_first(pane)).max().unwrap_or(0)) + widths.iter().sum::<u32>();
        if self.panes.is_sorted()
            && let Some(order) = self.order_by_pane(&widths)
        {
            return order;
        }
        if width > 96 {
            let key = |row: u32| self.dimensions.iter().map(move |d| d.codes[row as usize]);
            let pane = |row: u32| self.panes[row as usize];
            let mut order: Vec<u32> = (0..self.len() as u32).collect();
            order.sort_by(|&a, &b| pane(a).cmp(&pane(b)).then_with(|| key(a).cmp(key(b))));
            return order;
        }
        // pane, codes and row number side by side in one integer each: several times faster to sort
        let mut keys: Vec<u128> = self.panes.iter().map(|&pane| u128::from(since_first(pane))).collect();
        for (dimension, width) in self.dimensions.iter().zip(widths) {
            keys.iter_mut().zip(&dimension.codes).for_each(|(key, code)| *key = *key << width | u128::from(*code));
        }
        keys.iter_mut().zip(0u32..).for_each(|(key, row)| *key = *key << 32 | u128::from(row));
        keys.sort_unstable();
        keys.into_iter().map(|key| key as u32).collect()
    }
    /// The same for rows that already come by pane: each pane is sorted by itself, codes and place side by side in one word.
    fn order_by_pane(&self, widths: &[u32]) -> Option<Vec<u32>> {
        let mut order = Vec::with_capacity(self.len());
        let mut keys: Vec<u64> = Vec::new();
        for pane in self.panes.chunk_by(|a, b| a == b) {
            let start = order.len();
            let width = u64::BITS - (pane.len() as u64).leading_zeros();
            if widths.iter().sum::<u32>() + width > u64::BITS {
                return None;
            }
            keys.clear();
            keys.resize(pane.len(), 0);
            for (dimension, width) in self.dimensions.iter().zip(widths) {
                let codes = &dimension.codes[start..start + pane.len()];
                keys.iter_mut().zip(codes).for_each(|(key, code)| *key = *key << width | u64::from(*code));
            }
            keys.iter_mut().zip(0..).for_each(|(key, place)| *key = *key << width | place);
            keys.sort_unstable();
            order.extend(keys.iter().map(|key| (start as u64 + (key & ((1 << width) - 1))) as u32));
        }
        Some(order)
    }
    /// Whether these are rows of a view with that many dimensions and those states.
    ///
    /// # Errors
    /// `Kind::Corrupt` if they are not: stored rows must be checked before they are merged.
    pub fn check_shape(&self, dimensions: usize, kinds: &[StateKind]) -> Result<()> {
        let fits = self.dimensions.len() == dimensions
            && self.states.len() == kinds.len()
            && self.states.iter().zip(kinds).all(|(states, kind)| states.is_of(*kind));
        if fits { Ok(()) } else { Err(Error::corrupt("stored rows do not have the view's columns")) }
    }
    /// A compact, versioned spelling. Canonical rows (see [`Rows::sort`]) that are equal give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
    /// Reads what [`Rows::encode`] wrote. Never panics, and takes no more memory than a fixed multiple of `bytes`.
    ///
    /// # Errors
    /// `Kind::Corrupt` if the bytes are not such a spelling.
    pub fn decode(bytes: &[u8]) -> Result<Rows> {
        codec::decode(bytes)
    }
}
