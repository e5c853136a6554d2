//! Runs over a lake in memory: full equals incremental, races, crashes, audit.
use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use seam_shared::clock::{Clock, ManualClock, SystemClock};
use seam_shared::lake::archive::{ArchiveTable, NewFile};
use seam_shared::lake::faulty::FaultyStore;
use seam_shared::lake::views::ViewTable;
use seam_shared::log::{Offset, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{Progress, SegmentWrite, StateStore, ViewCommit};
use seam_shared::view::rows::Rows;

use super::*;
use crate::audit::Drift;
use crate::plan::Slice;
use crate::plan::tests::{Event, Random, events, file, fold, source, view};

const BASE: Timestamp = Timestamp(1_780_272_000_000_000);

struct World {
    context: Context,
    clock: Arc<ManualClock>,
    all: Vec<Event>,
    random: Random,
}

impl World {
    async fn new(seed: u64) -> World {
        World::on(seed, Arc::new(InMemory::new())).await
    }
    async fn on(seed: u64, store: Arc<dyn ObjectStore>) -> World {
        let (mut random, source) = (Random(seed), source());
        let clock = Arc::new(ManualClock::at(BASE));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let table = ArchiveTable::open(Arc::clone(&store), &source, "log-1", Arc::clone(&as_clock)).await.unwrap();
        let archive = Archive { table: Arc::new(table), incarnation: "log-1".to_owned() };
        let mut view = view(&mut random, &source);
        view.filter = None;
        let context = Context {
            store,
            clock: as_clock,
            archives: BTreeMap::from([("events".to_owned(), archive)]),
            views: vec![Arc::new(view)],
            state: None,
            compute: compute::Settings { slice_rows: 4, open_slices: 9, threads: 2, roll_up_from: 0 },
            retain: retain::Settings::default(),
            runs: Arc::default(),
        };
        World { context, clock, all: Vec::new(), random }
    }
    /// Archives some events from `day` on as the next file, and answers with them.
    async fn archive(&mut self, count: usize, day: i64) -> Vec<Event> {
        let base = BASE.plus(Span(day * Span::DAY.0 + 22 * Span::HOUR.0));
        let source = Arc::clone(&self.context.views[0].source);
        let (from, new) = (self.all.len() as u64, events(&mut self.random, &source, count, base));
        let content = file(&source, from, &new);
        let (from, to) = (Offset(from), Offset(from + count as u64));
        let new_file = NewFile { partition: 0, from, to, boundaries: vec![from], content, anchor: None };
        self.context.archives["events"].table.commit_file(new_file).await.unwrap();
        let copy = new.iter().map(|event| Event(event.0, event.1, event.2.clone())).collect();
        self.all.extend(new);
        copy
    }
    fn table(&self) -> ViewTable {
        let context = &self.context;
        ViewTable::new(Arc::clone(&context.store), Arc::clone(&context.views[0]), Arc::clone(&context.clock))
    }
    async fn run(&self, full: bool) -> Outcome {
        run(&self.context, &Options { full, ..Options::default() }).await.unwrap().remove(0)
    }
    async fn rows(&self) -> Rows {
        let (table, view) = (self.table(), &self.context.views[0]);
        let mut groups = seam_shared::view::groups::Groups::new(view.dimensions.len(), &view.kinds());
        for file in table.latest().await.unwrap().unwrap().files {
            groups.merge(&table.get(&file).await.unwrap());
        }
        groups.into_rows()
    }
    fn expected(&self) -> Rows {
        let slice = Slice { start: Timestamp(i64::MIN), end: Timestamp(i64::MAX) };
        fold(&self.context.views[0], &self.all, slice)
    }
}

#[tokio::test]
async fn full_and_incremental_runs_give_the_same_files() {
    for seed in 0..12 {
        let mut world = World::new(seed).await;
        assert_eq!(world.run(false).await.status, Status::Skipped);
        for (count, day) in [(150, 0), (90, 1), (40, 0), (70, 3)] {
            world.archive(count, day).await;
            let outcome = world.run(false).await;
            assert_eq!(outcome.status, Status::Published, "seed {seed}");
            assert!(outcome.days <= 2, "a file touches two days, {} were recomputed", outcome.days);
            assert_eq!(world.rows().await, world.expected(), "seed {seed}");
        }
        let incremental = world.table().latest().await.unwrap().unwrap();
        assert!(incremental.files.len() > 6, "slices are in use: {} files", incremental.files.len());
        assert_eq!(world.run(false).await.status, Status::Skipped);
        let outcome = world.run(true).await;
        assert_eq!(outcome.generation, Some(5));
        let full = world.table().latest().await.unwrap().unwrap();
        assert_eq!(full.files, incremental.files, "seed {seed}");
    }
}

#[tokio::test]
async fn of_two_racing_runs_one_wins_and_a_held_lease_is_told() {
    let mut world = World::new(3).await;
    world.archive(100, 0).await;
    let name = format!("batch-{}", world.context.views[0].id);
    let (store, clock) = (Arc::clone(&world.context.store), Arc::clone(&world.context.clock));
    let _held = Lease::take(Arc::clone(&store), Arc::clone(&clock), &name).await.unwrap().unwrap();
    assert_eq!(world.run(false).await.status, Status::Held);
    // both believe to hold the lease: the commit decides
    let view = Arc::clone(&world.context.views[0]);
    let (one, two) = tokio::join!(recompute(&world.context, &view, false), recompute(&world.context, &view, false));
    let mut statuses = [one.unwrap().status, two.unwrap().status];
    statuses.sort_by_key(|status| *status as u8);
    assert!(
        statuses == [Status::Published, Status::Lost] || statuses == [Status::Published, Status::Skipped],
        "{statuses:?}"
    );
    assert_eq!(world.rows().await, world.expected());
    // a lease that was not given back runs out
    world.archive(10, 0).await;
    assert_eq!(world.run(false).await.status, Status::Held);
    world.clock.advance(Span::HOUR.0);
    assert_eq!(world.run(false).await.status, Status::Published);
}

#[tokio::test]
async fn the_audit_compares_with_the_speed_layer() {
    let mut world = World::new(5).await;
    let state = Arc::new(MemoryState::default());
    world.context.state = Some(state.clone());
    world.archive(120, 0).await;
    let outcome = world.run(false).await;
    assert!(matches!(outcome.drift, Some(Drift::NotAudited(_))));
    let (partition, id) = (Partition::new("events", 0), Arc::clone(&world.context.views[0].id));
    for (round, wrong) in [(0, false), (1, true), (2, false)] {
        let from = Offset(world.all.len() as u64);
        let new = world.archive(50, round).await;
        let to = Offset(world.all.len() as u64);
        state.claim(&partition, &id, from).await.unwrap();
        let slice = Slice { start: Timestamp(i64::MIN), end: Timestamp(i64::MAX) };
        let counted = if wrong { &new[..new.len() - 20] } else { &new[..] };
        let rows = fold(&world.context.views[0], counted, slice);
        let progress =
            Progress { position: to, floor: from, segment: OpenSegment::at(to), anchor: None, excluded: None };
        let segments = vec![SegmentWrite { start: from, end: Some(to), rows }];
        let commit = ViewCommit { view: Arc::clone(&id), from, progress, segments };
        state.commit(&partition, vec![commit]).await.unwrap();
        let outcome = world.run(false).await;
        match outcome.drift {
            Some(Drift::Groups(groups)) => assert_eq!(groups > 0, wrong, "round {round}: {groups}"),
            other => panic!("round {round}: {other:?}"),
        }
    }
    world.archive(5, 0).await; // archived, but not folded
    assert!(matches!(world.run(false).await.drift, Some(Drift::NotAudited(_))));
}

/// Of the files that generation 2 of eight, one a day, does not share with the newest: how many are there, and how many are gone. The
/// store's clock is this machine's, and the runs' is `ahead` of it.
async fn kept_and_gone(ahead: Span) -> (usize, usize) {
    let mut world = World::new(9).await;
    world.clock.advance(SystemClock.now().plus(ahead).0 - BASE.0);
    for _ in 0..8 {
        world.archive(80, 0).await;
        world.clock.advance(Span::DAY.0);
        assert_eq!(world.run(false).await.status, Status::Published);
    }
    let table = world.table();
    for number in 6..=8 {
        for file in table.at(number).await.unwrap().files {
            table.get(&file).await.unwrap();
        }
    }
    let newest = table.at(8).await.unwrap();
    let (mut kept, mut gone) = (0, 0);
    for file in table.at(2).await.unwrap().files.iter().filter(|file| !newest.files.contains(file)) {
        let is_gone = table.get(file).await.is_err();
        *(if is_gone { &mut gone } else { &mut kept }) += 1;
    }
    (kept, gone)
}

#[tokio::test]
async fn old_files_go_when_no_kept_generation_names_them() {
    let (kept, gone) = kept_and_gone(Span::DAY).await;
    assert!(kept == 0 && gone > 0, "{kept} files of generation 2 are kept, {gone} deleted");
}

#[tokio::test]
async fn an_old_file_that_was_written_since_the_newest_generation_stays() {
    let (kept, gone) = kept_and_gone(Span(-20 * Span::DAY.0)).await;
    assert!(kept > 0 && gone == 0, "{kept} files of generation 2 are kept, {gone} deleted");
}

#[tokio::test]
async fn a_run_that_fails_anywhere_leaves_a_whole_generation() {
    let (mut failures, mut published) = (0, 0);
    for seed in 0..20 {
        let store = Arc::new(FaultyStore::new(Arc::new(InMemory::new()), seed, 0));
        let mut world = World::on(seed, store.clone()).await;
        let mut versions = BTreeMap::new();
        for round in 1..=3 {
            world.archive(60, round).await;
            versions.insert(Offset(world.all.len() as u64), world.expected());
            for _ in 0..40 {
                store.set_faults(25);
                let outcome = run(&world.context, &Options::default()).await;
                store.set_faults(0);
                store.release().await;
                world.clock.advance(Span::HOUR.0);
                if let Some(newest) = world.table().latest().await.unwrap() {
                    assert_eq!(world.rows().await, versions[&newest.cut.get(0)], "seed {seed}");
                }
                match outcome.as_ref().map(|outcomes| outcomes[0].status) {
                    Ok(Status::Published | Status::Skipped) => break,
                    Ok(_) | Err(_) => failures += 1,
                }
            }
            let newest = world.table().latest().await.unwrap().unwrap();
            assert_eq!(newest.cut.get(0), Offset(world.all.len() as u64), "seed {seed}");
            published += 1;
        }
    }
    assert!(failures > 20 && published == 60, "{failures} failures, {published} rounds");
}
