//! Chunks of the log -> segments -> commits: what a worker holds in memory. Pure; dropped whenever it is in doubt.
use std::sync::Arc;

use seam_shared::event::batch::Excluded;
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::log::{Anchor, Chunk, Offset};
use seam_shared::segment::OpenSegment;
use seam_shared::state::{Progress, SegmentWrite, Snapshot, ViewCommit, ViewId};
use seam_shared::view::definition::{Source, View};
use seam_shared::view::ranks::Ranks;

use crate::fold::Fold;
use crate::tally::{Tallies, Tally};

/// A decoder with a dictionary of more texts than this starts anew.
const DECODER_TEXTS: usize = 1 << 16;

/// How much of what was folded a commit takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of it: the freshest state.
    Everything,
    /// Closed segments only: no row is ever written twice.
    Closed,
}

/// The open segment of one partition, for views whose positions may differ.
#[derive(Debug)]
pub struct Segments {
    source: Arc<Source>,
    decoder: Decoder,
    duplicates: Duplicates,
    fold: Fold,
    tallies: Tallies,
    seats: Vec<Seat>,
    /// The next offset to read: the lowest position of all views.
    position: Offset,
    /// The open segment at `position`.
    open: OpenSegment,
    /// The last record below `position`.
    anchor: Option<Anchor>,
    /// What lies below `position` and counts nowhere, where that is known.
    excluded: Option<Excluded>,
}

/// A view, and what its state is where it stands.
#[derive(Debug)]
pub struct Resumed {
    /// The view.
    pub view: Arc<View>,
    /// What the store holds.
    pub snapshot: Snapshot,
    /// Of a count window: the ranks at its position.
    pub ranks: Ranks,
}

/// One view's place.
#[derive(Debug)]
struct Seat {
    view: Arc<View>,
    /// Folded up to here, in memory.
    position: Offset,
    /// Committed up to here.
    committed: Offset,
    /// The start of its open segment.
    open: Offset,
    /// The last record below `open`, once a segment has closed here; and what lies below it and counts nowhere.
    anchor: Option<Anchor>,
    excluded: Option<Excluded>,
    /// Segments that closed since the last commit.
    closed: Vec<SegmentWrite>,
}

impl Segments {
    /// Goes on where the store stands. `duplicates` must remember what lies below the lowest position.
    pub fn resume(
        source: &Arc<Source>,
        partition: u32,
        views: Vec<Resumed>,
        decoder: Decoder,
        duplicates: Duplicates,
    ) -> Self {
        let definitions: Vec<Arc<View>> = views.iter().map(|resumed| resumed.view.clone()).collect();
        let mut fold = Fold::new(&definitions, partition);
        let tallies = Tallies::new(source, &definitions);
        // At one position, one view may stand in a segment that another knows to have ended there: the earlier start leads.
        let lowest =
            views.iter().map(|resumed| resumed.snapshot.progress).min_by_key(|p| (p.position, p.segment.start));
        let lowest = lowest.unwrap_or(Progress::at(Offset(0)));
        let mut seats = Vec::with_capacity(views.len());
        for (v, Resumed { view, snapshot, ranks }) in views.into_iter().enumerate() {
            fold.refill(v, &snapshot.open);
            fold.count_from(v, ranks);
            let Progress { position, segment, anchor, excluded, .. } = snapshot.progress;
            let (open, closed) = (segment.start, Vec::new());
            seats.push(Seat { view, position, committed: position, open, anchor, excluded, closed });
        }
        let source = source.clone();
        let Progress { position, segment: open, anchor, excluded, .. } = lowest;
        Self { source, decoder, duplicates, fold, tallies, seats, position, open, anchor, excluded }
    }

    /// The next offset to read.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// How far each view is committed.
    pub fn committed(&self) -> impl Iterator<Item = (ViewId, Offset)> {
        self.seats.iter().map(|seat| (seat.view.id.clone(), seat.committed))
    }

    /// Folds the records that follow [`Segments::position`]. Answers with the number of segments that closed.
    pub fn take(&mut self, chunk: &Chunk) -> usize {
        let mut batch = self.decoder.decode(chunk);
        self.duplicates.mark(&mut batch);
        self.tallies.add(&batch);
        self.fold.begin(&batch);
        let starts: Vec<usize> =
            self.seats.iter().map(|seat| batch.offsets.partition_point(|&offset| offset < seat.position)).collect();
        let (mut run, mut closed) = (0, 0);
        for i in 0..batch.offsets.len() {
            let start = self.open.start;
            let rule = self.source.segments;
            if let Some(boundary) = self.open.admit(rule, batch.offsets[i], batch.log_times[i]) {
                self.fold.fold(&batch, run..i, &starts);
                let last = if i == 0 { self.anchor } else { Some(Anchor::of(&chunk.get(i - 1))) };
                self.close(start, boundary, last);
                run = i;
                closed += 1;
            }
            if let Some(excluded) = &mut self.excluded {
                excluded.note(batch.verdicts[i]);
            }
        }
        self.fold.fold(&batch, run..batch.offsets.len(), &starts);
        self.position = chunk.next;
        if let Some(last) = chunk.len().checked_sub(1) {
            self.anchor = Some(Anchor::of(&chunk.get(last)));
        }
        for seat in &mut self.seats {
            seat.position = seat.position.max(chunk.next);
        }
        if self.decoder.texts() > DECODER_TEXTS {
            self.decoder.reset();
            self.fold.forget_texts();
        }
        closed
    }

    /// What the records taken since the last call were.
    pub fn tally(&mut self) -> Tally {
        self.tallies.take()
    }

    /// Ends the open segment, whose last record is `last`, of every view that is in it; a view further on has its rows of it in
    /// the store already.
    fn close(&mut self, start: Offset, boundary: Offset, last: Option<Anchor>) {
        for (v, seat) in self.seats.iter_mut().enumerate().filter(|(_, seat)| seat.open == start) {
            seat.closed.push(SegmentWrite { start, end: Some(boundary), rows: self.fold.take_all(v) });
            (seat.open, seat.anchor, seat.excluded) = (boundary, last, self.excluded);
        }
    }

    /// What to commit now; counts as committed from now on, so a commit that is not applied leaves this useless.
    pub fn commits(&mut self, reach: Reach) -> Vec<ViewCommit> {
        let mut commits = Vec::with_capacity(self.seats.len());
        for (v, seat) in self.seats.iter_mut().enumerate() {
            // A view further on than the others has nothing to add until they reach it.
            let everything = reach == Reach::Everything && seat.position == self.position;
            let position = if everything { self.position } else { seat.open };
            if position <= seat.committed {
                continue;
            }
            let mut segments = std::mem::take(&mut seat.closed);
            let mut progress = Progress { anchor: seat.anchor, excluded: seat.excluded, ..Progress::at(position) };
            if everything {
                (progress.segment, progress.anchor, progress.excluded) = (self.open, self.anchor, self.excluded);
                let rows = self.fold.take_changes(v);
                if !rows.is_empty() {
                    segments.push(SegmentWrite { start: self.open.start, end: None, rows });
                }
            }
            commits.push(ViewCommit { view: seat.view.id.clone(), from: seat.committed, progress, segments });
            seat.committed = position;
        }
        commits
    }
}
