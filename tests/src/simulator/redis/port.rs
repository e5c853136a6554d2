//! The port over a server, for whoever keeps nothing between two requests.
use std::sync::Arc;

use async_trait::async_trait;
use seam_shared::error::{Error, Result};
use seam_shared::log::{Offset, Partition};
use seam_shared::state::{Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use seam_shared::view::rows::Rows;

use super::{Client, RedisModel, Slot};

#[async_trait]
impl StateStore for RedisModel {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        self.commit_of(&Client::default(), partition, commits)
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        Ok(RedisModel::claim(self, &Client::default(), partition, view, boundary))
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        Ok(self.look(&Client::default(), partition, views))
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        let mut partitions = self.lock();
        let Some(Slot(keys)) = partitions.get_mut(partition).and_then(|hashes| hashes.get_mut(view)) else {
            return Ok(None);
        };
        if keys.state.as_ref().is_none_or(|state| !state.closed.contains_key(&start)) {
            return Ok(None);
        }
        if self.keeps_rows_apart() {
            return Ok(Some(Arc::new(keys.apart.get(&start).cloned().unwrap_or_default())));
        }
        if !self.is_careless() && !keys.has(start) {
            // What is damaged is removed: then the view counts as lost, and is folded anew.
            keys.closed.remove(&start);
            return Ok(None);
        }
        Ok(Some(Arc::new(keys.closed.get(&start).cloned().unwrap_or_default())))
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        let mut partitions = self.lock();
        let Some(Slot(keys)) = partitions.get_mut(partition).and_then(|hashes| hashes.get_mut(view)) else {
            return Ok(());
        };
        let Some(state) = keys.state.as_mut().filter(|state| floor > state.progress.floor) else { return Ok(()) };
        if floor >= state.progress.position {
            state.progress = Progress::at(floor);
            state.closed.clear();
            (state.base, state.based, state.opened) = (Some(Arc::default()), state.last, state.last);
            (keys.closed, keys.apart) = Default::default();
            return Ok(());
        }
        if floor != state.progress.segment.start && !state.closed.contains_key(&floor) {
            return Err(Error::internal(format!("floor {floor} of {view} is no segment boundary")));
        }
        state.progress.floor = floor;
        state.closed = state.closed.split_off(&floor);
        keys.closed = keys.closed.split_off(&floor);
        keys.apart = keys.apart.split_off(&floor);
        Ok(())
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        if let Some(hashes) = self.lock().get_mut(partition) {
            hashes.remove(view);
        }
        Ok(())
    }
}
