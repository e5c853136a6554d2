//! Count windows: every N events of a key in log order, wherever the seam falls and whoever crashes.
use std::sync::Arc;
use std::time::Instant;

use seam_batch::job::Status;
use seam_proof::trial::{beyond, by_offset, compare};
use seam_shared::clock::Clock;
use seam_shared::log::Offset;
use seam_shared::state::StateStore;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;
use seam_speed::cuts::LakeCuts;
use seam_speed::rebuild::{Rebuild, Start};
use seam_speed::recover::Places;
use seam_speed::worker::{Limits, Step, Worker};
use seam_tests::hostile::views;
use seam_tests::simulator::mutant::RanksFromZero;

use crate::layers::{World, setting};

/// What the streams were about.
#[derive(Debug, Default)]
struct Seen {
    crashes: u64,
    generations: u64,
    /// State stores that lost everything.
    losses: u64,
    /// Windows that have events on both sides of the seam.
    across: u64,
}

/// Rounds of records; after each the speed layer folds with crashes and failovers, the archiver archives and batch recomputes
/// or not, and the state is lost or not. The answer is the oracle's after each; in the end a full run gives the files that the
/// incremental ones gave.
async fn stream(seed: u64, seen: &mut Seen) {
    let mut world = World::of(seed, 1, views::counted).await;
    for round in 0..2 + world.dice.below(2) {
        let records = 5 + world.dice.below(30);
        world.produce(records).await;
        seen.crashes += world.fold().await.0;
        if world.dice.one_in(2) {
            world.archive().await;
            let outcomes = world.pipeline.recompute(false).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(outcomes[0].error, None, "seed {seed}");
            seen.generations += u64::from(outcomes[0].status == Status::Published);
        }
        if world.dice.one_in(2) {
            world.pipeline = world.pipeline.apart(world.pipeline.lake.clone());
            seen.losses += 1;
            seen.crashes += world.fold().await.0;
        }
        let view = &world.pipeline.views[0];
        let (batch, cut) = world.pipeline.batch_rows(view).await.unwrap();
        let (speed, position) = beyond(&world.pipeline, view, &cut).await.unwrap();
        world.check(view, &by_offset(view, &batch, &speed), &position, &format!("seed {seed}, round {round}"));
        seen.across += across(&batch, &speed);
    }
    let view = &world.pipeline.views[0];
    let Some(before) = world.pipeline.view_table(view).latest().await.unwrap() else { return };
    world.pipeline.recompute(true).await.unwrap();
    let after = world.pipeline.view_table(view).latest().await.unwrap().unwrap();
    if after.cut == before.cut {
        assert_eq!(after.files, before.files, "seed {seed}");
    }
}

/// How many windows have rows in both.
fn across(batch: &Rows, speed: &Rows) -> u64 {
    let keys = |rows: &Rows| -> std::collections::BTreeSet<Vec<Value>> {
        (0..rows.len()).map(|i| (0..rows.dimensions.len()).map(|d| rows.value(d, i).clone()).collect()).collect()
    };
    keys(batch).intersection(&keys(speed)).count() as u64
}

#[tokio::test]
async fn counted_windows_are_the_oracles_wherever_the_seam_falls_and_whoever_crashes() {
    let (first, streams) = (setting("SEAM_FIRST_SEED", 0), setting("SEAM_COUNTED_SEEDS", 120));
    let (started, mut seen) = (Instant::now(), Seen::default());
    for seed in first..first + streams {
        stream(seed, &mut seen).await;
    }
    println!("{streams} streams in {:.1} s: {seen:?}", started.elapsed().as_secs_f64());
    assert!(seen.crashes > streams && seen.generations > streams / 2 && seen.losses > streams / 2, "{seen:?}");
    assert!(seen.across > streams / 2, "{seen:?}");
}

/// A worker that forgets the ranks below the cut must be found.
#[tokio::test]
async fn counted_windows_that_begin_at_zero_at_the_seam_are_found() {
    let mut found = 0;
    for seed in 0..20 {
        let mut world = World::of(seed, 1, views::counted).await;
        world.produce(40).await;
        world.archive().await;
        world.pipeline.recompute(false).await.unwrap();
        world.produce(40).await;
        let pipeline = &world.pipeline;
        for number in 0..pipeline.source.partitions {
            let clock: Arc<dyn Clock> = pipeline.clock.clone();
            let cuts = Arc::new(RanksFromZero(LakeCuts::new(&pipeline.lake, &pipeline.views, &clock)));
            let places = Places { log: pipeline.log.clone(), state: pipeline.state.clone(), cuts };
            let (source, views) = (pipeline.source.clone(), pipeline.views.clone());
            let mut worker = Worker::new(places, source, views, number, Limits::default());
            while worker.step().await.unwrap() != Step::Idle {}
        }
        let view = &pipeline.views[0];
        let (batch, cut) = pipeline.batch_rows(view).await.unwrap();
        let (speed, position) = beyond(pipeline, view, &cut).await.unwrap();
        found += u32::from(compare(&world.oracle, view, &by_offset(view, &batch, &speed), &position).is_err());
    }
    assert!(found >= 10, "{found} of 20");
}

/// A rebuild numbers events as the live worker did: from the newest generation's cut, or from the log's start. From elsewhere ranks
/// are not known.
#[tokio::test]
async fn counted_windows_are_rebuilt_from_the_cut_or_from_the_start() {
    let (mut compared, mut refused) = (0, 0);
    for seed in 0..12 {
        let mut world = World::of(seed, 1, views::counted).await;
        world.produce(40).await;
        world.fold().await;
        world.archive().await;
        world.pipeline.recompute(false).await.unwrap();
        world.produce(40).await;
        world.fold().await;
        let pipeline = &world.pipeline;
        let (view, clock): (_, Arc<dyn Clock>) = (&pipeline.views[0], pipeline.clock.clone());
        let cuts = Arc::new(LakeCuts::new(&pipeline.lake, &pipeline.views, &clock));
        let places = Places { log: pipeline.log.clone(), state: pipeline.state.clone(), cuts };
        let (source, boundaries) = (&pipeline.source, &[][..]);
        let rebuild = Rebuild { places: &places, source, view, number: 0, boundaries, nonce: "again" };
        for start in [Start::Cut, Start::Offset(Offset(0))] {
            let rebuilt = rebuild.run(start, false).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!((rebuilt.differences, rebuilt.missing.len()), (0, 0), "seed {seed}, {start:?}: {rebuilt:?}");
            compared += rebuilt.compared;
        }
        let cut = pipeline.view_table(view).latest().await.unwrap().map_or(Offset(0), |newest| newest.cut.get(0));
        let elsewhere = pipeline.state.snapshot(&pipeline.partition(0), std::slice::from_ref(&view.id)).await.unwrap();
        let starts = elsewhere.into_iter().flatten().flat_map(|held| held.closed);
        if let Some(other) = starts.map(|segment| segment.start).find(|start| *start != cut && *start > Offset(0)) {
            let error = rebuild.run(Start::Offset(other), false).await.unwrap_err();
            assert!(
                error.to_string().contains("begins at 0 or at the newest generation's cut"),
                "seed {seed}: {error}"
            );
            refused += 1;
        }
    }
    assert!(compared > 50 && refused > 5, "{compared} segments compared, {refused} refused");
}
