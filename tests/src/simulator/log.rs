//! The log as workers and archivers see it: every call takes a while.
use std::sync::Arc;

use async_trait::async_trait;
use seam_shared::error::Result;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{Chunk, EventLog, NewRecord, Offset, Partition, Topic};

use super::mutant::Mutant;
use super::turn::pause;

/// The log, as workers and archivers see it.
#[derive(Debug)]
pub struct UnsteadyLog {
    inner: Arc<MemoryLog>,
    mutant: Option<Mutant>,
}

impl UnsteadyLog {
    /// Wraps a log.
    pub fn new(inner: Arc<MemoryLog>, mutant: Option<Mutant>) -> Self {
        Self { inner, mutant }
    }
}

#[async_trait]
impl EventLog for UnsteadyLog {
    async fn open(&self, topic: &str, partitions: u32) -> Result<Topic> {
        self.inner.open(topic, partitions).await
    }
    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>> {
        self.inner.append(topic, records).await
    }
    async fn read(&self, partition: &Partition, from: Offset, records: usize, bytes: usize) -> Result<Chunk> {
        pause().await;
        let from = match self.mutant {
            Some(Mutant::ResetToEarliest) => from.max(self.inner.bounds(partition).await?.0),
            _ => from,
        };
        self.inner.read(partition, from, records, bytes).await
    }
    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        let (start, end) = self.inner.bounds(partition).await?;
        Ok((if self.mutant == Some(Mutant::ResetToEarliest) { Offset(0) } else { start }, end))
    }
    async fn wait(&self, _: &Partition, _: Offset) -> Result<()> {
        pause().await;
        Ok(())
    }
    async fn trim(&self, partition: &Partition, before: Offset) -> Result<()> {
        self.inner.trim(partition, before).await
    }
}
