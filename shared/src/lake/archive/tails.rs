//! Tails: the records of an open segment, kept beside the table while its source is silent.
//!
//! Only the next record ends a segment, so the newest one of a silent source is not archived, and a log with a retention of its own may
//! forget it meanwhile. Its records are then kept here as they are, and read as if the log still held them
//! ([`TieredLog`](crate::log::tiered::TieredLog)): segments, cuts and the table remain what they are.
//!
//! A tail is named by A, where it begins, and a number: `_tails/<partition>/<A>-<number>`. Whoever knows A finds the newest by asking for
//! numbers, few even of many, without a listing. Each is created only, says by its hash whether it is whole, and is what the log held from A
//! to its end. So it does not matter who of several archivers wrote it, whether a reply was lost or a request came late: an equal one is
//! not written again, a longer one gets the next number, and one whose number is taken looks again. Below A no tail is ever asked for:
//! one that was left behind, or that came late, is dropped by the next archiver that begins.
//!
//! Where nothing is archived yet, there is no A (0 stands for it in names): a tail then begins where its archiver found the log's start, and
//! the archive begins there too. An archiver that found a later start gives way, so that what only the tail holds is archived or, if the
//! log has forgotten what follows on it, found missing.
use std::cmp::Ordering;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};

use super::ArchiveTable;
use crate::error::{Error, Kind, Result};
use crate::log::{Chunk, Offset};
use crate::time::Timestamp;

const HASH_BYTES: usize = blake3::OUT_LEN;
/// Offset, log time and length of a record, and before them where the tail begins and ends, and how many there are.
const RECORD_BYTES: usize = 20;
const HEADER_BYTES: usize = 24;
/// How often a tail is tried to be kept while others archive its segment, or take its number.
const ATTEMPTS: usize = 8;

/// The records of an open segment.
#[derive(Debug, Clone)]
pub struct Tail {
    /// Where the segment begins: A.
    pub from: Offset,
    /// Its records up to `next`.
    pub records: Chunk,
}

impl Tail {
    /// What is hashed and compared; equal tails have equal bytes, however they are compressed.
    fn encode(&self) -> Vec<u8> {
        let records = &self.records;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + records.len() * RECORD_BYTES + records.bytes());
        for number in [self.from.0, records.next.0, records.len() as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for record in records.iter() {
            bytes.extend_from_slice(&record.offset.0.to_le_bytes());
            bytes.extend_from_slice(&record.timestamp.0.to_le_bytes());
            bytes.extend_from_slice(&(record.value.len() as u32).to_le_bytes());
        }
        records.iter().for_each(|record| bytes.extend_from_slice(record.value));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Tail> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let (from, next, count) = (number(0)?, number(8)?, usize::try_from(number(16)?).ok()?);
        let mut value = HEADER_BYTES + count.checked_mul(RECORD_BYTES)?;
        let mut records = Chunk::at(Offset(from));
        for i in 0..count {
            let at = HEADER_BYTES + i * RECORD_BYTES;
            let (offset, timestamp) = (Offset(number(at)?), Timestamp(number(at + 8)?.cast_signed()));
            let length = u32::from_le_bytes(bytes.get(at + 16..at + 20)?.try_into().ok()?) as usize;
            if offset < records.next {
                return None;
            }
            records.push(offset, timestamp, bytes.get(value..value + length)?);
            value += length;
        }
        let whole = value == bytes.len() && records.next.0 <= next;
        records.next = Offset(next);
        whole.then_some(Tail { from: Offset(from), records })
    }
}

impl ArchiveTable {
    /// Keeps what the log holds of an open segment. One that is kept already, or a longer one, is left alone.
    ///
    /// # Errors
    /// `Conflict` when the segment does not begin at A, or a tail begins before it: another archiver was further, or began earlier.
    /// `Unavailable` when it is unknown whether it is kept, or must be longer to replace what is kept.
    pub async fn keep_tail(&self, partition: u32, tail: &Tail) -> Result<()> {
        let content = tail.encode();
        let object = packed(&content)?;
        let (source, from) = (&self.source, tail.from);
        for _ in 0..ATTEMPTS {
            let archived = self.latest().await?.position(partition);
            if archived.is_some_and(|archived| archived != from) {
                return Err(Error::conflict(format!(
                    "archive {source}/{partition} does not reach {from}, or is beyond it"
                )));
            }
            let next = self.tails_of(partition, archived).await?;
            if let Some(last) = next.checked_sub(1) {
                match self.read_tail(&self.tail_path(partition, archived, last)).await {
                    Ok(newest) if self.is_kept(partition, tail, &content, &newest)? => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == Kind::Corrupt => {} // a damaged one keeps nothing
                    Err(error) if error.kind() == Kind::NotFound => continue, // its segment was archived just now
                    Err(error) => return Err(error),
                }
            }
            let path = self.tail_path(partition, archived, next);
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store().put_opts(&path, object.clone().into(), create).await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { .. }) => {} // by another archiver, or by this request, made twice
                Err(error) => {
                    return Err(Error::unavailable(format!("tail {path} could not be written")).because(error));
                }
            }
        }
        Err(Error::unavailable(format!("the tail of {source}/{partition} from {from} came too late {ATTEMPTS} times")))
    }

    /// Whether the newest tail makes `tail`, whose content that is, superfluous.
    fn is_kept(&self, partition: u32, tail: &Tail, content: &[u8], newest: &Tail) -> Result<bool> {
        let (source, end) = (&self.source, newest.records.next);
        let is_longer = end > tail.records.next;
        match newest.from.cmp(&tail.from) {
            Ordering::Less => Err(self.behind_tail(partition, tail.from, newest.from)),
            Ordering::Equal => Ok(is_longer || newest.encode() == content),
            // It would be in the way of records that it does not hold.
            Ordering::Greater if is_longer => Err(Error::unavailable(format!(
                "a tail of {source}/{partition} goes on to {end}: what began before it is kept once it reaches as far"
            ))),
            Ordering::Greater => Ok(false),
        }
    }

    /// Fails where an archive would begin at `from` although a whole tail begins before it: its records would be lost without a word.
    ///
    /// # Errors
    /// `Conflict`; those of the store.
    pub(super) async fn check_beginning(&self, partition: u32, from: Offset) -> Result<()> {
        let Some(path) = self.tail(partition, None).await? else { return Ok(()) };
        match self.read_tail(&path).await {
            Ok(tail) if tail.from < from => Err(self.behind_tail(partition, from, tail.from)),
            Ok(_) => Ok(()),
            // Damaged it holds nothing; what was dropped is archived, which the commit finds out.
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn behind_tail(&self, partition: u32, from: Offset, tail: Offset) -> Error {
        let source = &self.source;
        Error::conflict(format!("archive {source}/{partition} begins with its tail at {tail}, not at {from}"))
    }

    /// Where the newest tail of a partition lies, if there is one. `archived` is A, `None` if nothing of it is archived yet.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tail(&self, partition: u32, archived: Option<Offset>) -> Result<Option<Path>> {
        let tails = self.tails_of(partition, archived).await?;
        Ok(tails.checked_sub(1).map(|last| self.tail_path(partition, archived, last)))
    }

    /// Reads a tail.
    ///
    /// # Errors
    /// `Corrupt` naming the object when it is not what was written; `NotFound` when it was dropped meanwhile.
    pub async fn read_tail(&self, path: &Path) -> Result<Tail> {
        let object = self.store().get(path).await?.bytes().await?;
        unpacked(&object).ok_or_else(|| Error::corrupt(format!("file {path} is damaged: it is not what its hash says")))
    }

    /// Drops the tails below `archived`, which is A or was: nobody asks for them any more.
    ///
    /// # Errors
    /// Those of the store; what was dropped stays dropped.
    pub async fn drop_tails(&self, partition: u32, archived: Offset) -> Result<()> {
        let tails = self.tails(partition);
        let found: Vec<Path> = self
            .store()
            .list(Some(&tails))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(Error::from)?;
        let begins = |path: &Path| path.filename()?.split_once('-')?.0.parse().ok().map(Offset);
        for path in found.iter().filter(|path| begins(path).is_some_and(|from| from < archived)) {
            match self.store().delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn tails(&self, partition: u32) -> Path {
        self.table.root().clone().join("_tails").join(partition.to_string())
    }

    fn tail_path(&self, partition: u32, archived: Option<Offset>, number: u64) -> Path {
        self.tails(partition).join(format!("{:020}-{number}", archived.unwrap_or_default().0))
    }

    /// How many tails there are: the number of the next one. Each was written once the one before it was there, and they go together, so
    /// that steps that double and then halve find the last.
    async fn tails_of(&self, partition: u32, archived: Option<Offset>) -> Result<u64> {
        let (mut count, mut step) = (0, 1);
        while self.has_tail(partition, archived, count + step - 1).await? {
            count += step;
            step = count;
        }
        while step > 1 {
            step /= 2;
            if self.has_tail(partition, archived, count + step - 1).await? {
                count += step;
            }
        }
        Ok(count)
    }

    async fn has_tail(&self, partition: u32, archived: Option<Offset>, number: u64) -> Result<bool> {
        match self.store().head(&self.tail_path(partition, archived, number)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn packed(content: &[u8]) -> Result<Bytes> {
    let compressed = zstd::bulk::compress(content, 1);
    let compressed = compressed.map_err(|e| Error::internal("a tail cannot be compressed").because(e))?;
    let mut object = blake3::hash(content).as_bytes().to_vec();
    object.extend_from_slice(&compressed);
    Ok(object.into())
}

fn unpacked(object: &[u8]) -> Option<Tail> {
    let (hash, compressed) = object.split_at_checked(HASH_BYTES)?;
    let content = zstd::stream::decode_all(compressed).ok()?;
    (blake3::hash(&content).as_bytes() == hash).then(|| Tail::decode(&content))?
}

#[cfg(test)]
mod tests;
