//! The state store as workers see it: a request may be lost, come late or twice, be torn, and its reply may be lost.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use seam_shared::error::{Error, Result};
use seam_shared::lock::lock;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::{Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;

use super::mutant::Mutant;
use super::redis::{ATTEMPTS, Client, Reply, Request};
use super::replicas::{Replicas, Store};
use super::truth::Truth;
use super::turn::pause;
use crate::dice::Dice;

/// What lies between the workers and the store.
#[derive(Debug)]
pub struct Wire {
    dice: Arc<Dice>,
    mutant: Option<Mutant>,
    replicas: Arc<Replicas>,
    truth: Arc<Mutex<Truth>>,
    views: Vec<Arc<View>>,
    /// Requests under way.
    late: Mutex<Vec<(u64, Partition, Request)>>,
    /// The newest epoch, for the mutant that goes by it.
    epoch: Mutex<BTreeMap<Partition, u64>>,
    /// Where each view's open segment started last, whatever was lost since.
    reached: Mutex<BTreeMap<(Partition, ViewId), Offset>>,
}

/// One client of the store.
#[derive(Debug)]
pub struct Connection {
    wire: Arc<Wire>,
    epoch: u64,
    /// What it knows of the store.
    client: Client,
    /// What it has claimed, for the mutant that claims whatever there is.
    claimed: Mutex<BTreeSet<ViewId>>,
}

impl Wire {
    /// Between clients and `replicas`.
    pub fn new(
        dice: Arc<Dice>,
        mutant: Option<Mutant>,
        replicas: Arc<Replicas>,
        truth: Arc<Mutex<Truth>>,
        views: Vec<Arc<View>>,
    ) -> Wire {
        let (late, epoch, reached) = Default::default();
        Wire { dice, mutant, replicas, truth, views, late, epoch, reached }
    }
    /// A client; one that works on a partition fences those before it, if anybody goes by that.
    pub fn connect(self: &Arc<Self>, partition: Option<&Partition>) -> Connection {
        let next = |partition: &Partition| {
            let mut epochs = lock(&self.epoch);
            let epoch = epochs.entry(partition.clone()).or_default();
            *epoch += 1;
            *epoch
        };
        let (client, claimed) = Default::default();
        Connection { wire: self.clone(), epoch: partition.map_or(0, next), client, claimed }
    }
    /// Delivers the requests that are still under way; nobody waits for their replies.
    pub async fn deliver(&self) {
        let late = std::mem::take(&mut *lock(&self.late));
        for (epoch, partition, request) in late {
            let _: Result<Reply> = self.apply(epoch, &partition, request).await;
        }
    }
    /// What is under way never arrives.
    pub fn cut(&self) {
        lock(&self.late).clear();
    }

    async fn apply(&self, epoch: u64, partition: &Partition, mut request: Request) -> Result<Reply> {
        let store = self.replicas.reached();
        if self.mutant == Some(Mutant::EpochFenceOnly) && lock(&self.epoch).get(partition) != Some(&epoch) {
            return Ok(Reply::Done(Committed::Moved));
        }
        let commits = &mut request.commits;
        if let Some(mutant @ (Mutant::MonotonicCheck | Mutant::NoEquality | Mutant::EpochFenceOnly)) = self.mutant {
            let ids: Vec<ViewId> = commits.iter().map(|commit| commit.view.clone()).collect();
            for (commit, held) in commits.iter_mut().zip(store.port().snapshot(partition, &ids).await?) {
                let Some(held) = held else { return Ok(Reply::Done(Committed::Missing)) };
                if mutant == Mutant::MonotonicCheck && commit.progress.position <= held.progress.position {
                    return Ok(Reply::Done(Committed::Moved));
                }
                commit.from = held.progress.position;
            }
        }
        let reached: Vec<(ViewId, Offset)> =
            commits.iter().map(|commit| (commit.view.clone(), commit.progress.segment.start)).collect();
        let done = match self.mutant {
            Some(Mutant::StateAndPositionApart | Mutant::IncrementsThenPosition) => {
                Reply::Done(self.in_two_steps(&store, partition, request.commits).await?)
            }
            _ => store.commit(partition, request).await?,
        };
        if done == Reply::Done(Committed::Applied) {
            self.replicas.replicate(partition);
            lock(&self.reached).extend(reached.into_iter().map(|(view, start)| ((partition.clone(), view), start)));
        }
        Ok(done)
    }

    /// Rows first, the position later.
    async fn in_two_steps(&self, store: &Store, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        let Store::Redis(redis) = store else { return Err(Error::internal("a mutant of another store")) };
        let ids: Vec<ViewId> = commits.iter().map(|commit| commit.view.clone()).collect();
        let held = store.port().snapshot(partition, &ids).await?;
        if held.iter().any(Option::is_none) {
            return Ok(Committed::Missing);
        }
        if self.mutant == Some(Mutant::StateAndPositionApart) {
            let stored = |held: &Option<Snapshot>| held.as_ref().map(|held| held.progress.position);
            if held.iter().zip(&commits).any(|(held, commit)| stored(held) != Some(commit.from)) {
                return Ok(Committed::Moved);
            }
            redis.write_rows(partition, &commits, |commit, number, mut held| {
                let segment = &commit.segments[number];
                if held.is_empty() || segment.end.is_some() {
                    return segment.rows.clone();
                }
                held.upsert(&segment.rows);
                held
            });
        } else {
            redis.write_rows(partition, &commits, |commit, number, held| self.added(partition, commit, number, held));
        }
        pause().await;
        redis.move_on(partition, &commits);
        Ok(Committed::Applied)
    }

    /// The rows that are held, and the events of the commit on top.
    fn added(&self, partition: &Partition, commit: &ViewCommit, number: usize, held: Rows) -> Rows {
        let Some(view) = self.views.iter().find(|view| view.id == commit.view) else { return held };
        let segment = &commit.segments[number];
        let (from, to) = (commit.from.max(segment.start), segment.end.unwrap_or(commit.progress.position));
        let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
        if !held.is_empty() {
            groups.merge(&held);
        }
        groups.merge(&lock(&self.truth).rows(view, &[(partition.number, from, to)]));
        groups.into_rows()
    }
}

impl Connection {
    async fn send(&self, partition: &Partition, request: Request) -> Result<Reply> {
        pause().await;
        let Connection { wire, epoch, .. } = self;
        let fate = if wire.replicas.is_healed() { u64::MAX } else { wire.dice.below(32) };
        let done = match fate {
            0 => Err(Error::unavailable("the request was lost")),
            1 => {
                wire.apply(*epoch, partition, request).await?;
                Err(Error::unavailable("the reply was lost"))
            }
            2 => {
                lock(&wire.late).push((*epoch, partition.clone(), request));
                Err(Error::unavailable("the request is under way"))
            }
            3 => {
                lock(&wire.late).push((*epoch, partition.clone(), request.clone()));
                wire.apply(*epoch, partition, request).await
            }
            4..6 => {
                if let Store::Redis(redis) = wire.replicas.reached().as_ref() {
                    let writes = wire.dice.below(6) as usize;
                    redis.run(partition, request, writes)?;
                }
                Err(Error::unavailable("the server died over it"))
            }
            _ => wire.apply(*epoch, partition, request).await,
        };
        pause().await;
        done
    }
}

#[async_trait]
impl StateStore for Connection {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        for _ in 0..ATTEMPTS {
            let request = self.wire.replicas.primary().request(&self.client, partition, commits.clone());
            match self.send(partition, request.clone()).await? {
                Reply::Done(done) => {
                    self.client.answered(partition, request, done);
                    return Ok(done);
                }
                Reply::Full => {
                    let views: Vec<ViewId> = commits.iter().map(|commit| commit.view.clone()).collect();
                    self.wire.replicas.reached().snapshot(&self.client, partition, &views).await?;
                }
            }
        }
        Err(Error::unavailable("the state keeps changing"))
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        pause().await;
        let wire = &self.wire;
        let reached = lock(&wire.reached).get(&(partition.clone(), view.clone())).copied();
        let skips = wire.mutant.is_some_and(Mutant::skips_ahead);
        let boundary = reached.filter(|_| skips).map_or(boundary, |reached| reached.max(boundary));
        let store = wire.replicas.reached();
        if wire.mutant == Some(Mutant::UnconditionalClaim) {
            store.port().forget(partition, view).await?;
            lock(&self.claimed).insert(view.clone());
        }
        store.claim(&self.client, partition, view, boundary).await
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        pause().await;
        let mut held = self.wire.replicas.reached().snapshot(&self.client, partition, views).await?;
        if self.wire.mutant == Some(Mutant::UnconditionalClaim) {
            let claimed = lock(&self.claimed);
            held.iter_mut().zip(views).filter(|(_, view)| !claimed.contains(*view)).for_each(|(held, _)| *held = None);
        }
        if self.wire.mutant == Some(Mutant::NoAnchor) {
            held.iter_mut().flatten().for_each(|held| held.progress.anchor = None);
        }
        Ok(held)
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        pause().await;
        self.wire.replicas.reached().port().segment(partition, view, start).await
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        pause().await;
        self.wire.replicas.reached().port().trim(partition, view, floor).await
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        self.wire.replicas.reached().port().forget(partition, view).await
    }
}
