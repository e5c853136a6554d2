//! What this process knows of a view in Redis: rows at hand that deltas go on from, and what it wrote itself. Hints, never the truth:
//! every script compares them with what is stored.
use super::reply::{self, Delta, Entry, Raw};
use super::{LOOKED_AFTER, WATCHED, checksum};
use crate::error::Result;
use crate::log::Offset;
use crate::segment::OpenSegment;
use crate::state::open_rows::OpenRows;
use crate::state::{ClosedSegment, Progress, Snapshot, ViewCommit, held};
use crate::view::rows::Rows;

/// Deltas after which all rows are written anew; the scripts keep 64.
const DELTAS_MAX: usize = 48;
/// Bytes of deltas after which all rows are written anew, at least; and more than those of the rows themselves.
const DELTA_BYTES_MIN: usize = 64 << 10;

/// What is known of one view of one partition.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The rows of the last look.
    read: ReadRows,
    /// How often they have changed.
    version: u64,
    /// The rows of the last commit of this process.
    written: Option<WrittenRows>,
    closed: Vec<Offset>,
    /// Where those begin of many closed segments that the next look and the next commit look after.
    turns: [usize; 2],
    /// The next look looks after all closed segments.
    doubted: bool,
}

/// Up to `limit` of the closed segments, others each time.
fn some(closed: &[Offset], turn: &mut usize, limit: usize) -> Vec<Offset> {
    if closed.len() <= limit {
        return closed.to_vec();
    }
    *turn = (*turn + limit) % closed.len();
    closed.iter().cycle().skip(*turn).take(limit).copied().collect()
}

#[derive(Debug)]
struct ReadRows {
    life: String,
    progress: Progress,
    closed: Vec<ClosedSegment>,
    rows: OpenRows,
}

impl Default for ReadRows {
    fn default() -> Self {
        let (life, closed, rows) = Default::default();
        ReadRows { life, progress: Progress::at(Offset(0)), closed, rows }
    }
}

#[derive(Debug, Default)]
struct WrittenRows {
    segment: Offset,
    position: Offset,
    rows: OpenRows,
    /// Deltas since all rows were written, and their bytes; those of all rows.
    deltas: usize,
    bytes: usize,
    base: usize,
}

/// What a commit writes of a view's open segment.
#[derive(Debug, Default)]
pub(super) struct Next {
    /// The rows before the commit, or with it if there is a base; `None` if they are not at hand.
    written: Option<WrittenRows>,
    /// The changed rows, spelled; empty if there are none.
    pub(super) delta: Vec<u8>,
    /// All rows, spelled; empty if they are not to be written.
    pub(super) base: Vec<u8>,
}

/// What became of an answer.
pub(super) enum Read {
    Snapshot(Snapshot),
    /// There is no state.
    Nothing,
    /// It goes on from rows that are not at hand any more.
    Again,
}

/// The rows that a commit changes in the segment that it leaves open.
fn open_rows(commit: &ViewCommit) -> Option<&Rows> {
    commit.segments.last().filter(|segment| segment.end.is_none() && !segment.rows.is_empty()).map(|s| &s.rows)
}

fn closes(commit: &ViewCommit) -> bool {
    commit.segments.iter().any(|segment| segment.end.is_some())
}

impl Known {
    /// The rows at hand: their life and what they are the rows of, and the number to read an answer by.
    pub(super) fn at_hand(&self) -> (&str, Progress, u64) {
        (&self.read.life, self.read.progress, self.version)
    }

    fn snapshot(&mut self) -> Read {
        let ReadRows { progress, closed, rows, .. } = &mut self.read;
        Read::Snapshot(Snapshot { progress: *progress, closed: closed.clone(), open: rows.rows() })
    }

    /// The look number `asked` was answered with nothing new.
    pub(super) fn same(&mut self, asked: u64) -> Read {
        self.doubted &= asked != self.version;
        if asked == self.version { self.snapshot() } else { Read::Again }
    }

    /// The closed segments that a commit looks after.
    pub(super) fn watched(&mut self) -> Vec<Offset> {
        some(&self.closed, &mut self.turns[0], WATCHED)
    }

    /// The closed segments that a look looks after.
    pub(super) fn looked_after(&mut self) -> Vec<Offset> {
        let limit = if self.doubted { usize::MAX } else { LOOKED_AFTER };
        some(&self.closed, &mut self.turns[1], limit)
    }

    /// There is no state.
    pub(super) fn nothing(&mut self) -> Read {
        *self = Known { version: self.version + 1, ..Known::default() };
        Read::Nothing
    }

    /// Something of the state is not there or damaged, as a look or a commit has found: the next look fetches everything and looks after
    /// all that there was. One that went on from the rows at hand would not miss a delta that is in them.
    pub(super) fn lost(&mut self) {
        self.version += 1;
        self.read = ReadRows::default();
        self.doubted = true;
    }

    /// Takes in what the look number `asked` was answered with.
    pub(super) fn read(&mut self, raw: Raw, asked: u64) -> Result<Read> {
        let Raw { position, floor, progress, life, closed, base, deltas } = raw;
        let progress: Progress = serde_json::from_str(&progress).map_err(|_| reply::damaged())?;
        let progress = Progress { floor, ..progress };
        let entries = Entry::all(&closed)?;
        let end = entries.iter().try_fold(floor, |at, entry| (entry.start == at).then_some(entry.end));
        if progress.position != position || end != Some(progress.segment.start) {
            return Err(reply::damaged());
        }
        let begins = life != self.read.life && !entries.is_empty();
        match base {
            Some(base) => {
                let mut rows = OpenRows::default();
                if !base.is_empty() {
                    rows.write(reply::base(&base)?);
                }
                self.version += 1;
                self.read = ReadRows { life, rows, ..ReadRows::default() };
            }
            None if asked != self.version => return Ok(Read::Again),
            None => {}
        }
        let mut before = None;
        for delta in deltas {
            let Delta { number, rows } = reply::delta(&delta)?;
            if before.is_some_and(|before: u64| before + 1 != number) {
                return Err(reply::damaged());
            }
            before = Some(number);
            self.read.rows.write(rows);
        }
        if self.read.progress != progress {
            self.version += 1;
            self.read.progress = progress;
            self.read.closed = entries.iter().map(|&Entry { start, end, .. }| ClosedSegment { start, end }).collect();
            self.closed = entries.iter().map(|entry| entry.start).collect();
        }
        // Of a view that was not known before, every closed segment is looked after once.
        self.doubted = begins;
        Ok(if begins { Read::Again } else { self.snapshot() })
    }

    /// What a commit is to write.
    pub(super) fn next(&mut self, commit: &ViewCommit) -> Next {
        let start = held::open_start(commit);
        let Progress { segment: OpenSegment { start: segment, .. }, position, .. } = self.read.progress;
        let at_hand = |segment: Offset, position: Offset| segment == start && position == commit.from;
        let mut written = match self.written.take() {
            // Nothing is in a segment that has just begun.
            _ if closes(commit) || commit.from == start => Some(WrittenRows::default()),
            Some(written) if at_hand(written.segment, written.position) => Some(written),
            // How much there is of deltas is not known: so all rows come with the next one.
            Some(_) | None => at_hand(segment, position).then(|| WrittenRows {
                rows: self.read.rows.clone(),
                deltas: DELTAS_MAX,
                ..WrittenRows::default()
            }),
        };
        let Some(changed) = open_rows(commit) else { return Next { written, ..Next::default() } };
        let mut base = Vec::new();
        if let Some(written) = &mut written
            && (written.deltas >= DELTAS_MAX || written.bytes > written.base.max(DELTA_BYTES_MIN))
        {
            written.rows.write(changed.clone());
            base = spelled(&written.rows.rows(), None);
            (written.deltas, written.bytes, written.base) = (0, 0, base.len());
        }
        let from = commit.from.max(commit.progress.segment.start);
        Next { written, delta: spelled(changed, Some(from)), base }
    }

    /// A commit was applied.
    pub(super) fn applied(&mut self, commit: &mut ViewCommit, next: Next) {
        for segment in commit.segments.iter().filter(|segment| segment.end.is_some()) {
            self.closed.push(segment.start);
        }
        let Next { written, delta, base } = next;
        let Some(mut written) = written else { return };
        (written.segment, written.position) = (commit.progress.segment.start, commit.progress.position);
        if !delta.is_empty() && base.is_empty() {
            written.deltas += 1;
            written.bytes += delta.len();
            if let Some(open) = commit.segments.last_mut() {
                written.rows.write(std::mem::take(&mut open.rows));
            }
        }
        self.written = Some(written);
    }
}

/// Rows behind their checksum; of changed rows, the position that they start from comes first.
fn spelled(rows: &Rows, from: Option<Offset>) -> Vec<u8> {
    let bytes = rows.encode();
    let from = from.map_or(String::new(), |from| format!("{from} "));
    let mut out = Vec::with_capacity(bytes.len() + 64);
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(checksum(&bytes).as_bytes());
    out.push(b' ');
    out.extend_from_slice(&bytes);
    out
}
