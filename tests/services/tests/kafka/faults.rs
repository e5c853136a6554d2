//! A broker that is killed and started again under load: what was acknowledged is there, once.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use seam_services::Kafka;
use seam_shared::log::{EventLog, NewRecord, Offset, Partition};

use tokio::task::JoinHandle;

use crate::world;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_load_loses_and_doubles_nothing() {
    let Some(kafka) = Kafka::start(&[]) else { return };
    let log: Arc<dyn EventLog> = Arc::new(world::log(&kafka.bootstrap()));
    log.open("load", 2).await.expect("open");
    let [done, settled] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let appenders: Vec<_> = (0..3).map(|task| tokio::spawn(append(log.clone(), task, done.clone()))).collect();
    let readers: Vec<_> = (0..2).map(|number| tokio::spawn(follow(log.clone(), number, settled.clone()))).collect();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        tokio::task::block_in_place(|| kafka.process.restart());
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    done.store(true, Ordering::Relaxed);
    let stored = all_there_once(appenders, readers, &settled).await;
    // A reader that starts from nothing sees the same.
    for number in 0..2 {
        let partition = Partition::new("load", number);
        let (again, _) = world::read_all(&world::log(&kafka.bootstrap()), &partition, Offset(0)).await;
        assert_eq!(again.len(), stored.values().filter(|(n, _)| *n == number).count());
    }
}

/// Where each record lies once all are appended and read: what was acknowledged is there, and nothing twice.
pub async fn all_there_once(
    appenders: Vec<JoinHandle<Appended>>,
    readers: Vec<JoinHandle<Vec<(u64, String)>>>,
    settled: &AtomicBool,
) -> BTreeMap<String, (u32, u64)> {
    let (mut acknowledged, mut sent) = (BTreeMap::new(), 0);
    for appender in appenders {
        let (places, all) = appender.await.expect("appender");
        acknowledged.extend(places);
        sent += all;
    }
    settled.store(true, Ordering::Relaxed);
    let mut stored = BTreeMap::new();
    for (number, reader) in (0_u32..).zip(readers) {
        for (offset, value) in reader.await.expect("reader") {
            assert!(stored.insert(value, (number, offset)).is_none(), "a record is there twice");
        }
    }
    for (value, place) in &acknowledged {
        assert_eq!(stored.get(value), Some(place), "{value} was acknowledged");
    }
    println!("{} of {sent} records acknowledged, {} stored", acknowledged.len(), stored.len());
    assert!(acknowledged.len() > 100 && stored.len() <= sent);
    stored
}

/// Where what was acknowledged lies, and how many records were sent.
pub type Appended = (Vec<(String, (u32, u64))>, usize);

/// Appends until it is done: where what was acknowledged lies, and how many were sent.
pub async fn append(log: Arc<dyn EventLog>, task: usize, done: Arc<AtomicBool>) -> Appended {
    let (mut places, mut sent) = (Vec::new(), 0);
    for round in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let values: Vec<String> = (0..20)
            .map(|i| {
                let number = (task * 1_000_000 + round) * 20 + i;
                format!(r#"{{"at":"2026-05-01T10:00:00Z","page":"{}","size":{number}}}"#, number % 7)
            })
            .collect();
        let record =
            |(i, value): (usize, &String)| NewRecord { partition: (i % 2) as u32, value: Bytes::from(value.clone()) };
        let records = values.iter().enumerate().map(record).collect();
        sent += values.len();
        match log.append("load", records).await {
            Ok(found) => {
                let found = found.into_iter().map(|(partition, offset)| (partition, offset.0));
                places.extend(values.into_iter().zip(found));
            }
            Err(error) => println!("append: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (places, sent)
}

/// Reads until it is done and at the end; errors are tried again.
pub async fn follow(log: Arc<dyn EventLog>, number: u32, done: Arc<AtomicBool>) -> Vec<(u64, String)> {
    let partition = Partition::new("load", number);
    let (mut position, mut found) = (Offset(0), Vec::new());
    loop {
        let ending = done.load(Ordering::Relaxed);
        match log.read(&partition, position, 64, 1 << 20).await {
            Ok(chunk) => {
                position = chunk.next;
                found.extend(chunk.iter().map(|r| (r.offset.0, String::from_utf8_lossy(r.value).into_owned())));
                if chunk.is_empty() && ending {
                    return found;
                }
                if chunk.is_empty() {
                    drop(log.wait(&partition, position).await);
                }
            }
            Err(error) => {
                println!("read: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
