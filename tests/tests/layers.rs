//! One definition, three ways to compute it: the speed fold, the batch plan and the plain oracle agree on everything.
//!
//! `SEAM_LAYER_SEEDS` says how many worlds to run, each with three views; `SEAM_FIRST_SEED` where to start.
use std::sync::Arc;
use std::time::Instant;

use object_store::memory::InMemory;
use seam_batch::archive::{Settings, Step as ArchiverStep};
use seam_proof::trial::{compare, figures};
use seam_shared::event::batch::Verdict;
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::{Figures, More};
use seam_shared::view::definition::{DuplicateRule, Source, View};
use seam_shared::view::expression::Expression;
use seam_shared::view::groups::Groups;
use seam_shared::view::oracle::{KeptEvent, Oracle};
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;
use seam_speed::worker::{Limits, Step};
use seam_tests::dice::Dice;
use seam_tests::hostile::events::Maker;
use seam_tests::hostile::{self, views};
use seam_tests::pipeline::Pipeline;

const VIEWS: usize = 3;
const START: Timestamp = Timestamp(1_780_272_000_000_000);

pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What the cases were about, so that they cannot be about nothing.
#[derive(Debug, Default)]
struct Seen {
    cases: u64,
    groups: u64,
    duplicates: u64,
    invalid: u64,
    not_finite: u64,
    filters_that_drop: u64,
    segments: u64,
    files: u64,
    crashes: u64,
    failovers: u64,
    null_dimensions: u64,
    sums_beyond_doubles: u64,
    /// Groups with something in them, by aggregate: variance, distinct, quantiles, first or last, histogram, sessions, net.
    general: [u64; 7],
    /// Groups of count windows behind the first of their key.
    later_windows: u64,
    /// States with a filter of their own that drops some of their view's events.
    own_filters: u64,
}

/// The duplicate rule as it is written, over one partition.
#[derive(Default)]
struct Ids(Vec<(Option<String>, Timestamp)>);

impl Ids {
    fn is_duplicate(&mut self, rule: Option<DuplicateRule>, id: Option<&str>, now: Timestamp) -> bool {
        let same = id.and_then(|id| self.0.iter().rposition(|(known, _)| known.as_deref() == Some(id)));
        let duplicate = rule.zip(same).is_some_and(|(rule, at)| {
            (self.0.len() - at) as u64 <= rule.max_records && now.0 - self.0[at].1.0 <= rule.horizon.0
        });
        self.0.push((id.map(str::to_owned), now));
        duplicate
    }
}

pub struct World {
    pub dice: Dice,
    pub pipeline: Pipeline,
    pub oracle: Oracle,
    maker: Maker,
    ids: Vec<Ids>,
}

impl World {
    pub async fn new(seed: u64) -> World {
        World::of(seed, VIEWS, views::view).await
    }

    pub async fn of(seed: u64, number: usize, view: fn(&Dice, &Arc<Source>, usize) -> Arc<View>) -> World {
        let dice = Dice::new(seed);
        let source = hostile::source(&dice);
        let views: Vec<Arc<View>> = (0..number).map(|number| view(&dice, &source, number)).collect();
        for condition in views.iter().filter_map(|view| view.filter.as_ref()) {
            let text = condition.display(&source.fields).to_string();
            assert_eq!(Expression::parse(&text, &source.fields).as_ref(), Ok(condition), "seed {seed}: {text}");
        }
        let maker = Maker::new(&dice, &source);
        let ids = (0..source.partitions).map(|_| Ids::default()).collect();
        let mut pipeline = Pipeline::new(source, views, Arc::new(InMemory::new()), START).await;
        pipeline.compute.slice_rows = [30, 1_000][usize::from(!dice.one_in(6))];
        pipeline.compute.roll_up_from = [0, 1_000][usize::from(dice.one_in(3))];
        pipeline.compute.open_slices = [1, 5][usize::from(!dice.one_in(4))];
        World { dice, pipeline, oracle: Oracle::default(), maker, ids }
    }

    /// Appends records, and tells the oracle what they say.
    pub async fn produce(&mut self, records: u64) {
        let source = self.pipeline.source.clone();
        for _ in 0..records {
            let number = self.dice.below(u64::from(source.partitions)) as u32;
            if self.dice.one_in(15) {
                self.pipeline.log.skip(&self.pipeline.partition(number), 1 + self.dice.below(3)).unwrap();
            }
            let step = [0, 0, 1_000, 2_000_000, 11_000_000, -3_000_000][self.dice.below(6) as usize];
            self.pipeline.clock.advance(step);
            let now = seam_shared::clock::Clock::now(self.pipeline.clock.as_ref());
            let sketch = self.maker.record(&self.dice);
            let offset = self.pipeline.append(number, sketch.bytes).await;
            let (time, verdict, values) = match sketch.said {
                None => {
                    self.ids[number as usize].0.push((None, now));
                    (Timestamp::default(), Verdict::Invalid, Vec::new())
                }
                Some(said) => {
                    let seen = self.ids[number as usize].is_duplicate(source.duplicates, said.id.as_deref(), now);
                    (said.time, if seen { Verdict::Duplicate } else { Verdict::Counts }, said.values)
                }
            };
            self.oracle.events.push(KeptEvent { partition: number, offset, time, verdict, values });
        }
    }

    /// The speed layer folds everything, in random chunks, with crashes and failovers in between.
    pub async fn fold(&self) -> (u64, u64) {
        let (dice, mut crashes, mut failovers) = (&self.dice, 0, 0);
        for number in 0..self.pipeline.source.partitions {
            let partition = self.pipeline.partition(number);
            let limits = || Limits { records: 1 + dice.below(60) as usize, bytes: 1 + dice.below(9_000) as usize };
            let mut worker = self.pipeline.worker(number, limits());
            let mut checkpoint = None;
            while worker.step().await.unwrap() != Step::Idle {
                match dice.below(24) {
                    0 | 1 => {
                        worker = self.pipeline.worker(number, limits());
                        crashes += 1;
                    }
                    2 => checkpoint = Some(self.pipeline.state.checkpoint(&partition)),
                    3 => {
                        if let Some(earlier) = checkpoint.take() {
                            self.pipeline.state.restore(&partition, earlier);
                            failovers += 1;
                        }
                    }
                    _ => {}
                }
            }
            self.pipeline.fold().await.unwrap(); // a failover after the last look
        }
        (crashes, failovers)
    }

    /// The archiver archives all closed segments, in files and chunks of random size, with crashes in between.
    pub async fn archive(&self) -> u64 {
        let (dice, mut all) = (&self.dice, 0);
        for number in 0..self.pipeline.source.partitions {
            let mut crashes = 0; // a few: what is not archived yet is read again after each
            let settings = Settings {
                file_events: 1 + dice.below(200),
                chunk_events: 1 + dice.below(60) as usize,
                chunk_bytes: 1 + dice.below(9_000) as usize,
                delay_max: Span(i64::MAX),
                ..Settings::default()
            };
            let mut archiver = self.pipeline.archiver(number, settings).await.unwrap();
            while archiver.step().await.unwrap() != ArchiverStep::Idle {
                if crashes < 4 && dice.one_in(12) {
                    archiver = self.pipeline.archiver(number, settings).await.unwrap();
                    crashes += 1;
                }
            }
            archiver.drain().await.unwrap();
            all += crashes;
        }
        all
    }

    /// Fails unless `rows` say what the oracle says of the events below `below`: by pane and key, and all in all.
    pub fn check(&self, view: &View, rows: &Rows, below: &OffsetVector, context: &str) {
        if let Err(difference) = compare(&self.oracle, view, rows, below) {
            panic!("{context}: {difference}, {view:?}");
        }
    }
}

async fn case(seed: u64, seen: &mut Seen) {
    let mut world = World::new(seed).await;
    let records = 20 + world.dice.below(160);
    world.produce(records).await;
    let (crashes, failovers) = world.fold().await;
    seen.failovers += failovers;
    seen.crashes += crashes + world.archive().await;
    let outcomes = world.pipeline.recompute(false).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let failed = outcomes.iter().find_map(|outcome| outcome.error.as_ref());
    assert_eq!(failed, None, "seed {seed}: a view was not computed");
    let archive = world.pipeline.archive_table().await.unwrap().latest().await.unwrap();
    seen.files += archive.files.len() as u64;
    let verdicts = |verdict| world.oracle.events.iter().filter(|event| event.verdict == verdict).count() as u64;
    seen.duplicates += verdicts(Verdict::Duplicate);
    seen.invalid += verdicts(Verdict::Invalid);
    for view in &world.pipeline.views {
        let context = format!("seed {seed}, {}", view.id);
        let speed = world.pipeline.speed_rows(view).await.unwrap();
        let (batch, cut) = world.pipeline.batch_rows(view).await.unwrap();
        for number in 0..world.pipeline.source.partitions {
            assert_eq!(cut.get(number), speed.boundary.get(number), "{context}: all closed segments are archived");
            let last = world.oracle.events.iter().rfind(|event| event.partition == number);
            let end = last.map_or(Offset(0), |event| Offset(event.offset.0 + 1));
            assert_eq!(speed.position.get(number), end, "{context}: all is folded");
        }
        assert_eq!(batch, speed.closed, "{context}: {view:?}");
        assert_eq!(batch.encode(), speed.closed.encode(), "{context}");
        world.check(view, &batch, &cut, &format!("{context}, batch"));
        let mut merged = Groups::new(view.dimensions.len(), &view.kinds());
        merged.merge(&batch);
        merged.merge(&speed.open);
        let merged = merged.into_rows();
        world.check(view, &merged, &speed.position, &format!("{context}, merged"));
        count(&world, view, &merged, seen);
        seen.segments += u64::from(speed.segments > 1);
    }
}

fn count(world: &World, view: &View, rows: &Rows, seen: &mut Seen) {
    seen.cases += 1;
    seen.groups += rows.len() as u64;
    let nulls = rows.dimensions.iter().flat_map(|d| &d.values).filter(|value| **value == Value::Null);
    seen.null_dimensions += nulls.count() as u64;
    if view.count_window.is_some() {
        let later = |row: &usize| *rows.value(view.dimensions.len() - 1, *row) > Value::Int(0);
        seen.later_windows += (0..rows.len()).filter(later).count() as u64;
    }
    let all: Vec<Figures> = (0..rows.len()).flat_map(|i| figures(view, rows, i)).collect();
    seen.not_finite += all.iter().filter(|figures| figures.not_finite != [0; 3]).count() as u64;
    let beyond = |f: &&Figures| f.more == More::Nothing && f.sum == Value::Null && f.max != Value::Null;
    seen.sums_beyond_doubles += all.iter().filter(beyond).count() as u64;
    let counting = world.oracle.events.iter().filter(|event| event.verdict == Verdict::Counts);
    let passes = |event: &&KeptEvent| {
        view.filter.as_ref().is_none_or(|f| f.matches(&|field| event.values[field].clone()) == Some(true))
    };
    for figures in all.iter().filter(|figures| figures.count > 0) {
        let place = match figures.more {
            More::Nothing => continue,
            More::Spread(_) => 0,
            More::Distinct { .. } => 1,
            More::Ranks(_) => 2,
            More::Moment(_) => 3,
            More::Buckets(_) => 4,
            More::Sessions(_) => 5,
            More::Net { .. } => 6,
        };
        seen.general[place] += 1;
    }
    for state in view.states.iter().filter(|state| state.filter.is_some()) {
        let of_view = counting.clone().filter(passes);
        let of_state = of_view.clone().filter(|event| state.passes(&|field| event.values[field].clone())).count();
        seen.own_filters += u64::from(of_state > 0 && of_state < of_view.count());
    }
    let passing = counting.clone().filter(passes).count();
    seen.filters_that_drop += u64::from(passing > 0 && passing < counting.count());
}

/// 1,000 and more views over adversarial streams: bytes through the log, the workers and the state on one side, through the
/// archiver, Parquet and the Polars plan on the other.
#[tokio::test]
async fn layers_speed_and_batch_are_equal_byte_for_byte_and_both_equal_the_oracle() {
    let (first, seeds) = (setting("SEAM_FIRST_SEED", 0), setting("SEAM_LAYER_SEEDS", 350));
    let (started, mut seen) = (Instant::now(), Seen::default());
    for seed in first..first + seeds {
        case(seed, &mut seen).await;
    }
    println!("{seeds} worlds in {:.1} s: {seen:?}", started.elapsed().as_secs_f64());
    let Seen { cases, groups, duplicates, invalid, not_finite, filters_that_drop, segments, .. } = seen;
    assert!(cases == seeds * VIEWS as u64 && groups > cases * 10, "{seen:?}");
    assert!(duplicates > seeds && invalid > seeds && not_finite > seeds, "{seen:?}");
    assert!(filters_that_drop > cases / 10 && segments > cases / 2, "{seen:?}");
    assert!(seen.crashes > seeds && seen.failovers > 0 && seen.files > seeds, "{seen:?}");
    assert!(seen.general.iter().all(|groups| *groups > seeds * 10) && seen.own_filters > seeds / 2, "{seen:?}");
    assert!(seen.later_windows > seeds, "{seen:?}");
    assert!(seen.null_dimensions > seeds && seen.sums_beyond_doubles > seeds / 20, "{seen:?}");
}
