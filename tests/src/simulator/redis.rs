//! The speed layer's state as Redis would keep it: a hash a segment and one of progress, each of which may be lost by itself,
//! and a script that may be torn. What is damaged must be noticed: it then counts as lost. This is harsher than the real adapter,
//! in which all that counts of a view changes by one command.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use seam_shared::error::{Error, Result};
use seam_shared::log::{Offset, Partition};
use seam_shared::state::{ClosedSegment, Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use seam_shared::view::rows::Rows;

use super::mutant::Mutant;
use crate::dice::Dice;

/// The keys of one view in one partition.
#[derive(Debug, Clone, Default)]
struct Keys {
    /// `None` once it was evicted.
    progress: Option<Meta>,
    /// The rows of each segment, the open one among them.
    segments: BTreeMap<Offset, Rows>,
}

/// The hash that says how far a view has come.
#[derive(Debug, Clone)]
struct Meta {
    /// Equal, but for a script that was torn.
    begun: u64,
    committed: u64,
    progress: Progress,
    /// End and number of rows of each closed segment.
    closed: BTreeMap<Offset, (Offset, usize)>,
    /// Rows of the open segment.
    open: usize,
}

/// One write of the script.
#[derive(Debug)]
enum Write {
    Begin,
    /// A closing segment comes whole.
    Clear(Offset),
    Row(Offset, Rows),
    Close(Offset, Offset),
    Progress(Progress),
    Commit,
}

/// All keys of one partition.
pub type Hashes = BTreeMap<ViewId, Slot>;

/// The keys of one view; opaque outside.
#[derive(Debug, Clone, Default)]
pub struct Slot(Keys);

/// A Redis of the speed layer.
#[derive(Debug)]
pub struct RedisModel {
    mutant: Option<Mutant>,
    /// Whether a view that lost a closed segment counts as lost altogether, or only that segment does.
    strict: bool,
    partitions: Mutex<BTreeMap<Partition, Hashes>>,
}

impl Meta {
    fn at(boundary: Offset) -> Meta {
        let progress = Progress::at(boundary);
        Meta { begun: 0, committed: 0, progress, closed: BTreeMap::new(), open: 0 }
    }
}

impl Keys {
    fn rows(&self, start: Offset) -> usize {
        self.segments.get(&start).map_or(0, Rows::len)
    }
    fn apply(&mut self, write: Write) {
        let Some(meta) = &mut self.progress else { return };
        match write {
            Write::Begin => meta.begun += 1,
            Write::Clear(start) => {
                self.segments.remove(&start);
            }
            Write::Row(start, row) => match self.segments.get_mut(&start).filter(|rows| !rows.is_empty()) {
                Some(rows) => rows.upsert(&row),
                None => {
                    self.segments.insert(start, row);
                }
            },
            Write::Close(start, end) => {
                let rows = self.segments.get(&start).map_or(0, Rows::len);
                meta.closed.insert(start, (end, rows));
            }
            Write::Progress(progress) => {
                meta.open = self.segments.get(&progress.segment.start).map_or(0, Rows::len);
                meta.progress = Progress { floor: meta.progress.floor, ..progress };
            }
            Write::Commit => meta.committed += 1,
        }
    }
}

/// Whether a wrong design does not keep the number of rows.
fn counts_nothing(mutant: Option<Mutant>) -> bool {
    matches!(mutant, Some(Mutant::EvictedSegment | Mutant::StateAndPositionApart | Mutant::IncrementsThenPosition))
}

/// What the script writes for one view, in order.
fn script(commit: ViewCommit) -> Vec<Write> {
    let mut writes = vec![Write::Begin];
    for segment in commit.segments {
        writes.extend(segment.end.map(|_| Write::Clear(segment.start)));
        writes.extend((0..segment.rows.len() as u32).map(|i| Write::Row(segment.start, segment.rows.gather(&[i]))));
        writes.extend(segment.end.map(|end| Write::Close(segment.start, end)));
    }
    writes.extend([Write::Progress(commit.progress), Write::Commit]);
    writes
}

/// Whether the commit's segments lead from the open segment that is stored to the one that is open then.
fn is_gap_free(commit: &ViewCommit, stored: Offset) -> bool {
    let mut at = Some(stored);
    for segment in &commit.segments {
        if at != Some(segment.start) || segment.end.is_some_and(|end| end <= segment.start) {
            return false;
        }
        at = segment.end;
    }
    let open = commit.progress.segment.start;
    let last = commit.segments.last().map_or(stored, |last| last.end.unwrap_or(last.start));
    last == open && commit.progress.position >= commit.from.max(open)
}

impl RedisModel {
    /// An empty one.
    pub fn new(mutant: Option<Mutant>, strict: bool) -> RedisModel {
        RedisModel { mutant, strict, partitions: Mutex::default() }
    }
    /// The same design without any keys.
    pub fn empty(&self) -> RedisModel {
        RedisModel::new(self.mutant, self.strict)
    }
    /// All keys of a partition.
    pub fn save(&self, partition: &Partition) -> Hashes {
        self.lock().get(partition).cloned().unwrap_or_default()
    }
    /// Falls back to other keys of a partition.
    pub fn restore(&self, partition: &Partition, saved: Hashes) {
        self.lock().insert(partition.clone(), saved);
    }
    /// Falls back with the progress of all views only, or with the rows only: each lies on a shard of its own.
    pub fn restore_half(&self, partition: &Partition, saved: Hashes, progress: bool) {
        let mut partitions = self.lock();
        let now = partitions.entry(partition.clone()).or_default();
        for (view, Slot(saved)) in saved {
            let Slot(keys) = now.entry(view).or_default();
            if progress { keys.progress = saved.progress } else { keys.segments = saved.segments }
        }
    }
    /// Loses everything.
    pub fn flush_all(&self) {
        self.lock().clear();
    }
    /// Loses one key, or one field of one.
    pub fn evict(&self, partition: &Partition, dice: &Dice) {
        let mut partitions = self.lock();
        let Some(hashes) = partitions.get_mut(partition).filter(|hashes| !hashes.is_empty()) else { return };
        let which = dice.below(hashes.len() as u64) as usize;
        let Some(Slot(keys)) = hashes.values_mut().nth(which) else { return };
        if keys.segments.is_empty() || (dice.one_in(6) && self.mutant != Some(Mutant::EvictedSegment)) {
            keys.progress = None;
            return;
        }
        let which = dice.below(keys.segments.len() as u64) as usize;
        let Some((&start, rows)) = keys.segments.iter_mut().nth(which) else { return };
        if dice.one_in(2) || rows.is_empty() {
            keys.segments.remove(&start);
        } else {
            let gone = dice.below(rows.len() as u64) as u32;
            let kept: Vec<u32> = (0..rows.len() as u32).filter(|&i| i != gone).collect();
            *rows = rows.gather(&kept);
        }
    }
    /// Runs the commit script, but only its first `writes` writes.
    ///
    /// # Errors
    /// `Internal` for commits that no worker makes.
    pub fn run(&self, partition: &Partition, commits: Vec<ViewCommit>, writes: usize) -> Result<Committed> {
        let mut partitions = self.lock();
        let hashes = partitions.entry(partition.clone()).or_default();
        let verdict = self.check(hashes, &commits)?;
        if verdict != Committed::Applied {
            return Ok(verdict);
        }
        let all = commits.into_iter().flat_map(|commit| {
            let view = commit.view.clone();
            script(commit).into_iter().map(move |write| (view.clone(), write))
        });
        for (view, write) in all.take(writes) {
            if let Some(Slot(keys)) = hashes.get_mut(&view) {
                keys.apply(write);
            }
        }
        Ok(Committed::Applied)
    }
    /// Only the rows of commits, to be followed by [`RedisModel::move_on`]: what the naive do in two steps.
    pub fn write_rows(
        &self,
        partition: &Partition,
        commits: &[ViewCommit],
        rows_of: impl Fn(&ViewCommit, usize, Rows) -> Rows,
    ) {
        let mut partitions = self.lock();
        let hashes = partitions.entry(partition.clone()).or_default();
        for commit in commits {
            let Some(Slot(keys)) = hashes.get_mut(&commit.view) else { continue };
            for (number, segment) in commit.segments.iter().enumerate() {
                let held = keys.segments.remove(&segment.start).unwrap_or_default();
                keys.segments.insert(segment.start, rows_of(commit, number, held));
            }
        }
    }
    /// Only the positions of commits.
    pub fn move_on(&self, partition: &Partition, commits: &[ViewCommit]) {
        let mut partitions = self.lock();
        let hashes = partitions.entry(partition.clone()).or_default();
        for commit in commits {
            let Some(Slot(keys)) = hashes.get_mut(&commit.view) else { continue };
            for segment in &commit.segments {
                segment.end.into_iter().for_each(|end| keys.apply(Write::Close(segment.start, end)));
            }
            keys.apply(Write::Progress(commit.progress));
        }
    }

    /// A view's progress, if it can be trusted.
    fn trusted<'a>(&self, keys: &'a Keys) -> Option<&'a Meta> {
        let meta = keys.progress.as_ref()?;
        let torn = meta.begun != meta.committed && self.mutant != Some(Mutant::TornCommitUnnoticed);
        let gone = |(&start, &(_, rows)): (&Offset, &(Offset, usize))| keys.rows(start) != rows;
        let damaged =
            keys.rows(meta.progress.segment.start) != meta.open || (self.strict && meta.closed.iter().any(gone));
        (!torn && (!damaged || counts_nothing(self.mutant))).then_some(meta)
    }
    fn check(&self, hashes: &Hashes, commits: &[ViewCommit]) -> Result<Committed> {
        let meta = |commit: &ViewCommit| hashes.get(&commit.view).and_then(|Slot(keys)| self.trusted(keys));
        if commits.iter().any(|commit| meta(commit).is_none()) {
            return Ok(Committed::Missing);
        }
        if commits.iter().any(|commit| meta(commit).is_some_and(|meta| meta.progress.position != commit.from)) {
            return Ok(Committed::Moved);
        }
        for (number, commit) in commits.iter().enumerate() {
            let twice = commits[..number].iter().any(|other| other.view == commit.view);
            let from = meta(commit).map(|meta| meta.progress.segment.start);
            let open = commit.segments.first().map_or(commit.progress.segment.start, |segment| segment.start);
            let is_sound = !twice && is_gap_free(commit, open);
            // a trim to the very position has ended the segment that the commit goes on with
            if is_sound && from.is_some_and(|from| open < from) {
                return Ok(Committed::Moved);
            }
            if !is_sound || from != Some(open) {
                return Err(Error::internal(format!("commit of {} at {} has a gap", commit.view, commit.from)));
            }
        }
        Ok(Committed::Applied)
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, Hashes>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StateStore for RedisModel {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        self.run(partition, commits, usize::MAX)
    }

    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        let mut partitions = self.lock();
        let hashes = partitions.entry(partition.clone()).or_default();
        let Slot(keys) = hashes.entry(view.clone()).or_default();
        if self.trusted(keys).is_none() {
            *keys = Keys { progress: Some(Meta::at(boundary)), segments: BTreeMap::new() };
        }
        let lost = || Error::internal("a claimed view has progress");
        self.trusted(keys).map(|meta| meta.progress).ok_or_else(lost)
    }

    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        let mut partitions = self.lock();
        let hashes = partitions.entry(partition.clone()).or_default();
        let snapshot = |view: &ViewId| {
            let Slot(keys) = hashes.get(view)?;
            let meta = self.trusted(keys)?;
            let closed = meta.closed.iter().map(|(&start, &(end, _))| ClosedSegment { start, end }).collect();
            let open = keys.segments.get(&meta.progress.segment.start).cloned().unwrap_or_default();
            Some(Snapshot { progress: meta.progress, closed, open: Arc::new(open) })
        };
        Ok(views.iter().map(snapshot).collect())
    }

    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        let partitions = self.lock();
        let Some(Slot(keys)) = partitions.get(partition).and_then(|hashes| hashes.get(view)) else { return Ok(None) };
        let said = self.trusted(keys).and_then(|meta| meta.closed.get(&start));
        let rows = keys.segments.get(&start);
        let whole = said.is_some_and(|&(_, said)| said == rows.map_or(0, Rows::len));
        let unnoticed = said.is_some() && counts_nothing(self.mutant);
        Ok((whole || unnoticed).then(|| Arc::new(rows.cloned().unwrap_or_default())))
    }

    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        let mut partitions = self.lock();
        let Some(Slot(keys)) = partitions.get_mut(partition).and_then(|hashes| hashes.get_mut(view)) else {
            return Ok(());
        };
        let Some(meta) = self.trusted(keys).filter(|meta| floor > meta.progress.floor) else { return Ok(()) };
        if floor >= meta.progress.position {
            *keys = Keys { progress: Some(Meta::at(floor)), segments: BTreeMap::new() };
            return Ok(());
        }
        if floor != meta.progress.segment.start && !meta.closed.contains_key(&floor) {
            return Err(Error::internal(format!("floor {floor} of {view} is no segment boundary")));
        }
        if let Some(meta) = &mut keys.progress {
            meta.progress.floor = floor;
            meta.closed = meta.closed.split_off(&floor);
        }
        keys.segments = keys.segments.split_off(&floor);
        Ok(())
    }

    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        if let Some(hashes) = self.lock().get_mut(partition) {
            hashes.remove(view);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_the_contract() {
        for strict in [false, true] {
            let make = async || Arc::new(RedisModel::new(None, strict)) as Arc<dyn StateStore>;
            seam_shared::state::contract::run(make).await;
        }
    }
}
