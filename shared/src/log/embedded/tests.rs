//! The embedded log against the contract, restarts, crashes, damage and failing disks.
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::embedded::tests::crash_copy;
use crate::log::contract::{self, everything, records};

fn open(path: &Path) -> EmbeddedLog {
    EmbeddedLog::open(&Database::open(path).unwrap(), Arc::new(SystemClock)).unwrap()
}

fn clicks() -> Partition {
    Partition::new("clicks", 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let made = std::sync::atomic::AtomicU32::new(0);
    let make = async || {
        let number = made.fetch_add(1, Ordering::SeqCst);
        Arc::new(open(&directory.path().join(number.to_string()))) as Arc<dyn EventLog>
    };
    contract::run(make).await;
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let topic = log.open("clicks", 2).await.unwrap();
    for size in [1, 9_000, 30, 2] {
        log.append("clicks", records(0, "kept", size)).await.unwrap();
    }
    log.append("clicks", vec![NewRecord { partition: 0, value: vec![b'x'; 3 << 20].into() }]).await.unwrap();
    log.trim(&clicks(), Offset(5_000)).await.unwrap();
    let (bounds, all) = (log.bounds(&clicks()).await.unwrap(), everything(&log, &clicks()).await);
    assert_eq!(bounds, (Offset(4_097), Offset(9_034)), "blocks hold 4096 records, the first append had one");
    let live = directory.path().with_extension("crashed");
    crash_copy(directory.path(), &live);
    drop(log);
    for path in [directory.path(), &live] {
        let log = open(path);
        assert_eq!(log.bounds(&clicks()).await.unwrap(), bounds);
        assert_eq!(everything(&log, &clicks()).await, all, "from disk");
        assert_eq!(log.open("clicks", 5).await.unwrap(), topic);
        assert_eq!(log.append("clicks", records(0, "on", 1)).await.unwrap(), [(0, Offset(9_034))]);
        assert_eq!(log.append("clicks", records(1, "on", 1)).await.unwrap(), [(1, Offset(0))]);
    }
    std::fs::remove_dir_all(live).unwrap();
}

#[tokio::test]
async fn record_timestamps_never_decrease_in_a_partition() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    let start = || EmbeddedLog::open(&Database::open(directory.path()).unwrap(), Arc::clone(&clock) as _).unwrap();
    let log = start();
    log.open("clicks", 1).await.unwrap();
    for step in [0, -300, 100, 500] {
        clock.advance(step);
        log.append("clicks", records(0, "a", 1)).await.unwrap();
    }
    drop(log);
    clock.advance(-900);
    let log = start();
    log.append("clicks", records(0, "a", 1)).await.unwrap();
    let timestamps: Vec<_> = everything(&log, &clicks()).await.iter().map(|record| record.1).collect();
    assert_eq!(timestamps, [1_000, 1_000, 1_000, 1_300, 1_300]);
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let first = Database::open(directory.path()).unwrap();
    let second = Database::open(directory.path()).expect_err("it is locked");
    assert_eq!(second.kind(), Kind::Unavailable);
    drop(first);
    Database::open(directory.path()).unwrap();
}

#[tokio::test]
async fn a_damaged_block_is_named_and_never_read() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path()).unwrap();
    let log = EmbeddedLog::open(&database, Arc::new(SystemClock)).unwrap();
    log.open("clicks", 1).await.unwrap();
    for _ in 0..3 {
        log.append("clicks", records(0, "a", 100)).await.unwrap();
    }
    let key = key_of("clicks", 0, Offset(100));
    let mut stored = log.shared.blocks.get(&key).unwrap().unwrap().to_vec();
    *stored.last_mut().unwrap() ^= 1;
    log.shared.blocks.insert(&key, stored).unwrap();
    drop(log);
    let log = EmbeddedLog::open(&database, Arc::new(SystemClock)).unwrap();
    let error = log.read(&clicks(), Offset(150), 10, 1000).await.expect_err("it is damaged");
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("clicks/0 at offset 100"), "{error}");
    assert_eq!(log.read(&clicks(), Offset(0), 10, 1000).await.unwrap().len(), 10, "other blocks are whole");
    log.shared.blocks.remove(&key).unwrap();
    let error = log.read(&clicks(), Offset(50), 100, 1 << 20).await.expect_err("a block is missing");
    assert_eq!((error.kind(), error.message().contains("offset 100")), (Kind::Corrupt, true), "{error}");
}

#[tokio::test]
async fn a_failed_sync_is_final() {
    static FAILS: AtomicBool = AtomicBool::new(false);
    let persist = |batch| match FAILS.load(Ordering::SeqCst) {
        true => Err(fjall::Error::Io(std::io::Error::other("the disk is gone"))),
        false => writer::sync(batch),
    };
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::start(&Database::open(directory.path()).unwrap(), Arc::new(SystemClock), persist).unwrap();
    log.open("clicks", 1).await.unwrap();
    log.append("clicks", records(0, "kept", 5)).await.unwrap();
    log.takes_appends().expect("nothing is wrong yet");
    FAILS.store(true, Ordering::SeqCst);
    log.append("clicks", records(0, "lost", 5)).await.expect_err("the disk is gone");
    FAILS.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        let error = log.append("clicks", records(0, "late", 5)).await.expect_err("a failed sync is never retried");
        assert_eq!(error.kind(), Kind::Unavailable);
    }
    assert_eq!(log.takes_appends().expect_err("readiness says so").kind(), Kind::Unavailable);
    assert_eq!(everything(&log, &clicks()).await.len(), 5, "what was stored can still be read");
    drop(log);
    let log = open(directory.path());
    assert_eq!(log.append("clicks", records(0, "again", 5)).await.unwrap()[0], (0, Offset(5)));
}
