//! A view that goes back to an earlier generation while events come: whatever breaks off where, every answer is exact at its stamp, and
//! none reaches less far than what the layers hold.
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use seam_services::Redis;
use seam_serving::{Serving, Settings, Stores};
use seam_shared::clock::Clock;
use seam_shared::config::{Config, RedisSettings};
use seam_shared::error::{Error, Kind, Result};
use seam_shared::lake::views::Publication;
use seam_shared::log::{Offset, OffsetVector, Partition};
use seam_shared::state::redis::RedisState;
use seam_shared::state::{Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Span;
use seam_shared::view::definition::View;
use seam_shared::view::rows::Rows;
use seam_speed::recover::Places;
use seam_speed::rewind::Rewinder;
use seam_speed::trim::{TrimRule, Trimmer};
use seam_speed::worker::{Limits, Step, Worker};
use seam_tests::dice::Dice;
use seam_tests::pipeline::Pipeline;
use serde_json::Value as Json;

use crate::layers::setting;
use crate::life::{ask, check, config, fold_some, oracle, pipeline, produce, stamp};
use crate::vectors::cold_serving;

/// A state that can be reached so many times, and then no more: whoever uses it is as if it had crashed there.
#[derive(Debug)]
struct Brittle {
    state: Arc<dyn StateStore>,
    left: AtomicI64,
}

impl Brittle {
    fn reach(&self) -> Result<()> {
        match self.left.fetch_sub(1, Ordering::Relaxed) {
            1.. => Ok(()),
            _ => Err(Error::unavailable("the state cannot be reached any more")),
        }
    }
}

#[async_trait]
impl StateStore for Brittle {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        self.reach()?;
        self.state.commit(partition, commits).await
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        self.reach()?;
        self.state.claim(partition, view, boundary).await
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        self.reach()?;
        self.state.snapshot(partition, views).await
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        self.reach()?;
        self.state.segment(partition, view, start).await
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        self.reach()?;
        self.state.trim(partition, view, floor).await
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        self.reach()?;
        self.state.forget(partition, view).await
    }
}

fn rewinder(pipeline: &Pipeline, number: u32, left: i64) -> Rewinder {
    rewinder_of(pipeline, pipeline.state.clone(), number, left)
}

fn rewinder_of(pipeline: &Pipeline, state: Arc<dyn StateStore>, number: u32, left: i64) -> Rewinder {
    let state = Arc::new(Brittle { state, left: AtomicI64::new(left) });
    let places = Places { state, ..pipeline.places() };
    Rewinder::new(places, pipeline.source.clone(), pipeline.views.clone(), number)
}

/// Publishes a generation of nothing, as a bug may.
async fn spoil(pipeline: &Pipeline) -> u64 {
    let table = pipeline.view_table(&pipeline.views[0]);
    let newest = table.latest().await.unwrap().unwrap();
    let (cut, incarnation) = (newest.cut, newest.incarnation);
    let info = serde_json::Map::new();
    let spoilt = Publication { parent: Some(newest.number), cut, incarnation, files: Vec::new(), info };
    table.publish(spoilt).await.unwrap().number
}

async fn newest(pipeline: &Pipeline) -> (u64, OffsetVector, Option<u64>) {
    let newest = pipeline.view_table(&pipeline.views[0]).latest().await.unwrap().unwrap();
    (newest.number, newest.cut.clone(), newest.rolled_back_to())
}

/// What came of many rollbacks.
#[derive(Default)]
struct Tally {
    /// Answers by a generation from before the rollback, and by one from it on.
    before: u64,
    after: u64,
    /// Rewinds that were broken off, and partitions that were folded again.
    broken: u64,
    folded_again: usize,
}

/// One view that went back.
struct Story<'d> {
    seed: u64,
    dice: &'d Dice,
    config: Arc<Config>,
    pipeline: Pipeline,
    /// A reader that was there before.
    serving: Serving,
    /// The newest generation before it went back, how far that reached, and whether it was a spoilt one.
    generation: u64,
    highest: OffsetVector,
    spoilt: Option<u64>,
}

impl Story<'_> {
    /// Makes a few generations and goes back to one of them.
    async fn begin(dice: &Dice, seed: u64) -> Story<'_> {
        let config = config(dice.pick(&["30s", "1m"]), "region, product", "price >= 100");
        let pipeline = pipeline(&config).await;
        generations(dice, &pipeline).await;
        let spoilt = if dice.one_in(3) { Some(spoil(&pipeline).await) } else { None };
        let (generation, highest, _) = newest(&pipeline).await;
        let serving = cold_serving(&config, &pipeline);
        serving.refresh().await.unwrap();
        let to = if dice.one_in(2) { None } else { Some(1 + dice.below(generation - 1)) };
        let done = pipeline.roll_back(&config.views[0], to).await.unwrap();
        assert_eq!((done.generation, done.rollback_to), (generation + 1, to.unwrap_or(generation - 1)), "seed {seed}");
        assert!(highest.covers(&done.cut));
        Story { seed, dice, config, pipeline, serving, generation, highest, spoilt }
    }

    /// Something happens: events, work of any layer, or somebody who breaks off or comes late.
    async fn act(&self, tally: &mut Tally) {
        let Story { seed, dice, config, pipeline, .. } = self;
        match dice.below(8) {
            0 => produce(dice, pipeline, 1 + dice.below(8)).await,
            1 | 2 => fold_some(dice, pipeline).await,
            3 | 4 => {
                let left = dice.below(if dice.one_in(2) { 30 } else { 300 }) as i64;
                match rewinder(pipeline, dice.below(2) as u32, left).step().await {
                    Ok(folded) => tally.folded_again += folded,
                    Err(error) => {
                        assert_eq!(error.kind(), Kind::Unavailable, "seed {seed}: {error}");
                        tally.broken += 1;
                    }
                }
            }
            // somebody who saw the generation before trims late
            5 if dice.one_in(4) => {
                let (partition, floor) = (pipeline.partition(0), self.highest.get(0));
                pipeline.state.trim(&partition, &config.views[0].id, floor).await.unwrap();
            }
            5 if dice.one_in(6) => {
                pipeline.archive().await.unwrap();
                pipeline.recompute(dice.one_in(2)).await.unwrap();
            }
            5 if dice.one_in(4) => {
                pipeline.roll_back(&config.views[0], None).await.ok();
            }
            6 => pipeline.trim().await.unwrap(),
            _ => self.serving.refresh().await.unwrap(),
        }
    }

    /// Somebody asks, whoever was there before or who has just come: the answer is exact, and reaches as far as before.
    async fn look(&self, tally: &mut Tally) {
        let (seed, cold) = (self.seed, self.dice.one_in(4));
        let (body, view, covered) = match cold {
            true => self.answer(&self.cold().await, &[]).await,
            false => self.answer(&self.serving, &[]).await,
        };
        let number = body["meta"]["stamp"]["views"][0]["generation"].as_u64();
        let reached = covered.to_text("clicks");
        assert!(covered.covers(&self.highest), "seed {seed}: {reached} is less than was covered");
        tally.before += u64::from(number <= Some(self.generation));
        tally.after += u64::from(number > Some(self.generation));
        if number != self.spoilt || self.spoilt.is_none() {
            check(&oracle(&self.pipeline, &self.config).await, &view, &body, &covered, seed);
        }
    }

    /// Everybody finishes: the newest generation answers, and goes on.
    async fn end(&self, tally: &mut Tally) {
        let Story { seed, config, pipeline, spoilt, .. } = self;
        tally.folded_again += settle(pipeline).await;
        let serving = self.cold().await;
        let (body, view, covered) = self.answer(&serving, &[]).await;
        let (number, cut, back) = newest(pipeline).await;
        let shown = &body["meta"]["stamp"]["views"][0]["generation"];
        assert_eq!(*shown, number, "seed {seed}: in the end the newest answers");
        check(&oracle(pipeline, config).await, &view, &body, &covered, *seed);
        let (alone, ..) = self.answer(&serving, &[("layer", "batch")]).await;
        if Some(number) != *spoilt && back != *spoilt || spoilt.is_none() {
            check(&oracle(pipeline, config).await, &view, &alone, &cut, *seed);
        }
        goes_on(self.dice, pipeline, config, *seed).await;
    }

    async fn cold(&self) -> Serving {
        let cold = cold_serving(&self.config, &self.pipeline);
        cold.refresh().await.unwrap();
        cold
    }

    /// An answer, the view that gave it, and how far it reaches.
    async fn answer(&self, serving: &Serving, more: &[(&str, &str)]) -> (Json, Arc<View>, OffsetVector) {
        let body = ask(serving, "events", &[&[("dimension", "region")], more].concat()).await;
        let body = body.unwrap_or_else(|error| panic!("seed {}: somebody always answers: {error}", self.seed));
        let body: Json = serde_json::from_slice(&body).unwrap();
        let (view, covered) = stamp(&body, &[&self.config]);
        (body, view, covered)
    }
}

#[tokio::test]
async fn a_view_that_goes_back_never_shows_a_wrong_number_wherever_it_breaks_off() {
    let seeds = setting("SEAM_LIFE_SEEDS", 60);
    let mut tally = Tally::default();
    for seed in 0..seeds {
        let dice = Dice::new(seed);
        let story = Story::begin(&dice, seed).await;
        for _ in 0..40 {
            story.act(&mut tally).await;
            story.look(&mut tally).await;
        }
        story.end(&mut tally).await;
    }
    let Tally { before, after, broken, folded_again } = tally;
    println!(
        "{seeds} rollbacks: {before} answers by generations before, {after} after, {broken} broken off, {folded_again} done"
    );
    assert!(before > seeds && after > 3 * seeds && broken > seeds / 2 && folded_again as u64 > seeds / 2);
}

/// A few generations, most of them trimmed to.
async fn generations(dice: &Dice, pipeline: &Pipeline) {
    for _ in 0..2 + dice.below(3) {
        produce(dice, pipeline, 10 + dice.below(40)).await;
        pipeline.fold().await.unwrap();
        pipeline.archive().await.unwrap();
        pipeline.recompute(dice.one_in(3)).await.unwrap();
        if !dice.one_in(4) {
            pipeline.trim().await.unwrap();
        }
    }
}

/// The next run goes on from there, and finds that both layers agree.
async fn goes_on(dice: &Dice, pipeline: &Pipeline, config: &Arc<Config>, seed: u64) {
    produce(dice, pipeline, 30).await;
    pipeline.fold().await.unwrap();
    pipeline.archive().await.unwrap();
    let outcomes = pipeline.recompute(false).await.unwrap();
    assert_eq!(serde_json::to_value(&outcomes[0].drift).unwrap()["groups"], 0, "seed {seed}: {outcomes:?}");
    assert_eq!(newest(pipeline).await.2, None);
    let serving = cold_serving(config, pipeline);
    serving.refresh().await.unwrap();
    let body = ask(&serving, "events", &[("dimension", "region")]).await.unwrap();
    let body: Json = serde_json::from_slice(&body).unwrap();
    let (view, covered) = stamp(&body, &[config]);
    check(&oracle(pipeline, config).await, &view, &body, &covered, seed);
}

/// Lets everybody finish.
async fn settle(pipeline: &Pipeline) -> usize {
    let mut folded = 0;
    for number in 0..2 {
        while let again @ 1.. = rewinder(pipeline, number, i64::MAX).step().await.unwrap() {
            folded += again;
        }
    }
    pipeline.fold().await.unwrap();
    folded
}

/// What cannot be gone back to is refused, and the refusal says what can be.
#[tokio::test]
async fn a_rollback_to_what_is_not_kept_names_what_is() {
    let dice = Dice::new(1);
    let config = config("1m", "region", "price >= 0");
    let pipeline = pipeline(&config).await;
    let view = &config.views[0];
    let none = pipeline.roll_back(view, None).await.unwrap_err();
    assert_eq!((none.kind(), none.message().contains("no generation yet")), (Kind::NotFound, true), "{none}");
    for _ in 0..4 {
        produce(&dice, &pipeline, 40).await;
        pipeline.fold().await.unwrap();
        pipeline.archive().await.unwrap();
        pipeline.recompute(false).await.unwrap();
    }
    let table = pipeline.view_table(view);
    let (second, third) = (table.at(2).await.unwrap(), table.at(3).await.unwrap());
    let gone = second.files.iter().find(|file| !third.files.contains(file)).expect("the day was recomputed");
    object_store::ObjectStoreExt::delete(&pipeline.lake, &gone.path).await.unwrap();
    for to in [2, 4, 5, 0] {
        let refused = pipeline.roll_back(view, Some(to)).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::NotFound);
        assert!(refused.message().contains("kept of 1, 3"), "{refused}");
    }
    assert_eq!(pipeline.roll_back(view, Some(3)).await.unwrap().generation, 5);
    let again = pipeline.roll_back(view, Some(1)).await.unwrap();
    assert_eq!((again.generation, again.rollback_to), (6, 1));
    assert_eq!(table.at(6).await.unwrap().files, table.at(1).await.unwrap().files);
}

/// The same steps on a real Redis: folded again from the cut, broken off now and then, exact at every stamp.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_folded_again_from_the_cut_of_a_rollback() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut broken = 0;
    for seed in 0..6 {
        let dice = Dice::new(seed);
        let config = config("1m", "region, product", "price >= 100");
        let pipeline = pipeline(&config).await;
        let settings = RedisSettings::parse(&redis.url(), &format!("rollback-{seed}")).unwrap();
        let state: Arc<dyn StateStore> = Arc::new(RedisState::open(settings));
        let places = || Places { state: state.clone(), ..pipeline.places() };
        let fold = async || {
            for number in 0..2 {
                let (source, views) = (pipeline.source.clone(), pipeline.views.clone());
                let mut worker = Worker::new(places(), source, views, number, Limits::default());
                while worker.step().await.unwrap() != Step::Idle {}
            }
        };
        for _ in 0..3 {
            produce(&dice, &pipeline, 30).await;
            fold().await;
            pipeline.archive().await.unwrap();
            pipeline.recompute(false).await.unwrap();
        }
        let rule = TrimRule { grace: Span(0), log: false };
        let (source, views) = (pipeline.source.clone(), pipeline.views.clone());
        Trimmer::new(places(), pipeline.clock.clone(), source, views, rule).step().await.unwrap();
        produce(&dice, &pipeline, 10).await;
        fold().await;
        let (_, highest, _) = newest(&pipeline).await;
        pipeline.roll_back(&config.views[0], Some(1)).await.unwrap();
        let answer = async || {
            let clock: Arc<dyn Clock> = pipeline.clock.clone();
            let stores = Stores { log: Some(pipeline.log.clone()), state: state.clone(), lake: pipeline.lake.clone() };
            let serving = Serving::new(config.clone(), stores, clock, Arc::new(Telemetry::new()), Settings::default());
            serving.refresh().await.unwrap();
            let body = ask(&serving, "events", &[("dimension", "region")]).await.unwrap();
            let body: Json = serde_json::from_slice(&body).unwrap();
            let (view, covered) = stamp(&body, &[&config]);
            check(&oracle(&pipeline, &config).await, &view, &body, &covered, seed);
            assert!(covered.covers(&highest), "seed {seed}");
            body["meta"]["stamp"]["views"][0]["generation"].as_u64()
        };
        assert_eq!(answer().await, Some(3), "seed {seed}: nothing is folded again yet");
        for number in 0..2 {
            for left in [2, 4, 6, 9, i64::MAX] {
                broken += u64::from(rewinder_of(&pipeline, state.clone(), number, left).step().await.is_err());
                answer().await;
            }
        }
        fold().await;
        assert_eq!(answer().await, Some(4), "seed {seed}");
    }
    assert!(broken > 20, "{broken}");
}
