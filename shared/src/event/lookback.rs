//! What lies below a position of the log, read again: the ids that what comes after it must be compared with.
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::event::decode::Decoder;
use crate::event::duplicates::Duplicates;
use crate::log::{Chunk, EventLog, Offset, Partition};
use crate::view::definition::Source;

/// The memory of duplicates that a reader has who comes to `position`.
///
/// # Errors
/// `Unavailable` when the log keeps too little below `position`; those of the log.
pub async fn duplicates(
    log: &dyn EventLog,
    partition: &Partition,
    source: &Arc<Source>,
    decoder: &mut Decoder,
    position: Offset,
) -> Result<Duplicates> {
    let mut duplicates = Duplicates::new(source.duplicates);
    let (mut at, found) = lookback(log, partition, position, duplicates.needs()).await?;
    if found < duplicates.needs() && at > Offset(0) {
        let message = format!("{partition} keeps {found} records before {position}, too few to tell duplicates by");
        return Err(Error::unavailable(message));
    }
    while at < position {
        let chunk = read_below(log, partition, at, position).await?;
        at = chunk.next;
        duplicates.remember(&decoder.decode(&chunk));
    }
    Ok(duplicates)
}

/// An offset with at least `records` records between it and `position`, or the log's start if there are fewer; and how
/// many there are.
///
/// # Errors
/// Those of the log.
pub async fn lookback(
    log: &dyn EventLog,
    partition: &Partition,
    position: Offset,
    records: u64,
) -> Result<(Offset, u64)> {
    let (start, _) = log.bounds(partition).await?;
    let mut reach = records;
    loop {
        let from = Offset(position.0.saturating_sub(reach)).max(start).min(position);
        let (mut at, mut found) = (from, 0);
        while at < position {
            let chunk = read_below(log, partition, at, position).await?;
            at = chunk.next;
            found += chunk.len() as u64;
        }
        // Offsets may have gaps: look further back until there are enough records or no more of them.
        if found >= records || from <= start {
            return Ok((from, found));
        }
        reach = reach.saturating_mul(2);
    }
}

/// A chunk that ends at or before `position`, even if the records before it end in a gap.
///
/// # Errors
/// Those of the log.
pub async fn read_below(log: &dyn EventLog, partition: &Partition, from: Offset, position: Offset) -> Result<Chunk> {
    let left = usize::try_from(position.0 - from.0).unwrap_or(usize::MAX);
    let read = log.read(partition, from, left.min(8_192), 8 << 20).await?;
    let mut chunk = Chunk::at(from);
    for record in read.iter().filter(|record| record.offset < position) {
        chunk.push(record.offset, record.timestamp, record.value);
    }
    if read.is_empty() || read.next > position || chunk.len() < read.len() {
        chunk.next = position;
    } else {
        chunk.next = chunk.next.max(read.next);
    }
    Ok(chunk)
}
