//! How many different values: exactly up to a bound, then estimated by a dense HyperLogLog.
//!
//! What is kept depends on the set of values alone, not on order or merges: up to [`EXACT_MAX`] different 64-bit hashes it is the
//! hashes, beyond it the registers. The estimate depends on the registers alone (Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches", 2017, algorithm 6), so that equal partials give equal answers.
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Result;
use crate::view::bytes::{Reader, corrupt, put};
use crate::view::value::Value;

/// So many different values are counted exactly (but for the collisions of 64-bit hashes: one in 10^13 such sets).
pub const EXACT_MAX: usize = 1_024;
/// 2^14 registers.
const PRECISION: u32 = 14;
/// How many registers there are.
pub const REGISTERS: usize = 1 << PRECISION;
/// The largest rank of a hash: all other bits are zero.
const RANK_MAX: u8 = (64 - PRECISION + 1) as u8;
/// The relative standard error of an estimate: 1.04 / √16384.
pub const STANDARD_ERROR: f64 = 0.008_125;

/// The set of values, or what is left of a large one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distinct {
    /// The hashes, ascending.
    Exact(Vec<u64>),
    /// By register the largest rank.
    Registers(Box<[u8]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct::Exact(Vec::new())
    }
}

/// The hash of a value, `None` of null. Type and length are part of it: "1" is not 1. -0 is 0, and every NaN the same.
#[inline]
pub fn hash(value: &Value) -> Option<u64> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => xxh3_64_with_seed(&[u8::from(*flag)], 1),
        Value::Int(number) => hash_integer(*number),
        Value::Decimal(number, scale) => xxh3_64_with_seed(&number.to_le_bytes(), 0x100 + u64::from(*scale)),
        Value::Float(number) => {
            let number = if number.is_nan() { f64::NAN } else { number + 0.0 };
            xxh3_64_with_seed(&number.to_bits().to_le_bytes(), 4)
        }
        Value::Str(text) => hash_text(text),
    })
}

/// The hash of a text.
#[inline]
pub fn hash_text(text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), 5)
}

/// The hash of an integer.
#[inline]
pub fn hash_integer(number: i64) -> u64 {
    xxh3_64_with_seed(&number.to_le_bytes(), 2)
}

impl Distinct {
    /// Adds a value's hash.
    #[inline]
    pub fn insert(&mut self, hash: u64) {
        match self {
            Distinct::Registers(registers) => note(registers, hash),
            Distinct::Exact(hashes) => {
                if let Err(at) = hashes.binary_search(&hash) {
                    hashes.insert(at, hash);
                    self.promote();
                }
            }
        }
    }
    /// Adds all that `other` holds.
    pub fn combine(&mut self, other: &Distinct) {
        match (&mut *self, other) {
            (Distinct::Exact(mine), Distinct::Exact(more)) => {
                *mine = union(mine, more);
                self.promote();
            }
            (Distinct::Registers(registers), Distinct::Exact(more)) => {
                more.iter().for_each(|hash| note(registers, *hash));
            }
            (Distinct::Exact(mine), Distinct::Registers(more)) => {
                let mut registers = more.clone();
                mine.iter().for_each(|hash| note(&mut registers, *hash));
                *self = Distinct::Registers(registers);
            }
            (Distinct::Registers(mine), Distinct::Registers(more)) => {
                mine.iter_mut().zip(more).for_each(|(mine, more)| *mine = (*mine).max(*more));
            }
        }
    }
    fn promote(&mut self) {
        if let Distinct::Exact(hashes) = self
            && hashes.len() > EXACT_MAX
        {
            let mut registers = vec![0; REGISTERS].into_boxed_slice();
            hashes.iter().for_each(|hash| note(&mut registers, *hash));
            *self = Distinct::Registers(registers);
        }
    }
    /// How many different values, and whether that is exact.
    pub fn estimate(&self) -> (u64, bool) {
        match self {
            Distinct::Exact(hashes) => (hashes.len() as u64, true),
            Distinct::Registers(registers) => (estimate(registers).round() as u64, false),
        }
    }
    /// Memory outside of the struct, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Distinct::Exact(hashes) => hashes.capacity() * 8,
            Distinct::Registers(registers) => registers.len(),
        }
    }
    /// Hashes ascending, or registers of six bits.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Distinct::Exact(hashes) => {
                put(out, hashes.len() as u128);
                hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
            }
            Distinct::Registers(registers) => {
                put(out, EXACT_MAX as u128 + 1);
                for four in registers.chunks(4) {
                    let word = four.iter().rev().fold(0u32, |word, rank| word << 6 | u32::from(*rank));
                    out.extend_from_slice(&word.to_le_bytes()[..3]);
                }
            }
        }
    }
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Distinct> {
        let length = usize::try_from(reader.count()?).map_err(|_| corrupt())?;
        if length <= EXACT_MAX {
            let (words, _) = reader.take(length * 8)?.as_chunks::<8>();
            let hashes: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
            return if hashes.is_sorted_by(|a, b| a < b) { Ok(Distinct::Exact(hashes)) } else { Err(corrupt()) };
        }
        if length != EXACT_MAX + 1 {
            return Err(corrupt());
        }
        let mut registers = Vec::with_capacity(REGISTERS);
        for three in reader.take(REGISTERS / 4 * 3)?.chunks(3) {
            let word = three.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
            registers.extend((0..4).map(|i| (word >> (6 * i) & 63) as u8));
        }
        if registers.iter().any(|rank| *rank > RANK_MAX) {
            return Err(corrupt());
        }
        Ok(Distinct::Registers(registers.into_boxed_slice()))
    }
}

#[inline]
fn note(registers: &mut [u8], hash: u64) {
    let rank = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() as u8 + 1;
    let register = &mut registers[(hash >> (64 - PRECISION)) as usize];
    *register = (*register).max(rank);
}

fn union(a: &[u64], b: &[u64]) -> Vec<u64> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        out.push(*x.min(y));
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
    out
}

/// Ertl's improved raw estimator: no tables, no bias correction, good from zero to 2^64.
fn estimate(registers: &[u8]) -> f64 {
    let mut counts = [0u32; RANK_MAX as usize + 1];
    registers.iter().for_each(|rank| counts[usize::from(*rank)] += 1);
    let m = REGISTERS as f64;
    let mut z = m * tau(1.0 - f64::from(counts[usize::from(RANK_MAX)]) / m);
    for count in counts[1..usize::from(RANK_MAX)].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += m * sigma(f64::from(counts[0]) / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: std::ops::Range<i64>) -> Distinct {
        let mut distinct = Distinct::default();
        values.for_each(|n| distinct.insert(hash_integer(n)));
        distinct
    }

    #[test]
    fn exact_to_the_bound_and_near_beyond_it() {
        assert_eq!(of(0..1_024).estimate(), (1_024, true));
        for n in [1_025, 2_000, 5_000, 20_000, 100_000, 1_000_000] {
            let (estimate, exact) = of(0..n).estimate();
            let error = (estimate as f64 - n as f64).abs() / n as f64;
            assert!(!exact && error < 3.0 * STANDARD_ERROR, "{n}: {estimate}");
        }
    }

    #[test]
    fn types_are_told_apart() {
        let same = [
            Value::text("1"),
            Value::Int(1),
            Value::Bool(true),
            Value::Decimal(1, 0),
            Value::Decimal(1, 1),
            Value::Float(1.0),
            Value::text(""),
            Value::text("\0"),
            Value::text("null"),
        ];
        let hashes: std::collections::BTreeSet<u64> = same.iter().filter_map(hash).collect();
        assert_eq!(hashes.len(), same.len());
        assert_eq!(hash(&Value::Null), None);
        assert_eq!(hash(&Value::Float(-0.0)), hash(&Value::Float(0.0)));
    }

    #[test]
    fn the_kind_of_partial_depends_on_the_set_alone() {
        let (mut a, mut b) = (of(0..900), of(500..1_024));
        a.combine(&b);
        assert_eq!(a, of(0..1_024));
        a.insert(hash_integer(1_024));
        b.combine(&of(0..600));
        b.combine(&of(1_000..1_025));
        assert_eq!(a, b);
        assert!(matches!(a, Distinct::Registers(_)));
    }
}
