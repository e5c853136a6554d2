//! The archiver of one partition: from A it reads the log, decodes, and appends whole closed segments to the archive as files.
//!
//! The archive is the only memory: a restart reads A from it and the ids that the duplicate rule needs from its last files. A
//! crash leaves an object that no version names. Of two archivers one wins each commit; the other goes on from there.
//!
//! The open segment of a source that falls silent, or is slow, is kept as a [`Tail`] where the log may forget it, and read from there
//! again: it is archived as ever once another record ends it.
mod witness;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use seam_shared::clock::Clock;
use seam_shared::error::{Error, Kind, Result};
use seam_shared::event::batch::EventBatch;
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::lake::archive::{ArchiveSnapshot, ArchiveTable, NewFile, Tail};
use seam_shared::lake::archive_file;
use seam_shared::log::tiered::TieredLog;
use seam_shared::log::{Anchor, Chunk, EventLog, Offset, Partition, anchor};
use seam_shared::segment::OpenSegment;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::Source;
use tokio_util::sync::CancellationToken;

pub use witness::Witness;

/// When closed segments become a file, and how much is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A file is written when the closed segments hold so many records.
    pub file_events: u64,
    /// Or so many bytes of events.
    pub file_bytes: u64,
    /// Or when the first of them has waited so long.
    pub delay_max: Span,
    /// Records of one read.
    pub chunk_events: usize,
    /// Bytes of one read.
    pub chunk_bytes: usize,
    /// The records of an open segment are kept as a tail when the first of them that is in none was read so long ago. `None` for a log
    /// that forgets nothing by itself.
    pub tail_after: Option<Span>,
}

/// How long a record waits for its segment's end before it is kept in a tail: far less than any log keeps records, far more than most
/// segments stay open.
pub const SILENCE: Span = Span(10 * Span::MINUTE.0);

impl Default for Settings {
    fn default() -> Self {
        Self {
            file_events: 262_144,
            file_bytes: 256 << 20,
            delay_max: Span(30 * Span::SECOND.0),
            chunk_events: 16_384,
            chunk_bytes: 8 << 20,
            tail_after: None,
        }
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It took in so many records.
    Read(usize),
    /// It archived up to this position.
    Archived(Offset),
    /// Another archiver was first: the next step goes on from where the archive is now.
    Moved,
    /// There is nothing to do until the log grows or a closed segment has waited long enough.
    Idle,
}

/// The archiver of one partition.
#[derive(Debug)]
pub struct Archiver {
    log: Arc<dyn EventLog>,
    /// The same with the tail below.
    tiered: TieredLog,
    archive: Arc<ArchiveTable>,
    source: Arc<Source>,
    partition: Partition,
    clock: Arc<dyn Clock>,
    settings: Settings,
    witness: Option<Witness>,
    reading: Option<Reading>,
}

/// What is read beyond A. Dropped whole whenever A turns out to be elsewhere.
#[derive(Debug)]
struct Reading {
    decoder: Decoder,
    duplicates: Duplicates,
    /// A, or where the log starts if nothing is archived yet.
    archived: Offset,
    /// The next offset to read.
    position: Offset,
    segment: OpenSegment,
    /// Starts of the closed segments at or above A.
    closed: Vec<Offset>,
    /// Records and bytes at or above A when the newest of them closed.
    closed_events: u64,
    closed_bytes: u64,
    /// When the first of them closed.
    closed_since: Timestamp,
    /// Records and bytes at or above A.
    events: u64,
    bytes: u64,
    /// Up to where they are kept as a tail, and when the first record of the open segment behind that was read.
    kept: Offset,
    waits: Timestamp,
    /// Whether there is a tail from A on.
    tailed: bool,
    /// The records at or above A (the first part may begin below), decoded.
    parts: Vec<(EventBatch, Chunk)>,
}

impl Archiver {
    /// An archiver of `partition` of `source`. Nothing is read yet.
    pub fn new(
        log: Arc<dyn EventLog>,
        archive: Arc<ArchiveTable>,
        source: Arc<Source>,
        partition: u32,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Archiver {
        let partition = Partition::new(source.name.as_str(), partition);
        let tiered = TieredLog::new(log.clone(), BTreeMap::from([(source.name.clone(), archive.clone())]));
        Archiver { log, tiered, archive, source, partition, clock, settings, witness: None, reading: None }
    }
    /// The same, which archives nothing while the log does not hold what `witness` says it held.
    #[must_use]
    pub fn with_witness(self, witness: Witness) -> Archiver {
        Archiver { witness: Some(witness), ..self }
    }
    /// Reads one chunk, or writes and commits one file. Dropped at any await it loses nothing but time.
    ///
    /// # Errors
    /// What the log, the store or the archive cannot do; the archiver stays usable. `NotFound` when the log no longer holds what is not
    /// archived yet: those records are lost, and only a person can decide to go on.
    pub async fn step(&mut self) -> Result<Step> {
        let reading = self.reading().await?;
        let waited = self.clock.now().0.saturating_sub(reading.closed_since.0);
        let due = reading.closed_events >= self.settings.file_events
            || reading.closed_bytes >= self.settings.file_bytes
            || !(0..self.settings.delay_max.0).contains(&waited);
        if due && !reading.closed.is_empty() {
            return self.write(reading).await;
        }
        self.read(reading).await
    }
    /// Archives every segment that is closed by now, however small; answers with A.
    ///
    /// # Errors
    /// As [`Archiver::step`].
    pub async fn drain(&mut self) -> Result<Offset> {
        loop {
            if self.step().await? != Step::Idle {
                continue;
            }
            let reading = self.reading().await?;
            if reading.closed.is_empty() {
                let archived = reading.archived;
                self.reading = Some(reading);
                return Ok(archived);
            }
            self.write(reading).await?;
        }
    }
    /// Steps until cancelled; waits while there is nothing to do, and after trouble that may pass.
    ///
    /// # Errors
    /// As [`Archiver::step`], but for `Unavailable`, which is tried again.
    pub async fn run(&mut self, cancel: CancellationToken) -> Result<()> {
        loop {
            let stepped = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                stepped = self.step() => stepped,
            };
            let idle = match stepped {
                Ok(Step::Idle) => true,
                Ok(Step::Read(_) | Step::Archived(_) | Step::Moved) => false,
                Err(error) if error.kind() == Kind::Unavailable => {
                    tracing::warn!(partition = %self.partition, %error, "archiving will be tried again");
                    true
                }
                Err(error) => return Err(error),
            };
            if idle {
                tokio::select! {
                    () = cancel.cancelled() => return Ok(()),
                    () = self.pause() => {}
                }
            }
        }
    }

    /// Until the log grows, but not too long: a closed segment may come of age.
    async fn pause(&self) {
        const LONGEST: Duration = Duration::from_secs(1);
        let grown = async {
            match &self.reading {
                Some(reading) => self.log.wait(&self.partition, reading.position).await,
                None => Err(Error::unavailable("not reading")),
            }
        };
        if !matches!(tokio::time::timeout(LONGEST, grown).await, Ok(Ok(()))) {
            // a log that cannot be waited for is tried again at the same pace
            tokio::time::sleep(LONGEST / 4).await;
        }
    }
    /// Takes what is read so far; begins at A if that is nothing.
    async fn reading(&mut self) -> Result<Reading> {
        if let Some(reading) = self.reading.take() {
            return Ok(reading);
        }
        let archive = self.archive.latest().await?;
        let archived = match archive.position(self.partition.number) {
            Some(position) => position,
            None => self.tiered.beginning(&self.partition).await?,
        };
        self.check(&archive, archived).await?;
        let mut tailed = false;
        if self.settings.tail_after.is_some() {
            let archived = archive.position(self.partition.number);
            tailed = self.archive.tail(self.partition.number, archived).await?.is_some();
            self.drop_tails(archived.unwrap_or_default()).await;
        }
        let duplicates = self.archive.duplicates(&archive, self.partition.number, self.source.duplicates).await?;
        Ok(Reading {
            decoder: Decoder::new(Arc::clone(&self.source)),
            duplicates,
            archived,
            position: archived,
            segment: OpenSegment::at(archived),
            closed: Vec::new(),
            closed_events: 0,
            closed_bytes: 0,
            closed_since: Timestamp::default(),
            events: 0,
            bytes: 0,
            kept: archived,
            waits: self.clock.now(),
            tailed,
            parts: Vec::new(),
        })
    }
    /// Refuses to archive behind a record that is not in the log as it was archived.
    async fn check(&self, archive: &ArchiveSnapshot, archived: Offset) -> Result<()> {
        let (_, end) = self.log.bounds(&self.partition).await?;
        if archived > end {
            return Err(anchor::cut(&self.partition, &format!("ends at {end}, but is archived up to {archived}")));
        }
        if let Some(anchor) = archive.files_of(self.partition.number).last().and_then(|file| file.anchor) {
            anchor.check(self.log.as_ref(), &self.partition).await?;
        }
        self.hear().await
    }
    /// Refuses to archive a log that has lost what the speed layer folded of it.
    async fn hear(&self) -> Result<()> {
        match &self.witness {
            Some(witness) => witness.check(self.log.as_ref(), &self.partition).await,
            None => Ok(()),
        }
    }
    async fn read(&mut self, mut reading: Reading) -> Result<Step> {
        let (records, bytes) = (self.settings.chunk_events, self.settings.chunk_bytes);
        let chunk = match self.tiered.read(&self.partition, reading.position, records, bytes).await {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == Kind::NotFound => return Err(self.lost(reading.position, error)),
            Err(error) => {
                self.reading = Some(reading);
                return Err(error);
            }
        };
        let read = chunk.len();
        reading.take_in(chunk, &self.source, self.clock.now());
        let kept = self.keep(&mut reading).await;
        self.reading = match &kept {
            Err(error) if error.kind() == Kind::Conflict => return Ok(Step::Moved),
            Ok(()) | Err(_) => Some(reading),
        };
        kept.map(|()| if read == 0 { Step::Idle } else { Step::Read(read) })
    }
    /// Keeps the open segment as a tail if that is wanted, and it has waited long enough for its end.
    async fn keep(&self, reading: &mut Reading) -> Result<()> {
        let waited = self.clock.now().0.saturating_sub(reading.waits.0);
        let due = self.settings.tail_after.is_some_and(|after| !(0..after.0).contains(&waited));
        // What is closed is archived within `delay_max`: the open segment alone is left then.
        if !due || !reading.closed.is_empty() || reading.events == 0 || reading.kept >= reading.position {
            return Ok(());
        }
        self.log.open(&self.partition.source, self.source.partitions).await?;
        self.hear().await?;
        self.archive.keep_tail(self.partition.number, &reading.tail()).await?;
        (reading.kept, reading.tailed) = (reading.position, true);
        let (partition, events) = (&self.partition, reading.events);
        tracing::info!(%partition, events, "a segment waits long for its end: it is kept beside the archive");
        Ok(())
    }
    /// Drops the tails of what is archived by now. That none is left behind is a matter of tidiness alone.
    async fn drop_tails(&self, archived: Offset) {
        if let Err(error) = self.archive.drop_tails(self.partition.number, archived).await {
            tracing::warn!(partition = %self.partition, %error, "tails of what is archived could not be dropped");
        }
    }
    async fn write(&mut self, reading: Reading) -> Result<Step> {
        // A topic that was made again since these records were read is noticed here, before they are archived.
        self.log.open(&self.partition.source, self.source.partitions).await?;
        self.hear().await?;
        let range = reading.archived..reading.segment.start;
        let content = archive_file::write(&self.source, self.partition.number, &reading.parts, range.clone())?;
        let Range { start: from, end: to } = range;
        let boundaries = reading.closed.clone();
        let anchor = reading.last_below(to);
        let file = NewFile { partition: self.partition.number, from, to, boundaries, content, anchor };
        match self.archive.commit_file(file).await {
            Ok(_) => {
                if reading.tailed {
                    self.drop_tails(to).await;
                }
                self.reading = Some(reading.archived());
                Ok(Step::Archived(to))
            }
            Err(error) if error.kind() == Kind::Conflict => {
                tracing::info!(partition = %self.partition, %error, "another archiver was first");
                Ok(Step::Moved)
            }
            Err(error) => Err(error), // whether it was committed is seen when the archive is read again
        }
    }
    fn lost(&self, position: Offset, cause: Error) -> Error {
        let partition = &self.partition;
        Error::not_found(format!("the log of {partition} no longer holds {position}, the next to be archived"))
            .because(cause)
    }
}

impl Reading {
    fn take_in(&mut self, chunk: Chunk, source: &Source, now: Timestamp) {
        if self.kept >= self.position {
            self.waits = now;
        }
        for record in chunk.iter() {
            let before = self.segment.start;
            if let Some(_boundary) = self.segment.admit(source.segments, record.offset, record.timestamp) {
                if self.closed.is_empty() {
                    self.closed_since = now;
                }
                self.closed.push(before);
                self.waits = now;
                (self.closed_events, self.closed_bytes) = (self.events, self.bytes);
            }
            self.events += 1;
            self.bytes += record.value.len() as u64;
        }
        self.position = chunk.next;
        if !chunk.is_empty() {
            let mut batch = self.decoder.decode(&chunk);
            self.duplicates.mark(&mut batch);
            self.parts.push((batch, chunk));
        }
    }
    /// The last record below `position`.
    fn last_below(&self, position: Offset) -> Option<Anchor> {
        let last = |chunk: &Chunk| {
            let below = (0..chunk.len()).rev().map(|i| chunk.get(i)).find(|record| record.offset < position);
            below.map(|record| Anchor::of(&record))
        };
        self.parts.iter().rev().find_map(|(_, chunk)| last(chunk))
    }
    /// All records at or above A.
    fn tail(&self) -> Tail {
        let mut records = Chunk::at(self.archived);
        for record in self.parts.iter().flat_map(|(_, chunk)| chunk.iter()) {
            if record.offset >= self.archived {
                records.push(record.offset, record.timestamp, record.value);
            }
        }
        records.next = self.position;
        Tail { from: self.archived, records }
    }
    /// The same after all closed segments were archived.
    fn archived(mut self) -> Reading {
        let start = self.segment.start;
        (self.archived, self.kept, self.tailed) = (start, start, false);
        self.parts.retain(|(_, chunk)| chunk.next > start);
        self.events -= self.closed_events;
        self.bytes -= self.closed_bytes;
        self.closed.clear();
        (self.closed_events, self.closed_bytes) = (0, 0);
        self.decoder.reset();
        self
    }
}

#[cfg(test)]
pub(crate) mod tests;
