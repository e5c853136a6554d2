//! The model keeps the port's contract, for clients that know nothing and for one that knows everything.
use async_trait::async_trait;
use seam_shared::state::StateStore;

use super::*;

/// A server with one client that stays.
#[derive(Debug)]
struct Steady(RedisModel, Client);

#[async_trait]
impl StateStore for Steady {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        self.0.commit_of(&self.1, partition, commits)
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        Ok(self.0.claim(&self.1, partition, view, boundary))
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        Ok(self.0.look(&self.1, partition, views))
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        self.0.segment(partition, view, start).await
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        self.0.trim(partition, view, floor).await
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        self.0.forget(partition, view).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    seam_shared::state::contract::run(async || Arc::new(RedisModel::new(None)) as Arc<dyn StateStore>).await;
    let steady = async || Arc::new(Steady(RedisModel::new(None), Client::default())) as Arc<dyn StateStore>;
    seam_shared::state::contract::run(steady).await;
}
