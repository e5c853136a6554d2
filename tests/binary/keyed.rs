//! The state of one key over HTTP: exact, the same after kill -9, and the same bytes when the speed layer's state is built anew.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Folder, Server, agent, seam};

const CONFIG: &str = r#"
version: 1
name: shop
sources:
  clicks:
    map: { id: $.id, time: $.time }
    fields: { user: string, region: string, cents: int }
    segment: { events: 700, interval: 1h }
views:
  users:
    from: clicks
    dimensions: [user, region]
    keyed: true
    pane: 1m
    windows: [1h]
    measures: { events: count(), cents: stats(cents), latest: last(cents) }
batch: { schedule: "@every 1s" }
"#;
const EVENTS: u64 = 3_000;

/// Event `n`: who, where, how much, and in which second.
fn event(n: u64) -> (String, &'static str, u64, u64) {
    (format!("u/{}", n * 7 % 97), ["eu", "null", "a b"][n as usize % 3], n * n % 1_000, n * 31 % 3_600)
}

/// What each key's state must be: events, sum, and the last by event time, ties by offset.
fn expected() -> BTreeMap<(String, &'static str), (u64, u64, u64)> {
    let mut all: BTreeMap<(String, &'static str), (u64, u64, (u64, u64))> = BTreeMap::new();
    let mut latest: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    for n in 0..EVENTS {
        let (user, region, cents, second) = event(n);
        let state = all.entry((user.clone(), region)).or_default();
        *state = (state.0 + 1, state.1 + cents, state.2.max((second, n)));
        if state.2 == (second, n) {
            latest.insert((user, region), cents);
        }
    }
    all.into_iter().map(|(key, (events, sum, _))| (key.clone(), (events, sum, latest[&key]))).collect()
}

fn path(user: &str, region: &str) -> String {
    let spelled = if region == "null" { "%22null%22" } else { region };
    format!("/api/analytics/views/users/{}/{}", user.replace('/', "%2F"), spelled.replace(' ', "%20"))
}

/// The points of every key.
fn states(server: &Server) -> Vec<Value> {
    let mut out = Vec::new();
    for ((user, region), (events, sum, latest)) in expected() {
        let uri = format!("{}?min_position=clicks/0@{EVENTS}&timeout=20s", path(&user, region));
        let (status, answer) = server.get(&uri).expect("an answer");
        assert_eq!(status, 200, "{uri}: {answer}");
        let point = &answer["points"][0];
        let found = json!([point["user"], point["region"], point["events"], point["cents.sum"], point["latest"]]);
        assert_eq!(found, json!([user, region, events, sum, latest]), "{answer}");
        out.push(answer["points"].clone());
    }
    out
}

#[test]
fn the_state_of_a_key_survives_kill_9_and_a_rebuild_gives_the_same_bytes() {
    let folder = Folder::new("keyed");
    folder.write("seam.yaml", CONFIG);
    let server = Server::start(&folder.0);
    let line = |n: u64| {
        let (user, region, cents, second) = event(n);
        let time = format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
        json!({"id": n.to_string(), "time": time, "user": user, "region": region, "cents": cents}).to_string()
    };
    let lines: Vec<String> = (0..EVENTS).map(line).collect();
    for some in lines.chunks(500) {
        let url = format!("{}/v1/events/clicks", server.url);
        let reply = agent().post(url).header("content-type", "application/x-ndjson").send(some.join("\n"));
        assert_eq!(reply.expect("the events are taken").status(), 202);
    }
    let from_speed = states(&server);
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let (_, views) = server.get("/api/analytics/views").expect("the views");
        if views["views"][0]["generation"].is_u64() && views["views"][0]["rows"].as_u64() > Some(500) {
            break;
        }
        assert!(Instant::now() < give_up, "a generation is published: {views}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(states(&server), from_speed, "from both layers as from one");
    let (_, page) = server.get("/api/analytics/views/users?limit=2").expect("a page");
    assert_eq!(page["keys"][0], json!({"key": "u%2F0/a%20b", "user": "u/0", "region": "a b"}), "{page}");
    assert_eq!(server.get(&path("nobody", "eu")).expect("an answer").0, 404);
    server.kill();
    let server = Server::start(&folder.0);
    assert_eq!(states(&server), from_speed, "after kill -9");
    assert_eq!(server.stop().0, Some(0));
    for arguments in [&["speed", "rebuild", "--compare"][..], &["speed", "rebuild"]] {
        let out = seam().current_dir(&folder.0).args(arguments).output().expect("the built program runs");
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stdout));
    }
    let server = Server::start(&folder.0);
    assert_eq!(states(&server), from_speed, "after a rebuild");
    assert_eq!(server.stop().0, Some(0));
}
