//! Grafana's side of the built program: the files of `seam grafana`, and promtool on a running `seam up`.
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::server::{Folder, Server, seam};

const CONFIG: &str = r#"
version: 1
name: shop
sources:
  clicks:
    map: { id: $.id, time: $.time }
    segment: { events: 2 }
    fields: { region: string, value: int }
views:
  by_region:
    from: clicks
    dimensions: [region]
    pane: 1m
    windows: [5m, 1h]
    measures: { events: count(), value: stats(value) }
metrics:
  events.total: { view: by_region, measure: events }
  value: { view: by_region, measure: value }
batch: { schedule: "@every 1s" }
"#;

const EVENTS: &str = r#"{"id":"a","time":"2026-01-01T00:00:10Z","region":"eu","value":3}
{"id":"b","time":"2026-01-01T00:01:10Z","region":"eu","value":4}
{"id":"c","time":"2026-01-01T00:01:20Z","region":"us","value":5}
{"id":"c","time":"2026-01-01T00:01:20Z","region":"us","value":5}
"#;

/// promtool, or why the test is skipped.
fn promtool(arguments: &[&str]) -> Option<Output> {
    let done = Command::new("promtool").args(arguments).stdin(Stdio::null()).output();
    if done.is_err() {
        let advice = "infra/services/services.sh install prometheus";
        assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: promtool is missing; {advice}");
        eprintln!("SKIPPED: promtool IS NOT INSTALLED: {advice}");
    }
    done.ok()
}

#[test]
fn promtool_asks_the_built_program() {
    let folder = Folder::new("promtool");
    let config = folder.write("seam.yaml", CONFIG);
    let events = folder.write("events.ndjson", EVENTS);
    let server = Server::start(&folder.0);
    let sent =
        seam().args(["--config"]).arg(&config).args(["ingest", "--quiet", "--url", &server.url]).arg(&events).output();
    assert!(sent.expect("the program runs").status.success());
    let url = format!("{}/prometheus", server.url);
    let question = "sum by (region) (increase(by_region_value_sum_total[5m]))";
    let answered = "{region=\"eu\"} => 7 @[1767225780]\n{region=\"us\"} => 5 @[1767225780]\n";
    let ask = || promtool(&["query", "instant", "--time", "1767225780", &url, question]);
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // The events are folded within milliseconds; then generations come, and the answer stays.
    let mut told = String::new();
    while told != answered {
        let Some(done) = ask() else { return };
        told = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(std::time::Instant::now() < give_up, "{told} {}", String::from_utf8_lossy(&done.stderr));
    }
    let generation = || {
        let (_, metrics) = server.get("/api/analytics/metrics").expect("an answer");
        metrics["metrics"][0]["views"][0]["generation"].as_u64()
    };
    while generation().is_none() {
        assert!(std::time::Instant::now() < give_up, "no generation within 60 s");
        let done = ask().expect("promtool was there");
        assert_eq!(String::from_utf8_lossy(&done.stdout), answered);
    }
    assert_eq!(String::from_utf8_lossy(&ask().expect("promtool was there").stdout), answered);
    let values = promtool(&["query", "labels", &url, "region"]).expect("promtool was there");
    assert_eq!(String::from_utf8_lossy(&values.stdout), "eu\nus\n");
    let range = [
        "query",
        "range",
        "--start",
        "1767225660",
        "--end",
        "1767225780",
        "--step",
        "1m",
        &url,
        "by_region_events_total",
    ];
    let ranged = promtool(&range).expect("promtool was there");
    let text = String::from_utf8_lossy(&ranged.stdout).into_owned();
    assert!(ranged.status.success() && text.contains("1 @[1767225660]\n2 @[1767225720]\n2 @[1767225780]"), "{text}");
}

#[test]
fn grafana_gets_its_files() {
    let folder = Folder::new("grafana");
    let config = folder.write("seam.yaml", CONFIG);
    let out = folder.0.join("out");
    let done =
        seam().arg("--config").arg(&config).arg("grafana").arg("--out").arg(&out).output().expect("the program runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let listed = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(listed.lines().count(), 5, "{listed}");
    for path in listed.lines() {
        let text = std::fs::read_to_string(path).expect("it was written");
        if path.ends_with(".json") {
            let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
            assert!(dashboard["uid"].as_str().is_some_and(|uid| uid.starts_with("seam-")));
        } else {
            assert!(text.contains("apiVersion: 1"));
        }
    }
    let sources = std::fs::read_to_string(out.join("provisioning/datasources/seam.yaml")).expect("it was written");
    assert!(sources.contains("url: http://127.0.0.1:8080/prometheus"), "{sources}");
}
