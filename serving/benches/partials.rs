//! Figures: a distinct and a quantile over 30 days by hour, and the state of one key of a million, over HTTP's router in process.
//!
//! `cargo bench -p seam-serving --bench partials -- [month | keyed]` prints p50 and p99 once warm, and when asked for the first time;
//! of the keyed view the bytes that a look-up reads from files on disk; and the peak memory.
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use seam_serving::{Serving, Settings, Stores, http};
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::config;
use seam_shared::lake::counting::CountingStore;
use seam_shared::lake::views::{Publication, ViewFile, ViewTable};
use seam_shared::log::{Offset, OffsetVector, Partition};
use seam_shared::state::memory::MemoryState;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::partial::Lifted;
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;
use tower::ServiceExt;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

const CONFIG: &str = "
version: 1
name: bench
sources:
  shop:
    map: { time: $.time }
    fields: { region: string, user: string, price: decimal(2) }
views:
  regions:
    from: shop
    dimensions: [region]
    pane: 15m
    windows: [1h]
    measures: { events: count(), users: distinct(user), price: quantiles(price) }
  users:
    from: shop
    dimensions: [user]
    keyed: true
    pane: 1h
    windows: [1h]
    measures: { events: count(), price: stats(price), latest: last(price) }
metrics:
  users: { view: regions, measure: users }
  price.p95: { view: regions, measure: price.p95 }
  of.user: { view: users, measure: events }
";
/// The end of a day of 2026.
const NOW: Timestamp = Timestamp(1_767_312_000_000_000);
const DAYS: i64 = 30;
const REGIONS: usize = 20;
/// Events of a region in a pane.
const EVENTS: usize = 100;
const USERS: u64 = 1_000_000;
/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(3);

/// Numbers that look random and are the same on every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ mixed >> 27) % n
    }
}

fn lift(groups: &mut Groups, view: &View, row: usize, (user, price): (&Value, i128), time: Timestamp) {
    let price = Value::Decimal(price, 2);
    for (state, column) in view.states.iter().zip(groups.states_mut()) {
        let name = state.field.map(|field| view.source.fields[field].name.as_str());
        let value = match name {
            Some("user") => user,
            Some(_) => &price,
            None => &Value::Null,
        };
        column.lift_event(row, state, &Lifted { time, partition: 0, offset: Offset(0), value, retracted: false });
    }
}

/// A day of 20 regions, a hundred events each a quarter of an hour.
fn regions(view: &View, day: Timestamp, chance: &mut Chance) -> Rows {
    let mut groups = Groups::new(1, &view.kinds());
    let codes: Vec<u32> = (0..REGIONS).map(|r| groups.intern(0, &Value::text(&format!("region{r:02}")))).collect();
    let mut pane = day.plus(view.pane);
    while pane <= day.plus(Span::DAY) {
        for code in &codes {
            let row = groups.row(pane, &[*code]);
            for _ in 0..EVENTS {
                let user = Value::text(&format!("user-{}", chance.below(USERS)));
                lift(&mut groups, view, row, (&user, chance.below(100_000).into()), pane.minus(Span(1)));
            }
        }
        pane = pane.plus(view.pane);
    }
    groups.into_rows()
}

/// A day on which a tenth of the users, and all of them on the last, have an event.
fn users(view: &View, day: Timestamp, everybody: bool, chance: &mut Chance) -> Rows {
    let mut groups = Groups::new(1, &view.kinds());
    for number in (0..USERS).filter(|n| everybody || n % 10 == day.0.unsigned_abs() / Span::DAY.0.unsigned_abs() % 10) {
        let user = Value::text(&format!("user-{number:07}"));
        let code = groups.intern(0, &user);
        let time = day.plus(Span(chance.below(Span::DAY.0.unsigned_abs()) as i64));
        let row = groups.row(view.pane_of(time), &[code]);
        lift(&mut groups, view, row, (&user, chance.below(100_000).into()), time);
    }
    groups.into_rows()
}

async fn ask(router: &Router, uri: &str) -> Result<Vec<u8>, Failure> {
    let response = router.clone().oneshot(Request::get(uri).body(Body::empty())?).await?;
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await?.to_vec();
    if !status.is_success() {
        return Err(format!("{uri}: {status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(body)
}

/// Asks for some time and prints how long it took.
async fn time(name: &str, router: &Router, url: impl Fn(usize) -> String) -> Result<usize, Failure> {
    let begun = Instant::now();
    ask(router, &url(0)).await?;
    let first = begun.elapsed();
    let (begun, mut taken) = (Instant::now(), Vec::new());
    while begun.elapsed() < TIME {
        let url = url(taken.len() + 1);
        let asked = Instant::now();
        ask(router, &url).await?;
        taken.push(asked.elapsed());
    }
    taken.sort_unstable();
    let at = |part: usize| taken[taken.len() * part / 100].as_secs_f64() * 1e3;
    let first = first.as_secs_f64() * 1e3;
    println!(
        "  {name:44} first {first:8.2} ms   p50 {:7.2} ms   p99 {:7.2} ms   {} queries",
        at(50),
        at(99),
        taken.len()
    );
    Ok(taken.len() + 1)
}

async fn publish(
    lake: &Arc<dyn ObjectStore>,
    view: &Arc<View>,
    mut rows: impl FnMut(Timestamp, bool) -> Rows,
) -> Result<Vec<ViewFile>, Failure> {
    let table = ViewTable::new(lake.clone(), view.clone(), Arc::new(ManualClock::at(NOW)));
    let mut files = Vec::new();
    for day in 1..=DAYS {
        let from = NOW.minus(Span(day * Span::DAY.0));
        files.push(table.put(&rows(from, day == 1), from, from.plus(Span::DAY)).await?);
    }
    let cut = OffsetVector([(0, Offset(1_000_000))].into_iter().collect());
    let (incarnation, info) = ("bench".to_owned(), serde_json::Map::new());
    table.publish(Publication { parent: None, cut, incarnation, files: files.clone(), info }).await?;
    Ok(files)
}

async fn serving(lake: Arc<dyn ObjectStore>) -> Result<Router, Failure> {
    let config = Arc::new(config::load(CONFIG, "bench.yaml").map_err(|report| report.to_string())?);
    let state = Arc::new(MemoryState::default());
    for view in &config.views {
        use seam_shared::state::StateStore;
        state.claim(&Partition::new("shop", 0), &view.id, Offset(1_000_000)).await?;
    }
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let settings = Settings::default();
    let serving = Serving::new(config, Stores { log: None, state, lake }, clock, Arc::new(Telemetry::new()), settings);
    serving.refresh().await?;
    Ok(http::router(Arc::new(serving)))
}

async fn month() -> Result<(), Failure> {
    let config = config::load(CONFIG, "bench.yaml").map_err(|report| report.to_string())?;
    let lake: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut chance = Chance(7);
    publish(&lake, &config.views[0], |day, _| regions(&config.views[0], day, &mut chance)).await?;
    let mut nothing = Chance(1);
    let tiny = |view: &View, day: Timestamp, chance: &mut Chance| {
        let mut groups = Groups::new(1, &view.kinds());
        let user = Value::text("nobody");
        let code = groups.intern(0, &user);
        let row = groups.row(view.pane_of(day), &[code]);
        lift(&mut groups, view, row, (&user, chance.below(9).into()), day);
        groups.into_rows()
    };
    publish(&lake, &config.views[1], |day, _| tiny(&config.views[1], day, &mut nothing)).await?;
    let router = serving(lake).await?;
    println!("30 days by hour: {REGIONS} regions, {EVENTS} events each a quarter of an hour ({} rows)", 96 * DAYS * 20);
    for metric in ["users", "price.p95"] {
        for (name, rest) in
            [("of everybody", ""), ("of one region", "&dimension=region:region07"), ("by region", "&dimension=region")]
        {
            // by region, 14,400 rows come in pages of ten thousand
            let url = |n: usize| {
                format!(
                    "/api/analytics/metrics/{metric}?from=now-30d&step=1h&window=1h{rest}&limit={}",
                    10_000 - n % 5_000
                )
            };
            time(&format!("{metric} {name}"), &router, url).await?;
        }
    }
    Ok(())
}

async fn keyed() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let disk: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder.path())?);
    let lake = Arc::new(CountingStore::new(disk));
    let as_store: Arc<dyn ObjectStore> = lake.clone();
    let config = config::load(CONFIG, "bench.yaml").map_err(|report| report.to_string())?;
    let view = config.views[1].clone();
    let mut chance = Chance(9);
    let files = publish(&as_store, &view, |day, everybody| users(&view, day, everybody, &mut chance)).await?;
    let (bytes, rows) = files.iter().fold((0, 0), |(b, r), file| (b + file.bytes, r + file.rows));
    let made = memory("VmHWM:")?;
    let router = serving(as_store.clone()).await?;
    println!("{USERS} keys: {rows} rows in {} files, {:.1} MB", files.len(), bytes as f64 / 1e6);
    lake.take();
    let user = |n: usize| format!("user-{:07}", n as u64 * 104_729 % USERS);
    ask(&router, &format!("/api/analytics/views/users/{}", user(0))).await?;
    let cold = lake.take();
    println!("  the first look-up reads {:.2} MB in {} requests: all footers", cold.bytes as f64 / 1e6, cold.reads);
    for (name, rest) in [("state of a user, 30 days", ""), ("the last day of a user", "?window=1d")] {
        let asked = time(name, &router, |n| format!("/api/analytics/views/users/{}{rest}", user(n + 1))).await?;
        let read = lake.take();
        let each = read.bytes as f64 / asked as f64;
        println!(
            "    {:.0} KB in {:.1} requests each: {:.2} % of the view's bytes",
            each / 1e3,
            read.reads as f64 / asked as f64,
            each / bytes as f64 * 100.0
        );
    }
    let metric = |n: usize| format!("/api/analytics/metrics/of.user?window=1d&dimension=user:{}", user(n + 5));
    time("a metric of a user, the last day", &router, metric).await?;
    println!("memory: {} MB now, {made} MB at the peak of making the files", memory("VmRSS:")?);
    Ok(())
}

/// A figure of this process's memory, in MB.
fn memory(name: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
    Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>()? / 1_024)
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    if "month".contains(&wanted) {
        runtime.block_on(month())?;
    }
    if "keyed".contains(&wanted) {
        runtime.block_on(keyed())?;
    }
    Ok(())
}
