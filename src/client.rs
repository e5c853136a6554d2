//! The terminal's way to a running Seam: ask over HTTP, print a table, JSON or CSV.
use std::time::Duration;

use seam_shared::{Error, Kind, Result};
use serde_json::Value;

use crate::args::{Output, Query};

/// A running Seam.
pub struct Client {
    base: String,
    agent: ureq::Agent,
}

/// What came back: the status and the body.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, as JSON where it is JSON.
    pub body: Value,
}

impl Client {
    /// A client of the Seam at `url`, e.g. `http://127.0.0.1:8080`.
    pub fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let base = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        Self { base: base.trim_end_matches('/').to_owned(), agent: config.into() }
    }

    /// Whether a Seam answers there.
    pub fn is_up(&self) -> bool {
        self.agent.get(format!("{}/livez", self.base)).call().is_ok_and(|reply| reply.status() == 200)
    }

    /// GET with query parameters.
    pub fn get(&self, path: &str, parameters: &[(&str, String)]) -> Result<Reply> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        self.read(request.call())
    }

    /// POST of a body.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Reply> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("content-type", content_type);
        self.read(request.send(body))
    }

    fn read(&self, reply: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply> {
        let mut reply = reply.map_err(|e| {
            let hint = "start one with `seam up`, or name another with --url";
            Error::unavailable(format!("no Seam answers at {}; {hint}", self.base)).because(e)
        })?;
        let status = reply.status().as_u16();
        let text = reply
            .body_mut()
            .with_config()
            .limit(256 << 20)
            .read_to_string()
            .map_err(|e| Error::unavailable(format!("the answer of {} broke off", self.base)).because(e))?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Reply { status, body })
    }
}

impl Reply {
    /// The body of a success, or the problem document as an error.
    pub fn success(self) -> Result<Value> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let kind = match self.status {
            404 => Kind::NotFound,
            409 => Kind::Conflict,
            413 | 429 => Kind::TooLarge,
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
            if let Some(detail) = detail.and_then(Value::as_str) {
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
        ("from", &query.from),
        ("to", &query.to),
        ("step", &query.step),
        ("where", &query.condition),
        ("layer", &query.layer),
        ("min_position", &query.min_position),
    ];
    out.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    out.extend(query.limit.map(|limit| ("limit", limit.to_string())));
    out
}

/// `seam query`: the answer, then in a table its stamp.
pub fn query(client: &Client, query: &Query) -> Result<String> {
    let path = format!("/api/analytics/metrics/{}", query.metric);
    let answer = client.get(&path, &parameters(query))?.success()?;
    Ok(match query.output {
        Output::Json => pretty(&answer),
        Output::Csv => csv(&answer)?,
        Output::Table => format!("{}\n{}", table(&answer), stamp(&answer)),
    })
}

/// `seam explain`: how the answer comes about.
pub fn explain(client: &Client, query: &Query) -> Result<String> {
    let path = format!("/api/analytics/explain/{}", query.metric);
    Ok(pretty(&client.get(&path, &parameters(query))?.success()?))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Column names in the order of their first appearance, and the rows.
fn columns(answer: &Value) -> (Vec<String>, Vec<Vec<String>>) {
    let points = answer.get("points").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut names: Vec<String> = Vec::new();
    for name in points.iter().filter_map(Value::as_object).flat_map(|p| p.keys()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let cell = |point: &Value, name: &String| match point.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let rows = points.iter().map(|p| names.iter().map(|n| cell(p, n)).collect()).collect();
    (names, rows)
}

fn table(answer: &Value) -> String {
    let (names, rows) = columns(answer);
    if rows.is_empty() {
        return "no events in that window".to_owned();
    }
    let widths: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(i, name)| rows.iter().map(|r| r[i].chars().count()).chain([name.len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = vec![line(&names)];
    out.extend(rows.iter().map(|r| line(r)));
    out.join("\n")
}

fn stamp(answer: &Value) -> String {
    let stamp = answer.pointer("/meta/stamp");
    let field = |name: &str| match stamp.and_then(|s| s.get(name)) {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    format!("exact up to {} (generation {}, batch to {})", field("coverage"), field("generation"), field("batch"))
}

fn csv(answer: &Value) -> Result<String> {
    let (names, rows) = columns(answer);
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in std::iter::once(&names).chain(&rows) {
        writer.write_record(row).map_err(|e| Error::internal("the answer does not fit into CSV").because(e))?;
    }
    let bytes = writer.into_inner().map_err(|_| Error::internal("the CSV buffer could not be flushed"))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
