//! The speed layer's part of what was pinned, segment by segment.
use std::sync::Arc;

use seam_shared::log::Partition;
use seam_shared::state::ClosedSegment;
use seam_shared::view::definition::View;
use seam_shared::{Error, Kind, Result};

use crate::Serving;
use crate::block::Block;
use crate::pin::halves::Halves;
use crate::pin::pinned::PinnedView;
use crate::pin::speed_view::Held;

impl Serving {
    /// A closed segment of what was pinned.
    ///
    /// # Errors
    /// `NotFound` when it was retired since.
    pub(crate) async fn segment(
        &self,
        partition: &Partition,
        view: &View,
        held: &Held,
        segment: ClosedSegment,
    ) -> Result<Arc<Block>, Error> {
        // A store that went away since the pin is one that no longer holds the segment: the next pin does without it.
        let gone = || Error::not_found(format!("segment {} of {partition} is no longer held", segment.start));
        let closed = self.speed().closed(partition, &view.id, held, segment, self.cache()).await;
        closed.map_err(|e| if e.kind() == Kind::Unavailable { gone().because(e) } else { e })?.ok_or_else(gone)
    }

    /// What the speed layer adds to a pinned view, segment by segment: only one that is not in the cache is held at a time.
    ///
    /// # Errors
    /// `NotFound` when a segment was retired since.
    pub(crate) async fn for_each_segment(&self, pinned: &PinnedView, mut each: impl FnMut(&Block)) -> Result<()> {
        for (&number, part) in &pinned.parts {
            let (Some(held), Some(segments)) = (&part.held, &part.segments) else { continue };
            let partition = Partition::new(pinned.view.source.name.as_str(), number);
            for segment in segments {
                let block = self.segment(&partition, &pinned.view, held, *segment).await?;
                each(&block);
            }
            each(&held.open.block());
        }
        Ok(())
    }

    /// The blocks of the speed layer's part of a view.
    pub(crate) async fn speed_half(&self, view: &PinnedView) -> Result<Halves, Error> {
        let mut halves = Halves::default();
        for (&number, part) in &view.parts {
            let (Some(held), Some(segments)) = (&part.held, &part.segments) else { continue };
            let partition = Partition::new(view.view.source.name.as_str(), number);
            for segment in segments {
                halves.speed.push(self.segment(&partition, &view.view, held, *segment).await?);
            }
            halves.speed.push(held.open.block());
        }
        Ok(halves)
    }
}
