//! How fast merged answers are, over a generated view of a million rows an hour and a busy open segment; prints figures.
//! `cargo run --release -p seam-serving --example answer_rate`
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use seam_serving::{Serving, Settings, Stores, http};
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::config;
use seam_shared::lake::views::{Publication, ViewTable};
use seam_shared::log::{Offset, OffsetVector, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{Progress, SegmentWrite, StateStore, ViewCommit};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;
use tower::ServiceExt;

const CONFIG: &str = "
version: 1
name: rate
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

async fn build() -> Result<Arc<Serving>, Box<dyn std::error::Error>> {
    let config = Arc::new(config::load(CONFIG, "rate.yaml").map_err(|report| report.to_string())?);
    let view = config.views[0].clone();
    let lake: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let state = Arc::new(MemoryState::default());
    let table = ViewTable::new(lake.clone(), view.clone(), clock.clone());
    let seam = NOW.minus(Span(5 * Span::MINUTE.0));
    let mut files = Vec::new();
    for hour in 0..HOURS {
        let to = seam.minus(Span(hour * Span::HOUR.0));
        let from = to.minus(Span::HOUR);
        files.push(table.put(&rows(&view, from, to), from, to).await?);
    }
    let cut = OffsetVector([(0, Offset(1_000_000))].into_iter().collect());
    let (incarnation, info) = ("rate".to_owned(), serde_json::Map::new());
    table.publish(Publication { parent: None, cut, incarnation, files, info }).await?;
    let (place, start, position) = (Partition::new("shop", 0), Offset(1_000_000), Offset(1_084_000));
    state.claim(&place, &view.id, start).await?;
    let segment = OpenSegment { start, count: 84_000, max_timestamp: NOW };
    let progress = Progress { position, floor: start, segment };
    let segments = vec![SegmentWrite { start, end: None, rows: rows(&view, seam, NOW) }];
    state.commit(&place, vec![ViewCommit { view: view.id.clone(), from: start, progress, segments }]).await?;
    let stores = Stores { log: None, state, lake };
    let serving = Serving::new(config, stores, clock, Arc::new(Telemetry::new()), Settings::default());
    serving.refresh().await?;
    Ok(Arc::new(serving))
}

async fn ask(router: &Router, uri: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let response = router.clone().oneshot(Request::get(uri).body(Body::empty())?).await?;
    if !response.status().is_success() {
        return Err(format!("{uri}: {}", response.status()).into());
    }
    Ok(axum::body::to_bytes(response.into_body(), usize::MAX).await?.to_vec())
}

/// Asks for `time` and prints the median, the 99th percentile and the rate; answers with the rate.
async fn measure(name: &str, router: &Router, uri: &str, time: Duration) -> Result<f64, Box<dyn std::error::Error>> {
    let bytes = ask(router, uri).await?.len();
    let (begun, mut taken) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let asked = Instant::now();
        ask(router, uri).await?;
        taken.push(asked.elapsed());
    }
    let rate = taken.len() as f64 / begun.elapsed().as_secs_f64();
    taken.sort_unstable();
    let at = |part: usize| taken[taken.len() * part / 100].as_secs_f64() * 1e3;
    println!("{name:38} p50 {:7.3} ms  p99 {:7.3} ms  {rate:9.0} /s  {bytes} bytes", at(50), at(99));
    Ok(rate)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = http::router(build().await?);
    let key = "dimension=kind:kind007,region:region003,product:product011";
    let metric = "/api/analytics/metrics/price";
    let time = Duration::from_secs(3);
    for (name, uri) in [
        ("one key, 5 minutes", format!("{metric}?{key}")),
        ("one key, 1 hour by minute", format!("{metric}?{key}&from=now-1h&window=1m")),
        (
            "kind and region, 1 hour by minute",
            format!("{metric}?dimension=kind:kind007,region:region003&from=now-1h&window=1m"),
        ),
        (
            "top products of a kind, 1 hour",
            format!("{metric}?dimension=product,kind:kind007&window=1h&order=-value&limit=10"),
        ),
    ] {
        let rate = measure(name, &router, &uri, time).await?;
        let body = ask(&router, &uri).await?;
        let bare = Router::new().route(metric, get(move || std::future::ready(body.clone())));
        let bare_rate = measure("  a bare handler with the same bytes", &bare, &uri, time).await?;
        println!("  {:.0} % of the bare handler", rate / bare_rate * 100.0);
    }
    Ok(())
}
