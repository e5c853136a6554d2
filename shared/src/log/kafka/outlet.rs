//! A topic of Kafka as the outlet: each write is one transaction, which holds the records and the mark.
//!
//! - The marks of all sinks of a deployment lie in one compacted topic, `<prefix>seam.<deployment>.sinks`, under the sink's name: unlike the
//!   offsets of a consumer group they do not expire, and they are written by the transaction that they stand for.
//! - The transactional id belongs to the sink. A claim begins a new epoch of it: Kafka ends what the writer before had open, and
//!   refuses whatever that one still sends. Only then the mark is read, up to where the topic ended *then*, open transactions of
//!   other sinks included, so that it is the last one.
//! - Records are spread over partitions as Java's clients do it, by murmur2 of the key.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};

use super::KafkaLog;
use super::client::{self, PATIENCE, Quiet};
use super::properties::Use;
use crate::config::{KafkaStorage, SinkTopic};
use crate::error::{Error, Kind, Result};
use crate::failpoint::{self, Failpoint};
use crate::lock::lock;
use crate::log::{EventLog, Offset, Partition};
use crate::outlet::{Outlet, Record};

/// How long one step of a transaction may take, tries again included.
const STEP: Duration = Duration::from_secs(60);
/// How long a try takes at most; then it is looked whether anybody still waits for it.
const TRY: Duration = Duration::from_secs(2);
/// How long a claim waits for transactions of other sinks that were open when it began.
const OTHERS: Duration = Duration::from_secs(90);
/// Records and bytes of one read.
const CHUNK: (usize, usize) = (10_000, 8 << 20);
/// Properties of the file may replace these.
const STANDARD: [(&str, &str); 2] = [("transaction.timeout.ms", "60000"), ("partitioner", "murmur2_random")];

/// The topic of marks; only segments that have ended are compacted.
const MARKS: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("segment.ms", "3600000")];

/// Delivery is told by the transaction's end alone.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Silent {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

type Writer = Arc<ThreadedProducer<Silent>>;

/// A topic that a sink writes.
pub struct KafkaOutlet {
    /// A log of its own, in which a source's name means nothing.
    log: KafkaLog,
    producing: ClientConfig,
    asking: ClientConfig,
    topic: SinkTopic,
    marks: String,
    sink: String,
    writer: Mutex<Option<Writer>>,
}

impl std::fmt::Debug for KafkaOutlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaOutlet").field("topic", &self.topic.name).field("sink", &self.sink).finish_non_exhaustive()
    }
}

impl KafkaOutlet {
    /// The outlet of the sink `sink` of the deployment `name`, to a topic of the cluster; nothing is connected yet. `writer` names
    /// whoever may write it, of whom there is one at a time.
    ///
    /// # Errors
    /// `Invalid` naming the property that librdkafka refuses.
    pub fn new(
        storage: &KafkaStorage,
        name: &str,
        topic: SinkTopic,
        writer: &str,
        sink: String,
    ) -> Result<KafkaOutlet> {
        let prefix = &storage.prefix;
        // Of the topic that a sink writes, the file says the whole name.
        let log = KafkaLog::new(&storage.without_prefix(), name, BTreeMap::new())?;
        let mut producing = client::config(storage, Use::Append);
        for (key, value) in STANDARD {
            if !storage.properties.contains_key(key) {
                producing.set(key, value);
            }
        }
        producing.set("transactional.id", format!("{prefix}seam-{name}-sink-{writer}"));
        let mut asking = client::config(storage, Use::Ask);
        asking.set("isolation.level", "read_uncommitted");
        let marks = format!("{prefix}seam.{name}.sinks");
        Ok(KafkaOutlet { log, producing, asking, topic, marks, sink, writer: Mutex::default() })
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        lock(&self.writer)
    }

    fn prefix(&self) -> String {
        format!("{}\n", self.sink)
    }

    /// The last mark of this sink below where the topic of marks ends now.
    async fn mark(&self) -> Result<Option<Bytes>> {
        let partition = Partition::new(self.marks.as_str(), 0);
        let (asking, topic) = (self.asking.clone(), self.marks.clone());
        let end = blocking(move |_| {
            let consumer: BaseConsumer = asking.create()?;
            consumer.fetch_watermarks(&topic, 0, PATIENCE).map(|(_, end)| end)
        });
        let end = end.await?.map_err(|e| failed("the end of the sinks' marks is not known", e))?;
        let end = Offset(u64::try_from(end).unwrap_or_default());
        let (start, _) = self.log.bounds(&partition).await?;
        let (prefix, mut found) = (self.prefix(), None);
        let each = |value: &[u8]| {
            if let Some(mark) = value.strip_prefix(prefix.as_bytes()) {
                found = Some(Bytes::copy_from_slice(mark));
            }
        };
        self.each(&partition, start, end, each).await?;
        Ok(found)
    }

    /// Hands over the values of a partition from an offset to another, which others may still have to commit up to.
    async fn each(&self, partition: &Partition, from: Offset, end: Offset, mut each: impl FnMut(&[u8])) -> Result<()> {
        let (mut at, give_up) = (from, Instant::now() + OTHERS);
        while at < end {
            let chunk = self.log.read(partition, at, CHUNK.0, CHUNK.1).await?;
            chunk.iter().for_each(|record| each(record.value));
            if chunk.next == at {
                if Instant::now() > give_up {
                    let message = format!("a transaction stays open in {partition}, and hides what is behind {at}");
                    return Err(Error::unavailable(message));
                }
                self.log.wait(partition, at).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            at = chunk.next;
        }
        Ok(())
    }
}

#[async_trait]
impl Outlet for KafkaOutlet {
    async fn claim(&self) -> Result<Option<Bytes>> {
        let topics = &self.log.topics;
        let policy = if self.topic.compact { "compact" } else { "delete" };
        topics.ensure(&self.topic.name, self.topic.partitions, &[("cleanup.policy", policy)]).await?;
        topics.ensure(&self.marks, 1, &MARKS).await?;
        *self.writer() = None;
        let producing = self.producing.clone();
        let made = blocking(move |gone| -> KafkaResult<Writer> {
            let writer: ThreadedProducer<Silent> = producing.create_with_context(Silent)?;
            again(gone, || writer.init_transactions(TRY))?;
            Ok(Arc::new(writer))
        });
        let what = format!("topic {} cannot be claimed for {}", self.topic.name, self.sink);
        let writer = made.await?.map_err(|e| failed(&what, e))?;
        let mark = self.mark().await?;
        *self.writer() = Some(writer);
        Ok(mark)
    }

    async fn write(&self, records: &[Record], mark: &[u8]) -> Result<()> {
        // Whatever goes wrong: the next write needs a claim.
        let Some(writer) = self.writer().take() else {
            return Err(Error::conflict(format!("topic {} is not claimed", self.topic.name)));
        };
        let (topic, marks) = (self.topic.name.clone(), self.marks.clone());
        let mark = Record { key: self.sink.clone().into(), value: [self.prefix().as_bytes(), mark].concat().into() };
        let (records, used) = (records.to_vec(), writer.clone());
        let done = blocking(move |gone| {
            let written = transaction(&used, &topic, &records, &marks, &mark, gone);
            if written.is_err() {
                // What was sent must not hold up whoever reads; if this fails too, the next claim ends it.
                let _ = used.abort_transaction(TRY);
            }
            written
        });
        done.await?.map_err(|e| failed(&format!("topic {} was not written", self.topic.name), e))?;
        failpoint::reach(Failpoint::SinkCommitted);
        *self.writer() = Some(writer);
        Ok(())
    }

    async fn newest(&self, most: usize) -> Result<Vec<Bytes>> {
        let found = self.log.topics.describe(&self.topic.name).await?;
        let each = (most as u64).div_ceil(u64::from(found.partitions.max(1)));
        let mut values = Vec::new();
        for number in 0..found.partitions {
            let partition = Partition::new(self.topic.name.as_str(), number);
            let (start, end) = self.log.bounds(&partition).await?;
            let from = Offset(end.0.saturating_sub(each)).max(start);
            self.each(&partition, from, end, |value| values.push(Bytes::copy_from_slice(value))).await?;
        }
        Ok(values)
    }
}

/// One transaction from its begin to its commit.
fn transaction(
    writer: &ThreadedProducer<Silent>,
    topic: &str,
    records: &[Record],
    marks: &str,
    mark: &Record,
    gone: &AtomicBool,
) -> KafkaResult<()> {
    writer.begin_transaction()?;
    for record in records {
        send(writer, topic, record)?;
    }
    if failpoint::is_armed(Failpoint::SinkProduced) {
        writer.flush(STEP)?;
        failpoint::reach(Failpoint::SinkProduced);
    }
    send(writer, marks, mark)?;
    again(gone, || writer.commit_transaction(TRY))
}

fn send(writer: &ThreadedProducer<Silent>, topic: &str, record: &Record) -> KafkaResult<()> {
    let mut next = BaseRecord::<[u8], [u8], ()>::to(topic).key(&record.key[..]).payload(&record.value[..]);
    loop {
        match writer.send(next) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(Code::QueueFull), same)) => {
                next = same;
                std::thread::sleep(Duration::from_millis(2));
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// Tries a step again that says it may be tried again, as long as somebody waits for it.
fn again(gone: &AtomicBool, step: impl Fn() -> KafkaResult<()>) -> KafkaResult<()> {
    let give_up = Instant::now() + STEP;
    loop {
        match step() {
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && Instant::now() < give_up && !gone.load(Ordering::Relaxed) =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

/// What a failed transaction means: another writer was first, or something that passes.
fn failed(what: &str, error: KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::TransactionCoordinatorFenced) => {
            Error::new(Kind::Conflict, format!("{what}: another process has taken it over")).because(error)
        }
        Some(_) | None => client::failed(what, error),
    }
}

/// Says so when nobody waits any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Work that waits for the cluster, beside the async threads; it is told when whoever asked for it is gone.
async fn blocking<T: Send + 'static>(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Result<T> {
    let gone = Arc::new(AtomicBool::new(false));
    let _waiting = Waiting(gone.clone());
    let done = tokio::task::spawn_blocking(move || work(&gone)).await;
    done.map_err(|error| Error::internal("writing to Kafka failed").because(error))
}
