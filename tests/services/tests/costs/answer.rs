//! Questions answered in process, from a generation and the speed state behind it; and by a handler that has the bytes at hand.
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use bytes::Bytes;
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

use crate::PREPARED;

const CONFIG: &str = "
version: 1
name: costs
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
";
/// Midday of a day of 2026.
const NOW: Timestamp = Timestamp(1_767_268_800_000_000);
/// The keys, each with a row a minute.
const KINDS: usize = 4;
const REGIONS: usize = 10;
const PRODUCTS: usize = 20;
/// The generation's last hour; the five minutes behind it are the speed layer's.
const SEAM: Timestamp = Timestamp(NOW.0 - 5 * Span::MINUTE.0);
/// What the generation covers.
const CUT: Offset = Offset(1_000_000);

/// Questions before the counted ones, after which whatever is kept is at hand.
const WARM: usize = 100;
const QUESTIONS: usize = 3_000;
const METRIC: &str = "/api/analytics/metrics/price";

/// Makes the history, and asks as `work` says.
pub fn run(work: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let serving = http::router(history().await);
        let body = Bytes::from(ask(&serving, &one_key(0)).await);
        let bare = Router::new().route(METRIC, get(move || ready(body.clone())));
        for n in 0..WARM {
            ask(&bare, &one_key(n)).await;
            ask(&serving, &one_key(n)).await;
            ask(&serving, &by_minute(n)).await;
            ask(&serving, &one_key(0)).await;
        }
        let (router, url): (_, fn(usize) -> String) = match work {
            PREPARED => return,
            "bare handler" => (&bare, one_key),
            "one key, every question different" => (&serving, one_key),
            "one key, the same question again" => (&serving, |_| one_key(0)),
            "an hour by minute, every question different" => (&serving, by_minute),
            _ => panic!("no work is called {work:?}"),
        };
        for n in WARM..WARM + QUESTIONS {
            ask(router, &url(n)).await;
        }
    });
}

/// The URL of the `n`th question of one key, no two of them the same: the limit, which one row never meets, tells them apart.
fn one_key(n: usize) -> String {
    let (kind, region, product) = (n % KINDS, n / KINDS % REGIONS, n / KINDS / REGIONS % PRODUCTS);
    format!("{METRIC}?dimension=kind:kind{kind},region:region{region},product:product{product}&limit={}", 100 + n)
}

fn by_minute(n: usize) -> String {
    format!("{}&from=now-1h&window=1m", one_key(n))
}

async fn ask(router: &Router, url: &str) -> Vec<u8> {
    let request = Request::get(url).body(Body::empty()).expect("a request");
    let Ok(response) = router.clone().oneshot(request).await;
    assert!(response.status().is_success(), "{url}: {}", response.status());
    axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("the body comes").to_vec()
}

/// A generation of an hour, and the speed layer's minutes since.
async fn history() -> Arc<Serving> {
    let config = Arc::new(config::load(CONFIG, "costs.yaml").unwrap_or_else(|report| panic!("{report}")));
    let view = config.views[0].clone();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let lake: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = ViewTable::new(lake.clone(), view.clone(), clock.clone());
    let from = SEAM.minus(Span::HOUR);
    let files = vec![table.put(&rows(&view, from, SEAM), from, SEAM).await.expect("the file is written")];
    let cut = OffsetVector([(0, CUT)].into_iter().collect());
    let (incarnation, info) = ("costs".to_owned(), serde_json::Map::new());
    table
        .publish(Publication { parent: None, cut, incarnation, files, info })
        .await
        .expect("the generation is published");
    let state = Arc::new(MemoryState::default());
    let partition = Partition::new("shop", 0);
    state.claim(&partition, &view.id, CUT).await.expect("the view is claimed");
    state.commit(&partition, vec![recent(&view)]).await.expect("the rows are committed");
    let stores = Stores { log: None, state, lake };
    // What is looked at again after a while is looked at once, or the count would depend on how long the questions take.
    let settings = Settings { share_snapshots_for: Duration::from_secs(3_600), ..Settings::default() };
    let serving = Serving::new(config, stores, clock, Arc::new(Telemetry::new()), settings);
    serving.refresh().await.expect("everything is at hand");
    Arc::new(serving)
}

/// The open segment behind the cut.
fn recent(view: &View) -> ViewCommit {
    let count = 4_000;
    let segment = OpenSegment { start: CUT, count, max_timestamp: NOW };
    let progress = Progress { position: Offset(CUT.0 + count), floor: CUT, segment, anchor: None, excluded: None };
    let segments = vec![SegmentWrite { start: CUT, end: None, rows: rows(view, SEAM, NOW) }];
    ViewCommit { view: view.id.clone(), from: CUT, progress, segments }
}

/// One row a minute and key.
fn rows(view: &View, from: Timestamp, to: Timestamp) -> Rows {
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    let mut codes = |dimension: usize, what: &str, count: usize| -> Vec<u32> {
        (0..count).map(|n| groups.intern(dimension, &Value::text(&format!("{what}{n}")))).collect()
    };
    let (kinds, regions, products) =
        (codes(0, "kind", KINDS), codes(1, "region", REGIONS), codes(2, "product", PRODUCTS));
    let mut pane = from.plus(Span::MINUTE);
    while pane <= to {
        for key in 0..KINDS * REGIONS * PRODUCTS {
            let (kind, region, product) = (key % KINDS, key / KINDS % REGIONS, key / KINDS / REGIONS);
            let row = groups.row(pane, &[kinds[kind], regions[region], products[product]]);
            for column in groups.states_mut() {
                column.lift(row, &Value::Int((key as i64 * 7919) % 1_000));
            }
        }
        pane = pane.plus(Span::MINUTE);
    }
    groups.into_rows()
}
