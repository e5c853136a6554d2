//! The dashboards of the platform itself, over a Prometheus that scrapes `/metrics`.
use seam_shared::time::Span;
use serde_json::Value;

use super::panel::{Panel, arrange};
use super::{OPERATIONS, Page, dashboard};

const STEP: Span = Span(15_000_000);

fn finish(uid: &str, title: &str, panels: Vec<Panel>) -> Value {
    let panels: Vec<Panel> = panels.into_iter().map(|panel| panel.every(STEP)).collect();
    let page = Page { uid, title, tags: &["seam", "seam-operations"], view: None };
    dashboard(&page, Vec::new(), arrange(OPERATIONS, &panels))
}

/// How the pipeline does, layer by layer.
pub fn pipeline() -> Value {
    let quantile = |q: f64, histogram: &str| {
        format!(
            "histogram_quantile({q}, sum by (le) (rate(data_pipeline_{histogram}_seconds_bucket[$__rate_interval])))"
        )
    };
    let rate = |name: &str, by: &str| format!("sum by ({by}) (rate(data_pipeline_{name}_total[$__rate_interval]))");
    let most = |name: &str, by: &str| format!("max by ({by}) (data_pipeline_{name})");
    let of = "{{source}}/{{partition}}";
    let panels = vec![
        Panel::stat("Events a second", "cps", "sum(rate(data_pipeline_events_processed_total[$__rate_interval]))"),
        Panel::stat("Records behind", "short", "sum(max by (source, partition) (data_pipeline_consumer_lag_records))"),
        Panel::stat(
            "Stopped partitions",
            "short",
            "sum(max by (role, source, partition) (data_pipeline_partition_stopped))",
        ),
        Panel::stat("Groups that drifted", "short", "sum(max by (view) (data_pipeline_batch_drift_groups))"),
        Panel::chart("Events by type", "cps", rate("events_processed", "source, type"), "{{source}} {{type}}")
            .about("What the speed layer folded."),
        Panel::chart("Errors", "cps", rate("errors", "type, error"), "{{type}} {{error}}")
            .about("By the step that failed and the kind of the error."),
        Panel::chart("From the log into the answers", "s", quantile(0.5, "processing"), "median")
            .and(quantile(0.99, "processing"), "99 of 100")
            .about("From an event's arrival in the log to its commit by the speed layer."),
        Panel::chart("Speed layer behind the log", "short", most("consumer_lag_records", "source, partition"), of),
        Panel::chart("Archive behind the log", "short", most("archive_lag_records", "source, partition"), of),
        Panel::chart("What the log may forget", "short", most("retention_headroom_records", "source, partition"), of)
            .about("Archived position minus the log's start: at 0, what is not archived is about to be lost."),
        Panel::chart("Late events", "cps", rate("late_events", "source"), "{{source}}")
            .about("Older than the latest pane already folded. They count all the same."),
        Panel::chart("Duplicates and dead letters", "cps", rate("duplicate_events", "source"), "{{source}} duplicates")
            .and(rate("dead_letters", "source"), "{{source}} dead letters"),
        Panel::chart("Batch runs take", "s", most("batch_duration_seconds", "view"), "{{view}}"),
        Panel::chart("To fold again if the state is lost", "short", most("rebuild_records", "source, partition"), of),
        Panel::chart("Queries", "cps", rate("queries", "route, status"), "{{route}} {{status}}"),
        Panel::chart("Queries take", "s", quantile(0.5, "query"), "median").and(quantile(0.99, "query"), "99 of 100"),
    ];
    finish("seam-pipeline", "Seam: pipeline", panels)
}

/// What is promised: freshness, lag, drift, the age of batch views, answers.
pub fn slo() -> Value {
    let fresh = |seconds: &str| {
        format!(
            "sum(rate(data_pipeline_processing_seconds_bucket{{le=\"{seconds}\"}}[$__rate_interval])) / sum(rate(data_pipeline_processing_seconds_count[$__rate_interval]))"
        )
    };
    let answered = "1 - (sum(rate(data_pipeline_queries_total{status=~\"5..\"}[$__rate_interval])) or vector(0)) / sum(rate(data_pipeline_queries_total[$__rate_interval]))";
    let age = "time() - max by (view) (data_pipeline_batch_last_success_timestamp_seconds)";
    let lag = "time() - max by (source) (data_pipeline_watermark_timestamp_seconds)";
    let note = "Promised: 99 events of 100 are in the answers within 5 s; see infra/runbooks.md#seamstale.";
    let panels = vec![
        Panel::stat("Fresh within 1.6 s", "percentunit", fresh("1.6384")).about(note),
        Panel::stat("Answered", "percentunit", answered).about("Queries that did not fail for reasons of ours."),
        Panel::stat("Groups that drifted", "short", "sum(max by (view) (data_pipeline_batch_drift_groups))")
            .about("Groups in which batch and speed disagree. Promised: 0."),
        Panel::stat("Oldest batch view", "s", format!("max({age})")),
        Panel::chart("Freshness", "percentunit", fresh("0.4096"), "within 0.4 s")
            .and(fresh("1.6384"), "within 1.6 s")
            .and(fresh("6.5536"), "within 6.6 s")
            .about(note),
        Panel::chart("Event time behind the clock", "s", lag, "{{source}}"),
        Panel::chart(
            "Records behind",
            "short",
            "sum by (source) (max by (source, partition) (data_pipeline_consumer_lag_records))",
            "{{source}}",
        ),
        Panel::chart("Age of batch views", "s", age, "{{view}}")
            .about("Promised: less than twice what lies between two runs of the schedule."),
        Panel::chart("Drift", "short", "max by (view) (data_pipeline_batch_drift_groups)", "{{view}}"),
        Panel::chart("Answered", "percentunit", answered, "answered"),
    ];
    finish("seam-slo", "Seam: service levels", panels)
}
