//! The terminal's way to a running Seam: ask over HTTP, print a table, JSON or CSV.
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use seam_shared::config::{Config, Secret};
use seam_shared::{Error, Kind, Result};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::args::{Output, Query};
use crate::output::counted;

/// How long an answer may take, and a sign of life.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_secs(5);

/// A running Seam.
pub struct Client {
    base: String,
    agent: ureq::Agent,
    key: Option<Secret>,
}

/// What a client shows, and whom it trusts.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The key or token.
    pub key: Option<Secret>,
    /// A file of certificates (PEM) to trust instead of those that browsers trust.
    pub certificates: Option<PathBuf>,
}

/// What came back: the status and the body.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, as JSON where it is JSON.
    pub body: Value,
    /// The body as it came: numbers in it have all their digits.
    text: String,
}

/// The points of an answer, with each value as it is written.
#[derive(Deserialize)]
struct Points {
    points: Vec<Point>,
}

/// Names and values in the order of the answer; `None` is null. Texts that would look like something else are quoted, as they
/// are written in a question.
struct Point(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Point;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a point")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Point, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    let text = match serde_json::from_str(value.get()) {
                        Ok(Value::Null) => None,
                        Ok(Value::String(text)) if text.is_empty() || text == "null" || text.starts_with('"') => {
                            Some(value.get().to_owned())
                        }
                        Ok(Value::String(text)) => Some(text),
                        _ => Some(value.get().to_owned()),
                    };
                    members.push((name, text));
                }
                Ok(Point(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Client {
    /// A client of the Seam at `url`, e.g. `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub fn new(url: &str, credentials: &Credentials) -> Result<Self> {
        let builder = ureq::Agent::config_builder().http_status_as_error(false);
        let builder = builder.tls_config(trust(credentials.certificates.as_deref())?);
        let base = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { base, agent: builder.build().into(), key: credentials.key.clone() })
    }

    /// A client of the Seam that a configuration describes.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn of(config: &Config, credentials: &Credentials) -> Result<Self> {
        let scheme = if config.server.tls.is_some() { "https" } else { "http" };
        let mut address = config.server.listen;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        Client::new(&format!("{scheme}://{address}"), credentials)
    }

    /// Whether a Seam answers there.
    pub fn is_up(&self) -> bool {
        let request = self.agent.get(format!("{}/livez", self.base)).config().timeout_global(Some(GLANCE)).build();
        request.call().is_ok_and(|reply| reply.status() == 200)
    }

    /// GET with query parameters.
    pub fn get(&self, path: &str, parameters: &[(&str, String)]) -> Result<Reply> {
        self.read(self.request(path, parameters).config().timeout_global(Some(PATIENCE)).build().call())
    }

    /// GET of what goes on and on.
    ///
    /// # Errors
    /// As [`Reply::success`].
    pub fn stream(&self, path: &str, parameters: &[(&str, String)]) -> Result<impl std::io::Read> {
        let reply = self.request(path, parameters).call();
        if reply.as_ref().is_ok_and(|reply| reply.status().is_success()) {
            let reply = reply.map_err(|e| self.no_answer().because(e))?;
            return Ok(reply.into_body().into_with_config().limit(u64::MAX).reader());
        }
        Err(self.read(reply)?.success().err().unwrap_or_else(|| self.no_answer()))
    }

    /// The names of its sources.
    ///
    /// # Errors
    /// As [`Reply::success`].
    pub fn sources(&self) -> Result<Vec<String>> {
        let pipeline = self.get("/api/analytics/pipeline", &[])?.success()?;
        let sources = pipeline.get("sources").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let events = sources.iter().filter(|source| source.get("own").and_then(Value::as_bool) == Some(false));
        Ok(events.filter_map(|source| source.get("name")?.as_str().map(str::to_owned)).collect())
    }

    /// POST of a body.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let mut request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {}", key.expose()));
        }
        self.read(request.config().timeout_global(Some(PATIENCE)).build().send(body))
    }

    fn request(&self, path: &str, parameters: &[(&str, String)]) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {}", key.expose()));
        }
        request
    }

    fn no_answer(&self) -> Error {
        let hint = "start one with `seam up`, or name another with --url";
        Error::unavailable(format!("no Seam answers at {}; {hint}", self.base))
    }

    fn read(&self, reply: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply> {
        let mut reply = reply.map_err(|e| self.no_answer().because(e))?;
        let status = reply.status().as_u16();
        let text = reply
            .body_mut()
            .with_config()
            .limit(256 << 20)
            .read_to_string()
            .map_err(|e| Error::unavailable(format!("the answer of {} broke off", self.base)).because(e))?;
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        Ok(Reply { status, body, text })
    }
}

/// Whom to trust: the authorities that browsers trust, or those of a file.
fn trust(certificates: Option<&Path>) -> Result<TlsConfig> {
    let Some(path) = certificates else { return Ok(TlsConfig::default()) };
    let unusable = || Error::invalid(format!("{} holds no certificates", path.display()));
    let pem = std::fs::read(path).map_err(|e| unusable().because(e))?;
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = certificates.collect();
    if certificates.is_empty() {
        return Err(unusable());
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build())
}

impl Reply {
    /// The body of a success, or the problem document as an error.
    pub fn success(self) -> Result<Value> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let kind = match self.status {
            401 | 403 => Kind::Denied,
            404 => Kind::NotFound,
            409 => Kind::Conflict,
            413 | 422 | 429 => Kind::TooLarge,
            500 => Kind::Internal,
            502..=504 => Kind::Unavailable,
            _ => Kind::Invalid,
        };
        let text = |name: &str| self.body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut message = match (text("detail"), text("title")) {
            (detail, _) if !detail.is_empty() => detail,
            (_, title) if !title.is_empty() => title,
            _ => format!("HTTP status {}", self.status),
        };
        for error in self.body.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let detail = error.get("detail").or_else(|| error.get("reason"));
            if let Some(detail) = detail.and_then(Value::as_str).filter(|detail| !message.contains(detail)) {
                message.push_str(&format!("\n  {detail}"));
            }
        }
        Err(Error::new(kind, message))
    }
}

fn parameters(query: &Query) -> Vec<(&'static str, String)> {
    let mut out: Vec<(&'static str, String)> = query.by.iter().map(|by| ("dimension", by.clone())).collect();
    let optional = [
        ("window", &query.window),
        ("cumulative", &query.cumulative),
        ("tz", &query.tz),
        ("from", &query.from),
        ("to", &query.to),
        ("at", &query.at),
        ("step", &query.step),
        ("per", &query.per),
        ("order", &query.order),
        ("fill", &query.fill),
        ("where", &query.condition),
        ("layer", &query.layer),
        ("min_position", &query.min_position),
    ];
    out.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    out.extend(query.limit.map(|limit| ("limit", limit.to_string())));
    out.extend(query.top.map(|top| ("top", top.to_string())));
    out.extend(query.is_final.then(|| ("final", "true".to_owned())));
    out
}

/// `seam query`: the answer, then in a table its stamp.
pub fn query(client: &Client, query: &Query) -> Result<String> {
    let path = format!("/api/analytics/metrics/{}", in_path(&query.metric));
    // The server's own CSV tells the empty text from none.
    let extension = if let Output::Csv = query.output { ".csv" } else { "" };
    let mut reply = client.get(&(path + extension), &parameters(query))?;
    let text = std::mem::take(&mut reply.text);
    let answer = reply.success()?;
    if !matches!(query.output, Output::Table) {
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let read: Points = serde_json::from_str(&text)
        .map_err(|e| Error::internal("the answer is not what this version of seam expects").because(e))?;
    let dimensions = answer.get("dimensions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (names, rows) = columns(&read.points, &dimensions.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let mut lines = vec![table(&names, &rows)];
    if answer.pointer("/meta/truncated").and_then(Value::as_bool) == Some(true) {
        let all = answer.pointer("/meta/rows").and_then(Value::as_u64).unwrap_or_default();
        lines.push(format!("{} of {all} rows; --limit shows more, 10000 at most", rows.len()));
    }
    lines.extend(completeness(&answer));
    lines.push(stamp(answer.pointer("/meta/stamp").unwrap_or(&Value::Null)));
    Ok(lines.join("\n"))
}

/// How the answer comes about.
pub fn explanation(client: &Client, query: &Query) -> Result<Value> {
    let path = format!("/api/analytics/explain/{}", in_path(&query.metric));
    client.get(&path, &parameters(query))?.success()
}

/// A name as it is written in a path: whatever was typed is one name, and the server says that there is none of it.
fn in_path(name: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || byte == b'.' && !name.starts_with('.');
    let letter = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(letter).collect()
}

/// Column names in the order of their first appearance, and the rows.
/// Where there is no figure a cell is empty; a dimension is null.
fn columns(points: &[Point], dimensions: &[&str]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in points.iter().flat_map(|point| &point.0) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let cell = |point: &Point, name: &String| {
        let found = point.0.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.clone());
        found.unwrap_or_else(|| if dimensions.contains(&name.as_str()) { "null".to_owned() } else { String::new() })
    };
    let rows = points.iter().map(|p| names.iter().map(|n| cell(p, n)).collect()).collect();
    (names, rows)
}

/// Columns that are as wide as they must be.
pub fn table(names: &[String], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "no events in that window".to_owned();
    }
    // A key may hold line ends, and what a terminal would take for commands.
    let shown = |cell: &String| {
        cell.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let widths: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(i, name)| rows.iter().map(|r| r[i].chars().count()).chain([name.len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = vec![line(names)];
    out.extend(rows.iter().map(|r| line(r)));
    out.join("\n")
}

/// How many events of an answer came out of a generation.
pub fn batch_events(client: &Client, query: &Query) -> Result<u64> {
    Ok(shares(&answer(client, query)?).0)
}

/// What each half put into an answer, in a sentence.
pub fn parts(client: &Client, query: &Query) -> Result<String> {
    Ok(match shares(&answer(client, query)?) {
        (0, speed) => format!("The answer is the speed layer's: {speed} events"),
        (batch, speed) => format!("The answer is the batch layer's ({batch} events) and the speed layer's ({speed})"),
    })
}

fn answer(client: &Client, query: &Query) -> Result<Value> {
    client.get(&format!("/api/analytics/metrics/{}", query.metric), &parameters(query))?.success()
}

/// The events that batch and speed put into an answer from one view.
fn shares(answer: &Value) -> (u64, u64) {
    let events = |half: &str| answer.pointer(&format!("/meta/stamp/views/0/shares/{half}/events"));
    let count = |half: &str| events(half).and_then(Value::as_u64).unwrap_or_default();
    (count("batch"), count("speed"))
}

/// Of an answer with complete windows only: how far it goes.
fn completeness(answer: &Value) -> Option<String> {
    let text = |path: &str| answer.pointer(path).and_then(Value::as_str).unwrap_or("nothing");
    answer.pointer("/meta/final")?;
    let through = format!("complete through {}", text("/meta/final_through"));
    let left_out = answer.pointer("/meta/left_out").and_then(Value::as_u64).filter(|windows| *windows > 0);
    Some(match left_out {
        Some(windows) => format!("{through}\n{} left out: {}", counted(windows, "window"), text("/meta/why")),
        None => through,
    })
}

/// What a stamp says, in sentences.
pub fn stamp(stamp: &Value) -> String {
    let coverage = stamp.get("coverage").and_then(Value::as_str).unwrap_or("nothing");
    let mut lines = vec![format!("exact up to {coverage}")];
    for view in stamp.get("views").and_then(Value::as_array).into_iter().flatten() {
        let part = |path: &str| view.pointer(path).and_then(Value::as_str).unwrap_or("nothing").to_owned();
        let number = |path: &str| view.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        let events = |half: &str| counted(number(&format!("/shares/{half}/events")), "event");
        let generation = view.get("generation").and_then(Value::as_u64).map_or_else(
            || "no generation yet".to_owned(),
            |g| format!("generation {g} to {} ({})", part("/batch/text"), events("batch")),
        );
        lines.push(format!("{}: {generation}, speed to {} ({})", part("/view"), part("/speed/text"), events("speed")));
        let parts = [("/excluded/duplicates", "duplicate"), ("/excluded/invalid", "invalid record")];
        let parts = parts.map(|(path, noun)| (number(path), noun)).into_iter().filter(|(found, _)| *found > 0);
        let parts: Vec<String> = parts.map(|(found, noun)| counted(found, noun)).collect();
        if !parts.is_empty() {
            lines.push(format!("    left out: {}", parts.join(", ")));
        }
    }
    lines.join("\n")
}

/// Comma-separated, a line of names first.
pub fn csv(names: &[String], rows: &[Vec<String>]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in std::iter::once(names).chain(rows.iter().map(Vec::as_slice)) {
        writer.write_record(row).map_err(|e| Error::internal("the answer does not fit into CSV").because(e))?;
    }
    let bytes = writer.into_inner().map_err(|_| Error::internal("the CSV buffer could not be flushed"))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
