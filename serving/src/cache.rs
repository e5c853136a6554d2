//! The cache of blocks and of what they were rolled up to.
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use seam_shared::Result;
use seam_shared::log::Offset;
use seam_shared::state::ViewId;

use crate::block::{Block, Shape};
use crate::lru::Lru;

/// What names an immutable block for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKey {
    /// A file of a generation, by view and content hash.
    File(ViewId, Arc<str>),
    /// A closed segment: view, partition, the state's epoch as this process counts it, and the segment's start and end.
    Segment(ViewId, u32, u64, Offset, Offset),
    /// A roll-up of a block.
    RollUp(Box<BlockKey>, Shape),
}

/// The name of a block in another shape; `None` if it has no name, or is in that shape.
fn roll_up_key(block: &Block, shape: Shape) -> Option<BlockKey> {
    let by_key = block.by_key().filter(|by_key| by_key.shape() != Some(shape))?;
    Some(BlockKey::RollUp(Box::new(by_key.name.clone()?), shape))
}

/// Blocks, those that were not used for long leaving first once they exceed a number of bytes.
#[derive(Debug)]
pub struct BlockCache {
    held: Lru<BlockKey, Arc<Block>>,
    loading: Vec<tokio::sync::Mutex<()>>,
}

impl BlockCache {
    /// A cache of at most `capacity` bytes. A block that is larger than that is answered from but not kept.
    pub fn new(capacity: usize) -> BlockCache {
        BlockCache { held: Lru::new(capacity), loading: (0..64).map(|_| tokio::sync::Mutex::new(())).collect() }
    }
    /// The block, if it is held.
    pub fn get(&self, key: &BlockKey) -> Option<Arc<Block>> {
        self.held.get(key)
    }
    /// The block, loaded if it is not held; callers that want the same one wait for one load. `None` when there is none.
    pub async fn get_or_load<F>(&self, key: &BlockKey, load: F) -> Result<Option<Arc<Block>>>
    where
        F: Future<Output = Result<Option<Block>>>,
    {
        if let Some(block) = self.get(key) {
            return Ok(Some(block));
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let slot = hasher.finish() as usize % self.loading.len();
        let _one_loads = self.loading[slot].lock().await;
        if let Some(block) = self.get(key) {
            return Ok(Some(block));
        }
        let Some(block) = load.await?.map(|block| Arc::new(block.named(key))) else { return Ok(None) };
        self.held.insert(key.clone(), block.clone(), block.bytes());
        Ok(Some(block))
    }
    /// A block in another shape, made if it is not held. A block without a name stays as it is.
    pub fn roll_up(&self, block: &Arc<Block>, shape: Shape) -> Arc<Block> {
        let Some(key) = roll_up_key(block, shape) else { return block.clone() };
        if let Some(rolled) = self.get(&key) {
            return rolled;
        }
        // Panes are made wider where there are few rows already.
        let from =
            if shape.width.is_some() { self.roll_up(block, Shape { width: None, ..shape }) } else { block.clone() };
        let Some(by_key) = from.by_key() else { return from };
        let rolled = Arc::new(by_key.roll_up(shape).named(&key));
        self.held.insert(key, rolled.clone(), rolled.bytes());
        rolled
    }
    /// A block in another shape, if it is held so.
    pub fn held_roll_up(&self, block: &Block, shape: Shape) -> Option<Arc<Block>> {
        self.get(&roll_up_key(block, shape)?)
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.held.bytes()
    }
}
