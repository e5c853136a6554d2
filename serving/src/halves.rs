//! What answers are made of: of each pinned view the blocks of its generation and those of the speed layer.
use std::sync::Arc;

use seam_shared::time::Timestamp;

use crate::block::Block;
use crate::scan::Piece;

/// The blocks of one view that an answer is made of.
#[derive(Debug, Clone, Default)]
pub struct Halves {
    /// From the generation.
    pub batch: Vec<Piece>,
    /// From the speed layer.
    pub speed: Vec<Arc<Block>>,
    /// Where the view's data begins, if it has any and that was asked for.
    pub begin: Option<Timestamp>,
    /// About how much work it is to merge them, in rows.
    pub effort: usize,
}

impl Halves {
    /// Rows in all blocks.
    pub fn rows(&self) -> usize {
        self.blocks().map(|block| block.len()).sum()
    }
    /// All blocks, for those who read them whole.
    pub fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.batch.iter().map(|piece| &piece.block).chain(&self.speed)
    }
}
