//! Measures the embedded log and state: `cargo run --release -p seam-shared --example embedded_rates [directory]`.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use seam_shared::Result;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::embedded::Database;
use seam_shared::log::embedded::EmbeddedLog;
use seam_shared::log::{EventLog, NewRecord, Offset, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::embedded::EmbeddedState;
use seam_shared::state::{Progress, SegmentWrite, StateStore, ViewCommit, ViewId};
use seam_shared::time::Timestamp;
use seam_shared::view::aggregate::FixedStats;
use seam_shared::view::rows::{Dimension, Rows, States};
use seam_shared::view::value::Value;

const EVENTS: usize = 1_000_000;

#[tokio::main]
async fn main() -> Result<()> {
    let directory = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("seam-rates"), PathBuf::from);
    for appenders in [1, 4] {
        let database = Database::open(&directory.join(SystemClock.nonce()))?;
        log_rates(&database, appenders).await?;
        drop(database);
    }
    let database = Database::open(&directory.join(SystemClock.nonce()))?;
    state_rates(&database).await?;
    drop(database);
    let trimmed = directory.join("trimmed");
    trim_gives_space_back(&Database::open(&trimmed)?).await?;
    println!("disk: {} MiB", disk_bytes(&trimmed) >> 20);
    Ok(())
}

/// Appends what does not compress, and keeps the newest tenth of a million events all the time.
async fn trim_gives_space_back(database: &Database) -> Result<()> {
    let log = EmbeddedLog::open(database, Arc::new(SystemClock))?;
    log.open("clicks", 1).await?;
    let partition = Partition::new("clicks", 0);
    let mut noise = 1_u64;
    let started = Started::now();
    for _ in 0..EVENTS * 3 / 1000 {
        let mut value = || -> Bytes {
            let word = || {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (noise >> 16).to_le_bytes()
            };
            std::iter::repeat_with(word).take(30).flatten().collect()
        };
        let records = (0..1000).map(|_| NewRecord { partition: 0, value: value() }).collect();
        let places = log.append("clicks", records).await?;
        let end = places.last().map_or(0, |place| place.1.0);
        log.trim(&partition, Offset(end.saturating_sub(100_000))).await?;
    }
    print_rate("append and trim, 240 B of noise", EVENTS * 3, started);
    Ok(())
}

fn disk_bytes(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// A JSON event of 238 bytes.
fn event(number: usize) -> Bytes {
    let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let text = format!(
        r#"{{"id":"{hash:016x}","time":"2026-01-01T00:{:02}:{:02}.{:06}Z","page":"/products/{}","country":"{}","device":"mobile","browser":"firefox","amount":{}.{:02},"#,
        number / 60_000 % 60,
        number / 1000 % 60,
        number % 1_000_000,
        hash % 8000,
        ["DE", "FR", "US", "IN", "BR"][hash % 5],
        hash % 900,
        hash % 100
    );
    Bytes::from(format!("{text}\"note\":\"{:a<1$}\"}}", "", 228_usize.saturating_sub(text.len())))
}

async fn log_rates(database: &Database, appenders: usize) -> Result<()> {
    let log = Arc::new(EmbeddedLog::open(database, Arc::new(SystemClock))?);
    log.open("clicks", 1).await?;
    let events: Vec<Bytes> = (0..EVENTS).map(event).collect();
    let bytes = events.iter().map(Bytes::len).sum::<usize>() / EVENTS;
    let started = Started::now();
    let share = EVENTS / appenders;
    let tasks: Vec<_> = events
        .chunks(share)
        .map(|events| {
            let (log, events) = (Arc::clone(&log), events.to_vec());
            tokio::spawn(async move {
                for batch in events.chunks(1000) {
                    let records = batch.iter().map(|value| NewRecord { partition: 0, value: value.clone() });
                    log.append("clicks", records.collect()).await?;
                }
                Ok::<(), seam_shared::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|error| seam_shared::Error::internal("appender").because(error))??;
    }
    print_rate(&format!("append, {appenders} appenders, {bytes} B events"), EVENTS, started);
    drop(log);
    let log = EmbeddedLog::open(database, Arc::new(SystemClock))?;
    let partition = Partition::new("clicks", 0);
    let (started, mut position) = (Started::now(), Offset(0));
    while position.0 < EVENTS as u64 {
        position = log.read(&partition, position, 10_000, 8 << 20).await?.next;
    }
    print_rate("scan from disk", EVENTS, started);
    let started = Started::now();
    log.trim(&partition, Offset(EVENTS as u64 - 10_000)).await?;
    print_rate("trim", EVENTS, started);
    Ok(())
}

/// `rows` rows of a view with two dimensions and two states.
fn rows(rows: usize) -> Rows {
    let dimension = |values: usize| Dimension {
        codes: (0..rows).map(|row| (row % values) as u32).collect(),
        values: (0..values).map(|value| Value::text(&format!("value number {value}"))).collect(),
    };
    Rows {
        panes: (0..rows).map(|row| Timestamp(row as i64 / 2000 * 60_000_000)).collect(),
        dimensions: vec![dimension(2000.min(rows)), dimension(5)],
        states: vec![States::Count(vec![7; rows]), States::Fixed(vec![FixedStats::default(); rows])],
    }
}

async fn state_rates(database: &Database) -> Result<()> {
    let state = EmbeddedState::open(database)?;
    let (partition, view): (_, ViewId) = (Partition::new("clicks", 0), Arc::from("daily@1"));
    state.claim(&partition, &view, Offset(0)).await?;
    let write = |from: u64, segment: SegmentWrite| {
        let position = Offset(from + 1);
        let open = OpenSegment { start: segment.end.unwrap_or(segment.start), count: 1, max_timestamp: Timestamp(0) };
        let progress = Progress { position, floor: Offset(0), segment: open, anchor: None, excluded: None };
        vec![ViewCommit { view: Arc::clone(&view), from: Offset(from), progress, segments: vec![segment] }]
    };
    let full = rows(60_000);
    let started = Started::now();
    for from in 0..60 {
        let segment = SegmentWrite { start: Offset(from), end: Some(Offset(from + 1)), rows: full.clone() };
        state.commit(&partition, write(from, segment)).await?;
    }
    print_rate(&format!("close segments of 60000 rows, {} B each", full.encode().len()), 60, started);
    let open = |from: u64, rows: Rows| write(from, SegmentWrite { start: Offset(60), end: None, rows });
    state.commit(&partition, open(60, rows(5000))).await?;
    let small = rows(100);
    let started = Started::now();
    for from in 61..2061 {
        state.commit(&partition, open(from, small.clone())).await?;
    }
    print_rate("commits of 100 rows", 2000, started);
    let started = Started::now();
    for from in 2061..4061 {
        state.commit(&partition, open(from, small.clone())).await?;
        state.snapshot(&partition, std::slice::from_ref(&view)).await?;
    }
    print_rate("commits of 100 rows, each with a snapshot of 5000", 2000, started);
    Ok(())
}

/// Processor seconds of this process so far, where `/proc` tells (in ticks of 10 ms).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// When something began: on the wall, and of this process's processor time.
struct Started(Instant, f64);

impl Started {
    fn now() -> Started {
        Started(Instant::now(), processor_seconds())
    }
}

fn print_rate(what: &str, count: usize, started: Started) {
    let (wall, processor) = (started.0.elapsed().as_secs_f64(), processor_seconds() - started.1);
    let each = processor * 1e6 / count as f64;
    println!("{what}: {:.0}/s, {each:.2} us of processor time each", count as f64 / wall);
}
