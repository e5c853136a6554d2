//! The bodies that receivers understand.
use seam_shared::time::Timestamp;
use serde_json::{Value, json};

use super::book::{Alert, Delivery};
use super::rule::Texts;
use crate::prometheus::evaluate::number_text;

/// What Go prints for no time at all.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// As Alertmanager's webhooks have it, version 4: what receives those, receives these. Each alert is a group of its own, as with
/// `group_by: ['...']`, so that a receiver that tells incidents apart by their group takes none for another.
pub fn generic(delivery: &Delivery, home: &str) -> Value {
    let Alert { labels, annotations, phase, .. } = &delivery.alert;
    let status = phase.name();
    let named: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    json!({
        "version": "4",
        "groupKey": format!("{}:{{{}}}", delivery.group, named.join(", ")),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": delivery.receiver,
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": home,
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": annotations,
            "startsAt": starts(&delivery.alert),
            "endsAt": phase.resolved().map_or_else(|| NEVER.to_owned(), Timestamp::to_rfc3339),
            "generatorURL": source(home),
            "fingerprint": fingerprint(labels),
            "value": number_text(delivery.alert.value),
            "activeAt": phase.active().to_rfc3339(),
        }],
    })
}

/// A text as Slack takes it.
pub fn slack(delivery: &Delivery) -> Value {
    let Alert { labels, annotations, phase, value, .. } = &delivery.alert;
    let label = |name: &str| labels.get(name).map_or("", String::as_str);
    let status = phase.name().to_uppercase();
    let mut text = format!("*[{status}] {}* ({})", escaped(label("alertname")), label("severity"));
    match annotations.get("summary").or_else(|| annotations.get("description")) {
        Some(summary) => text.push_str(&format!(" {}", escaped(summary))),
        None => text.push_str(&format!(" value {}", number_text(*value))),
    }
    let own = labels.iter().filter(|(name, _)| !["alertname", "severity"].contains(&name.as_str()));
    let own: Vec<String> = own.map(|(name, value)| escaped(&format!("{name}={value}"))).collect();
    if !own.is_empty() {
        text.push_str(&format!("\n{}", own.join(", ")));
    }
    json!({ "text": text })
}

/// An alert of `POST /api/v2/alerts`; while it fires, it is to be believed until `until`.
pub fn alertmanager(alert: &Alert, until: Timestamp, home: &str) -> Value {
    json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": starts(alert),
        "endsAt": alert.phase.resolved().unwrap_or(until).to_rfc3339(),
        "generatorURL": source(home),
    })
}

fn starts(alert: &Alert) -> String {
    alert.phase.fired().unwrap_or(alert.phase.active()).to_rfc3339()
}

fn source(home: &str) -> String {
    format!("{home}/api/analytics/alerts")
}

/// What tells alerts apart in 16 digits.
pub fn fingerprint(labels: &Texts) -> String {
    let text = json!(labels).to_string();
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

/// What Slack would take as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
