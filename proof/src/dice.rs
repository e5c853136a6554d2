//! Seeded chance.
use std::sync::atomic::{AtomicU64, Ordering};

/// SplitMix64, shared by all that one seed drives.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed.wrapping_mul(0xD134_2543_DE82_EF95)))
    }
    /// The next number below `limit`.
    pub fn below(&self, limit: u64) -> u64 {
        let z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
    /// Whether one of `n` equal chances came up.
    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
    /// One of them.
    pub fn pick<'a, T: ?Sized>(&self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
