//! The log in Kafka: any number of processes append and read.
//!
//! - What is read is what was committed: records of aborted transactions are never seen, and those of an open one hold up what is
//!   behind them. The end of a partition is therefore its *last stable offset*; [`EventLog::bounds`] says so as well, or a reader
//!   could wait for ever for records that are there but may still be aborted.
//! - Offsets have gaps, where transactions leave their marks; a chunk's `next` may lie behind its last record by more than one, and
//!   an empty chunk may move on.
//! - A record's timestamp is what Kafka stored: the time of the append in topics that Seam makes, the writer's time where a topic
//!   has `message.timestamp.type=CreateTime`. Either is part of the log, so segments are the same for whoever reads.
//! - A leader that was elected without the last records (*unclean*) gives their offsets to others. librdkafka notices by the leader's
//!   epoch, new consumers by the record before their place ([`reader`]), and a process that starts by its anchors: all say `Corrupt`.
//! - A topic's incarnation is Kafka's topic id. It is remembered at `open` and asked for again every second while a topic is read.
//! - [`EventLog::trim`] does nothing: how long a topic keeps records is for its `retention.ms` to say.
//! - A record without a value is an event without bytes, which no source takes: it is counted as invalid. Keys are not read.
mod advice;
mod appender;
mod client;
mod group;
mod native;
mod outlet;
pub(crate) mod properties;
mod reader;
mod reasons;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::config::KafkaStorage;
use crate::error::{Error, Result};
use crate::log::{Chunk, EventLog, NewRecord, Offset, Partition, Topic};
use appender::Appender;
pub use outlet::KafkaOutlet;
use properties::Use;
use reader::{Outcome, Readers};
use topics::Topics;

/// How long a read waits for records before it asks whether there are any.
const PROMPT: Duration = Duration::from_millis(20);
/// How long a read waits for records that there are.
const READ: Duration = Duration::from_secs(5);
/// `wait` looks up after this time at the latest.
const WAIT: Duration = Duration::from_secs(1);

/// A Kafka cluster as the log.
pub struct KafkaLog {
    /// What the names of the deployment's groups begin with.
    name: String,
    brokers: String,
    joining: ClientConfig,
    topics: Arc<Topics>,
    appender: Appender,
    readers: Arc<Readers>,
}

impl std::fmt::Debug for KafkaLog {
    /// Without the properties, which hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLog").field("brokers", &self.brokers).field("name", &self.name).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// A log in the cluster of `storage`, for the deployment `name`. `topics` are the topics that other programs write, by source;
    /// every other source has a topic of its own name behind the prefix of `storage`, which is made when it is opened. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// `Invalid` naming the property that librdkafka refuses.
    pub fn new(storage: &KafkaStorage, name: &str, topics: BTreeMap<String, String>) -> Result<KafkaLog> {
        let topics = Topics::new(storage, topics)?;
        let appender = Appender::new(client::config(storage, Use::Append))?;
        let mut reading = client::config(storage, Use::Read);
        // A consumer needs one to have partitions assigned; with these, it never joins the group.
        reading.set("group.id", format!("{}seam-{name}-reader", storage.prefix));
        let joining = client::config(storage, Use::Join);
        let (name, brokers) = (format!("{}seam-{name}", storage.prefix), storage.brokers.clone());
        Ok(KafkaLog { name, brokers, joining, topics: Arc::new(topics), appender, readers: Readers::new(reading) })
    }

    /// The id of a source's topic as it is now; nothing is made, and nothing compared.
    ///
    /// # Errors
    /// `NotFound` without the topic; `Unavailable` if the cluster does not tell.
    pub async fn incarnation(&self, source: &str) -> Result<String> {
        Ok(self.topics.describe(&self.topics.name(source)).await?.id)
    }

    /// Whether `from` is the end of the partition.
    ///
    /// # Errors
    /// `NotFound` below its start, `Corrupt` beyond its end or for a topic that was made again.
    async fn is_end(&self, partition: &Partition, from: Offset) -> Result<bool> {
        let (start, end) = self.topics.bounds(partition).await?;
        if let Err(error) = super::check_position(partition, from, start, end) {
            self.topics.verify(&partition.source, true).await?;
            return Err(error);
        }
        Ok(from == end)
    }

    /// What a failed read means: below the start, beyond the end or made again, which the log itself tells, or something else.
    async fn failed(&self, partition: &Partition, from: Offset, code: Code) -> Error {
        let doubt = self.topics.verify(&partition.source, true).await;
        if let Err(error) = doubt {
            return error;
        }
        let what = format!("log {partition} cannot be read at {from}");
        match code {
            Code::LogTruncation => super::anchor::cut(partition, &format!("does not lead to {from} any more")),
            code => match self.is_end(partition, from).await {
                Err(error) => error,
                Ok(_) => {
                    if let Ok((start, _)) = self.topics.bounds(partition).await {
                        self.readers.forget_below(partition, start);
                    }
                    Error::unavailable(what).because(KafkaError::Global(code))
                }
            },
        }
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn open(&self, topic: &str, partitions: u32) -> Result<Topic> {
        self.topics.open(topic, partitions).await
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>> {
        if let Some(highest) = records.iter().map(|record| record.partition).max() {
            self.topics.check(&Partition::new(topic, highest)).await?;
        }
        self.appender.append(&self.topics.name(topic), records).await
    }

    async fn read(&self, partition: &Partition, from: Offset, max_records: usize, max_bytes: usize) -> Result<Chunk> {
        self.topics.check(partition).await?;
        let mut chunk = Chunk::at(from);
        let mut loan = self.readers.lend(partition, &self.topics.name(&partition.source), from)?;
        let begun = Instant::now();
        let mut outcome = loan.reader().read(&mut chunk, max_records, max_bytes, begun + PROMPT).await;
        if outcome == Outcome::Silence {
            if self.is_end(partition, from).await? {
                return Ok(chunk);
            }
            outcome = loan.reader().read(&mut chunk, max_records, max_bytes, begun + READ).await;
        }
        match outcome {
            Outcome::Read => {
                if let Err(error) = self.topics.verify(&partition.source, false).await {
                    loan.discard();
                    self.readers.forget(&partition.source);
                    return Err(error);
                }
                Ok(chunk)
            }
            Outcome::Silence => {
                Err(Error::unavailable(format!("log {partition} did not give the records from {from} on in time")))
            }
            Outcome::Rewritten(offset) => {
                loan.discard();
                self.topics.verify(&partition.source, true).await?;
                Err(super::anchor::cut(partition, &format!("holds another record than before at offset {offset}")))
            }
            Outcome::Failed(code) => {
                loan.discard();
                Err(self.failed(partition, from, code).await)
            }
        }
    }

    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        self.topics.check(partition).await?;
        self.topics.verify(&partition.source, false).await?;
        self.topics.bounds(partition).await
    }

    async fn wait(&self, partition: &Partition, position: Offset) -> Result<()> {
        self.topics.check(partition).await?;
        let mut loan = self.readers.lend(partition, &self.topics.name(&partition.source), position)?;
        let waited = loan.reader().wait(Instant::now() + WAIT).await;
        if matches!(waited, Outcome::Failed(_) | Outcome::Rewritten(_)) {
            // The next read tells why.
            loan.discard();
            tokio::time::sleep(WAIT / 10).await;
        }
        Ok(())
    }

    async fn trim(&self, partition: &Partition, _before: Offset) -> Result<()> {
        self.topics.check(partition).await
    }
}
