//! Rows of partials: the one columnar form in which speed, state store, lake and serving hand (pane, key, states) around.
mod codec;
mod states;

pub use self::states::States;
use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::view::definition::StateKind;
use crate::view::value::Value;

/// A dictionary-coded dimension: row `i` holds `values[codes[i]]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dimension {
    /// One code a row.
    pub codes: Vec<u32>,
    /// The distinct values; may hold more than the rows use.
    pub values: Vec<Value>,
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

impl Rows {
    /// No rows, of a view with that many dimensions and those states.
    pub fn empty(dimensions: usize, kinds: &[StateKind]) -> Rows {
        Rows {
            panes: Vec::new(),
            dimensions: vec![Dimension::default(); dimensions],
            states: kinds.iter().map(|&kind| States::empty(kind)).collect(),
        }
    }
    /// No rows, of the same view.
    #[must_use]
    pub fn empty_like(&self) -> Rows {
        Rows {
            panes: Vec::new(),
            dimensions: vec![Dimension::default(); self.dimensions.len()],
            states: self.states.iter().map(States::empty_like).collect(),
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
