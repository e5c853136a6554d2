//! The cache of blocks and of what they were rolled up to.
pub mod door;
pub mod lru;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use seam_shared::Result;
use seam_shared::lock::lock;

use crate::block::key::{BlockKey, Shape};
use crate::block::{Block, Facts};

use door::Door;
use lru::Lru;

/// Bytes of what is known of blocks.
const FACTS_BYTES: usize = 16 * 1024 * 1024;

/// The name of a block in another shape; `None` if it has no name, or is in that shape.
fn roll_up_key(block: &Block, shape: Shape) -> Option<BlockKey> {
    let by_key = block.by_key().filter(|by_key| by_key.shape() != Some(shape))?;
    Some(BlockKey::RollUp(by_key.name.clone()?, shape))
}

/// Blocks, those that were not used for long leaving first once they exceed a number of bytes.
#[derive(Debug)]
pub struct BlockCache {
    held: Lru<BlockKey, Arc<Block>>,
    /// What is known of blocks that were held once.
    facts: Lru<BlockKey, Arc<Facts>>,
    loading: Vec<tokio::sync::Mutex<()>>,
    /// Runs of runs that were looked for.
    wanted: Door,
}

impl BlockCache {
    /// A cache of at most `capacity` bytes. A block that is larger than that is answered from but not kept.
    pub fn new(capacity: usize) -> BlockCache {
        let loading = (0..64).map(|_| tokio::sync::Mutex::new(())).collect();
        BlockCache { held: Lru::new(capacity), facts: Lru::new(FACTS_BYTES), loading, wanted: Door::default() }
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
        if let Some(by_key) = block.by_key() {
            self.facts.insert(key.clone(), by_key.facts.clone(), size_of::<Facts>() + by_key.facts.values.len() * 8);
        }
        self.held.insert(key.clone(), block.clone(), block.bytes());
        Ok(Some(block))
    }
    /// What is known of a block that was held once.
    pub fn facts(&self, key: &BlockKey) -> Option<Arc<Facts>> {
        self.facts.get(key)
    }
    /// The shapes in which a block is held beside its own.
    pub fn shapes_held(&self, key: &BlockKey) -> Vec<Shape> {
        let Some(facts) = self.facts(key) else { return Vec::new() };
        let mut shapes = lock(&facts.shapes).clone();
        shapes.retain(|shape| self.held_as(key, *shape).is_some());
        shapes
    }
    /// A block in another shape, if it is held so; the block itself need not be.
    pub fn held_as(&self, key: &BlockKey, shape: Shape) -> Option<Arc<Block>> {
        self.get(&key.rolled_up(shape))
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
        if let Some(by_key) = block.by_key() {
            let mut shapes = lock(&by_key.facts.shapes);
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        self.held.insert(key, rolled.clone(), rolled.bytes());
        rolled
    }
    /// Whether a run of blocks was looked for before: then it is worth to be made.
    pub fn is_wanted(&self, run: &BlockKey) -> bool {
        self.wanted.knock(run)
    }
    /// Blocks that follow each other as one, made if that is not held.
    pub fn run(&self, key: BlockKey, make: impl FnOnce() -> Block) -> Arc<Block> {
        self.get(&key).unwrap_or_else(|| {
            let run = Arc::new(make().named(&key));
            self.held.insert(key, run.clone(), run.bytes());
            run
        })
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
