//! Keyed views answer as views by pane do, key by key, whatever both layers hold; and read no more than they must.
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use seam_shared::access::{Caller, Names, RowFilter, Scope};
use seam_shared::lake::counting::CountingStore;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::StateStore;
use seam_shared::telemetry::Telemetry;
use seam_shared::view::value::Value;
use serde_json::{Value as Json, json};

use super::{Asked, Key, inquiry};
use crate::query::Format;
use crate::testing::{World, ask, bytes, fresh, get, json as read, request};
use crate::{Serving, Settings, Stores, router};

const CONFIG: &str = r#"
version: 1
name: test
sources:
  clicks:
    map: { id: $.id, time: $.time }
    partitions: 2
    fields: { carrier: string, origin: string, price: "decimal(2)", delay: float }
views:
  plain:
    from: clicks
    dimensions: [carrier, origin]
    pane: 1m
    windows: [5m, 1h]
    measures: { events: count(), price: stats(price), delay: stats(delay), visits: "sessions(origin, 10m)", latest: last(price) }
  keyed:
    from: clicks
    dimensions: [carrier, origin]
    keyed: true
    pane: 1m
    windows: [5m, 1h]
    measures: { events: count(), price: stats(price), delay: stats(delay), visits: "sessions(origin, 10m)", latest: last(price) }
metrics:
  plain.events: { view: plain, measure: events }
  keyed.events: { view: keyed, measure: events }
  plain.rate: { rate: plain.events, per: 1m }
  keyed.rate: { rate: keyed.events, per: 1m }
  plain.visits: { view: plain, measure: visits }
  keyed.visits: { view: keyed, measure: visits }
"#;

/// A world whose two views hold the same, one by pane and one by key; which halves hold what depends on the seed.
async fn world(seed: u64) -> World {
    let world = World::of(CONFIG, seed);
    assert_ne!(world.view("plain").id.rsplit('@').next(), world.view("keyed").id.rsplit('@').next());
    let cut = |boundaries: &Vec<u64>| match seed % 3 {
        0 => boundaries[boundaries.len() - 1],
        1 => boundaries[2],
        _ => boundaries[boundaries.len() / 2],
    };
    let cuts = [cut(&world.boundaries[0]), cut(&world.boundaries[1])];
    for name in ["plain", "keyed"] {
        world.hold(&world.view(name), 0, (!seed.is_multiple_of(5)).then_some(cuts)).await;
    }
    world
}

fn keys_of(world: &World) -> BTreeSet<Vec<Value>> {
    world.events.iter().map(|event| vec![event.carrier.clone(), event.origin.clone()]).collect()
}

/// An answer without what names the view.
fn nameless(mut answer: Json) -> Json {
    answer["view"] = Json::Null;
    answer["metric"] = Json::Null;
    answer["meta"]["stamp"] = Json::Null;
    answer["meta"]["shares"] = Json::Null;
    answer["instance"] = Json::Null;
    answer["detail"] = Json::Null;
    let text = answer.to_string().replace("plain", "V").replace("keyed", "V");
    serde_json::from_str(&text).expect("it was JSON")
}

#[tokio::test]
async fn a_key_answers_the_same_by_key_and_by_pane_and_as_the_events_say() {
    for seed in 0..12 {
        let world = world(seed).await;
        let router = router(world.serving_with(fresh()).await);
        let windows =
            ["", "?from=now-3h&step=30m", "?window=1h", "?window=2h&layer=batch", "?cumulative=day&tz=Asia/Shanghai"];
        for key in keys_of(&world) {
            let path = Key::to_path(&key);
            for window in windows {
                let by_key = ask(&router, &format!("/api/analytics/views/keyed/{path}{window}")).await;
                let by_pane = ask(&router, &format!("/api/analytics/views/plain/{path}{window}")).await;
                assert_eq!(nameless(by_key.clone()), nameless(by_pane), "seed {seed} {path}{window}");
                if window.is_empty() {
                    let of_key = world.events.iter().filter(|e| key == [e.carrier.clone(), e.origin.clone()]);
                    let point = &by_key["points"][0];
                    assert_eq!(point["events"], of_key.count(), "seed {seed} {path}: {by_key}");
                    assert_eq!(
                        (by_key["window"].as_str(), by_key["points"].as_array().map(Vec::len)),
                        (Some("all"), Some(1))
                    );
                    assert!(point.get("time").is_none() && by_key["meta"]["from"].is_null());
                }
            }
        }
        for metric in ["events", "rate", "visits"] {
            for rest in [
                "window=3h&dimension=carrier:UA",
                "from=now-3h&step=10m&window=20m&dimension=carrier:UA&dimension=origin",
                "window=3h&dimension=origin:JFK,origin:null",
                "window=3h&where=carrier%20in%20(%22UA%22,%22AA%22)%20and%20origin%20=%20%22JFK%22",
                "window=3h",
            ] {
                let by_key = ask(&router, &format!("/api/analytics/metrics/keyed.{metric}?{rest}")).await;
                let by_pane = ask(&router, &format!("/api/analytics/metrics/plain.{metric}?{rest}")).await;
                assert_eq!(nameless(by_key), nameless(by_pane), "seed {seed} {metric} {rest}");
            }
        }
    }
}

#[tokio::test]
async fn keys_come_page_by_page_in_order_each_once_and_filtered_for_who_asks() {
    for seed in [0, 1, 2, 5] {
        let world = world(seed).await;
        let serving = world.serving_with(fresh()).await;
        let router = router(serving.clone());
        let expected: Vec<Vec<Value>> = keys_of(&world).into_iter().collect();
        for view in ["keyed", "plain"] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = ask(&router, &format!("/api/analytics/views/{view}?limit=3{cursor}")).await;
                let keys = page["keys"].as_array().expect("keys");
                assert!(keys.len() <= 3 && page["stamp"]["coverage"].is_string(), "{page}");
                found.extend(keys.iter().map(|key| key["key"].as_str().expect("text").to_owned()));
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={}", crate::percent::encoded(next));
            }
            assert_eq!(found, expected.iter().map(|key| Key::to_path(key)).collect::<Vec<_>>(), "seed {seed} {view}");
            let filter = json!({"origin": ["JFK"]});
            let rows = RowFilter::from_json(filter.as_object().expect("a filter")).expect("a filter");
            let caller = Caller::new("some", vec![Scope::Query(Names::All)], rows, None);
            let keys = serving.keys(&caller, &world.view(view), None, 100).await.expect("keys").keys;
            let seen: Vec<_> = expected.iter().filter(|key| key[1] == Value::text("JFK")).cloned().collect();
            assert_eq!(keys, seen);
            for key in &expected {
                let asked = Key(key.iter().cloned().enumerate().collect());
                let view = world.view(view);
                let asked = Asked { caller: &caller, view: &view, key: &asked, parameters: &[], format: Format::Json };
                let inquiry = inquiry(serving.config(), asked, serving.now()).expect("a key");
                assert_eq!(serving.sheet(&inquiry, None).await.is_ok(), seen.contains(key), "{key:?}");
            }
        }
    }
}

#[tokio::test]
async fn pages_of_keys_come_in_the_form_that_is_accepted() {
    let world = world(1).await;
    let router = router(world.serving_with(fresh()).await);
    let expected = keys_of(&world);
    let asked = |accept: &str, tag: &str| {
        let uri = "/api/analytics/views/keyed?limit=1000";
        let asked = Request::get(uri).header("accept", accept).header("if-none-match", tag);
        asked.body(Body::empty()).expect("a request")
    };
    let forms =
        [("text/csv", 1), ("application/x-ndjson", 0), ("application/vnd.apache.parquet", 0), ("application/json", 0)];
    for (accept, heads) in forms {
        let answer = request(&router, asked(accept, "\"other\"")).await;
        assert_eq!(answer.headers()["content-type"], accept);
        let tag = answer.headers()["etag"].to_str().expect("text").to_owned();
        assert_eq!(request(&router, asked(accept, &tag)).await.status(), 304, "{accept}");
        let body = bytes(answer).await;
        if accept.starts_with("text/") || accept.ends_with("ndjson") {
            let lines = String::from_utf8(body.to_vec()).expect("text").lines().count();
            assert_eq!(lines, expected.len() + heads, "{accept}");
        }
    }
    assert_eq!(request(&router, asked("image/png", "\"other\"")).await.status(), 406);
}

#[tokio::test]
async fn a_key_is_spelled_unambiguously_and_answered_like_any_query() {
    let world = world(1).await;
    let router = router(world.serving_with(fresh()).await);
    let uri = |rest: &str| format!("/api/analytics/views/keyed{rest}");
    let first = get(&router, &uri("/UA/null")).await;
    assert_eq!(first.status(), 200);
    let tag = first.headers()["etag"].clone();
    let null = read(first).await;
    let text = ask(&router, &uri("/UA/%22null%22")).await;
    assert_eq!(null["points"][0]["origin"], Json::Null);
    assert_eq!(text["points"][0]["origin"], "null");
    assert_eq!(ask(&router, &uri("?carrier=UA&origin=null")).await["points"], null["points"]);
    assert_eq!(ask(&router, &uri("?origin=%22null%22&carrier=UA")).await["points"], text["points"]);
    let all_of_one = ask(&router, &uri("/a%2Cb")).await;
    assert!(all_of_one["points"].as_array().is_some_and(|rows| rows.len() > 1), "{all_of_one}");
    let again = Request::get(uri("/UA/null")).header("if-none-match", &tag).body(Body::empty()).expect("a request");
    assert_eq!(request(&router, again).await.status(), 304);
    let csv = Request::get(uri("/UA/null")).header("accept", "text/csv").body(Body::empty()).expect("a request");
    let csv = crate::testing::bytes(request(&router, csv).await).await;
    assert!(csv.starts_with(b"carrier,origin,events,price.count"), "{}", String::from_utf8_lossy(&csv));
    for (rest, status, problem) in [
        ("/nobody", 404, "no-such-key"),
        ("/UA/JFK/x", 400, "invalid-parameter"),
        ("/%ff", 400, "invalid-parameter"),
        ("/UA?dimension=origin", 400, "unknown-parameter"),
        ("/UA?wndow=1h", 400, "unknown-parameter"),
        ("/UA?window=1ms", 400, "invalid-parameter"),
        ("?carier=UA", 400, "unknown-parameter"),
        ("?carrier=UA&carrier=AA", 400, "invalid-parameter"),
        ("?limit=0", 400, "invalid-parameter"),
        ("?cursor=UA", 400, "invalid-parameter"),
        ("x/UA", 404, "unknown-view"),
    ] {
        let refused = get(&router, &uri(rest)).await;
        assert_eq!(refused.status(), status, "{rest}");
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        let document = read(refused).await;
        assert_eq!(document["type"], format!("urn:seam:problem:{problem}"), "{document}");
    }
    let views = ask(&router, "/api/analytics/views").await;
    assert_eq!(views["views"][1]["keyed"], true);
    assert_eq!(views["views"][1]["dimensions"][1], json!({"name": "origin", "type": "string"}));
}

#[tokio::test]
async fn a_keyed_view_is_not_loaded_as_a_whole_beyond_its_budget() {
    let world = world(3).await;
    let serving = world.serving_with(Settings { keyed_rows: 40, ..fresh() }).await;
    let router = router(serving.clone());
    let refused = get(&router, "/api/analytics/metrics/keyed.events?window=3h&dimension=carrier&top=3").await;
    assert_eq!(refused.status(), 422);
    let document = read(refused).await;
    assert!(document["detail"].as_str().is_some_and(|text| text.contains("name its keys")), "{document}");
    assert_eq!(
        get(&router, "/api/analytics/metrics/plain.events?window=3h&dimension=carrier&top=3").await.status(),
        200
    );
    let key = keys_of(&world).into_iter().next().expect("a key");
    assert_eq!(get(&router, &format!("/api/analytics/views/keyed/{}", Key::to_path(&key))).await.status(), 200);
}

#[tokio::test]
async fn a_look_up_reads_a_footer_once_and_then_only_the_chunks_of_its_keys() {
    let world = world(3).await;
    let lake = Arc::new(CountingStore::new(world.lake.clone()));
    let stores = Stores { log: None, state: world.state.clone(), lake: lake.clone() };
    let telemetry = Arc::new(Telemetry::new());
    let serving = Serving::new(world.config.clone(), stores, world.clock.clone(), telemetry, fresh());
    serving.refresh().await.expect("refreshed");
    let files = serving.batch_view(&world.view("keyed")).pin().expect("a generation").files.clone();
    let router = router(Arc::new(serving));
    lake.take();
    let uri = "/api/analytics/views/keyed/UA/JFK?layer=batch";
    assert_eq!(get(&router, uri).await.status(), 200);
    let first = lake.take();
    assert_eq!(get(&router, &format!("{uri}&timeout=9s&window=3h")).await.status(), 200);
    let second = lake.take();
    assert!(second.reads <= first.reads - files.len() as u64 && second.bytes < first.bytes, "{first:?} {second:?}");
    assert!(second.reads <= 2 * files.len() as u64, "{second:?} of {} files", files.len());
}

#[tokio::test]
async fn a_view_that_nothing_was_folded_into_yet_has_no_keys() {
    let world = World::of(CONFIG, 1);
    let view = world.view("keyed");
    for partition in 0..2 {
        let place = Partition::new("clicks", partition);
        world.state.claim(&place, &view.id, Offset(0)).await.expect("claimed");
    }
    let router = router(world.serving_with(fresh()).await);
    assert_eq!(get(&router, "/api/analytics/views/keyed/UA/JFK").await.status(), 404);
    assert_eq!(ask(&router, "/api/analytics/views/keyed").await["keys"], json!([]));
}

#[test]
fn keys_as_paths_are_read_back_as_they_were() {
    let view = World::of(CONFIG, 1).view("keyed");
    let texts = ["", "null", "a/b", "%2F", "\"", "\"null\"", "ü€", " ", "a+b", "..", "\u{0}"];
    let values: Vec<Value> = texts.iter().map(|t| Value::text(t)).chain([Value::Null]).collect();
    for a in &values {
        for b in &values {
            let path = Key::to_path(&[a.clone(), b.clone()]);
            let read = Key::of_path(&view, &path).expect("a key");
            assert_eq!(read, Key(vec![(0, a.clone()), (1, b.clone())]), "{path}");
        }
    }
}
