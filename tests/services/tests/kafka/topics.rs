//! What may happen to a topic: made again, shortened by retention, given more partitions, compacted, written by others.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::producer::{BaseRecord, Producer};
use seam_shared::error::Kind;
use seam_shared::event::batch::Verdict;
use seam_shared::event::decode::Decoder;
use seam_shared::log::{EventLog, NewRecord, Offset, Partition, contract};
use seam_shared::segment::SegmentRule;
use seam_shared::view::definition::{Field, Source};
use seam_shared::view::value::FieldType;

use crate::world::{self, PATIENCE, read_all};

fn values(count: usize, label: &str) -> Vec<NewRecord> {
    (0..count).map(|i| NewRecord { partition: 0, value: Bytes::from(format!("{label} {i}")) }).collect()
}

/// The same name, other records, and more of them: no offset of the old topic may be used in the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_is_another_log() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let log = world::log(&bootstrap);
    let partition = Partition::new("again", 0);
    let first = log.open("again", 1).await.expect("open");
    log.append("again", values(50, "old")).await.expect("append");
    assert_eq!(read_all(&log, &partition, Offset(0)).await.1, Offset(50));
    world::delete(&bootstrap, "again").await;
    let other = world::log(&bootstrap);
    let second = other.open("again", 1).await.expect("open");
    assert_ne!(first.incarnation, second.incarnation);
    other.append("again", values(200, "new")).await.expect("append");
    // Within seconds, whoever knew the old topic is stopped, and stays so.
    let found_out = async {
        loop {
            match log.read(&partition, Offset(50), 10, 1000).await {
                Err(error) if error.kind() == Kind::Corrupt => break error,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(10), found_out).await.expect("in time");
    assert!(error.message().contains("topic again was deleted and made again"), "{error}");
    assert_eq!(log.open("again", 1).await.expect_err("open").kind(), Kind::Corrupt);
    assert_eq!(log.read(&partition, Offset(0), 10, 1000).await.expect_err("read").kind(), Kind::Corrupt);
    assert_eq!(read_all(&other, &partition, Offset(0)).await.0.len(), 200);
}

/// A position that retention has passed is an error, for a reader at work and for a new one; never a jump.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_took_is_not_found() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let log = world::log(&bootstrap);
    let partition = Partition::new("short", 0);
    log.open("short", 1).await.expect("open");
    log.append("short", values(100, "x")).await.expect("append");
    assert_eq!(log.read(&partition, Offset(0), 10, 1000).await.expect("read").next, Offset(10));
    world::forget_below(&bootstrap, "short", 60).await;
    assert_eq!(log.bounds(&partition).await.expect("bounds"), (Offset(60), Offset(100)));
    for log in [&log, &world::log(&bootstrap)] {
        for from in [0, 30, 59] {
            let error = log.read(&partition, Offset(from), 10, 1000).await.expect_err("gone");
            assert_eq!(error.kind(), Kind::NotFound, "{error}");
        }
        assert_eq!(read_all(log, &partition, Offset(60)).await.0.len(), 40);
        let beyond = log.read(&partition, Offset(101), 10, 1000).await.expect_err("beyond");
        assert_eq!(beyond.kind(), Kind::Corrupt);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_partitions_are_seen() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let log = world::log(&bootstrap);
    let topic = log.open("wider", 2).await.expect("open");
    world::add_partitions(&bootstrap, "wider", 4).await;
    let partition = Partition::new("wider", 3);
    log.append("wider", contract::records(3, "new", 5)).await.expect("append to a partition that is new");
    let again = log.open("wider", 2).await.expect("open");
    assert_eq!((again.partitions, again.incarnation), (4, topic.incarnation));
    assert_eq!(contract::everything(&log, &partition).await.len(), 5);
    let error = log.append("wider", contract::records(4, "none", 1)).await.expect_err("no such partition");
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compacted_topics_are_refused() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    for (topic, policy) in [("compact", "compact"), ("both", "compact,delete")] {
        world::create(&bootstrap, topic, 1, &[("cleanup.policy", policy)]).await;
        let error = world::log(&bootstrap).open(topic, 1).await.expect_err("refused");
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().contains("is compacted"), "{error}");
    }
}

/// A topic of other programs is taken as it is: its keys are ignored, what is no event is an invalid event and stops nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_other_programs_are_sources() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let log = world::log_of(&bootstrap, &[("clicks", "click-events")]);
    let missing = log.open("clicks", 1).await.expect_err("it is not ours to make");
    assert_eq!(missing.kind(), Kind::NotFound);
    assert!(missing.message().contains("click-events"), "{missing}");
    world::create(&bootstrap, "click-events", 2, &[]).await;
    assert_eq!(log.open("clicks", 1).await.expect("open").partitions, 2);
    let producer = world::producer(&bootstrap, None);
    let good = r#"{"time":"2026-05-01T10:00:00Z","country":"de"}"#;
    for (key, value) in [("k1", Some(good)), ("k2", Some("{")), ("k3", None), ("", Some("\u{0}")), ("k4", Some(good))] {
        let mut record = BaseRecord::<str, str>::to("click-events").partition(1).key(key);
        if let Some(value) = value {
            record = record.payload(value);
        }
        producer.send(record).expect("queued");
    }
    producer.flush(PATIENCE).expect("flush");
    let chunk = log.read(&Partition::new("clicks", 1), Offset(0), 100, 1 << 20).await.expect("read");
    let field = Field::new("country", vec!["country".into()], FieldType::String);
    let source = Arc::new(Source {
        name: "clicks".into(),
        id: None,
        time: vec!["time".into()],
        fields: vec![field],
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 2,
    });
    let verdicts = Decoder::new(source).decode(&chunk).verdicts;
    let (good, bad) = (Verdict::Counts, Verdict::Invalid);
    assert_eq!(verdicts, [good, bad, bad, bad, good]);
}
