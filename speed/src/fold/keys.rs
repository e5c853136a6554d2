//! What rows are grouped by: pane ends and codes as words of a key, and their hashes.
use seam_shared::time::Timestamp;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a view groups a run of events by.
#[derive(Debug)]
pub struct Keys<'a> {
    /// The pane end of each.
    pub panes: &'a [Timestamp],
    /// By dimension: the code of each.
    pub codes: &'a [&'a [u32]],
    /// The hash of each pane end with its codes.
    pub hashes: &'a [u64],
}

/// The hashes of a run's keys, a column at a time: no event waits for the one before.
pub fn hash_all(panes: &[Timestamp], codes: &[&[u32]], out: &mut Vec<u64>) {
    out.clear();
    out.extend(panes.iter().map(|pane| mix(SEED, pane.0.cast_unsigned())));
    hash_more(out, codes);
}

/// The hashes of keys that go on with more columns.
pub fn hash_more(hashes: &mut [u64], codes: &[&[u32]]) {
    for column in codes {
        hashes.iter_mut().zip(*column).for_each(|(hash, &code)| *hash = mix(*hash, u64::from(code)));
    }
}

/// The hash of one key, as [`hash_all`] has it.
#[inline]
pub fn hash(key: &[u32]) -> u64 {
    let pane = u64::from_ne_bytes(join(key[0], key[1]));
    key[2..].iter().fold(mix(SEED, pane), |hash, &code| mix(hash, u64::from(code)))
}

/// Folded multiplication. Keys are our own codes, so no secret is needed.
#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * 0xa076_1d64_78bd_642f_u128;
    (product as u64 ^ (product >> 64) as u64).wrapping_add(0xe703_7ed1_a0b4_28db)
}

/// Puts a pane's end into the first two words of a key.
#[inline]
pub fn split(pane: Timestamp, key: &mut [u32]) {
    let bits = pane.0.cast_unsigned();
    key[0] = bits as u32;
    key[1] = (bits >> 32) as u32;
}

/// The bytes of the pane's end that two words hold.
#[inline]
pub fn join(low: u32, high: u32) -> [u8; 8] {
    (u64::from(low) | u64::from(high) << 32).to_ne_bytes()
}
