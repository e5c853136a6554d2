//! A histogram: how many numbers lie between bounds that the definition fixes.
use crate::error::Result;
use crate::view::aggregate::variance::which;
use crate::view::bytes::{Reader, corrupt, put};
use crate::view::bytes::{put_counts, read_counts};
use crate::view::value::Value;

/// The most bounds of a histogram.
pub const BOUNDS_MAX: usize = 256;

/// How many numbers are at most each bound and above the one before; last, how many are above all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// One more than there are bounds; empty while there are no numbers.
    pub counts: Vec<u64>,
    /// NaNs, +inf and -inf, counted apart.
    pub not_finite: [u64; 3],
}

impl Histogram {
    /// Adds a number; `bounds` are ascending and of its type.
    #[inline]
    pub fn lift(&mut self, value: &Value, bounds: &[Value]) {
        let at = match value {
            Value::Float(x) if !x.is_finite() => {
                self.not_finite[which(*x)] += 1;
                return;
            }
            Value::Float(x) => {
                bounds.partition_point(|bound| if let Value::Float(bound) = bound { bound < x } else { false })
            }
            number => bounds.partition_point(|bound| bound < number),
        };
        self.counts.resize(bounds.len() + 1, 0);
        self.counts[at] += 1;
    }
    /// Adds all that `other`, with the same bounds, holds.
    pub fn combine(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, more)| *mine += more);
        self.not_finite.iter_mut().zip(other.not_finite).for_each(|(mine, more)| *mine += more);
    }
    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
    /// Each bound, last none, with its count.
    pub fn buckets(&self, bounds: &[Value]) -> Vec<(Value, u64)> {
        let bounds = bounds.iter().cloned().chain([Value::Null]).enumerate();
        bounds.map(|(i, bound)| (bound, self.counts.get(i).copied().unwrap_or(0))).collect()
    }
    /// Memory outside of the struct, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.counts.len() as u128);
        self.counts.iter().for_each(|count| put(out, (*count).into()));
        put_counts(out, &self.not_finite);
    }
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Histogram> {
        let length = reader.length()?;
        if length > BOUNDS_MAX + 1 {
            return Err(corrupt());
        }
        let counts = reader.many(length, Reader::count)?;
        let total = counts.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
        if total.is_none() || total == Some(0) && length > 0 {
            return Err(corrupt());
        }
        Ok(Histogram { counts, not_finite: read_counts(reader)? })
    }
}
