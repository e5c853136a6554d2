//! Every measure over HTTP, merged of both halves, equals the oracle's recount of the events.
use std::sync::Arc;

use seam_shared::config::{self, MetricKind};
use seam_shared::event::batch::Verdict;
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::oracle::{KeptEvent, Oracle};
use seam_shared::view::value::Value;

use crate::http::router;
use crate::testing::{Dice, NOW, World, bytes, get, json};

const CONFIG: &str = r#"
version: 1
sources:
  clicks:
    map: { id: $.id, time: $.time }
    partitions: 2
    fields: { carrier: string, origin: string, price: "decimal(2)", delay: float }
views:
  v:
    from: clicks
    dimensions: [carrier]
    pane: 1m
    windows: [1h]
    measures:
      events: count()
      west: count() where origin = "eu:west"
      dear: sum(price) where price > 10 and origin is not null
      spread: variance(price)
      even: stddev_pop(delay)
      origins: distinct(origin)
      delays: distinct(delay) where carrier = "UA"
      price: quantiles(price)
      delay: quantile(delay, 0.9)
      first: first(origin)
      last: last(price)
      sizes: histogram(price, [-50, 0, 12.34])
"#;

fn world(seed: u64) -> (World, Oracle) {
    let config = config::load(CONFIG, "test.yaml").unwrap_or_else(|report| panic!("{report}"));
    let world = World { config: Arc::new(config), ..World::new(seed) };
    let source = world.view("v").source.clone();
    let kept = world.events.iter().map(|event| KeptEvent {
        partition: event.partition,
        offset: Offset(event.offset),
        time: event.time,
        verdict: Verdict::Counts,
        values: source.fields.iter().map(|field| event.value(&field.name)).collect(),
    });
    let oracle = Oracle { events: kept.collect() };
    (world, oracle)
}

/// The generation holds each partition up to a random boundary, and the speed layer what lies behind some earlier one.
async fn split(world: &World, dice: &mut Dice) {
    let view = world.view("v");
    let mut cuts = [0; 2];
    for partition in 0..2u32 {
        let boundaries = &world.boundaries[partition as usize];
        let cut = dice.pick(boundaries.len() as u64 - 1);
        cuts[partition as usize] = boundaries[cut as usize];
        world.fold(&view, partition, dice.pick(cut + 1) as usize, world.end(partition)).await;
    }
    world.publish(&view, cuts).await;
}

#[tokio::test]
async fn every_measure_equals_the_recount_of_its_events() {
    let mut checked = 0;
    for seed in 1..=12 {
        let (world, oracle) = world(seed);
        split(&world, &mut Dice(seed + 31)).await;
        let view = world.view("v");
        let router = router(world.serving().await);
        let below = OffsetVector([(0, Offset(u64::MAX)), (1, Offset(u64::MAX))].into());
        let end = NOW.floor(Span::MINUTE);
        for metric in &world.config.metrics {
            let MetricKind::Measure(measure) = &metric.kind else { panic!("no ratios here") };
            let measure = &view.measures[measure.measure];
            for (dimension, group_by) in [("", &[][..]), ("&dimension=carrier", &[0])] {
                let uri =
                    format!("/api/analytics/metrics/{}?window=1h&at={}{dimension}", metric.name, end.to_rfc3339());
                let response = get(&router, &uri).await;
                assert_eq!(response.status(), 200, "{uri}");
                let body = json(response).await;
                let expected = oracle.answer(&view, group_by, (end.minus(Span::HOUR), end), &below);
                let points = body["points"].as_array().expect("points");
                assert_eq!(points.len(), expected.len(), "seed {seed} {uri}");
                for (point, figures) in points.iter().zip(expected.values()) {
                    let value: serde_json::Value =
                        serde_json::from_str(&figures[measure.state].get(measure.figure).to_json()).expect("JSON");
                    assert_eq!(point["value"], value, "seed {seed} {uri}: {point}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 12 * 20 * 4, "{checked}");
}

#[tokio::test]
async fn rows_say_how_exact_they_are_and_what_else_is_known() {
    let (world, _) = world(3);
    split(&world, &mut Dice(9)).await;
    let router = router(world.serving().await);
    let answer = async |name: &str| json(get(&router, &format!("/api/analytics/metrics/{name}?window=3h")).await).await;
    let origins = answer("v.origins").await;
    assert_eq!(origins["meta"]["error"]["relative_standard_error"], 0.008_125);
    assert_eq!(origins["points"][0]["exact"], true);
    let price = answer("v.price.p95").await;
    assert!(price["meta"]["error"]["relative_error"].as_f64().is_some_and(|error| error < 0.01));
    assert_eq!(price["points"][0]["value"], price["points"][0]["quantiles"]["p95"]);
    assert!(price["points"][0]["min"].as_f64() <= price["points"][0]["quantiles"]["p50"].as_f64());
    let sizes = answer("v.sizes").await;
    let buckets = sizes["points"][0]["histogram"].as_array().expect("buckets").clone();
    let in_all: u64 = buckets.iter().filter_map(|bucket| bucket["count"].as_u64()).sum();
    assert_eq!((buckets.len(), Some(in_all)), (4, sizes["points"][0]["value"].as_u64()));
    assert_eq!((&buckets[0]["to"], &buckets[3]["to"]), (&(-50.0).into(), &serde_json::Value::Null));
    assert!(answer("v.first").await["points"][0]["at"].is_string());
    assert!(answer("v.events").await["meta"]["error"].is_null());
    let csv = get(&router, "/api/analytics/metrics/v.sizes.csv?window=3h").await;
    let csv = String::from_utf8(bytes(csv).await).expect("UTF-8");
    assert!(csv.starts_with("time,start,value,to_-50.00,to_0.00,to_12.34,above\r\n"), "{csv}");
    let table = get(&router, "/api/analytics/metrics/v.last.csv?window=3h&dimension=carrier").await;
    assert!(String::from_utf8(bytes(table).await).expect("UTF-8").starts_with("time,start,carrier,value,at\r\n"));
}

#[tokio::test]
async fn nothing_is_null_and_zero_different_values() {
    let (world, _) = world(4);
    split(&world, &mut Dice(2)).await;
    let router = router(world.serving().await);
    let end = Timestamp(0).to_rfc3339();
    for metric in &world.config.metrics {
        let body =
            json(get(&router, &format!("/api/analytics/metrics/{}?window=1h&at={end}", metric.name)).await).await;
        let counts = ["v.events", "v.west", "v.origins", "v.delays", "v.sizes", "v.price.count"];
        let expected = if counts.contains(&metric.name.as_str()) { Value::Int(0) } else { Value::Null };
        assert_eq!(body["points"][0]["value"].to_string(), expected.to_json(), "{}", metric.name);
    }
}
