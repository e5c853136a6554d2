//! One view, pinned: one generation, and one moment of every partition such that the two halves meet.
use std::collections::BTreeMap;
use std::sync::Arc;

use seam_shared::event::batch::Excluded;
use seam_shared::lake::views::Generation;
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::state::{ClosedSegment, ViewId};
use seam_shared::view::definition::View;

use crate::pin::speed_view::Held;

/// One view's part of one partition.
#[derive(Debug)]
pub struct Part {
    /// What the speed layer holds, `None` when it holds nothing.
    pub held: Option<Arc<Held>>,
    /// Whether what it holds is unknown, because the state store cannot be reached.
    pub away: bool,
    /// The closed segments that count; `None` when nothing of the speed layer counts.
    pub segments: Option<Vec<ClosedSegment>>,
    /// Where what counts of the speed layer begins.
    pub from: Offset,
    /// How far the answer reaches: it counts each event below exactly once (from `from` on in the speed layer alone).
    pub coverage: Offset,
}

/// One view, pinned.
#[derive(Debug)]
pub struct PinnedView {
    /// The view.
    pub view: Arc<View>,
    /// The generation; `None` before the first, or when only the speed layer is asked.
    pub generation: Option<Arc<Generation>>,
    /// The definition that is being built to follow it under its name.
    pub successor: Option<ViewId>,
    /// The partitions of its source.
    pub parts: BTreeMap<u32, Part>,
}

impl PinnedView {
    /// How far the answer reaches in each partition.
    pub fn coverage(&self) -> OffsetVector {
        OffsetVector(self.parts.iter().map(|(&number, part)| (number, part.coverage)).collect())
    }
    /// What lies below the coverage and counts nowhere; `None` where that is not known of every partition, and for an answer that begins in
    /// mid-log.
    pub fn excluded(&self) -> Option<Excluded> {
        let of = |(&number, part): (&u32, &Part)| {
            let cut = self.generation.as_ref().map_or(Offset(0), |generation| generation.cut.get(number));
            if part.from > cut {
                return None;
            }
            if part.coverage == cut {
                let generation = self.generation.as_ref();
                return generation.map_or(Some(Excluded::default()), |generation| generation.excluded(number));
            }
            part.held.as_ref()?.progress.excluded
        };
        self.parts.iter().map(of).try_fold(Excluded::default(), |sum, part| Some(sum.plus(part?)))
    }
    /// Where the speed layer stands, in the partitions in which it has state.
    pub fn positions(&self) -> OffsetVector {
        let held = self.parts.iter().filter_map(|(&n, part)| Some((n, part.held.as_ref()?.progress.position)));
        OffsetVector(held.collect())
    }
}
