//! What was written last of each group, as far as memory allows: a group that was touched and says the same is not written again.
use bytes::Bytes;
use hashbrown::HashMap;

/// The measures written last, by key. Bounded: what was not looked at for long is forgotten.
#[derive(Debug)]
pub struct Remembered {
    limit: usize,
    bytes: usize,
    current: HashMap<Bytes, Bytes>,
    /// What was there before `current` began; gone when `current` is half of the limit.
    previous: HashMap<Bytes, Bytes>,
}

impl Remembered {
    /// Nothing yet; about `limit` bytes at most.
    pub fn new(limit: usize) -> Remembered {
        Remembered { limit, bytes: 0, current: HashMap::new(), previous: HashMap::new() }
    }
    /// The measures written last under a key, if they are known.
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.current.get(key).or_else(|| self.previous.get(key))
    }
    /// Notes what was written.
    pub fn note(&mut self, key: Bytes, measures: Bytes) {
        self.bytes += key.len() + measures.len() + 2 * size_of::<Bytes>();
        if let Some(before) = self.current.insert(key.clone(), measures) {
            self.bytes -= key.len() + before.len() + 2 * size_of::<Bytes>();
        }
        if self.bytes > self.limit / 2 {
            self.previous = std::mem::take(&mut self.current);
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_known_and_memory_is_bounded() {
        let mut remembered = Remembered::new(20_000);
        let text = |i: u32| Bytes::from(format!("{i:08}"));
        for i in 0..10_000 {
            remembered.note(text(i), text(i));
            remembered.note(text(i), text(i + 1));
            assert_eq!(remembered.get(&text(i)), Some(&text(i + 1)));
        }
        assert!(remembered.current.len() + remembered.previous.len() < 400);
        assert_eq!(remembered.get(&text(0)), None);
        assert!(remembered.get(&text(9_900)).is_some());
    }
}
