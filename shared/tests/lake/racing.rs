//! Two writers of one table: one wins, the other is told, nothing is lost or doubled, whatever replies get lost.
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::lake::archive::{ArchiveTable, NewFile};
use seam_shared::lake::archive_file;
use seam_shared::lake::faulty::FaultyStore;
use seam_shared::lake::views::{Publication, ViewTable};
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::time::Timestamp;
use seam_shared::{Error, Kind};

use crate::samples::{Random, events, rows, source, view};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

async fn archive(store: &Arc<dyn ObjectStore>) -> Result<ArchiveTable, Error> {
    ArchiveTable::open(Arc::clone(store), &source(), "first", clock()).await
}

fn file(partition: u32, from: u64, rows: u64) -> NewFile {
    let parts = [events(from, from, rows as usize)];
    let (from, to) = (Offset(from), Offset(from + rows));
    let content = archive_file::write(&source(), partition, &parts, from..to).unwrap();
    NewFile { partition, from, to, boundaries: vec![from, Offset(from.0 + rows / 2)], content, anchor: None }
}

#[tokio::test]
async fn the_archive_is_gap_free_and_overlap_free() {
    archive_rules(Arc::new(InMemory::new())).await;
}

/// The archive is gap-free and overlap-free on `store`.
pub async fn archive_rules(store: Arc<dyn ObjectStore>) {
    let (one, other) = (archive(&store).await.unwrap(), archive(&store).await.unwrap());
    one.commit_file(file(0, 5, 10)).await.unwrap();
    for wrong in [0, 5, 14, 16] {
        assert_eq!(other.commit_file(file(0, wrong, 10)).await.unwrap_err().kind(), Kind::Conflict, "from {wrong}");
    }
    other.commit_file(file(1, 100, 4)).await.unwrap();
    let now = one.commit_file(file(0, 15, 10)).await.unwrap();
    assert_eq!(now.positions.to_text("clicks"), "clicks/0@25,clicks/1@104");
    assert_eq!(now.boundaries(0), [5, 10, 15, 20, 25].map(Offset));
    assert_eq!((now.boundaries(1), now.boundaries(2)), ([100, 102, 104].map(Offset).to_vec(), vec![]));
    let before = other.at(1).await.unwrap();
    assert_eq!((before.files.len(), before.positions.get(0)), (1, Offset(15)));
    assert_eq!(other.at(9).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_changed_setting_is_refused_by_its_name() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    archive(&store).await.unwrap();
    let mut changed = source();
    changed.segments.max_events = 7;
    let error = ArchiveTable::open(Arc::clone(&store), &changed, "first", clock()).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.message().contains("segments"), "{error}");
    let error = ArchiveTable::open(store, &source(), "second", clock()).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.message().contains("another log"), "{error}");
}

/// Archives records in small files until `end`, as an archiver does: on any trouble it reads the table again.
async fn archive_until(table: &ArchiveTable, end: u64, seed: u64) {
    let mut random = Random(seed);
    loop {
        let Ok(now) = table.latest().await else { continue };
        let from = now.positions.get(0).0;
        if from >= end {
            return;
        }
        match table.commit_file(file(0, from, (2 + random.below(5)).min(end + 2 - from))).await {
            Ok(_) => {}
            Err(error) => assert!(matches!(error.kind(), Kind::Conflict | Kind::Unavailable), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn racing_archivers_with_lost_replies_archive_every_record_once() {
    for seed in 0..60 {
        racing_archivers(Arc::new(InMemory::new()), seed, 60).await;
    }
}

/// Two archivers race over `inner` with faults put before it: every record is archived once.
pub async fn racing_archivers(inner: Arc<dyn ObjectStore>, seed: u64, records: u64) {
    let faulty = Arc::new(FaultyStore::new(Arc::clone(&inner), seed, 90));
    let store: Arc<dyn ObjectStore> = Arc::clone(&faulty) as _;
    let mut tables = Vec::new();
    while tables.len() < 2 {
        tables.extend(archive(&store).await.ok());
    }
    let (one, other) = (archive_until(&tables[0], records, seed), archive_until(&tables[1], records, seed + 1_000));
    tokio::join!(one, other);
    faulty.release().await; // zombies arrive after everything
    let fresh = archive(&inner).await.unwrap();
    let now = fresh.latest().await.unwrap();
    let total: u64 = now.files.iter().map(|f| f.rows).sum();
    assert_eq!(total, now.positions.get(0).0, "seed {seed}");
    assert!(total >= records && now.version as usize == now.files.len(), "seed {seed}");
    let mut next = Offset(0);
    for file in &now.files {
        assert_eq!(file.from, next, "seed {seed}");
        next = file.to;
        let bytes = inner.get(&file.path).await.unwrap().bytes().await.unwrap();
        assert_eq!(seam_shared::lake::verified::hash(&bytes), file.blake3, "seed {seed}");
    }
}

#[tokio::test]
async fn of_two_jobs_one_publishes_and_b_never_goes_back() {
    publish_rules(Arc::new(InMemory::new())).await;
}

/// Of two jobs one publishes and B never goes back on `store`.
pub async fn publish_rules(store: Arc<dyn ObjectStore>) {
    let view = Arc::new(view());
    let table = || ViewTable::new(Arc::clone(&store), Arc::clone(&view), clock());
    let (one, other) = (table(), table());
    assert_eq!(one.latest().await.unwrap(), None);
    let mut files = Vec::new();
    for seed in 0..4 {
        let slice = |n: i64| Timestamp(n * 1_000_000);
        files.push(one.put(&rows(seed, 50, 1), slice(seed as i64), slice(seed as i64 + 1)).await.unwrap());
    }
    let publication = |parent, at: u64, files: &[_]| Publication {
        parent,
        cut: OffsetVector([(0, Offset(at)), (1, Offset(3))].into_iter().collect()),
        incarnation: "a".into(),
        files: files.to_vec(),
        info: [("engine".to_owned(), "test".into())].into_iter().collect(),
    };
    let first = one.publish(publication(None, 10, &files[..2])).await.unwrap();
    assert_eq!((first.number, first.files.len()), (1, 2));
    assert_eq!(other.publish(publication(None, 20, &files)).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(one.publish(publication(Some(1), 9, &files)).await.unwrap_err().kind(), Kind::Conflict);
    let second = other.publish(publication(Some(1), 30, &files[1..])).await.unwrap();
    assert_eq!(second.files, files[1..]);
    assert_eq!(one.publish(publication(Some(1), 40, &files)).await.unwrap_err().kind(), Kind::Conflict);
    // a file that was replaced comes back with the same content
    let third = one.publish(publication(Some(2), 30, &files[..1])).await.unwrap();
    assert_eq!(one.latest().await.unwrap(), Some(third.clone()));
    assert_eq!(table().latest().await.unwrap(), Some(third.clone()));
    assert_eq!(third.cut.to_text("clicks"), "clicks/0@30,clicks/1@3");
    assert_eq!((third.info["engine"].as_str(), third.info["parent"].as_u64()), (Some("test"), Some(2)));
    assert_eq!(other.at(1).await.unwrap(), first);
    assert_eq!(table().at(2).await.unwrap(), second);
    // replaced files stay for the readers of older generations
    for generation in [&first, &second, &third] {
        for file in &generation.files {
            one.get(file).await.unwrap();
        }
    }
}
