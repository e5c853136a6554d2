//! Telling people: one POST for each alert that fires and for each that is over, or all that fire at once to an Alertmanager.
use std::time::Duration;

use seam_shared::config::{Channel, Config, Receiver, Severity, WebhookFormat};
use seam_shared::time::Timestamp;
use serde_json::Value;

use super::board::Board;
use super::body;
use super::book::{Alert, Delivery};
use super::phase::Phase;
use super::rule::Group;

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often an Alertmanager is told what still fires.
pub const RESEND: Duration = Duration::from_secs(60);
/// Alerts in one POST to an Alertmanager.
const CHUNK: usize = 1_000;

/// Why something could not be told.
#[derive(Debug, PartialEq, Eq)]
pub enum Untold {
    /// It may be possible later.
    Later(String),
    /// The receiver understood it and does not want it.
    Never(String),
}

/// A receiver, and the way to it.
#[derive(Debug)]
pub struct Post {
    /// What it is called in the book and in logs: no secret, but another one for another URL.
    pub name: String,
    receiver: Receiver,
    agent: ureq::Agent,
    /// Where people find this Seam.
    home: String,
}

impl Post {
    /// The receivers of a configuration.
    pub fn of(config: &Config) -> Vec<Post> {
        let scheme = if config.server.tls.is_some() { "https" } else { "http" };
        let home = format!("{scheme}://{}", config.server.listen);
        config.notify.iter().map(|receiver| Post::new(receiver.clone(), home.clone())).collect()
    }
    fn new(receiver: Receiver, home: String) -> Post {
        let settings = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(0);
        let agent = settings.http_status_as_error(false).build().into();
        Post { name: name(&receiver.channel), receiver, agent, home }
    }
    /// Whether it is told all that fires again and again, and not each alert by itself.
    pub fn is_alertmanager(&self) -> bool {
        matches!(self.receiver.channel, Channel::Alertmanager(_))
    }
    /// Whether it wants to know of an alert.
    pub fn wants(&self, alert: &Alert) -> bool {
        let severity = alert.labels.get("severity").and_then(|name| Severity::named(name));
        let wanted = &self.receiver.severities;
        wanted.is_empty() || severity.is_none_or(|severity| wanted.contains(&severity))
    }
    /// Tells it of one alert.
    ///
    /// # Errors
    /// It was not told.
    pub fn tell(&self, delivery: &Delivery) -> Result<(), Untold> {
        match &self.receiver.channel {
            Channel::Log => {
                write_log(delivery);
                Ok(())
            }
            Channel::Webhook { url, format } => {
                let body = match format {
                    WebhookFormat::Generic => body::generic(delivery, &self.home),
                    WebhookFormat::Slack => body::slack(delivery),
                };
                self.send(url.expose(), &body, &delivery.key())
            }
            Channel::Alertmanager(_) => Ok(()),
        }
    }
    /// All that fires, or was over lately, for an Alertmanager.
    pub fn all(&self, board: &Board, now: Timestamp) -> Vec<Value> {
        let of_group = |group: &Group| {
            let until = now.plus(lasts(group));
            let alerts = group.rules.iter().flat_map(|rule| board.alerts(rule));
            let known = alerts.filter(|alert| !matches!(alert.phase, Phase::Pending { .. }));
            known.map(|alert| body::alertmanager(&alert, until, &self.home)).collect::<Vec<_>>()
        };
        board.groups.iter().flat_map(of_group).collect()
    }
    /// Tells it an Alertmanager.
    ///
    /// # Errors
    /// It was not told.
    pub fn tell_all(&self, all: &[Value]) -> Result<(), Untold> {
        let Channel::Alertmanager(url) = &self.receiver.channel else { return Ok(()) };
        let url = format!("{}/api/v2/alerts", url.expose().trim_end_matches('/'));
        all.chunks(CHUNK).try_for_each(|alerts| self.send(&url, &Value::from(alerts), ""))
    }
    fn send(&self, url: &str, body: &Value, key: &str) -> Result<(), Untold> {
        let request = self.agent.post(url).header("content-type", "application/json");
        let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
        // The error of a library may spell the URL, and with it a token.
        let hidden = |error: ureq::Error| Untold::Later(error.to_string().replace(url, "the URL"));
        let mut reply = request.send(body.to_string().as_str()).map_err(hidden)?;
        let status = reply.status().as_u16();
        let mut said = || {
            let text = reply.body_mut().with_config().limit(1_000).read_to_string().unwrap_or_default();
            format!("it answered {status} {}", text.trim())
        };
        match status {
            200..=299 => Ok(()),
            400 | 413 | 422 => Err(Untold::Never(said())),
            _ => Err(Untold::Later(said())),
        }
    }
}

/// How long an Alertmanager is to believe that an alert fires when it hears nothing more.
fn lasts(group: &Group) -> seam_shared::time::Span {
    let resend = i64::try_from(RESEND.as_micros()).unwrap_or(i64::MAX);
    seam_shared::time::Span(group.interval.0.max(resend).saturating_mul(4))
}

fn name(channel: &Channel) -> String {
    let (kind, url) = match channel {
        Channel::Log => return "log".to_owned(),
        Channel::Alertmanager(url) => ("alertmanager", url.expose()),
        Channel::Webhook { url, .. } => ("webhook", url.expose()),
    };
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{kind} {host} {}", &blake3::hash(url.as_bytes()).to_hex()[..8])
}

fn write_log(delivery: &Delivery) {
    let Alert { labels, annotations, value, phase, .. } = &delivery.alert;
    let (alert, state) = (labels.get("alertname").map_or("", String::as_str), phase.name());
    let severity = labels.get("severity").map_or("", String::as_str);
    let summary = annotations.get("summary").map_or("", String::as_str);
    if phase.fires() {
        tracing::warn!(alert, state, severity, value, summary, ?labels, "an alert fires");
    } else {
        tracing::info!(alert, state, severity, value, summary, ?labels, "an alert is over");
    }
}
