//! Tails are whole or refused, and the newest is the longest that anybody kept, whoever wrote it and whatever reply was lost.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::clock::SystemClock;
use crate::lake::faulty::FaultyStore;
use crate::segment::SegmentRule;
use crate::view::definition::Source;

fn source() -> Source {
    Source {
        name: "clicks".to_owned(),
        id: None,
        time: vec!["time".to_owned()],
        fields: Vec::new(),
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    }
}

async fn table(store: &Arc<dyn ObjectStore>) -> ArchiveTable {
    ArchiveTable::open(store.clone(), &source(), "first", Arc::new(SystemClock)).await.unwrap()
}

/// Every third offset is none; `kind` tells logs apart.
fn tail(from: u64, to: u64, kind: &str) -> Tail {
    let mut records = Chunk::at(Offset(from));
    for offset in (from..to).filter(|offset| offset % 3 != 2) {
        let value = if offset % 5 == 0 { String::new() } else { format!("{{\"n\":{offset},\"kind\":\"{kind}\"}}") };
        records.push(Offset(offset), Timestamp(-7 + offset.cast_signed() * 11), value.as_bytes());
    }
    records.next = Offset(to);
    Tail { from: Offset(from), records }
}

async fn newest(table: &ArchiveTable) -> Option<Tail> {
    let path = table.tail(0, None).await.unwrap()?;
    Some(table.read_tail(&path).await.unwrap())
}

#[tokio::test]
async fn a_tail_comes_back_as_it_was_or_is_refused() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = table(&store).await;
    let kept = tail(3, 60, "a");
    table.keep_tail(0, &kept).await.unwrap();
    let path = table.tail(0, None).await.unwrap().unwrap();
    let found = table.read_tail(&path).await.unwrap();
    assert_eq!((found.from, found.records.next, found.encode()), (Offset(3), Offset(60), kept.encode()));
    assert!(table.tail(0, Some(Offset(1))).await.unwrap().is_none() && table.tail(1, None).await.unwrap().is_none());
    let object = store.get(&path).await.unwrap().bytes().await.unwrap();
    for byte in 0..object.len() {
        let mut damaged = object.to_vec();
        damaged[byte] ^= 0x10;
        store.put(&path, damaged.into()).await.unwrap();
        // what is not looked at when it is unpacked may differ
        if let Err(error) = table.read_tail(&path).await {
            assert!(error.kind() == Kind::Corrupt && error.message().contains(path.as_ref()), "byte {byte}: {error}");
        } else {
            assert_eq!(table.read_tail(&path).await.unwrap().encode(), kept.encode(), "byte {byte}");
        }
        store.put(&path, object.slice(..byte).into()).await.unwrap();
        assert_eq!(table.read_tail(&path).await.unwrap_err().kind(), Kind::Corrupt, "{byte} bytes");
    }
    // A damaged one is no reason to keep none.
    table.keep_tail(0, &kept).await.unwrap();
    assert_eq!(newest(&table).await.unwrap().encode(), kept.encode());
}

#[tokio::test]
async fn equal_and_shorter_tails_are_not_written_and_old_ones_are_dropped() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = table(&store).await;
    let count = async || {
        let found: Vec<_> = store.list(None).try_collect().await.unwrap();
        found.iter().filter(|object| object.location.as_ref().contains("_tails")).count()
    };
    for (to, kind, objects) in [(40, "a", 1), (40, "a", 1), (30, "a", 1), (50, "a", 2), (50, "b", 3), (50, "b", 3)] {
        table.keep_tail(0, &tail(9, to, kind)).await.unwrap();
        assert_eq!(count().await, objects, "to {to} of {kind}");
    }
    assert_eq!(newest(&table).await.unwrap().encode(), tail(9, 50, "b").encode(), "what the log holds now");
    table.keep_tail(0, &tail(12, 70, "a")).await.unwrap();
    assert_eq!(newest(&table).await.unwrap().from, Offset(9), "what began earlier holds more");
    table.drop_tails(0, Offset(0)).await.unwrap();
    table.drop_tails(1, Offset(100)).await.unwrap();
    assert_eq!(count().await, 3, "nothing of it is archived yet");
    table.drop_tails(0, Offset(1)).await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn of_rivals_and_lost_replies_the_longest_is_read() {
    for seed in 0..60 {
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let faulty = Arc::new(FaultyStore::new(memory.clone(), seed, 0));
        let store: Arc<dyn ObjectStore> = faulty.clone();
        let rivals = [table(&store).await, table(&store).await];
        faulty.set_faults(30);
        let mut longest = 0;
        for turn in 1..40_u64 {
            let to = 10 + (turn * 7 + seed * 3) % 23 + turn / 2;
            match rivals[(turn % 2) as usize].keep_tail(0, &tail(5, to, "a")).await {
                Ok(()) => longest = longest.max(to),
                Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "seed {seed}: {error}"),
            }
        }
        faulty.release().await;
        let found = newest(&table(&memory).await).await.unwrap();
        assert!(
            longest > 20 && found.records.next >= Offset(longest),
            "seed {seed}: {} of {longest}",
            found.records.next
        );
        assert_eq!(found.encode(), tail(5, found.records.next.0, "a").encode(), "seed {seed}");
    }
}
