//! The exact sum of doubles, in limbs: the same bits in any order and split, correctly rounded when presented.

/// Placeholder until the limbs land.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExactSum {
    sum: f64,
}

impl ExactSum {
    /// Adds a finite value.
    pub fn add(&mut self, value: f64) {
        self.sum += value;
    }
    /// Adds another sum.
    pub fn merge(&mut self, other: &ExactSum) {
        self.sum += other.sum;
    }
    /// The nearest double, ties to even; infinite beyond the range.
    pub fn round(&self) -> f64 {
        self.sum
    }
}
