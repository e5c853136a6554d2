//! The state port: what the speed layer holds of the log that no generation covers yet. Disposable: it may lose everything.
pub mod contract;
pub mod embedded;
mod held;
pub mod memory;
mod open_rows;
#[cfg(feature = "redis")]
pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event::batch::Excluded;
use crate::log::{Anchor, Offset, Partition};
use crate::segment::OpenSegment;
pub use crate::view::definition::ViewId;
use crate::view::rows::Rows;

/// How far one view has come in one partition. Changes in the same atomic step as the partials that it accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The speed position S: the next offset to fold.
    pub position: Offset,
    /// The floor F: the lowest position whose segment is still held.
    pub floor: Offset,
    /// The segment that still grows.
    pub segment: OpenSegment,
    /// The last record folded, which recovery compares with the log; `None` where none was folded yet.
    #[serde(default)]
    pub anchor: Option<Anchor>,
    /// What lies below the position and counts nowhere; `None` where that is not known, as after a claim in mid-log until the
    /// first commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Excluded>,
}

impl Progress {
    /// Nothing folded yet, from a segment boundary on.
    pub fn at(boundary: Offset) -> Self {
        let excluded = (boundary == Offset(0)).then(Excluded::default);
        Self { position: boundary, floor: boundary, segment: OpenSegment::at(boundary), anchor: None, excluded }
    }
}

/// Absolute partials of one segment: each row replaces what the store holds for its (segment, pane, key).
#[derive(Debug, Clone)]
pub struct SegmentWrite {
    /// The segment's start.
    pub start: Offset,
    /// Where it ended, once it is closed; a closed segment never changes again.
    pub end: Option<Offset>,
    /// The rows that changed since the last commit; for a closing segment, all of its rows (they replace all that is held).
    pub rows: Rows,
}

/// One view's share of a commit.
#[derive(Debug, Clone)]
pub struct ViewCommit {
    /// The view.
    pub view: ViewId,
    /// The position that the store must hold now, or the commit is refused. This equality is exactly-once.
    pub from: Offset,
    /// Position and open segment after the commit. The floor in it is ignored: only `trim` moves a floor.
    pub progress: Progress,
    /// What changed, in log order: every segment from the one that was open on, up to the one that is open now, which may be
    /// left out when none of its rows changed. A closed segment without rows is written too: its boundary counts.
    pub segments: Vec<SegmentWrite>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Everything was applied.
    Applied,
    /// A view's stored position is not `from`: nothing was applied; load the state again and go on from there.
    Moved,
    /// A view has no state (never claimed, or lost): nothing was applied; claim it.
    Missing,
}

/// A closed segment that the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Its first offset.
    pub start: Offset,
    /// The first offset of the next segment.
    pub end: Offset,
}

/// One view of one partition at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Position, floor and open segment.
    pub progress: Progress,
    /// The closed segments at or above the floor, in order; fetch their rows with [`StateStore::segment`].
    pub closed: Vec<ClosedSegment>,
    /// All rows of the open segment; without columns when nothing was ever written to it.
    pub open: Arc<Rows>,
}

/// # Contract
/// 1. `commit` is one atomic step over all its views: either every position and every row changes, or nothing does. It
///    applies only if every view's stored position equals its `from`; otherwise `Moved` (or `Missing`), whoever asks, however
///    often and late. A `Moved` or `Missing` view anywhere refuses the whole commit.
/// 2. An error of `commit` leaves open whether it was applied: `snapshot` tells.
/// 3. `claim` creates a view's state at a segment boundary if it has none, and answers with what is stored.
/// 4. `snapshot` is atomic over all its views: no reader sees a position without its rows. `None` for a view without state.
/// 5. `segment` answers with all rows of a closed segment, `None` when it is not held (trimmed or lost). What it answers for
///    one (view, partition, start) never changes while it is held.
/// 6. `trim` raises the floor and drops the segments below it; a lower floor than the stored one is ignored; a position below the
///    floor moves up to it with an empty open segment. The floor must be a segment boundary.
/// 7. The store may lose everything at any moment, or fall back to an earlier state of a partition, as a whole.
#[async_trait]
pub trait StateStore: Send + Sync + std::fmt::Debug {
    /// Applies the commits of several views of one partition, all or nothing.
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed>;
    /// The stored progress of a view, created at `boundary` if there is none.
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress>;
    /// The views as they stand at one moment.
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>>;
    /// Where the views stand, each by itself and without its rows; `None` for a view without state, or whose state cannot be read.
    async fn progress(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Progress>>> {
        let held = self.snapshot(partition, views).await?;
        Ok(held.into_iter().map(|held| Some(held?.progress)).collect())
    }
    /// The rows of a closed segment.
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>>;
    /// Forgets the segments below `floor`.
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()>;
    /// Forgets a view altogether (a definition that is no longer configured, or a rebuild).
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()>;
}
