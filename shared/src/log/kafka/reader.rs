//! Consumers of one partition each, kept by the position that they read next.
//!
//! Reading is stateless for the caller. A consumer that stands where a read wants to begin is used again; otherwise a new one is made:
//! so workers at different places of a partition never take turns at seeking.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::log::{Chunk, Offset, Partition};
use crate::time::Timestamp;

/// Consumers kept for a partition beyond this many are closed, the one that was used longest ago first.
const KEPT: usize = 3;
/// A consumer that was not used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

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
    used: Instant,
}

impl Reader {
    fn new(config: &ClientConfig, partition: &Partition, topic: &str, from: Offset) -> Result<Reader> {
        let what = || format!("log {partition} cannot be read");
        let failed = |error| client::failed(&what(), error);
        let mut consumer: BaseConsumer<Silent> = config.create_with_context(Silent).map_err(failed)?;
        let fetched = Arc::new(Notify::new());
        let wake = Arc::clone(&fetched);
        consumer.set_nonempty_callback(move || wake.notify_one());
        let mut place = TopicPartitionList::new();
        let offset = i64::try_from(from.0).unwrap_or(i64::MAX);
        let number = i32::try_from(partition.number).unwrap_or(i32::MAX);
        place.add_partition_offset(topic, number, Place::Offset(offset)).map_err(failed)?;
        consumer.assign(&place).map_err(failed)?;
        let inbox = Inbox::new(consumer).ok_or_else(|| client::failed(&what(), KafkaError::Canceled))?;
        let partition = partition.clone();
        Ok(Reader { partition, inbox, fetched, position: from, at_end: false, usual: (0, 0), used: Instant::now() })
    }

    /// Adds records to `chunk`, which stands at this reader's position: those that are there, or else the first that come before
    /// `deadline`.
    pub(super) async fn read(&mut self, chunk: &mut Chunk, records: usize, bytes: usize, deadline: Instant) -> Outcome {
        let outcome = self.gather(chunk, records, bytes, deadline).await;
        self.usual = (chunk.len(), chunk.bytes());
        outcome
    }

    async fn gather(&mut self, chunk: &mut Chunk, records: usize, bytes: usize, deadline: Instant) -> Outcome {
        loop {
            if self.inbox.fill() && chunk.is_empty() {
                chunk.reserve(self.usual.0, self.usual.1);
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
                            let micros = milliseconds.max(0).saturating_mul(1_000);
                            chunk.push(offset, Timestamp(micros), value);
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
            self.inbox.fill();
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

/// Waits until librdkafka has fetched something; `false` at the deadline.
async fn more(fetched: &Notify, deadline: Instant) -> bool {
    tokio::time::timeout_at(deadline.into(), fetched.notified()).await.is_ok()
}

/// The readers that nobody uses now.
pub(super) struct Readers {
    config: ClientConfig,
    idle: Mutex<Vec<Reader>>,
}

impl Readers {
    /// Readers that are made with these properties.
    pub(super) fn new(config: ClientConfig) -> Arc<Readers> {
        Arc::new(Readers { config, idle: Mutex::default() })
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
            None => Reader::new(&self.config, partition, topic, from)?,
        };
        Ok(Loan { reader: Some(reader), readers: Arc::clone(self) })
    }

    /// Closes every idle reader of the source.
    pub(super) fn forget(&self, source: &str) {
        let gone: Vec<Reader> = self.lock().extract_if(.., |reader| reader.partition.source == source).collect();
        close(gone);
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
        close(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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
        close(self.reader.take().into_iter().collect());
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.readers.give_back(reader);
        }
    }
}
