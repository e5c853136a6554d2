//! The speed layer's state as Redis keeps it: the hash, the closed segments and the scripts of `shared/src/state/redis`, command by
//! command, with smaller numbers. A script may be cut between any two commands, a key may be lost by itself, and (harsher than
//! Redis) a field of the hash. What is damaged must be noticed: it then counts as lost.
mod client;
mod port;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use seam_shared::error::{Error, Result};
use seam_shared::lock::lock;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::{ClosedSegment, Committed, Progress, Snapshot, ViewCommit, ViewId};
use seam_shared::view::rows::Rows;

use super::mutant::Mutant;
use crate::dice::Dice;
use client::{AtHand, Next};
pub use client::{Client, Request};

/// Deltas that are kept; 64 in the scripts.
const KEPT: u64 = 6;
/// How often a commit is sent again for all rows.
pub const ATTEMPTS: usize = 4;

/// The hash of a view.
#[derive(Debug, Clone)]
struct Fields {
    /// Position, open segment and floor, too.
    progress: Progress,
    life: u64,
    /// End and number of rows of each closed segment.
    closed: BTreeMap<Offset, (Offset, usize)>,
    /// All rows after delta `based`; `None` if the field is lost.
    base: Option<Arc<Rows>>,
    based: u64,
    last: u64,
    /// The last delta before the open segment.
    opened: u64,
    /// By number, modulo [`KEPT`].
    deltas: BTreeMap<u64, Delta>,
}

/// The rows that one commit changed.
#[derive(Debug, Clone)]
struct Delta {
    number: u64,
    from: Offset,
    rows: Rows,
}

/// The keys of one view in one partition.
#[derive(Debug, Clone, Default)]
struct Keys {
    /// `None` without the key.
    state: Option<Fields>,
    closed: BTreeMap<Offset, Rows>,
    /// The rows of every segment, where a wrong design keeps them apart from the position.
    apart: BTreeMap<Offset, Rows>,
}

/// All keys of one partition.
pub type Hashes = BTreeMap<ViewId, Slot>;

/// The keys of one view; opaque outside.
#[derive(Debug, Clone, Default)]
pub struct Slot(Keys);

/// What became of a request to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// What the port's contract says.
    Done(Committed),
    /// All rows are to be written anew, and the request does not have them.
    Full,
}

/// One write of the commit script.
#[expect(clippy::large_enum_variant, reason = "a handful live at a time")]
#[derive(Debug)]
enum Write {
    Closed(Offset, Rows),
    State { progress: Option<Progress>, rows: Option<(Vec<(Offset, Offset, usize)>, Offset, Next)> },
}

/// What a look at a view finds.
#[expect(clippy::large_enum_variant, reason = "a handful live at a time")]
enum Found {
    Nothing,
    Lost,
    Same,
    /// The rows to begin with, or none if those at hand go on; the deltas on top of them.
    Held {
        state: Fields,
        base: Option<Arc<Rows>>,
        deltas: Vec<Delta>,
    },
}

/// A Redis of the speed layer.
#[derive(Debug)]
pub struct RedisModel {
    mutant: Option<Mutant>,
    /// Names for views that are claimed, the same for all servers.
    lives: Arc<AtomicU64>,
    partitions: Mutex<BTreeMap<Partition, Hashes>>,
}

/// `newer` on top of `rows`.
fn upsert(rows: &mut Rows, newer: &Rows) {
    if rows.is_empty() {
        rows.clone_from(newer);
    } else if !newer.is_empty() {
        rows.upsert(newer);
    }
}

/// The start of the open segment that a commit takes to be stored.
fn open_start(commit: &ViewCommit) -> Offset {
    commit.segments.first().map_or(commit.progress.segment.start, |segment| segment.start)
}

/// Whether the commit's segments lead from the open segment that is stored to the one that is open then.
fn is_gap_free(commit: &ViewCommit) -> bool {
    let stored = open_start(commit);
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

fn gap(commit: &ViewCommit) -> Error {
    Error::internal(format!("commit of {} at {} has a gap", commit.view, commit.from))
}

impl Fields {
    fn at(boundary: Offset, life: u64) -> Fields {
        let (based, last, opened) = (0, 0, 0);
        let (closed, deltas) = Default::default();
        Fields {
            progress: Progress::at(boundary),
            life,
            closed,
            base: Some(Arc::default()),
            based,
            last,
            opened,
            deltas,
        }
    }
    fn delta(&self, number: u64) -> Option<&Delta> {
        self.deltas.get(&(number % KEPT)).filter(|delta| delta.number == number)
    }
    /// Whether the rows of the open segment can be put together.
    fn is_whole(&self) -> bool {
        self.base.is_some() && (self.based + 1..=self.last).all(|number| self.delta(number).is_some())
    }
    /// The fields of rows, as one command sets them.
    fn set_rows(&mut self, closed: Vec<(Offset, Offset, usize)>, from: Offset, next: Next) {
        if !closed.is_empty() && self.opened < self.last {
            for number in (self.opened + 1).max((self.last + 1).saturating_sub(KEPT))..=self.last {
                self.deltas.remove(&(number % KEPT));
            }
            (self.base, self.based, self.opened) = (Some(Arc::default()), self.last, self.last);
        }
        self.closed.extend(closed.into_iter().map(|(start, end, rows)| (start, (end, rows))));
        if let Some(rows) = next.delta {
            self.last += 1;
            self.deltas.insert(self.last % KEPT, Delta { number: self.last, from, rows });
        }
        if let Some(base) = next.base {
            (self.base, self.based) = (Some(base), self.last);
        }
    }
    /// What a client gets that has rows at hand.
    fn look(&self, at_hand: &AtHand, is_careless: bool) -> Found {
        let Progress { position, segment, floor, .. } = self.progress;
        let known = at_hand.progress;
        let found = |base, deltas| Found::Held { state: self.clone(), base, deltas };
        if at_hand.life == Some(self.life) && known.segment.start == segment.start && known.position <= position {
            if known.position == position {
                return if known.floor == floor { Found::Same } else { found(None, Vec::new()) };
            }
            let mut deltas = Vec::new();
            for number in ((self.opened + 1).max((self.last + 1).saturating_sub(KEPT))..=self.last).rev() {
                let Some(delta) = self.delta(number) else { break };
                deltas.insert(0, delta.clone());
                if delta.from <= known.position {
                    return found(None, deltas);
                }
            }
        }
        let deltas: Vec<Delta> =
            (self.based + 1..=self.last).filter_map(|number| self.delta(number).cloned()).collect();
        match &self.base {
            Some(base) if self.is_whole() => found(Some(base.clone()), deltas),
            base if is_careless => found(Some(base.clone().unwrap_or_default()), deltas),
            _ => Found::Lost,
        }
    }
}

impl Keys {
    fn has(&self, start: Offset) -> bool {
        let said = self.state.as_ref().and_then(|state| state.closed.get(&start));
        said.is_none_or(|&(_, rows)| self.closed.get(&start).is_some_and(|held| held.len() == rows))
    }
    fn apply(&mut self, write: Write) {
        match write {
            Write::Closed(start, rows) => {
                self.closed.insert(start, rows);
            }
            Write::State { progress, rows } => {
                let Some(state) = &mut self.state else { return };
                if let Some((closed, from, next)) = rows {
                    state.set_rows(closed, from, next);
                }
                if let Some(progress) = progress {
                    state.progress = Progress { floor: state.progress.floor, ..progress };
                }
            }
        }
    }
}

impl RedisModel {
    /// An empty one.
    pub fn new(mutant: Option<Mutant>) -> RedisModel {
        RedisModel { mutant, lives: Arc::default(), partitions: Mutex::default() }
    }
    /// The same design without any keys.
    pub fn empty(&self) -> RedisModel {
        RedisModel { lives: self.lives.clone(), ..RedisModel::new(self.mutant) }
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
            if progress { keys.state = saved.state } else { keys.apart = saved.apart }
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
        let rows_only = self.mutant == Some(Mutant::EvictedSegment);
        match dice.below(8) {
            0 if !rows_only => keys.state = None,
            0..3 => {
                let Some(state) = &mut keys.state else { return };
                match dice.below(state.deltas.len() as u64 + 1) {
                    0 => state.base = None,
                    which => {
                        let slot = state.deltas.keys().nth(which as usize - 1).copied();
                        slot.and_then(|slot| state.deltas.remove(&slot));
                    }
                }
            }
            fate if !keys.closed.is_empty() => {
                let which = dice.below(keys.closed.len() as u64) as usize;
                let Some((&start, rows)) = keys.closed.iter_mut().nth(which) else { return };
                if fate < 6 || rows.is_empty() {
                    keys.closed.remove(&start);
                } else {
                    let gone = dice.below(rows.len() as u64) as u32;
                    let kept: Vec<u32> = (0..rows.len() as u32).filter(|&i| i != gone).collect();
                    *rows = rows.gather(&kept);
                }
            }
            _ => {}
        }
    }

    /// Runs the commit script, but only its first `writes` commands that write.
    ///
    /// # Errors
    /// `Internal` for commits that no worker makes.
    pub fn run(&self, partition: &Partition, request: Request, writes: usize) -> Result<Reply> {
        let mut partitions = self.lock();
        let hashes = partitions.entry(partition.clone()).or_default();
        let verdict = self.check(hashes, &request)?;
        if verdict != Reply::Done(Committed::Applied) {
            return Ok(verdict);
        }
        let mut script = Vec::new();
        for (commit, next) in request.commits.into_iter().zip(request.next) {
            let from = commit.from.max(commit.progress.segment.start);
            let view = commit.view.clone();
            let mut closed = Vec::new();
            for (start, end, rows) in commit.segments.into_iter().filter_map(|s| Some((s.start, s.end?, s.rows))) {
                closed.push((start, end, rows.len()));
                script.push((view.clone(), Write::Closed(start, rows)));
            }
            let (progress, rows) = (Some(commit.progress), Some((closed, from, next)));
            if self.mutant == Some(Mutant::TornCommitUnnoticed) {
                script.push((view.clone(), Write::State { progress, rows: None }));
                script.push((view, Write::State { progress: None, rows }));
            } else {
                script.push((view, Write::State { progress, rows }));
            }
        }
        for (view, write) in script.into_iter().take(writes) {
            if let Some(Slot(keys)) = hashes.get_mut(&view) {
                keys.apply(write);
            }
        }
        Ok(verdict)
    }

    fn check(&self, hashes: &Hashes, request: &Request) -> Result<Reply> {
        let keys = |commit: &ViewCommit| hashes.get(&commit.view).map(|Slot(keys)| keys);
        let state = |commit: &ViewCommit| keys(commit).and_then(|keys| keys.state.as_ref());
        let twice: BTreeSet<&ViewId> = request.commits.iter().map(|commit| &commit.view).collect();
        if let Some(wrong) = request.commits.iter().find(|&c| twice.len() < request.commits.len() || !is_gap_free(c)) {
            return Err(gap(wrong));
        }
        let pairs = || request.commits.iter().zip(&request.next);
        let whole = |(commit, next): (&ViewCommit, &Next)| {
            let Some(keys) = keys(commit) else { return false };
            keys.state.as_ref().is_some_and(|state| {
                self.is_careless() || (state.is_whole() && next.watched.iter().all(|&start| keys.has(start)))
            })
        };
        if !pairs().all(whole) {
            return Ok(Reply::Done(Committed::Missing));
        }
        let stands = || request.commits.iter().filter_map(|commit| Some((commit, state(commit)?.progress)));
        // A trim to the very position has ended the segment that the commit goes on with.
        let moved = |c: &ViewCommit, at: Progress| at.position != c.from || open_start(c) < at.segment.start;
        if stands().any(|(commit, at)| moved(commit, at)) {
            return Ok(Reply::Done(Committed::Moved));
        }
        if let Some((wrong, _)) = stands().find(|(commit, at)| open_start(commit) != at.segment.start) {
            return Err(gap(wrong));
        }
        let full = |(commit, next): (&ViewCommit, &Next)| {
            let needs_room = next.delta.is_some() && next.base.is_none();
            needs_room && state(commit).is_some_and(|state| state.last + 1 - state.based >= KEPT)
        };
        Ok(if pairs().any(full) { Reply::Full } else { Reply::Done(Committed::Applied) })
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
                let held = keys.apart.remove(&segment.start).unwrap_or_default();
                keys.apart.insert(segment.start, rows_of(commit, number, held));
            }
        }
    }
    /// Only the positions of commits.
    pub fn move_on(&self, partition: &Partition, commits: &[ViewCommit]) {
        let mut partitions = self.lock();
        let hashes = partitions.entry(partition.clone()).or_default();
        for commit in commits {
            let Some(Slot(keys)) = hashes.get_mut(&commit.view) else { continue };
            let closed = commit.segments.iter().filter_map(|segment| Some((segment.start, segment.end?, 0))).collect();
            let rows = Some((closed, commit.from, Next::default()));
            keys.apply(Write::State { progress: Some(commit.progress), rows });
        }
    }

    /// Whether a wrong design does not look whether all rows are there.
    fn is_careless(&self) -> bool {
        self.keeps_rows_apart() || matches!(self.mutant, Some(Mutant::EvictedSegment | Mutant::TornCommitUnnoticed))
    }
    fn keeps_rows_apart(&self) -> bool {
        matches!(self.mutant, Some(Mutant::StateAndPositionApart | Mutant::IncrementsThenPosition))
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, Hashes>> {
        lock(&self.partitions)
    }

    /// The views as they stand, to a client with what it has at hand.
    pub fn look(&self, client: &Client, partition: &Partition, views: &[ViewId]) -> Vec<Option<Snapshot>> {
        let partitions = self.lock();
        let hashes = partitions.get(partition);
        let found = |at_hand: &AtHand, watched: &[Offset], view: &ViewId| {
            let Some(Slot(keys)) = hashes.and_then(|hashes| hashes.get(view)) else { return Found::Nothing };
            match &keys.state {
                None => Found::Nothing,
                Some(_) if !self.is_careless() && !watched.iter().all(|&start| keys.has(start)) => Found::Lost,
                Some(state) => state.look(at_hand, self.is_careless()),
            }
        };
        let apart = |view: &ViewId, mut held: Snapshot| {
            if self.keeps_rows_apart() {
                let keys = hashes.and_then(|hashes| hashes.get(view));
                let open = keys.and_then(|Slot(keys)| keys.apart.get(&held.progress.segment.start));
                held.open = Arc::new(open.cloned().unwrap_or_default());
            }
            held
        };
        let look = |view| client.look(partition, view, |at_hand, watched| found(at_hand, watched, view));
        views.iter().map(|view| look(view).map(|held| apart(view, held))).collect()
    }

    /// Commits what a client has, as often as it takes.
    fn commit_of(&self, client: &Client, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        for _ in 0..ATTEMPTS {
            let request = client.request(partition, commits.clone());
            match self.run(partition, request.clone(), usize::MAX)? {
                Reply::Done(done) => {
                    client.answered(partition, request, done);
                    return Ok(done);
                }
                Reply::Full => {
                    let views: Vec<ViewId> = commits.iter().map(|commit| commit.view.clone()).collect();
                    self.look(client, partition, &views);
                }
            }
        }
        Err(Error::unavailable(format!("state of {partition} keeps changing")))
    }

    /// The progress of a view, made at `boundary` where there is none that can be used.
    pub fn claim(&self, client: &Client, partition: &Partition, view: &ViewId, boundary: Offset) -> Progress {
        let whole = |keys: &Keys| {
            let Some(state) = &keys.state else { return false };
            self.is_careless() || (state.base.is_some() && state.closed.keys().all(|&start| keys.has(start)))
        };
        let is_held =
            self.lock().get(partition).and_then(|hashes| hashes.get(view)).is_some_and(|Slot(keys)| whole(keys));
        if let Some(held) =
            is_held.then(|| self.look(client, partition, std::slice::from_ref(view))[0].take()).flatten()
        {
            return held.progress;
        }
        let state = Some(Fields::at(boundary, 1 + self.lives.fetch_add(1, Ordering::Relaxed)));
        let keys = Keys { state, ..Keys::default() };
        self.lock().entry(partition.clone()).or_default().insert(view.clone(), Slot(keys));
        Progress::at(boundary)
    }
}

/// The closed segments of a hash.
fn closed(state: &Fields) -> Vec<ClosedSegment> {
    state.closed.iter().map(|(&start, &(end, _))| ClosedSegment { start, end }).collect()
}

#[cfg(test)]
mod tests;
