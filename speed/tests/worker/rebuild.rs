//! Rebuilds: a shadow tells what is wrong with the live state, takes its place where it must, and never doubles anything.
use std::sync::Arc;

use seam_shared::error::Kind;
use seam_shared::log::{EventLog, Offset, OffsetVector};
use seam_shared::state::{Committed, SegmentWrite, StateStore, ViewCommit};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;
use seam_speed::rebuild::{Rebuild, Rebuilt, Start};
use seam_speed::trim::{TrimRule, Trimmer};
use seam_speed::worker::{Limits, Step, Worker};

use crate::plain::Plain;
use crate::world::{Random, World, view};

const SEEDS: u64 = 40;

fn run(test: impl AsyncFn(u64)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for seed in 0..SEEDS {
        runtime.block_on(test(seed));
    }
}

/// A world whose views are folded to the log's end, the first of them with a generation somewhere.
async fn folded(seed: u64) -> (World, Vec<Arc<View>>, Plain) {
    let mut world = World::new(seed).await;
    world.produce(90).await;
    let views: Vec<Arc<View>> = (0..3).map(|number| view(&world.source, number)).collect();
    catch_up(&world, &views).await;
    let plain = Plain::read(world.log.as_ref(), &world.partition, &world.source).await;
    let cut = plain.starts[(world.random.below(plain.starts.len() as u64)) as usize];
    let vector = OffsetVector([(0, cut)].into());
    world.cuts.0.lock().unwrap().insert(views[0].id.clone(), vector);
    (world, views, plain)
}

async fn catch_up(world: &World, views: &[Arc<View>]) {
    let mut worker = Worker::new(world.places(), world.source.clone(), views.to_vec(), 0, Limits::default());
    while worker.step().await.unwrap() != Step::Idle {}
}

async fn rebuild(world: &World, view: &Arc<View>, start: Start, swap: bool) -> seam_shared::Result<Rebuilt> {
    let places = world.places();
    let rebuild = Rebuild { places: &places, source: &world.source, view, number: 0, boundaries: &[], nonce: "shadow" };
    let rebuilt = rebuild.run(start, swap).await;
    let shadow = format!("{}~shadow", view.id).into();
    let left = world.state.snapshot(&world.partition, &[shadow]).await.unwrap();
    assert!(left[0].is_none(), "the shadow is gone");
    rebuilt
}

/// Writes a group that no event made into the open segment.
async fn spoil(world: &World, view: &View) {
    let held = world.state.snapshot(&world.partition, std::slice::from_ref(&view.id)).await.unwrap().remove(0).unwrap();
    let mut rows = Rows::empty(view.dimensions.len(), &view.kinds());
    rows.push_row(Timestamp(60_000_000), &vec![Value::Null; view.dimensions.len()]);
    let segments = vec![SegmentWrite { start: held.progress.segment.start, end: None, rows }];
    let (id, from) = (view.id.clone(), held.progress.position);
    let commit = ViewCommit { view: id, from, progress: held.progress, segments };
    assert_eq!(world.state.commit(&world.partition, vec![commit]).await.unwrap(), Committed::Applied);
}

#[test]
fn a_shadow_of_a_right_state_is_the_same_from_wherever_it_begins() {
    run(async |seed| {
        let (mut world, views, plain) = folded(seed).await;
        for view in &views {
            let (_, end) = world.log.bounds(&world.partition).await.unwrap();
            let offset = Offset(world.random.below(end.0 + 1));
            let time = Timestamp(1_780_272_000_000_000 + world.random.below(200) as i64 * 1_000_000);
            for start in [Start::Cut, Start::Offset(offset), Start::Time(time)] {
                let found = rebuild(&world, view, start, false).await.unwrap();
                let context = format!("seed {seed} {start:?} {found:?}");
                assert_eq!((found.differences, &found.missing[..], found.swapped), (0, &[][..], false), "{context}");
                assert!(plain.starts.contains(&found.from) && found.to == end && found.compared > 0, "{context}");
                if start == Start::Offset(offset) {
                    let boundary = plain.starts[plain.starts.partition_point(|start| *start <= offset) - 1];
                    assert_eq!(found.from, boundary, "{context}");
                }
            }
            plain.check(world.state.as_ref(), &world.partition, view, &format!("seed {seed}")).await;
        }
    });
}

#[test]
fn what_differs_is_counted_and_replaced() {
    run(async |seed| {
        let (mut world, views, plain) = folded(seed).await;
        for view in &views {
            spoil(&world, view).await;
            let found = rebuild(&world, view, Start::Cut, false).await.unwrap();
            assert_eq!((found.differences, found.swapped), (1, false), "seed {seed} {found:?}");
            let found = rebuild(&world, view, Start::Cut, true).await.unwrap();
            assert_eq!((found.differences, found.swapped), (1, true), "seed {seed} {found:?}");
            plain.check(world.state.as_ref(), &world.partition, view, &format!("seed {seed}")).await;
            let found = rebuild(&world, view, Start::Cut, true).await.unwrap();
            assert_eq!((found.differences, found.swapped), (0, false), "seed {seed} {found:?}");
        }
        world.produce(30).await;
        catch_up(&world, &views).await;
        let plain = Plain::read(world.log.as_ref(), &world.partition, &world.source).await;
        for view in &views {
            plain.check(world.state.as_ref(), &world.partition, view, &format!("seed {seed} on")).await;
        }
    });
}

#[test]
fn a_state_that_was_lost_is_back_while_a_worker_brings_it_back_too() {
    run(async |seed| {
        let (world, views, plain) = folded(seed).await;
        world.state.flush_all();
        let mut random = Random(seed);
        let limits = Limits { records: 1 + random.below(9) as usize, bytes: 4_096 };
        let mut live = Worker::new(world.places(), world.source.clone(), views.clone(), 0, limits);
        for _ in 0..random.below(6) {
            live.step().await.unwrap();
        }
        for view in &views {
            let found = rebuild(&world, view, Start::Cut, true).await.unwrap();
            assert!(found.differences == 0, "seed {seed} {found:?}");
            live.step().await.unwrap();
            plain.check(world.state.as_ref(), &world.partition, view, &format!("seed {seed}")).await;
        }
        while live.step().await.unwrap() != Step::Idle {}
        let (_, end) = world.log.bounds(&world.partition).await.unwrap();
        for view in &views {
            let held = world.state.snapshot(&world.partition, std::slice::from_ref(&view.id)).await.unwrap();
            assert_eq!(held[0].as_ref().map(|held| held.progress.position), Some(end), "seed {seed}");
            plain.check(world.state.as_ref(), &world.partition, view, &format!("seed {seed} end")).await;
        }
    });
}

#[test]
fn a_swap_that_would_leave_a_hole_is_refused() {
    run(async |seed| {
        let (world, views, plain) = folded(seed).await;
        let last = *plain.starts.last().unwrap();
        if last == Offset(0) {
            return;
        }
        let refused = rebuild(&world, &views[1], Start::Offset(last), true).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "seed {seed}: the view has no generation");
        let beyond = rebuild(&world, &views[1], Start::Offset(Offset(1 << 40)), false).await.unwrap_err();
        assert_eq!(beyond.kind(), Kind::Invalid);
        plain.check(world.state.as_ref(), &world.partition, &views[1], &format!("seed {seed}")).await;
    });
}

/// With an archive below, the log forgets what is covered and old enough, and nothing younger.
#[test]
fn the_log_keeps_what_is_young_whatever_is_covered() {
    run(async |seed| {
        let (mut world, views, plain) = folded(seed).await;
        let cut = plain.starts[plain.starts.len() / 2];
        for view in &views {
            world.cuts.0.lock().unwrap().insert(view.id.clone(), OffsetVector([(0, cut)].into()));
        }
        let keep = Span(world.random.below(120) as i64 * Span::SECOND.0);
        let times: Vec<(Offset, Timestamp)> =
            plain.batch.offsets.iter().copied().zip(plain.batch.log_times.iter().copied()).collect();
        let (places, clock) = (world.places(), world.clock.clone());
        let young = seam_shared::clock::Clock::now(world.clock.as_ref()).minus(keep);
        let rule = TrimRule { grace: Span(0), log: false };
        let trimmer = Trimmer::new(places, clock, world.source.clone(), views.clone(), rule);
        trimmer.forgetting(world.log.clone(), keep).step().await.unwrap();
        let (start, _) = world.log.bounds(&world.partition).await.unwrap();
        let needed = world.source.duplicates.map_or(0, |rule| rule.max_records);
        assert!(start.0 <= cut.0.saturating_sub(needed), "seed {seed}: {start} {cut}");
        // Times run backwards now and then; what comes after the first young record of an ascending run is kept.
        let latest_old = times.iter().take_while(|(offset, _)| *offset < start).map(|(_, time)| *time).min();
        assert!(latest_old.is_none_or(|time| time < young), "seed {seed}");
    });
}
