//! The state in memory: the simplest adapter that keeps the contract, for tests, the simulator and a log-only restart.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use crate::error::Result;
use crate::lock::lock;
use crate::log::{Offset, Partition};
use crate::state::held::{self, ClosedRows, Held};
use crate::state::{Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use crate::view::rows::Rows;

type Views = BTreeMap<ViewId, (Held, ClosedRows)>;

/// State that lives as long as the process, and can be made to fail over: see [`MemoryState::restore`].
#[derive(Debug, Default)]
pub struct MemoryState {
    partitions: Mutex<BTreeMap<Partition, Views>>,
}

/// All state of one partition at one moment.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint(Views);

impl MemoryState {
    /// Everything that is held of a partition.
    pub fn checkpoint(&self, partition: &Partition) -> Checkpoint {
        Checkpoint(self.lock().get(partition).cloned().unwrap_or_default())
    }
    /// Falls back to an earlier moment of a partition, as a failover to a replica that lags does.
    pub fn restore(&self, partition: &Partition, checkpoint: Checkpoint) {
        self.lock().insert(partition.clone(), checkpoint.0);
    }
    /// Loses everything.
    pub fn flush_all(&self) {
        self.lock().clear();
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, Views>> {
        lock(&self.partitions)
    }
}

#[async_trait]
impl StateStore for MemoryState {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        let mut partitions = self.lock();
        let views = partitions.entry(partition.clone()).or_default();
        let verdict = held::check(&commits, |view| views.get(view).map(|(held, _)| held))?;
        if verdict == Committed::Applied {
            for commit in commits {
                if let Some((held, closed)) = views.get_mut(&commit.view) {
                    held.apply(commit, |start, rows| {
                        closed.insert(start, Arc::new(rows));
                    });
                }
            }
        }
        Ok(verdict)
    }

    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        let mut partitions = self.lock();
        let views = partitions.entry(partition.clone()).or_default();
        let fresh = || (Held::at(boundary), ClosedRows::new());
        Ok(views.entry(Arc::clone(view)).or_insert_with(fresh).0.progress)
    }

    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        let mut partitions = self.lock();
        let held = partitions.entry(partition.clone()).or_default();
        Ok(views.iter().map(|view| held.get_mut(view).map(|(held, _)| held.snapshot())).collect())
    }

    async fn progress(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Progress>>> {
        let partitions = self.lock();
        let held = partitions.get(partition);
        Ok(views.iter().map(|view| Some(held?.get(view)?.0.progress)).collect())
    }

    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        let partitions = self.lock();
        let closed = partitions.get(partition).and_then(|views| views.get(view)).map(|(_, closed)| closed);
        Ok(closed.and_then(|closed| closed.get(&start)).cloned())
    }

    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        let mut partitions = self.lock();
        if let Some((held, closed)) = partitions.get_mut(partition).and_then(|views| views.get_mut(view))
            && let Some(trimmed) = held.trimmed(view, floor)?
        {
            *held = trimmed;
            *closed = closed.split_off(&floor);
        }
        Ok(())
    }

    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        if let Some(views) = self.lock().get_mut(partition) {
            views.remove(view);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::contract::{self, commit, progress, rows};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_the_contract() {
        contract::run(async || Arc::new(MemoryState::default()) as Arc<dyn StateStore>).await;
    }

    #[tokio::test]
    async fn a_partition_falls_back_as_a_whole() {
        let store = MemoryState::default();
        let [here, there] = [0, 1].map(|number| Partition::new("clicks", number));
        let view: ViewId = Arc::from("daily@1");
        for partition in [&here, &there] {
            store.claim(partition, &view, Offset(0)).await.unwrap();
        }
        let step =
            |from: u64| vec![commit(&view, from, progress(0, from + 5), vec![(0, None, rows(&[(1, "a", from)]))])];
        store.commit(&here, step(0)).await.unwrap();
        store.commit(&there, step(0)).await.unwrap();
        let earlier = store.checkpoint(&here);
        let before = contract::seen(&store, &here, &view).await;
        store.commit(&here, step(5)).await.unwrap();
        store.commit(&there, step(5)).await.unwrap();
        let other = contract::seen(&store, &there, &view).await;
        store.restore(&here, earlier);
        assert_eq!(contract::seen(&store, &here, &view).await, before);
        assert_eq!(contract::seen(&store, &there, &view).await, other);
        assert_eq!(store.commit(&here, step(10)).await.unwrap(), Committed::Moved);
        store.flush_all();
        assert_eq!(contract::seen(&store, &there, &view).await, None);
        assert_eq!(store.commit(&here, step(5)).await.unwrap(), Committed::Missing);
    }
}
