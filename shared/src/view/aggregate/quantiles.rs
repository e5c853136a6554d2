//! Quantiles by a sketch that adds up exactly: bins of one relative width (DDSketch, Masson and others, VLDB 2019).
//!
//! The bin of a number is found in integers from the bits of its double: each power of two is cut into equal parts (the paper's
//! linearly interpolated mapping), so that it is the same on every machine. Bins never collapse; their number is bounded because
//! magnitudes below 2^-64 count as 0 and those from 2^128 on as the largest bin. All of it is a function of each number alone, so
//! the sketch depends on no order and no merge. (A t-digest and KLL depend on both.)
use crate::error::Result;
use crate::view::aggregate::unit::Unit;
use crate::view::aggregate::variance::which;
use crate::view::bytes::{Reader, corrupt, put, put_signed};
use crate::view::bytes::{put_counts, read_counts};
use crate::view::value::Value;

/// Magnitudes from 2^-64 to below 2^128 have bins of their own.
const LOWEST: i32 = -64;
const POWERS: i32 = 192;
/// Parts of a power of two for an accuracy of 1 %.
pub const PARTS_DEFAULT: u16 = 50;
/// The most parts: an accuracy of 0.05 %.
pub const PARTS_MAX: u16 = 1_000;

/// The largest relative error of a quantile with so many parts of a power of two.
pub fn accuracy(parts: u16) -> f64 {
    1.0 / (2.0 * f64::from(parts) + 1.0)
}

/// The fewest parts of a power of two that give an accuracy; `None` if it is none that can be had.
pub fn parts_for(accuracy: f64) -> Option<u16> {
    let parts = ((1.0 / accuracy - 1.0) / 2.0 - 1e-9).ceil();
    (accuracy < 1.0 && (1.0..=f64::from(PARTS_MAX)).contains(&parts)).then_some(parts as u16)
}

/// How many numbers fall in each bin, and the smallest and the largest of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantiles {
    /// Bin and count by ascending bin: 0 is zero, above it the bins of positive numbers, below it those of negative ones.
    bins: Vec<(i32, u64)>,
    /// The smallest and the largest number as [`ordinal`] or scaled integer; meaningless while there are no bins.
    min: i128,
    max: i128,
    /// NaNs, +inf and -inf, counted apart.
    pub not_finite: [u64; 3],
}

/// The sketch as numbers: what each bin stands for, ascending, and how many there are; the smallest and the largest exactly.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranks {
    /// A number and how often.
    pub bins: Vec<(f64, u64)>,
    /// How many numbers there are.
    pub count: u64,
    /// The parts of a power of two, which say how exact it is.
    pub parts: u16,
}

impl Ranks {
    /// The number at rank `floor(q (n - 1))` of all in ascending order, for `q` in millionths; `None` if there are none.
    pub fn quantile(&self, millionths: u32) -> Option<f64> {
        let rank = u128::from(self.count.checked_sub(1)?) * u128::from(millionths.min(1_000_000)) / 1_000_000;
        let mut below = 0;
        let at = self.bins.iter().find(|(_, count)| {
            below += u128::from(*count);
            below > rank
        });
        at.map(|(number, _)| *number)
    }
}

impl Quantiles {
    /// Adds a scaled integer.
    #[inline]
    pub fn lift_fixed(&mut self, value: i128, parts: u16) {
        self.add(value, value as f64, parts);
    }
    /// Adds a double.
    #[inline]
    pub fn lift_double(&mut self, value: f64, parts: u16) {
        if value.is_finite() {
            self.add(ordinal(value), value, parts);
        } else {
            self.not_finite[which(value)] += 1;
        }
    }
    #[inline]
    fn add(&mut self, exact: i128, value: f64, parts: u16) {
        if self.bins.is_empty() {
            (self.min, self.max) = (exact, exact);
        } else {
            (self.min, self.max) = (self.min.min(exact), self.max.max(exact));
        }
        let bin = bin_of(value, parts);
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => self.bins[at].1 += 1,
            Err(at) => self.bins.insert(at, (bin, 1)),
        }
    }
    /// Adds all that `other` holds.
    pub fn combine(&mut self, other: &Quantiles) {
        self.not_finite.iter_mut().zip(other.not_finite).for_each(|(mine, more)| *mine += more);
        if other.bins.is_empty() {
            return;
        }
        if self.bins.is_empty() {
            let not_finite = self.not_finite;
            *self = Quantiles { not_finite, ..other.clone() };
            return;
        }
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        let mine = std::mem::take(&mut self.bins);
        self.bins = union(&mine, &other.bins);
    }
    /// How many finite numbers there are.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|(_, count)| count).sum()
    }
    /// The smallest and the largest number, exactly.
    pub fn extremes(&self, unit: Unit) -> Option<(Value, Value)> {
        let value = |exact| match unit {
            Unit::Scaled(scale) => Value::Decimal(exact, scale),
            Unit::Double => Value::Float(from_ordinal(exact)),
        };
        (!self.bins.is_empty()).then(|| (value(self.min), value(self.max)))
    }
    /// What each bin stands for: the number that is off by the same share of either end; never beyond the extremes, and the first
    /// and the last number themselves where they are alone.
    pub fn ranks(&self, unit: Unit, parts: u16) -> Ranks {
        let divisor = match unit {
            Unit::Scaled(scale) => 10f64.powi(i32::from(scale)),
            Unit::Double => 1.0,
        };
        let exact = |exact: i128| match unit {
            Unit::Scaled(_) => exact as f64 / divisor,
            Unit::Double => from_ordinal(exact),
        };
        let (min, max) = (exact(self.min), exact(self.max));
        let mut bins: Vec<(f64, u64)> = Vec::with_capacity(self.bins.len() + 2);
        let (last, total) = (self.bins.len().saturating_sub(1), self.count());
        for (i, &(bin, count)) in self.bins.iter().enumerate() {
            let middle = (middle_of(bin, parts) / divisor).clamp(min, max);
            // the smallest and the largest are known
            let ends = [(i == 0).then_some(min), (i == last && total > 1).then_some(max)];
            let inner = count - ends.iter().flatten().count() as u64;
            for (number, count) in [
                (ends[0].unwrap_or(min), u64::from(ends[0].is_some())),
                (middle, inner),
                (max, u64::from(ends[1].is_some())),
            ] {
                match bins.last_mut() {
                    _ if count == 0 => {}
                    Some((same, all)) if *same == number => *all += count,
                    _ => bins.push((number + 0.0, count)),
                }
            }
        }
        Ranks { count: total, bins, parts }
    }
    /// Memory outside of the struct, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.bins.capacity() * size_of::<(i32, u64)>()
    }
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.bins.len() as u128);
        let mut last = 0i32;
        for (i, (bin, count)) in self.bins.iter().enumerate() {
            if i == 0 {
                put_signed(out, (*bin).into());
            } else {
                put(out, (bin - last) as u128);
            }
            put(out, (*count).into());
            last = *bin;
        }
        if !self.bins.is_empty() {
            put_signed(out, self.min);
            put(out, self.max.wrapping_sub(self.min) as u128);
        }
        put_counts(out, &self.not_finite);
    }
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Quantiles> {
        let length = reader.length()?;
        let highest = POWERS * i32::from(PARTS_MAX);
        let (mut last, mut total) = (None::<i32>, 0u64);
        let bins = reader.many(length, |r| {
            let bin = match last {
                None => i32::try_from(r.signed()?).map_err(|_| corrupt())?,
                Some(last) => {
                    let step = i32::try_from(r.unsigned()?).ok().filter(|step| *step > 0).ok_or_else(corrupt)?;
                    last.checked_add(step).ok_or_else(corrupt)?
                }
            };
            last = Some(bin);
            let count = r.count()?;
            total = total.checked_add(count).ok_or_else(corrupt)?;
            if count > 0 && bin.abs() <= highest { Ok((bin, count)) } else { Err(corrupt()) }
        })?;
        let (mut min, mut max) = (0, 0);
        if !bins.is_empty() {
            min = reader.signed()?;
            max = i128::try_from(reader.unsigned()?).ok().and_then(|d| min.checked_add(d)).ok_or_else(corrupt)?;
        }
        Ok(Quantiles { bins, min, max, not_finite: read_counts(reader)? })
    }
}

fn union(a: &[(i32, u64)], b: &[(i32, u64)]) -> Vec<(i32, u64)> {
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let (take_x, take_y) = (x.0 <= y.0, y.0 <= x.0);
        out.push((x.0.min(y.0), if take_x { x.1 } else { 0 } + if take_y { y.1 } else { 0 }));
        i += usize::from(take_x);
        j += usize::from(take_y);
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
    out
}

/// The bin of a finite number.
#[inline]
fn bin_of(value: f64, parts: u16) -> i32 {
    let parts = i32::from(parts);
    let bits = value.to_bits();
    let power = (bits >> 52 & 0x7FF) as i32 - 1023 - LOWEST;
    let fraction = bits & ((1 << 52) - 1);
    let bin = match power {
        ..0 => return 0,
        POWERS.. => POWERS * parts,
        _ => power * parts + ((u128::from(fraction) * parts as u128) >> 52) as i32 + 1,
    };
    if value < 0.0 { -bin } else { bin }
}

/// The number whose relative distance to both ends `a` and `b` of a bin is the same: `2ab / (a + b)`.
fn middle_of(bin: i32, parts: u16) -> f64 {
    let Some(index) = bin.checked_abs().and_then(|bin| bin.checked_sub(1)).filter(|index| *index >= 0) else {
        return 0.0;
    };
    let parts = i32::from(parts);
    let (power, part) = (index / parts, f64::from(index % parts));
    let parts = f64::from(parts);
    let middle = 2.0 * (parts + part) * (parts + part + 1.0) / (parts * (2.0 * (parts + part) + 1.0));
    middle * 2f64.powi(power + LOWEST) * f64::from(bin.signum())
}

/// A double as an integer in the same order.
fn ordinal(value: f64) -> i128 {
    let bits = (value + 0.0).to_bits().cast_signed();
    i128::from(if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits })
}

fn from_ordinal(ordinal: i128) -> f64 {
    let bits = ordinal as i64;
    f64::from_bits(if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bin_is_as_accurate_as_promised() {
        for parts in [1, 7, PARTS_DEFAULT, PARTS_MAX] {
            let promised = accuracy(parts) * (1.0 + 1e-12);
            for i in 0..20_000u64 {
                let spread = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let value = f64::from_bits((960 + spread % 190) << 52 | spread >> 12);
                let found = middle_of(bin_of(value, parts), parts);
                assert!((found - value).abs() <= promised * value, "{value} gives {found} with {parts} parts");
                assert_eq!(bin_of(-value, parts), -bin_of(value, parts));
                assert!(bin_of(value * 1.001, parts) >= bin_of(value, parts));
            }
        }
        assert_eq!(parts_for(0.01), Some(50));
        assert_eq!(parts_for(accuracy(123)), Some(123));
        assert_eq!([parts_for(0.0), parts_for(1.5), parts_for(-1.0), parts_for(f64::NAN), parts_for(1e-9)], [None; 5]);
    }

    #[test]
    fn ordinals_keep_order_and_bits() {
        let ascending = [-f64::MAX, -1.5, -5e-324, 0.0, 5e-324, f64::MIN_POSITIVE, 1.0, f64::MAX];
        assert!(ascending.windows(2).all(|pair| ordinal(pair[0]) < ordinal(pair[1])));
        ascending.iter().for_each(|x| assert_eq!(from_ordinal(ordinal(*x)).to_bits(), x.to_bits()));
    }

    #[test]
    fn borders() {
        let mut sketch = Quantiles::default();
        [0.0, 1e-300, -1e-300, f64::MAX, f64::MIN, f64::NAN].iter().for_each(|x| sketch.lift_double(*x, 50));
        let ranks = sketch.ranks(Unit::Double, 50);
        assert_eq!((ranks.count, ranks.quantile(0), ranks.quantile(500_000)), (5, Some(f64::MIN), Some(0.0)));
        assert_eq!((ranks.quantile(1_000_000), sketch.not_finite), (Some(f64::MAX), [1, 0, 0]));
        assert_eq!(Ranks::default().quantile(500_000), None);
    }
}
