//! How fast merged answers are beside a bare handler that returns the same bytes, and how soon after a commit; all in one run.
//!
//! `cargo bench -p seam-serving --bench answer` prints queries a second over loopback TCP (kept connections, one client thread)
//! and per second of the server's processor time, once warm; p50 and p99 in process; and the peak memory. A part of a question's
//! name after `--` asks only that.
mod client;

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::routing::get;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use seam_serving::{Serving, Settings, Stores, http};
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::config::{self, Config};
use seam_shared::lake::views::{Publication, ViewTable};
use seam_shared::log::{Offset, OffsetVector, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{Committed, Progress, SegmentWrite, StateStore, ViewCommit};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use client::{Asked, Failure, TIME, memory, percentiles, rates, serve};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONFIG: &str = "
version: 1
name: bench
sources:
  shop:
    map: { id: $.id, time: $.time }
    fields: { kind: string, region: string, product: string, price: int }
views:
  sales:
    from: shop
    dimensions: [kind, region, product]
    pane: 1m
    windows: [1m, 5m, 1h]
    measures: { events: count(), price: stats(price) }
metrics:
  price: { view: sales, measure: price }
dashboard: { window: 5m, metrics: [price] }
";
/// Midday of a day of 2026.
const NOW: Timestamp = Timestamp(1_767_268_800_000_000);
/// Hours of history before the last five minutes, which the speed layer holds.
const HOURS: i64 = 2;

/// One row a minute for each of 20 kinds, 20 regions and 42 products: a million rows an hour.
fn rows(view: &View, from: Timestamp, to: Timestamp) -> Rows {
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    let names = |what: &str, n: usize| (0..n).map(|i| Value::text(&format!("{what}{i:03}"))).collect::<Vec<_>>();
    let values = [names("kind", 20), names("region", 20), names("product", 42)];
    let codes: Vec<Vec<u32>> =
        values.iter().enumerate().map(|(d, values)| values.iter().map(|v| groups.intern(d, v)).collect()).collect();
    let mut pane = from.plus(Span::MINUTE);
    while pane <= to {
        for key in 0..20 * 20 * 42 {
            let row = groups.row(pane, &[codes[0][key / 840], codes[1][key / 42 % 20], codes[2][key % 42]]);
            for column in groups.states_mut() {
                column.lift(row, &Value::Int((key as i64 * 7919) % 1_000));
            }
        }
        pane = pane.plus(Span::MINUTE);
    }
    groups.into_rows()
}

const METRIC: &str = "/api/analytics/metrics/price";

/// What is asked, with the key and a limit (which makes queries of one key distinct) in the place of `{k}`.
const QUESTIONS: [(&str, &str); 4] = [
    ("one key, 5 minutes", "dimension=kind:{kind},region:{region},product:{product}"),
    ("one key, 1 hour by minute", "dimension=kind:{kind},region:{region},product:{product}&from=now-1h&window=1m"),
    ("kind and region, 1 hour by minute", "dimension=kind:{kind},region:{region}&from=now-1h&window=1m"),
    ("top products of a kind, 1 hour", "dimension=product,kind:{kind}&window=1h&order=-value"),
];

/// The URL of the `n`th of many distinct queries.
fn url(question: &str, n: usize) -> String {
    let part = |name: &str, number: usize| format!("{name}{number:03}");
    let query = question.replace("{kind}", &part("kind", n % 20)).replace("{region}", &part("region", n / 20 % 20));
    let query = query.replace("{product}", &part("product", n / 400 % 42));
    format!("{METRIC}?{query}&limit={}", 100 + n / 20 % 9_000)
}

fn config() -> Result<Arc<Config>, Failure> {
    Ok(Arc::new(config::load(CONFIG, "bench.yaml").map_err(|report| report.to_string())?))
}

fn serving(config: Arc<Config>, state: Arc<MemoryState>, lake: Arc<dyn ObjectStore>, settings: Settings) -> Serving {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    Serving::new(config, Stores { log: None, state, lake }, clock, Arc::new(Telemetry::new()), settings)
}

/// A generation of two hours and five minutes of speed state after it.
async fn history() -> Result<Arc<Serving>, Failure> {
    let config = config()?;
    let view = config.views[0].clone();
    let lake: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let state = Arc::new(MemoryState::default());
    let table = ViewTable::new(lake.clone(), view.clone(), Arc::new(ManualClock::at(NOW)));
    let seam = NOW.minus(Span(5 * Span::MINUTE.0));
    let mut files = Vec::new();
    for hour in 0..HOURS {
        let to = seam.minus(Span(hour * Span::HOUR.0));
        let from = to.minus(Span::HOUR);
        files.push(table.put(&rows(&view, from, to), from, to).await?);
    }
    let cut = OffsetVector([(0, Offset(1_000_000))].into_iter().collect());
    let (incarnation, info) = ("bench".to_owned(), serde_json::Map::new());
    table.publish(Publication { parent: None, cut, incarnation, files, info }).await?;
    state.claim(&Partition::new("shop", 0), &view.id, Offset(1_000_000)).await?;
    commit(&state, &view, 1_000_000, (1_000_000, 1_084_000), rows(&view, seam, NOW)).await?;
    let serving = serving(config, state, lake, Settings::default());
    serving.refresh().await?;
    Ok(Arc::new(serving))
}

/// Commits `rows` of the open segment that begins at `start`, for the offsets from the first to the second.
async fn commit(
    state: &MemoryState,
    view: &View,
    start: u64,
    (from, to): (u64, u64),
    rows: Rows,
) -> Result<(), Failure> {
    let start = Offset(start);
    let segment = OpenSegment { start, count: to - start.0, max_timestamp: NOW };
    let progress = Progress { position: Offset(to), floor: start, segment, anchor: None, excluded: None };
    let segments = vec![SegmentWrite { start, end: None, rows }];
    let commit = ViewCommit { view: view.id.clone(), from: Offset(from), progress, segments };
    match state.commit(&Partition::new("shop", 0), vec![commit]).await? {
        Committed::Applied => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

async fn ask(router: &Router, uri: &str) -> Result<Vec<u8>, Failure> {
    let response = router.clone().oneshot(Request::get(uri).body(Body::empty())?).await?;
    if !response.status().is_success() {
        return Err(format!("{uri}: {}", response.status()).into());
    }
    Ok(axum::body::to_bytes(response.into_body(), usize::MAX).await?.to_vec())
}

fn print_times(name: &str, mut taken: Vec<Duration>) {
    let (half, most) = percentiles(&mut taken);
    println!("  {name:36} p50 {half:7.3} ms   p99 {most:7.3} ms   in process, {} queries", taken.len());
}

/// Asks in process for some time.
fn time_in_process(
    runtime: &Runtime,
    name: &str,
    router: &Router,
    url: impl Fn(usize) -> String,
) -> Result<(), Failure> {
    let (begun, mut taken) = (Instant::now(), Vec::new());
    while begun.elapsed() < TIME {
        let url = url(taken.len());
        let asked = Instant::now();
        runtime.block_on(ask(router, &url))?;
        taken.push(asked.elapsed());
    }
    print_times(name, taken);
    Ok(())
}

/// Asks one key right after each commit of a hundred rows to an open segment of `open` rows.
async fn after_commits(open: usize) -> Result<(), Failure> {
    let config = config()?;
    let view = config.views[0].clone();
    let state = Arc::new(MemoryState::default());
    let all = rows(&view, NOW.minus(Span(4 * Span::MINUTE.0)), NOW);
    let picks = |from: usize, n: usize| (from..from + n).map(|i| (i * 7 % open) as u32).collect::<Vec<_>>();
    state.claim(&Partition::new("shop", 0), &view.id, Offset(0)).await?;
    commit(&state, &view, 0, (0, 1), all.gather(&picks(0, open))).await?;
    let settings = Settings { share_snapshots_for: Duration::ZERO, ..Settings::default() };
    let serving = serving(config, state.clone(), Arc::new(InMemory::new()), settings);
    serving.refresh().await?;
    let router = http::router(Arc::new(serving));
    let (begun, mut position, mut taken) = (Instant::now(), 1, Vec::new());
    while begun.elapsed() < TIME {
        commit(&state, &view, 0, (position, position + 100), all.gather(&picks(taken.len() * 100, 100))).await?;
        position += 100;
        let url = url(QUESTIONS[0].1, taken.len());
        let asked = Instant::now();
        ask(&router, &url).await?;
        taken.push(asked.elapsed());
    }
    print_times(&format!("one key, {open} open rows"), taken);
    Ok(())
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let router = http::router(runtime.block_on(history())?);
    let address = serve("serving", router.clone())?;
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (name, question) in QUESTIONS.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let body = Bytes::from(runtime.block_on(ask(&router, &url(question, 7)))?);
        println!("{name}");
        let bare = serve("bare", Router::new().route(METRIC, get(move || ready(body.clone()))))?;
        let (same, other) = (|_| url(question, 7), |n| url(question, n));
        rates(&[
            Asked { name: "a bare handler, the same bytes", address: bare, tag: None, url: &same },
            Asked { name: "the same query again", address, tag: None, url: &same },
            Asked { name: "every query different", address, tag: None, url: &other },
        ])?;
        time_in_process(&runtime, "the same query again", &router, |_| url(question, 8))?;
        time_in_process(&runtime, "every query different", &router, |n| url(question, n + 1_000_003))?;
    }
    println!("right after a commit of 100 rows");
    for open in [5_000, 50_000] {
        runtime.block_on(after_commits(open))?;
    }
    println!(
        "memory: {} MB now, {} MB at its peak (with the making of 2 million rows)",
        memory("VmRSS:")?,
        memory("VmHWM:")?
    );
    Ok(())
}
