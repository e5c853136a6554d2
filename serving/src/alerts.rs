//! Alerts: rules in PromQL, evaluated over merged views at the present moment, and whoever is to be told of what they find.
//!
//! A [`rule`] comes from the file, where [`check`] has looked at it. At each tick of its group, all rules of the group are evaluated over
//! one snapshot; each series that a rule answers with is an alert, whose [`phase`] follows from the one before. The [`book`] of alerts is
//! kept in the lake *before* anybody is told, together with what is to be told: so a process that dies goes on where it was, tells
//! everything at least once, and the same under the same key. Only the present is evaluated: events of old times fire nothing.
mod board;
mod body;
mod book;
pub mod check;
mod correct;
mod figures;
mod http;
mod keep;
mod notify;
mod phase;
mod reach;
mod rule;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{join, join_all};
use promql_parser::parser::Expr;
use seam_shared::Result;
use seam_shared::lock::lock;
use seam_shared::log::OffsetVector;
use seam_shared::state::ViewId;
use seam_shared::telemetry::{ReceiverLabels, RuleLabels};
use seam_shared::time::{Span, Timestamp};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Serving;
use crate::json::Json;
use crate::pin::Pin;
use crate::prometheus::Prometheus;
use crate::prometheus::moment::Sampled;
use board::Health;
use book::{Alert, Delivery};
use correct::Compared;
use keep::Keep;
use notify::{Post, RESEND, Untold};
use phase::Phase;
use rule::{Group, Rule};

pub use board::Board;
pub use check::check;
pub use http::routes;

/// The pauses between attempts to tell somebody, and to reach the lake.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// While something is pending, the book is kept at least so often: from that a restart knows for how long nobody looked.
const HEARTBEAT: Span = Span::MINUTE;

/// The evaluator of all rules. One process of a deployment runs it; the others follow.
#[derive(Debug)]
pub struct Alerts {
    serving: Arc<Serving>,
    prometheus: Prometheus,
    posts: Vec<Arc<Post>>,
    keep: Keep,
    /// One writes the book at a time.
    keeping: tokio::sync::Mutex<()>,
    /// Whether what was to be kept last is not: the next tick of some group tries again.
    unkept: AtomicBool,
    /// Of each group, what its alerts were compared with.
    compared: Mutex<BTreeMap<String, Compared>>,
    /// How far each view reached when a rule was last evaluated over it, by the rule's key and the view. A restart forgets it.
    reached: Mutex<BTreeMap<(String, ViewId), OffsetVector>>,
}

impl Alerts {
    /// The rules of what `serving` serves.
    pub fn new(serving: Arc<Serving>) -> Alerts {
        let (prometheus, keep) = (Prometheus::new(serving.clone()), Keep::new(serving.lake.clone()));
        let posts = Post::of(serving.config()).into_iter().map(Arc::new).collect();
        let (keeping, unkept, compared, reached) = Default::default();
        Alerts { serving, prometheus, posts, keep, keeping, unkept, compared, reached }
    }
    /// Whether there is anything to do: rules, or what was kept of rules that are gone, whose alerts are over.
    pub async fn has_work(&self) -> bool {
        !self.board().groups.is_empty() || self.keep.load().await.is_ok_and(|book| !book.is_empty())
    }
    /// Evaluates all groups, each by its interval, and tells whoever is to be told, until cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut pause = RETRY.0;
        while let Err(error) = self.resume().await {
            tracing::warn!(%error, "alerts wait for the lake, which says what fired before");
            if !self.rest(pause, &cancel).await {
                return;
            }
            pause = (pause * 2).min(RETRY.1);
        }
        let groups = join_all(self.board().groups.iter().map(|group| self.watch(group, &cancel)));
        let posts = join_all(self.posts.iter().map(|post| self.carry(post, &cancel)));
        join(groups, posts).await;
        self.save(Timestamp::MIN).await;
    }
    /// Shows what the process that evaluates has kept.
    ///
    /// # Errors
    /// Those of the lake.
    pub async fn follow(&self) -> Result<()> {
        let book = self.keep.load().await?;
        self.board().with(|own| *own = book);
        Ok(())
    }
    /// Goes on from what was kept.
    ///
    /// # Errors
    /// Those of the lake: without what was kept, everything that fires would be told again.
    pub async fn resume(&self) -> Result<()> {
        let (mut book, now) = (self.keep.load().await?, self.serving.clock.now());
        let gone = book.resume(&self.board().groups, now);
        let receivers: Vec<&str> = self.posts.iter().map(|post| post.name.as_str()).collect();
        for delivery in book.give_up_all_but(&receivers) {
            self.give_up(&delivery, "its receiver is not told any more");
        }
        self.board().with(|own| *own = book);
        gone.into_iter().for_each(|(group, alert)| self.announce(&group, &alert));
        self.board().release(None, true);
        Ok(())
    }
    fn give_up(&self, delivery: &Delivery, why: &str) {
        self.count(&delivery.receiver, "given up");
        let (receiver, alert) = (&delivery.receiver, &delivery.alert.labels);
        tracing::error!(receiver, ?alert, "{why}: this is never told");
    }
    fn board(&self) -> &Board {
        &self.serving.alerts
    }
    /// Waits; false once it is over.
    async fn rest(&self, pause: Duration, cancel: &CancellationToken) -> bool {
        tokio::select! {
            () = self.serving.clock.sleep(pause) => true,
            () = cancel.cancelled() => false,
        }
    }

    /// One group, at the multiples of its interval.
    async fn watch(&self, group: &Group, cancel: &CancellationToken) {
        while !cancel.is_cancelled() {
            let now = self.serving.clock.now();
            tokio::select! {
                () = self.tick(group, now.floor(group.interval)) => {}
                () = cancel.cancelled() => return,
            }
            let next = now.floor(group.interval).plus(group.interval);
            let pause =
                Duration::from_micros((next.0 - self.serving.clock.now().0).clamp(0, group.interval.0).unsigned_abs());
            if !self.rest(pause, cancel).await {
                return;
            }
        }
    }
    /// Evaluates a group's rules at a moment, keeps what came of it, and lets it be told.
    pub async fn tick(&self, group: &Group, at: Timestamp) {
        let begun = Instant::now();
        let (mut due, mut fared) = (Vec::new(), Vec::new());
        for rule in &group.rules {
            match self.ready(rule).await {
                Ok(expression) => due.push((rule, expression)),
                Err(text) => fared.push((rule, Some(text))),
            }
        }
        let queries: Vec<&Expr> = due.iter().map(|(_, expression)| *expression).collect();
        let sampled = if queries.is_empty() { Vec::new() } else { self.prometheus.sample(&queries, at).await };
        let (mut moved, mut pin) = (false, None);
        for ((rule, _), sampled) in due.into_iter().zip(sampled) {
            let entered = sampled.map_err(|failure| failure.text).and_then(|sampled| {
                self.keeps_up(rule, sampled.pin.as_deref())?;
                moved |= self.enter(rule, at, &sampled)?;
                pin = pin.take().or(sampled.pin);
                Ok(())
            });
            fared.push((rule, entered.err()));
        }
        let seconds = begun.elapsed().as_secs_f64();
        for (rule, error) in fared {
            self.note(rule, Health { at, seconds, error });
        }
        if moved || self.unkept.swap(false, Ordering::Relaxed) || self.is_heartbeat(at) {
            self.save(at).await;
        }
        // What other groups have entered meanwhile may not be kept yet.
        self.board().release(Some(&group.name), moved);
        // People are told first: this may take a while.
        if let Some(pin) = pin
            && self.correct(group, &pin).await
        {
            self.save(at).await;
        }
    }
    /// The expression of a rule whose views have caught up with what the log held at the start: before that, they would answer as of
    /// some earlier time. The views are those that it reads, also while an earlier definition still has their names.
    async fn ready<'r>(&self, rule: &'r Rule) -> Result<&'r Expr, String> {
        for view in &rule.views {
            self.serving.caught_up(view).await.map_err(|e| format!("view {}: {e}", view.name))?;
        }
        rule.expression.as_ref().map_err(Clone::clone)
    }
    /// Refuses a pin that is behind the one before, as where a state store lost what it held and folds again: of what is missing nothing
    /// is known.
    fn keeps_up(&self, rule: &Rule, pin: Option<&Pin>) -> Result<(), String> {
        let mut reached = lock(&self.reached);
        let views = pin.map_or(&[][..], |pin| &pin.views);
        for pinned in views.iter().filter(|pinned| rule.views.iter().any(|view| view.id == pinned.view.id)) {
            let (view, now) = (&pinned.view, pinned.coverage());
            let before = reached.entry((rule.key.clone(), view.id.clone())).or_default();
            if !now.covers(before) {
                let (now, before) = (now.to_text(&view.source.name), before.to_text(&view.source.name));
                return Err(format!("view {} is behind what it had reached: {now}, and it was at {before}", view.name));
            }
            *before = now;
        }
        Ok(())
    }
    /// Enters what a rule came to; whether anything moved.
    fn enter(&self, rule: &Rule, at: Timestamp, sampled: &Sampled) -> Result<bool, String> {
        let stamp = || sampled.pin.as_deref().map_or(Value::Null, stamp);
        let (told, moved) = self.board().with(|book| book.enter(rule, at, &sampled.samples, &stamp))?;
        told.iter().for_each(|alert| self.announce(&rule.group, alert));
        Ok(moved)
    }
    /// Has everybody told who wants to know.
    fn announce(&self, group: &str, alert: &Alert) {
        for post in self.posts.iter().filter(|post| !post.is_alertmanager() && post.wants(alert)) {
            let (receiver, group, alert) = (post.name.clone(), group.to_owned(), alert.clone());
            let delivery = Delivery { receiver, group, alert, ready: false };
            if let Some(delivery) = self.board().with(|book| book.add(delivery)) {
                self.give_up(&delivery, "too much waits");
            }
        }
    }
    fn note(&self, rule: &Rule, health: Health) {
        if let Some(error) = &health.error {
            let labels = RuleLabels { group: rule.group.clone(), rule: rule.name.clone() };
            self.serving.telemetry.alert_rule_failures.get_or_create(&labels).inc();
            if self.board().health(rule).is_none_or(|before| before.error.as_ref() != Some(error)) {
                tracing::warn!(group = rule.group, rule = rule.name, %error, "an alert rule cannot be evaluated");
            }
        }
        self.board().note(rule, health);
    }
    fn is_heartbeat(&self, at: Timestamp) -> bool {
        let pending = |alert: &Alert| matches!(alert.phase, Phase::Pending { .. });
        self.board()
            .with(|book| at.0.saturating_sub(book.at.0) >= HEARTBEAT.0 && book.alerts.values().flatten().any(pending))
    }
    /// Keeps the book. When the lake is away, people are told all the same.
    async fn save(&self, at: Timestamp) {
        let _one = self.keeping.lock().await;
        let book = self.board().with(|book| {
            book.at = book.at.max(at);
            book.clone()
        });
        let kept = self.keep.save(&book).await;
        self.unkept.store(kept.is_err(), Ordering::Relaxed);
        if let Err(error) = kept {
            tracing::warn!(%error, "alerts are not kept: what fires now may be told again after a restart");
        }
    }

    /// Tells a receiver what waits for it, until cancelled.
    async fn carry(&self, post: &Arc<Post>, cancel: &CancellationToken) {
        let mut news = self.board().listen();
        news.mark_changed();
        let mut pause = RETRY.0;
        let mut rest = Duration::ZERO;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.serving.clock.sleep(rest) => {}
                Ok(()) = news.changed(), if pause == RETRY.0 => {}
            }
            let told = tokio::select! {
                told = self.tell(post) => told,
                () = cancel.cancelled() => return,
            };
            (rest, pause) = match told {
                Ok(()) => (RESEND, RETRY.0),
                Err(error) => {
                    tracing::warn!(receiver = post.name, error, "an alert could not be told; it is tried again");
                    (pause, (pause * 2).min(RETRY.1))
                }
            };
        }
    }
    /// Tells a receiver all that waits for it.
    ///
    /// # Errors
    /// Why that did not go well; what is left waits.
    pub async fn tell(&self, post: &Arc<Post>) -> Result<(), String> {
        if post.is_alertmanager() {
            let all = post.all(self.board(), self.serving.clock.now());
            let is_something = !all.is_empty();
            return match off_thread(post, move |post| post.tell_all(&all)).await {
                Ok(()) => {
                    if is_something {
                        self.count(&post.name, "told");
                    }
                    Ok(())
                }
                Err(Untold::Later(text) | Untold::Never(text)) => {
                    self.count(&post.name, "failed");
                    Err(text)
                }
            };
        }
        let mut told = Ok(());
        let mut done = false;
        while let (Ok(()), Some(delivery)) = (&told, self.board().next(&post.name)) {
            let sent = delivery.clone();
            match off_thread(post, move |post| post.tell(&sent)).await {
                Ok(()) => self.count(&post.name, "told"),
                Err(Untold::Never(error)) => {
                    self.count(&post.name, "refused");
                    let alert = &delivery.alert.labels;
                    tracing::error!(
                        receiver = post.name,
                        ?alert,
                        error,
                        "the receiver refuses an alert: it is given up"
                    );
                }
                Err(Untold::Later(text)) => {
                    self.count(&post.name, "failed");
                    told = Err(text);
                    continue;
                }
            }
            self.board().done(&delivery);
            done = true;
        }
        if done {
            self.save(Timestamp::MIN).await;
        }
        told
    }
    fn count(&self, receiver: &str, outcome: &'static str) {
        let labels = ReceiverLabels { receiver: receiver.to_owned(), outcome };
        self.serving.telemetry.alert_notifications.get_or_create(&labels).inc();
    }
}

/// Lets another thread wait for a receiver.
async fn off_thread(
    post: &Arc<Post>,
    act: impl FnOnce(&Post) -> Result<(), Untold> + Send + 'static,
) -> Result<(), Untold> {
    let post = post.clone();
    let done = tokio::task::spawn_blocking(move || act(&post)).await;
    done.unwrap_or_else(|error| Err(Untold::Later(error.to_string())))
}

/// What a pin says of itself.
fn stamp(pin: &Pin) -> Value {
    let mut json = Json::with_capacity(512);
    pin.stamp.write(&mut json, None);
    serde_json::from_slice(&json.into_bytes()).unwrap_or_default()
}
