//! Alerts of the built program: real events, a real receiver and a real Alertmanager; killed while an alert fires.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use seam_services::{free_port, skipped};
use serde_json::{Value, json};

use crate::server::{Folder, Server, agent, seam};

const PATIENCE: Duration = Duration::from_secs(90);

fn config(notify: &str) -> String {
    format!(
        r#"
version: 1
name: shop
sources:
  clicks: {{ map: {{ id: $.id, time: $.time }}, fields: {{ region: string }} }}
views:
  by_region: {{ from: clicks, dimensions: [region], pane: 1s, windows: [5m], measures: {{ events: count() }} }}
batch: {{ schedule: "@every 2s" }}
alerts:
  - name: shop
    interval: 1s
    rules:
      - {{ alert: Broken, expr: 'label_replace(by_region_events_total, "x", "$1", "region", "(") > 0' }}
      - alert: Busy
        expr: sum by (region) (increase(by_region_events_total[30s])) > 2
        for: 2s
        labels: {{ severity: critical }}
        annotations: {{ summary: "{{{{ $labels.region }}}}: {{{{ $value }}}} events" }}
      - {{ alert: Quiet, expr: 'sum(increase(by_region_events_total[1m])) > 1000000' }}
notify:
{notify}"#
    )
}

/// A receiver of webhooks that knows no more of HTTP than it must: what it was sent, the key first.
fn receiver() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                loop {
                    let (mut key, mut length) = (String::new(), 0);
                    let mut line = String::new();
                    while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                        let (name, value) = line.trim().split_once(": ").unwrap_or_default();
                        match name.to_lowercase().as_str() {
                            "idempotency-key" => key = value.to_owned(),
                            "content-length" => length = value.parse().expect("a length"),
                            _ => {}
                        }
                        line.clear();
                    }
                    let mut body = vec![0; length];
                    if length == 0 || stream.read_exact(&mut body).is_err() {
                        return;
                    }
                    let answered = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    let body = serde_json::from_slice(&body).expect("JSON");
                    if answered.is_err() || sender.send((key, body)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, received)
}

/// Sends events of the present.
fn send(server: &Server, region: &str, number: u32, count: u32) {
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_millis()).expect("it fits")
    };
    let event = |i: u32| json!({ "id": format!("{region}-{number}-{i}"), "time": now(), "region": region });
    let events: Vec<Value> = (0..count).map(event).collect();
    let post = agent().post(format!("{}/v1/events/clicks", server.url)).header("content-type", "application/json");
    let reply = post.send(Value::from(events).to_string().as_str()).expect("it answers");
    assert_eq!(reply.status(), 202);
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "{what} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The alerts of a name, as the API lists them.
fn listed(server: &Server, name: &str) -> Vec<Value> {
    let (status, body) = server.get("/api/analytics/alerts").expect("it answers");
    assert_eq!(status, 200, "{body}");
    body["alerts"].as_array().expect("a list").iter().filter(|alert| alert["alert"] == name).cloned().collect()
}

#[test]
fn an_alert_is_told_once_and_survives_kill_9() {
    let folder = Folder::new("alerts");
    let (url, received) = receiver();
    folder.write("seam.yaml", &config(&format!("  - webhook: {{ url: \"{url}\" }}\n  - log\n")));
    let server = Server::start(&folder.0);
    // Of old times: they are counted, and fire nothing.
    let old = json!({ "id": "old", "time": "2020-01-01T00:00:00Z", "region": "eu" });
    let old: Vec<Value> = (0..100)
        .map(|i| {
            let mut event = old.clone();
            event["id"] = json!(format!("old-{i}"));
            event
        })
        .collect();
    let post = agent().post(format!("{}/v1/events/clicks", server.url)).header("content-type", "application/json");
    assert_eq!(post.send(Value::from(old).to_string().as_str()).expect("it answers").status(), 202);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(listed(&server, "Busy"), Vec::<Value>::new(), "a replay of old events fires nothing");
    let mut number = 0;
    let (first, body) = wait_for("the alert fires", || {
        number += 1;
        send(&server, "eu", number, 5);
        received.recv_timeout(Duration::from_millis(900)).ok()
    });
    assert_eq!((&body["status"], &body["version"]), (&json!("firing"), &json!("4")), "{body}");
    let labels = json!({ "alertname": "Busy", "region": "eu", "severity": "critical" });
    assert_eq!(body["alerts"][0]["labels"], labels);
    assert!(
        body["alerts"][0]["annotations"]["summary"].as_str().is_some_and(|text| text.starts_with("eu: ")),
        "{body}"
    );
    let alert = listed(&server, "Busy").remove(0);
    assert_eq!(alert["state"], "firing");
    assert!(alert["fired"]["stamp"]["coverage"].as_str().is_some_and(|text| text.contains("clicks/0@")), "{alert}");
    let (_, rules) = server.get("/prometheus/api/v1/rules").expect("it answers");
    let rules = rules["data"]["groups"][0]["rules"].as_array().expect("a list").clone();
    let states: Vec<&str> = rules.iter().map(|rule| rule["state"].as_str().expect("a text")).collect();
    assert_eq!((states, &rules[1]["health"]), (vec!["inactive", "firing", "inactive"], &json!("ok")));
    assert_eq!(rules[0]["health"], "err", "{}", rules[0]);
    let (_, marked) =
        server.get("/prometheus/api/v1/query?query=ALERTS%7Balertname%3D%22Busy%22%7D").expect("it answers");
    let metric = json!({ "__name__": "ALERTS", "alertname": "Busy", "alertstate": "firing", "region": "eu", "severity": "critical" });
    assert_eq!(
        (&marked["data"]["result"][0]["metric"], &marked["data"]["result"][0]["value"][1]),
        (&metric, &json!("1")),
        "{marked}"
    );
    let active = alert["activeAt"].clone();
    server.kill();
    let server = Server::start(&folder.0);
    for _ in 0..4 {
        number += 1;
        send(&server, "eu", number, 5);
        assert_eq!(received.recv_timeout(Duration::from_secs(1)).ok(), None, "a restart fires nothing again");
    }
    let alert = wait_for("the alert is known again", || listed(&server, "Busy").pop());
    assert_eq!((&alert["state"], &alert["activeAt"]), (&json!("firing"), &active));
    let (second, body) = received.recv_timeout(PATIENCE).expect("it is over");
    assert_eq!((&body["status"], &body["alerts"][0]["labels"]), (&json!("resolved"), &labels));
    assert_ne!(first, second);
    let resolved = listed(&server, "Busy").remove(0);
    assert_eq!(resolved["state"], "resolved", "{resolved}");
    assert_eq!(server.stop().0, Some(0));
    let log = std::fs::read_to_string(folder.0.join("server.log")).expect("a log");
    assert_eq!(log.matches("an alert fires").count(), 1, "{log}");
    assert!(received.try_recv().is_err(), "nothing else was told");
}

/// An Alertmanager that is ended by its pid.
struct Alertmanager(Child, String);

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Alertmanager {
    fn start(folder: &Folder, hook: &str) -> Option<Alertmanager> {
        let routes = format!(
            "route: {{ receiver: hook, group_wait: 0s, group_interval: 1s, group_by: [alertname] }}\nreceivers: [{{ name: hook, webhook_configs: [{{ url: {hook:?} }}] }}]\n"
        );
        let listen = format!("127.0.0.1:{}", free_port());
        let config = folder.write("alertmanager.yaml", &routes);
        let mut program = Command::new("prometheus-alertmanager");
        program.arg(format!("--config.file={}", config.display())).arg(format!("--web.listen-address={listen}"));
        program
            .arg(format!("--storage.path={}", folder.0.join("alertmanager").display()))
            .arg("--cluster.listen-address=");
        let child = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if child.is_err() {
            skipped("alertmanager is not installed", "infra/services/services.sh install alerting");
        }
        Some(Alertmanager(child.ok()?, format!("http://{listen}")))
    }
}

#[test]
fn a_real_alertmanager_takes_what_fires_and_what_is_over() {
    let folder = Folder::new("alertmanager");
    let (hook, received) = receiver();
    let Some(alertmanager) = Alertmanager::start(&folder, &hook) else { return };
    folder.write("seam.yaml", &config(&format!("  - alertmanager: {}\n", alertmanager.1)));
    let server = Server::start(&folder.0);
    let mut number = 0;
    let (_, body) = wait_for("Alertmanager tells of it", || {
        number += 1;
        send(&server, "eu", number, 5);
        received.recv_timeout(Duration::from_millis(900)).ok()
    });
    assert_eq!((&body["status"], &body["alerts"][0]["labels"]["region"]), (&json!("firing"), &json!("eu")), "{body}");
    let mut known = agent().get(format!("{}/api/v2/alerts", alertmanager.1)).call().expect("it answers");
    let known: Value = serde_json::from_str(&known.body_mut().read_to_string().expect("text")).expect("JSON");
    assert_eq!(known[0]["labels"], json!({ "alertname": "Busy", "region": "eu", "severity": "critical" }));
    assert_eq!(known[0]["status"]["state"], "active", "{known}");
    let (_, body) = received.recv_timeout(PATIENCE).expect("Alertmanager says that it is over");
    assert_eq!(body["status"], "resolved", "{body}");
}

#[test]
fn rules_are_checked_by_validate() {
    let folder = Folder::new("rules");
    let text = config("  - log\n").replace(
        "sum by (region) (increase(by_region_events_total",
        "sum by (region) (increase(by_regoin_events_total",
    );
    folder.write("seam.yaml", &text);
    let done = seam().current_dir(&folder.0).arg("validate").output().expect("the program runs");
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(78), "{told}");
    assert!(told.contains("there is no series by_regoin_events_total; did you mean by_region_events_total?"), "{told}");
    let line = told.lines().find(|line| line.contains("^^^^")).expect("a caret");
    assert_eq!(line.matches('^').count(), "by_regoin_events_total".len(), "{told}");
    let up = seam().current_dir(&folder.0).arg("up").output().expect("the program runs");
    assert_eq!(up.status.code(), Some(78), "`seam up` refuses what `seam validate` does");
}
