//! The local database under kill -9: log and state together, as a deployment has them.
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::log::embedded::EmbeddedLog;
use crate::log::{EventLog, NewRecord, Offset, Partition, contract};
use crate::state::contract::{commit, counts, progress, rows};
use crate::state::embedded::EmbeddedState;
use crate::state::{Committed, StateStore, ViewId};

const DIRECTORY: &str = "SEAM_TEST_CRASH_DIRECTORY";
/// Records of a segment in the child's fold.
const SEGMENT: u64 = 40;

/// Copies what a crash of the process would leave at this moment.
pub(crate) fn crash_copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => crash_copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn clicks() -> Partition {
    Partition::new("clicks", 0)
}

fn value(offset: u64) -> String {
    format!("record {offset} {}", "x".repeat((offset % 700) as usize))
}

/// Appends and folds until it is killed; says on standard output how far the log answered. Without a directory in the
/// environment this is no child, and there is nothing to do.
#[tokio::test]
async fn child_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let database = Database::open(Path::new(&directory)).unwrap();
    let log = EmbeddedLog::open(&database, Arc::new(SystemClock)).unwrap();
    let state = EmbeddedState::open(&database).unwrap();
    log.open("clicks", 1).await.unwrap();
    let view: ViewId = Arc::from("daily@1");
    let mut position = state.claim(&clicks(), &view, Offset(0)).await.unwrap().position.0;
    loop {
        let end = log.bounds(&clicks()).await.unwrap().1.0;
        let batch = (end..end + end % 9 + 1).map(|at| NewRecord { partition: 0, value: value(at).into() });
        let last = log.append("clicks", batch.collect()).await.unwrap().last().unwrap().1.0;
        println!("appended {last}");
        while position <= last {
            let start = position / SEGMENT * SEGMENT;
            let mut segments = vec![(start, None, rows(&[(1, "sum", position + 1 - start)]))];
            if position == start && start > 0 {
                segments.insert(0, (start - SEGMENT, Some(start), rows(&[(1, "sum", SEGMENT)])));
            }
            let change = commit(&view, position, progress(start, position + 1), segments);
            assert_eq!(state.commit(&clicks(), vec![change]).await.unwrap(), Committed::Applied);
            position += 1;
        }
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_answered() {
    let directory = tempfile::tempdir().unwrap();
    let mut answered = 0;
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::tests::child_that_is_killed", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let appended = lines.filter_map(|line| line.strip_prefix("appended ")?.parse::<u64>().ok());
        answered = appended.take(5 + round * 17).last().expect("the child appends");
        child.kill().unwrap();
        child.wait().unwrap();
        check(directory.path(), answered).await;
    }
    assert!(answered > 200, "the rounds went on from each other");
}

/// The log holds all that was answered, and the state is a fold of a prefix of it.
async fn check(directory: &Path, answered: u64) {
    let database = Database::open(directory).unwrap();
    let log = EmbeddedLog::open(&database, Arc::new(SystemClock)).unwrap();
    let records = contract::everything(&log, &clicks()).await;
    assert!(records.len() as u64 > answered, "record {answered} was answered, {} are kept", records.len());
    for (at, (offset, _, stored)) in (0..).zip(&records) {
        assert_eq!((*offset, stored.as_slice()), (at, value(at).as_bytes()));
    }
    let state = EmbeddedState::open(&database).unwrap();
    let view: ViewId = Arc::from("daily@1");
    let found = state.snapshot(&clicks(), std::slice::from_ref(&view)).await.unwrap().remove(0).unwrap();
    let position = found.progress.position.0;
    assert!(position <= records.len() as u64, "the state never stands beyond the log");
    let mut sum: u64 = counts(&found.open).values().sum();
    for segment in &found.closed {
        let rows = state.segment(&clicks(), &view, segment.start).await.unwrap().expect("it is held");
        sum += counts(&rows).values().sum::<u64>();
    }
    assert_eq!(sum, position, "each record counts once");
}
