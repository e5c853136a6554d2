//! The aggregates: lift an event's value, combine two states, present figures. Each state is a commutative monoid.
use crate::view::definition::{Figure, StateKind};
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
    pub fn lift(&mut self, value: i128) {
        self.combine(&FixedStats { count: 1, sum: value, min: value, max: value });
    }
    /// Adds all that `other` holds.
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
}

/// What a state says, ready to be shown. `Null` where there is nothing to say; never NaN, never an extreme.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// How many events or finite values.
    pub count: u64,
    /// The sum; `Null` when empty, for `Count`, or when the exact sum of doubles is beyond the range of a double.
    pub sum: Value,
    /// sum / count, as a double.
    pub avg: Value,
    /// The smallest.
    pub min: Value,
    /// The largest.
    pub max: Value,
    /// NaNs, +inf and -inf, counted apart.
    pub not_finite: [u64; 3],
}

impl State {
    /// The identity of `kind`.
    pub fn empty(kind: StateKind) -> State {
        match kind {
            StateKind::Count => State::Count(0),
            StateKind::Fixed { .. } => State::Fixed(FixedStats::default()),
            StateKind::Float => State::Float(FloatStats::default()),
        }
    }
    /// Adds one event's value. A null adds nothing, but an event counts whatever its fields hold.
    pub fn lift(&mut self, value: &Value) {
        match (self, value) {
            (State::Count(n), _) => *n += 1,
            (State::Fixed(s), Value::Int(v)) => s.lift(i128::from(*v)),
            (State::Fixed(s), Value::Decimal(v, _)) => s.lift(*v),
            (State::Float(s), Value::Float(v)) => s.lift(*v),
            (State::Fixed(_) | State::Float(_), _) => {
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
            (State::Count(_) | State::Fixed(_) | State::Float(_), _) => {
                debug_assert!(false, "states of one definition have one kind");
            }
        }
    }
    /// The figures of a state of `kind`.
    pub fn present(&self, kind: StateKind) -> Figures {
        let none = Figures {
            count: 0,
            sum: Value::Null,
            avg: Value::Null,
            min: Value::Null,
            max: Value::Null,
            not_finite: [0; 3],
        };
        match self {
            State::Count(n) => Figures { count: *n, ..none },
            State::Fixed(s) if s.count == 0 => none,
            State::Fixed(s) => {
                let scale = match kind {
                    StateKind::Fixed { scale } => scale,
                    StateKind::Count | StateKind::Float => 0,
                };
                let number = |v: i128| Value::Decimal(v, scale);
                let avg = s.sum as f64 / 10f64.powi(i32::from(scale)) / s.count as f64;
                Figures {
                    count: s.count,
                    sum: number(s.sum),
                    avg: Value::Float(avg),
                    min: number(s.min),
                    max: number(s.max),
                    ..none
                }
            }
            State::Float(s) => {
                let not_finite = [s.nan, s.positive_infinite, s.negative_infinite];
                if s.count == 0 {
                    return Figures { not_finite, ..none };
                }
                let finite = |v: f64| if v.is_finite() { Value::Float(v) } else { Value::Null };
                let sum = s.sum.round();
                Figures {
                    count: s.count,
                    sum: finite(sum),
                    avg: finite(sum / s.count as f64),
                    min: finite(s.min),
                    max: finite(s.max),
                    not_finite,
                }
            }
        }
    }
}

impl Figures {
    /// One of the five.
    pub fn get(&self, figure: Figure) -> Value {
        match figure {
            Figure::Count => Value::Int(i64::try_from(self.count).unwrap_or(i64::MAX)),
            Figure::Sum => self.sum.clone(),
            Figure::Avg => self.avg.clone(),
            Figure::Min => self.min.clone(),
            Figure::Max => self.max.clone(),
        }
    }
}
