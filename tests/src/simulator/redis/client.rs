//! What a client of the modelled Redis knows, as `state/redis/known.rs` does: rows at hand that deltas go on from, and what it wrote
//! itself. Hints, never the truth; they outlive failovers, and servers that lost everything.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use seam_shared::lock::lock;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::{ClosedSegment, Committed, Progress, Snapshot, ViewCommit, ViewId};
use seam_shared::view::rows::Rows;

use super::{Found, closed, open_start, upsert};

/// Deltas after which all rows are written anew; fewer than the server keeps.
const DELTAS_MAX: usize = 4;
/// How many closed segments a commit and a look look after, in turn.
const LOOKED_AFTER: usize = 2;

/// Rows at hand, and what they are the rows of.
#[derive(Debug, Clone)]
pub(super) struct AtHand {
    pub(super) life: Option<u64>,
    pub(super) progress: Progress,
    closed: Vec<ClosedSegment>,
    rows: Rows,
}

impl Default for AtHand {
    fn default() -> Self {
        AtHand { life: None, progress: Progress::at(Offset(0)), closed: Vec::new(), rows: Rows::default() }
    }
}

/// The rows of the last commit.
#[derive(Debug, Clone, Default)]
struct Written {
    segment: Offset,
    position: Offset,
    rows: Rows,
    deltas: usize,
}

/// What is known of one view of one partition.
#[derive(Debug, Default)]
struct Known {
    read: AtHand,
    written: Option<Written>,
    closed: Vec<Offset>,
    turn: usize,
    /// The next look looks after all closed segments.
    doubted: bool,
}

/// What a commit writes of a view's open segment.
#[derive(Debug, Clone, Default)]
pub(super) struct Next {
    written: Option<Written>,
    pub(super) delta: Option<Rows>,
    pub(super) base: Option<Arc<Rows>>,
    pub(super) watched: Vec<Offset>,
}

/// A request to commit, as it is sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// The port's words.
    pub commits: Vec<ViewCommit>,
    pub(super) next: Vec<Next>,
}

impl Request {
    /// For a store that keeps no deltas.
    pub fn plain(commits: Vec<ViewCommit>) -> Request {
        Request { commits, next: Vec::new() }
    }
}

/// A client of any number of servers, one after the other.
#[derive(Debug, Default)]
pub struct Client {
    known: Mutex<BTreeMap<(Partition, ViewId), Known>>,
}

impl Known {
    fn watched(&mut self) -> Vec<Offset> {
        if self.doubted || self.closed.len() <= LOOKED_AFTER {
            return self.closed.clone();
        }
        self.turn = (self.turn + LOOKED_AFTER) % self.closed.len();
        self.closed.iter().cycle().skip(self.turn).take(LOOKED_AFTER).copied().collect()
    }

    fn next(&mut self, commit: &ViewCommit) -> Next {
        let start = open_start(commit);
        let Progress { position, segment, .. } = self.read.progress;
        let closes = commit.segments.iter().any(|segment| segment.end.is_some());
        let mut written = match self.written.take() {
            _ if closes || commit.from == start => Some(Written::default()),
            Some(written) if (written.segment, written.position) == (start, commit.from) => Some(written),
            _ => ((segment.start, position) == (start, commit.from)).then(|| {
                let rows = self.read.rows.clone();
                Written { rows, deltas: DELTAS_MAX, ..Written::default() }
            }),
        };
        let watched = self.watched();
        let open = commit.segments.last().filter(|segment| segment.end.is_none() && !segment.rows.is_empty());
        let Some(changed) = open.map(|segment| &segment.rows) else {
            return Next { written, watched, ..Next::default() };
        };
        let mut base = None;
        if let Some(written) = &mut written {
            upsert(&mut written.rows, changed);
            written.deltas += 1;
            if written.deltas > DELTAS_MAX {
                written.deltas = 0;
                base = Some(Arc::new(written.rows.clone()));
            }
        }
        Next { written, delta: Some(changed.clone()), base, watched }
    }

    fn applied(&mut self, commit: &ViewCommit, next: Next) {
        let closed = commit.segments.iter().filter(|segment| segment.end.is_some());
        self.closed.extend(closed.map(|segment| segment.start));
        let (segment, position) = (commit.progress.segment.start, commit.progress.position);
        self.written = next.written.map(|written| Written { segment, position, ..written });
    }

    /// Takes in what a look has found; `None` where it has to look again.
    fn take_in(&mut self, found: Found) -> Option<Option<Snapshot>> {
        match found {
            Found::Nothing | Found::Lost => {
                *self = Known::default();
                return Some(None);
            }
            Found::Same => self.doubted = false,
            Found::Held { state, base, deltas } => {
                let begins = self.read.life != Some(state.life) && !state.closed.is_empty();
                if let Some(base) = base {
                    self.read.rows = Rows::clone(&base);
                }
                deltas.iter().for_each(|delta| upsert(&mut self.read.rows, &delta.rows));
                self.read.closed = closed(&state);
                self.closed = self.read.closed.iter().map(|segment| segment.start).collect();
                (self.read.life, self.read.progress, self.doubted) = (Some(state.life), state.progress, begins);
                if begins {
                    return None;
                }
            }
        }
        let AtHand { progress, closed, rows, .. } = &self.read;
        Some(Some(Snapshot { progress: *progress, closed: closed.clone(), open: Arc::new(rows.clone()) }))
    }
}

impl Client {
    fn with<T>(&self, partition: &Partition, view: &ViewId, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = lock(&self.known);
        work(known.entry((partition.clone(), view.clone())).or_default())
    }

    /// A request with the rows that this client has.
    pub fn request(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Request {
        let next = |commit: &ViewCommit| self.with(partition, &commit.view, |known| known.next(commit));
        let next = commits.iter().map(next).collect();
        Request { commits, next }
    }

    /// A request was answered.
    pub fn answered(&self, partition: &Partition, request: Request, done: Committed) {
        for (commit, next) in request.commits.iter().zip(request.next) {
            self.with(partition, &commit.view, |known| match done {
                Committed::Applied => known.applied(commit, next),
                Committed::Missing => known.doubted = true,
                Committed::Moved => {}
            });
        }
    }

    pub(super) fn look(
        &self,
        partition: &Partition,
        view: &ViewId,
        find: impl Fn(&AtHand, &[Offset]) -> Found,
    ) -> Option<Snapshot> {
        self.with(partition, view, |known| {
            loop {
                let watched = known.watched();
                let found = find(&known.read, &watched);
                if let Some(held) = known.take_in(found) {
                    return held;
                }
            }
        })
    }
}
