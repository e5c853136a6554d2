//! What the state of 36,000 live groups costs in Redis: flushes, readers, bytes. Figures only; nothing here can fail by time.
use std::sync::Arc;
use std::time::{Duration, Instant};

use seam_generator::meter::processor_seconds;
use seam_services::Redis;
use seam_shared::config::RedisSettings;
use seam_shared::log::{Offset, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::redis::RedisState;
use seam_shared::state::{Committed, Progress, SegmentWrite, StateStore, ViewCommit, ViewId};
use seam_shared::time::Timestamp;
use seam_shared::view::aggregate::FixedStats;
use seam_shared::view::rows::{Dimension, Rows, States};
use seam_shared::view::value::Value;

const PANES: usize = 12;
const KEYS: usize = 3_000;
const GROUPS: usize = PANES * KEYS;

/// Rows of `keys` groups in each of some panes: type, region and product to a count and statistics of an amount.
fn rows(panes: std::ops::Range<usize>, keys: usize, turn: u64) -> Rows {
    let values = |name: &str, n: usize| (0..n).map(|i| Value::text(&format!("{name}-{i}"))).collect::<Vec<_>>();
    let mut dimensions = [values("type", 3), values("region", 10), values("product", 100)]
        .map(|values| Dimension { codes: Vec::new(), values });
    let (mut ends, mut counts, mut stats) = (Vec::new(), Vec::new(), Vec::new());
    for pane in panes {
        for key in 0..keys {
            ends.push(Timestamp(1_780_272_000_000_000 + pane as i64 * 10_000_000));
            let codes = [key % 3, key / 3 % 10, key / 30];
            dimensions.iter_mut().zip(codes).for_each(|(dimension, code)| dimension.codes.push(code as u32));
            let count = 1 + turn + (key % 90) as u64;
            counts.push(count);
            stats.push(FixedStats { count, sum: i128::from(count) * 4_321, min: 99, max: 99_900 });
        }
    }
    Rows { panes: ends, dimensions: dimensions.into(), states: vec![States::Count(counts), States::Fixed(stats)] }
}

struct Bench {
    redis: Redis,
    state: Arc<RedisState>,
    place: Partition,
    view: ViewId,
    position: u64,
}

/// Of the server: CPU time, commands that write, bytes.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    writes: u64,
    bytes: u64,
}

impl Bench {
    fn cost(&self) -> Cost {
        let info = self.redis.info();
        Cost { cpu: info.processor_seconds(), writes: info.calls("hset"), bytes: info.bytes() }
    }

    async fn commit(&mut self, rows: Rows, closes: bool) {
        let (from, to) = (self.position, self.position + 1);
        let end = closes.then_some(Offset(to));
        let mut progress = Progress::at(Offset(to));
        if !closes {
            progress.segment = OpenSegment { start: Offset(0), count: to, max_timestamp: Timestamp(0) };
        }
        let segments = vec![SegmentWrite { start: Offset(0), end, rows }];
        let commit = ViewCommit { view: self.view.clone(), from: Offset(from), progress, segments };
        let committed = self.state.commit(&self.place, vec![commit]).await.expect("commit");
        assert_eq!(committed, Committed::Applied);
        self.position = to;
    }

    /// Flushes of some rows, again and again.
    async fn flushes(&mut self, title: &str, times: u64, panes: usize, keys: usize) {
        let all: Vec<Rows> = (0..times).map(|turn| rows(0..panes, keys, turn)).collect();
        let (before, own, started) = (self.cost(), processor_seconds(), Instant::now());
        for rows in all {
            self.commit(rows, false).await;
        }
        let (wall, own) = (started.elapsed().as_secs_f64(), processor_seconds() - own);
        let after = self.cost();
        let (dirty, cpu) = (times as f64 * (panes * keys) as f64, after.cpu - before.cpu);
        println!(
            "{title}: {:.2} ms a flush, {:.0} flushes/s, {:.2} M rows/s; redis {:.2} ms a flush ({:.0} % of the wall time, {:.2} M \
             rows a CPU second); client {:.2} ms; {:.1} HSETs a flush for {panes} dirty panes",
            1e3 * wall / times as f64,
            times as f64 / wall,
            dirty / wall / 1e6,
            1e3 * cpu / times as f64,
            100.0 * cpu / wall,
            dirty / cpu / 1e6,
            1e3 * own / times as f64,
            (after.writes - before.writes) as f64 / times as f64,
        );
    }
}

fn open(redis: &Redis) -> Arc<RedisState> {
    let settings = RedisSettings::parse(&redis.url(), "bench").expect("a URL");
    Arc::new(RedisState::open(RedisSettings { timeout: Duration::from_secs(30), ..settings }))
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let Some(redis) = Redis::start(&[]) else { return };
    let state = open(&redis);
    let mut bench =
        Bench { redis, state, place: Partition::new("clicks", 0), view: Arc::from("by_product@bench"), position: 0 };
    bench.state.claim(&bench.place, &bench.view, Offset(0)).await.expect("claim");
    let empty = bench.cost().bytes;
    bench.commit(rows(0..PANES, KEYS, 0), false).await;
    let filled = bench.cost().bytes;
    println!("open segment: {:.0} bytes in redis a live group", (filled - empty) as f64 / GROUPS as f64);
    bench.flushes("flush of all 36,000 groups", 20, PANES, KEYS).await;
    bench.flushes("flush of 6,000 groups in 2 panes", 50, 2, KEYS).await;
    bench.flushes("flush of 1,000 groups in 2 panes", 200, 2, 500).await;
    bench.flushes("flush of 50 groups in 1 pane", 1_000, 1, 50).await;
    let reader = open(&bench.redis);
    for (title, panes) in
        [("a first snapshot", 0), ("a snapshot after a flush of 2 panes", 2), ("one with nothing new", 0)]
    {
        if panes > 0 {
            bench.commit(rows(0..panes, KEYS, 7), false).await;
        }
        let (before, own, started) = (bench.cost(), processor_seconds(), Instant::now());
        let found = reader.snapshot(&bench.place, std::slice::from_ref(&bench.view)).await.expect("snapshot");
        let wall = started.elapsed().as_secs_f64();
        let rows = found[0].as_ref().map_or(0, |held| held.open.len());
        println!(
            "{title}: {rows} rows in {:.2} ms, redis {:.2} ms, client {:.0} ms",
            1e3 * wall,
            1e3 * (bench.cost().cpu - before.cpu),
            1e3 * (processor_seconds() - own)
        );
    }
    let before = bench.cost().cpu;
    let started = Instant::now();
    bench.commit(rows(0..PANES, KEYS, 9), true).await;
    let wall = started.elapsed().as_secs_f64();
    let cpu = bench.cost().cpu - before;
    let mut closed = bench.cost().bytes;
    for _ in 0..20 {
        // What was unlinked is freed beside the server's main thread.
        tokio::time::sleep(Duration::from_millis(20)).await;
        closed = closed.min(bench.cost().bytes);
    }
    println!(
        "closing the segment: {:.2} ms, redis {:.2} ms; {:.1} bytes a group once closed",
        1e3 * wall,
        1e3 * cpu,
        closed.saturating_sub(empty) as f64 / GROUPS as f64
    );
}
