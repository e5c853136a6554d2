//! Rows of partials: the one columnar form in which speed, state store, lake and serving hand (pane, key, states) around.
use crate::time::Timestamp;
use crate::view::aggregate::{FixedStats, FloatStats, State};
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

/// One state column.
#[derive(Debug, Clone, PartialEq)]
pub enum States {
    /// Counts.
    Count(Vec<u64>),
    /// Statistics of scaled integers.
    Fixed(Vec<FixedStats>),
    /// Statistics of doubles.
    Float(Vec<FloatStats>),
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

impl States {
    /// An empty column of `kind`.
    pub fn empty(kind: StateKind) -> States {
        match kind {
            StateKind::Count => States::Count(Vec::new()),
            StateKind::Fixed { .. } => States::Fixed(Vec::new()),
            StateKind::Float => States::Float(Vec::new()),
        }
    }
    /// The state in row `i`.
    pub fn get(&self, i: usize) -> State {
        match self {
            States::Count(v) => State::Count(v[i]),
            States::Fixed(v) => State::Fixed(v[i]),
            States::Float(v) => State::Float(v[i].clone()),
        }
    }
    /// Appends the identity.
    pub fn push_empty(&mut self) {
        match self {
            States::Count(v) => v.push(0),
            States::Fixed(v) => v.push(FixedStats::default()),
            States::Float(v) => v.push(FloatStats::default()),
        }
    }
    /// Combines row `j` of `other`, a column of the same kind, into row `i`.
    pub fn combine(&mut self, i: usize, other: &States, j: usize) {
        match (self, other) {
            (States::Count(a), States::Count(b)) => a[i] += b[j],
            (States::Fixed(a), States::Fixed(b)) => a[i].combine(&b[j]),
            (States::Float(a), States::Float(b)) => a[i].combine(&b[j]),
            (States::Count(_) | States::Fixed(_) | States::Float(_), _) => {
                debug_assert!(false, "state columns of one view have one kind");
            }
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
}
