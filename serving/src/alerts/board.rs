//! What is known of all alerts now: the rules, the book, and how each rule fares. Routes read it; the evaluator writes it.
use std::collections::BTreeMap;
use std::sync::Mutex;

use seam_shared::access::Caller;
use seam_shared::config::Config;
use seam_shared::lock::lock;
use seam_shared::time::Timestamp;
use tokio::sync::watch;

use super::book::{Alert, Book, Delivery};
use super::rule::{Group, Rule, compile};
use crate::prometheus::labels::{Labels, NAME};
use crate::prometheus::source::Mark;

/// How a rule fared the last time.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// When that was.
    pub at: Timestamp,
    /// How long the evaluation of its group took, in seconds.
    pub seconds: f64,
    /// What was wrong.
    pub error: Option<String>,
}

/// Rules, alerts, health.
#[derive(Debug)]
pub struct Board {
    /// The groups of rules.
    pub groups: Vec<Group>,
    book: Mutex<Book>,
    health: Mutex<BTreeMap<String, Health>>,
    told: watch::Sender<()>,
}

impl Board {
    /// The rules of a configuration, none of which was evaluated.
    pub fn new(config: &Config) -> Board {
        let (groups, told) = (compile(config), watch::Sender::new(()));
        Board { groups, book: Mutex::default(), health: Mutex::default(), told }
    }
    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }
    /// The alerts of a rule.
    pub fn alerts(&self, rule: &Rule) -> Vec<Alert> {
        lock(&self.book).alerts.get(&rule.key).cloned().unwrap_or_default()
    }
    /// How a rule fares; `None` before it was evaluated here.
    pub fn health(&self, rule: &Rule) -> Option<Health> {
        lock(&self.health).get(&rule.key).cloned()
    }
    /// `ALERTS`, as Prometheus has it: each alert that a caller may see, while it is pending and while it fires.
    pub fn marks(&self, caller: &Caller) -> Vec<Mark> {
        let rules = self.rules().filter(|rule| rule.is_shown_to(caller));
        rules.flat_map(|rule| self.alerts(rule)).flat_map(|alert| marks(&alert)).collect()
    }
    /// Tells how a rule fared.
    pub(super) fn note(&self, rule: &Rule, health: Health) {
        lock(&self.health).insert(rule.key.clone(), health);
    }
    /// Reads or changes the book.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        act(&mut lock(&self.book))
    }
    /// From now on what waits of a group, or of all, may be told; whoever tells it is woken if there is news.
    pub(super) fn release(&self, group: Option<&str>, news: bool) {
        let meant = |delivery: &&mut Delivery| group.is_none_or(|group| delivery.group == group);
        self.with(|book| book.waiting.iter_mut().filter(meant).for_each(|delivery| delivery.ready = true));
        if news {
            self.told.send_replace(());
        }
    }
    /// Whoever waits for something to tell.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }
    /// The oldest that a receiver is to be told.
    pub(super) fn next(&self, receiver: &str) -> Option<Delivery> {
        lock(&self.book).waiting.iter().find(|delivery| delivery.receiver == receiver && delivery.ready).cloned()
    }
    /// It was told, or given up.
    pub(super) fn done(&self, delivery: &Delivery) {
        self.with(|book| {
            if let Some(at) = book.waiting.iter().position(|other| other == delivery) {
                book.waiting.remove(at);
            }
        });
    }
}

fn marks(alert: &Alert) -> Vec<Mark> {
    let labels = |state: &str| {
        let own = alert.labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
        Labels::new(own.chain([(NAME.into(), "ALERTS".into()), ("alertstate".into(), state.into())]))
    };
    let phase = alert.phase;
    let pending = Mark { labels: labels("pending"), from: phase.active(), until: phase.fired() };
    let firing = phase.fired().map(|from| Mark { labels: labels("firing"), from, until: phase.resolved() });
    [pending].into_iter().chain(firing).collect()
}
