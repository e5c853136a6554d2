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
    user: {user}
    jsonData: {{ database: {name}, sslmode: {tls}, postgresVersion: 1600, timescaledb: false, timeInterval: {interval} }}
    secureJsonData: {{ password: $SEAM_SQL_PASSWORD }}
  - name: Seam operations
    uid: {OPERATIONS}
    type: prometheus
    access: proxy
    url: {prometheus}
    jsonData: {{ httpMethod: POST, prometheusType: Prometheus, timeInterval: 15s }}
"#,
        name = config.name,
        user = config.server.sql.as_ref().map_or("grafana", |sql| &sql.user),
        tls = if config.server.tls.is_some() { "require" } else { "disable" },
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

/// A dashboard of panels, with what all have in common; of one view, or of all.
fn dashboard(page: &Page<'_>, variables: Vec<Value>, panels: Vec<Value>) -> Value {
    json!({
        "uid": page.uid,
        "title": page.title,
        "tags": page.tags,
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "timezone": "browser",
        "annotations": { "list": [publishes(page.view), alerts(page.view)] },
        "templating": { "list": variables },
        "links": [{ "type": "dashboards", "title": "Seam", "tags": ["seam"], "asDropdown": true, "includeVars": false, "keepTime": true }],
        "panels": panels,
    })
}

/// What a dashboard is called and about.
struct Page<'a> {
    uid: &'a str,
    title: &'a str,
    tags: &'a [&'a str],
    /// The view's name; `None` for all.
    view: Option<&'a str>,
}

/// A mark where a generation was published.
fn publishes(view: Option<&str>) -> Value {
    let of = view.map_or(String::new(), |view| format!("{{view={view:?}}}"));
    let expression = format!("max by (view) (data_pipeline_batch_last_publish_timestamp_seconds{of}) * 1000");
    let mut out = annotation("Batch publishes", "blue", &expression, "batch publish", "{{view}}", "view");
    out["useValueForTime"] = json!(true);
    out
}

/// A bar for as long as an alert of `infra/prometheus/rules.yaml` fires: those of the view, and those that are about no view.
fn alerts(view: Option<&str>) -> Value {
    let of = view.map_or(String::new(), |view| format!(", view=~{:?}", format!("{}|", regex::escape(view))));
    let expression = format!("ALERTS{{alertname=~\"Seam.*\", alertstate=\"firing\"{of}}}");
    annotation("Alerts", "red", &expression, "{{alertname}}", "{{severity}} {{view}}{{source}}", "alertname,severity")
}

/// An annotation out of a Prometheus. `target` is what Grafana asks; `expr` and `step` are the same for old ones.
fn annotation(name: &str, color: &str, expression: &str, title: &str, text: &str, tags: &str) -> Value {
    const STEP: &str = "15s";
    json!({
        "name": name,
        "datasource": panel::data_source(OPERATIONS),
        "enable": true,
        "iconColor": color,
        "target": { "refId": "Anno", "expr": expression, "interval": STEP, "range": true, "instant": false },
        "expr": expression,
        "step": STEP,
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": tags,
        "useValueForTime": false,
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
