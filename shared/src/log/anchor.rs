//! The anchor of a position: which record was the last below it. Offsets alone do not tell a log that lost its end and grew again.
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Kind, Result};
use crate::log::{EventLog, Offset, Partition, Record};

/// The last record that was taken in: where it stood and what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Its offset.
    pub offset: Offset,
    /// A hash of its bytes and its log time.
    pub hash: u64,
}

impl Anchor {
    /// The anchor that `record` gives.
    pub fn of(record: &Record<'_>) -> Self {
        let hash = xxh3_64_with_seed(record.value, record.timestamp.0.cast_unsigned());
        Self { offset: record.offset, hash }
    }

    /// Reads the record again and compares. What the log no longer keeps cannot be compared, and passes.
    ///
    /// # Errors
    /// `Corrupt` when the log ends before the record or holds another one there; those of the log.
    pub async fn check(&self, log: &dyn EventLog, partition: &Partition) -> Result<()> {
        let chunk = match log.read(partition, self.offset, 1, 1).await {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            Err(error) if error.kind() == Kind::Corrupt => return Err(cut(partition, "ends before").because(error)),
            Err(error) => return Err(error),
        };
        let found = (!chunk.is_empty()).then(|| Anchor::of(&chunk.get(0)));
        match found {
            Some(found) if found == *self => Ok(()),
            Some(_) => Err(cut(partition, &format!("holds another record than before at offset {}", self.offset))),
            None => Err(cut(partition, &format!("ends before offset {}, which was read before", self.offset))),
        }
    }
}

/// What a position beyond the log's end, or a record that changed, means, and what to do about it.
pub fn cut(partition: &Partition, how: &str) -> Error {
    Error::corrupt(format!(
        "log {partition} was truncated or rewritten: it {how}; what was computed from the lost records does not fit what \
         follows. Restore the topic's records, or read the topic as a new source under another name"
    ))
}
