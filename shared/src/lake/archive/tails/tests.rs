//! Tails are whole or refused, and the newest is the longest that anybody kept, whoever wrote it and whatever reply was lost.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutPayload, PutResult, Result as Stored,
};

use super::*;
use crate::clock::SystemClock;
use crate::lake::counting::CountingStore;
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
    table.drop_tails(0, Offset(0)).await.unwrap();
    table.drop_tails(1, Offset(100)).await.unwrap();
    assert_eq!(count().await, 3, "nothing of it is archived yet");
    table.drop_tails(0, Offset(1)).await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn where_nothing_is_archived_the_archive_begins_with_its_tail() {
    // What is kept, what another archiver would keep, and what comes of it.
    for (kept, other, outcome, next) in [
        ((0, 10), (20, 25), Err(Kind::Conflict), 10),
        ((0, 20), (10, 30), Err(Kind::Conflict), 20),
        ((0, 30), (10, 20), Err(Kind::Conflict), 30),
        ((10, 20), (0, 20), Ok(()), 20),
        ((10, 20), (0, 30), Ok(()), 30),
        ((10, 20), (0, 15), Err(Kind::Unavailable), 20),
        ((10, 20), (0, 5), Err(Kind::Unavailable), 20),
    ] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let table = table(&store).await;
        table.keep_tail(0, &tail(kept.0, kept.1, "a")).await.unwrap();
        let found = table.keep_tail(0, &tail(other.0, other.1, "a")).await.map_err(|error| error.kind());
        assert_eq!(found, outcome, "{other:?} after {kept:?}");
        let newest = newest(&table).await.unwrap();
        let from = if outcome.is_ok() { other.0 } else { kept.0 };
        assert_eq!((newest.from, newest.records.next), (Offset(from), Offset(next)), "{other:?} after {kept:?}");
    }
}

#[tokio::test]
async fn the_newest_of_many_tails_is_found_in_few_looks() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = table(&store).await;
    for count in 1..=70 {
        table.keep_tail(0, &tail(0, count, "a")).await.unwrap();
        assert_eq!(newest(&table).await.unwrap().records.next, Offset(count));
    }
    let counting = Arc::new(CountingStore::new(store));
    let table = self::table(&(counting.clone() as Arc<dyn ObjectStore>)).await;
    counting.take();
    assert!(table.tail(0, None).await.unwrap().is_some());
    let looks = counting.take().reads;
    assert!(looks <= 10, "{looks} looks for the last of 70");
}

/// A store in which a tail that is there when it is looked for is always dropped before it is read.
#[derive(Debug)]
struct Dropping(Arc<dyn ObjectStore>);

impl std::fmt::Display for Dropping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "dropping {}", self.0)
    }
}

#[async_trait]
impl ObjectStore for Dropping {
    async fn put_opts(&self, path: &Path, content: PutPayload, options: PutOptions) -> Stored<PutResult> {
        self.0.put_opts(path, content, options).await
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Stored<GetResult> {
        if path.as_ref().contains("_tails") && !options.head {
            self.0.delete(path).await?;
        }
        self.0.get_opts(path, options).await
    }
    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Stored<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(path, options).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        self.0.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.0.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_tail_that_is_dropped_while_another_is_to_be_kept_is_looked_for_again() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    table(&memory).await.keep_tail(0, &tail(5, 20, "a")).await.unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(Dropping(memory.clone()));
    table(&store).await.keep_tail(0, &tail(5, 30, "a")).await.unwrap();
    assert_eq!(newest(&table(&memory).await).await.unwrap().records.next, Offset(30));
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
