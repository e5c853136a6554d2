//! One flipped bit in any stored file, Parquet or commit: whatever reads the bit says that the file is damaged and names it; never
//! a number from it. A recompute reads the columns that its views use; whoever reads the whole file finds every bit.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_batch::archive::Settings as ArchiverSettings;
use seam_batch::job::Status;
use seam_serving::Serving;
use seam_serving::query::Query;
use seam_serving::scan::levels;
use seam_serving::scan::{Access, Cells};
use seam_shared::error::Kind;
use seam_shared::lake::archive::ArchiveFile;
use seam_shared::lake::sealed::{SealedFile, range_of};
use seam_shared::lake::verified;
use seam_shared::lake::views::{Generation, ViewFile};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_tests::dice::Dice;
use seam_tests::pipeline::Pipeline;
use serde_json::Value as Json;

use crate::layers::setting;
use crate::vectors::{cold_serving, load, serving};

/// The first of the days on which events lie.
const DAY: Timestamp = Timestamp(1_780_272_000_000_000);
const DAYS: i64 = 4;

const CONFIG: &str = r#"
version: 1
name: flips
sources:
  clicks:
    map: { id: $.id, time: $.time }
    segment: { events: 40, interval: 1h }
    dedupe: { horizon: 1h, max_records: 50 }
    fields: { region: string, price: "decimal(2)", delay: float }
views:
  by_region:
    from: clicks
    dimensions: [region]
    pane: 5m
    windows: [1d]
    measures: { events: count(), price: stats(price), delay: stats(delay) }
  totals:
    from: clicks
    pane: 5m
    windows: [1d]
    measures: { events: count(), price: stats(price) }
metrics:
  spend: { view: by_region, measure: price }
  delay: { view: by_region, measure: delay }
  events: { view: totals, measure: events }
dashboard: { window: 1d, metrics: [events] }
"#;

/// A lake with one generation of three days, and a fourth day that is archived only.
struct World {
    lake: InMemory,
    pipeline: Pipeline,
    dice: Dice,
    /// What every question is answered with while nothing is damaged: the metric, where its window of a day ends, the points.
    right: Vec<(&'static str, Timestamp, Json)>,
    /// The files of the generation, roll-ups included.
    view_files: Vec<(Arc<View>, Path)>,
    generations: Vec<(Arc<View>, Generation)>,
    archive_files: Vec<Arc<ArchiveFile>>,
    /// The days of the archive's files that no generation covers.
    new_days: BTreeSet<Timestamp>,
    /// The files of the next generation of each view while nothing is damaged.
    next: Vec<Vec<ViewFile>>,
}

fn day(number: i64) -> Timestamp {
    DAY.plus(Span(number * Span::DAY.0))
}

impl World {
    async fn new() -> World {
        let config = load(CONFIG);
        let dice = Dice::new(1);
        let lake = Arc::new(InMemory::new());
        let pipeline = Pipeline::new(config.sources[0].clone(), config.views.clone(), lake.clone(), day(DAYS)).await;
        for number in 0..DAYS - 1 {
            append(&pipeline, &dice, number).await;
            archive(&pipeline).await;
        }
        pipeline.recompute(false).await.unwrap();
        let covered = pipeline.archive_table().await.unwrap().latest().await.unwrap();
        append(&pipeline, &dice, DAYS - 1).await;
        archive(&pipeline).await;
        let archive = pipeline.archive_table().await.unwrap().latest().await.unwrap();
        let (mut view_files, mut generations) = (Vec::new(), Vec::new());
        for view in &pipeline.views {
            let newest = pipeline.view_table(view).latest().await.unwrap().unwrap();
            let widths: BTreeSet<Span> = newest.files.iter().flat_map(|f| &f.rollups).map(|r| r.level.width).collect();
            let narrow = (!view.dimensions.is_empty()).then_some(view.pane);
            let expected: BTreeSet<Span> = [Span::HOUR, Span::DAY].into_iter().chain(narrow).collect();
            assert_eq!(widths, expected, "roll-ups are in use");
            view_files.extend(newest.paths().map(|path| (view.clone(), path.clone())));
            generations.push((view.clone(), newest));
        }
        let new = archive.files.iter().filter(|file| !covered.files.contains(file));
        let new_days = new.flat_map(|file| file.days.keys().copied()).collect();
        let archive_files = archive.files.clone();
        let next = next_files(&pipeline, &lake.fork(), true).await;
        assert_eq!(next, next_files(&pipeline, &lake.fork(), false).await);
        let (lake, right) = (lake.fork(), Vec::new());
        let mut world = World { lake, pipeline, dice, right, view_files, generations, archive_files, new_days, next };
        let sound = world.serving(&world.lake.fork()).await;
        for number in 0..DAYS {
            for metric in ["spend", "delay", "events"] {
                // A whole day, and two pieces that begin within an hour.
                for end in [day(number + 1), day(number + 1).minus(Span(25 * Span::MINUTE.0))] {
                    let points = ask(&sound, metric, end).await.unwrap();
                    world.right.push((metric, end, points));
                }
            }
        }
        world
    }
    /// Serving of a lake, with nothing cached. No speed layer is at work: whatever is said comes from files.
    async fn serving(&self, lake: &InMemory) -> Serving {
        serving(&load(CONFIG), &self.pipeline.over(Arc::new(lake.fork()))).await
    }
    /// The lake with one bit of one object flipped, and which byte holds it.
    async fn flipped(&self, path: &Path) -> (InMemory, u64) {
        let lake = self.lake.fork();
        let mut bytes = Vec::from(lake.get(path).await.unwrap().bytes().await.unwrap());
        let at = self.dice.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << self.dice.below(8);
        lake.put(path, Bytes::from(bytes).into()).await.unwrap();
        (lake, at as u64)
    }
    /// Whether a recompute of the view over the file uses the byte: of a column that the view reads, or of the footer.
    async fn uses(&self, view: &View, file: &ArchiveFile, byte: u64) -> bool {
        let sealed = SealedFile::open(&self.lake, &file.path, file.bytes, &file.footer).await.unwrap();
        let all_count = file.days.values().sum::<u64>() == file.rows;
        let columns = sealed.metadata().row_groups().iter().flat_map(|group| group.columns());
        let holding = columns.into_iter().find(|column| range_of(column).contains(&byte));
        match holding.map(|column| column.column_path().string()).as_deref() {
            Some("seam_verdict") => !all_count,
            Some("seam_time" | "price") => true,
            Some("region" | "delay") => view.name == "by_region",
            Some(_) => false,
            None => byte >= file.bytes - file.footer.bytes, // else of the magic bytes at the start
        }
    }
}

/// The files of each view after a run over `lake`.
async fn next_files(pipeline: &Pipeline, lake: &InMemory, full: bool) -> Vec<Vec<ViewFile>> {
    let pipeline = pipeline.over(Arc::new(lake.fork()));
    let outcomes = pipeline.recompute(full).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Published), "{outcomes:?}");
    newest_files(&pipeline).await
}

async fn newest_files(pipeline: &Pipeline) -> Vec<Vec<ViewFile>> {
    let mut files = Vec::new();
    for view in &pipeline.views {
        files.push(pipeline.view_table(view).latest().await.unwrap().unwrap().files);
    }
    files
}

async fn append(pipeline: &Pipeline, dice: &Dice, number: i64) {
    for i in 0..160 {
        // now and then of the day before
        let back = if dice.one_in(40) { Span::DAY.0 } else { 0 };
        let time = Timestamp(day(number).0 + dice.below(Span::DAY.0 as u64) as i64 - back).clamp(DAY, day(DAYS));
        let (region, price) = (["\"eu\"", "\"us\"", "null"][dice.below(3) as usize], dice.below(10_000));
        let delay = ["0.1", "1e300", "-7.25", "\"NaN\"", "null"][dice.below(5) as usize];
        let id = number * 1_000 + i - i64::from(dice.one_in(9));
        let event =
            format!(r#"{{"time":{},"id":{id},"region":{region},"price":{price}e-2,"delay":{delay}}}"#, time.0 / 1_000);
        pipeline.append(0, event.into()).await;
    }
    pipeline.clock.advance(2 * Span::HOUR.0);
}

/// Archives what is closed, in more than one file.
async fn archive(pipeline: &Pipeline) {
    let settings = ArchiverSettings { file_events: 80, chunk_events: 40, ..ArchiverSettings::default() };
    pipeline.archiver(0, settings).await.unwrap().drain().await.unwrap();
}

/// A metric over the day that ends there, in the batch layer.
fn question(serving: &Serving, metric: &str, end: Timestamp) -> Query {
    let end = end.to_rfc3339();
    let parameters = [("window", "1d"), ("at", &end), ("layer", "batch")];
    let parameters: Vec<(String, String)> = parameters.map(|(name, value)| (name.into(), value.into())).into();
    serving.parse(&seam_shared::access::Caller::trusted(), metric, &parameters).unwrap()
}

/// Its points, or how it was refused.
async fn ask(serving: &Serving, metric: &str, end: Timestamp) -> Result<Json, (Kind, String)> {
    let asked = question(serving, metric, end).into();
    let answer = serving.answer(&asked, None).await.map_err(|refusal| (refusal.kind, refusal.detail))?;
    let body: Json = serde_json::from_slice(&answer.body.unwrap()).unwrap();
    Ok(body["points"].clone())
}

/// The view that a metric is of.
fn view_of(metric: &str) -> &'static str {
    if metric == "events" { "totals" } else { "by_region" }
}

/// Whether an answer reads a file of a view.
fn reads(world: &World, query: &Query, view: &View, path: &Path) -> bool {
    let term = &query.terms[0];
    let (_, generation) = world.generations.iter().find(|(of, _)| of.id == term.view.id).expect("each view has one");
    let access = Access::new(query, &term.view);
    let chosen = levels::choose(generation, &Cells::new(&query.times), access.needed());
    term.view.id == view.id && chosen.iter().any(|choice| choice.path == path)
}

/// Asks everything; answers with how many questions were refused and how many answered.
async fn ask_all(world: &World, lake: &InMemory, damaged: Option<&(Arc<View>, Path)>) -> (u64, u64) {
    let serving = world.serving(lake).await;
    let (mut refused, mut answered) = (0, 0);
    for (metric, end, right) in &world.right {
        let query = question(&serving, metric, *end);
        let answer = ask(&serving, metric, *end).await;
        match damaged.filter(|(view, path)| reads(world, &query, view, path)) {
            Some((_, path)) => {
                let (kind, detail) = answer.expect_err("a number from a damaged file");
                assert_eq!(kind, Kind::Corrupt, "{detail}");
                assert!(detail.contains(path.as_ref()), "{detail} does not name {path}");
                refused += 1;
            }
            None => {
                assert_eq!(answer.as_ref(), Ok(right), "{metric} up to {end}");
                answered += 1;
            }
        }
    }
    (refused, answered)
}

/// Both kinds of batch run over a lake with an archive file that is damaged in one byte; answers with how many failed and how many
/// succeeded.
async fn run_all(world: &World, lake: &InMemory, damaged: &ArchiveFile, byte: u64) -> (u64, u64) {
    let (mut failed, mut published) = (0, 0);
    let whole = verified::get(lake, &damaged.path, &damaged.blake3).await.expect_err("a damaged file is read whole");
    assert!(whole.kind() == Kind::Corrupt && whole.message().contains(damaged.path.as_ref()), "{whole}");
    for full in [false, true] {
        let lake = Arc::new(lake.fork());
        let pipeline = world.pipeline.over(lake.clone());
        let read = damaged.days.keys().any(|day| full || world.new_days.contains(day));
        let outcomes = pipeline.recompute(full).await.unwrap();
        let mut all_failed = true;
        for ((outcome, view), next) in outcomes.iter().zip(&pipeline.views).zip(&world.next) {
            let newest = pipeline.view_table(view).latest().await.unwrap().unwrap();
            if read && world.uses(view, damaged, byte).await {
                assert_eq!(outcome.status, Status::Failed, "a generation from a damaged file: {outcome:?}");
                let error = outcome.error.as_deref().expect("a failure says why");
                assert!(error.contains(damaged.path.as_ref()), "{error} does not name {}", damaged.path);
                assert_eq!(newest.number, 1, "nothing was published");
                failed += 1;
            } else {
                assert_eq!(
                    outcome.status,
                    Status::Published,
                    "byte {byte} of {} is not used: {outcome:?}",
                    damaged.path
                );
                assert_eq!(&newest.files, next, "byte {byte} of {} is not used", damaged.path);
                (published, all_failed) = (published + 1, false);
            }
        }
        if all_failed {
            ask_all(world, &lake, None).await;
        }
    }
    (failed, published)
}

/// A lake with a damaged commit of a table. A view's is told when serving refreshes, and the view has no numbers; every batch run
/// that needs the table fails. Answers with how many questions were refused and how many answered.
async fn read_commits(world: &World, lake: &InMemory, damaged: &Path) -> (u64, u64) {
    let told = |kind: Kind, detail: &str| {
        assert_eq!(kind, Kind::Corrupt, "{detail}");
        assert!(detail.contains(damaged.as_ref()), "{detail} does not name {damaged}");
    };
    let of = |view: &View| damaged.prefix_matches(&Path::from("views").join(view.id.as_ref()));
    let view = world.pipeline.views.iter().find(|view| of(view));
    let serving = cold_serving(&load(CONFIG), &world.pipeline.over(Arc::new(lake.fork())));
    match (serving.refresh().await, view) {
        (Err(error), Some(_)) => told(error.kind(), &error.to_string()),
        (refreshed, _) => assert!(refreshed.is_ok() && view.is_none(), "{refreshed:?} with a damaged {damaged}"),
    }
    let (mut refused, mut answered) = (0, 0);
    for (metric, end, right) in &world.right {
        let answer = ask(&serving, metric, *end).await;
        if view.is_some_and(|view| view.name == view_of(metric)) {
            answer.expect_err("a number from a damaged table");
            refused += 1;
        } else {
            assert_eq!(answer.as_ref(), Ok(right), "{metric} up to {end}");
            answered += 1;
        }
    }
    for full in [false, true] {
        let run = world.pipeline.over(Arc::new(lake.fork())).recompute(full).await;
        let Some(view) = view else {
            let error = run.expect_err("a batch run over a damaged archive");
            told(error.kind(), &error.to_string());
            continue;
        };
        for outcome in run.unwrap() {
            let expected = if outcome.view == view.name { Status::Failed } else { Status::Published };
            assert_eq!(outcome.status, expected, "{outcome:?} with a damaged {damaged}");
            let error = outcome.error.unwrap_or_default();
            assert_eq!(error.contains(damaged.as_ref()), expected == Status::Failed, "{error}");
        }
    }
    (refused, answered)
}

/// 1,000 bits flipped one at a time, in files and commits of views and of the archive. `SEAM_FLIPS` says how many.
#[tokio::test]
async fn flips_of_any_bit_are_told_with_the_files_name_and_never_answered_from() {
    let (started, flips) = (Instant::now(), setting("SEAM_FLIPS", 1_000));
    let world = World::new().await;
    let objects: Vec<Path> = world.lake.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
    // who leases a view is no number
    let stored = objects.into_iter().filter(|path| !path.as_ref().starts_with("leases/"));
    let (parquet, commits): (Vec<Path>, Vec<Path>) = stored.partition(|path| path.as_ref().ends_with(".parquet"));
    assert_eq!(parquet.len(), world.view_files.len() + world.archive_files.len(), "every stored file may be hit");
    assert!(commits.iter().all(|path| path.as_ref().contains("_delta_log")) && commits.len() >= 8, "{commits:?}");
    assert!(world.view_files.len() >= 6 && world.archive_files.len() >= 6, "{parquet:?}");
    let (mut refused, mut answered, mut failed, mut published, mut hit) = (0, 0, 0, 0, BTreeSet::new());
    for _ in 0..flips {
        let which = world.dice.below((parquet.len() + commits.len()) as u64) as usize;
        if let Some(damaged) = world.view_files.get(which) {
            hit.insert(damaged.1.clone());
            let (lake, _) = world.flipped(&damaged.1).await;
            let (no, yes) = ask_all(&world, &lake, Some(damaged)).await;
            (refused, answered) = (refused + no, answered + yes);
        } else if let Some(damaged) = world.archive_files.get(which - world.view_files.len()) {
            hit.insert(damaged.path.clone());
            let (lake, byte) = world.flipped(&damaged.path).await;
            let (no, yes) = run_all(&world, &lake, damaged, byte).await;
            (failed, published) = (failed + no, published + yes);
        } else {
            let damaged = &commits[which - parquet.len()];
            hit.insert(damaged.clone());
            let (lake, _) = world.flipped(damaged).await;
            let (no, yes) = read_commits(&world, &lake, damaged).await;
            (refused, answered, failed) = (refused + no, answered + yes, failed + 2);
        }
    }
    println!(
        "{flips} flips in {} files in {:.1} s: {refused} answers refused, {answered} right; {failed} runs failed, {published} published",
        hit.len(),
        started.elapsed().as_secs_f64()
    );
    assert_eq!(hit.len(), parquet.len() + commits.len(), "every file was hit");
    assert!(refused > flips / 3 && answered > flips && failed > flips / 5 && published > flips / 10);
}
