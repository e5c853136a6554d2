//! The state store as readers see it, with the mutants that read wrongly.
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use seam_shared::error::{Error, Result};
use seam_shared::log::{Offset, Partition};
use seam_shared::state::{ClosedSegment, Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;

use super::mutant::Mutant;
use super::redis::Client;
use super::replicas::Replicas;
use super::truth::Truth;
use super::turn::pause;

/// A reader's connection to the state store.
#[derive(Debug)]
pub struct ReaderState {
    replicas: Arc<Replicas>,
    mutant: Option<Mutant>,
    truth: Arc<Mutex<Truth>>,
    client: Client,
}

impl ReaderState {
    /// Reads from whatever server a request reaches.
    pub fn new(replicas: Arc<Replicas>, mutant: Option<Mutant>, truth: Arc<Mutex<Truth>>) -> Self {
        Self { replicas, mutant, truth, client: Client::default() }
    }

    /// Whether a mutant takes a segment's rows away without saying so.
    fn loses(&self, partition: &Partition, start: Offset) -> bool {
        match self.mutant {
            Some(Mutant::TimeToLive) => {
                let truth = self.truth.lock().expect("never poisoned");
                let starts = truth.starts(partition);
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
                    parts.extend(self.replicas.reached().port().segment(partition, view, segment.start).await?);
                }
                let Some(shape) = parts.iter().find(|rows| !rows.is_empty()) else { return Ok(()) };
                let mut all = Groups::like(shape);
                parts.iter().filter(|rows| !rows.is_empty()).for_each(|rows| all.merge(rows));
                held.open = Arc::new(all.into_rows());
            }
            Some(mutant) if mutant.ignores_floor() => {
                let truth = self.truth.lock().expect("never poisoned");
                let floor = held.progress.floor;
                let below: Vec<Offset> =
                    truth.starts(partition).iter().copied().filter(|&start| start <= floor).collect();
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
        let mut all = self.replicas.reached().snapshot(&self.client, partition, views).await?;
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
        let rows = self.replicas.reached().port().segment(partition, view, start).await?;
        let nothing = || Arc::new(Rows::default());
        match (self.mutant, rows) {
            (Some(mutant), None) if mutant.ignores_floor() => Ok(Some(nothing())),
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
