//! What is left of numbers that come and are taken back: how many, and their sum. Both go up and down, exactly: a number and its
//! retraction are nothing, in any order and wherever the seam lies between them.
use crate::error::Result;
use crate::view::aggregate::unit::Unit;
use crate::view::aggregate::variance::which;
use crate::view::bytes::{Reader, corrupt, put_signed};
use crate::view::exact_sum::ExactSum;
use crate::view::value::{Value, quotient};

/// How many numbers came less those that were taken back, and the same of their sum.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Net {
    /// How many finite numbers; below 0 where more were taken back than came.
    pub count: i64,
    /// The sum of scaled integers, modulo 2^128.
    fixed: i128,
    /// The sum of doubles.
    double: ExactSum,
    /// NaNs, +inf and -inf, counted apart.
    pub not_finite: [i64; 3],
}

impl Net {
    /// Adds a scaled integer, or takes one back.
    #[inline]
    pub fn lift_fixed(&mut self, value: i128, retracted: bool) {
        let (one, value) = if retracted { (-1, value.wrapping_neg()) } else { (1, value) };
        self.count = self.count.wrapping_add(one);
        self.fixed = self.fixed.wrapping_add(value);
    }
    /// Adds a double, or takes one back.
    #[inline]
    pub fn lift_double(&mut self, value: f64, retracted: bool) {
        let one = if retracted { -1 } else { 1 };
        if !value.is_finite() {
            let odd = &mut self.not_finite[which(value)];
            *odd = odd.wrapping_add(one);
            return;
        }
        self.count = self.count.wrapping_add(one);
        self.double.add(if retracted { -value + 0.0 } else { value });
    }
    /// Adds all that `other` holds.
    pub fn combine(&mut self, other: &Net) {
        self.count = self.count.wrapping_add(other.count);
        self.fixed = self.fixed.wrapping_add(other.fixed);
        self.double.merge(&other.double);
        let odd = self.not_finite.iter_mut().zip(other.not_finite);
        odd.for_each(|(mine, more)| *mine = mine.wrapping_add(more));
    }
    /// Whether all that came was taken back.
    pub fn is_nothing(&self) -> bool {
        // a sum of doubles is a multiple of the smallest one: it rounds to 0 only if it is 0
        self.count == 0 && self.fixed == 0 && self.not_finite == [0; 3] && self.double.round() == 0.0
    }
    /// The sum of numbers in `unit`, and the mean where any are left. `Null` beyond the range of a double.
    pub fn present(&self, unit: Unit) -> (Value, Value) {
        let any = self.count != 0;
        let (sum, mean) = match unit {
            Unit::Scaled(scale) => {
                let divisor = u128::from(self.count.unsigned_abs()) * 10u128.pow(u32::from(scale));
                let sum = if self.count < 0 { self.fixed.wrapping_neg() } else { self.fixed };
                (Value::Decimal(self.fixed, scale), any.then(|| quotient(sum, divisor)))
            }
            Unit::Double => {
                let sum = self.double.round();
                (double(sum), any.then(|| sum / self.count as f64 + 0.0))
            }
        };
        (sum, mean.map_or(Value::Null, double))
    }
    /// Memory outside of the struct, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.double.heap_bytes()
    }
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_signed(out, self.count.into());
        put_signed(out, self.fixed);
        self.not_finite.iter().for_each(|count| put_signed(out, (*count).into()));
        self.double.encode(out);
    }
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Net> {
        let mut count = || i64::try_from(reader.signed()?).map_err(|_| corrupt());
        let count_of_all = count()?;
        let fixed = reader.signed()?;
        let mut count = || i64::try_from(reader.signed()?).map_err(|_| corrupt());
        let not_finite = [count()?, count()?, count()?];
        let net = Net { count: count_of_all, fixed, not_finite, double: ExactSum::decode(&mut reader.rest)? };
        if net.is_nothing() { Err(corrupt()) } else { Ok(net) }
    }
}

fn double(x: f64) -> Value {
    if x.is_finite() { Value::Float(x) } else { Value::Null }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Offset;
    use crate::time::Timestamp;
    use crate::view::aggregate::partial::{Aggregate, Lifted, Partial};

    fn lift(partial: &mut Partial, value: &Value, retracted: bool) {
        let (time, partition, offset) = (Timestamp(0), 0, Offset(0));
        partial.lift(Aggregate::Net, &[], &Lifted { time, partition, offset, value, retracted });
    }

    #[test]
    fn what_came_and_was_taken_back_is_as_if_it_had_never_come() {
        let values = [Value::Float(0.1), Value::Float(1e300), Value::Float(f64::NAN), Value::Float(-0.0), Value::Null];
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
            let mut partial = Partial::Empty;
            values.iter().for_each(|value| lift(&mut partial, value, false));
            assert_ne!(partial, Partial::Empty);
            let mut taken = Partial::Empty;
            order.iter().for_each(|i| lift(&mut taken, &values[*i], true));
            partial.combine(&taken);
            assert_eq!(partial, Partial::Empty);
        }
    }

    #[test]
    fn more_may_be_taken_back_than_came_and_its_spelling_says_so() {
        let mut partial = Partial::Empty;
        lift(&mut partial, &Value::Decimal(250, 2), true);
        lift(&mut partial, &Value::Decimal(100, 2), true);
        let mut bytes = Vec::new();
        partial.encode(&mut bytes);
        assert_eq!(Partial::decode(&bytes).unwrap(), partial);
        let Partial::Net(net) = &partial else { panic!("{partial:?}") };
        assert_eq!((net.count, net.present(Unit::Scaled(2))), (-2, (Value::Decimal(-350, 2), Value::Float(1.75))));
        assert!(Partial::decode(&[1, 8, 0, 0, 0, 0, 0, 0, 0]).is_err(), "nothing has no spelling of its own");
    }
}
