//! The idempotent producer: an append ends when every record of it is acknowledged by all in-sync replicas.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use super::client::{self, Quiet};
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::log::{NewRecord, Offset};

type Answer = std::result::Result<Vec<(u32, Offset)>, KafkaError>;

/// Records of one append that wait for their acknowledgement.
#[derive(Debug)]
struct Waiting(Mutex<State>);

#[derive(Debug)]
struct State {
    places: Vec<(u32, Offset)>,
    left: usize,
    failed: Option<KafkaError>,
    answer: Option<oneshot::Sender<Answer>>,
}

impl Waiting {
    /// Notes what became of record `index`; after the last one, answers.
    fn settle(&self, index: usize, outcome: std::result::Result<Offset, KafkaError>) {
        let mut state = lock(&self.0);
        match outcome {
            Ok(offset) => state.places[index].1 = offset,
            Err(error) => state.failed = Some(error),
        }
        state.left -= 1;
        if state.left == 0 {
            let places = std::mem::take(&mut state.places);
            let answer = state.failed.take().map_or(Ok(places), Err);
            if let Some(waiting) = state.answer.take() {
                drop(waiting.send(answer)); // whoever asked may have gone
            }
        }
    }
}

/// Takes the acknowledgements.
struct Acknowledge;

impl ClientContext for Acknowledge {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Acknowledge {
    type DeliveryOpaque = Box<(Arc<Waiting>, usize)>;

    fn delivery(&self, result: &DeliveryResult<'_>, record: Self::DeliveryOpaque) {
        let (waiting, index) = *record;
        let outcome = match result {
            Ok(message) => Ok(Offset(u64::try_from(message.offset()).unwrap_or_default())),
            Err((error, _)) => Err(error.clone()),
        };
        waiting.settle(index, outcome);
    }
}

/// Appends to any topic of the cluster.
pub(super) struct Appender {
    config: ClientConfig,
    producer: Mutex<Arc<ThreadedProducer<Acknowledge>>>,
}

impl Appender {
    /// Makes the producer; it connects when it is needed.
    pub(super) fn new(config: ClientConfig) -> Result<Appender> {
        let producer = Mutex::new(producer(&config)?);
        Ok(Appender { config, producer })
    }

    /// Appends to partitions that exist; the answer names each record's partition and offset in the order given.
    pub(super) async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let producer = lock(&self.producer).clone();
        let (answer, answered) = oneshot::channel();
        let places = records.iter().map(|record| (record.partition, Offset(0))).collect();
        let state = State { places, left: records.len(), failed: None, answer: Some(answer) };
        let waiting = Arc::new(Waiting(Mutex::new(state)));
        for (index, record) in records.iter().enumerate() {
            let partition = i32::try_from(record.partition).unwrap_or(i32::MAX);
            let mut next = BaseRecord::<(), [u8], _>::with_opaque_to(topic, Box::new((Arc::clone(&waiting), index)))
                .partition(partition)
                .payload(&record.value);
            loop {
                match producer.send(next) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                        next = same;
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    Err((error, _)) => {
                        waiting.settle(index, Err(error));
                        break;
                    }
                }
            }
        }
        let answer = answered.await.unwrap_or(Err(KafkaError::Canceled));
        answer.map_err(|error| {
            self.replace_if_dead(&producer);
            let what = format!("records were not all stored in topic {topic}");
            let error = client::failed(&what, error);
            // The partitions exist: that was checked. The producer has not heard yet of one that was just added.
            if error.kind() == Kind::NotFound { Error::unavailable(what).because(error) } else { error }
        })
    }

    /// An idempotent producer that lost its order is dead for good; the next append gets a new one.
    fn replace_if_dead(&self, dead: &Arc<ThreadedProducer<Acknowledge>>) {
        let Some((code, reason)) = dead.client().fatal_error() else { return };
        let mut current = lock(&self.producer);
        if !Arc::ptr_eq(&current, dead) {
            return;
        }
        tracing::warn!(%code, reason, "the Kafka producer is made anew");
        match producer(&self.config) {
            Ok(new) => *current = new,
            Err(error) => tracing::error!(%error, "no new Kafka producer can be made"),
        }
    }
}

fn producer(config: &ClientConfig) -> Result<Arc<ThreadedProducer<Acknowledge>>> {
    let made = config.create_with_context(Acknowledge);
    made.map(Arc::new).map_err(|error| client::failed("nothing can be appended", error))
}
