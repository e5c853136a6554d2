//! The guard over the real routes: nothing is open by oversight, and every contract keeps to the caller's rows.
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use seam_shared::access::{RowFilter, Scope};
use seam_shared::config::{AccessSettings, Config, Key, KeyHash, Keys, Rate};
use seam_shared::time::Timestamp;
use seam_shared::view::value::Value;
use serde_json::json;

use super::rules::{self, Need};
use super::tls::Peer;
use super::*;
use crate::http;
use crate::testing::{Event, NOW, World, bytes, json as body, request};

/// A key of a test: its text, scopes, filter, end and rate.
fn key(text: &str, scopes: &[&str], filter: serde_json::Value) -> Key {
    Key {
        name: text.to_owned(),
        hash: KeyHash::of(text),
        scopes: scopes.iter().map(|text| Scope::parse(text).expect("a scope")).collect(),
        rows: RowFilter::from_json(filter.as_object().expect("a filter")).expect("a filter"),
        expires: None,
        rate: None,
    }
}

fn keys() -> Vec<Key> {
    let none = json!({});
    vec![
        key("seam_admin", &["admin"], none.clone()),
        key("seam_query", &["query:*"], none.clone()),
        key("seam_route", &["query:by_route"], none.clone()),
        key("seam_ingest", &["ingest:clicks"], none.clone()),
        key("seam_metrics", &["metrics"], none.clone()),
        key("seam_ua", &["query:*"], json!({"carrier": ["UA"]})),
        key("seam_null", &["query:*"], json!({"carrier": [null], "origin": ["JFK", "eu:west"]})),
        key("seam_jfk", &["query:*"], json!({"origin": "JFK"})),
        key("seam_wrong", &["query:*"], json!({"country": "de"})),
        Key { expires: Some(Timestamp(NOW.0 - 1)), ..key("seam_expired", &["admin"], none.clone()) },
        Key { rate: Rate::parse("2/h"), ..key("seam_slow", &["admin"], none) },
    ]
}

fn access(config: &Config, keys: Keys, failures: &str) -> Arc<Access> {
    let mut config = config.clone();
    config.server.access = Some(AccessSettings { keys, jwt: None, failures: Rate::parse(failures) });
    let clock = Arc::new(seam_shared::clock::ManualClock::at(NOW));
    Arc::new(Access::of(&Arc::new(config), clock).expect("usable"))
}

/// A halved world behind a guard.
async fn guarded(seed: u64, failures: &str) -> (World, Router) {
    let world = World::halved(seed).await;
    let access = access(&world.config, Keys::Inline(keys()), failures);
    let router = http::finish(http::routes(world.serving().await), &access, &world.config, None);
    (world, router)
}

async fn ask(router: &Router, key: &str, uri: &str) -> Response<Body> {
    let mut asked = Request::get(uri);
    if !key.is_empty() {
        asked = asked.header("authorization", format!("Bearer {key}"));
    }
    request(router, asked.body(Body::empty()).expect("a request")).await
}

/// The paths that a router answers, as its `Debug` form lists them.
fn paths(router: &Router) -> Vec<String> {
    let text = format!("{router:?}");
    let mut paths: Vec<String> =
        text.split('"').filter(|part| part.starts_with('/')).map(|path| path.replace(['{', '}'], "")).collect();
    paths.sort();
    paths.dedup();
    paths
}

#[tokio::test]
async fn every_route_asks_for_a_key_and_for_the_right_one() {
    let (world, router) = guarded(1, "1000/s").await;
    let routes = paths(&http::routes(world.serving().await));
    assert!(routes.len() >= 5 && routes.contains(&"/api/analytics/metrics/metric".to_owned()), "{routes:?}");
    let unknown = ["/", "/nothing", "/api", "/v1/events/clicks", "/metrics", "/api/analytics/nothing"];
    for path in routes.iter().map(String::as_str).chain(unknown) {
        let need = rules::of(path).need;
        for wrong in ["", "seam_guess", "seam_expired", "not-a-key", "a.b.c"] {
            let answer = ask(&router, wrong, path).await;
            if need == Need::Nothing {
                assert_ne!(answer.status(), 401, "{path}");
                continue;
            }
            assert_eq!(answer.status(), 401, "{path} with `{wrong}`");
            let form = if path.starts_with("/prometheus/api/") { "json" } else { "problem+json" };
            assert_eq!(answer.headers()["content-type"], format!("application/{form}"), "{path}");
            let challenge = answer.headers()["www-authenticate"].to_str().expect("text").to_owned();
            assert!(challenge.starts_with("Bearer realm=\"seam\""), "{challenge}");
            assert_eq!(challenge.contains("invalid_token"), !wrong.is_empty(), "{challenge}");
            let status = if form == "json" { json!("error") } else { json!(401) };
            assert_eq!(body(answer).await["status"], status, "{path}");
        }
        let may = |key: &str| match need {
            Need::Nothing => true,
            Need::Ingest => key == "seam_ingest" || key == "seam_admin",
            Need::Query => key == "seam_query" || key == "seam_admin",
            Need::Metrics => key == "seam_metrics" || key == "seam_admin",
            Need::Admin => key == "seam_admin",
        };
        for key in ["seam_ingest", "seam_metrics", "seam_query", "seam_admin"] {
            let status = ask(&router, key, path).await.status();
            let refused = if rules::of(path).is_listed { 403 } else { 404 };
            assert_ne!(status, 401, "{path} with {key}");
            if !may(key) {
                assert_eq!(status, refused, "{path} with {key}");
            } else {
                assert_ne!(status, 403, "{path} with {key}");
            }
        }
    }
    let methods = Request::delete("/api/analytics/metrics").body(Body::empty()).expect("a request");
    assert_eq!(request(&router, methods).await.status(), 401, "whatever the method");
}

/// The sum of a metric's points.
fn total(answer: &serde_json::Value) -> u64 {
    let points = answer["points"].as_array().expect("points");
    points.iter().map(|point| point["value"].as_u64().unwrap_or_default()).sum()
}

#[tokio::test]
async fn filtered_callers_get_what_the_oracle_says_of_their_rows() {
    for seed in 0..6 {
        let (world, router) = guarded(seed, "1000/s").await;
        let is = |value: &Value, text: &str| *value == Value::text(text);
        let ua = |e: &Event| is(&e.carrier, "UA");
        let null = |e: &Event| e.carrier == Value::Null && (is(&e.origin, "JFK") || is(&e.origin, "eu:west"));
        let jfk = |e: &Event| is(&e.origin, "JFK");
        let callers: [(&str, &dyn Fn(&Event) -> bool); 4] =
            [("seam_query", &|_: &Event| true), ("seam_ua", &ua), ("seam_null", &null), ("seam_jfk", &jfk)];
        for (key, sees) in callers {
            let count =
                |test: &dyn Fn(&Event) -> bool| world.events.iter().filter(|e| sees(e) && test(e)).count() as u64;
            let get = async |uri: &str| body(ask(&router, key, &format!("/api/analytics/{uri}")).await).await;
            // One number, a breakdown, a slice and a condition; from both halves and from each.
            assert_eq!(total(&get("metrics/events.total?window=4h").await), count(&|_| true), "{key}");
            assert_eq!(total(&get("metrics/events.total?window=4h&dimension=carrier,origin").await), count(&|_| true));
            assert_eq!(total(&get("metrics/events.total?window=4h&dimension=origin:JFK").await), count(&jfk), "{key}");
            assert_eq!(total(&get("metrics/events.total?window=4h&dimension=carrier:UA").await), count(&ua), "{key}");
            let condition = "where=carrier%20!=%20%22UA%22%20or%20carrier%20is%20null";
            let others = get(&format!("metrics/events.total?window=4h&{condition}")).await;
            assert_eq!(total(&others), count(&|e| !ua(e)), "{key}");
            let halves = ["batch", "speed"].map(|layer| format!("metrics/events.total?window=4h&layer={layer}"));
            let (batch, speed) = (get(&halves[0]).await, get(&halves[1]).await);
            assert!(total(&batch) + total(&speed) >= count(&|_| true), "{key}");
            assert!(total(&batch) <= count(&|_| true) && total(&speed) <= count(&|_| true), "{key}");
            // Several metrics at once.
            let wanted = json!({"metrics": ["events.total"], "window": "4h"}).to_string();
            let posted = Request::post("/api/analytics/query").header("authorization", format!("Bearer {key}"));
            let posted = posted.header("content-type", "application/json").body(Body::from(wanted)).expect("a request");
            let posted = body(request(&router, posted).await).await;
            assert_eq!(posted["points"][0]["events.total"], count(&|_| true), "{key}: {posted}");
            // What the stamp says of shares is of these rows too.
            let stamp = get("metrics/events.total?window=4h").await["meta"]["stamp"]["views"][0]["shares"].clone();
            let shares = ["batch", "speed"].map(|half| stamp[half]["events"].as_u64().unwrap_or_default());
            assert_eq!(shares[0] + shares[1], count(&|_| true), "{key}: {stamp}");
            // The dashboard and explain.
            let board = get("dashboard?window=4h").await;
            let shown = board["metrics"].as_array().expect("metrics");
            let events = shown.iter().find(|metric| metric["metric"] == "events.total").expect("shown");
            assert_eq!(events["value"], count(&|_| true), "{key}");
            let explained = get("explain/events.total?window=4h").await["stamp"]["views"][0]["shares"].clone();
            let explained = ["batch", "speed"].map(|half| explained[half]["events"].as_u64().unwrap_or_default());
            assert_eq!(explained, shares, "{key}");
            // The feed's first event.
            let feed = ask(&router, key, "/api/analytics/live?metric=events.total&window=4h").await;
            assert_eq!(feed.status(), 200);
            let mut pieces = feed.into_body().into_data_stream();
            let first = futures::StreamExt::next(&mut pieces).await.expect("an event").expect("an event");
            let text = String::from_utf8(first.to_vec()).expect("text");
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
            let point: serde_json::Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(point["value"], count(&|_| true), "{key}");
        }
    }
}

#[tokio::test]
async fn a_view_that_cannot_be_filtered_is_refused() {
    let (_, router) = guarded(2, "1000/s").await;
    let status = async |key: &str, uri: &str| ask(&router, key, &format!("/api/analytics/{uri}")).await.status();
    assert_eq!(status("seam_jfk", "metrics/carriers").await, 403, "by_carrier has no origin");
    assert_eq!(status("seam_jfk", "metrics/share").await, 403, "one of the ratio's views has none");
    assert_eq!(status("seam_jfk", "explain/carriers").await, 403);
    assert_eq!(status("seam_jfk", "live?metric=carriers").await, 403);
    assert_eq!(status("seam_route", "metrics/carriers").await, 403, "no scope");
    assert_eq!(status("seam_wrong", "metrics/events.total").await, 403);
    assert_eq!(status("seam_wrong", "dashboard").await, 403, "nothing of it may be seen");
    assert_eq!(status("seam_jfk", "metrics/events.total").await, 200);
    let listed = async |key: &str| {
        let list = body(ask(&router, key, "/api/analytics/metrics").await).await;
        let names = list["metrics"].as_array().expect("a list").iter();
        names.map(|metric| metric["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert!(listed("seam_query").await.contains(&"carriers".to_owned()));
    for key in ["seam_jfk", "seam_route"] {
        let names = listed(key).await;
        assert!(names.contains(&"events.total".to_owned()) && !names.contains(&"carriers".to_owned()), "{names:?}");
        assert!(!names.contains(&"share".to_owned()), "{names:?}");
    }
    assert!(listed("seam_wrong").await.is_empty());
    let refused = body(ask(&router, "seam_jfk", "/api/analytics/metrics/carriers").await).await;
    assert_eq!(refused["type"], "urn:seam:problem:denied");
}

#[tokio::test]
async fn no_answer_tag_or_page_of_one_caller_is_another_callers() {
    let (_, router) = guarded(3, "1000/s").await;
    let uri = "/api/analytics/metrics/events.total?window=4h&dimension=carrier,origin&limit=1&order=-value";
    let mut tags = Vec::new();
    let mut bodies = Vec::new();
    // Asked again and again, so that whatever may be kept is kept.
    for round in 0..3 {
        for (i, key) in ["seam_query", "seam_ua", "seam_jfk"].into_iter().enumerate() {
            let answer = ask(&router, key, uri).await;
            let tag = answer.headers()["etag"].to_str().expect("text").to_owned();
            let body = body(answer).await;
            if round == 0 {
                assert!(!tags.contains(&tag), "{key}");
                tags.push(tag);
                bodies.push(body);
            } else {
                assert_eq!((&tags[i], &bodies[i]), (&tag, &body), "{key}");
            }
        }
    }
    let with_tag = |key: &str, tag: &str| {
        let asked = Request::get(uri).header("authorization", format!("Bearer {key}")).header("if-none-match", tag);
        asked.body(Body::empty()).expect("a request")
    };
    assert_eq!(request(&router, with_tag("seam_ua", &tags[1])).await.status(), 304);
    assert_eq!(request(&router, with_tag("seam_ua", &tags[0])).await.status(), 200);
    let next = bodies[0]["meta"]["next"].as_str().expect("there are more rows").to_owned();
    assert_eq!(ask(&router, "seam_query", &format!("{uri}&cursor={next}")).await.status(), 200);
    assert_eq!(ask(&router, "seam_ua", &format!("{uri}&cursor={next}")).await.status(), 400);
    // A caller of equal rights shares what is kept.
    assert_eq!(ask(&router, "seam_admin", uri).await.headers()["etag"], tags[0].as_str());
}

#[tokio::test]
async fn keys_have_limits_and_wrong_ones_block_their_address() {
    let (_, router) = guarded(4, "3/h").await;
    let uri = "/api/analytics/metrics";
    let first = ask(&router, "seam_slow", uri).await;
    assert_eq!(
        (first.status().as_u16(), &first.headers()["ratelimit-policy"]),
        (200, &"\"key\";q=2;w=3600".parse().unwrap())
    );
    assert_eq!(first.headers()["ratelimit"], "\"key\";r=1;t=0");
    assert_eq!(ask(&router, "seam_slow", uri).await.status(), 200);
    let refused = ask(&router, "seam_slow", uri).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1_700..=1_801).contains(&wait), "{wait}");
    assert_eq!(body(refused).await["type"], "urn:seam:problem:rate-limited");
    // Grafana reads refusals of Prometheus' API in that API's words only.
    let told = body(ask(&router, "seam_slow", "/prometheus/api/v1/query?query=1").await).await;
    assert_eq!((&told["status"], &told["errorType"]), (&"error".into(), &"too_many_requests".into()), "{told}");
    assert!(told["error"].as_str().unwrap().contains("2/h"), "{told}");
    assert_eq!(ask(&router, "seam_query", uri).await.status(), 200, "another key has its own");

    let from = |address: &str, key: &str| {
        let peer: SocketAddr = format!("{address}:1").parse().unwrap();
        let asked = Request::get(uri).header("authorization", format!("Bearer {key}"));
        asked.extension(ConnectInfo(Peer(peer))).body(Body::empty()).unwrap()
    };
    for guess in ["seam_1", "seam_2", "a.b.c"] {
        assert_eq!(request(&router, from("10.0.0.1", guess)).await.status(), 401);
    }
    let blocked = request(&router, from("10.0.0.1", "seam_3")).await;
    assert_eq!(blocked.status(), 429);
    assert!(blocked.headers().contains_key("retry-after"));
    assert_eq!(request(&router, from("10.0.0.1", "seam_query")).await.status(), 200, "its neighbour guesses, not it");
    assert_eq!(request(&router, from("10.0.0.1", "seam_4")).await.status(), 429, "which ends nothing");
    assert_eq!(request(&router, from("10.0.0.2", "seam_query")).await.status(), 200);
    for _ in 0..9 {
        let without = Request::get(uri).extension(ConnectInfo(Peer("10.0.0.2:1".parse().unwrap())));
        assert_eq!(request(&router, without.body(Body::empty()).unwrap()).await.status(), 401);
    }
    assert_eq!(request(&router, from("10.0.0.2", "seam_query")).await.status(), 200, "no key is no guess");
}

#[tokio::test]
async fn feeds_take_the_key_in_the_url_and_nothing_else_does() {
    let (_, router) = guarded(5, "1000/s").await;
    let feed = ask(&router, "", "/api/analytics/live?metric=events.total&token=seam_query").await;
    assert_eq!(feed.status(), 200, "the feed knows no parameter `token`: it was taken out");
    assert_eq!(ask(&router, "", "/api/analytics/live?metric=events.total&token=seam_guess").await.status(), 401);
    let other = ask(&router, "", "/api/analytics/metrics/events.total?token=seam_query").await;
    assert_eq!(other.status(), 401);
    let text = String::from_utf8(bytes(other).await).unwrap();
    assert!(!text.contains("seam_query"), "{text}");
    let basic = Request::get("/api/analytics/metrics").header("authorization", "Basic c2VhbV9xdWVyeTo=");
    assert_eq!(request(&router, basic.body(Body::empty()).unwrap()).await.status(), 200);
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_and_what_left_it_ends() {
    let world = World::new(6);
    let path = std::env::temp_dir().join(format!("seam-keys-{}.yaml", std::process::id()));
    let write = |names: &[&str]| {
        let entry = |name: &&str| {
            format!(
                "  - {{ name: {name}, hash: \"{}\", scopes: [\"query:*\"] }}\n",
                KeyHash::of(&format!("seam_{name}"))
            )
        };
        std::fs::write(&path, format!("keys:\n{}", names.iter().map(entry).collect::<String>())).unwrap();
    };
    write(&["one", "two"]);
    let access = access(&world.config, Keys::File(path.clone()), "1000/s");
    let door = access.door.as_ref().expect("keys are configured");
    let one = access.identify(Some("seam_one"), None).await.expect("known").caller;
    let two = access.identify(Some("seam_two"), None).await.expect("known").caller;
    write(&["two", "three"]);
    door.ring.look().await;
    assert_eq!(access.identify(Some("seam_one"), None).await.err(), Some(Unknown::Wrong));
    assert!(access.identify(Some("seam_three"), None).await.is_ok());
    assert!(!one.is_current(NOW) && two.is_current(NOW), "a feed of the first ends, one of the second goes on");
    std::fs::write(&path, "keys: [{ name: broken }]").unwrap();
    door.ring.look().await;
    assert!(access.identify(Some("seam_three"), None).await.is_ok(), "a broken file changes nothing");
    std::fs::remove_file(&path).unwrap();
    door.ring.look().await;
    assert!(access.identify(Some("seam_three"), None).await.is_ok());
    write(&[]);
    door.ring.look().await;
    assert_eq!(access.identify(Some("seam_three"), None).await.err(), Some(Unknown::Wrong));
    std::fs::remove_file(&path).unwrap();
    let mut config = (*world.config).clone();
    let keys = Keys::File(path.clone());
    config.server.access = Some(AccessSettings { keys, jwt: None, failures: None });
    assert!(Access::of(&Arc::new(config), Arc::new(SystemClock)).is_err(), "no start without the file");
}

#[test]
fn beyond_this_machine_nobody_listens_without_keys() {
    let mut config = (*World::new(7).config).clone();
    assert!(check_listen(&config, false).is_ok());
    for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
        config.server.listen = address.parse().unwrap();
        config.server.access = None;
        config.server.insecure = false;
        let error = check_listen(&config, false).expect_err("refused").to_string();
        assert!(error.contains(address) && error.contains("server.access"), "{error}");
        assert!(check_listen(&config, true).is_ok());
        config.server.insecure = true;
        assert!(check_listen(&config, false).is_ok());
        config.server.insecure = false;
        let keys = Keys::Inline(keys());
        config.server.access = Some(AccessSettings { keys, jwt: None, failures: None });
        assert!(check_listen(&config, false).is_ok());
    }
}

#[tokio::test]
async fn other_origins_are_told_nothing_unless_configured() {
    let world = World::new(8);
    let serving = world.serving().await;
    let from = |origin: &str| {
        let asked = Request::get("/api/analytics/metrics").header("origin", origin);
        asked.body(Body::empty()).unwrap()
    };
    let allowed = |answer: &Response<Body>| answer.headers().get("access-control-allow-origin").cloned();
    let plain = http::finish(http::routes(serving.clone()), &Arc::new(Access::open()), &world.config, None);
    assert_eq!(allowed(&request(&plain, from("https://a.example.com")).await), None);
    let mut config = (*world.config).clone();
    config.server.cors = vec!["https://a.example.com".to_owned()];
    let access = access(&config, Keys::Inline(keys()), "1000/s");
    let router = http::finish(http::routes(serving.clone()), &access, &config, Some(serving));
    let one = request(&router, from("https://a.example.com")).await;
    assert_eq!(allowed(&one).unwrap(), "https://a.example.com");
    assert_eq!(one.status(), 401, "an origin is no key");
    assert_eq!(allowed(&request(&router, from("https://b.example.com")).await), None);
    let asks = Request::options("/api/analytics/metrics").header("origin", "https://a.example.com");
    let asks = asks.header("access-control-request-method", "GET");
    let asks = asks.header("access-control-request-headers", "authorization").body(Body::empty()).unwrap();
    let told = request(&router, asks).await;
    assert_eq!(
        (
            told.status().as_u16(),
            told.headers()["access-control-allow-headers"].to_str().unwrap().contains("authorization")
        ),
        (200, true)
    );
}
