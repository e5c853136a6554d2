//! What a local state store holds of one view of one partition, and how commits, trims and snapshots change it.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::log::Offset;
use crate::state::open_rows::OpenRows;
use crate::state::{ClosedSegment, Committed, Progress, SegmentWrite, Snapshot, ViewCommit, ViewId};
use crate::view::rows::Rows;

/// Progress, boundaries and the open rows; the rows of closed segments are kept by the adapter.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) progress: Progress,
    /// Start and end of each closed segment at or above the floor.
    pub(super) closed: BTreeMap<Offset, Offset>,
    pub(super) open: OpenRows,
}

impl Held {
    /// Nothing folded yet.
    pub(super) fn at(boundary: Offset) -> Self {
        Self { progress: Progress::at(boundary), closed: BTreeMap::new(), open: OpenRows::default() }
    }
    /// The view at this moment.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        let closed = self.closed.iter().map(|(&start, &end)| ClosedSegment { start, end }).collect();
        Snapshot { progress: self.progress, closed, open: self.open.rows() }
    }
    /// Applies a commit that [`check`] let pass; hands each closed segment to `close`.
    pub(super) fn apply(&mut self, commit: ViewCommit, mut close: impl FnMut(Offset, Rows)) {
        self.progress = self.after(&commit);
        for SegmentWrite { start, end, rows } in commit.segments {
            match end {
                Some(end) => {
                    self.closed.insert(start, end);
                    self.open = OpenRows::default();
                    close(start, rows);
                }
                None => self.open.write(rows),
            }
        }
    }
    /// The progress after a commit: its own, but for the floor.
    pub(super) fn after(&self, commit: &ViewCommit) -> Progress {
        Progress { floor: self.progress.floor, ..commit.progress }
    }
    /// What raising the floor to `floor` would leave, or `None` if it changes nothing.
    pub(super) fn trimmed(&self, name: &dyn std::fmt::Display, floor: Offset) -> Result<Option<Held>> {
        if floor <= self.progress.floor {
            return Ok(None);
        }
        if floor >= self.progress.position {
            return Ok(Some(Held::at(floor)));
        }
        if floor != self.progress.segment.start && !self.closed.contains_key(&floor) {
            return Err(Error::internal(format!("floor {floor} of {name} is no segment boundary")));
        }
        let closed = self.closed.range(floor..).map(|(&start, &end)| (start, end)).collect();
        Ok(Some(Held { progress: Progress { floor, ..self.progress }, closed, open: self.open.clone() }))
    }
}

/// Whether all of `commits` may be applied to what `held` says is stored.
pub(super) fn check<'a>(commits: &[ViewCommit], held: impl Fn(&ViewId) -> Option<&'a Held>) -> Result<Committed> {
    let mut verdict = Committed::Applied;
    for commit in commits {
        match held(&commit.view) {
            None => verdict = Committed::Missing,
            Some(held) if held.progress.position != commit.from && verdict == Committed::Applied => {
                verdict = Committed::Moved;
            }
            Some(_) => {}
        }
    }
    if verdict == Committed::Applied {
        check_shape(commits)?;
        for commit in commits {
            let stored = held(&commit.view).map(|held| held.progress.segment.start);
            // A trim to the very position has ended the segment that the commit goes on with: it was overtaken, it is not wrong.
            if stored.is_some_and(|stored| open_start(commit) < stored) {
                return Ok(Committed::Moved);
            }
            if stored != Some(open_start(commit)) {
                return Err(gap(commit));
            }
        }
    }
    Ok(verdict)
}

/// Refuses commits that are wrong whatever is stored.
pub(super) fn check_shape(commits: &[ViewCommit]) -> Result<()> {
    for (number, commit) in commits.iter().enumerate() {
        let twice = commits[..number].iter().any(|other| other.view == commit.view);
        if twice || !is_gap_free(commit, open_start(commit)) {
            return Err(gap(commit));
        }
    }
    Ok(())
}

/// The start of the open segment that a commit takes to be stored.
pub(super) fn open_start(commit: &ViewCommit) -> Offset {
    commit.segments.first().map_or(commit.progress.segment.start, |segment| segment.start)
}

/// What a commit with a gap, or of one view twice, is refused with.
pub(super) fn gap(commit: &ViewCommit) -> Error {
    Error::internal(format!("commit of {} at {} has a gap", commit.view, commit.from))
}

/// Whether the commit's segments lead from the open segment that is stored to the one that it says is open then.
fn is_gap_free(commit: &ViewCommit, stored_start: Offset) -> bool {
    let mut start = stored_start;
    let mut open = false;
    for segment in &commit.segments {
        if open || segment.start != start || segment.end.is_some_and(|end| end <= start) {
            return false;
        }
        open = segment.end.is_none();
        start = segment.end.unwrap_or(start);
    }
    start == commit.progress.segment.start && commit.progress.position >= commit.from.max(start)
}

/// Several views' rows of closed segments, by start.
pub(super) type ClosedRows = BTreeMap<Offset, Arc<Rows>>;
