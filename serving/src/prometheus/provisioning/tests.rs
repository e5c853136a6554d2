//! The files are what Grafana can load, and every expression in them can be asked.
use std::collections::BTreeSet;
use std::path::Path;

use seam_shared::config;
use seam_shared::telemetry::{Telemetry, TypeLabels};

use super::*;
use crate::prometheus::plan::parse;
use crate::testing::{NOW, World, get, json};

fn addresses() -> Addresses {
    let [seam, prometheus, sql] = ["http://serve:8080", "http://prometheus:9090", "serve:5433"].map(str::to_owned);
    Addresses { seam, prometheus, sql }
}

/// The demo's configuration.
fn demo() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seam.yaml");
    let text = std::fs::read_to_string(path).expect("the demo's configuration");
    config::load_with(&text, "seam.yaml", &|_| None).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn the_files_in_infra_are_those_that_the_command_writes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/grafana");
    for (path, text) in files(&demo(), &addresses()) {
        let place = folder.join(&path);
        if std::env::var_os("SEAM_WRITE_GRAFANA").is_some() {
            std::fs::create_dir_all(place.parent().expect("a folder")).expect("made");
            std::fs::write(&place, &text).expect("written");
        }
        let found = std::fs::read_to_string(&place).unwrap_or_default();
        assert!(found == text, "{path} is old; run `just grafana`");
    }
}

#[test]
fn the_sql_source_logs_in_as_the_configuration_says() {
    let text = "version: 1\nserver: { sql: { user: reader, password: x } }\nsources: { s: {} }\nviews: { v: { from: s, measures: { m: count() } } }";
    let config = config::load(text, "seam.yaml").unwrap_or_else(|report| panic!("{report}"));
    let written = files(&config, &addresses()).remove(0).1;
    assert!(written.contains("user: reader\n") && written.contains("sslmode: disable"), "{written}");
}

/// Panels with what is asked of which source.
fn targets(dashboard: &Value) -> Vec<(String, String, String)> {
    let mut out = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        assert_eq!(panel["datasource"]["type"], "prometheus");
        for target in panel["targets"].as_array().expect("targets") {
            out.push((text(&panel["title"]), text(&target["datasource"]["uid"]), text(&target["expr"])));
        }
    }
    out
}

/// An expression with what Grafana puts in the place of its variables.
fn filled(expression: &str, dashboard: &Value) -> String {
    let mut text = expression.replace("$__rate_interval", "1h");
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let name = variable["name"].as_str().expect("a name");
        let value = variable["allValue"].as_str().or(variable["current"]["value"].as_str()).expect("a value");
        text = text.replace(&format!("${{{name}:regex}}"), value).replace(&format!("${name}"), value);
    }
    assert!(!text.contains('$'), "{expression} comes to {text}");
    text
}

#[tokio::test]
async fn every_expression_can_be_asked() {
    let world = World::new(3);
    for view in world.config.views.clone() {
        world.hold(&view, 0, None).await;
    }
    let router = crate::router(world.serving().await);
    // A family without members is not printed, but where it is defined it is named.
    let telemetry = include_str!("../../../../shared/src/telemetry.rs");
    let (mut with_numbers, mut asked) = (0, 0);
    for dashboard in dashboards(&files(&world.config, &addresses())) {
        for (title, source, expression) in targets(&dashboard) {
            let expression = filled(&expression, &dashboard);
            parse(&expression).unwrap_or_else(|failure| panic!("{title}: {expression}: {}", failure.text));
            if source == OPERATIONS {
                for word in expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                    let name = ["_bucket", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
                    assert!(
                        !word.starts_with("data_pipeline") || telemetry.contains(&format!("`{name}")),
                        "{title}: {word}"
                    );
                }
                continue;
            }
            let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let (end, start) = (NOW.0 / 1_000_000, NOW.0 / 1_000_000 - 3_600);
            let url = format!("/prometheus/api/v1/query_range?start={start}&end={end}&step=300&query={escaped}");
            let body = json(get(&router, &url).await).await;
            assert_eq!(body["status"], "success", "{title}: {expression}: {body}");
            assert_eq!(body.get("infos"), None, "{title}: {expression}: {body}");
            with_numbers += usize::from(body["data"]["result"].as_array().is_some_and(|result| !result.is_empty()));
            asked += 1;
        }
    }
    assert!(asked > 10 && with_numbers == asked, "{with_numbers} of {asked} have numbers");
}

#[test]
fn dashboards_are_what_grafana_loads() {
    let mut uids = BTreeSet::new();
    for config in [demo(), config::load(crate::testing::CONFIG, "test.yaml").unwrap_or_else(|r| panic!("{r}"))] {
        for dashboard in dashboards(&files(&config, &addresses())) {
            let uid = dashboard["uid"].as_str().expect("a uid");
            assert!(uid.len() <= 40 && uid.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{uid}");
            uids.insert((config.name.clone(), uid.to_owned()));
            let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
            for panel in dashboard["panels"].as_array().expect("panels") {
                assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{uid}: {panel}");
                let side = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
                assert!(side("x") + side("w") <= 24);
                for cell in (side("x")..side("x") + side("w"))
                    .flat_map(|x| (side("y")..side("y") + side("h")).map(move |y| (x, y)))
                {
                    assert!(cells.insert(cell), "{uid}: panels overlap at {cell:?}");
                }
                assert!(["timeseries", "stat", "bargauge"].contains(&panel["type"].as_str().expect("a type")));
                assert!(!panel["title"].as_str().expect("a title").is_empty());
                let letters: BTreeSet<_> =
                    panel["targets"].as_array().expect("targets").iter().map(|t| t["refId"].to_string()).collect();
                assert_eq!(letters.len(), panel["targets"].as_array().map_or(0, Vec::len));
            }
            assert!(!ids.is_empty());
            let annotations = dashboard["annotations"]["list"].as_array().expect("annotations");
            let names: Vec<&str> = annotations.iter().filter_map(|annotation| annotation["name"].as_str()).collect();
            assert_eq!(names, ["Batch publishes", "Alerts"], "{uid}");
        }
    }
    assert_eq!(uids.len(), 4 + 2 + 2 + 2, "one a view, one for the pipeline, one for the service levels");
}

#[test]
fn annotations_are_of_the_views_publishes_and_of_alerts_that_there_are() {
    let rules = include_str!("../../../../infra/prometheus/rules.yaml");
    let telemetry = include_str!("../../../../shared/src/telemetry.rs");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10 && alerts.iter().all(|name| name.starts_with("Seam")), "{alerts:?}");
    let config = demo();
    let mut of_views = 0;
    for dashboard in dashboards(&files(&config, &addresses())) {
        let annotations = dashboard["annotations"]["list"].as_array().expect("annotations");
        for annotation in annotations {
            assert_eq!(annotation["datasource"], panel::data_source(OPERATIONS));
            let expression = annotation["expr"].as_str().expect("text");
            assert_eq!(annotation["target"]["expr"], expression);
            parse(expression).unwrap_or_else(|failure| panic!("{expression}: {}", failure.text));
        }
        let (publishes, alerts) = (annotations[0]["expr"].as_str(), annotations[1]["expr"].as_str());
        let (publishes, alerts) = (publishes.expect("text"), alerts.expect("text"));
        assert!(telemetry.contains("`data_pipeline_batch_last_publish_timestamp_seconds{view}`"));
        assert_eq!(annotations[0]["useValueForTime"], true, "a publish is marked at its own time");
        let view = config.views.iter().find(|view| dashboard["uid"] == view_uid(&view.name));
        let Some(view) = view else {
            assert!(
                publishes.contains("_seconds)") && alerts.ends_with("alertstate=\"firing\"}"),
                "{publishes} {alerts}"
            );
            continue;
        };
        assert!(publishes.contains(&format!("{{view=\"{}\"}}", view.name)), "{publishes}");
        assert!(alerts.ends_with(&format!(", view=~\"{}|\"}}", view.name)), "{alerts}");
        of_views += 1;
    }
    assert_eq!(of_views, config.views.len());
}

#[test]
fn what_grafana_rounds_to_fits_the_panes() {
    let span = |text: &str| Span::parse(text).expect("a span");
    for (pane, interval) in
        [("1m", "1m"), ("10s", "20s"), ("15m", "30m"), ("5m", "5m"), ("1s", "1s"), ("4m", "1h"), ("1d", "1d")]
    {
        let found = panel::interval(span(pane));
        assert_eq!(found, span(interval), "{pane}");
        assert_eq!(found.0 % span(pane).0, 0);
    }
}

#[test]
fn latencies_in_the_service_levels_are_buckets_of_the_histogram() {
    let telemetry = Telemetry::new();
    let labels = TypeLabels { r#type: "flight".to_owned() };
    telemetry.processing_seconds.get_or_create(&labels).observe(1.0);
    let text = telemetry.encode();
    let slo = operations::slo().to_string();
    for seconds in ["0.4096", "1.6384", "6.5536"] {
        assert!(
            text.contains(&format!("data_pipeline_processing_seconds_bucket{{le=\"{seconds}\",type=\"flight\"}}")),
            "{text}"
        );
        assert!(slo.contains(seconds));
    }
}
