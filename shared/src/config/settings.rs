//! Storage, batch, dashboard and server: values with defaults, and the names they refer to.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::report::{Problems, meant};
use super::tree::Node;
use super::{
    BatchSettings, Dashboard, LogStorage, Metric, Mode, PrometheusSettings, RedisSettings, Schedule, Secret,
    ServerSettings, SpeedStorage, Storage, TlsSettings, access, kafka, scalars,
};
use crate::time::Span;
use crate::view::definition::View;

/// What a deployment without a name is called.
pub(super) const NAME: &str = "seam";
const ARCHIVE: &str = "file://./data";
const DIRECTORY: &str = "./data";
const SCHEDULE: &str = "*/15 * * * *";
const STARTING_DEADLINE: Span = Span(10 * Span::MINUTE.0);
const RETAIN_LOG: Span = Span::DAY;
const RETAIN_REPLACED: Span = Span::HOUR;
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const QUERY_TIMEOUT: Span = Span(10 * Span::SECOND.0);
const MAX_SERIES: usize = 50_000;
const PROMETHEUS_TIMEOUT: Span = Span(30 * Span::SECOND.0);
const CONNECTIONS: usize = 10_000;
const MAX_BODY: u64 = 16 << 20;

/// Where things are kept.
pub(super) fn storage(root: &Node, problems: &mut Problems) -> Storage {
    let node = root.get("storage");
    let text = |name: &str| node.and_then(|n| n.text_of(name));
    let archive = text("archive").unwrap_or(ARCHIVE).to_owned();
    if let Some(place) = node.and_then(|n| n.get("archive")) {
        let scheme = archive.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some("file") => {}
            Some("s3" | "gs" | "az") if cfg!(feature = "cloud") => {}
            Some(cloud @ ("s3" | "gs" | "az")) => {
                let message = format!("archives at {cloud}:// need a build with the feature `cloud`");
                problems.add(place.place, message);
            }
            _ => {
                let hint = archive.starts_with(['.', '/']).then(|| format!("did you mean `file://{archive}`?"));
                problems.suggest(
                    place.place,
                    format!("`{archive}` is no URL of an archive"),
                    hint.or_else(|| Some("write it like file://./data or s3://bucket/prefix".to_owned())),
                );
            }
        }
    }
    let speed = match text("speed") {
        Some("memory") => SpeedStorage::Memory,
        Some(url) if RedisSettings::is_url(url) => redis(root, url, problems),
        _ => {
            check_speed_store(node, problems);
            SpeedStorage::Embedded
        }
    };
    if let Some(place) = node.and_then(|n| n.get("redis"))
        && !text("speed").is_some_and(RedisSettings::is_url)
    {
        let hint = Some("write `speed: redis://host:6379`".to_owned());
        problems.suggest(place.place, "these are settings of a Redis, but the state store is none".to_owned(), hint);
    }
    let log = log(node, problems);
    let directory = PathBuf::from(text("directory").unwrap_or(DIRECTORY));
    let retain_log = node.and_then(|n| n.duration("retain_log")).unwrap_or(RETAIN_LOG);
    let retain_replaced = node.and_then(|n| n.duration("retain_replaced")).unwrap_or(RETAIN_REPLACED);
    Storage { archive, directory, speed, log, retain_log, retain_replaced }
}

/// The log: embedded, or Kafka's brokers. What else is said of Kafka is for the days when the log is there: brokers often come
/// from the environment.
fn log(storage: Option<&Node>, problems: &mut Problems) -> LogStorage {
    let log = storage.and_then(|n| n.get("log"));
    let kafka = storage.and_then(|n| n.get("kafka"));
    let Some((node, text)) = log.and_then(|n| Some((n, n.text()?))).filter(|(_, text)| text.contains(':')) else {
        kafka::storage(String::new(), kafka, problems);
        if let Some(node) = log.filter(|node| node.text().is_some_and(|text| text != "embedded")) {
            let message = format!("`log` cannot be kept in `{}`", node.text().unwrap_or_default());
            problems.suggest(node.place, message, Some("write embedded, or Kafka's brokers like host:9092".to_owned()));
        }
        return LogStorage::Embedded;
    };
    let brokers = kafka::brokers(text).unwrap_or_else(|message| {
        problems.add(node.place, message);
        String::new()
    });
    if !cfg!(feature = "kafka") {
        problems.add(node.place, "this build has no Kafka: its feature `kafka` is off");
    }
    LogStorage::Kafka(kafka::storage(brokers, kafka, problems))
}

/// The state store in a Redis: its URL, and what `redis` says beside it.
fn redis(root: &Node, url: &str, problems: &mut Problems) -> SpeedStorage {
    let storage = root.get("storage");
    let node = storage.and_then(|n| n.get("redis"));
    let text = |name: &str| node.and_then(|n| n.text_of(name)).map(str::to_owned);
    let namespace = text("namespace").unwrap_or_else(|| root.text_of("name").unwrap_or(NAME).to_owned());
    let mut settings = match RedisSettings::parse(url, &namespace) {
        Ok(settings) => settings,
        Err(message) => {
            let place = storage.and_then(|n| n.get("speed")).map_or(root.place, |n| n.place);
            problems.add(place, format!("this is no URL of a Redis: {message}"));
            return SpeedStorage::Embedded;
        }
    };
    for (name, is_there) in [("user", settings.user.is_some()), ("password", settings.password.is_some())] {
        if let Some(place) = node.and_then(|n| n.get(name)).filter(|_| is_there) {
            problems.add(place.place, format!("the URL has a {name} already"));
        }
    }
    settings.user = settings.user.or_else(|| text("user"));
    settings.password = settings.password.or_else(|| text("password").map(Secret::new));
    settings.certificates = text("certificates").map(PathBuf::from);
    if let Some(timeout) = node.and_then(|n| n.duration("timeout")) {
        settings.timeout = Duration::from_micros(timeout.0.unsigned_abs());
    }
    SpeedStorage::Redis(Box::new(settings))
}

/// Says of a state store that there is none like it.
fn check_speed_store(node: Option<&Node>, problems: &mut Problems) {
    const WORDS: [&str; 2] = ["embedded", "memory"];
    let Some(value) = node.and_then(|n| n.get("speed")) else { return };
    let Some(text) = value.text().filter(|text| !WORDS.contains(text)) else { return };
    // What stands before an @ may be a password.
    let shown = text.rsplit_once('@').map_or(text, |(_, place)| place);
    let hint = match meant(text, WORDS) {
        Some(word) => format!("did you mean `{word}`?"),
        None => "write embedded, or a Redis like redis://host:6379".to_owned(),
    };
    problems.suggest(value.place, format!("`speed` cannot be kept in `{shown}`"), Some(hint));
}

/// When the batch layer runs. `None` only if the default schedule cannot be read, which a test rules out.
pub(super) fn batch(root: &Node, views: &[Arc<View>], problems: &mut Problems) -> Option<BatchSettings> {
    let node = root.get("batch");
    let text = |name: &str| node.and_then(|n| n.text_of(name));
    let zone = text("timezone").and_then(|zone| scalars::zone(zone).ok()).unwrap_or(chrono_tz::UTC);
    let schedule = match text("schedule").unwrap_or(SCHEDULE) {
        "off" => None,
        cron => Some(Schedule::parse(cron, zone).or_else(|_| Schedule::parse(SCHEDULE, zone)).ok()?),
    };
    let mut names: Vec<String> = Vec::new();
    match node.and_then(|n| n.get("views")) {
        None => names.extend(views.iter().map(|view| view.name.clone())),
        Some(list) => {
            let declared = root.get("views").map_or(&[][..], Node::entries).iter().map(|(key, _)| key.name.as_str());
            for (name, place) in list.texts() {
                if !declared.clone().any(|known| known == name) {
                    problems.unknown(place, "there is no view", name, declared.clone());
                } else if names.iter().any(|n| n == name) {
                    problems.add(place, format!("the view `{name}` is there already"));
                } else {
                    names.push(name.to_owned());
                }
            }
        }
    }
    let starting_deadline = node.and_then(|n| n.duration("starting_deadline")).unwrap_or(STARTING_DEADLINE);
    let mode = mode(node, problems);
    let schedule = schedule.filter(|_| mode == Mode::Lambda);
    Some(BatchSettings { schedule, starting_deadline, views: names, mode })
}

/// Whether there is a batch layer. Without one, nothing may be said of when it runs.
fn mode(batch: Option<&Node>, problems: &mut Problems) -> Mode {
    if batch.and_then(|n| n.text_of("mode")) != Some("kappa") {
        return Mode::Lambda;
    }
    for (key, node) in batch.map_or(&[][..], Node::entries) {
        if key.name != "mode" && !node.is_null() {
            let message = format!("`{}` is for a batch layer, and `mode: kappa` is without one", key.name);
            problems.suggest(key.place, message, Some("leave it out, or write `mode: lambda`".to_owned()));
        }
    }
    Mode::Kappa
}

/// What the dashboard shows. Its window must suit every view behind its metrics.
pub(super) fn dashboard(root: &Node, metrics: &[Metric], problems: &mut Problems) -> Dashboard {
    let node = root.get("dashboard");
    let mut shown: Vec<&Metric> = Vec::new();
    match node.and_then(|n| n.get("metrics")) {
        None => {
            // what is asked for by key is nothing to show of all keys
            let of_totals = |metric: &&Metric| metric.kind.measures().iter().all(|measure| !measure.view.keyed);
            shown.extend(metrics.iter().filter(of_totals));
            if shown.is_empty() {
                shown.extend(metrics);
            }
        }
        Some(list) => {
            let declared = root.get("metrics").map_or(&[][..], Node::entries);
            for (name, place) in list.texts() {
                match metrics.iter().find(|metric| metric.name == name) {
                    Some(metric) if shown.iter().any(|m| m.name == name) => {
                        problems.add(place, format!("the metric `{}` is there already", metric.name));
                    }
                    Some(metric) => shown.push(metric),
                    None if declared.iter().any(|(key, _)| key.name == name) => {}
                    None => {
                        let known: Vec<&str> = match declared {
                            [] => metrics.iter().map(|m| m.name.as_str()).collect(),
                            [..] => declared.iter().map(|(key, _)| key.name.as_str()).collect(),
                        };
                        problems.unknown(place, "there is no metric", name, known);
                    }
                }
            }
        }
    }
    let views: Vec<&View> = shown.iter().flat_map(|m| m.kind.measures()).map(|m| m.view.as_ref()).collect();
    let fits = |window: Span| views.iter().find(|view| window.0 % view.pane.0 != 0);
    let window = match node.and_then(|n| n.get("window")).and_then(|w| Some((w, w.as_duration()?))) {
        Some((place, window)) => {
            if let Some(view) = fits(window) {
                let message =
                    format!("the window {window} is no multiple of the pane {} of `{}`", view.pane, view.name);
                problems.add(place.place, message);
            }
            window
        }
        None => {
            let offered = views.iter().flat_map(|view| view.windows.iter().copied());
            offered.filter(|window| fits(*window).is_none()).min().unwrap_or(Span::DAY)
        }
    };
    Dashboard { declared: node.is_some(), window, metrics: shown.iter().map(|m| m.name.clone()).collect() }
}

/// The HTTP server.
pub(super) fn server(root: &Node, problems: &mut Problems) -> ServerSettings {
    let node = root.get("server");
    ServerSettings {
        prometheus: prometheus(node.and_then(|n| n.get("prometheus"))),
        sql: node.and_then(|n| n.get("sql")).map(|node| super::sql::settings(root, node, problems)),
        listen: node.and_then(|n| n.text_of("listen")).and_then(scalars::address).unwrap_or(LISTEN),
        connections: connections(node),
        query_timeout: node.and_then(|n| n.duration("query_timeout")).unwrap_or(QUERY_TIMEOUT),
        max_body: node.and_then(|n| n.text_of("max_body")).and_then(scalars::size).unwrap_or(MAX_BODY),
        access: access::access(root, problems),
        tls: node.and_then(|n| n.get("tls")).and_then(|tls| {
            let file = |name: &str| tls.text_of(name).map(PathBuf::from);
            Some(TlsSettings { certificate: file("certificate")?, key: file("key")? })
        }),
        cors: access::origins(root, problems),
        hosts: access::hosts(root, problems),
        insecure: node.and_then(|n| n.text_of("insecure")) == Some("true"),
    }
}

fn connections(node: Option<&Node>) -> usize {
    let connections = node.and_then(|n| n.text_of("connections")).and_then(scalars::whole_number);
    connections.and_then(|n| usize::try_from(n).ok()).unwrap_or(CONNECTIONS)
}

fn prometheus(node: Option<&Node>) -> PrometheusSettings {
    let series = node.and_then(|n| n.text_of("max_series")).and_then(scalars::whole_number);
    PrometheusSettings {
        max_series: series.and_then(|n| usize::try_from(n).ok()).unwrap_or(MAX_SERIES),
        timeout: node.and_then(|n| n.duration("timeout")).unwrap_or(PROMETHEUS_TIMEOUT),
    }
}
