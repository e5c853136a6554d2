//! The group port: which partitions this process works on now. It decides who reads, never from where.
//!
//! Where to start is what the state store (speed) or the archive (archiver) says. Two members may hold the same partition for a
//! while, when one is thought dead or hands over: every commit names the position that it starts from, so one of them wins.
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::Result;
use crate::log::{EventLog, Partition};

/// The partitions that a member works on.
pub type Assignment = Arc<BTreeSet<Partition>>;

/// # Contract
/// 1. While a group has members, each partition of its topics comes to be with one of them, partitions that are added later too.
/// 2. A partition that a member loses disappears from its assignment; it may be with the next member a moment before that.
/// 3. A member that is dropped leaves at once; one that dies is noticed after a while.
#[async_trait]
pub trait Groups: Send + Sync + std::fmt::Debug {
    /// Joins the processes that share the work of `role` (a word like `speed`) on the topics of these sources, all of which exist.
    async fn join(&self, role: &str, sources: &[String]) -> Result<Membership>;
}

/// A place in a group, left when this is dropped.
#[derive(Debug)]
pub struct Membership {
    assignment: watch::Receiver<Assignment>,
    place: Option<Box<dyn Place>>,
}

/// What keeps a member in its group; dropped, it leaves.
#[async_trait]
pub trait Place: Any + Send + Sync + std::fmt::Debug {
    /// Leaves the group, and returns when the others may know.
    async fn leave(self: Box<Self>);
}

impl Membership {
    /// A place whose assignment is what `assignment` says.
    pub fn new(assignment: watch::Receiver<Assignment>, place: Box<dyn Place>) -> Self {
        Self { assignment, place: Some(place) }
    }
    /// The partitions to work on now; empty until the group has settled for the first time.
    pub fn partitions(&mut self) -> Assignment {
        self.assignment.borrow_and_update().clone()
    }
    /// Returns when the assignment is another than [`Membership::partitions`] said last. Safe to drop at any await.
    pub async fn changed(&mut self) {
        if self.assignment.changed().await.is_err() {
            // nobody can change it any more
            std::future::pending::<()>().await;
        }
    }
    /// Leaves the group, and returns when the others may know: for a process that ends in order.
    pub async fn leave(mut self) {
        if let Some(place) = self.place.take() {
            place.leave().await;
        }
    }
}

/// A group of one: the member works on all partitions that there are when it joins.
#[derive(Debug)]
pub struct Alone {
    log: Arc<dyn EventLog>,
}

impl Alone {
    /// For a log that one process holds.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }
}

#[async_trait]
impl Groups for Alone {
    async fn join(&self, _role: &str, sources: &[String]) -> Result<Membership> {
        let mut partitions = BTreeSet::new();
        for source in sources {
            let topic = self.log.open(source, 1).await?;
            partitions.extend((0..topic.partitions).map(|number| Partition::new(source.as_str(), number)));
        }
        let (sender, assignment) = watch::channel(Arc::new(partitions));
        drop(sender);
        Ok(Membership { assignment, place: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::log::memory::MemoryLog;

    #[tokio::test]
    async fn whoever_is_alone_has_every_partition() {
        let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
        log.open("clicks", 3).await.unwrap();
        log.open("views", 1).await.unwrap();
        let mut member = Alone::new(log).join("speed", &["clicks".to_owned(), "views".to_owned()]).await.unwrap();
        let expected = [("clicks", 0), ("clicks", 1), ("clicks", 2), ("views", 0)];
        let expected: BTreeSet<_> =
            expected.into_iter().map(|(source, number)| Partition::new(source, number)).collect();
        assert_eq!(*member.partitions(), expected);
        let changed = tokio::time::timeout(std::time::Duration::from_millis(20), member.changed()).await;
        assert!(changed.is_err(), "nothing changes");
        member.leave().await;
    }
}
