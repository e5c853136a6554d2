//! The outlet port over Kafka's transactions: its contract, and what other readers see.
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use seam_shared::config::{KafkaStorage, SinkTopic};
use seam_shared::log::kafka::KafkaOutlet;
use seam_shared::log::{EventLog, Partition};
use seam_shared::outlet::{Outlet, Record, contract};

use crate::world::{self, PATIENCE};

fn outlet(bootstrap: &str, topic: &str) -> KafkaOutlet {
    let settings = SinkTopic { name: topic.to_owned(), partitions: 3, compact: topic.ends_with("compact") };
    let sink = format!("clicks/{topic}/update/1m");
    KafkaOutlet::new(&KafkaStorage::at(bootstrap), "test", settings, topic, sink).expect("the properties are known")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let Some(kafka) = world::broker() else { return };
    for topic in ["outlet", "outlet-compact"] {
        contract::run(|| async { Arc::new(outlet(&kafka.bootstrap(), topic)) as Arc<dyn Outlet> }, true).await;
    }
}

/// Who died in the middle of a transaction holds nobody up once the next one has claimed, and nothing of it is seen; the marks of other
/// sinks do not get in the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_was_left_open_is_ended_by_the_next_claim() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let record = |value: &str| Record { key: Bytes::from("k"), value: Bytes::copy_from_slice(value.as_bytes()) };
    let (first, other) = (outlet(&bootstrap, "left-open"), outlet(&bootstrap, "other"));
    first.claim().await.expect("claimed");
    first.write(&[record("1")], b"one").await.expect("written");
    other.claim().await.expect("claimed");
    other.write(&[record("o")], b"other").await.expect("written");
    let zombie = world::producer(&bootstrap, Some("seam-test-sink-left-open"));
    let half = || -> rdkafka::error::KafkaResult<()> {
        use rdkafka::producer::{BaseRecord, Producer};
        zombie.init_transactions(PATIENCE)?;
        zombie.begin_transaction()?;
        zombie.send(BaseRecord::<[u8], [u8], ()>::to("left-open").key(b"k").payload(b"half")).map_err(|(e, _)| e)?;
        zombie.flush(PATIENCE)
    };
    half().expect("a transaction is begun");
    let next = outlet(&bootstrap, "left-open");
    assert_eq!(next.claim().await.expect("claimed").as_deref(), Some(&b"one"[..]));
    next.write(&[record("2")], b"two").await.expect("written");
    assert_eq!(next.newest(10).await.expect("read"), ["1", "2"]);
    let log = world::log(&bootstrap);
    let all: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("isolation.level", "read_uncommitted")
        .create()
        .expect("a consumer");
    for number in 0..3 {
        let (_, stable) = log.bounds(&Partition::new("left-open", number)).await.expect("bounds");
        let (_, end) = all.fetch_watermarks("left-open", number as i32, PATIENCE).expect("bounds");
        assert_eq!(stable.0, end as u64, "nothing is open");
    }
    assert_eq!(outlet(&bootstrap, "other").claim().await.expect("claimed").as_deref(), Some(&b"other"[..]));
}
