//! Variance and standard deviation from exact sums: of the values and of their squares, whatever their size.
//!
//! The textbook formula `n Σx² - (Σx)²` cancels catastrophically in doubles; here it is taken of integers of any size, and only
//! the quotient, or its square root, is rounded: once, to the nearest double, ties to even.
use num_bigint::BigUint;

use crate::error::Result;
use crate::view::aggregate::natural::Natural;
use crate::view::aggregate::unit::Unit;
use crate::view::bytes::{Reader, put};
use crate::view::bytes::{put_counts, read_counts};

/// A double is a multiple of 2^-1074.
const DOUBLE_UNIT: i64 = -1074;

/// How many numbers, the sums of those above and of those below zero, and of all squares: exact.
///
/// Integers and decimals are added in units of their last digit, doubles in units of 2^-1074 and their squares of 2^-2148.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Variance {
    /// How many finite numbers.
    pub count: u64,
    above: Natural,
    below: Natural,
    squares: Natural,
    /// NaNs, +inf and -inf, counted apart.
    pub not_finite: [u64; 3],
}

/// What the sums say. `None` where there is nothing to say, or where the answer is beyond the range of a double.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spread {
    /// The mean squared distance from the mean.
    pub var_pop: Option<f64>,
    /// The same over n - 1; `None` for fewer than two numbers.
    pub var_samp: Option<f64>,
    /// The square root of `var_pop`.
    pub stddev_pop: Option<f64>,
    /// The square root of `var_samp`.
    pub stddev_samp: Option<f64>,
}

impl Variance {
    /// Adds a scaled integer, of less than 2^96 in magnitude.
    #[inline]
    pub fn lift_fixed(&mut self, value: i128) {
        self.add(value.unsigned_abs(), 0, value < 0);
    }
    /// Adds a double.
    #[inline]
    pub fn lift_double(&mut self, value: f64) {
        if !value.is_finite() {
            self.not_finite[which(value)] += 1;
            return;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7FF) as u32;
        let fraction = bits & ((1 << 52) - 1);
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        self.add(mantissa.into(), exponent.saturating_sub(1), value < 0.0);
    }
    fn add(&mut self, magnitude: u128, shift: u32, negative: bool) {
        self.count += 1;
        let sum = if negative { &mut self.below } else { &mut self.above };
        sum.add(magnitude, shift);
        let (high, low) = (magnitude >> 64, magnitude & u128::from(u64::MAX));
        self.squares.add(low * low, 2 * shift);
        if high != 0 {
            self.squares.add(2 * high * low, 2 * shift + 64);
            self.squares.add(high * high, 2 * shift + 128);
        }
    }
    /// Adds all that `other` holds.
    pub fn combine(&mut self, other: &Variance) {
        self.count += other.count;
        self.above.merge(&other.above);
        self.below.merge(&other.below);
        self.squares.merge(&other.squares);
        self.not_finite.iter_mut().zip(other.not_finite).for_each(|(mine, more)| *mine += more);
    }
    /// The figures of numbers in `unit`.
    pub fn present(&self, unit: Unit) -> Spread {
        if self.count == 0 {
            return Spread::default();
        }
        let n = BigUint::from(self.count);
        let (above, below) = (self.above.to_big(), self.below.to_big());
        let sum = if above > below { above - below } else { below - above };
        // n Σx² is never below (Σx)²
        let distance = &n * self.squares.to_big() - &sum * &sum;
        let (scale, exponent) = match unit {
            Unit::Scaled(scale) => (BigUint::from(10u32).pow(2 * u32::from(scale)), 0),
            Unit::Double => (BigUint::from(1u32), 2 * DOUBLE_UNIT),
        };
        let finite = |x: f64| x.is_finite().then_some(x);
        let of = |divisor: BigUint| {
            let divisor = divisor * &scale;
            (finite(quotient(&distance, &divisor, exponent)), finite(root(&distance, &divisor, exponent)))
        };
        let (var_pop, stddev_pop) = of(&n * &n);
        let (var_samp, stddev_samp) = if self.count > 1 { of(&n * (&n - 1u32)) } else { (None, None) };
        Spread { var_pop, var_samp, stddev_pop, stddev_samp }
    }
    /// Memory outside of the struct, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.above.heap_bytes() + self.below.heap_bytes() + self.squares.heap_bytes()
    }
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.count.into());
        [&self.above, &self.below, &self.squares].into_iter().for_each(|sum| sum.encode(out));
        put_counts(out, &self.not_finite);
    }
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Variance> {
        let count = reader.count()?;
        let mut sum = || Natural::decode(reader);
        let (above, below, squares) = (sum()?, sum()?, sum()?);
        let variance = Variance { count, above, below, squares, not_finite: read_counts(reader)? };
        // damaged sums must not make a negative distance
        let (above, below) = (variance.above.to_big(), variance.below.to_big());
        let sum = if above > below { above - below } else { below - above };
        if &sum * &sum <= BigUint::from(count) * variance.squares.to_big() {
            Ok(variance)
        } else {
            Err(crate::view::bytes::corrupt())
        }
    }
}

/// The place of a double that is not finite among those that are counted apart.
pub(super) fn which(value: f64) -> usize {
    match value {
        _ if value.is_nan() => 0,
        _ if value > 0.0 => 1,
        _ => 2,
    }
}

/// The double nearest to `numerator / denominator * 2^exponent`.
fn quotient(numerator: &BigUint, denominator: &BigUint, exponent: i64) -> f64 {
    if *numerator == BigUint::ZERO {
        return 0.0;
    }
    // at least 64 bits of quotient, and a last bit that says whether anything is left over
    let shift = (denominator.bits() as i64 - numerator.bits() as i64 + 65).max(0);
    let shifted = numerator << shift as u64;
    let whole = &shifted / denominator;
    let left = &whole * denominator != shifted;
    nearest(&whole, left, exponent - shift)
}

/// The double nearest to the square root of `numerator / denominator * 2^exponent`, where `exponent` is even.
fn root(numerator: &BigUint, denominator: &BigUint, exponent: i64) -> f64 {
    if *numerator == BigUint::ZERO {
        return 0.0;
    }
    let missing = (denominator.bits() as i64 - numerator.bits() as i64 + 130).max(0);
    let shift = missing + missing % 2;
    let shifted = numerator << shift as u64;
    let whole = &shifted / denominator;
    let root = whole.sqrt();
    let left = &root * &root != whole || &whole * denominator != shifted;
    nearest(&root, left, (exponent - shift) / 2)
}

/// The double nearest to `(whole + something, if `left`, below 1) * 2^exponent`; `whole` has at least 64 bits, or nothing is left.
fn nearest(whole: &BigUint, left: bool, exponent: i64) -> f64 {
    let bits = whole.bits() as i64;
    let excess = (bits - 64).max(0);
    let head = (whole >> excess as u64).iter_u64_digits().next().unwrap_or(0);
    let left = left || (excess > 0 && whole.trailing_zeros().unwrap_or(0) < excess as u64);
    let exponent = exponent + excess;
    // the highest bit of `head` stands for 2^(width - 1 + exponent); the lowest of a double for 2^-1074 at least
    let width = i64::from(64 - head.leading_zeros());
    let drop = (width - 53).max(DOUBLE_UNIT - exponent);
    let (kept, rest_is) = match drop {
        ..=0 => (head, std::cmp::Ordering::Less),
        65.. => (0, std::cmp::Ordering::Less),
        drop => {
            let kept = if drop == 64 { 0 } else { head >> drop };
            let (rest, half) = (u128::from(head) & ((1 << drop) - 1), 1u128 << (drop - 1));
            (kept, rest.cmp(&half).then(if left { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Equal }))
        }
    };
    let up = rest_is.is_gt() || rest_is.is_eq() && kept & 1 == 1;
    power_of_two(kept + u64::from(up), exponent + drop.max(0))
}

/// `mantissa * 2^exponent`, which is a double or beyond them.
fn power_of_two(mantissa: u64, exponent: i64) -> f64 {
    let mut value = mantissa as f64;
    let mut exponent = exponent.clamp(-2_200, 2_200);
    while exponent != 0 {
        // no step may round: going down, the mantissa's multiple of 2^-1074 stays one
        let step = exponent.clamp(-1_000, 1_000);
        value *= 2f64.powi(step as i32);
        exponent -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[i128], scale: u8) -> Spread {
        let mut variance = Variance::default();
        numbers.iter().for_each(|n| variance.lift_fixed(*n));
        variance.present(Unit::Scaled(scale))
    }

    fn of_doubles(numbers: &[f64]) -> Spread {
        let mut variance = Variance::default();
        numbers.iter().for_each(|n| variance.lift_double(*n));
        variance.present(Unit::Double)
    }

    #[test]
    fn nothing_cancels() {
        // the naive sum of squares gives -4736 here, or 0
        assert_eq!(of_doubles(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]).var_samp, Some(30.0));
        assert_eq!(of(&[10i128.pow(28) - 1, 10i128.pow(28) - 3], 0).var_pop, Some(1.0));
        assert_eq!(of(&[100, 250, 400], 2).var_samp, Some(2.25));
        assert_eq!(of(&[100, 250, 400], 2).stddev_samp, Some(1.5));
    }

    #[test]
    fn empty_one_and_equal_numbers() {
        assert_eq!(of(&[], 0), Spread::default());
        assert_eq!(of(&[7], 0).var_pop, Some(0.0));
        assert_eq!(of(&[7], 0).var_samp, None);
        assert_eq!(of_doubles(&[0.1; 10]).stddev_pop, Some(0.0));
        assert_eq!(of_doubles(&[f64::NAN, f64::INFINITY]), Spread::default());
    }

    #[test]
    fn the_borders_of_doubles() {
        assert_eq!(of_doubles(&[5e-324, -5e-324]).var_pop, Some(0.0), "2^-2148 rounds to 0");
        assert_eq!(of_doubles(&[5e-324, -5e-324]).stddev_pop, Some(5e-324));
        assert_eq!(of_doubles(&[f64::MAX, -f64::MAX]).var_pop, None, "beyond the range of a double");
        assert_eq!(of_doubles(&[f64::MAX, -f64::MAX]).stddev_pop, Some(f64::MAX));
    }
}
