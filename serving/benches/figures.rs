//! The figures of a view with 100,000 live groups and thirty days of history, each beside a bare handler that returns the same bytes and
//! beside DuckDB on the same files, in one run; and how long single metrics take while generations are published.
//!
//! `cargo bench -p seam -p seam-serving --bench figures` (`SEAM_BENCH_EVENTS`: events of the last day, 50,000,000 by default, which are some
//! 20 million rows; `SEAM_BENCH_DAY`: of each day before, 1,000,000). A part of a question's name after `--` asks only that; `publishing` is one.
mod client;
#[path = "figures/duckdb.rs"]
mod duckdb;
#[path = "figures/history.rs"]
mod history;
#[path = "figures/publishing.rs"]
mod publishing;

use std::future::ready;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use seam_generator::{REGIONS, TYPES};
use seam_serving::{Settings, http};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use client::{Asked, Connection, Failure, TIME, memory, percentiles, rates, serve};
use history::{DAYS, Sizes, World};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VALUE: &str = "/api/analytics/metrics/value";
const EVENTS: &str = "/api/analytics/metrics/events";

/// Something that people ask.
struct Question {
    name: &'static str,
    /// The URLs of the `n`th time, no two times the same.
    urls: fn(usize) -> Vec<String>,
    /// The same in SQL.
    sql: fn() -> Vec<String>,
}

const QUESTIONS: [Question; 5] = [
    Question { name: "dashboard of 12 panels, 24 h by minute", urls: dashboard, sql: dashboard_sql },
    Question { name: "top 10 products of 30 days", urls: top, sql: top_sql },
    Question { name: "top 10 products of 29 days, to the minute", urls: top_cut, sql: top_cut_sql },
    Question { name: "one metric now", urls: single, sql: single_sql },
    Question { name: "a whole day by type and region", urls: whole_day, sql: whole_day_sql },
];

/// What the panels of a dashboard are sliced to.
fn panels() -> Vec<(&'static str, String)> {
    let types = TYPES.iter().map(|name| (VALUE, format!("type:{name}")));
    let regions = REGIONS.iter().take(5).map(|name| (VALUE, format!("region:{name}")));
    types.chain(regions).chain([(VALUE, String::new()), (EVENTS, String::new())]).collect()
}

fn dashboard(n: usize) -> Vec<String> {
    // Another range, by up to twenty minutes in a day; a limit beyond the rows makes the question one that nobody asked.
    let (minutes, limit) = (1_440 + n % 20, 1_500 + n % 8_000);
    let url = |(metric, slice): (&str, String)| {
        let dimension = if slice.is_empty() { String::new() } else { format!("&dimension={slice}") };
        format!("{metric}?from=now-{minutes}m&window=1m&step=1m&limit={limit}{dimension}")
    };
    panels().into_iter().map(url).collect()
}

fn at(span: &str) -> String {
    format!("TIMESTAMP '{}' - INTERVAL {span}", history::now().to_rfc3339().replace(['T', 'Z'], " ").trim())
}

fn dashboard_sql() -> Vec<String> {
    let panel = |(metric, slice): (&str, String)| {
        let figures =
            if metric == EVENTS { "sum(s0_count)" } else { "sum(s1_count), sum(s1_sum), min(s1_min), max(s1_max)" };
        let slice = slice.split_once(':').map_or(String::new(), |(name, value)| format!("AND {name} = '{value}'"));
        format!(
            "SELECT epoch_us(pane_end), {figures} FROM sales WHERE pane_end > {} {slice} GROUP BY 1 ORDER BY 1",
            at("24 HOUR")
        )
    };
    panels().into_iter().map(panel).collect()
}

fn top(n: usize) -> Vec<String> {
    vec![format!("{VALUE}?dimension=product&window={DAYS}d&order=-value&top=10&limit={}", 10 + n % 9_000)]
}

fn top_sql() -> Vec<String> {
    let from = at("30 DAY");
    vec![format!("SELECT product, sum(s1_sum) FROM sales WHERE pane_end > {from} GROUP BY 1 ORDER BY 2 DESC LIMIT 10")]
}

/// Neither end lies on an hour, and each time they are others.
fn top_cut(n: usize) -> Vec<String> {
    let (at, limit) = (197 + n % 40, 10 + n % 9_000);
    vec![format!("{VALUE}?dimension=product&window=29d&at=now-{at}m&order=-value&top=10&limit={limit}")]
}

fn top_cut_sql() -> Vec<String> {
    let times = format!("pane_end > {} AND pane_end <= {}", at("41957 MINUTE"), at("197 MINUTE"));
    vec![format!("SELECT product, sum(s1_sum) FROM sales WHERE {times} GROUP BY 1 ORDER BY 2 DESC LIMIT 10")]
}

fn single(n: usize) -> Vec<String> {
    let (kind, region, product) = (TYPES[n % 5], REGIONS[n / 5 % 20], n / 100 % 1_000);
    let limit = 100 + n / 100_000 % 9_000;
    vec![format!("{VALUE}?window=5m&dimension=type:{kind},region:{region},product:p{product:04}&limit={limit}")]
}

fn single_sql() -> Vec<String> {
    let (from, key) = (at("5 MINUTE"), "type = 'view' AND region = 'us-east' AND product = 'p0000'");
    vec![format!(
        "SELECT sum(s1_count), sum(s1_sum), min(s1_min), max(s1_max) FROM sales WHERE pane_end > {from} AND {key}"
    )]
}

fn whole_day(n: usize) -> Vec<String> {
    vec![format!("{VALUE}?dimension=type,region&window=1d&limit={}", 100 + n % 9_000)]
}

fn whole_day_sql() -> Vec<String> {
    let from = at("24 HOUR");
    vec![format!(
        "SELECT type, region, sum(s1_count), sum(s1_sum) FROM sales WHERE pane_end > {from} GROUP BY ALL ORDER BY ALL"
    )]
}

/// A body and its tag.
async fn ask(router: &Router, url: &str) -> Result<(Bytes, HeaderValue), Failure> {
    let response = router.clone().oneshot(Request::get(url).body(Body::empty())?).await?;
    let (status, tag) = (response.status(), response.headers().get(header::ETAG).cloned());
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
    if !status.is_success() {
        return Err(format!("{url}: {status} {}", String::from_utf8_lossy(&body)).into());
    }
    Ok((body, tag.ok_or("no tag")?))
}

/// A bare handler of the same paths that returns the bytes of the first URLs, in their order.
fn bare(runtime: &Runtime, router: &Router, urls: &[String]) -> Result<SocketAddr, Failure> {
    let mut routes = Router::new();
    for (n, url) in urls.iter().enumerate() {
        let (body, _) = runtime.block_on(ask(router, url))?;
        routes = routes.route(&format!("/bare/{n}"), get(move || ready(body.clone())));
    }
    serve("bare", routes)
}

/// A bare handler that answers 304.
fn unchanged(tag: HeaderValue) -> Result<SocketAddr, Failure> {
    let answer = move || {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(header::ETAG, tag.clone());
        ready(response)
    };
    serve("bare", Router::new().route("/bare/0", get(answer)))
}

/// All URLs of a question at once, each on a connection of its own, again and again.
fn times(name: &str, address: SocketAddr, urls: impl Fn(usize) -> Vec<String>) -> Result<(), Failure> {
    let mut connections = urls(0).iter().map(|_| Connection::open(address)).collect::<Result<Vec<_>, _>>()?;
    let (begun, mut taken) = (Instant::now(), Vec::new());
    while begun.elapsed() < TIME {
        let urls = urls(taken.len());
        let asked = Instant::now();
        for (connection, url) in connections.iter_mut().zip(&urls) {
            connection.send(url, None)?;
        }
        for connection in &mut connections {
            connection.receive()?;
        }
        taken.push(asked.elapsed());
    }
    let (half, most) = percentiles(&mut taken);
    println!("  {name:36} p50 {half:7.3} ms   p99 {most:7.3} ms   over TCP, {} times", taken.len());
    Ok(())
}

fn compare(runtime: &Runtime, router: &Router, address: SocketAddr, question: &Question) -> Result<f64, Failure> {
    let first = (question.urls)(0);
    let panels = first.len();
    println!("{}", question.name);
    let begun = Instant::now();
    for url in &first {
        runtime.block_on(ask(router, url))?;
    }
    println!("  {:36} {:11.3} ms", "the first time", begun.elapsed().as_secs_f64() * 1e3);
    let bare = bare(runtime, router, &first)?;
    let plain = |n: usize| format!("/bare/{}", n % panels);
    let again = |n: usize| (question.urls)(0).swap_remove(n % panels);
    let other = |n: usize| (question.urls)(1 + n / panels).swap_remove(n % panels);
    let by_core = rates(&[
        Asked { name: "a bare handler, the same bytes", address: bare, tag: None, url: &plain },
        Asked { name: "the same query again", address, tag: None, url: &again },
        Asked { name: "every query different", address, tag: None, url: &other },
    ])?;
    let (_, tag) = runtime.block_on(ask(router, &first[0]))?;
    let (bare, plain, again) = (unchanged(tag.clone())?, |_| "/bare/0".to_owned(), |_| first[0].clone());
    rates(&[
        Asked { name: "a bare handler, 304", address: bare, tag: Some("\"x\""), url: &plain },
        Asked { name: "the same query again, 304", address, tag: Some(tag.to_str()?), url: &again },
    ])?;
    times("the same again", address, |_| first.clone())?;
    times("every time different", address, |n| (question.urls)(n + 1_003))?;
    Ok(by_core[2] / panels as f64)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn main() -> Result<(), Failure> {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let sizes = Sizes { day: setting("SEAM_BENCH_DAY", 1_000_000), last: setting("SEAM_BENCH_EVENTS", 50_000_000) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = std::env::temp_dir().join(format!("seam-figures-{}", std::process::id()));
    let begun = Instant::now();
    let world = runtime.block_on(history::make(&folder, &sizes, Settings::default()))?;
    println!(
        "{DAYS} days of history, {} rows in the last one, made in {:.0} s",
        world.rows,
        begun.elapsed().as_secs_f64()
    );
    let result = all(&runtime, world, &folder, &wanted);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn all(runtime: &Runtime, world: World, folder: &Path, wanted: &str) -> Result<(), Failure> {
    let router = http::router(Arc::clone(&world.serving));
    let address = serve("serving", router.clone())?;
    for question in QUESTIONS.iter().filter(|question| question.name.contains(wanted)) {
        let by_core = compare(runtime, &router, address, question)?;
        if let Some(duckdb) = duckdb::ask(folder, &(question.sql)()) {
            println!(
                "  DuckDB on the same files: {:.2} /s/core, p50 {:.1} ms; every query different is {:.0} times its rate",
                duckdb.by_core,
                duckdb.median,
                by_core / duckdb.by_core
            );
        }
        println!("  memory: {} MB", memory("VmRSS:")?);
    }
    if "publishing".contains(wanted) {
        publishing::run(runtime, world, address)?;
    }
    println!("memory: {} MB at its peak (with the making of the history)", memory("VmHWM:")?);
    Ok(())
}
