//! The contract of the log port as tests that every adapter runs. A function here panics where an adapter breaks a sentence.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Kind;
use crate::log::{EventLog, NewRecord, Offset, Partition};

const ALL: usize = usize::MAX;

/// Runs every check, each on a log of its own.
pub async fn run(make: impl AsyncFn() -> Arc<dyn EventLog>) {
    open_creates_once(make().await).await;
    append_gives_the_next_offsets_in_order(make().await).await;
    concurrent_appends_are_all_kept_once(make().await).await;
    read_keeps_to_its_limits(make().await).await;
    same_offsets_give_the_same_bytes(make().await).await;
    positions_outside_are_refused(make().await).await;
    wait_returns_when_the_log_grows(make().await).await;
    trim_forgets_only_what_is_below(make().await).await;
}

/// `count` records for `partition` whose values say who they are; sizes differ, one is empty.
pub fn records(partition: u32, label: &str, count: usize) -> Vec<NewRecord> {
    let value = |i: usize| match i % 7 {
        6 => Bytes::new(),
        size => Bytes::from(format!("{{\"from\":\"{label}\",\"number\":{i}}}{}", " ".repeat(size * 40))),
    };
    (0..count).map(|i| NewRecord { partition, value: value(i) }).collect()
}

/// All records of a partition from its start on: offset, timestamp, value.
pub async fn everything(log: &dyn EventLog, partition: &Partition) -> Vec<(u64, i64, Vec<u8>)> {
    let (start, end) = log.bounds(partition).await.expect("bounds");
    let mut out = Vec::new();
    let mut position = start;
    while position < end {
        let chunk = log.read(partition, position, 1000, 1 << 20).await.expect("read");
        assert!(chunk.next > position, "a read below the end makes progress");
        out.extend(chunk.iter().map(|r| (r.offset.0, r.timestamp.0, r.value.to_vec())));
        position = chunk.next;
    }
    out
}

async fn open_creates_once(log: Arc<dyn EventLog>) {
    let first = log.open("clicks", 3).await.expect("open");
    assert_eq!(first.partitions, 3);
    let again = log.open("clicks", 8).await.expect("open again");
    assert_eq!(again, first, "an existing topic is left as it is");
    let other = log.open("views", 1).await.expect("open another");
    assert_ne!(other.incarnation, first.incarnation);
    log.append("clicks", records(0, "clicks", 5)).await.expect("append");
    let (start, end) = log.bounds(&Partition::new("views", 0)).await.expect("bounds");
    assert_eq!((start, end), (Offset(0), Offset(0)), "topics do not mix");
}

async fn append_gives_the_next_offsets_in_order(log: Arc<dyn EventLog>) {
    log.open("clicks", 2).await.expect("open");
    let mut next = [0_u64; 2];
    let mut expected: [Vec<Bytes>; 2] = Default::default();
    for round in 0..5 {
        let mut batch = records(0, "a", 3 + round);
        batch.extend(records(1, "b", 2));
        batch.extend(records(0, "c", 1));
        let places = log.append("clicks", batch.clone()).await.expect("append");
        for (record, (partition, offset)) in batch.into_iter().zip(places) {
            assert_eq!(partition, record.partition);
            assert_eq!(offset.0, next[partition as usize]);
            next[partition as usize] += 1;
            expected[partition as usize].push(record.value);
        }
    }
    for (number, expected) in (0..).zip(expected) {
        let partition = Partition::new("clicks", number);
        let bounds = log.bounds(&partition).await.expect("bounds");
        assert_eq!(bounds, (Offset(0), Offset(expected.len() as u64)));
        let found = everything(&*log, &partition).await;
        assert!(found.iter().map(|(_, _, value)| value).eq(expected.iter()), "values come back in order");
        assert!(found.iter().map(|(offset, ..)| *offset).eq(0..expected.len() as u64));
    }
    assert!(log.append("clicks", Vec::new()).await.expect("an empty append").is_empty());
    let outside = log.append("clicks", records(2, "outside", 1)).await.expect_err("no such partition");
    assert_eq!(outside.kind(), Kind::NotFound);
}

async fn concurrent_appends_are_all_kept_once(log: Arc<dyn EventLog>) {
    log.open("clicks", 2).await.expect("open");
    let appender = |task: usize| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut places = Vec::new();
            for round in 0..25 {
                let value = Bytes::from(format!("{task}/{round}"));
                let batch = [0, 1, 0].map(|partition| NewRecord { partition, value: value.clone() });
                let found = log.append("clicks", batch.to_vec()).await.expect("append");
                places.extend(found.into_iter().map(|place| (place, value.clone())));
                tokio::task::yield_now().await;
            }
            places
        })
    };
    let tasks: Vec<_> = (0..8).map(appender).collect();
    let mut answered = BTreeMap::new();
    for task in tasks {
        for ((partition, offset), value) in task.await.expect("appender") {
            assert!(answered.insert((partition, offset.0), value).is_none(), "an offset was given twice");
        }
    }
    assert_eq!(answered.len(), 8 * 25 * 3);
    let mut stored = BTreeMap::new();
    for number in 0..2 {
        let found = everything(&*log, &Partition::new("clicks", number)).await;
        stored.extend(found.into_iter().map(|(offset, _, value)| ((number, offset), Bytes::from(value))));
    }
    assert_eq!(stored, answered, "the log holds what was answered, where it was answered");
}

async fn read_keeps_to_its_limits(log: Arc<dyn EventLog>) {
    log.open("clicks", 1).await.expect("open");
    let partition = Partition::new("clicks", 0);
    for _ in 0..4 {
        let sized = |size: usize| NewRecord { partition: 0, value: Bytes::from(vec![b'x'; size]) };
        log.append("clicks", [10, 20, 30, 40, 50].map(sized).to_vec()).await.expect("append");
    }
    let sizes = async |from, max_records, max_bytes| {
        let chunk = log.read(&partition, Offset(from), max_records, max_bytes).await.expect("read");
        assert_eq!(chunk.next.0, from + chunk.len() as u64);
        chunk.iter().map(|r| r.value.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(0, 3, ALL).await, [10, 20, 30]);
    assert_eq!(sizes(3, 4, ALL).await, [40, 50, 10, 20]);
    assert_eq!(sizes(0, ALL, 60).await, [10, 20, 30]);
    assert_eq!(sizes(0, ALL, 59).await, [10, 20]);
    assert_eq!(sizes(4, ALL, 1).await, [50], "the first record comes whatever its size");
    assert_eq!(sizes(0, ALL, ALL).await.len(), 20);
    assert_eq!(sizes(20, ALL, ALL).await.len(), 0);
}

async fn same_offsets_give_the_same_bytes(log: Arc<dyn EventLog>) {
    log.open("clicks", 1).await.expect("open");
    let partition = Partition::new("clicks", 0);
    for size in [1, 40, 3, 700, 2] {
        log.append("clicks", records(0, "same", size)).await.expect("append");
    }
    let all = everything(&*log, &partition).await;
    for from in (0..all.len()).step_by(13) {
        let chunk = log.read(&partition, Offset(from as u64), 29, ALL).await.expect("read");
        let found = chunk.iter().map(|r| (r.offset.0, r.timestamp.0, r.value.to_vec()));
        assert!(found.eq(all[from..].iter().take(29).cloned()), "a read from {from} differs");
    }
}

async fn positions_outside_are_refused(log: Arc<dyn EventLog>) {
    log.open("clicks", 1).await.expect("open");
    let partition = Partition::new("clicks", 0);
    log.append("clicks", records(0, "some", 10)).await.expect("append");
    let beyond = log.read(&partition, Offset(11), 1, ALL).await.expect_err("beyond the end");
    assert_eq!(beyond.kind(), Kind::Corrupt);
    for unknown in [Partition::new("clicks", 1), Partition::new("views", 0)] {
        let error = log.read(&unknown, Offset(0), 1, ALL).await.expect_err("unknown partition");
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(log.bounds(&unknown).await.expect_err("unknown partition").kind(), Kind::NotFound);
    }
    let unknown = log.append("views", records(0, "views", 1)).await.expect_err("unknown topic");
    assert_eq!(unknown.kind(), Kind::NotFound);
}

async fn wait_returns_when_the_log_grows(log: Arc<dyn EventLog>) {
    log.open("clicks", 1).await.expect("open");
    let partition = Partition::new("clicks", 0);
    let waiting = tokio::spawn({
        let (log, partition) = (Arc::clone(&log), partition.clone());
        async move {
            while log.bounds(&partition).await.expect("bounds").1 <= Offset(2) {
                log.wait(&partition, Offset(2)).await.expect("wait");
            }
        }
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        log.append("clicks", records(0, "one", 1)).await.expect("append");
    }
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("wait returns").expect("waiter");
    let past = log.wait(&partition, Offset(0));
    tokio::time::timeout(Duration::from_secs(10), past).await.expect("it is beyond already").expect("wait");
}

async fn trim_forgets_only_what_is_below(log: Arc<dyn EventLog>) {
    log.open("clicks", 2).await.expect("open");
    let partition = Partition::new("clicks", 0);
    for _ in 0..20 {
        log.append("clicks", records(0, "block", 10)).await.expect("append");
    }
    log.append("clicks", records(1, "other", 10)).await.expect("append");
    let all = everything(&*log, &partition).await;
    let mut highest = 0;
    for before in [55, 20, 140, 10_000] {
        highest = before.max(highest);
        log.trim(&partition, Offset(before)).await.expect("trim");
        let (start, end) = log.bounds(&partition).await.expect("bounds");
        assert!(start.0 <= highest, "no more than what is below is forgotten");
        assert_eq!(end.0, 200, "the end stays");
        assert_eq!(everything(&*log, &partition).await, all[start.0 as usize..]);
        if start.0 > 0 {
            let below = log.read(&partition, Offset(start.0 - 1), 1, ALL).await.expect_err("below the start");
            assert_eq!(below.kind(), Kind::NotFound);
        }
    }
    let next = log.append("clicks", records(0, "after", 1)).await.expect("append");
    assert_eq!(next, [(0, Offset(200))], "offsets go on behind a trimmed end");
    assert_eq!(everything(&*log, &Partition::new("clicks", 1)).await.len(), 10, "other partitions are left alone");
}
