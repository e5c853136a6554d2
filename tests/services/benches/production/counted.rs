//! The state in Redis behind a counter of what is committed.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use seam_shared::error::Result;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::redis::RedisState;
use seam_shared::state::{Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use seam_shared::view::rows::Rows;

#[derive(Debug)]
pub struct Counted {
    state: RedisState,
    flushes: AtomicU64,
    panes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counted {
    pub fn new(state: RedisState) -> Counted {
        let (flushes, panes, nanoseconds) = Default::default();
        Counted { state, flushes, panes, nanoseconds }
    }
    /// Commits so far.
    pub fn flushes(&self) -> f64 {
        self.flushes.load(Ordering::Relaxed) as f64
    }
    /// The panes that each of them wrote, added up.
    pub fn panes(&self) -> f64 {
        self.panes.load(Ordering::Relaxed) as f64
    }
    /// Processor time of the committing thread meanwhile: means something where one thread does everything.
    pub fn seconds(&self) -> f64 {
        self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9
    }
}

#[async_trait]
impl StateStore for Counted {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        let written = commits.iter().flat_map(|commit| &commit.segments);
        let panes: usize = written.map(|segment| segment.rows.panes.iter().collect::<HashSet<_>>().len()).sum();
        self.panes.fetch_add(panes as u64, Ordering::Relaxed);
        self.flushes.fetch_add(1, Ordering::Relaxed);
        let before = thread_nanoseconds();
        let committed = self.state.commit(partition, commits).await;
        self.nanoseconds.fetch_add(thread_nanoseconds().saturating_sub(before), Ordering::Relaxed);
        committed
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        self.state.claim(partition, view, boundary).await
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        self.state.snapshot(partition, views).await
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        self.state.segment(partition, view, start).await
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        self.state.trim(partition, view, floor).await
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        self.state.forget(partition, view).await
    }
}

/// Processor time of this thread so far; 0 where the kernel does not tell.
fn thread_nanoseconds() -> u64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0)
}
