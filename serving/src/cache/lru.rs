//! A map that keeps within a number of bytes: what was not used for long leaves first, by the second-chance rule.
use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};

use hashbrown::HashMap;
use seam_shared::lock::lock;

/// What an entry takes beside its value, so that many small ones keep within the bytes too.
const ENTRY_BYTES: usize = 160;

/// A bounded map for many threads. A use only marks its entry; entries come up for removal in the order in which they were
/// put in, and one that was used since it last came up goes to the end of the queue instead.
#[derive(Debug)]
pub struct Lru<K, V> {
    capacity: usize,
    held: Mutex<Held<K, V>>,
}

#[derive(Debug)]
struct Held<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// The key of each entry, once.
    queue: VecDeque<K>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: bool,
}

impl<K: Clone + Eq + Hash, V: Clone> Lru<K, V> {
    /// A map of at most `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let held = Held { entries: HashMap::new(), queue: VecDeque::new(), bytes: 0 };
        Lru { capacity, held: Mutex::new(held) }
    }
    /// The value, if it is held; it now counts as used.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut held = self.lock();
        let entry = held.entries.get_mut(key)?;
        entry.used = true;
        Some(entry.value.clone())
    }
    /// Keeps a value that takes `bytes`, unless it is larger than the map may be.
    pub fn insert(&self, key: K, value: V, bytes: usize) {
        let bytes = bytes + ENTRY_BYTES;
        if bytes > self.capacity {
            return;
        }
        let mut held = self.lock();
        if let Some(entry) = held.entries.get_mut(&key) {
            let before = std::mem::replace(entry, Entry { value, bytes, used: true }).bytes;
            held.bytes = held.bytes - before + bytes;
            return held.shrink(self.capacity);
        }
        held.shrink(self.capacity - bytes);
        held.bytes += bytes;
        held.queue.push_back(key.clone());
        held.entries.insert(key, Entry { value, bytes, used: false });
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Held<K, V>> {
        lock(&self.held)
    }
}

impl<K: Eq + Hash, V> Held<K, V> {
    /// Removes entries until no more than `bytes` are held.
    fn shrink(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(key) = self.queue.pop_front() else { return };
            match self.entries.get_mut(&key) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.queue.push_back(key);
                }
                _ => self.bytes -= self.entries.remove(&key).map_or(0, |gone| gone.bytes),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_within_its_bytes_and_forgets_what_was_not_used() {
        let entry = 100 + ENTRY_BYTES;
        let held: Lru<u64, char> = Lru::new(entry * 3);
        for (key, value) in [(0, 'a'), (1, 'b'), (2, 'c')] {
            held.insert(key, value, 100);
        }
        assert_eq!(held.get(&0), Some('a'));
        held.insert(3, 'd', 100);
        assert_eq!(held.bytes(), entry * 3);
        assert_eq!([0, 1, 2, 3].map(|key| held.get(&key)), [Some('a'), None, Some('c'), Some('d')]);
        held.insert(9, 'x', entry * 3);
        assert_eq!(held.get(&9), None, "larger than all that may be held");
        held.insert(2, 'e', 100);
        assert_eq!((held.get(&2), held.bytes()), (Some('e'), entry * 3), "replaced, not counted twice");
        held.insert(4, 'f', 100 + 2 * entry);
        assert_eq!((held.get(&4), held.bytes()), (Some('f'), entry * 3));
        assert_eq!(held.get(&2), None);
    }

    #[test]
    fn nothing_at_all_takes_room_too() {
        let held: Lru<u64, ()> = Lru::new(ENTRY_BYTES * 10);
        (0..1_000).for_each(|key| held.insert(key, (), 0));
        assert_eq!((0..1_000).filter(|key| held.get(key).is_some()).count(), 10);
    }
}
