//! Members of a consumer group, for who reads: assigned partitions are paused at once, and no offset is ever committed.
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use tokio::sync::watch;

use super::KafkaLog;
use super::client::{self, Quiet};
use super::topics::Topics;
use crate::error::{Error, Result};
use crate::log::Partition;
use crate::log::group::{Assignment, Groups, Membership, Place};

/// How often a member looks whether it shall leave.
const BEAT: Duration = Duration::from_millis(50);

/// Tells what the group assigns.
struct Member {
    topics: Arc<Topics>,
    assignment: watch::Sender<Assignment>,
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // Lost partitions disappear before others may get them.
        if let Rebalance::Revoke(lost) = rebalance {
            let lost: BTreeSet<(String, i32)> = lost.to_topic_map().into_keys().collect();
            self.tell(consumer, &lost);
        }
    }
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(new) = rebalance {
            if let Err(error) = consumer.pause(new) {
                tracing::warn!(%error, "a member of a Kafka group reads what nobody needs");
            }
            self.tell(consumer, &BTreeSet::new());
        }
    }
}

impl Member {
    fn tell(&self, consumer: &BaseConsumer<Self>, lost: &BTreeSet<(String, i32)>) {
        let Ok(assigned) = consumer.assignment() else { return };
        let partition = |(topic, number): (String, i32)| {
            Some(Partition::new(self.topics.source(&topic), u32::try_from(number).ok()?))
        };
        let kept = assigned.to_topic_map().into_keys().filter(|place| !lost.contains(place));
        let now: BTreeSet<Partition> = kept.filter_map(partition).collect();
        self.assignment.send_if_modified(|before| {
            let changed = **before != now;
            *before = Arc::new(now);
            changed
        });
    }
}

/// Keeps a member in its group; its thread serves the group and leaves it.
#[derive(Debug)]
struct Seat {
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[async_trait]
impl Place for Seat {
    async fn leave(mut self: Box<Self>) {
        self.leaving.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Groups for KafkaLog {
    async fn join(&self, role: &str, sources: &[String]) -> Result<Membership> {
        for source in sources {
            self.topics.check(&Partition::new(source.as_str(), 0)).await?;
        }
        let mut config = self.joining.clone();
        config.set("group.id", format!("{}-{role}", self.name));
        let (sender, assignment) = watch::channel(Assignment::default());
        let member = Member { topics: Arc::clone(&self.topics), assignment: sender };
        let what = format!("the group of role {role} cannot be joined");
        let failed = |error| client::failed(&what, error);
        let consumer: BaseConsumer<Member> = config.create_with_context(member).map_err(failed)?;
        let topics: Vec<Cow<'_, str>> = sources.iter().map(|source| self.topics.name(source)).collect();
        let topics: Vec<&str> = topics.iter().map(Cow::as_ref).collect();
        consumer.subscribe(&topics).map_err(failed)?;
        let leaving = Arc::new(AtomicBool::new(false));
        let leave = Arc::downgrade(&leaving);
        let thread = std::thread::Builder::new().name(format!("group {role}")).spawn(move || serve(&consumer, &leave));
        let thread = thread.map_err(|error| Error::internal("a thread cannot be started").because(error))?;
        Ok(Membership::new(assignment, Box::new(Seat { leaving, thread: Some(thread) })))
    }
}

/// Serves the group until the seat is dropped; dropping the consumer then tells the others.
fn serve(consumer: &BaseConsumer<Member>, leave: &Weak<AtomicBool>) {
    while leave.upgrade().is_some_and(|leaving| !leaving.load(Ordering::Relaxed)) {
        if let Some(Err(error)) = consumer.poll(BEAT) {
            tracing::debug!(%error, "a member of a Kafka group");
        }
    }
}
