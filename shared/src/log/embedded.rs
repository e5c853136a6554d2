//! The embedded log: durable, on one machine. One stored value a block of records, one sync for all that append at once.
mod block;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use fjall::Keyspace;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use self::block::{Block, Encoder};
use self::writer::{Append, Writer};
use crate::clock::Clock;
use crate::embedded::{Database, failed};
use crate::error::{Error, Kind, Result};
use crate::lock::{self, lock};
use crate::log::{Chunk, EventLog, NewRecord, Offset, Partition, Topic, check_position};
use crate::time::Timestamp;

/// The largest record's bytes.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// Bytes of the newest blocks that each partition keeps in memory for its readers.
const TAIL_BYTES_MAX: usize = 8 << 20;
/// Appends that may wait for the writer before others wait to get in line.
const WAITING_APPENDS_MAX: usize = 1024;

/// The event log of an embedded deployment. Record timestamps never decrease within a partition.
///
/// A failed write is final: every later append fails until the process is started again and reads what is stored.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    queue: Option<mpsc::Sender<Append>>,
    writer: Option<JoinHandle<()>>,
    /// Set by the writer for good.
    has_failed: Arc<AtomicBool>,
}

struct Shared {
    database: Database,
    topics: Keyspace,
    blocks: Keyspace,
    clock: Arc<dyn Clock>,
    open: RwLock<BTreeMap<String, Arc<OpenTopic>>>,
}

/// A topic of this log with the state of its partitions.
#[derive(Debug)]
struct OpenTopic {
    name: String,
    incarnation: String,
    partitions: Vec<OpenPartition>,
}

#[derive(Debug)]
struct OpenPartition {
    place: Partition,
    tail: Mutex<Tail>,
    end: watch::Sender<Offset>,
}

/// The bounds of a partition and its newest blocks.
#[derive(Debug, Default)]
struct Tail {
    start: Offset,
    last_timestamp: Option<Timestamp>,
    blocks: VecDeque<Arc<Block>>,
    bytes: usize,
    /// The block that was read from disk last: who reads on starts in it.
    cold: Option<Arc<Block>>,
}

/// What is stored of a topic under its name.
#[derive(Serialize, Deserialize)]
struct TopicRecord {
    incarnation: String,
    partitions: u32,
}

/// A block's key: keys of a partition lie together, in offset order.
fn key_of(topic: &str, number: u32, base: Offset) -> Vec<u8> {
    [topic.as_bytes(), &[0], &number.to_be_bytes(), &base.0.to_be_bytes()].concat()
}

/// The offset in a block's key.
fn base_of(key: &[u8]) -> Offset {
    Offset(key.iter().rev().take(8).rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

impl std::fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmbeddedLog")
    }
}

impl EmbeddedLog {
    /// The log in `database`, with all its topics; record timestamps come from `clock`.
    pub fn open(database: &Database, clock: Arc<dyn Clock>) -> Result<EmbeddedLog> {
        Self::start(database, clock, writer::sync)
    }

    fn start(
        database: &Database,
        clock: Arc<dyn Clock>,
        persist: fn(fjall::OwnedWriteBatch) -> fjall::Result<()>,
    ) -> Result<EmbeddedLog> {
        let shared = Shared {
            database: database.clone(),
            topics: database.small_values("log_topics")?,
            blocks: database.large_values("log_blocks")?,
            clock,
            open: RwLock::default(),
        };
        for stored in shared.topics.iter() {
            let (name, record) = stored.into_inner().map_err(failed)?;
            let name = String::from_utf8_lossy(&name).into_owned();
            let damaged = |error| Error::corrupt(format!("topic {name} of the log is damaged")).because(error);
            let record: TopicRecord = serde_json::from_slice(&record).map_err(damaged)?;
            shared.load(&name, record)?;
        }
        let shared = Arc::new(shared);
        let (queue, appends) = mpsc::channel(WAITING_APPENDS_MAX);
        let no_thread = |error| Error::internal("the log's writer cannot be started").because(error);
        let has_failed = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            database: database.clone(),
            blocks: shared.blocks.clone(),
            clock: Arc::clone(&shared.clock),
            encoder: Encoder::new().map_err(no_thread)?,
            persist,
            has_failed: Arc::clone(&has_failed),
        };
        let thread = std::thread::Builder::new().name("log-writer".to_owned());
        let writer = thread.spawn(move || writer.run(appends)).map_err(no_thread)?;
        Ok(EmbeddedLog { shared, queue: Some(queue), writer: Some(writer), has_failed })
    }
}

impl Drop for EmbeddedLog {
    /// Waits for the writer, so that the data directory is free once the log is gone.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so already.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn load(&self, name: &str, record: TopicRecord) -> Result<Arc<OpenTopic>> {
        let partitions = (0..record.partitions).map(|number| {
            let place = Partition::new(name, number);
            let prefix = key_of(name, number, Offset(0));
            let prefix = &prefix[..prefix.len() - 8];
            let first = self.blocks.prefix(prefix).next().map(|guard| guard.key().map_err(failed)).transpose()?;
            let last = self.blocks.prefix(prefix).next_back();
            let last = last.map(|guard| guard.into_inner().map_err(failed)).transpose()?;
            let last = last.map(|(key, stored)| decode(&place, &key, &stored)).transpose()?;
            let tail = Tail {
                start: first.map(|key| base_of(&key)).unwrap_or_default(),
                last_timestamp: last.as_ref().map(|block| block.timestamp),
                ..Tail::default()
            };
            let end = last.map(|block| block.end()).unwrap_or_default();
            Ok(OpenPartition { place, tail: Mutex::new(tail), end: watch::Sender::new(end) })
        });
        let partitions = partitions.collect::<Result<Vec<_>>>()?;
        let topic = Arc::new(OpenTopic { name: name.to_owned(), incarnation: record.incarnation, partitions });
        let mut open = lock::write(&self.open);
        open.insert(name.to_owned(), Arc::clone(&topic));
        Ok(topic)
    }

    fn topic(&self, name: &str) -> Result<Arc<OpenTopic>> {
        let open = lock::read(&self.open);
        open.get(name).cloned().ok_or_else(|| Error::not_found(format!("topic {name} does not exist")))
    }

    /// The topic of a partition that exists.
    fn topic_of(&self, partition: &Partition) -> Result<Arc<OpenTopic>> {
        let topic = self.topic(&partition.source)?;
        topic.check(partition.number)?;
        Ok(topic)
    }

    fn create(&self, name: &str, partitions: u32) -> Result<Arc<OpenTopic>> {
        if name.is_empty() || name.len() > 255 || name.contains('\0') {
            return Err(Error::invalid(format!("`{name}` is no name for a topic")));
        }
        let record = TopicRecord { incarnation: self.clock.nonce(), partitions: partitions.max(1) };
        let stored = serde_json::to_vec(&record)
            .map_err(|error| Error::internal(format!("topic {name} cannot be described")).because(error))?;
        let mut batch = self.database.fjall.batch();
        batch.insert(&self.topics, name, stored);
        writer::sync(batch).map_err(failed)?;
        self.load(name, record)
    }

    /// Reads from disk: the block that holds `from` and those behind it, until a limit says no more.
    fn read_stored(&self, open: &OpenPartition, from: Offset, max_records: usize, max_bytes: usize) -> Result<Chunk> {
        let mut chunk = Chunk::at(from);
        let known = open.tail().cold.clone().filter(|block| block.base <= from && from < block.end());
        let mut position = from;
        if let Some(block) = known {
            position = block.end();
            if !block.read_into(&mut chunk, max_records, max_bytes) || position >= open.end() {
                return Ok(chunk);
            }
        }
        let Partition { source, number } = &open.place;
        let key = |offset| key_of(source, *number, offset);
        let before = self.blocks.range(key(Offset(0))..=key(position)).next_back();
        let first = match before {
            Some(guard) => guard.key().map_err(failed)?.to_vec(),
            None => key(position),
        };
        let mut last = None;
        for guard in self.blocks.range(first..key(open.end())) {
            let (key, stored) = guard.into_inner().map_err(failed)?;
            let block = decode(&open.place, &key, &stored)?;
            if block.base > position || block.end() <= position {
                return Err(self.missing(open, position));
            }
            let goes_on = block.read_into(&mut chunk, max_records, max_bytes);
            position = block.end();
            last = Some(Arc::new(block));
            if !goes_on || chunk.len() >= max_records || chunk.bytes() >= max_bytes {
                break;
            }
        }
        if chunk.is_empty() && max_records > 0 {
            return Err(self.missing(open, position));
        }
        if last.is_some() {
            open.tail().cold = last;
        }
        Ok(chunk)
    }

    /// Why the block that holds `position` is not there: trimmed meanwhile, or lost.
    fn missing(&self, open: &OpenPartition, position: Offset) -> Error {
        match check_position(&open.place, position, open.tail().start, open.end()) {
            Err(error) => error,
            Ok(()) => Error::corrupt(format!("log {} misses its records at offset {position}", open.place)),
        }
    }

    /// Drops the blocks that end at or below `before`, but never the last one, which says where the partition ends.
    fn trim(&self, open: &OpenPartition, before: Offset) -> Result<()> {
        let Partition { source, number } = &open.place;
        let key = |offset| key_of(source, *number, offset);
        let start = open.tail().start;
        let mut batch = self.database.fjall.batch();
        let mut kept = None;
        for guard in self.blocks.range(key(start)..key(open.end())) {
            let stored = guard.key().map_err(failed)?;
            if base_of(&stored) > before {
                break;
            }
            if let Some(below) = kept.replace(stored) {
                batch.remove(&self.blocks, below);
            }
        }
        if let Some(kept) = kept {
            open.forget_below(base_of(&kept));
        }
        batch.commit().map_err(failed)
    }
}

fn decode(place: &Partition, key: &[u8], stored: &[u8]) -> Result<Block> {
    let base = base_of(key);
    block::decode(key, base, stored)
        .map_err(|what| Error::corrupt(format!("block of log {place} at offset {base} is damaged: {what}")))
}

impl OpenTopic {
    fn check(&self, number: u32) -> Result<()> {
        match self.partitions.get(number as usize) {
            Some(_) => Ok(()),
            None => Err(Error::not_found(format!("partition {}/{number} does not exist", self.name))),
        }
    }
    fn describe(&self) -> Topic {
        Topic { incarnation: self.incarnation.clone(), partitions: self.partitions.len() as u32 }
    }
}

impl OpenPartition {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        lock(&self.tail)
    }
    fn end(&self) -> Offset {
        *self.end.borrow()
    }
    /// The newest record's timestamp, or the earliest there is.
    fn last_timestamp(&self) -> Timestamp {
        self.tail().last_timestamp.unwrap_or(Timestamp(i64::MIN))
    }
    /// Takes in a block that is on disk.
    fn grow(&self, block: Block) {
        let end = block.end();
        let mut tail = self.tail();
        tail.last_timestamp = Some(block.timestamp);
        tail.bytes += block.bytes();
        tail.blocks.push_back(Arc::new(block));
        while tail.bytes > TAIL_BYTES_MAX
            && tail.blocks.len() > 1
            && let Some(oldest) = tail.blocks.pop_front()
        {
            tail.bytes -= oldest.bytes();
        }
        drop(tail);
        self.end.send_replace(end);
    }
    fn forget_below(&self, start: Offset) {
        let mut tail = self.tail();
        tail.start = tail.start.max(start);
        tail.cold = None;
    }
    /// Reads from memory, if that reaches back to `from`.
    fn read_tail(&self, from: Offset, max_records: usize, max_bytes: usize) -> Option<Chunk> {
        let blocks: Vec<Arc<Block>> = {
            let tail = self.tail();
            let first = tail.blocks.partition_point(|block| block.end() <= from);
            tail.blocks.get(first).filter(|block| block.base <= from)?;
            tail.blocks.range(first..).cloned().collect()
        };
        let mut chunk = Chunk::at(from);
        for block in blocks {
            if !block.read_into(&mut chunk, max_records, max_bytes) {
                break;
            }
        }
        Some(chunk)
    }
}

/// Runs work on the database away from the threads that drive tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| Error::internal("work on the log was cut off").because(error))?
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn open(&self, topic: &str, partitions: u32) -> Result<Topic> {
        let (shared, name) = (Arc::clone(&self.shared), topic.to_owned());
        let open = blocking(move || {
            // Creators come one after the other: the second finds what the first one made.
            static CREATE: Mutex<()> = Mutex::new(());
            let _alone = lock(&CREATE);
            shared.topic(&name).or_else(|_| shared.create(&name, partitions))
        });
        Ok(open.await?.describe())
    }

    fn takes_appends(&self) -> Result<()> {
        match self.has_failed.load(Ordering::Relaxed) {
            true => Err(Error::unavailable("a write failed, and the log takes no more appends until a restart")),
            false => Ok(()),
        }
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>> {
        let topic = self.shared.topic(topic)?;
        for record in &records {
            topic.check(record.partition)?;
            if record.value.len() > RECORD_BYTES_MAX {
                let message = format!("a record has {} bytes, the log takes {RECORD_BYTES_MAX}", record.value.len());
                return Err(Error::new(Kind::TooLarge, message));
            }
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let stopped = || Error::unavailable("the log's writer has stopped");
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(Append { topic, records, reply }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    async fn read(&self, partition: &Partition, from: Offset, max_records: usize, max_bytes: usize) -> Result<Chunk> {
        let topic = self.shared.topic_of(partition)?;
        let number = partition.number as usize;
        let open = &topic.partitions[number];
        let end = open.end();
        check_position(partition, from, open.tail().start, end)?;
        if from == end || max_records == 0 {
            return Ok(Chunk::at(from));
        }
        if let Some(chunk) = open.read_tail(from, max_records, max_bytes) {
            return Ok(chunk);
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.read_stored(&topic.partitions[number], from, max_records, max_bytes)).await
    }

    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        let topic = self.shared.topic_of(partition)?;
        let open = &topic.partitions[partition.number as usize];
        let start = open.tail().start;
        Ok((start, open.end()))
    }

    async fn wait(&self, partition: &Partition, position: Offset) -> Result<()> {
        let topic = self.shared.topic_of(partition)?;
        let mut end = topic.partitions[partition.number as usize].end.subscribe();
        end.wait_for(|end| *end > position).await.map_err(|_| Error::unavailable("the log is closed"))?;
        Ok(())
    }

    async fn trim(&self, partition: &Partition, before: Offset) -> Result<()> {
        let topic = self.shared.topic_of(partition)?;
        let (shared, number) = (Arc::clone(&self.shared), partition.number as usize);
        blocking(move || shared.trim(&topic.partitions[number], before)).await
    }
}

#[cfg(test)]
mod tests;
