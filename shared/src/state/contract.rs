//! The contract of the state port as tests that every adapter runs. A function here panics where an adapter breaks a sentence.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::batch::Excluded;
use crate::log::{Anchor, Offset, Partition};
use crate::segment::OpenSegment;
use crate::state::{ClosedSegment, Committed, Progress, SegmentWrite, StateStore, ViewCommit, ViewId};
use crate::time::Timestamp;
use crate::view::rows::{Dimension, Rows, States};
use crate::view::value::Value;

/// Runs every check, each on a store of its own.
pub async fn run(make: impl AsyncFn() -> Arc<dyn StateStore>) {
    claim_creates_once(make().await).await;
    progress_is_that_of_the_snapshot(make().await).await;
    commits_replace_rows_absolutely(make().await).await;
    a_closed_segment_never_changes(make().await).await;
    commits_need_the_stored_position(make().await).await;
    a_commit_is_all_or_nothing_over_its_views(make().await).await;
    malformed_commits_are_refused(make().await).await;
    trim_raises_the_floor(make().await).await;
    a_commit_that_a_trim_overtook_has_moved(make().await).await;
    forget_leaves_other_views_alone(make().await).await;
    snapshots_are_of_one_moment(make().await).await;
}

/// Rows of a view with one dimension and one count: (pane, key, count).
pub fn rows(of: &[(i64, &str, u64)]) -> Rows {
    let mut dimension = Dimension::default();
    for (_, key, _) in of {
        let value = Value::text(key);
        let known = dimension.values.iter().position(|other| *other == value);
        let code = known.unwrap_or_else(|| {
            dimension.values.push(value);
            dimension.values.len() - 1
        });
        dimension.codes.push(code as u32);
    }
    Rows {
        panes: of.iter().map(|row| Timestamp(row.0)).collect(),
        dimensions: vec![dimension],
        states: vec![States::Count(of.iter().map(|row| row.2).collect())],
    }
}

/// What [`rows`] was made of, by pane and key; no (pane, key) may occur twice.
pub fn counts(rows: &Rows) -> BTreeMap<(i64, String), u64> {
    let mut out = BTreeMap::new();
    let counts = match rows.states.first() {
        None => return out,
        Some(States::Count(counts)) => counts,
        Some(other) => panic!("the state is a count, not {other:?}"),
    };
    for (row, pane) in rows.panes.iter().enumerate() {
        let before = out.insert((pane.0, rows.value(0, row).to_string()), counts[row]);
        assert!(before.is_none(), "a (pane, key) occurs twice");
    }
    out
}

/// The progress of a view at `position` in a segment that began at `start`.
pub fn progress(start: u64, position: u64) -> Progress {
    let segment = OpenSegment { start: Offset(start), count: position - start, max_timestamp: Timestamp(7) };
    let anchor = position.checked_sub(1).map(|last| Anchor { offset: Offset(last), hash: u64::MAX - position });
    let excluded = Some(Excluded { invalid: position / 3, duplicates: start });
    Progress { position: Offset(position), floor: Offset(999_999), segment, anchor, excluded }
}

/// A commit of `view` from one position to a progress, with segments (start, end, rows).
pub fn commit(view: &ViewId, from: u64, to: Progress, segments: Vec<(u64, Option<u64>, Rows)>) -> ViewCommit {
    let write = |(start, end, rows): (u64, Option<u64>, Rows)| SegmentWrite {
        start: Offset(start),
        end: end.map(Offset),
        rows,
    };
    ViewCommit {
        view: Arc::clone(view),
        from: Offset(from),
        progress: to,
        segments: segments.into_iter().map(write).collect(),
    }
}

fn place() -> Partition {
    Partition::new("clicks", 0)
}

fn view(name: &str) -> ViewId {
    Arc::from(name)
}

/// A view's state as comparable values: progress, closed segments with their rows, open rows.
type Seen = (Progress, Vec<(ClosedSegment, BTreeMap<(i64, String), u64>)>, BTreeMap<(i64, String), u64>);

/// All that the store holds of a view.
pub async fn seen(store: &dyn StateStore, partition: &Partition, view: &ViewId) -> Option<Seen> {
    let snapshots = store.snapshot(partition, std::slice::from_ref(view)).await.expect("snapshot");
    let [snapshot] = <[_; 1]>::try_from(snapshots).expect("one answer a view");
    let snapshot = snapshot?;
    let mut closed = Vec::new();
    for segment in &snapshot.closed {
        let rows = store.segment(partition, view, segment.start).await.expect("segment").expect("it is held");
        closed.push((*segment, counts(&rows)));
    }
    Some((snapshot.progress, closed, counts(&snapshot.open)))
}

async fn apply(store: &dyn StateStore, commits: Vec<ViewCommit>) -> Committed {
    store.commit(&place(), commits).await.expect("commit")
}

async fn claim_creates_once(store: Arc<dyn StateStore>) {
    let daily = view("daily@1");
    assert_eq!(seen(&*store, &place(), &daily).await, None);
    assert_eq!(store.segment(&place(), &daily, Offset(0)).await.expect("segment"), None);
    let claimed = store.claim(&place(), &daily, Offset(40)).await.expect("claim");
    assert_eq!(claimed, Progress::at(Offset(40)));
    let again = store.claim(&place(), &daily, Offset(90)).await.expect("claim again");
    assert_eq!(again, claimed, "a claim answers with what is stored");
    let other = Partition::new("clicks", 1);
    assert_eq!(seen(&*store, &other, &daily).await, None, "partitions do not mix");
    let snapshots = store.snapshot(&place(), &[view("none@1"), daily.clone()]).await.expect("snapshot");
    assert!(snapshots[0].is_none());
    assert_eq!(snapshots[1].as_ref().map(|s| (s.progress, s.closed.len(), s.open.len())), Some((claimed, 0, 0)));
}

async fn progress_is_that_of_the_snapshot(store: Arc<dyn StateStore>) {
    let (partition, views) = (Partition::new("clicks", 0), ["a@1", "b@1", "none@1"].map(ViewId::from));
    let same = async |expected: [Option<u64>; 3]| {
        let stand = store.progress(&partition, &views).await.expect("progress");
        let held = store.snapshot(&partition, &views).await.expect("snapshot");
        assert_eq!(stand, held.into_iter().map(|held| held.map(|held| held.progress)).collect::<Vec<_>>());
        assert_eq!(stand.iter().map(|one| one.map(|one| one.position.0)).collect::<Vec<_>>(), expected);
    };
    same([None; 3]).await;
    for (view, boundary) in views.iter().zip([0, 10]) {
        store.claim(&partition, view, Offset(boundary)).await.expect("claim");
    }
    same([Some(0), Some(10), None]).await;
    let anchor = Some(Anchor { offset: Offset(4), hash: 7 });
    let stands = Progress { anchor, ..progress(3, 5) };
    let segments = vec![(0, Some(3), rows(&[(1, "a", 1)])), (3, None, rows(&[(1, "a", 2)]))];
    assert_eq!(apply(&*store, vec![commit(&views[0], 0, stands, segments)]).await, Committed::Applied);
    same([Some(5), Some(10), None]).await;
    store.trim(&partition, &views[0], Offset(3)).await.expect("trim");
    same([Some(5), Some(10), None]).await;
    store.trim(&partition, &views[0], Offset(8)).await.expect("trim");
    same([Some(8), Some(10), None]).await;
    store.forget(&partition, &views[1]).await.expect("forget");
    same([Some(8), None, None]).await;
}

async fn commits_replace_rows_absolutely(store: Arc<dyn StateStore>) {
    let daily = view("daily@1");
    store.claim(&place(), &daily, Offset(0)).await.expect("claim");
    let mut expected = BTreeMap::new();
    for round in 0..40_u64 {
        let keys = [format!("k{}", round % 7), format!("k{}", round % 5 + 7), "null".to_owned()];
        let written: Vec<_> = keys.iter().map(|key| ((round % 3) as i64, key.as_str(), 1000 + round)).collect();
        for (pane, key, count) in &written {
            expected.insert((*pane, (*key).to_owned()), *count);
        }
        let change = commit(&daily, round, progress(0, round + 1), vec![(0, None, rows(&written))]);
        assert_eq!(apply(&*store, vec![change]).await, Committed::Applied);
        let (stored, closed, open) = seen(&*store, &place(), &daily).await.expect("it is claimed");
        assert_eq!(open, expected, "after commit {round}");
        assert!(closed.is_empty());
        assert_eq!(stored, Progress { floor: Offset(0), ..progress(0, round + 1) }, "a commit moves no floor");
    }
    let nothing = commit(&daily, 40, progress(0, 44), Vec::new());
    assert_eq!(apply(&*store, vec![nothing]).await, Committed::Applied, "a position moves without rows too");
    assert_eq!(seen(&*store, &place(), &daily).await.map(|s| s.2), Some(expected));
}

async fn a_closed_segment_never_changes(store: Arc<dyn StateStore>) {
    let daily = view("daily@1");
    store.claim(&place(), &daily, Offset(0)).await.expect("claim");
    let open = commit(&daily, 0, progress(0, 5), vec![(0, None, rows(&[(1, "a", 1), (1, "gone", 9)]))]);
    assert_eq!(apply(&*store, vec![open]).await, Committed::Applied);
    let close = commit(
        &daily,
        5,
        progress(30, 34),
        vec![
            (0, Some(10), rows(&[(1, "a", 2), (2, "b", 3)])),
            (10, Some(30), rows(&[])),
            (30, None, rows(&[(3, "c", 4)])),
        ],
    );
    assert_eq!(apply(&*store, vec![close]).await, Committed::Applied);
    let first = store.segment(&place(), &daily, Offset(0)).await.expect("segment").expect("it is held");
    assert_eq!(counts(&first), counts(&rows(&[(1, "a", 2), (2, "b", 3)])), "a closing segment replaces all rows");
    let (stored, closed, open) = seen(&*store, &place(), &daily).await.expect("it is claimed");
    assert_eq!(stored.segment.start, Offset(30));
    let places: Vec<_> = closed.iter().map(|(segment, rows)| (segment.start.0, segment.end.0, rows.len())).collect();
    assert_eq!(places, [(0, 10, 2), (10, 30, 0)], "a segment without rows is a boundary too");
    assert_eq!(open, counts(&rows(&[(3, "c", 4)])));
    for round in 34..60 {
        let start = if round < 50 { 30 } else { round };
        let segments = match round {
            50 => vec![(30, Some(50), rows(&[(3, "c", round)]))],
            51.. => vec![(round - 1, Some(round), rows(&[(3, "c", round)]))],
            _ => vec![(30, None, rows(&[(3, "c", round)]))],
        };
        let change = commit(&daily, round, progress(start, round + 1), segments);
        assert_eq!(apply(&*store, vec![change]).await, Committed::Applied);
        let now = store.segment(&place(), &daily, Offset(0)).await.expect("segment").expect("it is held");
        assert_eq!(*now, *first);
    }
    assert_eq!(store.segment(&place(), &daily, Offset(59)).await.expect("segment"), None, "it is open");
    assert_eq!(store.segment(&place(), &daily, Offset(5)).await.expect("segment"), None, "it is no boundary");
}

async fn commits_need_the_stored_position(store: Arc<dyn StateStore>) {
    let daily = view("daily@1");
    let first = commit(&daily, 0, progress(0, 5), vec![(0, None, rows(&[(1, "a", 1)]))]);
    assert_eq!(apply(&*store, vec![first.clone()]).await, Committed::Missing);
    assert_eq!(seen(&*store, &place(), &daily).await, None, "a refused commit leaves nothing");
    store.claim(&place(), &daily, Offset(0)).await.expect("claim");
    assert_eq!(apply(&*store, vec![first.clone()]).await, Committed::Applied);
    let zombie = commit(&daily, 0, progress(0, 3), vec![(0, None, rows(&[(1, "zombie", 77)]))]);
    let ahead = commit(&daily, 6, progress(0, 9), vec![(0, None, rows(&[(1, "ahead", 77)]))]);
    let before = seen(&*store, &place(), &daily).await;
    for late in [first, zombie, ahead] {
        for _ in 0..2 {
            assert_eq!(apply(&*store, vec![late.clone()]).await, Committed::Moved, "a lost reply is retried");
            assert_eq!(seen(&*store, &place(), &daily).await, before, "a refused commit changes nothing");
        }
    }
}

async fn a_commit_is_all_or_nothing_over_its_views(store: Arc<dyn StateStore>) {
    let [daily, hourly, unknown] = ["daily@1", "hourly@2", "unknown@3"].map(view);
    store.claim(&place(), &daily, Offset(0)).await.expect("claim");
    store.claim(&place(), &hourly, Offset(10)).await.expect("claim");
    let change = |view: &ViewId, from: u64, start: u64| {
        commit(view, from, progress(start, 20), vec![(start, None, rows(&[(1, "a", 1)]))])
    };
    let good = [change(&daily, 0, 0), change(&hourly, 10, 10)];
    let stale = [change(&daily, 0, 0), change(&hourly, 0, 10)];
    let missing = [change(&daily, 0, 0), change(&hourly, 10, 10), change(&unknown, 0, 0)];
    assert_eq!(apply(&*store, stale.to_vec()).await, Committed::Moved);
    assert_eq!(apply(&*store, missing.to_vec()).await, Committed::Missing);
    for view in [&daily, &hourly] {
        let held = seen(&*store, &place(), view).await.expect("it is claimed");
        assert!(held.2.is_empty() && held.0.segment.count == 0, "a refused commit changes no view");
    }
    assert_eq!(apply(&*store, good.to_vec()).await, Committed::Applied);
    for view in [&daily, &hourly] {
        let held = seen(&*store, &place(), view).await.expect("it is claimed");
        assert_eq!((held.0.position, held.2.len()), (Offset(20), 1));
    }
    assert_eq!(seen(&*store, &place(), &unknown).await, None);
    assert_eq!(store.commit(&place(), Vec::new()).await.expect("an empty commit"), Committed::Applied);
}

async fn malformed_commits_are_refused(store: Arc<dyn StateStore>) {
    let daily = view("daily@1");
    store.claim(&place(), &daily, Offset(0)).await.expect("claim");
    let some = || rows(&[(1, "a", 1)]);
    let bad = [
        commit(&daily, 0, progress(10, 12), vec![]),
        commit(&daily, 0, progress(10, 12), vec![(5, Some(10), some())]),
        commit(&daily, 0, progress(10, 12), vec![(0, Some(5), some()), (6, Some(10), some())]),
        commit(&daily, 0, progress(0, 12), vec![(0, None, some()), (0, None, some())]),
        commit(&daily, 0, progress(0, 12), vec![(0, Some(10), some())]),
    ];
    for change in bad {
        store.commit(&place(), vec![change]).await.expect_err("a gap between segments");
    }
    let twice = commit(&daily, 0, progress(0, 5), vec![(0, None, some())]);
    store.commit(&place(), vec![twice.clone(), twice]).await.expect_err("one view twice");
    let held = seen(&*store, &place(), &daily).await.expect("it is claimed");
    assert_eq!((held.0, held.1.len(), held.2.len()), (Progress::at(Offset(0)), 0, 0));
}

async fn trim_raises_the_floor(store: Arc<dyn StateStore>) {
    let [daily, other] = ["daily@1", "other@1"].map(view);
    for view in [&daily, &other] {
        store.claim(&place(), view, Offset(0)).await.expect("claim");
        let closed = |start| (start, Some(start + 10), rows(&[(1, "a", start)]));
        let mut segments: Vec<_> = [0, 10, 20, 30].map(closed).to_vec();
        segments.push((40, None, rows(&[(1, "open", 4)])));
        let change = commit(view, 0, progress(40, 45), segments);
        assert_eq!(apply(&*store, vec![change]).await, Committed::Applied);
    }
    let before = seen(&*store, &place(), &other).await;
    let trim = async |floor| store.trim(&place(), &daily, Offset(floor)).await;
    let starts = async || {
        let held = seen(&*store, &place(), &daily).await.expect("it is claimed");
        (held.0.floor.0, held.1.iter().map(|(segment, _)| segment.start.0).collect::<Vec<_>>(), held.2.len())
    };
    trim(20).await.expect("trim");
    assert_eq!(starts().await, (20, vec![20, 30], 1));
    assert_eq!(store.segment(&place(), &daily, Offset(10)).await.expect("segment"), None, "it was trimmed");
    trim(10).await.expect("a lower floor is ignored");
    assert_eq!(starts().await, (20, vec![20, 30], 1));
    for inside in [25, 42] {
        trim(inside).await.expect_err("no segment boundary");
        assert_eq!(starts().await, (20, vec![20, 30], 1));
    }
    trim(40).await.expect("trim");
    assert_eq!(starts().await, (40, vec![], 1));
    trim(60).await.expect("trim beyond the position");
    let held = seen(&*store, &place(), &daily).await.expect("it is claimed");
    assert_eq!((held.0, held.1.len(), held.2.len()), (Progress::at(Offset(60)), 0, 0), "the position moved up");
    let stale = commit(&daily, 45, progress(40, 50), vec![(40, None, rows(&[(1, "a", 1)]))]);
    assert_eq!(apply(&*store, vec![stale]).await, Committed::Moved);
    let on = commit(&daily, 60, progress(60, 70), vec![(60, None, rows(&[(9, "new", 1)]))]);
    assert_eq!(apply(&*store, vec![on]).await, Committed::Applied);
    assert_eq!(seen(&*store, &place(), &daily).await.map(|s| s.2), Some(counts(&rows(&[(9, "new", 1)]))));
    assert_eq!(seen(&*store, &place(), &other).await, before, "other views are left alone");
    store.trim(&place(), &view("none@1"), Offset(5)).await.expect("a view without state has nothing to trim");
    assert_eq!(seen(&*store, &place(), &view("none@1")).await, None);
}

async fn a_commit_that_a_trim_overtook_has_moved(store: Arc<dyn StateStore>) {
    let daily = view("daily@1");
    store.claim(&place(), &daily, Offset(0)).await.expect("claim");
    let open = commit(&daily, 0, progress(0, 5), vec![(0, None, rows(&[(1, "a", 1)]))]);
    assert_eq!(apply(&*store, vec![open]).await, Committed::Applied);
    // The generation's cut is where the worker stands, before the worker has seen the record that ends the segment.
    store.trim(&place(), &daily, Offset(5)).await.expect("trim to the position");
    let segments = vec![(0, Some(5), rows(&[(1, "a", 2)])), (5, None, rows(&[(1, "b", 1)]))];
    let overtaken = commit(&daily, 5, progress(5, 8), segments);
    assert_eq!(apply(&*store, vec![overtaken]).await, Committed::Moved);
    let held = seen(&*store, &place(), &daily).await.expect("it is claimed");
    assert_eq!((held.0, held.1.len(), held.2.len()), (Progress::at(Offset(5)), 0, 0), "nothing of it was applied");
}

async fn forget_leaves_other_views_alone(store: Arc<dyn StateStore>) {
    let [short, long] = ["a@1", "a@12"].map(view);
    for view in [&short, &long] {
        store.claim(&place(), view, Offset(0)).await.expect("claim");
        let segments = vec![(0, Some(10), rows(&[(1, "a", 1)])), (10, None, rows(&[(1, "b", 2)]))];
        let change = commit(view, 0, progress(10, 15), segments);
        assert_eq!(apply(&*store, vec![change]).await, Committed::Applied);
    }
    let before = seen(&*store, &place(), &long).await;
    store.forget(&place(), &short).await.expect("forget");
    assert_eq!(seen(&*store, &place(), &short).await, None);
    assert_eq!(store.segment(&place(), &short, Offset(0)).await.expect("segment"), None);
    assert_eq!(seen(&*store, &place(), &long).await, before);
    store.claim(&place(), &short, Offset(0)).await.expect("claim");
    let held = seen(&*store, &place(), &short).await.expect("it is claimed");
    assert_eq!((held.0, held.1.len(), held.2.len()), (Progress::at(Offset(0)), 0, 0), "nothing comes back");
}

async fn snapshots_are_of_one_moment(store: Arc<dyn StateStore>) {
    let views = ["daily@1", "hourly@1"].map(view);
    for view in &views {
        store.claim(&place(), view, Offset(0)).await.expect("claim");
    }
    let writer = tokio::spawn({
        let (store, views) = (Arc::clone(&store), views.clone());
        async move {
            for round in 0..400_u64 {
                let start = round / 10 * 10;
                let mut segments = vec![(start, None, rows(&[(1, "sum", round + 1), (round as i64, "x", 1)]))];
                if round % 10 == 0 && round > 0 {
                    segments.insert(0, (start - 10, Some(start), rows(&[(1, "sum", round)])));
                }
                let change = |view| commit(view, round, progress(start, round + 1), segments.clone());
                assert_eq!(apply(&*store, views.iter().map(change).collect()).await, Committed::Applied);
                if round % 20 == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        }
    });
    let mut moments = std::collections::BTreeSet::new();
    while !writer.is_finished() {
        let found = store.snapshot(&place(), &views).await.expect("snapshot");
        let positions: Vec<_> = found.iter().flatten().map(|s| s.progress.position.0).collect();
        assert_eq!(positions[0], positions[1], "all views are of one moment");
        for snapshot in found.iter().flatten().filter(|s| s.progress.position.0 > 0) {
            let sum = counts(&snapshot.open).get(&(1, "sum".to_owned())).copied();
            assert_eq!(sum, Some(snapshot.progress.position.0), "a position comes with its rows");
            assert_eq!(snapshot.closed.len() as u64, snapshot.progress.segment.start.0 / 10);
            assert!(snapshot.closed.iter().enumerate().all(|(i, s)| s.start.0 == i as u64 * 10));
        }
        moments.insert(positions[0]);
        tokio::task::yield_now().await;
    }
    writer.await.expect("writer");
    assert!(!moments.is_empty());
}
