//! `seam.yaml`: as written, then checked and compiled; every problem at once, each with its place.
//!
//! The text becomes a [`tree`] of nodes that know their line and column; `${VAR:-default}` is replaced in its strings
//! ([`environment`]); [`shape`] checks it against the one table of [`keys`], from which [`schema`] is made too; and what
//! is left, names and relations, is checked while the tree is compiled ([`sources`], [`views`], [`sinks`], [`metrics`],
//! [`alerts`], [`settings`]).
//! All of them add to one list of problems, so that a file is put right in one go.
use std::path::PathBuf;
use std::sync::Arc;

use crate::time::Span;
use crate::view::definition::{Figure, Measure, Source, View};
use crate::view::expression::Expression;

mod access;
mod alerts;
mod cases;
mod compile;
mod condition;
mod definitions;
mod environment;
mod identity;
mod kafka;
mod keys;
mod measures;
mod metrics;
mod own_stream;
mod recommend;
mod redis;
mod report;
mod retract;
mod scalars;
mod schedule;
mod schema;
mod secret;
mod settings;
mod shape;
mod sinks;
mod sources;
mod sql;
mod tree;
mod views;

pub use access::{AccessSettings, JwtSettings, Key, KeyHash, Keys, Rate, TlsSettings, keys_of};
pub use alerts::{AlertGroup, AlertRule, Channel, Receiver, Severity, WebhookFormat, Written};
pub use cases::TestCase;
pub use kafka::KafkaStorage;
pub use own_stream::OWN_STREAM;
pub use recommend::{LIMIT_MAX as RECOMMENDED_MAX, Recommendation, WEIGHT_DIGITS, Weights};
pub use redis::RedisSettings;
pub use report::{Problem, Report};
pub use scalars::address;
pub use schedule::Schedule;
pub use schema::schema;
pub use secret::{KEY_PREFIX, Secret};
pub use sinks::{OutputMode, Sink, SinkTopic, Target};
pub use sql::SqlSettings;

/// The version of the file's format.
pub const VERSION: i64 = 1;

/// A whole configuration, checked: every name in it exists and every number is in its range.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the deployment is called; `seam` by default.
    pub name: String,
    /// Where log, state and lake are.
    pub storage: Storage,
    /// The sources in the file's order.
    pub sources: Vec<Arc<Source>>,
    /// How each source takes events over HTTP, in the order of `sources`.
    pub intake: Vec<Intake>,
    /// The views in the file's order.
    pub views: Vec<Arc<View>>,
    /// The sinks of views that have one.
    pub sinks: Vec<Sink>,
    /// The metrics in the file's order. A file without `metrics` offers `<view>.<measure>` for every measure.
    pub metrics: Vec<Metric>,
    /// The recommendations in the file's order. Their views are among `views`.
    pub recommendations: Vec<Recommendation>,
    /// What the dashboard shows.
    pub dashboard: Dashboard,
    /// When the batch layer runs.
    pub batch: BatchSettings,
    /// The HTTP server.
    pub server: ServerSettings,
    /// The groups of alert rules in the file's order. What their expressions and templates name is for [`load_checked`] to check.
    pub alerts: Vec<AlertGroup>,
    /// Who is told of alerts.
    pub notify: Vec<Receiver>,
    /// Sources, views and metrics as a document of the same format, in one spelling: what [`crate::lake::editions`] keeps.
    pub definitions: Arc<str>,
    /// What `seam test` runs.
    pub tests: Vec<TestCase>,
}

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The lake's URL: archive and views. `file://./data` by default; a relative path starts at the working directory.
    pub archive: String,
    /// Where the embedded log and state are kept; `./data` by default.
    pub directory: PathBuf,
    /// The state store.
    pub speed: SpeedStorage,
    /// The log.
    pub log: LogStorage,
    /// How long the embedded log keeps records that are archived and in every view's generation; 1 day by default.
    pub retain_log: Span,
    /// How long the state of a replaced definition is kept after the new one took its name over; 1 hour by default.
    pub retain_replaced: Span,
}

/// The state stores to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpeedStorage {
    /// In [`Storage::directory`]; survives a restart.
    Embedded,
    /// In memory; rebuilt from lake and log at each start.
    Memory,
    /// In a Redis, which every role reaches.
    Redis(Box<RedisSettings>),
}

/// The logs to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogStorage {
    /// In [`Storage::directory`].
    Embedded,
    /// A Kafka cluster.
    Kafka(KafkaStorage),
}

/// How a source takes events in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// The source's name.
    pub source: String,
    /// The body formats it accepts; all that exist unless the file names some.
    pub formats: Vec<Format>,
    /// The Kafka topic that other programs write; `None`: one of the source's own name, which only Seam writes.
    pub topic: Option<String>,
}

/// A body format of `POST /v1/events/{source}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON event or an array of them.
    Json,
    /// One JSON event a line.
    Ndjson,
    /// CloudEvents, structured or batched.
    Cloudevents,
    /// Rows under a header of names.
    Csv,
}

/// A public name of the HTTP API and of Grafana.
#[derive(Debug, Clone)]
pub struct Metric {
    /// Its name, e.g. `flights.total`.
    pub name: String,
    /// What its value is.
    pub kind: MetricKind,
    /// What it means, for people.
    pub help: Option<String>,
    /// The unit of its value, e.g. `minutes`.
    pub unit: Option<String>,
    /// The value is so much per this, divided by the time that a window covers.
    pub per: Option<Span>,
}

impl Metric {
    /// Whether its value grows with time, so that it can be said per time: a number of events or a sum.
    pub fn can_be_rate(&self) -> bool {
        match &self.kind {
            MetricKind::Measure(measure) => matches!(measure.definition().figure, Figure::Count | Figure::Sum),
            MetricKind::Ratio(..) => false,
        }
    }
}

/// What a metric's value is.
#[derive(Debug, Clone)]
pub enum MetricKind {
    /// A measure of a view.
    Measure(MeasureOf),
    /// The first divided by the second, each merged before the division; null where the second is 0 or null. Both are
    /// measures of views over one source, so that one vector of positions covers both.
    Ratio(MeasureOf, MeasureOf),
}

impl MetricKind {
    /// The measures it is made of: one, or numerator and denominator.
    pub fn measures(&self) -> Vec<&MeasureOf> {
        match self {
            MetricKind::Measure(measure) => vec![measure],
            MetricKind::Ratio(numerator, denominator) => vec![numerator, denominator],
        }
    }
}

/// A measure of a view, of all its keys or of some.
#[derive(Debug, Clone)]
pub struct MeasureOf {
    /// The view.
    pub view: Arc<View>,
    /// The index in [`View::measures`].
    pub measure: usize,
    /// Which keys count: a condition whose field indexes are the view's DIMENSIONS. `None`: all.
    pub filter: Option<Expression>,
}

impl MeasureOf {
    /// The measure itself.
    pub fn definition(&self) -> &Measure {
        &self.view.measures[self.measure]
    }
}

/// What the dashboard shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dashboard {
    /// Whether the file has a `dashboard`; else it is a default.
    pub declared: bool,
    /// The window of every figure on it: a multiple of the pane of every view it needs.
    pub window: Span,
    /// Names of metrics that exist, in order.
    pub metrics: Vec<String>,
}

/// When the batch layer runs.
#[derive(Debug, Clone)]
pub struct BatchSettings {
    /// When; `None`: only by hand (`schedule: off`). Every 15 minutes by default.
    pub schedule: Option<Schedule>,
    /// A run that could not start within this time after its moment is left out; 10 minutes by default.
    pub starting_deadline: Span,
    /// Names of the views it computes; all by default.
    pub views: Vec<String>,
    /// Whether there is a batch layer at all.
    pub mode: Mode,
}

/// Which layers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch and speed: the log is archived, views are recomputed from the archive, and the speed layer adds what is newer.
    Lambda,
    /// Speed alone: views are what the log folds to, rebuilt by replaying it; the log keeps everything.
    Kappa,
}

/// How much a query of the Prometheus API may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrometheusSettings {
    /// Series that one selector may have; 50,000 by default.
    pub max_series: usize,
    /// How long a query may take at most; 30 s by default.
    pub timeout: Span,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Address and port, `127.0.0.1:8080` by default.
    pub listen: std::net::SocketAddr,
    /// Connections at once; 10,000 by default.
    pub connections: usize,
    /// How long a query may take that does not say; 10 seconds by default.
    pub query_timeout: Span,
    /// Bytes of the largest request body, after decompression; 16 MiB by default.
    pub max_body: u64,
    /// Who may ask; `None`: everybody who reaches the server, and may do everything.
    pub access: Option<AccessSettings>,
    /// The certificate to serve https with.
    pub tls: Option<TlsSettings>,
    /// Origins whose pages may ask from a browser.
    pub cors: Vec<String>,
    /// Names of this server beside `localhost`, in small letters; others are refused if there are any, or if being on this machine is
    /// all that lets somebody in.
    pub hosts: Vec<String>,
    /// Whether to listen beyond this machine although nobody has to say who it is.
    pub insecure: bool,
    /// SQL over the PostgreSQL wire protocol, if it is wanted.
    pub sql: Option<SqlSettings>,
    /// Limits of the Prometheus API.
    pub prometheus: PrometheusSettings,
}

impl Config {
    /// A source by name.
    pub fn source(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.iter().find(|source| source.name == name)
    }
    /// A view by its public name.
    pub fn view(&self, name: &str) -> Option<&Arc<View>> {
        self.views.iter().find(|view| view.name == name)
    }
    /// A metric by name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
    /// The views over a source, in the file's order.
    pub fn views_of(&self, source: &str) -> Vec<Arc<View>> {
        self.views.iter().filter(|view| view.source.name == source).cloned().collect()
    }
}

/// Reads, checks and compiles a file's `text`; `file` is its name in the report. `${VAR}` is taken from the process's
/// environment, or from the file that `VAR_FILE` names there, as containers hand secrets over.
pub fn load(text: &str, file: &str) -> Result<Config, Report> {
    load_with(text, file, &variable)
}

/// As [`load`]; in a file that is right so far, `check` looks for what only another part of the program can tell.
pub fn load_checked(text: &str, file: &str, check: &dyn Fn(&Config) -> Vec<Problem>) -> Result<Config, Report> {
    let config = load(text, file)?;
    let found = check(&config);
    if found.is_empty() { Ok(config) } else { Err(Report::of(file, text, found)) }
}

/// A variable of the process's environment, or what the file holds that `<name>_FILE` names there.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().or_else(|| from_file(name))
}

fn from_file(name: &str) -> Option<String> {
    let path = std::env::var_os(format!("{name}_FILE"))?;
    Some(std::fs::read_to_string(path).ok()?.trim_end_matches(['\r', '\n']).to_owned())
}

/// As [`load`], with another environment.
pub fn load_with(text: &str, file: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Config, Report> {
    let mut problems = report::Problems::default();
    let config = tree::parse(text, &mut problems).and_then(|mut root| {
        environment::substitute(&mut root, variable, &mut problems);
        problems.next_stage();
        shape::check(&root, &keys::FILE, &mut problems);
        problems.next_stage();
        recommend::expand(&mut root, &mut problems);
        compile::compile(&root, &mut problems)
    });
    problems.finish(config, file, text)
}
