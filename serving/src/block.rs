//! Blocks: an immutable, scan-ready form of rows, for batch files and speed segments alike; and the cache that keeps them.
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use seam_shared::Result;
use seam_shared::log::Offset;
use seam_shared::state::ViewId;
use seam_shared::time::Timestamp;
use seam_shared::view::rows::{Rows, States};
use seam_shared::view::value::Value;

/// Rows in canonical order (pane, then the dimensions' values; codes compare as their values do) with the place of each pane.
#[derive(Debug, Default)]
pub struct Block {
    rows: Rows,
    /// Each pane's end and its first row, in order.
    panes: Vec<(Timestamp, u32)>,
    bytes: usize,
}

impl Block {
    /// The scan-ready form of `rows`, in any order.
    pub fn new(mut rows: Rows) -> Block {
        rows.sort();
        let mut panes: Vec<(Timestamp, u32)> = Vec::new();
        for (row, &pane) in rows.panes.iter().enumerate() {
            if panes.last().is_none_or(|(last, _)| *last != pane) {
                panes.push((pane, row as u32));
            }
        }
        let bytes = size_of_rows(&rows) + panes.len() * size_of::<(Timestamp, u32)>();
        Block { rows, panes, bytes }
    }
    /// Its rows in canonical order.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// The panes that end in `(after, until]`: each pane's end and its rows.
    pub fn panes(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = (Timestamp, Range<usize>)> {
        let from = self.panes.partition_point(|(pane, _)| *pane <= after);
        let to = self.panes.partition_point(|(pane, _)| *pane <= until).max(from);
        (from..to).map(|i| {
            let end = self.panes.get(i + 1).map_or(self.rows.len(), |(_, row)| *row as usize);
            (self.panes[i].0, self.panes[i].1 as usize..end)
        })
    }
    /// The code of a value in dimension `d`, if any row has it.
    pub fn code(&self, d: usize, value: &Value) -> Option<u32> {
        self.rows.dimensions.get(d)?.values.binary_search(value).ok().map(|code| code as u32)
    }
    /// The part of `range`, rows whose dimensions before `d` are all equal, that has `code` in dimension `d`.
    pub fn narrow(&self, range: Range<usize>, d: usize, code: u32) -> Range<usize> {
        let codes = &self.rows.dimensions[d].codes[range.clone()];
        let from = codes.partition_point(|c| *c < code);
        let to = from + codes[from..].partition_point(|c| *c == code);
        range.start + from..range.start + to
    }
}

fn size_of_value(value: &Value) -> usize {
    size_of::<Value>() + if let Value::Str(text) = value { text.len() + 16 } else { 0 }
}

fn size_of_rows(rows: &Rows) -> usize {
    let dimensions =
        rows.dimensions.iter().map(|d| d.codes.len() * 4 + d.values.iter().map(size_of_value).sum::<usize>());
    let states = rows.states.iter().map(|states| match states {
        States::Count(v) => v.len() * 8,
        States::Fixed(v) => std::mem::size_of_val(v.as_slice()),
        // The limbs of an exact sum lie outside the struct; ordinary data has few.
        States::Float(v) => std::mem::size_of_val(v.as_slice()) + v.len() * 48,
    });
    rows.panes.len() * 8 + dimensions.sum::<usize>() + states.sum::<usize>()
}

/// What names an immutable block for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKey {
    /// A file of a generation, by view and content hash.
    File(ViewId, Arc<str>),
    /// A closed segment: view, partition, the state's epoch as this process counts it, and the segment's start and end.
    Segment(ViewId, u32, u64, Offset, Offset),
}

/// Decoded blocks, the least recently used leaving first once they exceed a number of bytes.
#[derive(Debug)]
pub struct BlockCache {
    capacity: usize,
    held: Mutex<Held>,
    loading: Vec<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Held {
    blocks: HashMap<BlockKey, (Arc<Block>, u64)>,
    by_age: BTreeMap<u64, BlockKey>,
    bytes: usize,
    tick: u64,
}

impl BlockCache {
    /// A cache of at most `capacity` bytes. A block that is larger than that is answered from but not kept.
    pub fn new(capacity: usize) -> BlockCache {
        let loading = (0..64).map(|_| tokio::sync::Mutex::new(())).collect();
        BlockCache { capacity, held: Mutex::default(), loading }
    }
    /// The block, if it is held.
    pub fn get(&self, key: &BlockKey) -> Option<Arc<Block>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Held { blocks, by_age, tick, .. } = &mut *held;
        let (block, age) = blocks.get_mut(key)?;
        *tick += 1;
        let key = by_age.remove(age).expect("every held block has its age");
        by_age.insert(*tick, key);
        *age = *tick;
        Some(block.clone())
    }
    /// The block, loaded if it is not held; callers that want the same one wait for one load. `None` when there is none.
    pub async fn get_or_load<F>(&self, key: &BlockKey, load: F) -> Result<Option<Arc<Block>>>
    where
        F: Future<Output = Result<Option<Block>>>,
    {
        if let Some(block) = self.get(key) {
            return Ok(Some(block));
        }
        let slot = {
            use std::hash::BuildHasher;
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.blocks.hasher().hash_one(key) as usize % self.loading.len()
        };
        let _one_loads = self.loading[slot].lock().await;
        if let Some(block) = self.get(key) {
            return Ok(Some(block));
        }
        let Some(block) = load.await?.map(Arc::new) else { return Ok(None) };
        self.insert(key.clone(), block.clone());
        Ok(Some(block))
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    fn insert(&self, key: BlockKey, block: Arc<Block>) {
        let size = block.bytes();
        if size > self.capacity {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.bytes + size > self.capacity {
            let Some((_, oldest)) = held.by_age.pop_first() else { break };
            if let Some((gone, _)) = held.blocks.remove(&oldest) {
                held.bytes -= gone.bytes();
            }
        }
        held.tick += 1;
        let tick = held.tick;
        if let Some((old, age)) = held.blocks.insert(key.clone(), (block, tick)) {
            held.bytes -= old.bytes();
            held.by_age.remove(&age);
        }
        held.by_age.insert(tick, key);
        held.bytes += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seam_shared::view::definition::StateKind;

    fn rows(n: u64) -> Rows {
        let mut rows = Rows::empty(2, &[StateKind::Count]);
        for i in 0..n {
            let (a, b) = (format!("a{}", (i * 7) % 5), (i * 3 % 4) as i64);
            let row = rows.push_row(Timestamp(60 - 20 * (i as i64 % 3)), &[Value::text(&a), Value::Int(b)]);
            rows.states[0].lift(row, &Value::Null);
        }
        rows
    }

    #[test]
    fn narrowing_finds_exactly_the_rows_of_a_key() {
        let block = Block::new(rows(60));
        let panes: Vec<_> = block.panes(Timestamp(20), Timestamp(60)).collect();
        assert_eq!(panes.iter().map(|p| p.0.0).collect::<Vec<_>>(), [40, 60]);
        for (_, range) in panes {
            assert_eq!(range.len(), 20);
            for (a, b) in [("a0", 0), ("a4", 3), ("a2", 1)] {
                let first = block.narrow(range.clone(), 0, block.code(0, &Value::text(a)).expect("held"));
                assert_eq!(first.len(), 4);
                let both = block.narrow(first, 1, block.code(1, &Value::Int(b)).expect("held"));
                assert_eq!(both.len(), 1);
                assert_eq!(block.rows().value(0, both.start), &Value::text(a));
                assert_eq!(block.rows().value(1, both.start), &Value::Int(b));
            }
        }
        assert_eq!(block.code(0, &Value::text("zz")), None);
        assert_eq!(block.panes(Timestamp(60), Timestamp(99)).count(), 0);
        assert_eq!(Block::new(Rows::default()).panes(Timestamp(0), Timestamp(99)).count(), 0);
    }

    #[test]
    fn the_cache_keeps_within_its_bytes_and_forgets_the_least_recently_used() {
        let size = Block::new(rows(60)).bytes();
        let cache = BlockCache::new(size * 3);
        let key = |n: u64| BlockKey::Segment("v@1".into(), 0, 0, Offset(n), Offset(n + 1));
        for n in 0..3 {
            cache.insert(key(n), Arc::new(Block::new(rows(60))));
        }
        assert!(cache.get(&key(0)).is_some());
        cache.insert(key(3), Arc::new(Block::new(rows(60))));
        assert_eq!(cache.bytes(), size * 3);
        assert!(cache.get(&key(1)).is_none(), "the least recently used went");
        assert!(cache.get(&key(0)).is_some() && cache.get(&key(2)).is_some() && cache.get(&key(3)).is_some());
        cache.insert(key(9), Arc::new(Block::new(rows(600))));
        assert!(cache.bytes() <= size * 3, "a block beyond the capacity is not kept");
    }
}
