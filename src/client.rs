//! The terminal's way to a running Seam: a client of its HTTP API.
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use seam_shared::config::{Config, Secret};
use seam_shared::{Error, Kind, Result};
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::configuration;

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
    pub text: String,
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

    /// A client of the Seam that is named, or of the one that the configuration file describes.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn named(url: Option<&str>, file: &Path, credentials: &Credentials) -> Result<Self> {
        match (url, configuration::found(file)) {
            (Some(url), _) => Client::new(url, credentials),
            (None, Some(config)) => Client::of(&config, credentials),
            (None, None) => Client::new("127.0.0.1:8080", credentials),
        }
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
