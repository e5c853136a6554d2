//! The API from outside: what its document says is true of the built program, whatever it is asked.
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::server::{Folder, Server, agent};

const CONFIG: &str = r#"
version: 1
name: shop
sources:
  clicks:
    map: { id: $.id, time: $.time, type: $.type }
    fields: { region: string, value: decimal(2), weight: float }
    segment: { events: 50, interval: 1m }
views:
  click_stats:
    from: clicks
    dimensions: [type, region]
    pane: 10s
    windows: [1m, 5m]
    measures: { events: count(), value: stats(value), weight: stats(weight) }
  by_type:
    from: clicks
    dimensions: [type]
    pane: 1m
    windows: [5m, 1h]
    measures: { events: count() }
metrics:
  events.total: { view: click_stats, measure: events }
  eu.total: { view: click_stats, measure: events, where: region = "eu" }
  eu.part: { ratio: [eu.total, events.total] }
  value.sum: { view: click_stats, measure: value.sum }
  weight: { view: click_stats, measure: weight }
  types: { view: by_type, measure: events }
batch: { schedule: "@every 2s" }
"#;

/// Requests of one run at least.
const REQUESTS: u64 = 5_000;
/// Cases that are made for an operation at most.
const EXAMPLES: &str = "250";

fn started(folder: &Folder) -> Server {
    folder.write("seam.yaml", CONFIG);
    let server = Server::start(&folder.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let event = |n: u64| {
        let (region, time) = (["eu", "us", "eu:west"][n as usize % 3], now.saturating_sub(n * 7));
        format!(r#"{{"id":"e{n}","time":{time},"type":"click","region":"{region}","value":{n}.25,"weight":0.5}}"#)
    };
    let events: Vec<String> = (0..400).map(event).collect();
    let url = format!("{}/v1/events/clicks", server.url);
    let reply = agent().post(url).header("content-type", "application/x-ndjson").send(events.join("\n"));
    let mut reply = reply.expect("the events are taken");
    let text = reply.body_mut().read_to_string().expect("a receipt");
    assert_eq!(reply.status(), 202, "{text}");
    server
}

#[test]
fn the_document_names_the_routes_of_every_role() {
    let folder = Folder::new("document");
    let server = started(&folder);
    let (status, document) = server.get("/openapi.json").expect("a document");
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    let paths = document["paths"].as_object().expect("paths");
    for wanted in [
        "/v1/events/{source}",
        "/v1/dead-letters/{source}/{entry}",
        "/v1/dead-letters/{source}/{entry}/replay",
        "/api/analytics/query",
        "/api/analytics/pipeline",
        "/api/analytics/dead_letters",
        "/livez",
        "/metrics",
        "/docs",
    ] {
        assert!(paths.contains_key(wanted), "{wanted}");
    }
    for (path, item) in paths {
        let path = path.replace("{metric}", "events.total").replace("{source}", "clicks").replace("{entry}", "0");
        for method in item.as_object().expect("operations").keys() {
            let wrong = ureq::http::Request::builder().method("TRACE").uri(format!("{}{path}", server.url));
            let refused = agent().run(wrong.body(()).expect("a request")).expect("an answer");
            assert_eq!(refused.status(), 405, "{path}");
            let allowed = refused.headers()["allow"].to_str().expect("text").to_owned();
            assert!(
                allowed.split(',').any(|allowed| allowed.eq_ignore_ascii_case(method)),
                "{method} {path}: {allowed}"
            );
        }
    }
    // Every schema that is named is there.
    let text = document.to_string();
    for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn whatever_the_document_allows_or_forbids_is_answered_as_it_says() {
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/services/services.sh");
    if !seam_services::installed("schemathesis") {
        return;
    }
    let folder = Folder::new("schemathesis");
    let server = started(&folder);
    let report = folder.0.join("report.json");
    let run = Command::new(&services)
        .current_dir(&folder.0)
        .args([
            "run",
            "schemathesis",
            "run",
            &format!("{}/openapi.json", server.url),
            "--seed",
            "5",
            "--max-examples",
            EXAMPLES,
        ])
        // One worker: Python 3.11 fails when two threads parse source at once ("AST constructor recursion depth mismatch").
        .args(["--phases", "examples,coverage,fuzzing", "--no-shrink", "--request-timeout", "20", "--workers", "1"])
        // Feeds do not end.
        .args(["--exclude-path", "/api/analytics/live", "--exclude-path", "/v1/tap/{source}"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .args(["--suppress-health-check", "all", "--warnings", "off", "--report", "json", "--report-json-path"])
        .arg(&report)
        .output()
        .expect("schemathesis starts");
    let told = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}");
    let (_, metrics) = server.get("/metrics").expect("metrics");
    let answered =
        |line: &str| line.starts_with("data_pipeline_queries").then(|| line.rsplit(' ').next()?.parse::<f64>().ok())?;
    let queries: f64 = metrics.as_str().unwrap_or_default().lines().filter_map(answered).sum();
    assert!(requests(&told, &report) >= REQUESTS, "too few requests ({queries} queries): {told}");
    assert_eq!(server.stop().0, Some(0));
}

/// How many requests a run made, as it tells at its end.
fn requests(told: &str, report: &Path) -> u64 {
    let generated = told.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.starts_with("generated"))?;
        words.get(at.checked_sub(1)?)?.replace(',', "").parse::<u64>().ok()
    });
    let text = std::fs::read_to_string(report).unwrap_or_default();
    let of_report = serde_json::from_str::<Value>(&text).ok().and_then(|report| report["test_cases"].as_u64());
    generated.max().max(of_report).unwrap_or(0)
}
