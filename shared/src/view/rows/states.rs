//! One column of states, whatever their kind.
use std::ops::Range;

use crate::view::aggregate::partial::{Lifted, Partial};
use crate::view::aggregate::{FixedStats, FloatStats, State};
use crate::view::definition::{StateDefinition, StateKind};
use crate::view::value::Value;

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

/// The same with a column of any kind.
macro_rules! each {
    ($states:expr, $column:ident => $done:expr) => {
        match $states {
            States::Count($column) => $done,
            States::Fixed($column) => $done,
            States::Float($column) => $done,
            States::Partial($column) => $done,
        }
    };
}

/// The same with two columns of one kind, whatever it is.
macro_rules! both {
    ($one:expr, $other:expr, ($a:ident, $b:ident) => $done:expr) => {
        match ($one, $other) {
            (States::Count($a), States::Count($b)) => $done,
            (States::Fixed($a), States::Fixed($b)) => $done,
            (States::Float($a), States::Float($b)) => $done,
            (States::Partial($a), States::Partial($b)) => $done,
            (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => {
                debug_assert!(false, "state columns of one view have one kind");
            }
        }
    };
}

/// Counts combine, as other states do by a function of their own.
trait Combine {
    fn combine(&mut self, other: &Self);
}

impl Combine for u64 {
    #[inline]
    fn combine(&mut self, other: &u64) {
        *self += other;
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
    #[must_use]
    pub fn empty_like(&self) -> States {
        self.gather(&[])
    }
    /// How many rows there are.
    pub fn len(&self) -> usize {
        each!(self, column => column.len())
    }
    /// Makes room for that many more rows.
    pub fn reserve(&mut self, rows: usize) {
        each!(self, column => column.reserve(rows));
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
        each!(self, column => column.push(Default::default()));
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
        both!(self, other, (a, b) => a[i].combine(&b[j]));
    }
    /// Combines row `j` into row `i`, a later one.
    pub fn combine_within(&mut self, i: usize, j: usize) {
        debug_assert!(j < i, "from an earlier row into a later one");
        each!(self, column => {
            let (earlier, later) = column.split_at_mut(i);
            later[0].combine(&earlier[j]);
        });
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
            (one, other) => both!(one, other, (a, b) => b[range].iter().for_each(|state| a[i].combine(state))),
        }
    }
    /// Combines the rows of `other` from `first` on, a column of the same kind, into the rows `into`, one into each.
    pub fn combine_rows(&mut self, into: &[u32], other: &States, first: usize) {
        both!(self, other, (a, b) => into.iter().zip(&b[first..]).for_each(|(&i, state)| a[i as usize].combine(state)));
    }
    /// Puts row `j` of `other`, a column of the same kind, in the place of row `i`.
    pub fn replace(&mut self, i: usize, other: &States, j: usize) {
        both!(self, other, (a, b) => a[i].clone_from(&b[j]));
    }
    pub(super) fn is_of(&self, kind: StateKind) -> bool {
        match (self, kind) {
            (States::Count(_), StateKind::Count)
            | (States::Fixed(_), StateKind::Fixed { .. })
            | (States::Float(_), StateKind::Float) => true,
            (States::Partial(all), StateKind::Partial(aggregate, _)) => all.iter().all(|one| one.is_of(aggregate)),
            (States::Count(_) | States::Fixed(_) | States::Float(_) | States::Partial(_), _) => false,
        }
    }
}
