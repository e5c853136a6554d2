//! The ports as they are on a bad day: every call may stop half-way, fail before or after it was applied, or be applied late.
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use seam_shared::error::{Error, Result};
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{Chunk, EventLog, NewRecord, Offset, Partition, Topic};
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{ClosedSegment, Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use seam_shared::time::Timestamp;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;

use crate::dice::Dice;
use crate::mutant::Mutant;

thread_local! {
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// Lets others have a turn: whoever polls may crash this future, or go on with it much later.
pub async fn pause() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        PAUSED.set(true);
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether anybody paused since this was last asked: what is pending without that waits for a thread or a timer.
pub fn has_paused() -> bool {
    PAUSED.replace(false)
}

/// What the wrappers know of the truth, to be wrong on purpose.
#[derive(Debug, Default)]
pub struct Truth {
    /// Segment starts by partition.
    pub boundaries: BTreeMap<Partition, Vec<Offset>>,
    /// The last pane of each view's newest generation.
    pub last_panes: BTreeMap<ViewId, Timestamp>,
}

/// The state store, as workers see it.
#[derive(Debug)]
pub struct UnsteadyState {
    inner: Arc<MemoryState>,
    dice: Arc<Dice>,
    mutant: Option<Mutant>,
    healed: AtomicBool,
    late: Mutex<Vec<(Partition, Vec<ViewCommit>)>>,
    /// Where each view's open segment started last, whatever was lost since.
    reached: Mutex<BTreeMap<(Partition, ViewId), Offset>>,
}

impl UnsteadyState {
    /// Wraps a store.
    pub fn new(inner: Arc<MemoryState>, dice: Arc<Dice>, mutant: Option<Mutant>) -> Self {
        Self { inner, dice, mutant, healed: AtomicBool::new(false), late: Mutex::default(), reached: Mutex::default() }
    }

    /// From now on nothing fails; what was under way is gone.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
        self.late.lock().expect("never poisoned").clear();
    }

    /// Delivers the commits that are still under way; nobody waits for their replies.
    pub async fn deliver(&self) {
        let late = std::mem::take(&mut *self.late.lock().expect("never poisoned"));
        for (partition, commits) in late {
            let _: Result<Committed> = self.apply(&partition, commits).await;
        }
    }

    async fn apply(&self, partition: &Partition, mut commits: Vec<ViewCommit>) -> Result<Committed> {
        if let Some(mutant @ (Mutant::MonotonicCheck | Mutant::NoEquality)) = self.mutant {
            let ids: Vec<ViewId> = commits.iter().map(|commit| commit.view.clone()).collect();
            for (commit, held) in commits.iter_mut().zip(self.inner.snapshot(partition, &ids).await?) {
                let Some(held) = held else { return Ok(Committed::Missing) };
                if mutant == Mutant::MonotonicCheck && commit.progress.position <= held.progress.position {
                    return Ok(Committed::Moved);
                }
                commit.from = held.progress.position;
            }
        }
        if self.mutant == Some(Mutant::StateAndPositionApart) {
            let mut positions = commits.clone();
            positions.iter_mut().for_each(|commit| commit.segments.clear());
            let done = self.inner.commit(partition, positions).await?;
            if done != Committed::Applied {
                return Ok(done);
            }
            pause().await;
            commits.iter_mut().for_each(|commit| commit.from = commit.progress.position);
        }
        let reached: Vec<(ViewId, Offset)> =
            commits.iter().map(|commit| (commit.view.clone(), commit.progress.segment.start)).collect();
        let done = self.inner.commit(partition, commits).await?;
        if done == Committed::Applied {
            let mut all = self.reached.lock().expect("never poisoned");
            all.extend(reached.into_iter().map(|(view, start)| ((partition.clone(), view), start)));
        }
        Ok(done)
    }
}

#[async_trait]
impl StateStore for UnsteadyState {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        pause().await;
        let fate = if self.healed.load(Ordering::Relaxed) { u64::MAX } else { self.dice.below(24) };
        let done = match fate {
            0 => Err(Error::unavailable("the request was lost")),
            1 => {
                self.apply(partition, commits).await?;
                Err(Error::unavailable("the reply was lost"))
            }
            2 => {
                self.late.lock().expect("never poisoned").push((partition.clone(), commits));
                Err(Error::unavailable("the request is under way"))
            }
            _ => self.apply(partition, commits).await,
        };
        pause().await;
        done
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        pause().await;
        let reached = self.reached.lock().expect("never poisoned").get(&(partition.clone(), view.clone())).copied();
        let boundary = match (self.mutant, reached) {
            (Some(Mutant::RestartFromGroupOffset), Some(reached)) => reached.max(boundary),
            _ => boundary,
        };
        self.inner.claim(partition, view, boundary).await
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        pause().await;
        self.inner.snapshot(partition, views).await
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        pause().await;
        self.inner.segment(partition, view, start).await
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        pause().await;
        self.inner.trim(partition, view, floor).await
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        self.inner.forget(partition, view).await
    }
}

/// The state store, as readers see it.
#[derive(Debug)]
pub struct ReaderState {
    inner: Arc<MemoryState>,
    dice: Arc<Dice>,
    mutant: Option<Mutant>,
    truth: Arc<Mutex<Truth>>,
}

impl ReaderState {
    /// Wraps a store.
    pub fn new(inner: Arc<MemoryState>, dice: Arc<Dice>, mutant: Option<Mutant>, truth: Arc<Mutex<Truth>>) -> Self {
        Self { inner, dice, mutant, truth }
    }

    /// Whether a mutant takes a segment's rows away without saying so.
    fn loses(&self, partition: &Partition, start: Offset) -> bool {
        match self.mutant {
            Some(Mutant::EvictedSegment) => self.dice.one_in(16),
            Some(Mutant::TimeToLive) => {
                let truth = self.truth.lock().expect("never poisoned");
                let starts = truth.boundaries.get(partition).map_or(&[][..], Vec::as_slice);
                starts.len() - starts.partition_point(|&s| s < start) > 4
            }
            Some(Mutant::SpeedNotFilteredByOffset) => true,
            _ => false,
        }
    }

    async fn change(&self, partition: &Partition, view: &ViewId, held: &mut Snapshot) -> Result<()> {
        match self.mutant {
            Some(Mutant::SpeedNotFilteredByOffset) => {
                let mut parts = vec![held.open.clone()];
                for segment in &held.closed {
                    parts.extend(self.inner.segment(partition, view, segment.start).await?);
                }
                let Some(shape) = parts.iter().find(|rows| !rows.is_empty()) else { return Ok(()) };
                let mut all = Groups::like(shape);
                parts.iter().filter(|rows| !rows.is_empty()).for_each(|rows| all.merge(rows));
                held.open = Arc::new(all.into_rows());
            }
            Some(Mutant::NoFloorCheck | Mutant::ClearBeforePublish) => {
                let truth = self.truth.lock().expect("never poisoned");
                let floor = held.progress.floor;
                let starts = truth.boundaries.get(partition).map_or(&[][..], Vec::as_slice);
                let below: Vec<Offset> = starts.iter().copied().filter(|&start| start <= floor).collect();
                let gone = below.windows(2).map(|pair| ClosedSegment { start: pair[0], end: pair[1] });
                held.closed = gone.chain(held.closed.iter().copied()).collect();
                held.progress.floor = Offset(0);
            }
            Some(Mutant::SeamByEventTime) => held.open = Arc::new(self.not_late(view, &held.open)),
            _ => {}
        }
        Ok(())
    }

    fn not_late(&self, view: &ViewId, rows: &Rows) -> Rows {
        let last = self.truth.lock().expect("never poisoned").last_panes.get(view).copied();
        let picks: Vec<u32> =
            (0..rows.len() as u32).filter(|&i| last.is_none_or(|last| rows.panes[i as usize] > last)).collect();
        rows.gather(&picks)
    }
}

#[async_trait]
impl StateStore for ReaderState {
    async fn commit(&self, _: &Partition, _: Vec<ViewCommit>) -> Result<Committed> {
        Err(Error::internal("readers do not write"))
    }
    async fn claim(&self, _: &Partition, _: &ViewId, _: Offset) -> Result<Progress> {
        Err(Error::internal("readers do not write"))
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        pause().await;
        let mut all = self.inner.snapshot(partition, views).await?;
        for (view, held) in views.iter().zip(&mut all) {
            if let Some(held) = held {
                self.change(partition, view, held).await?;
            }
        }
        pause().await;
        Ok(all)
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        pause().await;
        let rows = self.inner.segment(partition, view, start).await?;
        let nothing = || Arc::new(Rows::default());
        match (self.mutant, rows) {
            (Some(Mutant::NoFloorCheck | Mutant::ClearBeforePublish), None) => Ok(Some(nothing())),
            (Some(Mutant::SeamByEventTime), Some(rows)) => Ok(Some(Arc::new(self.not_late(view, &rows)))),
            (_, Some(rows)) if self.loses(partition, start) => Ok(Some(Arc::new(rows.gather(&[])))),
            (_, rows) => Ok(rows),
        }
    }
    async fn trim(&self, _: &Partition, _: &ViewId, _: Offset) -> Result<()> {
        Err(Error::internal("readers do not write"))
    }
    async fn forget(&self, _: &Partition, _: &ViewId) -> Result<()> {
        Err(Error::internal("readers do not write"))
    }
}

/// The log, as workers and archivers see it.
#[derive(Debug)]
pub struct UnsteadyLog {
    inner: Arc<MemoryLog>,
    mutant: Option<Mutant>,
}

impl UnsteadyLog {
    /// Wraps a log.
    pub fn new(inner: Arc<MemoryLog>, mutant: Option<Mutant>) -> Self {
        Self { inner, mutant }
    }
}

#[async_trait]
impl EventLog for UnsteadyLog {
    async fn open(&self, topic: &str, partitions: u32) -> Result<Topic> {
        self.inner.open(topic, partitions).await
    }
    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>> {
        self.inner.append(topic, records).await
    }
    async fn read(&self, partition: &Partition, from: Offset, records: usize, bytes: usize) -> Result<Chunk> {
        pause().await;
        let from = match self.mutant {
            Some(Mutant::ResetToEarliest) => from.max(self.inner.bounds(partition).await?.0),
            _ => from,
        };
        self.inner.read(partition, from, records, bytes).await
    }
    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        let (start, end) = self.inner.bounds(partition).await?;
        Ok((if self.mutant == Some(Mutant::ResetToEarliest) { Offset(0) } else { start }, end))
    }
    async fn wait(&self, _: &Partition, _: Offset) -> Result<()> {
        pause().await;
        Ok(())
    }
    async fn trim(&self, partition: &Partition, before: Offset) -> Result<()> {
        self.inner.trim(partition, before).await
    }
}

/// A lake whose every request and reply takes a while.
#[derive(Debug)]
pub struct SlowStore {
    inner: Arc<dyn ObjectStore>,
    mutant: Option<Mutant>,
}

impl SlowStore {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn ObjectStore>, mutant: Option<Mutant>) -> Self {
        Self { inner, mutant }
    }
}

impl std::fmt::Display for SlowStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SlowStore({})", self.inner)
    }
}

type Stored<T> = object_store::Result<T>;

#[async_trait]
impl ObjectStore for SlowStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, mut options: PutOptions) -> Stored<PutResult> {
        pause().await;
        let overwritten = match self.mutant {
            Some(Mutant::OverwritePublish) => "views/",
            Some(Mutant::ArchiveLastWriterWins) => "archive/",
            _ => "none",
        };
        if path.as_ref().starts_with(overwritten) && path.as_ref().contains("_delta_log") {
            options.mode = PutMode::Overwrite;
        }
        let done = self.inner.put_opts(path, payload, options).await;
        pause().await;
        done
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Stored<GetResult> {
        pause().await;
        self.inner.get_opts(path, options).await
    }
    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Stored<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }
    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Stored<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        self.inner.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
