//! The log port: the append-only, partitioned record of events, the only way in.
pub mod anchor;
pub mod contract;
pub mod embedded;
pub mod group;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
pub mod offset;
pub mod tiered;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::time::Timestamp;
pub use anchor::Anchor;
pub use offset::{Offset, OffsetVector, Partition};

/// What identifies a topic's contents: a topic that was deleted and made again is another log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Changes when the topic is re-created; offsets of different incarnations never mix.
    pub incarnation: String,
    /// How many partitions the topic has now; it only grows.
    pub partitions: u32,
}

/// A record to append. The log gives it its offset and its timestamp.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The partition to append to.
    pub partition: u32,
    /// The event as JSON bytes.
    pub value: Bytes,
}

/// One stored record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// When the log received it (not the event time); decides segment boundaries and the duplicate horizon only.
    pub timestamp: Timestamp,
    /// The event as JSON bytes.
    pub value: &'a [u8],
}

/// A run of records of one partition, in offset order, in one allocation.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    data: Vec<u8>,
    index: Vec<(Offset, Timestamp, usize)>,
    /// The position after the chunk: the next offset to read.
    pub next: Offset,
}

impl Chunk {
    /// An empty chunk at `position`.
    pub fn at(position: Offset) -> Self {
        Self { data: Vec::new(), index: Vec::new(), next: position }
    }
    /// Makes room for so many more records and bytes of values at once.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.index.reserve(records);
        self.data.reserve(bytes);
    }
    /// Adds a record; `offset` must be at least [`Chunk::next`], which moves behind it.
    pub fn push(&mut self, offset: Offset, timestamp: Timestamp, value: &[u8]) {
        debug_assert!(offset >= self.next, "records of a chunk are in offset order");
        self.data.extend_from_slice(value);
        self.index.push((offset, timestamp, self.data.len()));
        self.next = Offset(offset.0 + 1);
    }
    /// Adds records of one timestamp with consecutive offsets from `first` on, at least [`Chunk::next`]: their values lie one
    /// behind the other in `values` and end at `ends`.
    pub fn extend(
        &mut self,
        first: Offset,
        timestamp: Timestamp,
        values: &[u8],
        ends: impl ExactSizeIterator<Item = usize>,
    ) {
        debug_assert!(first >= self.next, "records of a chunk are in offset order");
        let (start, held) = (self.data.len(), self.index.len());
        self.index.extend((first.0..).zip(ends).map(|(offset, end)| (Offset(offset), timestamp, start + end)));
        if let Some(&(last, _, end)) = self.index.get(held..).and_then(<[_]>::last) {
            self.data.extend_from_slice(&values[..end - start]);
            self.next = Offset(last.0 + 1);
        }
    }
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }
    /// Record `i`.
    pub fn get(&self, i: usize) -> Record<'_> {
        let (offset, timestamp, end) = self.index[i];
        let start = if i == 0 { 0 } else { self.index[i - 1].2 };
        Record { offset, timestamp, value: &self.data[start..end] }
    }
    /// The records at or above `from`, as many as one read with these limits gives. Its `next` is this chunk's when they are its last.
    #[must_use]
    pub fn slice(&self, from: Offset, max_records: usize, max_bytes: usize) -> Chunk {
        let first = self.index.partition_point(|(offset, ..)| *offset < from);
        let mut slice = Chunk::at(from);
        for i in (first..self.len()).take(max_records) {
            let Record { offset, timestamp, value } = self.get(i);
            if !slice.is_empty() && slice.bytes() + value.len() > max_bytes {
                break;
            }
            slice.push(offset, timestamp, value);
        }
        if first + slice.len() == self.len() {
            slice.next = slice.next.max(self.next);
        }
        slice
    }
    /// All records in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map(|i| self.get(i))
    }
}

/// # Contract
/// 1. `append` returns only when the records are durable; it gives each record, in order, the next offset of its partition.
///    A failed append may or may not have stored its records.
/// 2. `read` returns records with offsets at or above `from`, in order, no more than `max_records` of them and, beyond the
///    first, no more than `max_bytes`; an empty chunk with `next == from` at the end. The same offsets always give the same bytes.
/// 3. Reading below the log's start is `Kind::NotFound`, never a silent jump. A position beyond the end is `Kind::Corrupt`.
/// 4. `bounds` is (start, end): the first offset kept and the position after the last.
/// 5. An unknown topic is created by `open` with the wanted number of partitions; an existing one is left as it is.
#[async_trait]
pub trait EventLog: Send + Sync + std::fmt::Debug {
    /// Opens or creates a topic.
    async fn open(&self, topic: &str, partitions: u32) -> Result<Topic>;
    /// Appends durably; the answer names each record's partition and offset in the order given.
    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>>;
    /// Reads a chunk from a position.
    async fn read(&self, partition: &Partition, from: Offset, max_records: usize, max_bytes: usize) -> Result<Chunk>;
    /// The first offset kept and the position after the last record.
    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)>;
    /// Returns when the partition's end is beyond `position`; may return early.
    async fn wait(&self, partition: &Partition, position: Offset) -> Result<()>;
    /// Forgets records below `before`; keeping more is allowed.
    async fn trim(&self, partition: &Partition, before: Offset) -> Result<()>;
    /// Says so if it is known that no append will succeed until this process is started again.
    ///
    /// # Errors
    /// `Unavailable`, with the reason.
    fn takes_appends(&self) -> Result<()> {
        Ok(())
    }
}

/// Sentence 3 of the contract, for the adapters that know their bounds.
fn check_position(partition: &Partition, from: Offset, start: Offset, end: Offset) -> Result<()> {
    if from < start {
        let message = format!("log {partition} starts at offset {start}, offset {from} is no longer kept");
        return Err(Error::not_found(message));
    }
    if from > end {
        return Err(Error::corrupt(format!("log {partition} ends at offset {end}, before position {from}")));
    }
    Ok(())
}
