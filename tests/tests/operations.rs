//! What surrounds the program: alert rules that promtool accepts and that fire when they should, on metrics that exist, each with
//! its paragraph in the runbooks; scripts and images.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn infra() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra")
}

fn text(file: &str) -> String {
    std::fs::read_to_string(infra().join(file)).unwrap()
}

fn succeeds(command: &mut Command) {
    let ran = command.output().unwrap();
    let said = [&ran.stdout[..], &ran.stderr[..]].concat();
    assert!(ran.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_accepts_the_rules_and_they_fire_when_they_should() {
    if !seam_services::installed("prometheus") {
        return;
    }
    let folder = infra().join("prometheus");
    succeeds(Command::new("promtool").args(["check", "rules", "rules.yaml"]).current_dir(&folder));
    succeeds(Command::new("promtool").args(["check", "config", "prometheus.yaml"]).current_dir(&folder));
    succeeds(Command::new("promtool").args(["test", "rules", "rules_test.yaml"]).current_dir(&folder));
    let rules = text("prometheus/rules.yaml");
    let tests = text("prometheus/rules_test.yaml");
    for alert in alerts(&rules) {
        let fires = tests.split("alertname: ").skip(1).any(|rest| {
            let (name, after) = rest.split_at(rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len()));
            name == alert && after.trim_start().starts_with("exp_alerts")
        });
        assert!(fires, "no test of {alert} in which it fires");
    }
}

fn alerts(rules: &str) -> Vec<&str> {
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10);
    alerts
}

#[test]
fn every_alert_has_its_paragraph_in_the_runbooks() {
    let (rules, runbooks) = (text("prometheus/rules.yaml"), text("runbooks.md"));
    let headings: Vec<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts(&rules);
    let sorted = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(sorted(&headings), sorted(&alerts));
    for alert in alerts {
        let url = format!("infra/runbooks.md#{}", alert.to_lowercase());
        assert!(rules.lines().any(|line| line.trim() == format!("runbook_url: {url}")), "{alert} names no {url}");
    }
}

#[test]
fn every_metric_of_the_rules_exists() {
    let rules = text("prometheus/rules.yaml");
    // A family without samples prints nothing: what is registered is read where it is.
    let registered = include_str!("../../shared/src/telemetry.rs");
    let mut checked = BTreeSet::new();
    for rest in rules.split("data_pipeline_").skip(1) {
        let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())];
        let name = name.strip_suffix("_bucket").or_else(|| name.strip_suffix("_total")).unwrap_or(name);
        assert!(registered.contains(&format!("\"{name}\"")), "there is no metric data_pipeline_{name}");
        checked.insert(name);
    }
    assert!(checked.len() > 10, "{checked:?}");
}

#[test]
fn scripts_parse_and_images_are_pinned() {
    for script in ["services/services.sh", "services/kafka/start.sh"] {
        succeeds(Command::new("bash").arg("-n").arg(infra().join(script)));
    }
    let compose = text("compose.yaml");
    let images: Vec<&str> = compose.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
    assert!(images.len() >= 5);
    for image in images {
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        assert!(tag.contains(|c: char| c.is_ascii_digit()), "{image} is not pinned");
    }
    for ports in compose.lines().filter_map(|line| line.trim().strip_prefix("ports: ")) {
        for port in ports.trim_matches(['[', ']']).split(", ") {
            assert!(port.starts_with("\"127.0.0.1:"), "{port} is open to the network");
        }
    }
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains("distroless") && dockerfile.contains("\nUSER 65532"));
}

#[test]
fn the_production_example_is_right() {
    let file = "config/production.yaml";
    let config = seam_shared::config::load(&text(file), file).unwrap_or_else(|report| panic!("{report}"));
    let storage = format!("{:?}", config.storage);
    assert!(["Kafka(", "Redis(", "s3://seam/lake"].iter().all(|part| storage.contains(part)), "{storage}");
}
