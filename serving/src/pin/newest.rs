//! Where the events of a view end in their own time: what a picture of its newest events ends with.
use std::sync::Arc;

use seam_shared::Result;
use seam_shared::log::Partition;
use seam_shared::time::Timestamp;

use crate::Serving;
use crate::block::Block;
use crate::pin::pinned::PinnedView;

/// The newest segments that are looked through; older ones hardly ever hold the newest events.
const SEGMENTS: usize = 8;

impl Serving {
    /// The end of the newest pane of what was pinned, among the last file of the generation, the newest closed segments and the open
    /// one; `None` without events. What was retired since it was pinned is left out.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn newest(&self, pinned: &PinnedView) -> Result<Option<Timestamp>> {
        let mut blocks: Vec<Arc<Block>> = Vec::new();
        let mut newest = None;
        if let Some(generation) = &pinned.generation
            && let Some(last) = generation.files.iter().max_by_key(|file| file.slice_end)
        {
            if pinned.view.keyed {
                let footer = self.batch_view(&pinned.view).footer(last, &self.footers).await?;
                newest = footer.panes().map(|(_, last)| last);
            } else {
                let range = (last.slice_start, last.slice_end);
                blocks.extend(self.batch_view(&pinned.view).blocks(generation, range, self.cache()).await?);
            }
        }
        for (&number, part) in &pinned.parts {
            let (Some(held), Some(segments)) = (&part.held, &part.segments) else { continue };
            let partition = Partition::new(pinned.view.source.name.as_str(), number);
            for segment in segments.iter().rev().take(SEGMENTS) {
                blocks.extend(self.speed().closed(&partition, &pinned.view.id, held, *segment, self.cache()).await?);
            }
            blocks.push(held.open.block());
        }
        Ok(blocks.iter().filter_map(|block| last_pane(block)).chain(newest).max())
    }
}

fn last_pane(block: &Block) -> Option<Timestamp> {
    match block {
        Block::ByKey(by_key) => (!by_key.panes.is_empty()).then_some(by_key.span.1),
        Block::AsHeld(rows) => rows.panes.iter().max().copied(),
    }
}
