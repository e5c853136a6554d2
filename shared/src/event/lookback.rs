//! What lies below a position of the log, read again: the ids that what comes after it must be compared with.
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::event::decode::Decoder;
use crate::event::duplicates::Duplicates;
use crate::log::{Chunk, EventLog, Offset, Partition};
use crate::view::definition::Source;

/// How often the log is asked again for records that it is said to hold.
const TRIES: usize = 5;

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
        at = behind(&chunk, at, position);
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
            at = behind(&chunk, at, position);
            found += chunk.len() as u64;
        }
        // Offsets may have gaps: look further back until there are enough records or no more of them.
        if found >= records || from <= start {
            return Ok((from, found));
        }
        reach = reach.saturating_mul(2);
    }
}

/// Where to go on; where nothing is left, the rest is a gap.
fn behind(chunk: &Chunk, at: Offset, position: Offset) -> Offset {
    if chunk.next > at { chunk.next } else { position }
}

/// A chunk that ends at or before `position`, which the log reaches; its `next` is `from` only where the log gives nothing though it was
/// asked several times.
///
/// # Errors
/// Those of the log.
pub async fn read_below(log: &dyn EventLog, partition: &Partition, from: Offset, position: Offset) -> Result<Chunk> {
    let left = usize::try_from(position.0 - from.0).unwrap_or(usize::MAX);
    let mut read = log.read(partition, from, left.min(8_192), 8 << 20).await?;
    // A reader that stood at the end before may not have heard yet that there is more.
    for _ in 0..TRIES {
        if read.next > from {
            break;
        }
        log.wait(partition, from).await?;
        read = log.read(partition, from, left.min(8_192), 8 << 20).await?;
    }
    let mut chunk = Chunk::at(from);
    for record in read.iter().filter(|record| record.offset < position) {
        chunk.push(record.offset, record.timestamp, record.value);
    }
    chunk.next = read.next.clamp(chunk.next, chunk.next.max(position));
    Ok(chunk)
}
