//! The embedded state store against the contract, restarts, crashes and damage.
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::embedded::tests::crash_copy;
use crate::state::contract::{self, commit, progress, rows, seen};

fn open(path: &Path) -> EmbeddedState {
    EmbeddedState::open(&Database::open(path).unwrap()).unwrap()
}

fn place() -> Partition {
    Partition::new("clicks", 0)
}

fn daily() -> ViewId {
    Arc::from("daily@1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let made = AtomicU32::new(0);
    let make = async || {
        let number = made.fetch_add(1, Ordering::SeqCst);
        Arc::new(open(&directory.path().join(number.to_string()))) as Arc<dyn StateStore>
    };
    contract::run(make).await;
}

/// Commits one record at a time in segments of `length`; the rows say how far the fold has come.
async fn fold(store: &dyn StateStore, from: u64, to: u64, length: u64) {
    for position in from..to {
        let start = position / length * length;
        let key = format!("k{}", position % 11);
        let mut segments = vec![(start, None, rows(&[(start as i64, "sum", position + 1), (1, &key, position)]))];
        if position == start && start > 0 {
            segments.insert(0, (start - length, Some(start), rows(&[(start as i64, "sum", start)])));
        }
        let change = commit(&daily(), position, progress(start, position + 1), segments);
        assert_eq!(store.commit(&place(), vec![change]).await.unwrap(), Committed::Applied);
    }
}

#[tokio::test]
async fn a_restart_finds_what_was_held() {
    for (steps, length) in [(25, 10), (700, 10_000), (530, 1_000)] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        for view in [daily(), Arc::from("daily@12")] {
            store.claim(&place(), &view, Offset(0)).await.unwrap();
        }
        fold(&store, 0, steps, length).await;
        store.trim(&place(), &daily(), Offset(steps / length / 2 * length)).await.unwrap();
        let before = seen(&store, &place(), &daily()).await;
        let crashed = directory.path().with_extension("crashed");
        crash_copy(directory.path(), &crashed);
        drop(store);
        for path in [directory.path(), &crashed] {
            let store = open(path);
            assert_eq!(seen(&store, &place(), &daily()).await, before, "{steps} steps");
            fold(&store, steps, steps + 20, length).await;
            let other = seen(&store, &place(), &Arc::from("daily@12")).await.unwrap();
            assert_eq!(other.0, Progress::at(Offset(0)));
        }
        std::fs::remove_dir_all(crashed).unwrap();
    }
}

#[tokio::test]
async fn open_blocks_stay_few() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.claim(&place(), &daily(), Offset(0)).await.unwrap();
    fold(&store, 0, 3 * u64::from(OPEN_BLOCKS_MAX), 1 << 20).await;
    let blocks = store.shared.open.len().unwrap();
    assert!(blocks <= OPEN_BLOCKS_MAX as usize, "{blocks} blocks are stored");
    let open = seen(&store, &place(), &daily()).await.unwrap().2;
    drop(store);
    let store = self::open(directory.path());
    assert_eq!(seen(&store, &place(), &daily()).await.unwrap().2, open);
}

#[tokio::test]
async fn damaged_state_is_dropped_and_claimed_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let other: ViewId = Arc::from("other@1");
    for view in [daily(), Arc::clone(&other)] {
        store.claim(&place(), &view, Offset(0)).await.unwrap();
    }
    fold(&store, 0, 25, 10).await;
    store.shared.open.insert(block_key(&key_of(&place(), "daily@1"), 0), "no rows").unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(seen(&store, &place(), &daily()).await, None);
    assert_eq!(store.segment(&place(), &daily(), Offset(0)).await.unwrap(), None);
    assert!(seen(&store, &place(), &other).await.is_some());
    store.claim(&place(), &daily(), Offset(0)).await.unwrap();
    fold(&store, 0, 25, 10).await;
}
