//! Times a full recompute beside a bare scan of the same columns, and tells the peak memory.
//!
//! `recompute generate <dir> <millions>` writes an archive; then, each in a process of its own,
//! `recompute scan|minute|hour|fine <dir>`.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use polars::prelude as pl;
use seam_batch::job::{Archive, Context, Options, run};
use seam_batch::{compute, retain};
use seam_shared::Result;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::event::batch::{Column, EventBatch, Verdict};
use seam_shared::lake::archive::{ArchiveTable, NewFile};
use seam_shared::lake::archive_file;
use seam_shared::log::{Chunk, Offset};
use seam_shared::segment::SegmentRule;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{DimensionDefinition, Field, Source, StateDefinition, StateKind, View};
use seam_shared::view::value::{FieldType, Value};

const FILE_EVENTS: u64 = 262_144;
const START: i64 = 1_780_272_000_000_000; // 2026-06-01
const SIZES: [usize; 3] = [5, 20, 1000];

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn zipf(size: usize, exponent: f64) -> Vec<f64> {
    let mut sums: Vec<f64> = Vec::with_capacity(size);
    for i in 1..=size {
        sums.push(sums.last().unwrap_or(&0.0) + 1.0 / (i as f64).powf(exponent));
    }
    let total = sums[size - 1];
    sums.iter().map(|sum| sum / total).collect()
}

fn source() -> Arc<Source> {
    let types = [
        ("type", FieldType::String),
        ("region", FieldType::String),
        ("product", FieldType::String),
        ("value", FieldType::Decimal(2)),
    ];
    let field =
        |(name, field_type): (&str, FieldType)| Field { name: name.into(), path: vec![name.into()], field_type };
    Arc::new(Source {
        name: "clicks".to_owned(),
        id: None,
        time: vec!["ts".to_owned()],
        fields: types.map(field).to_vec(),
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    })
}

fn view(source: &Arc<Source>, name: &str, pane: Span, dimensions: usize) -> Arc<View> {
    let dimension = |field: usize| DimensionDefinition {
        name: source.fields[field].name.clone(),
        field,
        field_type: FieldType::String,
    };
    let states = vec![
        StateDefinition { kind: StateKind::Count, field: None },
        StateDefinition { kind: StateKind::Fixed { scale: 2 }, field: Some(3) },
    ];
    Arc::new(View {
        name: name.to_owned(),
        id: format!("{name}@0").into(),
        source: Arc::clone(source),
        filter: None,
        dimensions: (0..dimensions).map(dimension).collect(),
        pane,
        windows: vec![pane],
        states,
        measures: Vec::new(),
    })
}

/// The seeded click stream of a day: 2 % of the events are up to an hour late.
async fn generate(table: &ArchiveTable, source: &Source, events: u64) -> Result<()> {
    let weights = [vec![0.7, 0.9, 0.96, 0.99, 1.0], zipf(SIZES[1], 0.7), zipf(SIZES[2], 0.9)];
    let names = ["t", "region-", "p"];
    let dictionary = |d: usize| -> Vec<Value> {
        let values = (0..SIZES[d]).map(|i| Value::text(&format!("{}{i:04}", names[d])));
        std::iter::once(Value::Null).chain(values).collect()
    };
    let mut random = Random(7);
    let mut from = 0;
    while from < events {
        let to = (from + FILE_EVENTS).min(events);
        let mut batch =
            EventBatch { dictionaries: (0..3).map(|d| dictionary(d).into()).collect(), ..EventBatch::default() };
        let mut chunk = Chunk::at(Offset(from));
        let mut codes = [Vec::new(), Vec::new(), Vec::new()];
        let mut cents = Vec::new();
        for i in from..to {
            let arrival = START + (i128::from(i) * i128::from(Span::DAY.0) / i128::from(events)) as i64;
            let late = random.next() < 0.02;
            let delay = if late { 60e6 + random.next() * 3_540e6 } else { random.next() * 2e6 };
            batch.offsets.push(Offset(i));
            batch.log_times.push(Timestamp(arrival));
            batch.verdicts.push(Verdict::Counts);
            batch.times.push(Timestamp(arrival - delay as i64));
            batch.ids.push(None);
            chunk.push(Offset(i), Timestamp(arrival), b"{}");
            for (codes, weights) in codes.iter_mut().zip(&weights) {
                let place = random.next();
                codes.push(1 + weights.partition_point(|sum| *sum < place).min(weights.len() - 1) as u32);
            }
            cents.push(1 + (random.next() * random.next() * 20_000.0) as i128);
        }
        batch.columns.extend(codes.map(Column::Str));
        let valid = vec![true; cents.len()];
        batch.columns.push(Column::Decimal(cents, valid, 2));
        let content = archive_file::write(source, 0, &[(batch, chunk)], Offset(from)..Offset(to))?;
        let boundaries = (from..to).step_by(65_536).map(Offset).collect();
        table.commit_file(NewFile { partition: 0, from: Offset(from), to: Offset(to), boundaries, content }).await?;
        from = to;
    }
    Ok(())
}

fn scan(dir: &Path) -> u64 {
    let mut files: Vec<_> =
        std::fs::read_dir(dir.join("archive/clicks")).into_iter().flatten().flatten().map(|f| f.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "parquet"));
    files.sort();
    let mut rows = 0;
    for some in files.chunks(16) {
        let paths = some.iter().filter_map(|path| path.to_str()).map(pl::PlRefPath::new).collect();
        let columns = ["seam_time", "type", "region", "product", "value"].map(pl::col);
        let frame = pl::LazyFrame::scan_parquet_files(paths, pl::ScanArgsParquet::default());
        let frame = frame.and_then(|frame| frame.select(columns).collect()).expect("the archive is readable");
        rows += frame.height() as u64;
    }
    rows
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("").to_owned()
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let (what, dir) = (arguments[1].as_str(), Path::new(&arguments[2]));
    std::fs::create_dir_all(dir).expect("the directory can be made");
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(dir)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let source = source();
    let table = Arc::new(ArchiveTable::open(Arc::clone(&store), &source, "log-1", Arc::clone(&clock)).await?);
    let started = Instant::now();
    let view = match what {
        "generate" => {
            let millions: u64 = arguments[3].parse().expect("a number of millions");
            return generate(&table, &source, millions * 1_000_000).await;
        }
        "scan" => {
            let rows = scan(dir);
            println!("scan: {rows} rows, {:.2} s, {}", started.elapsed().as_secs_f64(), peak());
            return Ok(());
        }
        "minute" => view(&source, what, Span::MINUTE, 2),
        "hour" => view(&source, what, Span::HOUR, 3),
        _ => view(&source, what, Span::MINUTE, 3),
    };
    let archive = Archive { table, incarnation: "log-1".to_owned() };
    let context = Context {
        store,
        clock,
        archives: BTreeMap::from([("clicks".to_owned(), archive)]),
        views: vec![view],
        state: None,
        compute: compute::Settings::default(),
        retain: retain::Settings::default(),
    };
    let outcomes = run(&context, &Options { full: true, ..Options::default() }).await?;
    for outcome in outcomes {
        let seconds = started.elapsed().as_secs_f64();
        println!("{what}: {} rows, {} groups, {seconds:.2} s, {}", outcome.rows, outcome.groups, peak());
    }
    Ok(())
}
