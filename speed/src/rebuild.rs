//! Folds a view of one partition again, into a shadow beside the live state, and compares both; where they differ, or the live one
//! does not begin where it should, the shadow can take its place. The live state is read only until then, and is exact at its own position at every moment after.
use std::sync::Arc;

use async_trait::async_trait;
use seam_shared::error::{Error, Kind, Result};
use seam_shared::event::batch::Excluded;
use seam_shared::log::{Chunk, EventLog, NewRecord, Offset, OffsetVector, Partition, Topic};
use seam_shared::segment::OpenSegment;
use seam_shared::state::{Committed, Progress, SegmentWrite, Snapshot, ViewCommit, ViewId};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::{Source, View};
use seam_shared::view::difference::difference;
use seam_shared::view::ranks::Ranks;
use seam_shared::view::rows::Rows;

use crate::cuts::Cuts;
use crate::recover::Places;
use crate::trim::first_since;
use crate::worker::{Limits, Step, Worker};

/// Where a rebuild begins: at the segment that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Where the newest generation ends, or the log begins.
    Cut,
    /// An offset.
    Offset(Offset),
    /// What the log received at this time or later.
    Time(Timestamp),
}

/// What a rebuild found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The segment boundary that it began at.
    pub from: Offset,
    /// The position that both were compared at.
    pub to: Offset,
    /// Records folded.
    pub records: u64,
    /// Segments that both hold.
    pub compared: u64,
    /// Groups in them that are not the same in both.
    pub differences: u64,
    /// Segments that the live state should hold and does not.
    pub missing: Vec<Offset>,
    /// Whether the live state is what the shadow was.
    pub swapped: bool,
}

/// One view of one partition to fold again.
#[derive(Debug)]
pub struct Rebuild<'a> {
    /// Log, state and lake.
    pub places: &'a Places,
    /// The source.
    pub source: &'a Arc<Source>,
    /// The view.
    pub view: &'a Arc<View>,
    /// The partition's number.
    pub number: u32,
    /// Segment boundaries that are known, in order: the archive's.
    pub boundaries: &'a [Offset],
    /// A name for the shadow that nothing else has.
    pub nonce: &'a str,
}

impl Rebuild<'_> {
    /// Folds from `start` to where the live state stands and compares. With `swap`, a live state that differs is replaced.
    ///
    /// # Errors
    /// `Invalid` when `start` cannot be begun at; those of log, state and lake. The shadow is gone after an error, too, if the state
    /// store can be reached.
    pub async fn run(&self, start: Start, swap: bool) -> Result<Rebuilt> {
        let shadow = self.shadow();
        let done = self.fold_and_compare(start, swap, &shadow).await;
        let forgotten = self.places.state.forget(&self.partition(), &shadow.id).await;
        let done = done?;
        forgotten?;
        Ok(done)
    }

    /// Lets the live state begin at `cut`, a boundary below where it begins. A shadow that an earlier try has left goes on where that
    /// stopped; after an error it stays for the next one.
    ///
    /// # Errors
    /// Those of log, state and lake.
    pub async fn rewind(&self, cut: Offset) -> Result<()> {
        let (shadow, partition, state) = (self.shadow(), self.partition(), &self.places.state);
        let live = self.snapshot(&self.view.id).await?.map_or(cut, |live| live.progress.position);
        let begun = state.claim(&partition, &shadow.id, cut).await?;
        // Another may fold the same shadow at the same time: it may stand anywhere by now, so that the log must not end early.
        let ranks = (cut, self.ranks(cut).await?);
        self.fold(&shadow, self.places.log.clone(), ranks, live.max(begun.position)).await?;
        let lost = || Error::unavailable(format!("the shadow of {} in {partition} was lost", self.view.id));
        let folded = self.snapshot(&shadow.id).await?.ok_or_else(lost)?;
        // Whoever lost the state meanwhile claims it at the cut: then it only has to be folded.
        if self.snapshot(&self.view.id).await?.is_none_or(|live| live.progress.floor > cut) {
            self.swap(&folded, &shadow.id).await?;
        }
        self.forget_shadow().await
    }

    /// Forgets what a rebuild of this name has left.
    ///
    /// # Errors
    /// Those of the state store.
    pub async fn forget_shadow(&self) -> Result<()> {
        self.places.state.forget(&self.partition(), &self.shadow().id).await
    }

    fn shadow(&self) -> Arc<View> {
        Arc::new(View { id: format!("{}~{}", self.view.id, self.nonce).into(), ..View::clone(self.view) })
    }

    fn partition(&self) -> Partition {
        Partition::new(self.source.name.as_str(), self.number)
    }

    async fn snapshot(&self, view: &ViewId) -> Result<Option<Snapshot>> {
        let held = self.places.state.snapshot(&self.partition(), std::slice::from_ref(view)).await?;
        Ok(held.into_iter().flatten().next())
    }

    async fn fold_and_compare(&self, start: Start, swap: bool, shadow: &Arc<View>) -> Result<Rebuilt> {
        let (partition, state) = (self.partition(), &self.places.state);
        let (log_start, log_end) = self.places.log.bounds(&partition).await?;
        let cut = self.places.cuts.cut(self.view).await?.map_or(log_start, |cut| cut.get(self.number));
        let live = self.snapshot(&self.view.id).await?;
        let to = live.as_ref().map_or(log_end, |live| live.progress.position).max(cut);
        let from = self.boundary(start, cut, log_start, to).await?;
        if swap && from > cut {
            return Err(Error::invalid(format!(
                "{partition} would be held from {from} on, but what is below {cut} alone is in a generation: begin there or before"
            )));
        }
        let ranks = self.ranks(from).await?;
        state.claim(&partition, &shadow.id, from).await?;
        let log = Arc::new(Until { log: self.places.log.clone(), end: to });
        let records = self.fold(shadow, log, (from, ranks), to).await?;
        let lost = || Error::unavailable(format!("the shadow of {} in {partition} was lost", self.view.id));
        let folded = self.snapshot(&shadow.id).await?.ok_or_else(lost)?;
        let mut found = Rebuilt { from, to, records, compared: 0, differences: 0, missing: Vec::new(), swapped: false };
        self.compare(live.as_ref(), &folded, &shadow.id, &mut found).await?;
        if swap && (found.differences > 0 || !found.missing.is_empty()) {
            self.swap(&folded, &shadow.id).await?;
            found.swapped = true;
        }
        Ok(found)
    }

    /// Of a count window, the ranks where it begins: they are known where the newest generation ends and where the log begins.
    async fn ranks(&self, from: Offset) -> Result<Ranks> {
        if self.view.count_window.is_none() || from == Offset(0) {
            return Ok(Ranks::default());
        }
        match self.places.cuts.ranks(self.view, self.number).await? {
            (cut, ranks) if cut == from => Ok(ranks),
            (cut, _) => Err(Error::invalid(format!(
                "{} numbers the events of each key: a rebuild of it begins at 0 or at the newest generation's cut, {cut}, not at {from}",
                self.view.id
            ))),
        }
    }

    /// The last segment boundary at or below where it should begin.
    async fn boundary(&self, start: Start, cut: Offset, log_start: Offset, to: Offset) -> Result<Offset> {
        let wanted = match start {
            Start::Cut => return Ok(cut),
            Start::Offset(offset) => offset,
            Start::Time(time) => first_since(self.places.log.as_ref(), &self.partition(), time, to).await?,
        };
        let partition = self.partition();
        if wanted < log_start || wanted > to {
            let message = format!("offset {wanted} of {partition} is outside what can be folded, {log_start} to {to}");
            return Err(Error::invalid(message));
        }
        let known = self.boundaries.partition_point(|boundary| *boundary <= wanted);
        let mut segment = OpenSegment::at(known.checked_sub(1).map_or(log_start, |last| self.boundaries[last]));
        if known < self.boundaries.len() {
            return Ok(segment.start);
        }
        // Beyond the archive: the rule tells.
        let mut at = segment.start;
        while at <= wanted {
            let chunk = self.places.log.read(&partition, at, 8_192, 8 << 20).await?;
            for record in chunk.iter().take_while(|record| record.offset <= wanted) {
                segment.admit(self.source.segments, record.offset, record.timestamp);
            }
            if chunk.is_empty() {
                break;
            }
            at = chunk.next;
        }
        Ok(segment.start)
    }

    /// Folds the shadow up to `to` at least; answers with the number of records.
    async fn fold(
        &self,
        shadow: &Arc<View>,
        log: Arc<dyn EventLog>,
        ranks: (Offset, Ranks),
        to: Offset,
    ) -> Result<u64> {
        let excluded = self.places.cuts.excluded(self.view, self.number).await?;
        let cuts = Arc::new(CutsOfShadow { ranks, excluded });
        let places = Places { log, state: self.places.state.clone(), cuts };
        let limits = Limits::default();
        let mut worker = Worker::new(places, self.source.clone(), vec![shadow.clone()], self.number, limits);
        let mut folded = 0;
        loop {
            match worker.step().await? {
                Step::Recovered => {}
                Step::Folded { records } => {
                    folded += records as u64;
                    // What a chunk that is not full has brought is committed.
                    if records < limits.records && worker.position().is_some_and(|position| position >= to) {
                        return Ok(folded);
                    }
                }
                Step::Idle if worker.position().is_some_and(|position| position >= to) => return Ok(folded),
                Step::Idle => {
                    let message = format!("{} does not reach {to} any more", self.partition());
                    return Err(Error::unavailable(message));
                }
            }
        }
    }

    /// Compares every segment that the shadow has with the live one. Closed ones never change; the open one is compared as both
    /// were at the same position.
    async fn compare(
        &self,
        live: Option<&Snapshot>,
        folded: &Snapshot,
        id: &ViewId,
        found: &mut Rebuilt,
    ) -> Result<()> {
        let (partition, state) = (self.partition(), &self.places.state);
        let now = self.snapshot(&self.view.id).await?;
        for segment in &folded.closed {
            let Some(new) = state.segment(&partition, id, segment.start).await? else { continue };
            match state.segment(&partition, &self.view.id, segment.start).await? {
                Some(old) => {
                    found.compared += 1;
                    found.differences += difference(Arc::unwrap_or_clone(old), Arc::unwrap_or_clone(new));
                }
                // What was trimmed, or never claimed, need not be there.
                None if now.as_ref().is_none_or(|now| segment.start >= now.progress.floor) => {
                    found.missing.push(segment.start);
                }
                None => {}
            }
        }
        let start = folded.progress.segment.start;
        let old = match live.filter(|live| live.progress.position == folded.progress.position) {
            Some(live) if live.progress.segment.start == start => Some(live.open.clone()),
            // A worker that read on knows that the segment has ended.
            Some(_) => state.segment(&partition, &self.view.id, start).await?,
            None => None,
        };
        match old {
            Some(old) => {
                found.compared += 1;
                found.differences += difference(Arc::unwrap_or_clone(old), Rows::clone(&folded.open));
            }
            None if now.as_ref().is_none_or(|now| start >= now.progress.floor) => found.missing.push(start),
            None => {}
        }
        Ok(())
    }

    /// Makes the live state what the shadow is, a segment at a time. A live worker that claims the view meanwhile folds the same
    /// segments: each of its commits that comes first makes one of these superfluous.
    async fn swap(&self, folded: &Snapshot, id: &ViewId) -> Result<()> {
        let (partition, state, live) = (self.partition(), &self.places.state, &self.view.id);
        state.forget(&partition, live).await?;
        for _ in 0..4 * (folded.closed.len() + 64) {
            let held = state.claim(&partition, live, folded.progress.floor).await?;
            if held.position >= folded.progress.position {
                return Ok(());
            }
            let start = held.segment.start;
            let (progress, write) = if start == folded.progress.segment.start {
                let rows = Rows::clone(&folded.open);
                (folded.progress, SegmentWrite { start, end: None, rows })
            } else {
                let closed = folded.closed.iter().find(|closed| closed.start == start);
                let gone = || Error::unavailable(format!("{live} in {partition} is being rebuilt by somebody else"));
                let end = closed.ok_or_else(gone)?.end;
                let rows = state.segment(&partition, id, start).await?.ok_or_else(gone)?;
                (Progress::at(end), SegmentWrite { start, end: Some(end), rows: Arc::unwrap_or_clone(rows) })
            };
            let segments = if write.end.is_none() && write.rows.is_empty() { Vec::new() } else { vec![write] };
            let commit = ViewCommit { view: live.clone(), from: held.position, progress, segments };
            match state.commit(&partition, vec![commit]).await? {
                Committed::Applied | Committed::Moved | Committed::Missing => {}
            }
        }
        Err(Error::unavailable(format!("{live} in {partition} does not come to rest")))
    }
}

/// A log that ends early.
#[derive(Debug)]
struct Until {
    log: Arc<dyn EventLog>,
    end: Offset,
}

#[async_trait]
impl EventLog for Until {
    async fn open(&self, topic: &str, partitions: u32) -> Result<Topic> {
        self.log.open(topic, partitions).await
    }
    async fn append(&self, _topic: &str, _records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>> {
        Err(Error::new(Kind::Internal, "a log that ends early takes no records"))
    }
    async fn read(&self, partition: &Partition, from: Offset, max_records: usize, max_bytes: usize) -> Result<Chunk> {
        if from >= self.end {
            return Ok(Chunk::at(from));
        }
        let chunk = self.log.read(partition, from, max_records, max_bytes).await?;
        if chunk.next <= self.end {
            return Ok(chunk);
        }
        let below = chunk.iter().take_while(|record| record.offset < self.end).count();
        let mut chunk = if below == 0 { Chunk::at(from) } else { chunk.slice(from, below, usize::MAX) };
        chunk.next = self.end;
        Ok(chunk)
    }
    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        let (start, end) = self.log.bounds(partition).await?;
        Ok((start, end.min(self.end)))
    }
    async fn wait(&self, partition: &Partition, position: Offset) -> Result<()> {
        self.log.wait(partition, position).await
    }
    async fn trim(&self, _partition: &Partition, _before: Offset) -> Result<()> {
        Ok(())
    }
}

/// A shadow has no generations of its own, but ranks where it begins.
#[derive(Debug)]
struct CutsOfShadow {
    ranks: (Offset, Ranks),
    excluded: Option<(Offset, Excluded)>,
}

#[async_trait]
impl Cuts for CutsOfShadow {
    async fn cut(&self, _view: &View) -> Result<Option<OffsetVector>> {
        Ok(None)
    }
    async fn ranks(&self, _view: &View, _partition: u32) -> Result<(Offset, Ranks)> {
        Ok(self.ranks.clone())
    }
    async fn excluded(&self, _view: &View, _partition: u32) -> Result<Option<(Offset, Excluded)>> {
        Ok(self.excluded)
    }
}
