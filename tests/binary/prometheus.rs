//! A real Prometheus beside the built program: it scrapes the platform's own metrics and judges them by the rules of infra/prometheus.
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seam_services::{free_port, skipped};
use serde_json::{Value, json};

use crate::grafana::datasource;
use crate::server::{Folder, Server, agent, seam};

const CONFIG: &str = r#"
version: 1
name: shop
sources:
  clicks: { map: { id: $.id, time: $.time }, segment: { events: 2 }, fields: { region: string } }
views:
  by_region: { from: clicks, dimensions: [region], pane: 1m, windows: [5m], measures: { events: count() } }
metrics:
  events: { view: by_region, measure: events }
batch: { schedule: "@every 1s" }
"#;

/// A Prometheus that is ended by its pid.
struct Prometheus(Child, String);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Prometheus {
    fn start(folder: &Folder, target: &str) -> Option<Prometheus> {
        let rules = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/prometheus/rules.yaml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{:?}]\nscrape_configs:\n  - job_name: seam\n    \
             static_configs: [{{ targets: [{target:?}], labels: {{ role: up }} }}]\n",
            rules.display().to_string()
        );
        let config = folder.write("prometheus.yaml", &config);
        let listen = format!("127.0.0.1:{}", free_port());
        let mut program = Command::new("prometheus");
        program.arg(format!("--config.file={}", config.display())).arg(format!("--web.listen-address={listen}"));
        program.arg(format!("--storage.tsdb.path={}", folder.0.join("tsdb").display()));
        let child = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if child.is_err() {
            skipped("prometheus is not installed", "infra/services/services.sh install prometheus");
        }
        Some(Prometheus(child.ok()?, format!("http://{listen}")))
    }
    fn get(&self, path: &str) -> Option<Value> {
        let mut reply = agent().get(format!("{}{path}", self.1)).call().ok()?;
        serde_json::from_str(&reply.body_mut().read_to_string().ok()?).ok()
    }
    /// The value of a query that has one.
    fn value(&self, query: &str) -> Option<f64> {
        let found = self.get(&format!("/api/v1/query?query={query}"))?;
        found["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

#[test]
fn prometheus_scrapes_the_built_program_and_its_rules_are_quiet() {
    let folder = Folder::new("prometheus");
    folder.write("seam.yaml", CONFIG);
    let line = |i: u32| format!("{{\"id\":\"{i}\",\"time\":\"2026-01-01T00:00:{i:02}Z\",\"region\":\"eu\"}}\n");
    let events = folder.write("events.ndjson", &(0..40).map(line).collect::<String>());
    let server = Server::start(&folder.0);
    let sent = seam().current_dir(&folder.0).args(["ingest", "--quiet", "--url", &server.url]).arg(&events).output();
    assert!(sent.expect("the program runs").status.success());
    let target = server.url.trim_start_matches("http://").to_owned();
    let Some(prometheus) = Prometheus::start(&folder, &target) else { return };
    let give_up = Instant::now() + Duration::from_secs(60);
    let wait_for = |what: &str, holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(Instant::now() < give_up, "{what} within 60 s");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    wait_for("Prometheus scrapes", &|| prometheus.value("up") == Some(1.0));
    let processed = "sum(data_pipeline_events_processed_total%7Bsource%3D%22clicks%22%7D)";
    wait_for("the events are counted", &|| prometheus.value(processed).is_some_and(|count| count >= 40.0));
    let judged = || {
        let rules = prometheus.get("/api/v1/rules")?;
        let groups = rules["data"]["groups"].as_array()?.clone();
        let all: Vec<Value> =
            groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
        (all.len() > 15 && all.iter().all(|rule| rule["health"] != "unknown")).then_some(all)
    };
    wait_for("every rule is evaluated", &|| judged().is_some());
    for rule in judged().expect("they were") {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
    let mut printed = agent().get(format!("{}/metrics", server.url)).call().expect("metrics");
    let printed = printed.body_mut().read_to_string().expect("text");
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool comes with Prometheus");
    std::io::Write::write_all(&mut check.stdin.take().expect("a pipe"), printed.as_bytes()).expect("it listens");
    let checked = check.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{told}");
}

/// What a dashboard's annotations ask, as Grafana sends it.
fn annotations(folder: &Folder, dashboard: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.0.join("grafana/provisioning/dashboards/seam").join(dashboard));
    let dashboard: Value = serde_json::from_str(&text.expect("it was written")).expect("JSON");
    dashboard["annotations"]["list"].as_array().expect("a list").clone()
}

#[test]
fn grafanas_own_data_source_finds_publishes_and_alerts_to_mark() {
    let folder = Folder::new("annotations");
    folder.write("seam.yaml", CONFIG);
    let line = |i: u32| format!("{{\"id\":\"{i}\",\"time\":\"2026-01-01T00:00:{i:02}Z\",\"region\":\"eu\"}}\n");
    let events = folder.write("events.ndjson", &(0..40).map(line).collect::<String>());
    let server = Server::start(&folder.0);
    let run = |arguments: &[&str]| {
        let done = seam().current_dir(&folder.0).args(arguments).output().expect("the program runs");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run(&["ingest", "--quiet", "--url", &server.url, &events.display().to_string()]);
    run(&["grafana"]);
    let Some(prometheus) = Prometheus::start(&folder, server.url.trim_start_matches("http://")) else { return };
    let started = now_millis();
    let refuse = || {
        let post = agent().post(format!("{}/v1/events/clicks", server.url)).header("content-type", "application/json");
        post.send("{\"region\": 1}").expect("it answers");
    };
    // A counter grows between two looks at it: then the alert about dead letters fires.
    let give_up = Instant::now() + Duration::from_secs(60);
    while prometheus.value("count(ALERTS%7Balertstate%3D%22firing%22%7D)").is_none() {
        assert!(Instant::now() < give_up, "an alert fires within 60 s");
        refuse();
        std::thread::sleep(Duration::from_millis(500));
    }
    let published = "data_pipeline_batch_last_publish_timestamp_seconds";
    while prometheus.value(published).is_none() {
        assert!(Instant::now() < give_up, "a generation is published within 60 s");
        std::thread::sleep(Duration::from_millis(200));
    }
    for dashboard in ["view-by_region.json", "pipeline.json", "slo.json"] {
        let asked = annotations(&folder, dashboard);
        // What fires now is in a range that ends a step later.
        let answers = loop {
            let questions: Vec<Value> = asked.iter().map(|annotation| question(annotation, started - 60_000)).collect();
            let Some(answers) = datasource(&prometheus.1, &json!({ "queries": questions }).to_string()) else { return };
            if answers["queries"]["results"]["Alerts"]["frames"][0]["data"]["values"][0].is_array() {
                break answers["queries"]["results"].clone();
            }
            assert!(Instant::now() < give_up, "{dashboard}: no alert to mark: {answers}");
            std::thread::sleep(Duration::from_millis(500));
        };
        let publishes = &answers["Batch publishes"]["frames"][0];
        assert_eq!(publishes["schema"]["fields"][1]["labels"]["view"], "by_region", "{dashboard}: {answers}");
        // The value is the moment of the publish in milliseconds, as `useValueForTime` takes it.
        let moments = publishes["data"]["values"][1].as_array().expect("values").clone();
        let within =
            |at: &Value| at.as_f64().is_some_and(|at| (started - 60_000..=now_millis()).contains(&(at as i64)));
        assert!(!moments.is_empty() && moments.iter().all(within), "{dashboard}: {publishes}");
        let alerts = answers["Alerts"]["frames"].as_array().expect("frames").clone();
        let fires = |frame: &&Value| frame["schema"]["fields"][1]["labels"]["alertname"] == "SeamDeadLetters";
        let alert = alerts.iter().find(fires).unwrap_or_else(|| panic!("{dashboard}: {answers}"));
        assert_eq!(alert["schema"]["fields"][1]["labels"]["alertstate"], "firing");
        let values = alert["data"]["values"][1].as_array().expect("values");
        assert!(!values.is_empty() && values.iter().all(|value| value == 1), "{dashboard}: {alert}");
    }
}

/// What Grafana asks for an annotation, from a moment until now; in steps of Prometheus, so that a few seconds are enough to see it.
fn question(annotation: &Value, from: i64) -> Value {
    let mut target = annotation["target"].clone();
    target["refId"] = annotation["name"].clone();
    (target["from"], target["to"]) = (json!(from), json!(now_millis()));
    (target["intervalMs"], target["maxDataPoints"], target["interval"]) = (json!(1_000), json!(1_000), json!("1s"));
    target
}

fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("it fits")
}
