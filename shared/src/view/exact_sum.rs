//! The exact sum of doubles, in limbs: the same bits in any order and split, correctly rounded when presented.
use std::fmt;

use crate::error::{Error, Result};

/// Adds between two carry propagations: `(2^30 + 2) * 2^32 < 2^63`, so that no limb overflows.
const PENDING_MAX: u32 = 1 << 30;
/// Bytes of the largest magnitude that is encoded: `2^64` times the largest double, in units of `2^-1074`.
const BYTES_MAX: usize = 272;
const LOW: i64 = 0xFFFF_FFFF;

/// The exact sum of finite doubles: limb `i` holds a multiple of `2^(32 i - 1074)`, with its carry put off in the upper half
/// of the word. Only the limbs between the lowest and the highest ever touched are kept: three or four for ordinary data.
#[derive(Clone, Default)]
pub struct ExactSum {
    /// The index of `limbs[0]`.
    first: u32,
    /// Adds since carries were last propagated.
    pending: u32,
    limbs: Vec<i64>,
}

/// The one spelling of a sum: sign and magnitude without zeros at either end. Zero has no digits.
#[derive(PartialEq)]
struct Canonical {
    negative: bool,
    first: usize,
    digits: Vec<u32>,
}

impl ExactSum {
    /// Splits a finite double into the index of its lowest limb and its share of that limb and the next two; each share is
    /// less than `2^32` in magnitude, so that `2^31` of one index may be added up as plain integers. Zero gives zeros.
    #[inline]
    pub fn lower(value: f64) -> (u8, [i64; 3]) {
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7FF) as u32;
        debug_assert!(exponent < 0x7FF, "only finite values are added");
        let fraction = bits & ((1 << 52) - 1);
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        let shift = exponent.saturating_sub(1);
        let wide = u128::from(mantissa) << (shift % 32);
        let sign = (bits as i64) >> 63;
        let signed = |limb: i64| (limb ^ sign) - sign;
        let limbs = [wide as i64 & LOW, (wide >> 32) as i64 & LOW, (wide >> 64) as i64];
        ((shift / 32) as u8, limbs.map(signed))
    }
    /// Adds a finite value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let (index, parts) = Self::lower(value);
        let at = (index as usize).wrapping_sub(self.first as usize);
        if self.pending < PENDING_MAX
            && let Some(limbs) = self.limbs.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<3>())
        {
            for (limb, part) in limbs.iter_mut().zip(parts) {
                *limb += part;
            }
            self.pending += 1;
        } else {
            self.add_parts(index, parts);
        }
    }
    /// Adds the sum of any number (below `2^31`) of [`ExactSum::lower`] results of one limb index.
    pub fn add_parts(&mut self, index: u8, parts: [i64; 3]) {
        if parts == [0; 3] {
            return;
        }
        let [a, b, c] = parts;
        let b = i128::from(b) + i128::from(a >> 32);
        let c = i128::from(c) + (b >> 32);
        let low = |part: i128| (part as i64) & LOW;
        let carried = [a & LOW, low(b), low(c), (c >> 32) as i64];
        let used = if carried[3] == 0 { 3 } else { 4 };
        self.add_limbs(u32::from(index), &carried[..used], 1);
    }
    /// The sum of what [`ExactSum::lower`] gave, added up by limb index.
    pub fn from_parts(parts: impl IntoIterator<Item = (u8, [i64; 3])>) -> ExactSum {
        let mut sum = ExactSum::default();
        for (index, part) in parts {
            sum.add_parts(index, part);
        }
        sum
    }
    /// Adds another sum.
    pub fn merge(&mut self, other: &ExactSum) {
        self.add_limbs(other.first, &other.limbs, other.pending);
    }
    /// The nearest double, ties to even; infinite beyond the range.
    pub fn round(&self) -> f64 {
        let sum = self.canonical();
        let Some(&top) = sum.digits.last() else { return 0.0 };
        let digit = |i: usize| i.checked_sub(sum.first).and_then(|i| sum.digits.get(i)).copied().unwrap_or(0);
        let highest = 32 * (sum.first + sum.digits.len() - 1) + 31 - top.leading_zeros() as usize;
        // the 53 highest bits, then the half below them, then whether anything is below that
        let lowest = highest.saturating_sub(52);
        let window = (0..3).fold(0u128, |w, k| w | u128::from(digit(lowest / 32 + k)) << (32 * k));
        let mantissa = (window >> (lowest % 32)) as u64 & ((1 << 53) - 1);
        let bits = if lowest == 0 {
            mantissa // subnormal or of the smallest exponent: the bits are the number
        } else {
            let exponent = lowest as u64 + 1;
            if exponent >= 0x7FF {
                f64::INFINITY.to_bits()
            } else {
                let half = lowest - 1;
                let odd = mantissa & 1 == 1;
                let above_half = digit(half / 32) & ((1 << (half % 32)) - 1) != 0 || sum.first < half / 32;
                let up = digit(half / 32) >> (half % 32) & 1 == 1 && (odd || above_half);
                // a carry out of the mantissa moves into the exponent, up to infinity
                (exponent << 52) + (mantissa - (1 << 52)) + u64::from(up)
            }
        };
        f64::from_bits(bits | u64::from(sum.negative) << 63)
    }
    /// Memory outside of the struct, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.limbs.capacity() * 8
    }
    /// Appends the canonical bytes: equal sums give equal bytes however they came about.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let sum = self.canonical();
        let bytes: Vec<u8> = sum.digits.iter().flat_map(|d| d.to_le_bytes()).collect();
        let low = bytes.iter().position(|b| *b != 0).unwrap_or(0);
        let high = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        let length = high - low;
        out.extend_from_slice(&((length << 1 | usize::from(sum.negative)) as u16).to_le_bytes());
        if length > 0 {
            out.extend_from_slice(&((sum.first * 4 + low) as u16).to_le_bytes());
            out.extend_from_slice(&bytes[low..high]);
        }
    }
    /// Reads what [`ExactSum::encode`] wrote from the front of `bytes`, which moves on.
    ///
    /// # Errors
    /// `Kind::Corrupt` if the bytes are not canonical.
    pub fn decode(bytes: &mut &[u8]) -> Result<ExactSum> {
        let corrupt = || Error::corrupt("an exact sum is damaged");
        let mut take = |n: usize| -> Result<&[u8]> {
            let (head, rest) = bytes.split_at_checked(n).ok_or_else(corrupt)?;
            *bytes = rest;
            Ok(head)
        };
        let header = take(2)?;
        let header = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let (length, negative) = (header >> 1, header & 1 == 1);
        if length == 0 {
            return if negative { Err(corrupt()) } else { Ok(ExactSum::default()) };
        }
        let start = take(2)?;
        let start = usize::from(u16::from_le_bytes([start[0], start[1]]));
        if start + length > BYTES_MAX {
            return Err(corrupt());
        }
        let magnitude = take(length)?;
        if magnitude[0] == 0 || magnitude[length - 1] == 0 {
            return Err(corrupt());
        }
        let first = start / 4;
        let mut limbs = vec![0i64; (start + length).div_ceil(4) - first];
        for (i, byte) in (start..).zip(magnitude) {
            limbs[i / 4 - first] |= i64::from(*byte) << (8 * (i % 4));
        }
        if negative {
            limbs.iter_mut().for_each(|limb| *limb = -*limb);
        }
        Ok(ExactSum { first: first as u32, pending: 1, limbs })
    }

    /// Adds limbs that account for `adds` adds, growing the window as needed.
    fn add_limbs(&mut self, first: u32, limbs: &[i64], adds: u32) {
        if limbs.is_empty() {
            return;
        }
        if self.pending + adds > PENDING_MAX {
            self.propagate();
        }
        if self.limbs.is_empty() {
            self.first = first;
        } else if first < self.first {
            let missing = (self.first - first) as usize;
            self.limbs.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = first;
        }
        let at = (first - self.first) as usize;
        if self.limbs.len() < at + limbs.len() {
            self.limbs.resize(at + limbs.len(), 0);
        }
        for (limb, part) in self.limbs[at..].iter_mut().zip(limbs) {
            *limb += part;
        }
        self.pending += adds;
    }
    /// Moves carries upwards: then every limb but the highest is in `[0, 2^32)`, and that one in `[-2^32, 2^32)`.
    fn propagate(&mut self) {
        let mut carry = 0;
        let last = self.limbs.len().saturating_sub(1);
        for limb in &mut self.limbs[..last] {
            let value = *limb + carry;
            *limb = value & LOW;
            carry = value >> 32;
        }
        while let Some(top) = self.limbs.last_mut() {
            *top += std::mem::take(&mut carry);
            if (-LOW - 1..=LOW).contains(top) {
                break;
            }
            let high = *top >> 32;
            *top &= LOW;
            self.limbs.push(high);
        }
        self.pending = 1;
    }
    fn canonical(&self) -> Canonical {
        let mut sum = self.clone();
        sum.propagate();
        let negative = sum.limbs.last().is_some_and(|top| *top < 0);
        if negative {
            sum.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            sum.propagate();
        }
        let mut digits: Vec<u32> = sum.limbs.iter().map(|limb| *limb as u32).collect();
        digits.truncate(digits.iter().rposition(|d| *d != 0).map_or(0, |last| last + 1));
        let zeros = digits.iter().position(|d| *d != 0).unwrap_or(0);
        digits.drain(..zeros);
        let first = if digits.is_empty() { 0 } else { sum.first as usize + zeros };
        Canonical { negative, first, digits }
    }
}

impl PartialEq for ExactSum {
    /// Whether both are the same real number.
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl fmt::Debug for ExactSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = self.canonical();
        write!(f, "ExactSum({:?}, {} limbs from {})", self.round(), sum.digits.len(), sum.first)
    }
}
