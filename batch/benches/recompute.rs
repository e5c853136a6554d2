//! A full recompute of three views beside engines that do less or the same: what an exact, verified, published view costs.
//!
//! `cargo bench --bench recompute` archives seeded shop events once (`SEAM_BENCH_EVENTS`, 10,000,000 by default; a run that is
//! interrupted is gone on with), then times, each in a process of its own and in turn, `SEAM_BENCH_ROUNDS` (5) times: Polars merely
//! scanning a view's columns; the recompute with all that it does (verify, fold, sort, write, publish); DuckDB, if Python has it,
//! grouping the same files into a Parquet file. It prints the best times, and the ratios as the median of all turns.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use mimalloc::MiMalloc;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use polars::prelude as pl;
use seam_batch::job::{Archive, Context, Options, run};
use seam_batch::{compute, retain};
use seam_generator::{Generator, meter};
use seam_shared::Result;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::event::decode::Decoder;
use seam_shared::lake::archive::{ArchiveTable, NewFile};
use seam_shared::lake::{archive_file, verified};
use seam_shared::log::{Chunk, Offset};
use seam_shared::segment::SegmentRule;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{DimensionDefinition, Field, Source, StateDefinition, StateKind, View};
use seam_shared::view::value::FieldType;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc; // as in the program

const FILE_EVENTS: u64 = 262_144;
const DIMENSIONS: [&str; 3] = ["type", "region", "product"];

/// A view to recompute, and what its recompute may cost as a multiple of the scan.
struct Case {
    name: &'static str,
    pane: Span,
    dimensions: usize,
    goal: f64,
}

const CASES: [Case; 3] = [
    Case { name: "minute x type x region", pane: Span::MINUTE, dimensions: 2, goal: 1.2 },
    Case { name: "hour x type x region x product", pane: Span::HOUR, dimensions: 3, goal: 2.0 },
    Case { name: "minute x type x region x product", pane: Span::MINUTE, dimensions: 3, goal: 4.0 },
];

/// What a process that ran one stage took.
#[derive(Clone, Copy)]
struct Took {
    rows: u64,
    wall: f64,
    cpu: f64,
    megabytes: f64,
}

fn source() -> Arc<Source> {
    let field = |(name, path, field_type): (&str, &str, FieldType)| Field::new(name, vec![path.into()], field_type);
    let fields = [
        ("type", "event_type", FieldType::String),
        ("region", "region", FieldType::String),
        ("product", "product", FieldType::String),
        ("value", "value", FieldType::Decimal(2)),
    ];
    Arc::new(Source {
        name: "clicks".to_owned(),
        id: Some(vec!["event_id".to_owned()]),
        time: vec!["ts".to_owned()],
        fields: fields.map(field).to_vec(),
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    })
}

fn view(source: &Arc<Source>, case: &Case) -> Arc<View> {
    let dimension = |field: usize| DimensionDefinition {
        name: source.fields[field].name.clone(),
        field,
        field_type: FieldType::String,
    };
    let states = vec![
        StateDefinition::new(StateKind::Count, None),
        StateDefinition::new(StateKind::Fixed { scale: 2 }, Some(3)),
    ];
    Arc::new(View {
        name: case.name.replace(' ', ""),
        id: format!("{}@0", case.name.replace(' ', "")).into(),
        source: Arc::clone(source),
        filter: None,
        dimensions: (0..case.dimensions).map(dimension).collect(),
        keyed: false,
        count_window: None,
        pane: case.pane,
        windows: vec![case.pane],
        states,
        measures: Vec::new(),
    })
}

/// Archives the events of a day in the files of an archiver. Goes on where an interrupted run has stopped.
async fn generate(table: &ArchiveTable, source: &Arc<Source>, events: u64) -> Result<u64> {
    let archived = table.latest().await?.position(0).map_or(0, |position| position.0);
    let mut generator = Generator::new(7, events);
    (&mut generator).take(archived as usize).for_each(drop);
    let mut line = Vec::new();
    for from in (archived..events).step_by(FILE_EVENTS as usize) {
        if from % (FILE_EVENTS * 16) == 0 {
            eprintln!("  {from} of {events} events are archived");
        }
        let to = (from + FILE_EVENTS).min(events);
        let mut chunk = Chunk::at(Offset(from));
        for (i, event) in (from..to).zip(&mut generator) {
            let since = i128::from(i) * i128::from(Span::DAY.0) / i128::from(events);
            line.clear();
            event.write_json(&mut line);
            chunk.push(Offset(i), Timestamp(seam_generator::START * 1000 + since as i64), line.trim_ascii_end());
        }
        let batch = Decoder::new(Arc::clone(source)).decode(&chunk);
        let content = archive_file::write(source, 0, &[(batch, chunk)], Offset(from)..Offset(to))?;
        let boundaries = (from..to).step_by(65_536).map(Offset).collect();
        table
            .commit_file(NewFile {
                partition: 0,
                from: Offset(from),
                to: Offset(to),
                boundaries,
                content,
                anchor: None,
            })
            .await?;
    }
    Ok(events)
}

fn archive_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("archive/clicks")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "parquet"));
    files.sort();
    files
}

/// Polars, so many files at a time that memory stays bounded too.
fn scan(folder: &Path, case: &Case) -> u64 {
    let wanted = DIMENSIONS[..case.dimensions].iter().chain(&["seam_time", "value"]);
    let columns: Vec<pl::Expr> = wanted.map(|name| pl::col(*name)).collect();
    let files = archive_files(folder);
    let scanned = files.chunks(16).map(|some| {
        let paths = some.iter().filter_map(|path| path.to_str()).map(pl::PlRefPath::new).collect();
        let frame = pl::LazyFrame::scan_parquet_files(paths, pl::ScanArgsParquet::default());
        frame.and_then(|frame| frame.select(&columns).collect()).expect("the archive is readable").height() as u64
    });
    scanned.sum()
}

/// The same groups and figures by DuckDB, as a Parquet file.
fn duckdb(folder: &Path, case: &Case) -> Option<Took> {
    let dimensions = DIMENSIONS[..case.dimensions].join(", ");
    let unit = if case.pane == Span::MINUTE { "minute" } else { "hour" };
    let (files, out) = (folder.join("archive/clicks/*.parquet"), folder.join("duckdb.parquet"));
    let program = format!(
        "import duckdb, time, resource\nstarted = time.time()\n\
         duckdb.execute(\"\"\"SET enable_progress_bar=false; SET TimeZone='UTC'; COPY (SELECT date_trunc('{unit}', seam_time) AS pane, {dimensions}, \
         count(*), count(value), sum(value), min(value), max(value) FROM read_parquet('{}') WHERE seam_verdict = 'counts' \
         GROUP BY ALL ORDER BY ALL) TO '{}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)\"\"\")\n\
         wall = time.time() - started\nused = resource.getrusage(resource.RUSAGE_SELF)\n\
         rows = duckdb.execute(\"SELECT count(*) FROM read_parquet('{}')\").fetchone()[0]\n\
         print(rows, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)",
        files.display(),
        out.display(),
        out.display(),
    );
    took(Command::new("python3").args(["-c", &program]))
}

/// Runs a stage in this process and tells what it took.
async fn stage(name: &str, folder: &Path, events: u64) -> Result<()> {
    std::fs::create_dir_all(folder).expect("the cache folder can be made");
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let source = source();
    let table = Arc::new(ArchiveTable::open(Arc::clone(&store), &source, "log-1", Arc::clone(&clock)).await?);
    let started = Instant::now();
    let (what, case) = name.split_once(' ').unwrap_or((name, "0"));
    let case = &CASES[case.parse::<usize>().expect("a case's number")];
    let rows = match what {
        "generate" => generate(&table, &source, events).await?,
        "scan" => scan(folder, case),
        "verify" => {
            let mut rows = 0;
            for file in &table.latest().await?.files {
                verified::get(store.as_ref(), &file.path, &file.blake3).await?;
                rows += file.rows;
            }
            rows
        }
        _ => {
            let archive = Archive { table, incarnation: "log-1".to_owned() };
            let context = Context {
                store,
                clock,
                archives: BTreeMap::from([("clicks".to_owned(), archive)]),
                views: vec![view(&source, case)],
                state: None,
                compute: compute::Settings::default(),
                retain: retain::Settings::default(),
                runs: Arc::default(),
            };
            let outcomes = run(&context, &Options { full: true, ..Options::default() }).await?;
            assert_eq!(outcomes[0].rows, events, "every event is counted");
            outcomes[0].groups
        }
    };
    let wall = started.elapsed().as_secs_f64();
    let peak = meter::peak_bytes() as f64 / f64::from(1 << 20);
    println!("{rows} {wall} {} {peak}", meter::processor_seconds());
    Ok(())
}

/// What a process says of itself in its last line.
fn took(command: &mut Command) -> Option<Took> {
    let output = command.stderr(Stdio::inherit()).output().ok()?;
    if !output.status.success() {
        eprintln!("  {:?} ended with {}", command.get_args().take(2).collect::<Vec<_>>(), output.status);
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.lines().last()?.split(' ').map_while(|number| number.parse::<f64>().ok());
    let (rows, wall) = (numbers.next()? as u64, numbers.next()?);
    Some(Took { rows, wall, cpu: numbers.next()?, megabytes: numbers.next()? })
}

fn best(rounds: &[Option<Took>]) -> Option<Took> {
    rounds.iter().flatten().copied().min_by(|a, b| a.wall.total_cmp(&b.wall)).map(|best| {
        let megabytes = rounds.iter().flatten().map(|took| took.megabytes).fold(0.0, f64::max);
        let cpu = rounds.iter().flatten().map(|took| took.cpu).fold(f64::INFINITY, f64::min);
        Took { megabytes, cpu, ..best }
    })
}

fn line(name: &str, took: Option<Took>) {
    match took {
        Some(Took { rows, wall, cpu, megabytes }) => {
            println!("  {name:<10} {wall:>7.2} s wall {cpu:>7.2} s cpu {megabytes:>7.0} MB peak {rows:>10} rows");
        }
        None => println!("  {name:<10} SKIPPED (it needs python3 with the package of that name)"),
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn compare(folder: &Path, events: u64) {
    let child = |name: &str| {
        let this = std::env::current_exe().expect("a bench has a path");
        let mut command = Command::new(this);
        took(command.args(["--stage", name]).arg(folder).arg(events.to_string())).expect("the stage runs")
    };
    let complete = folder.join("complete");
    if !complete.exists() {
        line("generate", Some(child("generate")));
        std::fs::write(&complete, "").expect("the cache folder can be written");
    }
    let bytes: u64 = archive_files(folder).iter().filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum();
    let rounds = setting("SEAM_BENCH_ROUNDS", 5);
    println!("{events} events in {} files, {} MB; best of {rounds}", archive_files(folder).len(), bytes >> 20);
    child("verify"); // from now on the files are in the page cache
    line("verify", Some(child("verify")));
    for (i, case) in CASES.iter().enumerate() {
        let rounds: Vec<[Option<Took>; 3]> = (0..rounds)
            .map(|_| {
                let _ = std::fs::remove_dir_all(folder.join("views"));
                [Some(child(&format!("scan {i}"))), Some(child(&format!("recompute {i}"))), duckdb(folder, case)]
            })
            .collect();
        let of = |what: usize| rounds.iter().map(|round| round[what]).collect::<Vec<_>>();
        let [scan, recompute, duckdb] = [of(0), of(1), of(2)];
        println!("{}", case.name);
        line("scan", best(&scan));
        line("recompute", best(&recompute));
        line("duckdb", best(&duckdb));
        if let Some((wall, cpu)) = ratio(&recompute, &scan) {
            println!("  recompute / scan   {wall:.2} wall {cpu:.2} cpu (goal {:.1} wall)", case.goal);
        }
        if let Some((wall, cpu)) = ratio(&recompute, &duckdb) {
            println!("  recompute / duckdb {wall:.2} wall {cpu:.2} cpu");
            let groups = |all: &[Option<Took>]| all.iter().flatten().map(|took| took.rows).collect::<Vec<_>>();
            assert_eq!(groups(&duckdb), groups(&recompute), "both find the same groups");
        }
    }
}

/// What one takes as a multiple of what the other takes in the same round: the median of all rounds, by wall and by processor time. The
/// speed of a machine that others use too swings more from minute to minute than within a round.
fn ratio(those: &[Option<Took>], others: &[Option<Took>]) -> Option<(f64, f64)> {
    let pairs: Option<Vec<(Took, Took)>> = those.iter().zip(others).map(|(one, other)| one.zip(*other)).collect();
    let pairs = pairs?;
    let median = |part: fn(&Took) -> f64| {
        let mut parts: Vec<f64> = pairs.iter().map(|(one, other)| part(one) / part(other)).collect();
        parts.sort_unstable_by(f64::total_cmp);
        parts.get(parts.len() / 2).copied()
    };
    median(|took| took.wall).zip(median(|took| took.cpu))
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, name, folder, events] = arguments.as_slice()
        && flag == "--stage"
    {
        return stage(name, Path::new(folder), events.parse().expect("a number of events")).await;
    }
    let events = setting("SEAM_BENCH_EVENTS", 10_000_000);
    compare(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recompute-sealed-{events}")), events);
    Ok(())
}
