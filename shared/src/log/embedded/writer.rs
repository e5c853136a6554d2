//! The one thread that writes the log: it gathers what is waiting, syncs once, and answers everybody.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fjall::{Keyspace, OwnedWriteBatch, PersistMode};
use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};

use super::block::{Block, Encoder};
use super::{OpenTopic, key_of};
use crate::clock::Clock;
use crate::embedded::{Database, failed};
use crate::error::{Error, Result};
use crate::log::{NewRecord, Offset};

/// A group takes no more appends once it has this many bytes.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// Records of a block: a reader decodes whole blocks.
const BLOCK_RECORDS_MAX: usize = 4096;
/// Value bytes of a block, if it has more than one record.
const BLOCK_BYTES_MAX: usize = 1 << 20;

/// Somebody's records, and where to answer.
pub(super) struct Append {
    pub(super) topic: Arc<OpenTopic>,
    pub(super) records: Vec<NewRecord>,
    pub(super) reply: oneshot::Sender<Result<Vec<(u32, Offset)>>>,
}

pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) blocks: Keyspace,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) encoder: Encoder,
    /// Makes a batch durable; tests let it fail.
    pub(super) persist: fn(OwnedWriteBatch) -> fjall::Result<()>,
    /// Set for good by the first write that failed: what is on disk is unknown from then on, and a second sync that succeeds
    /// would not say that the first one's pages were written.
    pub(super) has_failed: Arc<AtomicBool>,
}

/// What a group appends to one partition.
struct Run {
    topic: Arc<OpenTopic>,
    number: u32,
    base: u64,
    values: Vec<bytes::Bytes>,
}

/// Waits until the batch is on disk.
pub(super) fn sync(batch: OwnedWriteBatch) -> fjall::Result<()> {
    batch.durability(Some(PersistMode::SyncData)).commit()
}

impl Writer {
    /// Writes until nobody can append any more.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Append>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = size_of(&first);
            let mut group = vec![first];
            while bytes < GROUP_BYTES_MAX
                && let Ok(next) = queue.try_recv()
            {
                bytes += size_of(&next);
                group.push(next);
            }
            self.write(group);
        }
    }

    fn write(&mut self, group: Vec<Append>) {
        let mut runs: Vec<Run> = Vec::new();
        let mut places: HashMap<(*const OpenTopic, u32), usize> = HashMap::new();
        let mut answers = Vec::with_capacity(group.len());
        for Append { topic, records, reply } in group {
            let mut offsets = Vec::with_capacity(records.len());
            for record in records {
                let place = *places.entry((Arc::as_ptr(&topic), record.partition)).or_insert_with(|| {
                    let base = topic.partitions[record.partition as usize].end().0;
                    runs.push(Run { topic: Arc::clone(&topic), number: record.partition, base, values: Vec::new() });
                    runs.len() - 1
                });
                let run = &mut runs[place];
                offsets.push((record.partition, Offset(run.base + run.values.len() as u64)));
                run.values.push(record.value);
            }
            answers.push((reply, offsets));
        }
        let written = self.store(&runs);
        if let Err(error) = &written
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            tracing::error!(%error, "the log failed to write and takes no more appends until a restart");
        }
        for (reply, offsets) in answers {
            let answer = match &written {
                Ok(()) => Ok(offsets),
                Err(error) => Err(Error::new(error.kind(), format!("the log takes no more appends: {error}"))),
            };
            // Whoever no longer waits has lost the answer, not the records.
            let _ = reply.send(answer);
        }
    }

    /// Writes all runs in one durable step, then lets readers see them.
    fn store(&mut self, runs: &[Run]) -> Result<()> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(Error::unavailable("a write failed before; restart to go on with what is stored"));
        }
        let mut batch = self.database.fjall.batch();
        let mut written: Vec<(&Run, Block)> = Vec::new();
        let now = self.clock.now();
        for run in runs {
            let timestamp = now.max(run.topic.partitions[run.number as usize].last_timestamp());
            let mut base = run.base;
            let mut rest = &run.values[..];
            while !rest.is_empty() {
                let (values, later) = rest.split_at(block_length(rest));
                let key = key_of(&run.topic.name, run.number, Offset(base));
                let encoded = self.encoder.encode(&key, Offset(base), timestamp, values);
                let (block, stored) =
                    encoded.map_err(|error| Error::internal("a block cannot be compressed").because(error))?;
                batch.insert(&self.blocks, key, stored);
                base = block.end().0;
                written.push((run, block));
                rest = later;
            }
        }
        (self.persist)(batch).map_err(failed)?;
        for (run, block) in written {
            run.topic.partitions[run.number as usize].grow(block);
        }
        Ok(())
    }
}

fn size_of(append: &Append) -> usize {
    append.records.iter().map(|record| record.value.len() + 64).sum()
}

/// How many of the values go into the next block: at least one.
fn block_length(values: &[bytes::Bytes]) -> usize {
    let mut bytes = 0;
    let fits = |value: &&bytes::Bytes| {
        bytes += value.len();
        bytes <= BLOCK_BYTES_MAX
    };
    values.iter().take(BLOCK_RECORDS_MAX).take_while(fits).count().max(1)
}
