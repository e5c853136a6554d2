//! The platform's own metrics: one registry that every layer bumps and `/metrics` prints.
use prometheus_client::encoding::{EncodeLabelSet, text};
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::log::Partition;

/// What was processed, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EventLabels {
    /// The events' type as their source maps it, `other` beyond the first 64; empty if they have none.
    pub r#type: String,
    /// The source.
    pub source: String,
}

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// The step that failed: `ingest`, `speed`, `archive`, `batch`, `serving`.
    pub r#type: String,
    /// The error's kind; `invalid` for records that are no events.
    pub error: String,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabels {
    /// The source.
    pub source: String,
}

/// What was wrong with refused events.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct IssueLabels {
    /// `missing_fields` or `invalid_data`.
    pub r#type: &'static str,
    /// The source.
    pub source: String,
}

/// One partition of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabels {
    /// The source.
    pub source: String,
    /// The partition's number.
    pub partition: u32,
}

/// One partition that a role works on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PostLabels {
    /// The role: `speed`, `archive`.
    pub role: String,
    /// The source.
    pub source: String,
    /// The partition's number.
    pub partition: u32,
}

/// One view.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ViewLabels {
    /// The view's public name.
    pub view: String,
}

/// One alert rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RuleLabels {
    /// Its group.
    pub group: String,
    /// What its alerts are called.
    pub rule: String,
}

/// What came of telling somebody of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReceiverLabels {
    /// Who is told.
    pub receiver: String,
    /// `told`, `failed` (it is tried again), `refused` or `given up`.
    pub outcome: &'static str,
}

/// One kind of answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueryLabels {
    /// The route: `metric`, `dashboard`, `explain`.
    pub route: &'static str,
    /// The HTTP status.
    pub status: u32,
}

/// A type of events.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TypeLabels {
    /// What a source's events call themselves.
    pub r#type: String,
}

/// The type of records that are no events.
pub const FAILED: &str = "invalid";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: String,
}

type SecondsGauge = Gauge<f64, std::sync::atomic::AtomicU64>;
type SecondsCounter = Counter<f64, std::sync::atomic::AtomicU64>;

/// Every metric of the platform. Bump the public fields; [`Telemetry::encode`] prints them.
#[derive(Debug)]
pub struct Telemetry {
    /// `data_pipeline_events_processed_total{type,source}`
    pub events_processed: Family<EventLabels, Counter>,
    /// `data_pipeline_processing_seconds{type}`: from arrival in the log to the commit by the speed layer, once a commit for each type of
    /// event in it, and as [`FAILED`] for records that are no events.
    pub processing_seconds: Family<TypeLabels, Histogram, fn() -> Histogram>,
    /// `data_pipeline_folded_records_total{source}`: records folded, whatever they were, replayed ones too.
    pub folded_records: Family<SourceLabels, Counter>,
    /// `data_pipeline_fold_seconds_total{source}`: what reading, folding and committing them took.
    pub fold_seconds: Family<SourceLabels, SecondsCounter>,
    /// `data_pipeline_rebuild_records{source,partition}`: what must be folded again if the state is lost now: log end minus B.
    pub rebuild_records: Family<PartitionLabels, Gauge>,
    /// `data_pipeline_state_rebuilds_total{source}`: how often state was found lost, and folded again.
    pub state_rebuilds: Family<SourceLabels, Counter>,
    /// `data_pipeline_errors_total{type,error}`
    pub errors: Family<ErrorLabels, Counter>,
    /// `data_pipeline_consumer_lag_records{source,partition}`: log end minus speed position.
    pub consumer_lag_records: Family<PartitionLabels, Gauge>,
    /// `data_pipeline_archive_lag_records{source,partition}`: log end minus A.
    pub archive_lag_records: Family<PartitionLabels, Gauge>,
    /// `data_pipeline_retention_headroom_records{source,partition}`: A minus the log's start; at 0, what is not archived is about
    /// to be lost (or nothing was forgotten yet and nothing archived).
    pub retention_headroom_records: Family<PartitionLabels, Gauge>,
    /// `data_pipeline_partition_stopped{role,source,partition}`: 1 while an error keeps a role from working on a partition of its.
    pub partition_stopped: Family<PostLabels, Gauge>,
    /// `data_pipeline_recovery_seconds{source,partition}`: from loading the stored state to the log's end, the last time.
    pub recovery_seconds: Family<PartitionLabels, SecondsGauge>,
    /// `data_pipeline_watermark_timestamp_seconds{source}`: the latest event time folded.
    pub watermark_seconds: Family<SourceLabels, SecondsGauge>,
    /// `data_pipeline_batch_last_success_timestamp_seconds{view}`: when a run last ended well, were there new events or not.
    pub batch_last_success_seconds: Family<ViewLabels, SecondsGauge>,
    /// `data_pipeline_batch_last_publish_timestamp_seconds{view}`: when a generation was last published.
    pub batch_last_publish_seconds: Family<ViewLabels, SecondsGauge>,
    /// `data_pipeline_batch_duration_seconds{view}`: of the last run.
    pub batch_duration_seconds: Family<ViewLabels, SecondsGauge>,
    /// `data_pipeline_batch_drift_groups{view}`: groups in which the old generation ⊕ speed and the new one differ.
    pub batch_drift_groups: Family<ViewLabels, Gauge>,
    /// `data_pipeline_late_events_total{source}`: events older than the latest pane already folded; they count all the same.
    pub late_events: Family<SourceLabels, Counter>,
    /// `data_pipeline_duplicate_events_total{source}`
    pub duplicate_events: Family<SourceLabels, Counter>,
    /// `data_pipeline_dead_letters_total{source}`
    pub dead_letters: Family<SourceLabels, Counter>,
    /// `data_pipeline_quality_issues_total{type,source}`: what was wrong with them.
    pub quality_issues: Family<IssueLabels, Counter>,
    /// `data_pipeline_sink_records_total{view}`: records that a sink wrote.
    pub sink_records: Family<ViewLabels, Counter>,
    /// `data_pipeline_sink_outputs_total{view}`: outputs that a sink wrote; on Kafka, each is a transaction.
    pub sink_outputs: Family<ViewLabels, Counter>,
    /// `data_pipeline_sink_late_events_total{view}`: events that came after mode `append` had written their window.
    pub sink_late_events: Family<ViewLabels, Counter>,
    /// `data_pipeline_sink_failures_total{view}`: outputs that failed and were tried again.
    pub sink_failures: Family<ViewLabels, Counter>,
    /// `data_pipeline_sink_last_trigger_timestamp_seconds{view}`: the last trigger after which everything was written.
    pub sink_last_trigger_seconds: Family<ViewLabels, SecondsGauge>,
    /// `data_pipeline_alert_rule_failures_total{group,rule}`: evaluations of an alert rule that failed.
    pub alert_rule_failures: Family<RuleLabels, Counter>,
    /// `data_pipeline_alert_notifications_total{receiver,outcome}`
    pub alert_notifications: Family<ReceiverLabels, Counter>,
    /// `data_pipeline_connections_refused_total`: connections that there was no room for.
    pub connections_refused: Counter,
    /// `data_pipeline_query_seconds`: time to answer a query.
    pub query_seconds: Histogram,
    /// `data_pipeline_queries_total{route,status}`
    pub queries: Family<QueryLabels, Counter>,
    registry: Registry,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut telemetry = Self {
            events_processed: Family::default(),
            processing_seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_1, 4.0, 11))),
            folded_records: Family::default(),
            fold_seconds: Family::default(),
            rebuild_records: Family::default(),
            state_rebuilds: Family::default(),
            errors: Family::default(),
            consumer_lag_records: Family::default(),
            archive_lag_records: Family::default(),
            retention_headroom_records: Family::default(),
            partition_stopped: Family::default(),
            recovery_seconds: Family::default(),
            watermark_seconds: Family::default(),
            batch_last_success_seconds: Family::default(),
            batch_last_publish_seconds: Family::default(),
            batch_duration_seconds: Family::default(),
            batch_drift_groups: Family::default(),
            late_events: Family::default(),
            duplicate_events: Family::default(),
            dead_letters: Family::default(),
            quality_issues: Family::default(),
            sink_records: Family::default(),
            sink_outputs: Family::default(),
            sink_late_events: Family::default(),
            sink_failures: Family::default(),
            sink_last_trigger_seconds: Family::default(),
            alert_rule_failures: Family::default(),
            alert_notifications: Family::default(),
            connections_refused: Counter::default(),
            query_seconds: Histogram::new(exponential_buckets(0.000_05, 4.0, 10)),
            queries: Family::default(),
            registry: Registry::with_prefix("data_pipeline"),
        };
        telemetry.register();
        telemetry
    }

    fn register(&mut self) {
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION").to_owned() }).set(1);
        let registry = &mut self.registry;
        registry.register("events_processed", "Events folded, by their type", self.events_processed.clone());
        registry.register("processing_seconds", "From arrival in the log to commit", self.processing_seconds.clone());
        registry.register("folded_records", "Records folded, whatever they were", self.folded_records.clone());
        registry.register("fold_seconds", "Time to read, fold and commit them", self.fold_seconds.clone());
        registry.register("rebuild_records", "Log end minus the newest batch cut", self.rebuild_records.clone());
        registry.register("state_rebuilds", "State found lost, and folded again", self.state_rebuilds.clone());
        registry.register("errors", "Failures by step and kind", self.errors.clone());
        registry.register("consumer_lag_records", "Log end minus speed position", self.consumer_lag_records.clone());
        registry.register("archive_lag_records", "Log end minus archived position", self.archive_lag_records.clone());
        registry.register(
            "retention_headroom_records",
            "Archived position minus the log's start",
            self.retention_headroom_records.clone(),
        );
        registry.register(
            "partition_stopped",
            "1 while an error keeps a role from a partition",
            self.partition_stopped.clone(),
        );
        registry.register(
            "recovery_seconds",
            "From loading the stored state to the log's end, the last time",
            self.recovery_seconds.clone(),
        );
        registry.register("watermark_timestamp_seconds", "Latest event time folded", self.watermark_seconds.clone());
        registry.register(
            "batch_last_success_timestamp_seconds",
            "When a run last ended well, were there new events or not",
            self.batch_last_success_seconds.clone(),
        );
        registry.register(
            "batch_last_publish_timestamp_seconds",
            "When a generation was last published",
            self.batch_last_publish_seconds.clone(),
        );
        registry.register(
            "batch_duration_seconds",
            "Duration of the last batch run",
            self.batch_duration_seconds.clone(),
        );
        registry.register(
            "batch_drift_groups",
            "Groups in which batch and speed disagree; anything but 0 is a bug",
            self.batch_drift_groups.clone(),
        );
        registry.register("late_events", "Events older than the latest pane folded", self.late_events.clone());
        registry.register("duplicate_events", "Events that repeat an earlier one's id", self.duplicate_events.clone());
        registry.register("dead_letters", "Refused events that were kept aside", self.dead_letters.clone());
        registry.register("quality_issues", "What was wrong with refused events", self.quality_issues.clone());
        registry.register("query_seconds", "Time to answer a query", self.query_seconds.clone());
        registry.register("queries", "Queries by route and status", self.queries.clone());
        registry.register(
            "connections_refused",
            "Connections that there was no room for",
            self.connections_refused.clone(),
        );
        registry.register("build_info", "The running version", build);
        registry.register(
            "alert_rule_failures",
            "Evaluations of an alert rule that failed",
            self.alert_rule_failures.clone(),
        );
        registry.register(
            "alert_notifications",
            "Alerts that somebody was told of, or could not be",
            self.alert_notifications.clone(),
        );
        self.register_sinks();
    }

    fn register_sinks(&mut self) {
        let registry = &mut self.registry;
        registry.register("sink_records", "Records that a sink wrote", self.sink_records.clone());
        registry.register("sink_outputs", "Outputs that a sink wrote", self.sink_outputs.clone());
        registry.register(
            "sink_late_events",
            "Events whose window mode append had written before; they are not in its output",
            self.sink_late_events.clone(),
        );
        registry.register("sink_failures", "Outputs that failed and were tried again", self.sink_failures.clone());
        registry.register(
            "sink_last_trigger_timestamp_seconds",
            "The last trigger after which everything was written",
            self.sink_last_trigger_seconds.clone(),
        );
    }

    /// The labels of one partition.
    pub fn partition_labels(partition: &Partition) -> PartitionLabels {
        PartitionLabels { source: partition.source.clone(), partition: partition.number }
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode_openmetrics(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string does not fail");
        out
    }

    /// Everything in the classic Prometheus text format, in which a counter is declared under its full name.
    pub fn encode(&self) -> String {
        let open = self.encode_openmetrics();
        let counters: Vec<&str> =
            open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
        let mut out = String::with_capacity(open.len());
        for line in open.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
            let declared = line.strip_prefix("# TYPE ").or_else(|| line.strip_prefix("# HELP "));
            match declared.and_then(|rest| rest.split_once(' ')) {
                Some((name, rest)) if counters.contains(&name) => {
                    out.push_str(&line[..7]);
                    out.push_str(name);
                    out.push_str("_total ");
                    out.push_str(rest);
                }
                _ => out.push_str(line),
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_declared_under_their_full_name() {
        let telemetry = Telemetry::new();
        let labels = EventLabels { r#type: "counts".into(), source: "flights".into() };
        telemetry.events_processed.get_or_create(&labels).inc_by(3);
        telemetry.processing_seconds.get_or_create(&TypeLabels { r#type: "flight".to_owned() }).observe(0.002);
        let text = telemetry.encode();
        assert!(text.contains("# TYPE data_pipeline_events_processed_total counter\n"), "{text}");
        assert!(
            text.contains("data_pipeline_events_processed_total{type=\"counts\",source=\"flights\"} 3\n"),
            "{text}"
        );
        assert!(text.contains("data_pipeline_processing_seconds_count{type=\"flight\"} 1\n"), "{text}");
        assert!(text.contains("data_pipeline_build_info{version="), "{text}");
        assert!(!text.contains("# EOF"));
        assert!(telemetry.encode_openmetrics().ends_with("# EOF\n"));
    }
}
