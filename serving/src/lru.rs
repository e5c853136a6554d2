//! A map that keeps within a number of bytes: what was used least recently leaves first.
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

/// What an entry takes beside its value, so that many small ones keep within the bytes too.
const ENTRY_BYTES: usize = 160;

/// A bounded map for many threads.
#[derive(Debug)]
pub struct Lru<K, V> {
    capacity: usize,
    held: Mutex<Held<K, V>>,
}

#[derive(Debug)]
struct Held<K, V> {
    entries: HashMap<K, Entry<V>>,
    by_age: BTreeMap<u64, K>,
    bytes: usize,
    tick: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    age: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Lru<K, V> {
    /// A map of at most `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let held = Held { entries: HashMap::new(), by_age: BTreeMap::new(), bytes: 0, tick: 0 };
        Lru { capacity, held: Mutex::new(held) }
    }
    /// The value, if it is held; it is now the most recently used.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut held = self.lock();
        let Held { entries, by_age, tick, .. } = &mut *held;
        let entry = entries.get_mut(key)?;
        *tick += 1;
        let key = by_age.remove(&entry.age).expect("every entry has its age");
        by_age.insert(*tick, key);
        entry.age = *tick;
        Some(entry.value.clone())
    }
    /// Keeps a value that takes `bytes`, unless it is larger than the map may be.
    pub fn insert(&self, key: K, value: V, bytes: usize) {
        let bytes = bytes + ENTRY_BYTES;
        if bytes > self.capacity {
            return;
        }
        let mut held = self.lock();
        if let Some(old) = held.entries.remove(&key) {
            held.bytes -= old.bytes;
            held.by_age.remove(&old.age);
        }
        while held.bytes + bytes > self.capacity {
            let Some((_, oldest)) = held.by_age.pop_first() else { break };
            if let Some(gone) = held.entries.remove(&oldest) {
                held.bytes -= gone.bytes;
            }
        }
        held.tick += 1;
        let age = held.tick;
        held.by_age.insert(age, key.clone());
        held.entries.insert(key, Entry { value, bytes, age });
        held.bytes += bytes;
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }
    /// A number for a key, the same as long as this map lives.
    pub fn hash(&self, key: &K) -> u64 {
        self.lock().entries.hasher().hash_one(key)
    }

    fn lock(&self) -> MutexGuard<'_, Held<K, V>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_within_its_bytes_and_forgets_the_least_recently_used() {
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
