//! The book of alerts: what there is of each rule, and what is still to be told. It is all that outlives the process.
use std::collections::BTreeMap;

use seam_shared::config::AlertRule;
use seam_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::HEARTBEAT;
use super::phase::Phase;
use super::rule::{Group, Rule, Texts};
use crate::prometheus::labels::Labels;

/// A pending alert that nobody has looked at for so long begins anew: whether its rule held meanwhile is not known.
const OUTAGE: Span = Span::HOUR;
/// What waits to be told to one receiver, at most; of more, the oldest is given up.
const WAITING_MAX: usize = 10_000;

/// An alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What tells it from others.
    pub labels: Texts,
    /// What people are told.
    pub annotations: Texts,
    /// The value that its rule had last.
    #[serde(with = "number")]
    pub value: f64,
    /// Where it stands.
    #[serde(flatten)]
    pub phase: Phase,
    /// The answer that fired it.
    pub evidence: Option<Evidence>,
    /// What is answered for that moment by now, where that is something else.
    pub corrected: Option<Corrected>,
}

/// The answer that fired an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The moment that was asked for.
    pub at: Timestamp,
    /// The value.
    #[serde(with = "number")]
    pub value: f64,
    /// What it was made from.
    pub stamp: Value,
}

/// What a later answer says of the same moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Corrected {
    /// The value; `None`: the rule does not hold.
    pub value: Option<String>,
    /// What it was made from.
    pub stamp: Value,
}

/// Something to be told to a receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Whom.
    pub receiver: String,
    /// The alert's group.
    pub group: String,
    /// The alert, as it was when that happened.
    pub alert: Alert,
    /// Whether it may be told: what was told and is not in the store would be told again under another key.
    #[serde(skip)]
    pub ready: bool,
}

impl Delivery {
    /// The same for each attempt to tell the same: what fired (its labels, in its group), since when, and whether it does.
    pub fn key(&self) -> String {
        let Alert { labels, phase, .. } = &self.alert;
        let what = serde_json::json!([self.group, labels, phase.active().0, phase.fires()]);
        blake3::hash(what.to_string().as_bytes()).to_hex()[..32].to_owned()
    }
}

/// All alerts, and what is to be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// When it was written last.
    pub at: Timestamp,
    /// The alerts of each rule, by its key, in the order of their labels.
    pub alerts: BTreeMap<String, Vec<Alert>>,
    /// What is to be told, the oldest first.
    pub waiting: Vec<Delivery>,
}

impl Book {
    /// Enters what a rule came to at a moment. Answers with the alerts that began to fire or are over, as they are now, and whether
    /// anything else changed that must not be forgotten.
    ///
    /// # Errors
    /// The alerts cannot be told apart, or are more than they may be; then they stay as they were.
    pub fn enter(
        &mut self,
        rule: &Rule,
        at: Timestamp,
        samples: &[(Labels, f64)],
        stamp: &dyn Fn() -> Value,
    ) -> Result<(Vec<Alert>, bool), String> {
        let mut holding = holding(rule, samples)?;
        let before = self.alerts.remove(&rule.key).unwrap_or_default();
        let (mut after, mut told, mut moved) = (Vec::new(), Vec::new(), false);
        let known = before.into_iter().map(|alert| (holding.remove(&alert.labels), Some(alert))).collect::<Vec<_>>();
        let fresh = holding.into_values().map(|sample| (Some(sample), None));
        for (sample, alert) in known.into_iter().chain(fresh) {
            let was = alert.as_ref().map(|alert| alert.phase);
            let phase = Phase::next(was, sample.is_some(), at, rule.patience);
            moved |= phase != was;
            let Some(phase) = phase else { continue };
            let alert = follow(alert, phase, rule, sample, at, stamp);
            let fires = |phase: Option<Phase>| phase.is_some_and(Phase::fires);
            if fires(was) != phase.fires() && (phase.fires() || phase.resolved().is_some()) {
                told.push(alert.clone());
            }
            after.push(alert);
        }
        after.sort_by(|a, b| a.labels.cmp(&b.labels));
        if !after.is_empty() {
            self.alerts.insert(rule.key.clone(), after);
        }
        Ok((told, moved))
    }
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.waiting.is_empty()
    }
    /// Goes on after a restart at a moment. What is pending and was not looked at for too long is forgotten; a shorter time does not count
    /// as one in which its rule held. Answers with the alerts that fired and whose rules are gone, by group; they are over.
    pub fn resume(&mut self, groups: &[Group], at: Timestamp) -> Vec<(String, Alert)> {
        let unseen = at.0.saturating_sub(self.at.0);
        let mut gone = Vec::new();
        self.alerts.retain(|key, alerts| {
            alerts.retain(|alert| !(unseen > OUTAGE.0 && matches!(alert.phase, Phase::Pending { .. })));
            match groups.iter().find(|group| group.rules.iter().any(|rule| rule.key == *key)) {
                Some(group) => {
                    let gap = Span(unseen.saturating_sub(HEARTBEAT.max(group.interval).0).max(0));
                    alerts.iter_mut().for_each(|alert| alert.phase = alert.phase.interrupted(gap));
                }
                None => {
                    let group = AlertRule::group_of(key).unwrap_or_default();
                    gone.extend(alerts.drain(..).map(|alert| (group.clone(), alert)));
                }
            }
            !alerts.is_empty()
        });
        self.at = self.at.max(at);
        gone.retain(|(_, alert)| alert.phase.fires());
        for (_, alert) in &mut gone {
            let (active, fired) = (alert.phase.active(), alert.phase.fired().unwrap_or(at));
            alert.phase = Phase::Resolved { active, fired, resolved: at };
        }
        gone
    }
    /// Takes out what waits for any but these receivers.
    pub fn give_up_all_but(&mut self, receivers: &[&str]) -> Vec<Delivery> {
        let is_gone = |delivery: &mut Delivery| !receivers.contains(&delivery.receiver.as_str());
        self.waiting.extract_if(.., is_gone).collect()
    }
    /// Adds something to be told. Answers with what was given up for it.
    pub fn add(&mut self, delivery: Delivery) -> Option<Delivery> {
        let same = |other: &&Delivery| other.receiver == delivery.receiver;
        let oldest = (self.waiting.iter().filter(same).count() >= WAITING_MAX)
            .then(|| self.waiting.iter().position(|other| same(&other)))
            .flatten();
        let given_up = oldest.map(|at| self.waiting.remove(at));
        self.waiting.push(delivery);
        given_up
    }
}

/// The series for which a rule holds, by the labels of their alerts. What is no number is no reason to wake anybody.
fn holding<'s>(rule: &Rule, samples: &'s [(Labels, f64)]) -> Result<BTreeMap<Texts, &'s (Labels, f64)>, String> {
    let mut holding = BTreeMap::new();
    for sample in samples.iter().filter(|(_, value)| !value.is_nan()) {
        let labels = rule.labels(&sample.0, sample.1);
        if let Some((other, _)) = holding.insert(labels, sample) {
            return Err(format!("{} and {other} have the same labels once the rule has given its own", sample.0));
        }
    }
    match rule.limit.filter(|limit| holding.len() > *limit) {
        Some(limit) => Err(format!("it has {} alerts, and the limit of its group is {limit}", holding.len())),
        None => Ok(holding),
    }
}

/// The alert in its new phase.
fn follow(
    alert: Option<Alert>,
    phase: Phase,
    rule: &Rule,
    sample: Option<&(Labels, f64)>,
    at: Timestamp,
    stamp: &dyn Fn() -> Value,
) -> Alert {
    let again = alert.as_ref().is_none_or(|alert| alert.phase.active() != phase.active());
    let fired = phase.fires() && alert.as_ref().is_none_or(|alert| again || !alert.phase.fires());
    let mut alert = alert.unwrap_or_else(|| Alert {
        labels: sample.map(|(series, value)| rule.labels(series, *value)).unwrap_or_default(),
        annotations: Texts::new(),
        value: f64::NAN,
        phase,
        evidence: None,
        corrected: None,
    });
    if let Some((series, value)) = sample {
        (alert.value, alert.annotations) = (*value, rule.annotations(series, *value));
    }
    if again {
        (alert.evidence, alert.corrected) = (None, None);
    }
    if fired {
        alert.evidence = Some(Evidence { at, value: alert.value, stamp: stamp() });
    }
    Alert { phase, ..alert }
}

/// A number as text: JSON has no infinity.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_string())
    }
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
