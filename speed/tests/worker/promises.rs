//! What the speed layer promises, each a test of that name.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use seam_shared::clock::Clock;
use seam_shared::error::{Error, Kind, Result};
use seam_shared::log::{EventLog, Offset, OffsetVector, Partition};
use seam_shared::state::{Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use seam_shared::time::Span;
use seam_shared::view::definition::View;
use seam_shared::view::rows::Rows;
use seam_speed::trim::{TrimRule, Trimmer};
use seam_speed::worker::{Limits, Step, Worker};

use crate::plain::Plain;
use crate::world::{Random, World, view};

const SEEDS: u64 = 150;

fn run(seeds: std::ops::Range<u64>, test: impl AsyncFn(u64)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for seed in seeds {
        runtime.block_on(test(seed));
    }
}

fn views(world: &World, count: usize) -> Vec<Arc<View>> {
    (0..count).map(|number| view(&world.source, number)).collect()
}

fn worker(world: &World, views: &[Arc<View>], random: &mut Random) -> Worker {
    let limits = Limits { records: 1 + random.below(20) as usize, bytes: 1 + random.below(2_000) as usize };
    Worker::new(world.places(), world.source.clone(), views.to_vec(), 0, limits)
}

async fn check(world: &World, views: &[Arc<View>], context: &str) -> Plain {
    let plain = Plain::read(world.log.as_ref(), &world.partition, &world.source).await;
    for view in views {
        plain.check(world.state.as_ref(), &world.partition, view, context).await;
    }
    plain
}

/// Steps until the worker has nothing to do, then wants every view at the log's end.
async fn drain(world: &World, views: &[Arc<View>], worker: &mut Worker, context: &str) {
    let (mut last, mut idle) = (None, 0);
    for _ in 0..1_000 {
        last = Some(worker.step().await);
        idle = if matches!(last, Some(Ok(Step::Idle))) { idle + 1 } else { 0 };
        // The first time it only had nothing to read; the second time it also looked at the store.
        if idle == 2 {
            let (_, end) = world.log.bounds(&world.partition).await.unwrap();
            for view in views {
                let held = world.state.snapshot(&world.partition, std::slice::from_ref(&view.id)).await.unwrap();
                let position = held[0].as_ref().map(|held| held.progress.position);
                assert_eq!(position, Some(end), "{context}: {} is caught up", view.id);
            }
            return;
        }
    }
    panic!("{context}: no end in sight, {last:?}");
}

/// Any chunking, any crash point, and any number of workers at once give what a plain recomputation gives.
#[test]
fn chunking_crashes_and_zombies_change_nothing() {
    run(0..SEEDS, async |seed| {
        let mut world = World::new(seed).await;
        let views = views(&world, 1 + (seed % 5) as usize);
        let mut random = Random(seed ^ 0xABCD);
        let mut workers = [worker(&world, &views, &mut random), worker(&world, &views, &mut random)];
        for step in 0..60 {
            let context = format!("seed {seed} step {step}");
            match random.below(8) {
                0..=1 => {
                    let records = random.below(30);
                    world.produce(records).await;
                }
                2 => workers[random.below(2) as usize] = worker(&world, &views, &mut random),
                n => {
                    workers[usize::from(n == 3)].step().await.unwrap();
                    check(&world, &views, &context).await;
                }
            }
        }
        drain(&world, &views, &mut workers[0], &format!("seed {seed}")).await;
        check(&world, &views, &format!("seed {seed} end")).await;
    });
}

/// The store may fall back to an earlier moment or lose everything; what it holds is always exact.
#[test]
fn losses_of_the_store_only_cost_time() {
    run(0..SEEDS, async |seed| {
        let mut world = World::new(seed).await;
        let views = views(&world, 3);
        let mut random = Random(seed ^ 0x1111);
        let mut workers = [worker(&world, &views, &mut random), worker(&world, &views, &mut random)];
        let mut checkpoint = world.state.checkpoint(&world.partition);
        for step in 0..60 {
            match random.below(12) {
                0..=1 => {
                    let records = random.below(30);
                    world.produce(records).await;
                }
                2 => checkpoint = world.state.checkpoint(&world.partition),
                3 => world.state.restore(&world.partition, checkpoint.clone()),
                4 if random.one_in(3) => world.state.flush_all(),
                n => {
                    // A commit that a trim has overtaken is an error like any other: the next step starts anew.
                    let _: Result<Step> = workers[usize::from(n % 2 == 1)].step().await;
                }
            }
            check(&world, &views, &format!("seed {seed} step {step}")).await;
        }
        drain(&world, &views, &mut workers[1], &format!("seed {seed}")).await;
        check(&world, &views, &format!("seed {seed} end")).await;
    });
}

/// Generations appear, state and log are trimmed, views join late: floors stay at or below the cuts, and all stays exact.
#[test]
fn trims_and_views_that_start_later_stay_exact() {
    run(0..SEEDS, async |seed| {
        let mut world = World::new(seed).await;
        let all = views(&world, 5);
        let mut random = Random(seed ^ 0x2222);
        let mut active = 2;
        let mut workers = [worker(&world, &all[..2], &mut random), worker(&world, &all[..2], &mut random)];
        let rule = TrimRule { grace: Span(random.below(30) as i64 * 1_000_000), log: false };
        let mut trimmer = Trimmer::new(world.places(), world.clock.clone(), world.source.clone(), all.clone(), rule);
        for step in 0..60 {
            let context = format!("seed {seed} step {step}");
            match random.below(12) {
                0..=1 => {
                    let records = random.below(30);
                    world.produce(records).await;
                }
                2 => {
                    active = (active + 1).min(all.len());
                    for w in &mut workers {
                        *w = worker(&world, &all[..active], &mut random);
                    }
                }
                3..=4 => publish(&world, &all[random.below(active as u64) as usize], &mut random).await,
                5 => trimmer.step().await.unwrap(),
                n => {
                    // A commit that a trim has overtaken is an error like any other: the next step starts anew.
                    let _: Result<Step> = workers[usize::from(n % 2 == 1)].step().await;
                }
            }
            let plain = check(&world, &all[..active], &context).await;
            let cuts = world.cuts.0.lock().unwrap().clone();
            for view in &all[..active] {
                let held = world.state.snapshot(&world.partition, std::slice::from_ref(&view.id)).await.unwrap();
                let cut = cuts.get(&view.id).map_or(Offset(0), |cut| cut.get(0));
                if let Some(held) = &held[0] {
                    assert!(held.progress.floor <= cut, "{context}: nothing falls between the layers");
                    assert!(plain.starts.contains(&held.progress.floor), "{context}: a floor is a boundary");
                }
            }
        }
        drain(&world, &all[..active], &mut workers[0], &format!("seed {seed}")).await;
        check(&world, &all[..active], &format!("seed {seed} end")).await;
    });
}

/// Moves a view's cut to some closed boundary at or above the last.
async fn publish(world: &World, view: &View, random: &mut Random) {
    let plain = Plain::read(world.log.as_ref(), &world.partition, &world.source).await;
    let mut cuts = world.cuts.0.lock().unwrap();
    let last = cuts.get(&view.id).map_or(Offset(0), |cut| cut.get(0));
    let later: Vec<Offset> = plain.starts.iter().copied().filter(|&start| start >= last).collect();
    let mut cut = OffsetVector::default();
    cut.set(0, later[random.below(later.len() as u64) as usize]);
    cuts.insert(view.id.clone(), cut);
}

/// Once every view has a generation, the log may forget what lies below; workers still start, from the cuts.
#[test]
fn a_trimmed_log_is_taken_up_at_the_cut() {
    run(0..SEEDS, async |seed| {
        let mut world = World::new(seed).await;
        world.produce(80).await;
        let plain = Plain::read(world.log.as_ref(), &world.partition, &world.source).await;
        let views = views(&world, 3);
        let mut random = Random(seed ^ 0x3333);
        let rule = TrimRule { grace: Span(0), log: true };
        let mut trimmer = Trimmer::new(world.places(), world.clock.clone(), world.source.clone(), views.clone(), rule);
        let mut old = worker(&world, &views, &mut random);
        for _ in 0..random.below(4) {
            old.step().await.unwrap();
        }
        publish(&world, &views[0], &mut random).await;
        publish(&world, &views[1], &mut random).await;
        trimmer.step().await.unwrap();
        assert_eq!(world.log.bounds(&world.partition).await.unwrap().0, Offset(0), "one view has no generation yet");
        publish(&world, &views[2], &mut random).await;
        trimmer.step().await.unwrap();
        if random.one_in(2) {
            world.state.flush_all();
        }
        drain(&world, &views, &mut old, &format!("seed {seed}")).await;
        let mut fresh = worker(&world, &views, &mut random);
        drain(&world, &views, &mut fresh, &format!("seed {seed} fresh")).await;
        for view in &views {
            plain.check(world.state.as_ref(), &world.partition, view, &format!("seed {seed}")).await;
        }
    });
}

/// Generations that are published more often than the grace is long still let segments go, and none too early.
#[test]
fn frequent_generations_do_not_put_the_trim_off_for_ever() {
    run(0..4, async |seed| {
        let mut world = World::new(seed).await;
        let views = views(&world, 1);
        let mut random = Random(seed ^ 0x4444);
        let mut worker = worker(&world, &views, &mut random);
        let (grace, every) = (Span(10 * Span::SECOND.0), Span(3 * Span::SECOND.0));
        let rule = TrimRule { grace, log: false };
        let mut trimmer = Trimmer::new(world.places(), world.clock.clone(), world.source.clone(), views.clone(), rule);
        let (mut published, mut floors) = (Vec::new(), BTreeSet::new());
        for _ in 0..40 {
            world.produce(30).await;
            drain(&world, &views, &mut worker, "fold").await;
            let newest = *Plain::read(world.log.as_ref(), &world.partition, &world.source).await.starts.last().unwrap();
            world.cuts.0.lock().unwrap().insert(views[0].id.clone(), OffsetVector([(0, newest)].into()));
            published.push((world.clock.now(), newest));
            trimmer.step().await.unwrap();
            let held = world.state.snapshot(&world.partition, &[views[0].id.clone()]).await.unwrap();
            let floor = held[0].as_ref().unwrap().progress.floor;
            let known = published.iter().find(|(_, cut)| *cut == floor).map(|(at, _)| *at);
            assert!(floor == Offset(0) || known.unwrap().plus(grace) <= world.clock.now(), "seed {seed}: too early");
            floors.insert(floor);
            world.clock.advance(every.0);
        }
        assert!(floors.len() > 5, "seed {seed}: {floors:?}");
    });
}

/// A store whose replies get lost: some commits fail before they are applied, some after.
#[derive(Debug)]
struct LosesReplies<S> {
    inner: Arc<S>,
    random: AtomicU64,
}

#[async_trait]
impl<S: StateStore> StateStore for LosesReplies<S> {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        let mut random = Random(self.random.load(Ordering::Relaxed));
        let fate = random.below(4);
        self.random.store(random.0, Ordering::Relaxed);
        match fate {
            0 => Err(Error::unavailable("request lost")),
            1 => {
                self.inner.commit(partition, commits).await?;
                Err(Error::unavailable("reply lost"))
            }
            _ => self.inner.commit(partition, commits).await,
        }
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        self.inner.claim(partition, view, boundary).await
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        self.inner.snapshot(partition, views).await
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        self.inner.segment(partition, view, start).await
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        self.inner.trim(partition, view, floor).await
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        self.inner.forget(partition, view).await
    }
}

/// A reply that never comes says nothing; the worker looks at what is stored.
#[test]
fn lost_replies_are_resolved_by_looking() {
    run(0..SEEDS, async |seed| {
        let mut world = World::new(seed).await;
        let views = views(&world, 2);
        let mut random = Random(seed ^ 0x4444);
        let mut places = world.places();
        places.state = Arc::new(LosesReplies { inner: world.state.clone(), random: AtomicU64::new(seed) });
        let limits = Limits { records: 1 + random.below(9) as usize, bytes: 4_096 };
        let mut worker = Worker::new(places, world.source.clone(), views.clone(), 0, limits);
        let mut errors = 0;
        for _ in 0..10 {
            world.produce(5).await;
            errors += usize::from(worker.step().await.is_err());
            check(&world, &views, &format!("seed {seed}")).await;
        }
        let mut steps = 0;
        while !matches!(worker.step().await, Ok(Step::Idle)) {
            steps += 1;
            assert!(steps < 10_000, "seed {seed}: {errors} errors");
        }
        drain(&world, &views, &mut worker, &format!("seed {seed}")).await;
        check(&world, &views, &format!("seed {seed} end")).await;
    });
}

/// A log that lost its end, or whose end is another one now, is no log to go on with.
#[test]
fn a_log_that_was_truncated_or_rewritten_is_found_out() {
    run(0..SEEDS, async |seed| {
        let mut world = World::new(seed).await;
        let mut random = Random(seed ^ 0x7A11);
        let views = views(&world, 1 + random.below(3) as usize);
        world.produce(40 + random.below(60)).await;
        let mut first = worker(&world, &views, &mut random);
        drain(&world, &views, &mut first, &format!("seed {seed}")).await;
        let (_, end) = world.log.bounds(&world.partition).await.unwrap();
        let mut honest = worker(&world, &views, &mut random);
        drain(&world, &views, &mut honest, &format!("seed {seed}, a restart")).await;
        // Truncated only; then grown beyond the old end again, with other records.
        world.log.truncate(&world.partition, Offset(end.0 - 1 - random.below(20))).unwrap();
        for grown in [false, true] {
            if grown {
                world.produce(60).await;
            }
            let error = worker(&world, &views, &mut random).step().await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "seed {seed}, grown: {grown}: {error}");
            assert!(error.message().contains("clicks/0 was truncated or rewritten"), "{error}");
        }
    });
}
