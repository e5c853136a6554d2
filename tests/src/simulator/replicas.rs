//! The state store as it is lost: failovers to any earlier moment, of a partition or of everything, a second primary that does
//! not know that it was deposed, and single keys that are gone.
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use seam_shared::error::Result;
use seam_shared::lock::lock;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::memory::{Checkpoint, MemoryState};
use seam_shared::state::{Progress, Snapshot, StateStore, ViewCommit, ViewId};

use super::mutant::Mutant;
use super::redis::{Client, Hashes, RedisModel, Reply, Request};
use crate::dice::Dice;

/// Earlier moments of a partition that a replica may still be at.
const MOMENTS: usize = 24;

/// One server.
#[derive(Debug)]
pub enum Store {
    /// As the embedded store keeps the state.
    Embedded(MemoryState),
    /// As Redis does.
    Redis(RedisModel),
}

/// A partition at one moment.
#[derive(Debug, Clone)]
pub enum Moment {
    /// Of the embedded store.
    Embedded(Checkpoint),
    /// Of Redis.
    Redis(Hashes),
}

impl Store {
    /// The same kind of server, without any state.
    fn empty(&self) -> Store {
        match self {
            Store::Embedded(_) => Store::Embedded(MemoryState::default()),
            Store::Redis(state) => Store::Redis(state.empty()),
        }
    }
    /// What clients call.
    pub fn port(&self) -> &dyn StateStore {
        match self {
            Store::Embedded(state) => state,
            Store::Redis(state) => state,
        }
    }
    /// What a client sends to commit.
    pub fn request(&self, client: &Client, partition: &Partition, commits: Vec<ViewCommit>) -> Request {
        match self {
            Store::Embedded(_) => Request::plain(commits),
            Store::Redis(_) => client.request(partition, commits),
        }
    }
    /// Commits.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn commit(&self, partition: &Partition, request: Request) -> Result<Reply> {
        match self {
            Store::Embedded(state) => state.commit(partition, request.commits).await.map(Reply::Done),
            Store::Redis(redis) => redis.run(partition, request, usize::MAX),
        }
    }
    /// The views as a client sees them.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn snapshot(
        &self,
        client: &Client,
        partition: &Partition,
        views: &[ViewId],
    ) -> Result<Vec<Option<Snapshot>>> {
        match self {
            Store::Embedded(state) => state.snapshot(partition, views).await,
            Store::Redis(redis) => Ok(redis.look(client, partition, views)),
        }
    }
    /// The progress of a view, made where there is none.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn claim(
        &self,
        client: &Client,
        partition: &Partition,
        view: &ViewId,
        boundary: Offset,
    ) -> Result<Progress> {
        match self {
            Store::Embedded(state) => state.claim(partition, view, boundary).await,
            Store::Redis(redis) => Ok(redis.claim(client, partition, view, boundary)),
        }
    }
    fn save(&self, partition: &Partition) -> Moment {
        match self {
            Store::Embedded(state) => Moment::Embedded(state.checkpoint(partition)),
            Store::Redis(state) => Moment::Redis(state.save(partition)),
        }
    }
    fn restore(&self, partition: &Partition, moment: Moment) {
        match (self, moment) {
            (Store::Embedded(state), Moment::Embedded(moment)) => state.restore(partition, moment),
            (Store::Redis(state), Moment::Redis(moment)) => state.restore(partition, moment),
            (Store::Embedded(_) | Store::Redis(_), _) => {}
        }
    }
    fn flush_all(&self) {
        match self {
            Store::Embedded(state) => state.flush_all(),
            Store::Redis(state) => state.flush_all(),
        }
    }
}

/// The primary, what its replicas remember, and perhaps an older primary.
#[derive(Debug)]
pub struct Replicas {
    dice: Arc<Dice>,
    mutant: Option<Mutant>,
    partitions: Vec<Partition>,
    primary: Mutex<Arc<Store>>,
    /// It was deposed, but some requests still reach it.
    deposed: Mutex<Option<Arc<Store>>>,
    moments: Mutex<BTreeMap<Partition, VecDeque<Moment>>>,
    healed: AtomicBool,
}

impl Replicas {
    /// Nothing is stored yet.
    pub fn new(dice: Arc<Dice>, redis: bool, mutant: Option<Mutant>, partitions: Vec<Partition>) -> Replicas {
        let primary =
            if redis { Store::Redis(RedisModel::new(mutant)) } else { Store::Embedded(MemoryState::default()) };
        let primary = Mutex::new(Arc::new(primary));
        let (deposed, moments) = Default::default();
        Replicas { dice, mutant, partitions, primary, deposed, moments, healed: AtomicBool::new(false) }
    }
    /// The server that counts.
    pub fn primary(&self) -> Arc<Store> {
        lock(&self.primary).clone()
    }
    /// The server that a request reaches.
    pub fn reached(&self) -> Arc<Store> {
        let deposed = lock(&self.deposed).clone();
        deposed.filter(|_| self.dice.one_in(3)).unwrap_or_else(|| self.primary())
    }
    /// A replica of the primary has come so far.
    pub fn replicate(&self, partition: &Partition) {
        let mut moments = lock(&self.moments);
        let moments = moments.entry(partition.clone()).or_default();
        moments.truncate(MOMENTS - 1);
        moments.push_front(self.primary().save(partition));
    }
    /// Whether everything is well from now on.
    pub fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }
    /// From now on nothing is lost.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
        *lock(&self.deposed) = None;
    }
    /// Something is lost.
    pub fn lose(&self) {
        let partition = &self.partitions[self.dice.below(self.partitions.len() as u64) as usize];
        match self.dice.below(16) {
            0..7 => self.fall_back(partition),
            7..9 => self.partitions.iter().for_each(|partition| self.fall_back(partition)),
            9..11 => self.depose(),
            11..13 => *lock(&self.deposed) = None,
            13 => self.primary().flush_all(),
            _ => {
                if let Store::Redis(redis) = self.primary().as_ref() {
                    redis.evict(partition, &self.dice);
                }
            }
        }
    }

    fn fall_back(&self, partition: &Partition) {
        let Some(moment) = self.earlier(partition) else { return };
        match (self.primary().as_ref(), moment) {
            (Store::Redis(redis), Moment::Redis(moment)) if self.mutant == Some(Mutant::StateAndPositionApart) => {
                redis.restore_half(partition, moment, self.dice.one_in(2));
            }
            (primary, moment) => primary.restore(partition, moment),
        }
    }
    /// An earlier moment, seldom one of long ago.
    fn earlier(&self, partition: &Partition) -> Option<Moment> {
        let moments = lock(&self.moments);
        let moments = moments.get(partition).filter(|moments| !moments.is_empty())?;
        let most = if self.dice.one_in(3) { moments.len() } else { moments.len().min(4) };
        moments.get(self.dice.below(most as u64) as usize).cloned()
    }
    /// A replica becomes primary, while some still write to the old one.
    fn depose(&self) {
        let old = self.primary();
        let new = old.empty();
        for partition in &self.partitions {
            let moment = self.earlier(partition).unwrap_or_else(|| old.save(partition));
            new.restore(partition, moment);
        }
        *lock(&self.primary) = Arc::new(new);
        *lock(&self.deposed) = Some(old);
    }
}
