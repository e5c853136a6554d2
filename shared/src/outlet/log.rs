//! A topic of the embedded log as the outlet: records in its partition 0 and the marks in partition 1, which one append stores
//! together. One process holds that log, so that there is no other writer.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Outlet, Record};
use crate::error::{Error, Result};
use crate::log::{EventLog, NewRecord, Offset, Partition};

/// The partition of the records.
pub const RECORDS: u32 = 0;
/// The partition of the marks.
pub const MARKS: u32 = 1;
/// Records and bytes of one read.
const CHUNK: (usize, usize) = (4_096, 8 << 20);

/// A topic of a log whose appends are stored whole or not at all.
#[derive(Debug)]
pub struct LogOutlet {
    log: Arc<dyn EventLog>,
    topic: String,
    claimed: AtomicBool,
}

impl LogOutlet {
    /// The outlet to `topic`, which it makes when it claims it.
    pub fn new(log: Arc<dyn EventLog>, topic: impl Into<String>) -> LogOutlet {
        LogOutlet { log, topic: topic.into(), claimed: AtomicBool::new(false) }
    }
    fn partition(&self, number: u32) -> Partition {
        Partition::new(self.topic.as_str(), number)
    }
    /// The values of the last `most` records of a partition.
    async fn last(&self, number: u32, most: u64) -> Result<Vec<Bytes>> {
        let partition = self.partition(number);
        let (start, end) = self.log.bounds(&partition).await?;
        let (mut at, mut values) = (Offset(end.0.saturating_sub(most)).max(start), Vec::new());
        while at < end {
            let chunk = self.log.read(&partition, at, CHUNK.0, CHUNK.1).await?;
            values.extend(chunk.iter().map(|record| Bytes::copy_from_slice(record.value)));
            if chunk.next <= at {
                break;
            }
            at = chunk.next;
        }
        Ok(values)
    }
}

#[async_trait]
impl Outlet for LogOutlet {
    async fn claim(&self) -> Result<Option<Bytes>> {
        let topic = self.log.open(&self.topic, 2).await?;
        if topic.partitions < 2 {
            let message =
                format!("topic {} was there before, with one partition: name another for the sink", self.topic);
            return Err(Error::invalid(message));
        }
        let mark = self.last(MARKS, 1).await?.pop();
        self.claimed.store(true, Ordering::SeqCst);
        Ok(mark)
    }

    async fn write(&self, records: &[Record], mark: &[u8]) -> Result<()> {
        if !self.claimed.load(Ordering::SeqCst) {
            return Err(Error::conflict(format!("topic {} is not claimed", self.topic)));
        }
        let mut all: Vec<NewRecord> =
            records.iter().map(|record| NewRecord { partition: RECORDS, value: record.value.clone() }).collect();
        all.push(NewRecord { partition: MARKS, value: Bytes::copy_from_slice(mark) });
        let stored = self.log.append(&self.topic, all).await?;
        // A reader of the marks needs the last one only.
        if let Some((_, last)) = stored.last() {
            self.log.trim(&self.partition(MARKS), *last).await?;
        }
        Ok(())
    }

    async fn newest(&self, most: usize) -> Result<Vec<Bytes>> {
        self.last(RECORDS, most as u64).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::embedded::Database;
    use crate::log::embedded::EmbeddedLog;

    #[tokio::test]
    async fn the_contract_is_kept_and_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let database = Database::open(folder.path()).unwrap();
            Arc::new(EmbeddedLog::open(&database, Arc::new(SystemClock)).unwrap())
        };
        let log: Arc<dyn EventLog> = open();
        let make = || async { Arc::new(LogOutlet::new(log.clone(), "out")) as Arc<dyn Outlet> };
        crate::outlet::contract::run(make, false).await;
        drop(log);
        let again = LogOutlet::new(open(), "out");
        assert_eq!(again.claim().await.unwrap().as_deref(), Some(&b"five"[..]));
        assert_eq!(again.newest(1).await.unwrap(), ["1"]);
    }
}
