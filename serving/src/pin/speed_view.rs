//! The speed half: atomic snapshots of all needed views of a partition.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hashbrown::HashMap;
use seam_shared::lock::lock;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::{ClosedSegment, Progress, Snapshot, StateStore, ViewId};
use seam_shared::{Error, Result};
use tokio::time::Instant;

use crate::block::Block;
use crate::block::key::BlockKey;
use crate::block::open::{Open, Sorted};
use crate::cache::BlockCache;

/// How long the state store may take to answer before the answer does without it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is left alone after it failed: queries do not queue up to find out again.
const LEFT_ALONE: Duration = Duration::from_millis(250);

/// One view of one partition at one moment, its open segment ready to scan.
#[derive(Debug)]
pub struct Held {
    /// Position, floor and open segment.
    pub progress: Progress,
    /// The closed segments at or above the floor, in order.
    pub closed: Arc<[ClosedSegment]>,
    /// The open segment's rows.
    pub open: Open,
    /// How often this process has seen the state fall back: part of the names of its closed segments.
    pub(crate) epoch: u64,
}

/// Views of one partition at one moment; `None` for a view without state.
pub type Moment = Vec<Option<Arc<Held>>>;

/// What is remembered of a view between moments. It holds no rows of the store's, which would have to copy them on its next
/// write.
#[derive(Debug, Clone)]
struct Earlier {
    progress: Progress,
    closed: Arc<[ClosedSegment]>,
    sorted: Arc<Sorted>,
    pub(crate) epoch: u64,
}

/// Some views of one partition.
#[derive(Debug, Default)]
struct Slot {
    /// What to compare their next moment with.
    earlier: Vec<Option<Earlier>>,
    /// When the store last failed to answer, and how.
    failed: Option<(Instant, String)>,
}

/// A reader of the state store.
#[derive(Debug)]
pub struct SpeedView {
    state: Arc<dyn StateStore>,
    /// By partition and views.
    slots: Mutex<HashMap<(Partition, Vec<ViewId>), Arc<tokio::sync::Mutex<Slot>>>>,
}

impl SpeedView {
    /// A reader of that store.
    pub fn new(state: Arc<dyn StateStore>) -> SpeedView {
        SpeedView { state, slots: Mutex::default() }
    }
    /// The views of a partition at one moment from now on.
    ///
    /// # Errors
    /// As [`StateStore::snapshot`].
    pub async fn moment(&self, partition: &Partition, views: &[ViewId]) -> Result<Moment> {
        let key = (partition.clone(), views.to_vec());
        let slot = {
            let mut slots = lock(&self.slots);
            slots.entry(key).or_default().clone()
        };
        let mut slot = slot.lock().await;
        if let Some((at, why)) = &slot.failed
            && at.elapsed() < LEFT_ALONE
        {
            return Err(Error::unavailable(why.clone()));
        }
        let asked = tokio::time::timeout(PATIENCE, self.state.snapshot(partition, views)).await;
        let late = || Error::unavailable(format!("the state store did not answer within {} ms", PATIENCE.as_millis()));
        let snapshots = asked.unwrap_or_else(|_| Err(late())).inspect_err(|error| {
            slot.failed = Some((Instant::now(), error.to_string()));
        })?;
        slot.failed = None;
        slot.earlier.resize(snapshots.len(), None);
        let held = views.iter().zip(snapshots).zip(&mut slot.earlier).map(|((view, snapshot), earlier)| {
            let held = Arc::new(hold(view, partition.number, snapshot?, earlier.as_ref()));
            *earlier = Some(held.remember());
            Some(held)
        });
        Ok(held.collect())
    }
    /// A closed segment's rows; `None` when the store no longer holds it.
    ///
    /// # Errors
    /// As [`StateStore::segment`].
    pub async fn closed(
        &self,
        partition: &Partition,
        view: &ViewId,
        held: &Held,
        segment: ClosedSegment,
        cache: &BlockCache,
    ) -> Result<Option<Arc<Block>>> {
        let key = BlockKey::Segment(view.clone(), partition.number, held.epoch, segment.start, segment.end);
        if let Some(block) = cache.get(&key) {
            return Ok(Some(block));
        }
        let load = async {
            let rows = self.state.segment(partition, view, segment.start).await?;
            Ok(rows.map(|rows| Block::sorted(Arc::unwrap_or_clone(rows))))
        };
        Box::pin(cache.get_or_load(&key, load)).await
    }
}

/// A snapshot ready for queries. Where nothing was folded since the earlier one, its rows are the same.
fn hold(view: &ViewId, partition: u32, snapshot: Snapshot, earlier: Option<&Earlier>) -> Held {
    let Snapshot { progress, closed, open } = snapshot;
    let fell_back =
        |earlier: &Earlier| progress.position < earlier.progress.position || progress.floor < earlier.progress.floor;
    let epoch = earlier.map_or(0, |earlier| earlier.epoch + u64::from(fell_back(earlier)));
    // A segment that ended here would hold the same.
    let name = BlockKey::Segment(view.clone(), partition, epoch, progress.segment.start, progress.position);
    match earlier.filter(|earlier| earlier.progress == progress && *earlier.closed == closed[..]) {
        Some(Earlier { closed, sorted, .. }) => {
            Held { progress, closed: closed.clone(), open: Open::resume(open, name, sorted.clone()), epoch }
        }
        None => Held { progress, closed: closed.into(), open: Open::new(open, name), epoch },
    }
}

impl Held {
    fn remember(&self) -> Earlier {
        let Held { progress, closed, open, epoch } = self;
        Earlier { progress: *progress, closed: closed.clone(), sorted: open.sorted(), epoch: *epoch }
    }
    /// The segments that make up `[from, position)`: closed ones, then the open one. `None` if `from` is no boundary of what
    /// is held, or something of it is not held.
    pub fn since(&self, from: Offset) -> Option<&[ClosedSegment]> {
        let first = self.closed.partition_point(|segment| segment.start < from);
        let (before, segments) = self.closed.split_at(first);
        let begins_at_a_boundary = before.last().is_none_or(|segment| segment.end <= from);
        let mut at = from;
        for segment in segments {
            if segment.start != at {
                return None;
            }
            at = segment.end;
        }
        (begins_at_a_boundary && at == self.progress.segment.start && self.progress.floor <= from).then_some(segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seam_shared::segment::OpenSegment;

    fn held(floor: u64, closed: &[(u64, u64)], open: u64, position: u64) -> Held {
        Held {
            progress: Progress {
                position: Offset(position),
                floor: Offset(floor),
                segment: OpenSegment::at(Offset(open)),
                anchor: None,
                excluded: None,
            },
            closed: closed.iter().map(|&(s, e)| ClosedSegment { start: Offset(s), end: Offset(e) }).collect(),
            open: Open::new(Arc::default(), BlockKey::Segment("clicks@1".into(), 0, 0, Offset(open), Offset(position))),
            epoch: 0,
        }
    }

    #[test]
    fn only_an_unbroken_run_of_segments_from_a_boundary_counts() {
        let whole = held(10, &[(10, 20), (20, 35)], 35, 40);
        assert_eq!(whole.since(Offset(10)).map(<[_]>::len), Some(2));
        assert_eq!(whole.since(Offset(20)).map(<[_]>::len), Some(1));
        assert_eq!(whole.since(Offset(35)).map(<[_]>::len), Some(0));
        assert_eq!(whole.since(Offset(15)), None, "inside a segment");
        assert_eq!(whole.since(Offset(0)), None, "below the floor");
        assert_eq!(whole.since(Offset(37)), None, "inside the open segment");
        assert_eq!(held(10, &[(10, 20), (25, 35)], 35, 40).since(Offset(10)), None, "a gap");
        assert_eq!(held(10, &[(10, 20)], 35, 40).since(Offset(10)), None, "a gap before the open segment");
    }
}
