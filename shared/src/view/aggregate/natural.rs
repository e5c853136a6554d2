//! Natural numbers of any size, to add up exactly what no machine word holds: sums of doubles and of squares.
use num_bigint::BigUint;

use crate::error::Result;
use crate::view::bytes::{Reader, corrupt, put};

/// Bytes of the largest number that is encoded: 2^64 times the square of the largest double, in units of 2^-2148.
const BYTES_MAX: usize = 544;

/// A natural number as digits of 32 bits, of which only those from the lowest to the highest in use are kept.
#[derive(Debug, Clone, Default)]
pub struct Natural {
    /// The place of `digits[0]`.
    first: u32,
    digits: Vec<u32>,
}

impl Natural {
    /// Adds `part * 2^shift`.
    #[inline]
    pub fn add(&mut self, part: u128, shift: u32) {
        let (place, bits) = (shift / 32, shift % 32);
        let low = part << bits;
        let high = if bits == 0 { 0 } else { (part >> (128 - bits)) as u32 };
        let digits = [low as u32, (low >> 32) as u32, (low >> 64) as u32, (low >> 96) as u32, high];
        let used = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        self.add_digits(place, &digits[..used]);
    }
    /// Adds another number.
    pub fn merge(&mut self, other: &Natural) {
        self.add_digits(other.first, &other.digits);
    }
    fn add_digits(&mut self, place: u32, digits: &[u32]) {
        if digits.is_empty() {
            return;
        }
        if self.digits.is_empty() {
            self.first = place;
        } else if place < self.first {
            self.digits.splice(0..0, std::iter::repeat_n(0, (self.first - place) as usize));
            self.first = place;
        }
        let at = (place - self.first) as usize;
        if self.digits.len() < at + digits.len() {
            self.digits.resize(at + digits.len(), 0);
        }
        let mut carry = 0u64;
        let (these, above) = self.digits[at..].split_at_mut(digits.len());
        for (digit, more) in these.iter_mut().zip(digits) {
            carry += u64::from(*digit) + u64::from(*more);
            *digit = carry as u32;
            carry >>= 32;
        }
        for digit in above {
            if carry == 0 {
                return;
            }
            carry += u64::from(*digit);
            *digit = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.digits.push(carry as u32);
        }
    }
    /// The number itself.
    pub fn to_big(&self) -> BigUint {
        BigUint::from_slice(&self.digits) << (32 * u64::from(self.first))
    }
    /// The digits without zeros at either end, and the place of the first of them.
    fn canonical(&self) -> (usize, &[u32]) {
        let Some(low) = self.digits.iter().position(|digit| *digit != 0) else { return (0, &[]) };
        let high = self.digits.iter().rposition(|digit| *digit != 0).map_or(low, |last| last + 1);
        (self.first as usize + low, &self.digits[low..high])
    }
    /// Memory outside of the struct, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.digits.capacity() * 4
    }
    /// Appends its one spelling: the place of the lowest byte that is not zero, how many bytes, the bytes from there on.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (first, digits) = self.canonical();
        let bytes = || digits.iter().flat_map(|digit| digit.to_le_bytes());
        let low = bytes().take_while(|byte| *byte == 0).count();
        let zeros = bytes().rev().take_while(|byte| *byte == 0).count();
        let length = (digits.len() * 4).saturating_sub(low + zeros);
        put(out, length as u128);
        if length > 0 {
            put(out, (first * 4 + low) as u128);
            out.extend(bytes().skip(low).take(length));
        }
    }
    /// Reads what [`Natural::encode`] wrote.
    ///
    /// # Errors
    /// `Kind::Corrupt` if it is no such spelling.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Natural> {
        let length = reader.length()?;
        if length == 0 {
            return Ok(Natural::default());
        }
        let start = usize::try_from(reader.unsigned()?).map_err(|_| corrupt())?;
        if start.saturating_add(length) > BYTES_MAX {
            return Err(corrupt());
        }
        let bytes = reader.take(length)?;
        if bytes.first() == Some(&0) || bytes.last() == Some(&0) {
            return Err(corrupt());
        }
        let first = start / 4;
        let mut digits = vec![0u32; (start + length).div_ceil(4) - first];
        for (i, byte) in (start..).zip(bytes) {
            digits[i / 4 - first] |= u32::from(*byte) << (8 * (i % 4));
        }
        Ok(Natural { first: first as u32, digits })
    }
}

impl PartialEq for Natural {
    /// Whether both are the same number.
    fn eq(&self, other: &Natural) -> bool {
        self.canonical() == other.canonical()
    }
}
