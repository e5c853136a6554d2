//! What there is to see of alerts: `GET /api/analytics/alerts`, and rules and alerts as Prometheus lists them, which Grafana's page of
//! alerts shows. A caller sees the rules whose views it may see whole.
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use seam_shared::access::Caller;
use seam_shared::time::Timestamp;
use serde_json::{Value, json};

use super::board::{Board, Health};
use super::body::fingerprint;
use super::book::Alert;
use super::phase::Phase;
use super::rule::{Group, Rule};
use crate::Serving;
use crate::http::parameters;
use crate::problem;
use crate::prometheus::evaluate::number_text;
use crate::prometheus::failure::Failure;
use crate::prometheus::write::respond;
use crate::prometheus::{Told, told};
use crate::query::Refusal;

/// The routes.
pub fn routes(serving: Arc<Serving>) -> Router {
    Router::new()
        .route("/api/analytics/alerts", get(list))
        .route("/prometheus/api/v1/rules", get(rules))
        .route("/prometheus/api/v1/alerts", get(alerts))
        .with_state(serving)
}

/// The rules that a caller may see, by group.
fn shown<'b>(group: &'b Group, caller: &Caller) -> impl Iterator<Item = &'b Rule> {
    let caller = caller.clone();
    group.rules.iter().filter(move |rule| rule.is_shown_to(&caller))
}

/// All alerts that are pending, fire, or were over lately, and how the rules fare.
async fn list(State(serving): State<Arc<Serving>>, Extension(caller): Extension<Caller>, uri: Uri) -> Response {
    let given = match parameters(&uri) {
        Ok(given) => given,
        Err(refusal) => return problem::respond(&uri, &refusal),
    };
    if let Some((name, _)) = given.first() {
        let refusal = Refusal::parameter(name, format!("there is no parameter `{name}`")).named("unknown-parameter");
        return problem::respond(&uri, &refusal);
    }
    let board = &serving.alerts;
    let rules: Vec<&Rule> = board.groups.iter().flat_map(|group| shown(group, &caller)).collect();
    let alerts = rules.iter().flat_map(|rule| board.alerts(rule).into_iter().map(|alert| described(rule, &alert)));
    let body = json!({
        "alerts": alerts.collect::<Vec<_>>(),
        "rules": rules.iter().map(|rule| fares(rule, board)).collect::<Vec<_>>(),
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn described(rule: &Rule, alert: &Alert) -> Value {
    let Alert { labels, annotations, value, phase, evidence, corrected } = alert;
    let time = |time: Option<Timestamp>| time.map(Timestamp::to_rfc3339);
    let corrected = corrected.as_ref().map(|corrected| json!({ "value": corrected.value, "stamp": corrected.stamp }));
    let evidence = evidence.as_ref().map(|evidence| {
        let (at, value) = (evidence.at.to_rfc3339(), number_text(evidence.value));
        json!({ "at": at, "value": value, "stamp": evidence.stamp, "corrected": corrected })
    });
    json!({
        "fingerprint": fingerprint(labels),
        "group": rule.group,
        "alert": rule.name,
        "state": phase.name(),
        "severity": rule.severity.name(),
        "labels": labels,
        "annotations": annotations,
        "value": number_text(*value),
        "activeAt": phase.active().to_rfc3339(),
        "firedAt": time(phase.fired()),
        "resolvedAt": time(phase.resolved()),
        "fired": evidence,
    })
}

fn fares(rule: &Rule, board: &Board) -> Value {
    let health = board.health(rule);
    json!({
        "group": rule.group,
        "alert": rule.name,
        "severity": rule.severity.name(),
        "query": rule.query,
        "state": state(&board.alerts(rule)),
        "health": word(health.as_ref()),
        "error": health.as_ref().and_then(|health| health.error.clone()),
        "evaluatedAt": health.map(|health| health.at.to_rfc3339()),
    })
}

fn word(health: Option<&Health>) -> &'static str {
    match health {
        None => "unknown",
        Some(Health { error: None, .. }) => "ok",
        Some(Health { error: Some(_), .. }) => "err",
    }
}

/// The state of a rule: that of the alert that is furthest.
fn state(alerts: &[Alert]) -> &'static str {
    let any = |wanted: &str| alerts.iter().any(|alert| alert.phase.name() == wanted);
    if any("firing") {
        "firing"
    } else if any("pending") {
        "pending"
    } else {
        "inactive"
    }
}

/// `rules`, as Prometheus lists them.
async fn rules(State(serving): State<Arc<Serving>>, Extension(caller): Extension<Caller>, uri: Uri) -> Response {
    let listed = || {
        let given = parameters(&uri).map_err(Failure::from)?;
        let kind = given.iter().find(|(name, _)| name == "type").map(|(_, kind)| kind.as_str());
        if kind.is_some_and(|kind| !["alert", "record"].contains(&kind)) {
            return Err(Failure::bad_data("invalid parameter \"type\": it is alert or record"));
        }
        let groups = serving.alerts.groups.iter().filter(|_| kind != Some("record"));
        let groups = groups.filter_map(|group| of_group(group, &serving.alerts, &caller));
        Ok(told(json!({ "groups": groups.collect::<Vec<_>>() })))
    };
    answer(listed())
}

fn of_group(group: &Group, board: &Board, caller: &Caller) -> Option<Value> {
    let rules: Vec<&Rule> = shown(group, caller).collect();
    let first = board.health(rules.first()?);
    Some(json!({
        "name": group.name,
        "file": "seam.yaml",
        "interval": seconds(group.interval.0),
        "limit": rules[0].limit.unwrap_or(0),
        "rules": rules.iter().map(|rule| of_rule(rule, board)).collect::<Vec<_>>(),
        "evaluationTime": first.as_ref().map_or(0.0, |health| health.seconds),
        "lastEvaluation": evaluated(first.as_ref()),
    }))
}

fn of_rule(rule: &Rule, board: &Board) -> Value {
    let (alerts, health) = (board.alerts(rule), board.health(rule));
    json!({
        "type": "alerting",
        "name": rule.name,
        "query": rule.query,
        "duration": seconds(rule.patience.hold.0),
        "keepFiringFor": seconds(rule.patience.keep.0),
        "labels": rule.own_labels(),
        "annotations": rule.own_annotations(),
        "state": state(&alerts),
        "alerts": alerts.iter().filter_map(active).collect::<Vec<_>>(),
        "health": word(health.as_ref()),
        "lastError": health.as_ref().and_then(|health| health.error.clone()).unwrap_or_default(),
        "evaluationTime": health.as_ref().map_or(0.0, |health| health.seconds),
        "lastEvaluation": evaluated(health.as_ref()),
    })
}

/// An alert that is pending or fires.
fn active(alert: &Alert) -> Option<Value> {
    let Alert { labels, annotations, value, phase, .. } = alert;
    let missing = if let Phase::Firing { missing, .. } = phase { missing.map(Timestamp::to_rfc3339) } else { None };
    let mut out = json!({
        "labels": labels,
        "annotations": annotations,
        "state": phase.name(),
        "activeAt": phase.active().to_rfc3339(),
        "value": number_text(*value),
    });
    if let Some(missing) = missing {
        out["keepFiringSince"] = json!(missing);
    }
    (!matches!(phase, Phase::Resolved { .. })).then_some(out)
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn evaluated(health: Option<&Health>) -> String {
    health.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |health| health.at.to_rfc3339())
}

/// `alerts`, as Prometheus lists them.
async fn alerts(State(serving): State<Arc<Serving>>, Extension(caller): Extension<Caller>) -> Response {
    let board = &serving.alerts;
    let rules = board.groups.iter().flat_map(|group| shown(group, &caller));
    let alerts = rules.flat_map(|rule| board.alerts(rule).iter().filter_map(active).collect::<Vec<_>>());
    answer(Ok(told(json!({ "alerts": alerts.collect::<Vec<_>>() }))))
}

fn answer(result: Result<Told<Value>, Failure>) -> Response {
    respond(result, |json, value| {
        json.tree(Some(&value));
    })
}
