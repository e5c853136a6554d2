//! Consumers of one partition each, kept by the position that they read next.
//!
//! Reading is stateless for the caller. A consumer that stands where a read wants to begin is used again; otherwise a new one is made:
//! so workers at different places of a partition never take turns at seeking.
//!
//! A consumer that has read something notices when another leader does not have it (librdkafka compares leader epochs). A new one has
//! nothing to compare. So what a consumer gave last is kept when it is closed: the next one at its place begins with that record, looks
//! whether it is still the same, and gives what follows.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use tokio::sync::Notify;

use super::client;
use super::native::{Event, Inbox};
use crate::error::Result;
use crate::lock::lock;
use crate::log::{Anchor, Chunk, Offset, Partition, Record};
use crate::time::Timestamp;

/// Consumers kept for a partition beyond this many are closed, the one that was used longest ago first.
const KEPT: usize = 3;
/// A consumer that was not used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Places of closed consumers that are kept, of all partitions together.
const PLACES: usize = 1024;
/// A new consumer begins with a record that was given before if that lies at most so far below its place; between them there are but
/// marks of transactions.
const NEAR: u64 = 16;

/// librdkafka's log lines of a reader; rdkafka serves them only while its own queue is polled, which nobody does here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silent;

impl ClientContext for Silent {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Silent {}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Records, or the end.
    Read,
    /// Nothing came within the time.
    Silence,
    /// The log does not hold what it gave before at this offset.
    Rewritten(Offset),
    /// Reading failed.
    Failed(RDKafkaErrorCode),
}

/// A consumer at work on one partition.
pub(super) struct Reader {
    partition: Partition,
    inbox: Inbox<Silent>,
    /// Something was fetched since this was awaited last.
    fetched: Arc<Notify>,
    /// The next offset that this reader gives.
    position: Offset,
    /// Whether everything up to the end has been given.
    at_end: bool,
    /// Records and bytes of the last chunk: the next one is likely to be as large.
    usual: (usize, usize),
    /// The position behind what its readers have got, and the last record of that.
    given: (Offset, Option<Anchor>),
    /// What must come first: the last record that a consumer before this one gave.
    expected: Option<Anchor>,
    used: Instant,
}

impl Reader {
    /// A reader at `from`. Of what lies below, it looks at `last` alone.
    fn new(
        config: &ClientConfig,
        partition: &Partition,
        topic: &str,
        from: Offset,
        last: Option<Anchor>,
    ) -> Result<Reader> {
        let what = || format!("log {partition} cannot be read");
        let failed = |error| client::failed(&what(), error);
        let mut consumer: BaseConsumer<Silent> = config.create_with_context(Silent).map_err(failed)?;
        let fetched = Arc::new(Notify::new());
        let wake = Arc::clone(&fetched);
        consumer.set_nonempty_callback(move || wake.notify_one());
        let mut place = TopicPartitionList::new();
        let begin = last.map_or(from, |anchor| anchor.offset);
        let offset = i64::try_from(begin.0).unwrap_or(i64::MAX);
        let number = i32::try_from(partition.number).unwrap_or(i32::MAX);
        place.add_partition_offset(topic, number, Place::Offset(offset)).map_err(failed)?;
        consumer.assign(&place).map_err(failed)?;
        let inbox = Inbox::new(consumer).ok_or_else(|| client::failed(&what(), KafkaError::Canceled))?;
        let partition = partition.clone();
        let (given, used) = ((from, last), Instant::now());
        Ok(Reader {
            partition,
            inbox,
            fetched,
            position: from,
            at_end: false,
            usual: (0, 0),
            given,
            expected: last,
            used,
        })
    }

    /// Takes what must come before the first record that is given, if that is here.
    fn verify(&mut self) -> Option<Outcome> {
        let expected = self.expected?;
        while let Some(event) = self.inbox.first() {
            match event {
                Event::Record(offset, milliseconds, value) => {
                    let offset = Offset(u64::try_from(offset).unwrap_or_default());
                    let record = Record { offset, timestamp: stored_at(milliseconds), value };
                    if offset >= expected.offset && Anchor::of(&record) != expected {
                        return Some(Outcome::Rewritten(expected.offset));
                    }
                    if offset == expected.offset {
                        self.expected = None;
                    }
                }
                Event::End(next) if u64::try_from(next).unwrap_or_default() > expected.offset.0 => {
                    return Some(Outcome::Rewritten(expected.offset));
                }
                // The log seems to end before: whoever asked looks where it ends.
                Event::End(_) => {}
                Event::Failed(_) => return None,
            }
            self.inbox.pop();
            self.expected?;
            if self.inbox.first().is_none() {
                self.inbox.fill();
            }
        }
        None
    }

    /// Adds records to `chunk`, which stands at this reader's position: those that are there, or else the first that come before
    /// `deadline`.
    pub(super) async fn read(&mut self, chunk: &mut Chunk, records: usize, bytes: usize, deadline: Instant) -> Outcome {
        let outcome = self.gather(chunk, records, bytes, deadline).await;
        self.usual = (chunk.len(), chunk.bytes());
        if outcome == Outcome::Read {
            let last = chunk.len().checked_sub(1).map(|last| Anchor::of(&chunk.get(last)));
            self.given = (chunk.next, last.or(self.given.1));
        }
        outcome
    }

    async fn gather(&mut self, chunk: &mut Chunk, records: usize, bytes: usize, deadline: Instant) -> Outcome {
        loop {
            if self.inbox.fill() && chunk.is_empty() {
                chunk.reserve(self.usual.0, self.usual.1);
            }
            if let Some(outcome) = self.verify() {
                return outcome;
            }
            while let Some(event) = self.inbox.first() {
                match event {
                    Event::Record(offset, milliseconds, value) => {
                        let offset = Offset(u64::try_from(offset).unwrap_or_default());
                        let room = chunk.is_empty() || chunk.bytes().saturating_add(value.len()) <= bytes;
                        if chunk.len() >= records || !room {
                            return Outcome::Read;
                        }
                        if offset >= self.position {
                            chunk.push(offset, stored_at(milliseconds), value);
                            self.position = chunk.next;
                        }
                        self.at_end = false;
                    }
                    Event::End(next) => {
                        // Behind the last record there may be offsets that are no records: marks of transactions, aborted ones.
                        self.position = self.position.max(Offset(u64::try_from(next).unwrap_or_default()));
                        chunk.next = self.position;
                        self.at_end = true;
                    }
                    Event::Failed(code) => {
                        self.inbox.pop();
                        return Outcome::Failed(code);
                    }
                }
                self.inbox.pop();
                if self.inbox.first().is_none() {
                    self.inbox.fill();
                }
            }
            if !chunk.is_empty() || self.at_end {
                return Outcome::Read;
            }
            if !more(&self.fetched, deadline).await {
                return Outcome::Silence;
            }
        }
    }

    /// Waits until there is a record behind this reader's position, or an end further on, or until `deadline`.
    pub(super) async fn wait(&mut self, deadline: Instant) -> Outcome {
        let from = self.position;
        loop {
            if self.inbox.fill() && self.expected.is_some() {
                return Outcome::Read; // whoever reads now takes it
            }
            while let Some(event) = self.inbox.first() {
                match event {
                    Event::End(next) => {
                        self.position = self.position.max(Offset(u64::try_from(next).unwrap_or_default()));
                        self.at_end = true;
                        self.inbox.pop();
                        if self.position > from {
                            return Outcome::Read;
                        }
                    }
                    Event::Record(..) => return Outcome::Read,
                    Event::Failed(code) => {
                        self.inbox.pop();
                        return Outcome::Failed(code);
                    }
                }
            }
            if !more(&self.fetched, deadline).await {
                return Outcome::Silence;
            }
        }
    }
}

/// When Kafka stored a record; one without a timestamp is as old as time.
fn stored_at(milliseconds: i64) -> Timestamp {
    Timestamp(milliseconds.max(0).saturating_mul(1_000))
}

/// Waits until librdkafka has fetched something; `false` at the deadline.
async fn more(fetched: &Notify, deadline: Instant) -> bool {
    tokio::time::timeout_at(deadline.into(), fetched.notified()).await.is_ok()
}

/// The readers that nobody uses now.
pub(super) struct Readers {
    config: ClientConfig,
    idle: Mutex<Vec<Reader>>,
    /// Where readers stood that were closed, and the last record that each gave; the newest at the end.
    places: Mutex<VecDeque<(Partition, Offset, Anchor)>>,
}

impl Readers {
    /// Readers that are made with these properties.
    pub(super) fn new(config: ClientConfig) -> Arc<Readers> {
        Arc::new(Readers { config, idle: Mutex::default(), places: Mutex::default() })
    }

    /// A reader of `partition`, which lies in `topic`, at `from`. It comes back when the loan is dropped, wherever it stands then.
    pub(super) fn lend(self: &Arc<Self>, partition: &Partition, topic: &str, from: Offset) -> Result<Loan> {
        let known = {
            let mut idle = self.lock();
            let place = idle.iter().position(|reader| reader.position == from && reader.partition == *partition);
            place.map(|place| idle.swap_remove(place))
        };
        let reader = match known {
            Some(reader) => reader,
            None => Reader::new(&self.config, partition, topic, from, self.last_before(partition, from))?,
        };
        Ok(Loan { reader: Some(reader), readers: Arc::clone(self) })
    }

    /// Closes every idle reader of the source.
    pub(super) fn forget(&self, source: &str) {
        let gone: Vec<Reader> = self.lock().extract_if(.., |reader| reader.partition.source == source).collect();
        self.close(gone);
    }

    /// Forgets what was read below `start`, where the log begins now: there is nothing to compare it with.
    pub(super) fn forget_below(&self, partition: &Partition, start: Offset) {
        self.places().retain(|(of, _, last)| of != partition || last.offset >= start);
    }

    /// The last record that was given to whoever reads on at `from`, if a reader was closed there.
    fn last_before(&self, partition: &Partition, from: Offset) -> Option<Anchor> {
        let near = |last: &Anchor| last.offset < from && from.0 - last.offset.0 <= NEAR;
        let places = self.places();
        let found = places.iter().rev().find(|(of, at, last)| of == partition && *at <= from && near(last));
        found.map(|(_, _, last)| *last)
    }

    /// Closes readers, and keeps where they stood.
    fn close(&self, readers: Vec<Reader>) {
        let mut places = self.places();
        for reader in &readers {
            let (at, Some(last)) = reader.given else { continue };
            places.retain(|(of, place, _)| of != &reader.partition || *place != at);
            places.push_back((reader.partition.clone(), at, last));
        }
        while places.len() > PLACES {
            places.pop_front();
        }
        drop(places);
        close(readers);
    }

    fn places(&self) -> MutexGuard<'_, VecDeque<(Partition, Offset, Anchor)>> {
        lock(&self.places)
    }

    fn give_back(&self, mut reader: Reader) {
        reader.used = Instant::now();
        let mut idle = self.lock();
        let mut gone: Vec<Reader> = idle.extract_if(.., |other| other.used.elapsed() > IDLE).collect();
        let of_same = |other: &Reader| other.partition == reader.partition;
        if idle.iter().filter(|other| of_same(other)).count() >= KEPT {
            let oldest =
                idle.iter().enumerate().filter(|(_, other)| of_same(other)).min_by_key(|(_, other)| other.used);
            if let Some((place, _)) = oldest {
                gone.push(idle.swap_remove(place));
            }
        }
        idle.push(reader);
        drop(idle);
        self.close(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reader>> {
        lock(&self.idle)
    }
}

/// Closing a consumer takes a moment, for which nobody should have to wait.
fn close(readers: Vec<Reader>) {
    if readers.is_empty() {
        return;
    }
    // Where no thread can be made, they are dropped here and now.
    drop(std::thread::Builder::new().name("kafka close".to_owned()).spawn(move || drop(readers)));
}

/// A reader in use.
pub(super) struct Loan {
    reader: Option<Reader>,
    readers: Arc<Readers>,
}

impl Loan {
    /// The reader.
    pub(super) fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("a loan holds its reader until it is dropped")
    }
    /// Closes the reader, which has failed.
    pub(super) fn discard(mut self) {
        self.readers.close(self.reader.take().into_iter().collect());
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.readers.give_back(reader);
        }
    }
}
