//! Rules over the small world, moment by moment: what fires, who is told, and what a restart remembers.
mod keeping;
mod views;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use seam_shared::config::{Problem, load_checked};
use seam_shared::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::book::Book;
use super::*;
use crate::router;
use crate::testing::{CONFIG, NOW, World, ask};

const RULES: &str = r#"
alerts:
  - name: shop
    interval: 15s
    rules:
      - { alert: NotANumber, expr: "0 / 0" }
      - { alert: NothingThere, expr: "carriers{carrier=\"nobody\"}" }
      - alert: Busy
        expr: sum by (carrier) (increase(by_route_events_total{carrier="UA"}[1h])) > 0
        for: 30s
        labels: { severity: critical, team: "{{ $labels.carrier }} team" }
        annotations: { summary: "{{ $labels.carrier }} has {{ $value }}" }
  - name: other
    interval: 1m
    rules:
      - { alert: Always, expr: vector(1), labels: { severity: info } }
"#;

/// What a receiver was told: the key and the body.
type Told = Arc<Mutex<Vec<(String, Value)>>>;

/// A receiver that answers with what `status` says.
async fn receiver(status: Arc<Mutex<u16>>) -> (String, Told) {
    let told = Told::default();
    let hook = {
        let told = told.clone();
        post(move |headers: HeaderMap, axum::Json(body): axum::Json<Value>| {
            let key = headers.get("idempotency-key").map_or("", |key| key.to_str().expect("text")).to_owned();
            told.lock().expect("whole").push((key, body));
            let status = axum::http::StatusCode::from_u16(*status.lock().expect("whole")).expect("a status");
            async move { status }
        })
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let router = Router::new().route("/hook", hook.clone()).route("/hook/api/v2/alerts", hook);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, told)
}

struct Scene {
    world: World,
    alerts: Alerts,
    router: Router,
    told: Told,
    status: Arc<Mutex<u16>>,
}

impl Scene {
    async fn new(rules: &str) -> Scene {
        let status = Arc::new(Mutex::new(200));
        let (url, told) = receiver(status.clone()).await;
        let notify = format!("notify: [ {{ webhook: {{ url: \"{url}\", severity: [critical] }} }} ]\n");
        let world = World::of(&format!("{CONFIG}{rules}{notify}"), 7);
        for view in world.config.views.clone() {
            world.hold(&view, 0, None).await;
        }
        let (alerts, router) = started(&world).await;
        Scene { world, alerts, router, told, status }
    }
    /// Another process in its place.
    async fn restart(&mut self) {
        (self.alerts, self.router) = started(&self.world).await;
    }
    /// A tick of every group so many seconds after the world's present, and what was told then.
    async fn tick(&self, seconds: i64) -> Vec<(String, Value)> {
        let at = NOW.plus(Span(seconds * 1_000_000));
        let now = seam_shared::clock::Clock::now(&*self.world.clock);
        self.world.clock.advance(at.0 - now.0);
        for group in &self.alerts.board().groups {
            self.alerts.tick(group, at).await;
        }
        for post in &self.alerts.posts {
            let _ = self.alerts.tell(post).await;
        }
        std::mem::take(&mut *self.told.lock().expect("whole"))
    }
    /// The alerts of a name in the API.
    async fn listed(&self, name: &str) -> Vec<Value> {
        let body = ask(&self.router, "/api/analytics/alerts").await;
        let all = body["alerts"].as_array().expect("a list").iter();
        all.filter(|alert| alert["alert"] == name).cloned().collect()
    }
}

async fn started(world: &World) -> (Alerts, Router) {
    let serving = world.serving().await;
    let alerts = Alerts::new(serving.clone());
    alerts.resume().await.expect("resumed");
    (alerts, router(serving))
}

/// Long enough after the world's events that the last hour holds none.
const LATER: i64 = 5 * 3_600;

#[tokio::test]
async fn an_alert_fires_once_and_is_over_once_whatever_restarts() {
    let mut scene = Scene::new(RULES).await;
    assert_eq!(scene.tick(0).await, []);
    assert_eq!(scene.listed("Busy").await[0]["state"], "pending");
    assert_eq!(scene.tick(15).await, [], "it has not held for 30 s");
    scene.restart().await;
    let told = scene.tick(30).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (key, body) = &told[0];
    let value = body["alerts"][0]["value"].as_str().expect("a text").to_owned();
    assert_eq!((&body["status"], &body["version"]), (&json!("firing"), &json!("4")));
    assert_eq!(body["alerts"][0]["annotations"]["summary"], format!("UA has {value}"));
    let labels = json!({ "alertname": "Busy", "carrier": "UA", "severity": "critical", "team": "UA team" });
    assert_eq!(body["alerts"][0]["labels"], labels);
    // Each alert is a group of its own: whoever tells incidents apart by the group's key ends none of another series.
    assert_eq!(body["groupLabels"], labels);
    assert_eq!(body["groupKey"], r#"shop:{alertname="Busy", carrier="UA", severity="critical", team="UA team"}"#);
    assert_eq!((scene.tick(45).await, scene.tick(60).await), (vec![], vec![]), "it fires already");
    scene.restart().await;
    assert_eq!(scene.tick(75).await, [], "a restart fires nothing again");
    let listed = scene.listed("Busy").await;
    assert_eq!((&listed[0]["state"], &listed[0]["activeAt"]), (&json!("firing"), &json!(NOW.to_rfc3339())));
    assert_eq!(listed[0]["fired"]["value"], value);
    let coverage = listed[0]["fired"]["stamp"]["coverage"].as_str().expect("a stamp");
    assert!(coverage.starts_with("clicks/0@"), "{coverage}");
    scene.restart().await;
    let told = scene.tick(LATER).await;
    assert_eq!(told.len(), 1, "a restart forgets nothing: {told:?}");
    assert_eq!((&told[0].1["status"], &told[0].1["alerts"][0]["labels"]), (&json!("resolved"), &labels));
    assert_ne!(told[0].0, *key, "both are told under keys of their own");
    assert_eq!(scene.tick(LATER + 15).await, []);
    assert_eq!(scene.listed("Busy").await[0]["state"], "resolved");
    scene.tick(LATER + 3_600).await;
    assert!(scene.listed("Busy").await.is_empty());
}

#[tokio::test]
async fn what_is_no_number_or_not_there_fires_nothing_and_a_bad_rule_stops_no_other() {
    // Nobody has checked this file: a rule that cannot be evaluated is its own affair.
    let bad = "      - { alert: Bad, expr: 'nonsense(((' }\n      - { alert: Gauge, expr: 'increase(by_carrier_events[7m])' }\n  - name: other";
    let scene = Scene::new(&RULES.replace("  - name: other", bad)).await;
    for seconds in [0, 15, 30] {
        scene.tick(seconds).await;
    }
    assert_eq!((scene.listed("NotANumber").await, scene.listed("NothingThere").await), (vec![], vec![]));
    assert_eq!((scene.listed("Busy").await.len(), scene.listed("Always").await.len()), (1, 1));
    let body = ask(&scene.router, "/prometheus/api/v1/rules").await;
    let rules = body["data"]["groups"][0]["rules"].as_array().expect("a list");
    let health: Vec<(&str, &str)> =
        rules.iter().map(|rule| (rule["name"].as_str().unwrap(), rule["health"].as_str().unwrap())).collect();
    let expected = [("NotANumber", "ok"), ("NothingThere", "ok"), ("Busy", "ok"), ("Bad", "err")];
    assert_eq!(health[..4], expected);
    assert_eq!((rules[2]["state"].as_str(), rules[2]["duration"].as_f64()), (Some("firing"), Some(30.0)));
    assert!(rules[3]["lastError"].as_str().is_some_and(|error| error.contains("parenthesis")), "{}", rules[3]);
    let body = ask(&scene.router, "/prometheus/api/v1/alerts").await;
    assert_eq!(body["data"]["alerts"][0]["labels"]["alertname"], "Busy");
    let printed = scene.alerts.serving.telemetry.encode();
    let counted = "data_pipeline_alert_rule_failures_total{group=\"shop\",rule=\"Bad\"} 3";
    assert!(printed.contains(counted), "{printed}");
}

#[tokio::test]
async fn what_could_not_be_told_is_told_later_under_the_same_key() {
    let mut scene = Scene::new(&RULES.replace("for: 30s", "for: 0s")).await;
    *scene.status.lock().expect("whole") = 503;
    let first = scene.tick(0).await;
    assert_eq!(first.len(), 1, "it was tried");
    scene.restart().await;
    let second = scene.tick(15).await;
    *scene.status.lock().expect("whole") = 200;
    let third = scene.tick(30).await;
    assert_eq!((&first[0].0, &first[0].0), (&second[0].0, &third[0].0));
    assert_eq!((third.len(), scene.tick(45).await.len()), (1, 0));
    // A receiver that understands and refuses is not asked again.
    *scene.status.lock().expect("whole") = 422;
    assert_eq!((scene.tick(LATER).await.len(), scene.tick(LATER + 15).await.len()), (1, 0));
}

#[tokio::test]
async fn what_a_generation_changes_is_shown_beside_what_fired() {
    let scene = Scene::new(&RULES.replace("for: 30s", "for: 0s")).await;
    let view = scene.world.view("by_route");
    scene.world.publish(&view, scene.world.cuts(0)).await;
    scene.alerts.serving.refresh().await.expect("refreshed");
    scene.tick(0).await;
    let fired = scene.listed("Busy").await[0]["fired"].clone();
    assert_eq!(fired["corrected"], Value::Null);
    // A generation that counts what the speed layer does: the same value, so there is nothing to correct.
    scene.world.publish(&view, scene.world.cuts(1)).await;
    scene.alerts.serving.refresh().await.expect("refreshed");
    scene.tick(15).await;
    assert_eq!(scene.listed("Busy").await[0]["fired"], fired);
    // One that does not, as after an event was erased.
    let mut other = World::of(&format!("{CONFIG}{RULES}"), 7);
    other.events.retain(|event| event.offset % 2 == 0);
    other.lake = scene.world.lake.clone();
    other.publish(&view, other.cuts(2)).await;
    scene.alerts.serving.refresh().await.expect("refreshed");
    scene.tick(30).await;
    let corrected = scene.listed("Busy").await[0]["fired"].clone();
    assert_eq!(
        (&corrected["value"], &corrected["at"], &corrected["stamp"]),
        (&fired["value"], &fired["at"], &fired["stamp"])
    );
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok()).expect("a number");
    assert!(number(&corrected["corrected"]["value"]) < number(&fired["value"]), "{corrected}");
    assert_ne!(corrected["corrected"]["stamp"], fired["stamp"]);
}

#[tokio::test]
async fn a_rule_that_is_gone_is_over() {
    let mut scene = Scene::new(&RULES.replace("for: 30s", "for: 0s")).await;
    assert_eq!(scene.tick(0).await.len(), 1);
    let mut config = (*scene.world.config).clone();
    config.alerts[0].rules.pop();
    scene.world.config = Arc::new(config);
    scene.restart().await;
    let told = scene.tick(15).await;
    assert_eq!((told.len(), &told[0].1["status"]), (1, &json!("resolved")));
}

#[test]
fn pending_alerts_outlive_a_short_outage_alone() {
    let alert = |phase| {
        let labels = [("alertname".to_owned(), "A".to_owned())].into_iter().collect();
        Alert { labels, annotations: Default::default(), value: f64::INFINITY, phase, evidence: None, corrected: None }
    };
    let at = |seconds: i64| Timestamp(seconds * 1_000_000);
    let config = World::of(&format!("{CONFIG}{RULES}"), 1).config;
    let groups = rule::compile(&config);
    let rules: Vec<&Rule> = groups.iter().flat_map(|group| &group.rules).collect();
    let pending = Phase::Pending { active: at(0) };
    let firing = Phase::Firing { active: at(0), fired: at(5), missing: None };
    // A minute may pass between two looks; what goes beyond it does not count.
    for (now, left) in [(-5, Some(0)), (60, Some(0)), (61, Some(1)), (3_600, Some(3_540)), (3_601, None)] {
        let alerts = [(rules[0].key.clone(), vec![alert(pending), alert(firing)])].into_iter().collect();
        let book = Book { at: at(0), alerts, waiting: Vec::new() };
        let text = serde_json::to_string(&book).expect("JSON");
        let mut again: Book = serde_json::from_str(&text).expect("a book");
        assert_eq!(again, book, "what is kept is what is read: {text}");
        assert_eq!(again.resume(&groups, at(now)), []);
        let left = left.map(|active| Phase::Pending { active: at(active) });
        let expected: Vec<Phase> = left.into_iter().chain([firing]).collect();
        let phases: Vec<Phase> = again.alerts[&rules[0].key].iter().map(|alert| alert.phase).collect();
        assert_eq!(phases, expected, "{now} s later");
    }
}

fn problems(rules: &str) -> Vec<(String, Problem)> {
    let text = format!("{CONFIG}alerts:\n  - name: g\n    rules:\n{rules}");
    let report = match load_checked(&text, "seam.yaml", &check) {
        Ok(_) => return Vec::new(),
        Err(report) => report,
    };
    let lines: Vec<&str> = text.lines().collect();
    let marked = |problem: &Problem| {
        lines[problem.line - 1].chars().skip(problem.column - 1).take(problem.length).collect::<String>()
    };
    report.problems.iter().map(|problem| (marked(problem), problem.clone())).collect()
}

#[test]
fn rules_are_refused_when_they_are_written() {
    let bad = [
        (
            "expr: by_route_evnts_total > 1",
            "by_route_evnts_total",
            "there is no series by_route_evnts_total",
            "did you mean",
        ),
        ("expr: sum(errors_rate) > 1", "errors_rate", "there is no series errors_rate", "errors_rate:5m"),
        (
            "expr: by_route_events_total{carier=\"UA\"} > 1",
            "carier",
            "has no label `carier`",
            "did you mean `carrier`?",
        ),
        ("expr: increase(by_route_events_total[90s]) > 1", "by_route_events_total", "[90s] is no multiple", ""),
        ("expr: histogram_quantile(0.9, by_route_events_total)", "", "outside the supported subset", ""),
        ("expr: sum(((", "", "the expression of `A`", ""),
        ("expr: by_route_events_total[5m]", "", "instant vector or a scalar", ""),
        (
            "expr: sum by (carrier) (events_total) > 1, annotations: { s: \"{{ $labels.origin }}\" }",
            "origin",
            "have no label `origin`",
            "`carrier`",
        ),
        (
            "expr: vector(1), annotations: { s: \"all {{ $lables.x }}\" }",
            "",
            "outside what templates can say",
            "{{ $labels.<name> }}",
        ),
    ];
    for (rule, marked, message, suggestion) in bad {
        let rule = rule.strip_prefix("expr: ").expect("a rule");
        let (expr, rest) = rule
            .split_once(", annotations")
            .map_or((rule, String::new()), |(expr, rest)| (expr, format!(", annotations{rest}")));
        let found = problems(&format!("      - {{ alert: A, expr: '{expr}'{rest} }}\n"));
        let [(mark, problem)] = &found[..] else { panic!("{rule}: {found:?}") };
        assert!(problem.message.contains(message), "{rule}: {problem:?}");
        assert!(problem.suggestion.as_deref().unwrap_or_default().contains(suggestion), "{rule}: {problem:?}");
        assert!(marked.is_empty() || mark == marked, "{rule} marks {mark:?}");
    }
    let good = "      - { alert: A, expr: 'sum by (carrier) (rate(events_total[5m])) > 1', annotations: { s: '{{ $labels.carrier }}' } }\n      \
                - { alert: B, expr: 'errors_rate:5m > 0.05 and on () vector(1)', annotations: { s: '{{ $labels.origin }}' } }\n      \
                - { alert: C, expr: 'label_replace(carriers, \"who\", \"$1\", \"carrier\", \"(.*)\") > 1', annotations: { s: '{{ $labels.who }}' } }\n      \
                - { alert: D, expr: 'absent(carriers{carrier=\"UA\"})', annotations: { s: '{{ $labels.carrier }}' } }\n";
    assert_eq!(problems(good).len(), 0, "{:?}", problems(good));
}
