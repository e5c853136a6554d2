//! A view over time, from outside: rolled back while it answers, compared with a definition to come, its source extended.
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Folder, Server, agent, seam};

const CONFIG: &str = r#"
version: 1
name: shop
sources:
  clicks:
    map: { id: $.id, time: $.time }
    fields: { region: string, value: int }
    segment: { events: 4 }
views:
  by_region:
    from: clicks
    dimensions: [region]
    pane: 1m
    windows: [1h]
    measures: { events: count(), value: stats(value) }
batch: { schedule: off }
"#;

fn run(folder: &Folder, arguments: &[&str]) -> (i32, String, String) {
    let out = seam().current_dir(&folder.0).args(arguments).output().expect("the built program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
}

fn done(folder: &Folder, arguments: &[&str]) -> String {
    let (code, out, err) = run(folder, arguments);
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    out
}

/// Events number `from` to `to`, every second one with a coupon.
fn events(from: u64, to: u64) -> String {
    let line = |n: u64| {
        let region = if n.is_multiple_of(3) { "eu" } else { "us" };
        let mut event = json!({"id": n.to_string(), "time": format!("2026-01-01T00:{:02}:00Z", n % 60), "region": region, "value": n});
        if n.is_multiple_of(2) {
            event["coupon"] = json!("spring");
        }
        event.to_string() + "\n"
    };
    (from..to).map(line).collect()
}

/// The answer of a metric by a dimension: its generation, and value by group.
fn ask(server: &Server, metric: &str, by: &str) -> (Option<u64>, Vec<(String, u64)>) {
    let url = format!(
        "{}/api/analytics/metrics/{metric}?dimension={by}&window=1h&at=2026-01-01T01:00:00Z&order={by}",
        server.url
    );
    let body = agent().get(&url).call().expect("an answer").body_mut().read_to_string().expect("text");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let points = body["points"].as_array().unwrap_or_else(|| panic!("no points: {body}"));
    let point = |point: &Value| (point[by].as_str().unwrap_or("null").to_owned(), point["value"].as_u64().unwrap_or(0));
    (body["meta"]["stamp"]["views"][0]["generation"].as_u64(), points.iter().map(point).collect())
}

/// Asks until a generation answers; every answer until then must be the same.
fn until(server: &Server, generation: u64, expected: &[(&str, u64)]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (found, points) = ask(server, "by_region.events", "region");
        let points: Vec<(&str, u64)> = points.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(points, expected, "by generation {found:?}");
        if found == Some(generation) {
            return;
        }
        assert!(Instant::now() < deadline, "generation {generation} does not answer, {found:?} does");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_view_is_rolled_back_compared_and_extended_while_it_answers() {
    let folder = Folder::new("life");
    folder.write("seam.yaml", CONFIG);
    for (number, (from, to)) in [(0, 18), (18, 33), (33, 48)].into_iter().enumerate() {
        folder.write("events.ndjson", &events(from, to));
        done(&folder, &["ingest", "-q", "events.ndjson"]);
        if number < 2 {
            done(&folder, &["batch", "run"]);
        }
    }
    let all = [("eu", 16), ("us", 32)];
    let server = Server::start(&folder.0);
    until(&server, 2, &all);
    let out = done(&folder, &["batch", "rollback", "by_region", "--json"]);
    let said: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((said["generation"].as_u64(), said["rollback_to"].as_u64()), (Some(3), Some(1)), "{out}");
    until(&server, 3, &all);
    assert!(done(&folder, &["batch", "status"]).contains("generation 3 (rolled back to 1)"));
    let (code, _, err) = run(&folder, &["batch", "rollback", "by_region", "--to", "9"]);
    assert!(code == 1 && err.contains("cannot go back to generation 9: all files are kept of 1, 2"), "{err}");
    done(&folder, &["batch", "rollback", "by_region", "--to", "2"]);
    until(&server, 4, &all);

    // a definition to come: a new field, and other events
    let new = CONFIG
        .replace("value: int }", "value: { type: decimal(1), was: int }, coupon: { type: string, optional: true } }")
        .replace("dimensions: [region]", "dimensions: [region, coupon]\n    where: value >= 3");
    folder.write("new.yaml", &new);
    let (code, out, err) = run(&folder, &["diff", "--config", "new.yaml", "-o", "json"]);
    assert_eq!(code, 1, "{out}{err}");
    let difference: Value = serde_json::from_str(&out).expect("JSON");
    let difference = &difference[0];
    assert_eq!(difference["dimensions"], json!(["region"]), "what both have: {out}");
    assert_eq!(difference["old"]["from"], "generation 4", "{out}");
    assert_eq!(difference["new"]["from"], "computed from the archive", "{out}");
    let groups = difference["groups"].as_array().expect("groups");
    let of = |region: &str| groups.iter().find(|group| group["key"][1] == region).expect("the region differs");
    assert_eq!(of("eu")["change"], "changed");
    assert_eq!(of("eu")["measures"]["events"]["difference"], "-1", "event 0 is below 3: {out}");
    assert_eq!(of("us")["measures"]["events"]["difference"], "-2", "events 1 and 2 are: {out}");
    assert_eq!(of("us")["measures"]["value.sum"]["difference"], "-3", "{out}");
    let (code, table, _) = run(&folder, &["diff", "by_region", "--config", "new.yaml", "--step", "1h"]);
    assert!(code == 1 && table.contains("0 added, 0 removed, 2 changed, 0 unchanged"), "{table}");
    assert_eq!(run(&folder, &["diff"]).0, 0, "the file that runs differs in nothing");
    assert_eq!(run(&folder, &["diff", "other"]).0, 2);
    assert_eq!(server.stop().0, Some(0));

    // and it takes over
    folder.write("seam.yaml", &new);
    let server = Server::start(&folder.0);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (_, points) = ask(&server, "by_region.events", "region");
        if points == [("eu".to_owned(), 15), ("us".to_owned(), 30)] {
            break;
        }
        assert_eq!(points, [("eu".to_owned(), 16), ("us".to_owned(), 32)], "the old one until then");
        assert!(Instant::now() < deadline, "the new definition does not take over");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (_, coupons) = ask(&server, "by_region.events", "coupon");
    assert!(coupons.contains(&("spring".to_owned(), 22)), "old events have coupons: {coupons:?}");
    done(&folder, &["batch", "run"]);
    let (_, again) = ask(&server, "by_region.events", "coupon");
    assert_eq!(again, coupons, "batch finds them in the old files too");
    assert_eq!(server.stop().0, Some(0));
}
