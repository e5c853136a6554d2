//! What names a block for ever: what its rows were read from, and in which shape they are.
use std::sync::Arc;

use seam_shared::log::Offset;
use seam_shared::state::ViewId;
use seam_shared::time::Span;

/// What names an immutable block for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKey {
    /// A file of a generation: by view and content hash. See [`BlockKey::file`].
    File(ViewId, [u8; 32]),
    /// A closed segment: view, partition, the state's epoch as this process counts it, and the segment's start and end.
    Segment(ViewId, u32, u64, Offset, Offset),
    /// A roll-up of a block.
    RollUp(Arc<BlockKey>, Shape),
    /// Blocks that follow each other, merged.
    Run(Arc<[BlockKey]>, Shape),
}

impl BlockKey {
    /// The name of a file of a view, with its content hash in hexadecimal digits.
    pub fn file(view: &ViewId, blake3: &str) -> BlockKey {
        let hash = blake3::Hash::from_hex(blake3).unwrap_or_else(|_| blake3::hash(blake3.as_bytes()));
        BlockKey::File(view.clone(), *hash.as_bytes())
    }
    /// The name of what it names in another shape.
    pub fn rolled_up(&self, shape: Shape) -> BlockKey {
        BlockKey::RollUp(Arc::new(self.clone()), shape)
    }
}

/// What a roll-up keeps of rows: some dimensions, and panes of some width. What is left out is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// Bit `d` is set if dimension `d` is kept.
    pub dimensions: u64,
    /// The width of the panes; `None` for those of the view.
    pub width: Option<Span>,
}
