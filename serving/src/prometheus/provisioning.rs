//! Grafana's provisioning files, made from the configuration: data sources, and dashboards as Classic JSON with stable uids.
mod operations;
mod panel;
mod views;

use seam_shared::config::Config;
use seam_shared::time::Span;
use serde_json::{Value, json};

use super::catalogue::{Catalogue, plain};

/// The uid of the data source over answers.
pub const ANSWERS: &str = "seam";
/// The uid of the data source over the platform's own metrics.
pub const OPERATIONS: &str = "seam-operations";
/// Where the dashboards lie in Grafana's container.
const DASHBOARDS: &str = "/etc/grafana/provisioning/dashboards/seam";

/// Where Grafana finds what it asks.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Seam's HTTP API, e.g. `http://127.0.0.1:8080`.
    pub seam: String,
    /// A Prometheus that scrapes Seam's `/metrics`.
    pub prometheus: String,
    /// Seam's SQL port, `host:port`.
    pub sql: String,
}

/// A file to write: its path below the folder, and its text.
pub type File = (String, String);

/// All files for `config`.
pub fn files(config: &Config, addresses: &Addresses) -> Vec<File> {
    let catalogue = Catalogue::new(config);
    let mut out = vec![
        ("provisioning/datasources/seam.yaml".to_owned(), data_sources(config, addresses)),
        ("provisioning/dashboards/seam.yaml".to_owned(), provider(config)),
    ];
    let mut dashboard = |name: String, value: &Value| {
        out.push((format!("provisioning/dashboards/seam/{name}.json"), format!("{value:#}\n")));
    };
    for view in &config.views {
        dashboard(format!("view-{}", plain(&view.name)), &views::dashboard_of(config, &catalogue, view));
    }
    dashboard("pipeline".to_owned(), &operations::pipeline());
    dashboard("slo".to_owned(), &operations::slo());
    out
}

/// All dashboards of a list of files.
pub fn dashboards(files: &[File]) -> Vec<Value> {
    let texts = files.iter().filter(|(path, _)| path.ends_with(".json"));
    texts.map(|(_, text)| serde_json::from_str(text).expect("it was written as JSON")).collect()
}

fn data_sources(config: &Config, addresses: &Addresses) -> String {
    let Addresses { seam, prometheus, sql } = addresses;
    let interval = config.views.iter().map(|view| panel::interval(view.pane)).max().unwrap_or(Span::MINUTE);
    format!(
        r#"# Made by `seam grafana`. Answers come from Seam itself, as a Prometheus and as a PostgreSQL; its own health from a
# Prometheus that scrapes /metrics.
apiVersion: 1
prune: true
datasources:
  - name: Seam
    uid: {ANSWERS}
    type: prometheus
    access: proxy
    url: {seam}/prometheus
    isDefault: true
    jsonData:
      httpMethod: POST
      prometheusType: Prometheus
      prometheusVersion: 2.50.1
      timeInterval: {interval}
      # Events may come late: what a browser keeps of an answer is asked again for this long.
      incrementalQuerying: true
      incrementalQueryOverlapWindow: 1d
      manageAlerts: true
      # With access keys in seam.yaml, take these in:
      # httpHeaderName1: Authorization
    # secureJsonData: {{ httpHeaderValue1: Bearer $SEAM_KEY }}
  - name: Seam SQL
    uid: seam-sql
    type: grafana-postgresql-datasource
    url: {sql}
    user: grafana
    jsonData: {{ database: {name}, sslmode: disable, postgresVersion: 1600, timescaledb: false, timeInterval: {interval} }}
    secureJsonData: {{ password: $SEAM_SQL_PASSWORD }}
  - name: Seam operations
    uid: {OPERATIONS}
    type: prometheus
    access: proxy
    url: {prometheus}
    jsonData: {{ httpMethod: POST, prometheusType: Prometheus, timeInterval: 15s }}
"#,
        name = config.name
    )
}

fn provider(config: &Config) -> String {
    format!(
        r"# Made by `seam grafana`.
apiVersion: 1
providers:
  - name: seam-{}
    folder: Seam
    type: file
    allowUiUpdates: false
    updateIntervalSeconds: 30
    options: {{ path: {DASHBOARDS} }}
",
        config.name
    )
}

/// A dashboard of panels, with what all have in common.
fn dashboard(uid: &str, title: &str, tags: &[&str], variables: Vec<Value>, panels: Vec<Value>) -> Value {
    json!({
        "uid": uid,
        "title": title,
        "tags": tags,
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "timezone": "browser",
        "annotations": { "list": [publishes()] },
        "templating": { "list": variables },
        "links": [{ "type": "dashboards", "title": "Seam", "tags": ["seam"], "asDropdown": true, "includeVars": false, "keepTime": true }],
        "panels": panels,
    })
}

/// A mark where a generation was published.
fn publishes() -> Value {
    json!({
        "name": "Batch publishes",
        "datasource": panel::data_source(OPERATIONS),
        "enable": true,
        "iconColor": "blue",
        "expr": "max by (view) (data_pipeline_batch_last_success_timestamp_seconds) * 1000",
        "step": "15s",
        "titleFormat": "batch publish",
        "textFormat": "{{view}}",
        "tagKeys": "view",
        "useValueForTime": "on",
    })
}

/// The uid of a view's dashboard: at most 40 characters, whatever the view is called.
fn view_uid(name: &str) -> String {
    let uid = format!("seam-view-{}", plain(name));
    if uid.len() <= 40 {
        return uid;
    }
    let hash = blake3::hash(name.as_bytes()).to_hex();
    format!("{}-{}", &uid[..31], &hash[..8])
}

#[cfg(test)]
mod tests;
