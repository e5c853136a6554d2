//! From integers to small numbers: the one hash table of the fold, with keys and numbers side by side.

const EMPTY: u32 = u32::MAX;
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// What can be looked up.
pub trait Key: Copy + Eq + Default {
    /// All of the key in 64 bits, of which the highest depend on all others once multiplied.
    fn folded(self) -> u64;
}

impl Key for u64 {
    #[inline]
    fn folded(self) -> u64 {
        self ^ self >> 32
    }
}

impl Key for u128 {
    #[inline]
    fn folded(self) -> u64 {
        (self as u64).wrapping_mul(SPREAD) ^ ((self >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }
}

/// An open-addressing table with at least `ROOM` slots a key: with much room almost every look is the first, which a processor
/// foresees; with little the table is small. An empty one takes no memory.
#[derive(Debug, Default)]
pub struct Index<K, const ROOM: usize> {
    slots: Vec<(K, u32)>,
    len: usize,
}

impl<K: Key, const ROOM: usize> Index<K, ROOM> {
    /// The number of `key`; `make` names a new key's.
    #[inline]
    pub fn get_or_insert(&mut self, key: K, make: impl FnOnce() -> u32) -> u32 {
        if self.len * ROOM >= self.slots.len() {
            self.grow();
        }
        let at = self.find(key);
        let (_, number) = self.slots[at];
        if number != EMPTY {
            return number;
        }
        let number = make();
        self.slots[at] = (key, number);
        self.len += 1;
        number
    }
    /// Where the key is or would be.
    #[inline]
    fn find(&self, key: K) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (key.folded().wrapping_mul(SPREAD) >> 32) as usize & mask;
        while self.slots[at].1 != EMPTY && self.slots[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }
    #[cold]
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(16);
        let old = std::mem::replace(&mut self.slots, vec![(K::default(), EMPTY); size]);
        for (key, number) in old.into_iter().filter(|(_, number)| *number != EMPTY) {
            let at = self.find(key);
            self.slots[at] = (key, number);
        }
    }
}

/// Distinct keys, numbered in the order in which they first came.
#[derive(Debug, Default)]
pub struct Numbered<const ROOM: usize> {
    index: Index<u64, ROOM>,
    keys: Vec<u64>,
}

impl<const ROOM: usize> Numbered<ROOM> {
    /// The key's number.
    #[inline]
    pub fn number(&mut self, key: u64) -> u32 {
        let keys = &mut self.keys;
        self.index.get_or_insert(key, || {
            keys.push(key);
            keys.len() as u32 - 1
        })
    }
    /// The keys by number.
    pub fn keys(&self) -> &[u64] {
        &self.keys
    }
}
