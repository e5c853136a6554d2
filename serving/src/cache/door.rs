//! The door of a cache: only what is asked for a second time goes in. What is asked once would push out what is asked often, and
//! all memory would be touched in turn.
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;

/// How many keys are remembered at most.
const SLOTS: usize = 4_096;

/// The hashes of keys that were asked for of late; a key forgets the one that had its place.
#[derive(Debug)]
pub struct Door {
    seen: Vec<AtomicU64>,
    hasher: DefaultHashBuilder,
}

impl Default for Door {
    fn default() -> Self {
        Door { seen: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), hasher: DefaultHashBuilder::default() }
    }
}

impl Door {
    /// Whether the key was asked for before; from now on it was. May be wrong: that costs time, nothing else.
    pub fn knock(&self, key: &(impl Hash + ?Sized)) -> bool {
        let hash = self.hasher.hash_one(key);
        self.seen[hash as usize % SLOTS].swap(hash, Ordering::Relaxed) == hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_who_was_there_of_late() {
        let door = Door::default();
        assert!(!door.knock("a"));
        assert!(door.knock("a") && door.knock("a"));
        let strangers = (0..SLOTS * 8).filter(|number| door.knock(&number.to_string())).count();
        assert_eq!(strangers, 0);
        assert!(!door.knock("a"), "others took its place");
    }
}
