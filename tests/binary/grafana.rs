//! Grafana's side of the built program: the files of `seam grafana`, and promtool on a running `seam up`.
use std::process::{Command, Output, Stdio};

use seam_services::{installed, skipped};
use serde_json::{Value, json};

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
        skipped("promtool is not installed", "infra/services/services.sh install prometheus");
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

/// Three panels as Grafana sends them, one of nothing, one that is wrong; and what its editor asks for.
const QUESTIONS: &str = r#"{
  "queries": [
    {"refId": "series", "expr": "by_region_events_total", "range": true, "legendFormat": "__auto", PANEL},
    {"refId": "now", "expr": "sum by (region) (increase(by_region_value_sum_total[$__rate_interval]))", "instant": true, PANEL},
    {"refId": "rate", "expr": "rate(by_region_events_total{region=~\"eu|us\"}[$__interval])", "range": true, "exemplar": true, PANEL},
    {"refId": "none", "expr": "no_such_series", "range": true, PANEL},
    {"refId": "wrong", "expr": "sum(", "range": true, PANEL}
  ],
  "resources": [
    {"method": "GET", "path": "api/v1/labels?start=1767225600&end=1767225840"},
    {"method": "GET", "path": "api/v1/label/region/values"},
    {"method": "POST", "path": "api/v1/series", "body": "match%5B%5D=by_region_events_total"},
    {"method": "GET", "path": "api/v1/metadata"},
    {"method": "GET", "path": "api/v1/rules"},
    {"method": "POST", "path": "suggestions", "body": "{\"labelName\": \"region\", \"queries\": [], \"start\": \"1767225600\", \"end\": \"1767225840\"}"}
  ]
}"#;
const PANEL: &str = r#""from": 1767225600000, "to": 1767225780000, "intervalMs": 60000, "maxDataPoints": 100"#;

/// Grafana's own code for a Prometheus data source, given questions; `None` where it is not installed.
pub fn datasource(url: &str, questions: &str) -> Option<Value> {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/services/services.sh");
    if !installed("grafana") {
        return None;
    }
    let mut asking = Command::new(script);
    asking.args(["run", "grafana", url]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = asking.spawn().expect("the script runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), questions.as_bytes()).expect("it listens");
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(serde_json::from_slice(&done.stdout).expect("it answers in JSON"))
}

/// A frame's labels and its values.
fn frame(frame: &Value) -> (Value, Value) {
    (frame["schema"]["fields"][1]["labels"].clone(), frame["data"]["values"].clone())
}

#[test]
fn grafanas_own_data_source_shows_the_numbers() {
    let folder = Folder::new("datasource");
    folder.write("seam.yaml", CONFIG);
    let events = folder.write("events.ndjson", EVENTS);
    let server = Server::start(&folder.0);
    let sent = seam().current_dir(&folder.0).args(["ingest", "--quiet", "--url", &server.url]).arg(&events).output();
    assert!(sent.expect("the program runs").status.success());
    let (url, questions) = (format!("{}/prometheus", server.url), QUESTIONS.replace("PANEL", PANEL));
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let answers = loop {
        let Some(answers) = datasource(&url, &questions) else { return };
        // The events are folded within milliseconds.
        if answers["queries"]["results"]["now"]["frames"].as_array().is_some_and(|frames| frames.len() == 2) {
            break answers;
        }
        assert!(std::time::Instant::now() < give_up, "{answers}");
    };
    assert_eq!(answers["health"]["Message"], "Successfully queried the Prometheus API.");
    let results = &answers["queries"]["results"];
    let minute = |n: u64| 1_767_225_600_000 + n * 60_000;
    let labels = |region: &str| json!({"__name__": "by_region_events_total", "region": region});
    let eu = (labels("eu"), json!([[minute(1), minute(2), minute(3)], [1, 2, 2]]));
    assert_eq!(frame(&results["series"]["frames"][0]), eu);
    assert_eq!(frame(&results["series"]["frames"][1]), (labels("us"), json!([[minute(2), minute(3)], [1, 1]])));
    // Grafana's own rate interval is four minutes here: the exact sums of that window.
    assert_eq!(frame(&results["now"]["frames"][0]), (json!({"region": "eu"}), json!([[minute(3)], [7]])));
    assert_eq!(frame(&results["now"]["frames"][1]), (json!({"region": "us"}), json!([[minute(3)], [5]])));
    let a_minute = 1.0 / 60.0;
    assert_eq!(frame(&results["rate"]["frames"][0]).1, json!([[minute(1), minute(2)], [a_minute, a_minute]]));
    let notice = &results["none"]["frames"][0]["schema"]["meta"]["notices"][0];
    assert_eq!(notice["text"], "there is no series no_such_series");
    assert_eq!((&results["wrong"]["status"], &results["wrong"]["errorSource"]), (&json!(400), &json!("downstream")));
    assert!(results["wrong"]["error"].as_str().is_some_and(|text| text.contains("unclosed left parenthesis")));
    let told: Vec<&Value> = answers["resources"].as_array().expect("a list").iter().map(|told| &told["body"]).collect();
    assert_eq!(told[0]["data"], json!(["__name__", "region", "source"]));
    assert_eq!(told[1]["data"], json!(["eu", "us"]));
    assert_eq!(told[2]["data"].as_array().map(Vec::len), Some(2), "{}", told[2]);
    assert_eq!(told[3]["data"]["by_region_events_total"][0]["type"], "counter");
    assert_eq!(told[4]["data"], json!({"groups": []}));
    assert_eq!(told[5]["data"], json!(["eu", "us"]));
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
