//! The command line: what may be typed, and nothing about how it is done.
mod dead_letters;
mod examples;
mod generations;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use dead_letters::{Dlq, DlqList, DlqReplay, DlqShow};
pub use generations::{BatchRollback, Diff};

/// Seam: streaming and batch analytics with one exact answer.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, after_help = examples::SEAM)]
pub struct Cli {
    /// The configuration file.
    #[arg(short, long, global = true, env = "SEAM_CONFIG", default_value = "seam.yaml")]
    pub config: PathBuf,
    /// How logs are written: human-readable on a terminal, JSON otherwise.
    #[arg(long, global = true, env = "SEAM_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
    /// The key to show to a running Seam. In a variable or a file (SEAM_KEY_FILE) it is in no list of processes.
    #[arg(long, global = true, env = "SEAM_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
    /// A file of certificates (PEM) to trust when a running Seam is asked over https, instead of those that browsers trust.
    #[arg(long, global = true, env = "SEAM_CACERT", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every layer in this process: ingest, speed, archive, scheduled batch, serving.
    #[command(after_help = examples::UP)]
    Up(Process),
    /// Replay a piece of real flight data through every layer and say where to look.
    #[command(after_help = examples::DEMO)]
    Demo(Demo),
    /// Check the configuration; print every problem with its place (exit code 78 if there is one).
    #[command(after_help = examples::VALIDATE)]
    Validate(Validate),
    /// Print the JSON Schema of seam.yaml for editors.
    #[command(after_help = examples::SCHEMA)]
    Schema,
    /// Write Grafana's provisioning files for this configuration: data sources and dashboards.
    #[command(after_help = examples::GRAFANA)]
    Grafana(Grafana),
    /// Send events from files (NDJSON, CSV; .gz, .zst) or standard input (-); without files, take them over HTTP.
    #[command(after_help = examples::INGEST)]
    Ingest(Ingest),
    /// Run the speed layer: fold the log. Any number of these processes share a topic's partitions.
    #[command(after_help = examples::SPEED)]
    Speed(Speed),
    /// Run the archiver: copy the log into the lake. Any number of these processes share a topic's partitions.
    #[command(after_help = examples::ARCHIVE)]
    Archive(Archive),
    /// Run the schedule that recomputes views from the archive; or, with a subcommand, do one thing and end.
    #[command(after_help = examples::BATCH)]
    Batch(Batch),
    /// Write what changed in views to their sinks. Of any number of these processes, one writes each sink.
    #[command(after_help = examples::SINK)]
    Sink(Process),
    /// Show how the configuration's views differ from the definitions that run, bucket by bucket and group by group, before they take
    /// over (exit code 1 if they do, 2 after an error).
    #[command(after_help = examples::DIFF)]
    Diff(Diff),
    /// Answer over HTTP. Any number of these processes may stand behind a balancer.
    #[command(after_help = examples::SERVE)]
    Serve(Process),
    /// Fold a view again from an offset or a time into a shadow, and compare it with the live one.
    #[command(after_help = examples::REPLAY)]
    Replay(Rebuild),
    /// Ask a running Seam for a metric.
    #[command(after_help = examples::QUERY)]
    Query(Query),
    /// Ask how an answer comes about: generation, files, segments, shares.
    #[command(after_help = examples::EXPLAIN)]
    Explain(Query),
    /// Run the configuration's `tests` in speed, batch and merged answers; with --random, prove the views on hostile streams.
    #[command(after_help = examples::TEST)]
    Test(Test),
    /// Look at refused events.
    #[command(subcommand, after_help = examples::DLQ)]
    Dlq(Dlq),
    /// Show events as they come into a running Seam, one JSON object a line; needs the scope `admin`.
    #[command(after_help = examples::TAP)]
    Tap(Tap),
    /// Watch a running Seam: rates, lag, freshness, generations, drift; needs the scope `metrics`.
    #[command(after_help = examples::TOP)]
    Top(Top),
    /// Make and list the keys that clients show.
    #[command(subcommand, after_help = examples::KEYS)]
    Keys(Keys),
    /// Print a script that completes commands, options and values in a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions(Completions),
    /// Try out log, state store, lake, disks and clocks; say what endangers events or numbers (exit code 1 if something does).
    #[command(after_help = examples::DOCTOR)]
    Doctor(Doctor),
}

/// A process that runs until a signal.
#[derive(Debug, Args)]
pub struct Process {
    /// The address to listen on: the configuration's by default; for a role without an API, which answers /livez, /readyz and
    /// /metrics only, any free port of this machine.
    #[arg(long, env = "SEAM_LISTEN")]
    pub listen: Option<String>,
    /// Allow a listen address beyond this machine although no keys are configured.
    #[arg(long)]
    pub insecure: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Events per second to replay.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// End after the replay instead of serving on.
    #[arg(long)]
    pub once: bool,
    /// Where the demo keeps its data (default: a fresh temporary folder).
    #[arg(long)]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Grafana {
    /// The folder to write into; what is in the place of a file is replaced.
    #[arg(short, long, default_value = "grafana")]
    pub out: PathBuf,
    /// Where Grafana finds Seam's HTTP API; by default where the configuration listens.
    #[arg(long)]
    pub url: Option<String>,
    /// Where Grafana finds a Prometheus that scrapes Seam's /metrics.
    #[arg(long, default_value = "http://127.0.0.1:9090")]
    pub prometheus: String,
    /// Where Grafana finds Seam's SQL port; by default where the configuration listens.
    #[arg(long)]
    pub sql: Option<String>,
}

#[derive(Debug, Args)]
pub struct Validate {
    /// Print the problems as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Ingest {
    /// The files; - is standard input. Without any, events are taken over HTTP until a signal.
    pub files: Vec<String>,
    #[command(flatten)]
    pub process: Process,
    /// The source that the events belong to (may be left out when there is just one).
    #[arg(short, long)]
    pub source: Option<String>,
    /// How the files are written; otherwise CSV where a name ends in .csv, .csv.gz or .csv.zst, and NDJSON.
    #[arg(long, value_enum)]
    pub format: Option<FileKind>,
    /// The running Seam to send to; it needs no configuration here.
    #[arg(long, env = "SEAM_URL")]
    pub url: Option<String>,
    /// No progress bar.
    #[arg(short, long)]
    pub quiet: bool,
}

/// How a file's events are written.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum FileKind {
    /// One JSON event a line.
    Ndjson,
    /// Rows under a header of names.
    Csv,
}

#[derive(Debug, Args)]
pub struct Speed {
    #[command(flatten)]
    pub process: Process,
    #[command(subcommand)]
    pub command: Option<SpeedCommand>,
}

#[derive(Debug, Subcommand)]
pub enum SpeedCommand {
    /// Fold views again into a shadow, compare, and let it take the live one's place where they differ.
    Rebuild(Rebuild),
}

#[derive(Debug, Args)]
pub struct Rebuild {
    /// Only these views.
    #[arg(long)]
    pub view: Vec<String>,
    /// Begin at the segment that holds this offset, in every partition that reaches it; by default where the newest generation ends.
    #[arg(long)]
    pub from_offset: Option<u64>,
    /// Begin at the segment that holds what the log received at this time (RFC 3339).
    #[arg(long, conflicts_with = "from_offset")]
    pub from_time: Option<String>,
    /// Compare only: leave the live state as it is even if it differs.
    #[arg(long)]
    pub compare: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Archive {
    #[command(flatten)]
    pub process: Process,
    #[command(subcommand)]
    pub command: Option<ArchiveCommand>,
}

#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Read the whole archive: no gap, no offset twice, every hash and count (exit code 1 and the files if not).
    Verify(Verify),
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Only these sources.
    #[arg(short, long)]
    pub source: Vec<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Batch {
    #[command(flatten)]
    pub process: Process,
    #[command(subcommand)]
    pub command: Option<BatchCommand>,
}

#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// Recompute now and publish (exit code 75 when another run holds the lease).
    Run(BatchRun),
    /// Tell for each view its generation, cut, age, who computes it, drift and rows.
    Status(BatchStatus),
    /// Let a view go back to an earlier generation: it is published once more, and the speed layer folds again from its cut.
    Rollback(BatchRollback),
}

#[derive(Debug, Args)]
pub struct BatchStatus {
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct BatchRun {
    /// Only these views.
    #[arg(long)]
    pub view: Vec<String>,
    /// Recompute every day, not just those that new events touched.
    #[arg(long)]
    pub full: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Query {
    /// The metric, e.g. flights.total.
    pub metric: String,
    /// Break down by a dimension (carrier) or slice (carrier:UA); repeatable.
    #[arg(short, long = "by", value_name = "DIMENSION[:VALUE]")]
    pub by: Vec<String>,
    /// The window's length: 5m, 1d, or day, week, month, quarter, year of the calendar in --tz.
    #[arg(short, long)]
    pub window: Option<String>,
    /// Windows that grow from the start of each day, week, month, quarter, year or length: "today so far".
    #[arg(long, value_name = "PERIOD", conflicts_with = "window")]
    pub cumulative: Option<String>,
    /// Whose calendar counts and how times are shown: an IANA zone like Asia/Shanghai (UTC by default).
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
    /// Show complete windows only: all that had reached the log by some time after their end is counted.
    #[arg(long = "final")]
    pub is_final: bool,
    /// From when (RFC 3339, epoch, or now-6h).
    #[arg(long)]
    pub from: Option<String>,
    /// Until when.
    #[arg(long)]
    pub to: Option<String>,
    /// The end of the only window (now by default).
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub at: Option<String>,
    /// One point per step: 1h, 1d, or day, week, month, quarter, year of the calendar in --tz.
    #[arg(long)]
    pub step: Option<String>,
    /// The value per second, minute, hour, day or length of the time that a window covers.
    #[arg(long)]
    pub per: Option<String>,
    /// Of each step only so many groups: those with the largest values, or whatever --order puts first.
    #[arg(long)]
    pub top: Option<u32>,
    /// What to order by: value, time or a dimension, with - for the largest first (--order=-value).
    #[arg(long, allow_hyphen_values = true)]
    pub order: Option<String>,
    /// What stands for empty windows: null, zero or none.
    #[arg(long)]
    pub fill: Option<String>,
    /// A condition over dimensions, e.g. 'carrier in ["UA", "AA"]'.
    #[arg(long = "where")]
    pub condition: Option<String>,
    /// The most rows to show.
    #[arg(long)]
    pub limit: Option<u32>,
    /// merged, batch or speed.
    #[arg(long)]
    pub layer: Option<String>,
    /// Wait until the answer covers this position (as an ingest answer names it).
    #[arg(long)]
    pub min_position: Option<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The running Seam to ask.
    #[arg(long, env = "SEAM_URL")]
    pub url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Csv,
}

#[derive(Debug, Args)]
pub struct Tap {
    /// The source (may be left out when there is just one).
    pub source: Option<String>,
    /// Where to begin: end, start, -100 for the last hundred of each partition, or positions like flights/0@1234.
    #[arg(long, default_value = "end", allow_hyphen_values = true)]
    pub from: String,
    /// End after that many events.
    #[arg(short = 'n', long)]
    pub limit: Option<u64>,
    /// The running Seam to ask.
    #[arg(long, env = "SEAM_URL")]
    pub url: Option<String>,
}

#[derive(Debug, Args)]
pub struct Top {
    /// Seconds between looks.
    #[arg(short, long, default_value_t = 2.0)]
    pub interval: f64,
    /// Print what one interval brought, and end.
    #[arg(long)]
    pub once: bool,
    /// How to print: a table, or a JSON object a look.
    #[arg(short, long, value_enum, default_value_t = TopOutput::Table)]
    pub output: TopOutput,
    /// The running Seam to ask; repeat it for roles that run as processes of their own.
    #[arg(long, env = "SEAM_URL", value_delimiter = ',')]
    pub url: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TopOutput {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key. It is printed once, on standard output; Seam keeps its hash alone.
    Create(KeysCreate),
    /// List the configured keys: what they are for, and until when.
    List,
}

#[derive(Debug, Args)]
pub struct KeysCreate {
    /// What it is for: ingest:<source>, query:<view>, metrics or admin; * stands for every name; repeatable.
    #[arg(short, long = "scope", value_name = "SCOPE", required = true)]
    pub scopes: Vec<String>,
    /// When it ends: 90d from now, or a time (RFC 3339); never by default.
    #[arg(long)]
    pub expires: Option<String>,
    /// What it is called in lists and logs.
    #[arg(short, long)]
    pub name: Option<String>,
    /// Requests that it may send, like 100/s or 600/m; any number by default.
    #[arg(long)]
    pub rate: Option<String>,
    /// Rows that it may see, e.g. region=eu,us; repeatable.
    #[arg(long, value_name = "DIMENSION=VALUE,…")]
    pub filter: Vec<String>,
    /// Add the hash to this file, the one that server.access.keys names; by default it is printed on standard error.
    #[arg(short, long)]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct Test {
    /// Only the tests whose name contains one of these.
    pub names: Vec<String>,
    /// Also try this many random streams for each source, with the seam at every place, against a plain recomputation.
    #[arg(long, value_name = "STREAMS", num_args = 0..=1, default_missing_value = "50")]
    pub random: Option<u64>,
    /// Mix records of the archive into the random streams.
    #[arg(long, requires = "random")]
    pub sample: bool,
    /// The first seed of the random streams.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Only ask the running Seam at this address whether it is ready (exit code 0 or 69): for health checks.
    #[arg(long, value_name = "URL", conflicts_with = "json")]
    pub ready: Option<String>,
}
