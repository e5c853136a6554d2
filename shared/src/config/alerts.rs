//! `alerts` and `notify`: rules in the words of a Prometheus rule file, and who is told. Whether an expression means something, and what
//! a template names, is known where queries are planned: the texts keep their places, so that it can be said there.
use super::keys::SEVERITIES;
use super::report::{Place, Problem, Problems, nearest};
use super::secret::Secret;
use super::shape::words;
use super::tree::{Content, Node};
use crate::time::Span;

/// How often a group is evaluated unless the file says otherwise.
const INTERVAL: Span = Span::MINUTE;
/// Answers know whole seconds.
const INTERVAL_MIN: Span = Span::SECOND;

/// Rules that are evaluated at one moment.
#[derive(Debug, Clone)]
pub struct AlertGroup {
    /// What it is called; no other group is.
    pub name: String,
    /// How often.
    pub interval: Span,
    /// The most alerts that one of its rules may have at a time, if there is a limit.
    pub limit: Option<usize>,
    /// The rules.
    pub rules: Vec<AlertRule>,
}

/// When an alert fires, and what is said of it.
#[derive(Debug, Clone)]
pub struct AlertRule {
    /// What it is called.
    pub name: String,
    /// PromQL.
    pub expr: Written,
    /// How long it must hold before the alert fires.
    pub hold: Span,
    /// How long the alert goes on firing when it no longer does.
    pub keep_firing_for: Span,
    /// How bad it is.
    pub severity: Severity,
    /// Labels of its alerts, templates; `severity` is not among them.
    pub labels: Vec<(String, Written)>,
    /// What people are told, templates.
    pub annotations: Vec<(String, Written)>,
}

impl AlertRule {
    /// What tells it from all others, as JSON: its group, its name, and the labels that it gives.
    pub fn key(&self, group: &str) -> String {
        let labels: Vec<(&str, &str)> =
            self.labels.iter().map(|(name, text)| (name.as_str(), text.text.as_str())).collect();
        serde_json::json!([group, self.name, self.severity.name(), labels]).to_string()
    }
    /// The group in a key.
    pub fn group_of(key: &str) -> Option<String> {
        let parts: serde_json::Value = serde_json::from_str(key).ok()?;
        Some(parts.get(0)?.as_str()?.to_owned())
    }
}

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Somebody must look at it now.
    Critical,
}

impl Severity {
    /// The word in the file, and in the label.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
    /// Of that name.
    pub fn named(name: &str) -> Option<Severity> {
        [Severity::Info, Severity::Warning, Severity::Critical].into_iter().find(|severity| severity.name() == name)
    }
}

/// A text of the file that remembers where it stands.
#[derive(Debug, Clone)]
pub struct Written {
    /// The text.
    pub text: String,
    node: Node,
}

impl Written {
    fn of(node: &Node) -> Written {
        Written { text: node.text().unwrap_or_default().to_owned(), node: node.clone() }
    }
    /// What is wrong with it: with the word that begins at byte `at`, or with all of it.
    pub fn problem(&self, at: Option<usize>, message: impl Into<String>, suggestion: Option<String>) -> Problem {
        let Place { line, column, length } = at.map_or(self.node.place, |at| self.node.inside(at));
        Problem { line, column, length, message: message.into(), suggestion }
    }
}

/// Somebody who is told of alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// How.
    pub channel: Channel,
    /// Of these alone; of all if it is empty.
    pub severities: Vec<Severity>,
}

/// How somebody is told. URLs often hold a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// An Alertmanager, by its API of version 2.
    Alertmanager(Secret),
    /// A URL that each alert is posted to.
    Webhook {
        /// The URL.
        url: Secret,
        /// What the body is.
        format: WebhookFormat,
    },
    /// The process's own log.
    Log,
}

/// What a webhook's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFormat {
    /// As Alertmanager's webhooks have it, version 4.
    Generic,
    /// A text, as Slack and what imitates it take it.
    Slack,
}

/// The groups of rules.
pub(super) fn groups(root: &Node, problems: &mut Problems) -> Vec<AlertGroup> {
    let mut groups: Vec<AlertGroup> = Vec::new();
    for node in root.get("alerts").map_or(&[][..], Node::items) {
        let Some(name) = node.get("name") else { continue };
        let group = group(node, problems);
        if groups.iter().any(|other| other.name == group.name) {
            problems.add(name.place, format!("there is a group `{}` already", group.name));
        }
        groups.push(group);
    }
    groups
}

fn group(node: &Node, problems: &mut Problems) -> AlertGroup {
    let name = node.text_of("name").unwrap_or_default().to_owned();
    let interval = node.duration("interval").unwrap_or(INTERVAL);
    if let Some(written) = node.get("interval").filter(|_| interval < INTERVAL_MIN) {
        problems.add(written.place, format!("an interval is at least {INTERVAL_MIN}, not {interval}"));
    }
    let limit = node.number("limit").filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok());
    let mut rules: Vec<AlertRule> = Vec::new();
    for node in node.get("rules").map_or(&[][..], Node::items) {
        let (Some(written), Some(expr)) = (node.get("alert"), node.get("expr")) else { continue };
        let rule = rule(node, expr, problems);
        if rules.iter().any(|other| other.key("") == rule.key("")) {
            let message = format!("the group `{name}` has a rule `{}` with the same labels already", rule.name);
            problems.suggest(written.place, message, Some("their alerts could not be told apart".to_owned()));
        }
        rules.push(rule);
    }
    AlertGroup { name, interval, limit, rules }
}

fn rule(node: &Node, expr: &Node, problems: &mut Problems) -> AlertRule {
    let delay = |name: &str| node.get(name).and_then(|node| Span::parse(node.text()?).ok()).unwrap_or(Span(0));
    let texts = |name: &str| node.get(name).map_or(&[][..], Node::entries).iter();
    let mut labels: Vec<(String, Written)> = Vec::new();
    for (key, value) in texts("labels").filter(|(key, _)| key.name != "severity") {
        if ["alertname", "alertstate", "__name__"].contains(&key.name.as_str()) {
            problems.add(key.place, format!("an alert's label `{}` is not for a rule to give", key.name));
        }
        labels.push((key.name.clone(), Written::of(value)));
    }
    labels.sort_by(|a, b| a.0.cmp(&b.0));
    AlertRule {
        name: node.text_of("alert").unwrap_or_default().to_owned(),
        expr: Written::of(expr),
        hold: delay("for"),
        keep_firing_for: delay("keep_firing_for"),
        severity: severity(node.get("labels").and_then(|labels| labels.get("severity")), problems),
        labels,
        annotations: texts("annotations").map(|(key, value)| (key.name.clone(), Written::of(value))).collect(),
    }
}

/// A rule that does not say is a warning.
fn severity(node: Option<&Node>, problems: &mut Problems) -> Severity {
    let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else { return Severity::Warning };
    Severity::named(text).unwrap_or_else(|| {
        problems.suggest(node.place, format!("there is no severity `{text}`"), nearest(text, words(&SEVERITIES)));
        Severity::Warning
    })
}

/// Who is told.
pub(super) fn receivers(root: &Node, problems: &mut Problems) -> Vec<Receiver> {
    let Some(node) = root.get("notify") else {
        return vec![Receiver { channel: Channel::Log, severities: Vec::new() }];
    };
    let mut all: Vec<Receiver> = Vec::new();
    for node in node.items() {
        let Some(receiver) = receiver(node, problems) else { continue };
        if all.iter().any(|other| other.channel == receiver.channel) {
            problems.add(node.place, "this one is told already: it would get each alert twice");
        }
        all.push(receiver);
    }
    all
}

fn receiver(node: &Node, problems: &mut Problems) -> Option<Receiver> {
    if matches!(node.content, Content::Scalar(_)) {
        return Some(Receiver { channel: Channel::Log, severities: Vec::new() });
    }
    match (node.get("alertmanager"), node.get("webhook")) {
        (Some(written), None) => {
            let channel = Channel::Alertmanager(url(written, problems)?);
            Some(Receiver { channel, severities: Vec::new() })
        }
        (None, Some(webhook)) => {
            let slack = webhook.text_of("format") == Some("slack");
            let format = if slack { WebhookFormat::Slack } else { WebhookFormat::Generic };
            let severities = webhook.get("severity").map(Node::texts).unwrap_or_default();
            let severities = severities.into_iter().filter_map(|(text, _)| Severity::named(text)).collect();
            let url = url(webhook.get("url")?, problems)?;
            Some(Receiver { channel: Channel::Webhook { url, format }, severities })
        }
        (Some(_), Some(webhook)) => {
            problems.add(webhook.place, "one item names one receiver; write the webhook as an item of its own");
            None
        }
        (None, None) => {
            let hint = "write `alertmanager: <url>`, `webhook: { url: <url> }` or `log`".to_owned();
            problems.suggest(node.place, "the item does not say who is told", Some(hint));
            None
        }
    }
}

/// A URL; an empty one, as `${VARIABLE:-}` may be, is nobody.
fn url(node: &Node, problems: &mut Problems) -> Option<Secret> {
    let text = node.text().filter(|text| !text.trim().is_empty())?;
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    if host.is_some_and(|host| !host.is_empty() && !text.contains(char::is_whitespace)) {
        return Some(Secret::new(text));
    }
    let hint = "write it like http://host:9093 or https://hooks.example.com/…".to_owned();
    problems.suggest(node.place, "this is no URL that can be posted to", Some(hint));
    None
}
