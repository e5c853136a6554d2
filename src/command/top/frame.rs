//! What `seam top` shows at one moment.
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::samples::Samples;
use crate::table::table;

/// What changed between two looks, and how things stand.
#[derive(Debug)]
pub struct Frame {
    seconds: f64,
    queries: f64,
    errors: f64,
    query_seconds: Option<f64>,
    fresh_seconds: Option<f64>,
    sources: Vec<SourceLine>,
    partitions: Vec<PartitionLine>,
    views: Vec<ViewLine>,
}

#[derive(Debug)]
struct SourceLine {
    source: String,
    events: f64,
    duplicates: f64,
    dead_letters: f64,
    late: f64,
    behind: Option<f64>,
}

#[derive(Debug)]
struct PartitionLine {
    partition: String,
    lag: Option<f64>,
    archive_lag: Option<f64>,
    uncovered: Option<f64>,
    stopped: bool,
}

#[derive(Debug)]
struct ViewLine {
    view: String,
    age: f64,
    run_seconds: Option<f64>,
    drift: Option<f64>,
}

impl Frame {
    /// What happened between two looks that were so many seconds apart.
    pub fn new(before: &Samples, now: &Samples, seconds: f64, unix_seconds: f64) -> Frame {
        let rate = |metric: &str| (now.sum(metric) - before.sum(metric)).max(0.0) / seconds;
        let mean = |metric: &str| {
            let count = rate(&format!("{metric}_count"));
            (count > 0.0).then(|| rate(&format!("{metric}_sum")) / count)
        };
        Frame {
            seconds,
            queries: rate("queries_total"),
            errors: rate("errors_total"),
            query_seconds: mean("query_seconds"),
            fresh_seconds: mean("processing_seconds"),
            sources: sources(before, now, seconds, unix_seconds),
            partitions: partitions(now),
            views: views(now, unix_seconds),
        }
    }
    /// All of it.
    pub fn to_json(&self) -> Value {
        let source = |s: &SourceLine| {
            json!({ "source": s.source, "events_per_second": s.events, "duplicates_per_second": s.duplicates,
                "dead_letters_per_second": s.dead_letters, "late_per_second": s.late, "watermark_age_seconds": s.behind })
        };
        let partition = |p: &PartitionLine| {
            json!({ "partition": p.partition, "lag_records": p.lag, "archive_lag_records": p.archive_lag,
                "uncovered_records": p.uncovered, "stopped": p.stopped })
        };
        let view = |v: &ViewLine| json!({ "view": v.view, "generation_age_seconds": v.age, "last_run_seconds": v.run_seconds, "drift_groups": v.drift });
        json!({
            "seconds": self.seconds,
            "queries_per_second": self.queries,
            "errors_per_second": self.errors,
            "mean_query_seconds": self.query_seconds,
            "mean_freshness_seconds": self.fresh_seconds,
            "sources": self.sources.iter().map(source).collect::<Vec<_>>(),
            "partitions": self.partitions.iter().map(partition).collect::<Vec<_>>(),
            "views": self.views.iter().map(view).collect::<Vec<_>>(),
        })
    }
}

fn sources(before: &Samples, now: &Samples, seconds: f64, unix_seconds: f64) -> Vec<SourceLine> {
    let rates = |metric: &str| -> BTreeMap<String, f64> {
        let old = before.by(metric, "source");
        let change = |(name, value): (String, f64)| {
            let change = (value - old.get(&name).copied().unwrap_or_default()).max(0.0);
            (name, change / seconds)
        };
        now.by(metric, "source").into_iter().map(change).collect()
    };
    let (events, folded) = (rates("events_processed_total"), rates("folded_records_total"));
    let (duplicates, dead) = (rates("duplicate_events_total"), rates("dead_letters_total"));
    let (late, watermarks) = (rates("late_events_total"), now.by("watermark_timestamp_seconds", "source"));
    let mut names: Vec<&String> = events.keys().chain(folded.keys()).chain(dead.keys()).collect();
    names.sort();
    names.dedup();
    let line = |source: &String| {
        let of = |rates: &BTreeMap<String, f64>| rates.get(source).copied().unwrap_or_default();
        SourceLine {
            source: source.clone(),
            events: of(&events),
            duplicates: of(&duplicates),
            dead_letters: of(&dead),
            late: of(&late),
            behind: watermarks.get(source).map(|seconds| (unix_seconds - seconds).max(0.0)),
        }
    };
    names.into_iter().map(line).collect()
}

fn partitions(now: &Samples) -> Vec<PartitionLine> {
    let (lag, archive) = (now.by_partition("consumer_lag_records"), now.by_partition("archive_lag_records"));
    let (uncovered, stopped) = (now.by_partition("rebuild_records"), now.by_partition("partition_stopped"));
    let mut names: Vec<&String> = lag.keys().chain(archive.keys()).collect();
    names.sort();
    names.dedup();
    let line = |name: &String| PartitionLine {
        partition: name.clone(),
        lag: lag.get(name).copied(),
        archive_lag: archive.get(name).copied(),
        uncovered: uncovered.get(name).copied(),
        stopped: stopped.get(name).is_some_and(|stopped| *stopped > 0.0),
    };
    names.into_iter().map(line).collect()
}

fn views(now: &Samples, unix_seconds: f64) -> Vec<ViewLine> {
    let (runs, drift) = (now.by("batch_duration_seconds", "view"), now.by("batch_drift_groups", "view"));
    let published = now.by("batch_last_success_timestamp_seconds", "view");
    let line = |(view, seconds): (&String, &f64)| ViewLine {
        view: view.clone(),
        age: (unix_seconds - seconds).max(0.0),
        run_seconds: runs.get(view).copied(),
        drift: drift.get(view).copied(),
    };
    published.iter().map(line).collect()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(
        || "-".to_owned(),
        |value| if value < 10.0 && value.fract() != 0.0 { format!("{value:.1}") } else { format!("{value:.0}") },
    )
}

/// A length of time as people say it.
fn age(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(s) if s < 1.0 => format!("{:.0}ms", s * 1e3),
        Some(s) if s < 120.0 => format!("{s:.1}s"),
        Some(s) if s < 7_200.0 => format!("{:.0}m", s / 60.0),
        Some(s) if s < 172_800.0 => format!("{:.1}h", s / 3_600.0),
        Some(s) => format!("{:.0}d", s / 86_400.0),
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "events visible after {}   {} queries/s, {} each   {} errors/s\n",
            age(self.fresh_seconds),
            number(Some(self.queries)),
            age(self.query_seconds),
            number(Some(self.errors)),
        )?;
        let section = |f: &mut fmt::Formatter<'_>, names: &[&str], rows: Vec<Vec<String>>| {
            if rows.is_empty() {
                return Ok(());
            }
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            writeln!(f, "{}\n", table(&names, &rows))
        };
        let rows = self.sources.iter().map(|s| {
            let rates = [s.events, s.duplicates, s.late, s.dead_letters].map(|rate| number(Some(rate)));
            [std::slice::from_ref(&s.source), &rates[..], &[age(s.behind)]].concat()
        });
        section(f, &["SOURCE", "EVENTS/S", "DUPLICATES/S", "LATE/S", "REFUSED/S", "NEWEST EVENT"], rows.collect())?;
        let rows = self.partitions.iter().map(|p| {
            let state = if p.stopped { "STOPPED" } else { "" };
            vec![p.partition.clone(), number(p.lag), number(p.archive_lag), number(p.uncovered), state.to_owned()]
        });
        section(f, &["PARTITION", "LAG", "ARCHIVE LAG", "SINCE GENERATION", ""], rows.collect())?;
        let rows =
            self.views.iter().map(|v| vec![v.view.clone(), age(Some(v.age)), age(v.run_seconds), number(v.drift)]);
        section(f, &["VIEW", "GENERATION AGE", "LAST RUN", "DRIFT"], rows.collect())
    }
}
