//! The log in memory: the simplest adapter that keeps the contract, for tests and the simulator.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::log::{Chunk, EventLog, NewRecord, Offset, Partition, Topic};
use crate::time::Timestamp;

#[derive(Debug, Default)]
struct Stored {
    records: BTreeMap<u64, (Timestamp, Bytes)>,
    start: u64,
    end: u64,
}

#[derive(Debug)]
struct Contents {
    incarnation: String,
    partitions: Vec<Stored>,
}

/// A log that lives as long as the process. Its record timestamps are the clock's, and may run backwards as those do.
#[derive(Debug)]
pub struct MemoryLog {
    clock: Arc<dyn Clock>,
    topics: Mutex<BTreeMap<String, Contents>>,
    grown: Notify,
}

impl MemoryLog {
    /// An empty log that takes its record timestamps from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, topics: Mutex::default(), grown: Notify::new() }
    }
    /// Leaves a gap of `count` offsets at the end of a partition, as Kafka's transaction markers do.
    pub fn skip(&self, partition: &Partition, count: u64) -> Result<()> {
        let mut topics = self.lock();
        stored(&mut topics, &partition.source, partition.number)?.end += count;
        Ok(())
    }
    /// Loses everything from `end` on, as a log does whose leader was elected without the last records.
    pub fn truncate(&self, partition: &Partition, end: Offset) -> Result<()> {
        let mut topics = self.lock();
        let stored = stored(&mut topics, &partition.source, partition.number)?;
        stored.records.retain(|&offset, _| offset < end.0);
        stored.end = end.0;
        Ok(())
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Contents>> {
        lock(&self.topics)
    }
}

fn stored<'a>(topics: &'a mut BTreeMap<String, Contents>, topic: &str, number: u32) -> Result<&'a mut Stored> {
    let contents = topics.get_mut(topic).ok_or_else(|| Error::not_found(format!("topic {topic} does not exist")))?;
    let missing = || Error::not_found(format!("partition {topic}/{number} does not exist"));
    contents.partitions.get_mut(number as usize).ok_or_else(missing)
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn open(&self, topic: &str, partitions: u32) -> Result<Topic> {
        let mut topics = self.lock();
        if !topics.contains_key(topic) {
            let empty = (0..partitions.max(1)).map(|_| Stored::default()).collect();
            topics.insert(topic.to_owned(), Contents { incarnation: self.clock.nonce(), partitions: empty });
        }
        let contents = &topics[topic];
        Ok(Topic { incarnation: contents.incarnation.clone(), partitions: contents.partitions.len() as u32 })
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>> {
        let mut topics = self.lock();
        for record in &records {
            stored(&mut topics, topic, record.partition)?;
        }
        let timestamp = self.clock.now();
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let partition = stored(&mut topics, topic, record.partition)?;
            places.push((record.partition, Offset(partition.end)));
            partition.records.insert(partition.end, (timestamp, record.value));
            partition.end += 1;
        }
        drop(topics);
        self.grown.notify_waiters();
        Ok(places)
    }

    async fn read(&self, partition: &Partition, from: Offset, max_records: usize, max_bytes: usize) -> Result<Chunk> {
        let mut topics = self.lock();
        let stored = stored(&mut topics, &partition.source, partition.number)?;
        super::check_position(partition, from, Offset(stored.start), Offset(stored.end))?;
        let mut chunk = Chunk::at(from);
        for (&offset, (timestamp, value)) in stored.records.range(from.0..).take(max_records) {
            if !chunk.is_empty() && chunk.bytes() + value.len() > max_bytes {
                break;
            }
            chunk.push(Offset(offset), *timestamp, value);
        }
        Ok(chunk)
    }

    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        let mut topics = self.lock();
        let stored = stored(&mut topics, &partition.source, partition.number)?;
        Ok((Offset(stored.start), Offset(stored.end)))
    }

    async fn wait(&self, partition: &Partition, position: Offset) -> Result<()> {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if self.bounds(partition).await?.1 > position {
                return Ok(());
            }
            grown.await;
        }
    }

    async fn trim(&self, partition: &Partition, before: Offset) -> Result<()> {
        let mut topics = self.lock();
        let stored = stored(&mut topics, &partition.source, partition.number)?;
        stored.start = before.0.clamp(stored.start, stored.end);
        stored.records = stored.records.split_off(&stored.start);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SystemClock};
    use crate::log::contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_the_contract() {
        contract::run(async || Arc::new(MemoryLog::new(Arc::new(SystemClock))) as Arc<dyn EventLog>).await;
    }

    #[tokio::test]
    async fn gaps_are_skipped_and_timestamps_are_the_clocks() {
        let clock = Arc::new(ManualClock::at(Timestamp(50)));
        let log = MemoryLog::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let partition = Partition::new("clicks", 0);
        log.open("clicks", 1).await.unwrap();
        log.append("clicks", contract::records(0, "a", 2)).await.unwrap();
        clock.advance(-20);
        log.skip(&partition, 3).unwrap();
        assert_eq!(log.append("clicks", contract::records(0, "b", 1)).await.unwrap(), [(0, Offset(5))]);
        log.skip(&partition, 4).unwrap();
        assert_eq!(log.bounds(&partition).await.unwrap(), (Offset(0), Offset(10)));
        let chunk = log.read(&partition, Offset(1), 10, 1000).await.unwrap();
        let found: Vec<_> = chunk.iter().map(|r| (r.offset.0, r.timestamp.0)).collect();
        assert_eq!((found, chunk.next), (vec![(1, 50), (5, 30)], Offset(6)));
        let gap = log.read(&partition, Offset(6), 10, 1000).await.unwrap();
        assert_eq!((gap.len(), gap.next), (0, Offset(6)));
    }
}
