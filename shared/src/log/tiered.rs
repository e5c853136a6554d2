//! A log whose old records are read from the archive, and those of a silent source's open segment from its tail: what was trimmed, or
//! passed by retention, is still the same log.
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use object_store::path::Path;

use crate::error::{Kind, Result};
use crate::lake::archive::{ArchiveFile, ArchiveSnapshot, ArchiveTable, Tail};
use crate::lake::{archive_file, verified};
use crate::lock::lock;
use crate::log::{Anchor, Chunk, EventLog, NewRecord, Offset, Partition, Topic};

/// Bytes of unpacked archive files that are kept at hand; one is kept whatever its size.
const CACHE_BYTES: usize = 256 << 20;
/// How often archive and tail are looked at for a record: while they are, an archiver may archive the segment and drop its tail.
const LOOKS: usize = 3;

/// The records of a file or a tail.
#[derive(Debug)]
struct Unpacked {
    from: Offset,
    records: Chunk,
}

/// Reads the hot log where it still holds what is asked for, and the archive below that, or the tail behind the archive. Everything else
/// is the hot log's.
///
/// Archive and tail hold each record's bytes, offset and log time, so all tiers answer alike, and all read what was verified: a file
/// that is damaged is an error that names it.
#[derive(Debug)]
pub struct TieredLog {
    hot: Arc<dyn EventLog>,
    /// By topic.
    archives: BTreeMap<String, Arc<ArchiveTable>>,
    /// Unpacked files and tails, the latest used last.
    files: Mutex<VecDeque<(Path, Arc<Unpacked>)>>,
}

impl TieredLog {
    /// `hot` with the archives of some of its topics below. Each archive must be of the topic's incarnation.
    pub fn new(hot: Arc<dyn EventLog>, archives: BTreeMap<String, Arc<ArchiveTable>>) -> TieredLog {
        TieredLog { hot, archives, files: Mutex::default() }
    }

    /// Where the archive of a partition begins of which nothing is archived yet: where its tail does, and else where the log does. What
    /// the log has forgotten behind a tail is then found missing, and not passed over.
    ///
    /// # Errors
    /// Those of log and lake; `Corrupt` when the tail is damaged, or the log is another one.
    pub async fn beginning(&self, partition: &Partition) -> Result<Offset> {
        let (start, _) = self.hot.bounds(partition).await?;
        if start == Offset(0) {
            return Ok(start);
        }
        Ok(self.tail(partition).await?.map_or(start, |tail| tail.from.min(start)))
    }

    /// Up to where the lake holds a partition that is archived up to `archived`: the end of its tail, or `archived` without one.
    ///
    /// # Errors
    /// Those of the lake; `Corrupt` when the tail is damaged, or the log is another one.
    pub async fn held(&self, partition: &Partition, archived: Offset) -> Result<Offset> {
        let tail = self.tail(partition).await?.filter(|tail| tail.from <= archived);
        Ok(tail.map_or(archived, |tail| tail.records.next.max(archived)))
    }

    /// The archive of a partition's topic if it reaches `to`: as last read, or read again.
    async fn archive(&self, partition: &Partition, to: Offset) -> Result<Option<Arc<ArchiveSnapshot>>> {
        let Some(table) = self.archives.get(&partition.source) else { return Ok(None) };
        let reaches = |archive: &Arc<ArchiveSnapshot>| archive.position(partition.number).is_some_and(|end| end >= to);
        if let Some(known) = table.known().filter(reaches) {
            return Ok(Some(known));
        }
        Ok(Some(table.latest().await?).filter(reaches))
    }

    /// What the archive holds from `from` on; `None` if it does not hold it.
    async fn archived(
        &self,
        partition: &Partition,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Option<Chunk>> {
        let Some(archive) = self.archive(partition, Offset(from.0 + 1)).await? else { return Ok(None) };
        let files = archive.files_of(partition.number);
        let first = files.partition_point(|file| file.to <= from);
        if files.get(first).is_none_or(|file| file.from > from) {
            return Ok(None);
        }
        let mut at = from;
        for file in &files[first..] {
            let chunk = self.records(partition, file).await?.records.slice(at, max_records, max_bytes);
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
            // Nothing but a gap is left of this file: an empty answer would say that the log ends here.
            at = file.to;
        }
        match self.hot.read(partition, at, max_records, max_bytes).await {
            Err(below) if below.kind() == Kind::NotFound => self.kept(partition, at, max_records, max_bytes).await,
            read => read.map(Some),
        }
    }

    /// What the tail of an open segment holds from `from` on; `None` if it does not hold it.
    async fn kept(
        &self,
        partition: &Partition,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Option<Chunk>> {
        let Some(tail) = self.tail(partition).await?.filter(|tail| tail.from <= from && from < tail.records.next)
        else {
            return Ok(None);
        };
        let chunk = tail.records.slice(from, max_records, max_bytes);
        if !chunk.is_empty() {
            return Ok(Some(chunk));
        }
        self.hot.read(partition, tail.records.next, max_records, max_bytes).await.map(Some)
    }

    /// Where archive and tail start if the tail reaches `start`.
    async fn first_before_tail(&self, partition: &Partition, start: Offset) -> Result<Option<Offset>> {
        let Some(tail) = self.tail(partition).await?.filter(|tail| tail.records.next >= start) else { return Ok(None) };
        let archive = self.archive(partition, tail.from).await?;
        let first = archive.as_ref().and_then(|archive| archive.files_of(partition.number).first());
        Ok(Some(first.map_or(tail.from, |file| file.from)))
    }

    /// The newest tail of a partition, if there is one and the log does not contradict it.
    async fn tail(&self, partition: &Partition) -> Result<Option<Arc<Unpacked>>> {
        let Some(table) = self.archives.get(&partition.source) else { return Ok(None) };
        let archived = table.latest().await?.position(partition.number);
        let Some(path) = table.tail(partition.number, archived).await? else { return Ok(None) };
        if let Some(known) = self.known(&path) {
            return Ok(Some(known));
        }
        let tail = match table.read_tail(&path).await {
            Ok(Tail { from, records }) => Arc::new(Unpacked { from, records }),
            Err(error) if error.kind() == Kind::NotFound => return Ok(None), // its segment was archived just now
            Err(error) => return Err(error),
        };
        if let Some(last) = tail.records.len().checked_sub(1) {
            Anchor::of(&tail.records.get(last)).check(self.hot.as_ref(), partition).await?;
        }
        self.remember(path, tail.clone());
        Ok(Some(tail))
    }

    async fn records(&self, partition: &Partition, file: &ArchiveFile) -> Result<Arc<Unpacked>> {
        if let Some(known) = self.known(&file.path) {
            return Ok(known);
        }
        let Some(table) = self.archives.get(&partition.source) else {
            return Err(crate::Error::internal(format!("{partition} has no archive")));
        };
        let bytes = verified::get(table.store().as_ref(), &file.path, &file.blake3).await?;
        let mut records = archive_file::read_records(&bytes)?;
        records.next = file.to;
        let read = Arc::new(Unpacked { from: file.from, records });
        self.remember(file.path.clone(), read.clone());
        Ok(read)
    }

    fn known(&self, path: &Path) -> Option<Arc<Unpacked>> {
        let mut files = lock(&self.files);
        let at = files.iter().position(|(known, _)| known == path)?;
        let found = files.remove(at)?;
        let read = found.1.clone();
        files.push_back(found);
        Some(read)
    }

    fn remember(&self, path: Path, read: Arc<Unpacked>) {
        let mut files = lock(&self.files);
        files.push_back((path, read));
        let mut bytes: usize = files.iter().map(|(_, read)| read.records.bytes()).sum();
        while bytes > CACHE_BYTES && files.len() > 1 {
            bytes -= files.pop_front().map_or(0, |(_, read)| read.records.bytes());
        }
    }
}

#[async_trait]
impl EventLog for TieredLog {
    async fn open(&self, topic: &str, partitions: u32) -> Result<Topic> {
        self.hot.open(topic, partitions).await
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<(u32, Offset)>> {
        self.hot.append(topic, records).await
    }

    async fn read(&self, partition: &Partition, from: Offset, max_records: usize, max_bytes: usize) -> Result<Chunk> {
        match self.hot.read(partition, from, max_records, max_bytes).await {
            Err(below) if below.kind() == Kind::NotFound => {
                for _ in 0..LOOKS {
                    if let Some(chunk) = self.archived(partition, from, max_records, max_bytes).await? {
                        return Ok(chunk);
                    }
                    if let Some(chunk) = self.kept(partition, from, max_records, max_bytes).await? {
                        return Ok(chunk);
                    }
                }
                Err(below)
            }
            read => read,
        }
    }

    /// From where the archive starts, if it and its tail leave no gap below the hot log.
    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        let (start, end) = self.hot.bounds(partition).await?;
        if start == Offset(0) {
            return Ok((start, end));
        }
        let first = match self.archive(partition, start).await? {
            Some(archive) => archive.files_of(partition.number).first().map(|file| file.from),
            None => self.first_before_tail(partition, start).await?,
        };
        Ok((first.map_or(start, |first| first.min(start)), end))
    }

    async fn wait(&self, partition: &Partition, position: Offset) -> Result<()> {
        self.hot.wait(partition, position).await
    }

    async fn trim(&self, partition: &Partition, before: Offset) -> Result<()> {
        self.hot.trim(partition, before).await
    }

    fn takes_appends(&self) -> Result<()> {
        self.hot.takes_appends()
    }
}

#[cfg(test)]
mod tests;
