//! The aggregates: lift an event's value, combine two states, present figures. Each state is a commutative monoid.
pub mod distinct;
pub mod figures;
pub mod first_last;
pub mod histogram;
pub mod natural;
pub mod net;
pub mod partial;
pub mod quantiles;
pub mod sessions;
pub mod unit;
pub mod variance;

pub use self::figures::{Figures, More};
use self::partial::{Lifted, Partial};
use crate::view::definition::{StateDefinition, StateKind};
use crate::view::exact_sum::ExactSum;
use crate::view::value::Value;

/// Count, sum, min and max of scaled integers. The empty state has count 0; its min and max are then meaningless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedStats {
    /// How many values.
    pub count: u64,
    /// Their sum; wraps modulo 2^128, which values of at most 28 digits cannot reach in 10^10 events.
    pub sum: i128,
    /// The smallest, `i128::MAX` when empty.
    pub min: i128,
    /// The largest, `i128::MIN` when empty.
    pub max: i128,
}

impl Default for FixedStats {
    fn default() -> Self {
        Self { count: 0, sum: 0, min: i128::MAX, max: i128::MIN }
    }
}

impl FixedStats {
    /// Adds one value.
    #[inline]
    pub fn lift(&mut self, value: i128) {
        self.combine(&FixedStats { count: 1, sum: value, min: value, max: value });
    }
    /// Adds all that `other` holds.
    #[inline]
    pub fn combine(&mut self, other: &FixedStats) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// Count, exact sum, min and max of the finite values of a float field; the others are counted apart.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatStats {
    /// How many finite values.
    pub count: u64,
    /// Their exact sum.
    pub sum: ExactSum,
    /// The smallest finite value, +inf when there is none.
    pub min: f64,
    /// The largest finite value, -inf when there is none.
    pub max: f64,
    /// How many were NaN.
    pub nan: u64,
    /// How many were +inf.
    pub positive_infinite: u64,
    /// How many were -inf.
    pub negative_infinite: u64,
}

impl Default for FloatStats {
    fn default() -> Self {
        Self {
            count: 0,
            sum: ExactSum::default(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            nan: 0,
            positive_infinite: 0,
            negative_infinite: 0,
        }
    }
}

impl FloatStats {
    /// Adds one value. -0 counts as 0, so that min and max do not depend on order.
    pub fn lift(&mut self, value: f64) {
        if value.is_nan() {
            self.nan += 1;
        } else if value.is_infinite() {
            if value > 0.0 {
                self.positive_infinite += 1;
            } else {
                self.negative_infinite += 1;
            }
        } else {
            let value = value + 0.0;
            self.count += 1;
            self.sum.add(value);
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
    }
    /// Adds all that `other` holds.
    pub fn combine(&mut self, other: &FloatStats) {
        self.count += other.count;
        self.sum.merge(&other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.nan += other.nan;
        self.positive_infinite += other.positive_infinite;
        self.negative_infinite += other.negative_infinite;
    }
}

/// The state of one measured thing in one (pane, key), or of a union of them.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// How many events.
    Count(u64),
    /// Of scaled integers.
    Fixed(FixedStats),
    /// Of doubles.
    Float(FloatStats),
    /// Of an aggregate that is more than a few numbers.
    Partial(Partial),
}

impl State {
    /// The identity of `kind`.
    pub fn empty(kind: StateKind) -> State {
        match kind {
            StateKind::Count => State::Count(0),
            StateKind::Fixed { .. } => State::Fixed(FixedStats::default()),
            StateKind::Float => State::Float(FloatStats::default()),
            StateKind::Partial(..) => State::Partial(Partial::Empty),
        }
    }
    /// Adds one event that the state counts, whatever its kind.
    pub fn lift_event(&mut self, definition: &StateDefinition, event: &Lifted<'_>) {
        match (self, definition.kind) {
            (State::Partial(partial), StateKind::Partial(aggregate, _)) => {
                partial.lift(aggregate, &definition.bounds, event);
            }
            (state, _) => state.lift(event.value),
        }
    }
    /// Adds one event's value to a state that needs no more than that. A null adds nothing, but an event counts whatever its
    /// fields hold.
    pub fn lift(&mut self, value: &Value) {
        match (self, value) {
            (State::Count(n), _) => *n += 1,
            (State::Fixed(s), Value::Int(v)) => s.lift(i128::from(*v)),
            (State::Fixed(s), Value::Decimal(v, _)) => s.lift(*v),
            (State::Float(s), Value::Float(v)) => s.lift(*v),
            (State::Fixed(_) | State::Float(_) | State::Partial(_), _) => {
                debug_assert_eq!(value, &Value::Null, "definitions are typed: only the measured type or null arrives");
            }
        }
    }
    /// Adds all that `other`, of the same kind, holds: associative and commutative, with [`State::empty`] as identity.
    pub fn combine(&mut self, other: &State) {
        match (self, other) {
            (State::Count(a), State::Count(b)) => *a += b,
            (State::Fixed(a), State::Fixed(b)) => a.combine(b),
            (State::Float(a), State::Float(b)) => a.combine(b),
            (State::Partial(a), State::Partial(b)) => a.combine(b),
            (State::Count(_) | State::Fixed(_) | State::Float(_) | State::Partial(_), _) => {
                debug_assert!(false, "states of one definition have one kind");
            }
        }
    }
}
