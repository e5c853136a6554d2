//! One broker for all tests of this program; every test has topics of its own.
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::BaseProducer;
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use seam_services::Kafka;
use seam_shared::config::KafkaStorage;
use seam_shared::log::kafka::KafkaLog;
use seam_shared::log::{EventLog, Offset, Partition};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// The broker; `None` if Kafka is not installed.
pub fn broker() -> Option<&'static Kafka> {
    static BROKER: OnceLock<Option<Kafka>> = OnceLock::new();
    BROKER.get_or_init(|| Kafka::start(&[])).as_ref()
}

/// A log in the cluster at `bootstrap`, as another process would open it.
pub fn log(bootstrap: &str) -> KafkaLog {
    log_of(bootstrap, &[])
}

/// A log whose sources read topics of other names: (source, topic).
pub fn log_of(bootstrap: &str, topics: &[(&str, &str)]) -> KafkaLog {
    let topics: BTreeMap<_, _> =
        topics.iter().map(|(source, topic)| ((*source).to_owned(), (*topic).to_owned())).collect();
    KafkaLog::new(&KafkaStorage::at(bootstrap), "test", topics).expect("a log needs no broker to be made")
}

pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("an admin client")
}

/// Makes a topic as another program would.
pub async fn create(bootstrap: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let made = admin(bootstrap).create_topics([&new], &options).await.expect("create");
    made[0].as_ref().expect("the topic is made");
}

/// Deletes a topic and waits until it is gone; it need not be there.
pub async fn delete(bootstrap: &str, topic: &str) {
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let admin = admin(bootstrap);
    drop(admin.delete_topics(&[topic], &options).await.expect("delete"));
    for _ in 0..200 {
        let known = admin.inner().fetch_metadata(None, PATIENCE).expect("metadata");
        if known.topics().iter().all(|known| known.name() != topic) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("topic {topic} is still there");
}

pub async fn add_partitions(bootstrap: &str, topic: &str, count: usize) {
    let made = admin(bootstrap).create_partitions([&NewPartitions::new(topic, count)], &AdminOptions::new()).await;
    made.expect("create")[0].as_ref().expect("the partitions are made");
}

/// Forgets the records below an offset, as retention does.
pub async fn forget_below(bootstrap: &str, topic: &str, offset: i64) {
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(topic, 0, Place::Offset(offset)).expect("a place");
    admin(bootstrap).delete_records(&places, &AdminOptions::new()).await.expect("delete records");
}

/// A producer of another program.
pub fn producer(bootstrap: &str, transactional: Option<&str>) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("linger.ms", "0");
    if let Some(id) = transactional {
        config.set("transactional.id", id);
    }
    config.create().expect("a producer")
}

/// Everything from a position to the end: (offset, value).
pub async fn read_all(log: &dyn EventLog, partition: &Partition, from: Offset) -> (Vec<(u64, String)>, Offset) {
    let (mut position, mut found) = (from, Vec::new());
    while position < log.bounds(partition).await.expect("bounds").1 {
        let chunk = log.read(partition, position, 100, 1 << 20).await.expect("read");
        assert!(chunk.next > position, "a read below the end makes progress");
        found.extend(chunk.iter().map(|record| (record.offset.0, String::from_utf8_lossy(record.value).into_owned())));
        position = chunk.next;
    }
    (found, position)
}
