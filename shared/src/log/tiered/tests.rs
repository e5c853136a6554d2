//! The tiered log keeps the log's contract whatever of it is archived and trimmed, and never answers from a damaged file.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Mutex;

use super::*;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::event::decode::Decoder;
use crate::lake::archive::NewFile;
use crate::log::contract;
use crate::log::memory::MemoryLog;
use crate::segment::SegmentRule;
use crate::time::Timestamp;
use crate::view::definition::Source;

fn source(name: &str) -> Arc<Source> {
    Arc::new(Source {
        name: name.to_owned(),
        id: None,
        time: vec!["time".to_owned()],
        fields: Vec::new(),
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    })
}

/// Archives `[A, to)` as files of at most `rows` records.
async fn archive(hot: &dyn EventLog, table: &ArchiveTable, partition: &Partition, to: Offset, rows: usize) {
    let source = source(&partition.source);
    let position = table.latest().await.unwrap().position(partition.number);
    let mut from = position.unwrap_or(hot.bounds(partition).await.unwrap().0);
    while from < to {
        let left = usize::try_from(to.0 - from.0).unwrap();
        let mut chunk = hot.read(partition, from, rows.min(left), usize::MAX).await.unwrap();
        chunk = chunk.slice(from, chunk.iter().filter(|record| record.offset < to).count(), usize::MAX);
        if chunk.is_empty() {
            return;
        }
        let end = chunk.next.min(to);
        let batch = Decoder::new(source.clone()).decode(&chunk);
        let parts = [(batch, chunk)];
        let content = archive_file::write(&source, partition.number, &parts, from..end).unwrap();
        let file =
            NewFile { partition: partition.number, from, to: end, boundaries: vec![from], anchor: None, content };
        table.commit_file(file).await.unwrap();
        from = end;
    }
}

/// A log that archives what it is told to forget, and then really forgets it.
#[derive(Debug)]
struct Forgetful {
    hot: Arc<dyn EventLog>,
    tables: BTreeMap<String, Arc<ArchiveTable>>,
    tiered: TieredLog,
    trimming: Mutex<()>,
}

async fn forgetful() -> Forgetful {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let hot: Arc<dyn EventLog> = Arc::new(MemoryLog::new(clock.clone()));
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut tables = BTreeMap::new();
    for name in ["clicks", "views"] {
        let table = ArchiveTable::open(store.clone(), &source(name), "first", clock.clone()).await.unwrap();
        tables.insert(name.to_owned(), Arc::new(table));
    }
    let tiered = TieredLog::new(hot.clone(), tables.clone());
    Forgetful { hot, tables, tiered, trimming: Mutex::default() }
}

#[async_trait]
impl EventLog for Forgetful {
    async fn open(&self, topic: &str, partitions: u32) -> Result<Topic> {
        self.tiered.open(topic, partitions).await
    }
    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>> {
        self.tiered.append(topic, records).await
    }
    async fn read(&self, partition: &Partition, from: Offset, max_records: usize, max_bytes: usize) -> Result<Chunk> {
        self.tiered.read(partition, from, max_records, max_bytes).await
    }
    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        self.tiered.bounds(partition).await
    }
    async fn wait(&self, partition: &Partition, position: Offset) -> Result<()> {
        self.tiered.wait(partition, position).await
    }
    async fn trim(&self, partition: &Partition, before: Offset) -> Result<()> {
        let _one_at_a_time = self.trimming.lock().await;
        let before = before.min(self.hot.bounds(partition).await?.1);
        archive(&*self.hot, &self.tables[&partition.source], partition, before, 7).await;
        self.tiered.trim(partition, before).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    contract::run(async || Arc::new(forgetful().await) as Arc<dyn EventLog>).await;
}

#[tokio::test]
async fn what_was_trimmed_is_read_as_it_was_over_gaps_and_file_ends() {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    let memory = Arc::new(MemoryLog::new(clock.clone() as Arc<dyn Clock>));
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = ArchiveTable::open(store, &source("clicks"), "first", clock.clone()).await.unwrap();
    let table = Arc::new(table);
    let tiered = TieredLog::new(memory.clone(), [("clicks".to_owned(), table.clone())].into());
    let partition = Partition::new("clicks", 0);
    tiered.open("clicks", 1).await.unwrap();
    for round in 0..40 {
        tiered.append("clicks", contract::records(0, "a", 3)).await.unwrap();
        clock.advance(17);
        memory.skip(&partition, round % 4).unwrap();
    }
    tiered.append("clicks", contract::records(0, "a", 1)).await.unwrap();
    let all = contract::everything(&*memory, &partition).await;
    archive(&*memory, &table, &partition, Offset(90), 10).await;
    let archived = table.latest().await.unwrap().position(0).unwrap();
    assert!(archived.0 > 80, "{archived}");
    for hot_start in [1, 33, archived.0] {
        memory.trim(&partition, Offset(hot_start)).await.unwrap();
        assert_eq!(tiered.bounds(&partition).await.unwrap().0, Offset(0));
        assert_eq!(contract::everything(&tiered, &partition).await, all, "hot from {hot_start}");
        for from in 0..=all.last().unwrap().0 {
            let chunk = tiered.read(&partition, Offset(from), 5, usize::MAX).await.unwrap();
            let expected: Vec<_> = all.iter().filter(|(offset, ..)| *offset >= from).take(5).cloned().collect();
            let found: Vec<_> = chunk.iter().map(|r| (r.offset.0, r.timestamp.0, r.value.to_vec())).collect();
            assert!(!found.is_empty() && expected.starts_with(&found), "from {from}: {found:?}");
        }
    }
    let beyond = Offset(archived.0 + 5);
    memory.trim(&partition, beyond).await.unwrap();
    let start = tiered.bounds(&partition).await.unwrap().0;
    assert_eq!(start, beyond, "an archive that leaves a gap below the hot log does not count");
    let gap = tiered.read(&partition, archived, 5, usize::MAX).await.unwrap_err();
    assert_eq!(gap.kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_damaged_file_is_named_and_never_read() {
    let log = forgetful().await;
    let partition = Partition::new("clicks", 0);
    log.open("clicks", 1).await.unwrap();
    log.append("clicks", contract::records(0, "a", 20)).await.unwrap();
    log.trim(&partition, Offset(15)).await.unwrap();
    let table = &log.tables["clicks"];
    let file = table.latest().await.unwrap().files_of(0)[1].clone();
    let bytes = table.store().get(&file.path).await.unwrap().bytes().await.unwrap();
    let mut damaged = bytes.to_vec();
    damaged[bytes.len() / 2] ^= 4;
    table.store().put(&file.path, damaged.into()).await.unwrap();
    let error = log.read(&partition, file.from, 5, usize::MAX).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains(file.path.as_ref()), "{error}");
    let before = log.read(&partition, Offset(0), 5, usize::MAX).await.unwrap();
    assert_eq!(before.len(), 5, "other files are read");
}

/// A log of sixty records with gaps, of which forty offsets are archived; what a tail of it from there on holds.
async fn silent() -> (Arc<MemoryLog>, Arc<ArchiveTable>, TieredLog, Tail) {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    let memory = Arc::new(MemoryLog::new(clock.clone() as Arc<dyn Clock>));
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = Arc::new(ArchiveTable::open(store, &source("clicks"), "first", clock.clone()).await.unwrap());
    let tiered = TieredLog::new(memory.clone(), [("clicks".to_owned(), table.clone())].into());
    let partition = Partition::new("clicks", 0);
    tiered.open("clicks", 1).await.unwrap();
    for round in 0..21 {
        tiered.append("clicks", contract::records(0, "a", 3)).await.unwrap();
        clock.advance(17);
        memory.skip(&partition, round % 2).unwrap();
    }
    archive(&*memory, &table, &partition, Offset(40), 10).await;
    let from = table.latest().await.unwrap().position(0).unwrap();
    let mut records = memory.read(&partition, from, usize::MAX, usize::MAX).await.unwrap();
    records.next = memory.bounds(&partition).await.unwrap().1;
    (memory, table, tiered, Tail { from, records })
}

#[tokio::test]
async fn the_tail_of_a_silent_source_is_read_as_if_the_log_still_held_it() {
    let (memory, table, tiered, tail) = silent().await;
    let partition = Partition::new("clicks", 0);
    let all = contract::everything(&*memory, &partition).await;
    let end = tail.records.next;
    memory.trim(&partition, Offset(tail.from.0 + 4)).await.unwrap();
    assert_eq!(tiered.bounds(&partition).await.unwrap().0, Offset(tail.from.0 + 4), "a gap without it");
    assert_eq!(tiered.read(&partition, tail.from, 5, usize::MAX).await.unwrap_err().kind(), Kind::NotFound);
    table.keep_tail(0, &tail).await.unwrap();
    for hot_start in [tail.from.0 + 4, end.0 - 1, end.0] {
        memory.trim(&partition, Offset(hot_start)).await.unwrap();
        assert_eq!(tiered.bounds(&partition).await.unwrap(), (Offset(0), end));
        assert_eq!(contract::everything(&tiered, &partition).await, all, "hot from {hot_start}");
        assert_eq!(tiered.held(&partition, tail.from).await.unwrap(), end);
        for from in 0..all.last().unwrap().0 {
            let chunk = tiered.read(&partition, Offset(from), 5, usize::MAX).await.unwrap();
            let expected: Vec<_> = all.iter().filter(|(offset, ..)| *offset >= from).take(5).cloned().collect();
            let found: Vec<_> = chunk.iter().map(|r| (r.offset.0, r.timestamp.0, r.value.to_vec())).collect();
            assert!(!found.is_empty() && expected.starts_with(&found), "from {from}: {found:?}");
        }
    }
    // The source speaks again, and the log forgets what nobody kept.
    tiered.append("clicks", contract::records(0, "b", 2)).await.unwrap();
    let behind = tiered.read(&partition, end, 5, usize::MAX).await.unwrap();
    assert_eq!(behind.len(), 2);
    memory.trim(&partition, Offset(end.0 + 1)).await.unwrap();
    assert_eq!(tiered.bounds(&partition).await.unwrap().0, Offset(end.0 + 1), "a record is in nobody's hands");
    assert_eq!(tiered.read(&partition, end, 5, usize::MAX).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_tail_holds_the_gap_at_the_logs_end_too() {
    let (memory, table, tiered, mut tail) = silent().await;
    let partition = Partition::new("clicks", 0);
    let gap = tail.records.next;
    memory.skip(&partition, 2).unwrap();
    tail.records.next = Offset(gap.0 + 2);
    table.keep_tail(0, &tail).await.unwrap();
    memory.trim(&partition, tail.records.next).await.unwrap();
    for from in [gap, Offset(gap.0 + 1)] {
        let chunk = tiered.read(&partition, from, 5, usize::MAX).await.unwrap();
        assert_eq!((chunk.len(), chunk.next), (0, tail.records.next));
    }
    tiered.append("clicks", contract::records(0, "b", 1)).await.unwrap();
    assert_eq!(tiered.read(&partition, gap, 5, usize::MAX).await.unwrap().len(), 1, "over the gap");
}

#[tokio::test]
async fn a_tail_that_the_log_contradicts_is_not_read() {
    for grown in [0, 1, 40] {
        let (memory, table, tiered, tail) = silent().await;
        let partition = Partition::new("clicks", 0);
        table.keep_tail(0, &tail).await.unwrap();
        memory.truncate(&partition, Offset(tail.from.0 + 3)).unwrap();
        if grown > 0 {
            tiered.append("clicks", contract::records(0, "other", grown)).await.unwrap();
        }
        memory.trim(&partition, Offset(tail.from.0 + 2)).await.unwrap();
        let error = tiered.read(&partition, tail.from, 5, usize::MAX).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{grown} others: {error}");
        assert!(error.message().contains("clicks/0 was truncated or rewritten"), "{error}");
    }
}

#[tokio::test]
async fn an_archive_begins_with_the_tail_be_there_a_hole_behind_it_or_not() {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    let memory = Arc::new(MemoryLog::new(clock.clone() as Arc<dyn Clock>));
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = Arc::new(ArchiveTable::open(store, &source("clicks"), "first", clock.clone()).await.unwrap());
    let tiered = TieredLog::new(memory.clone(), [("clicks".to_owned(), table.clone())].into());
    let partition = Partition::new("clicks", 0);
    tiered.open("clicks", 1).await.unwrap();
    tiered.append("clicks", contract::records(0, "a", 30)).await.unwrap();
    memory.trim(&partition, Offset(3)).await.unwrap();
    assert_eq!(tiered.beginning(&partition).await.unwrap(), Offset(3), "nothing is kept");
    let mut records = memory.read(&partition, Offset(3), 7, usize::MAX).await.unwrap();
    records.next = Offset(10);
    table.keep_tail(0, &Tail { from: Offset(3), records }).await.unwrap();
    for (start, bounds) in [(10, 3), (20, 20)] {
        memory.trim(&partition, Offset(start)).await.unwrap();
        assert_eq!(tiered.beginning(&partition).await.unwrap(), Offset(3), "hot from {start}");
        assert_eq!(tiered.bounds(&partition).await.unwrap().0, Offset(bounds), "hot from {start}");
    }
    assert_eq!(tiered.read(&partition, Offset(3), 5, usize::MAX).await.unwrap().len(), 5);
    assert_eq!(tiered.read(&partition, Offset(10), 5, usize::MAX).await.unwrap_err().kind(), Kind::NotFound, "a hole");

    // What was read from a later start on is not archived: nobody would look below it any more.
    let chunk = memory.read(&partition, Offset(20), 5, usize::MAX).await.unwrap();
    let parts = [(Decoder::new(source("clicks")).decode(&chunk), chunk)];
    let content = archive_file::write(&source("clicks"), 0, &parts, Offset(20)..Offset(25)).unwrap();
    let (from, to) = (Offset(20), Offset(25));
    let file = NewFile { partition: 0, from, to, boundaries: vec![from], anchor: None, content };
    let error = table.commit_file(file).await.unwrap_err();
    assert!(error.kind() == Kind::Conflict && error.message().contains("begins with its tail at 3"), "{error}");
    assert_eq!(table.latest().await.unwrap().position(0), None);
}
