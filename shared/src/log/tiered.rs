//! A log whose old records are read from the archive: what was trimmed, or passed by retention, is still the same log.
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use object_store::path::Path;

use crate::error::{Kind, Result};
use crate::lake::archive::{ArchiveFile, ArchiveSnapshot, ArchiveTable};
use crate::lake::{archive_file, verified};
use crate::lock::lock;
use crate::log::{Chunk, EventLog, NewRecord, Offset, Partition, Topic};

/// Bytes of unpacked archive files that are kept at hand; one is kept whatever its size.
const CACHE_BYTES: usize = 256 << 20;

/// Reads the hot log where it still holds what is asked for, and the archive below that. Everything else is the hot log's.
///
/// The archive holds each record's bytes, offset and log time, so both tiers answer alike, and both read what was verified: a file
/// that is damaged is an error that names it.
#[derive(Debug)]
pub struct TieredLog {
    hot: Arc<dyn EventLog>,
    /// By topic.
    archives: BTreeMap<String, Arc<ArchiveTable>>,
    /// Unpacked files, the latest used last.
    files: Mutex<VecDeque<(Path, Arc<Chunk>)>>,
}

impl TieredLog {
    /// `hot` with the archives of some of its topics below. Each archive must be of the topic's incarnation.
    pub fn new(hot: Arc<dyn EventLog>, archives: BTreeMap<String, Arc<ArchiveTable>>) -> TieredLog {
        TieredLog { hot, archives, files: Mutex::default() }
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
            let chunk = self.records(partition, file).await?.slice(at, max_records, max_bytes);
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
            // Nothing but a gap is left of this file: an empty answer would say that the log ends here.
            at = file.to;
        }
        self.hot.read(partition, at, max_records, max_bytes).await.map(Some)
    }

    async fn records(&self, partition: &Partition, file: &ArchiveFile) -> Result<Arc<Chunk>> {
        let cached = {
            let mut files = lock(&self.files);
            let found = files.iter().position(|(path, _)| *path == file.path).and_then(|at| files.remove(at));
            found.map(|found| {
                let chunk = found.1.clone();
                files.push_back(found);
                chunk
            })
        };
        if let Some(chunk) = cached {
            return Ok(chunk);
        }
        let Some(table) = self.archives.get(&partition.source) else {
            return Err(crate::Error::internal(format!("{partition} has no archive")));
        };
        let bytes = verified::get(table.store().as_ref(), &file.path, &file.blake3).await?;
        let mut chunk = archive_file::read_records(&bytes)?;
        chunk.next = file.to;
        let chunk = Arc::new(chunk);
        let mut files = lock(&self.files);
        files.push_back((file.path.clone(), chunk.clone()));
        let mut bytes: usize = files.iter().map(|(_, chunk)| chunk.bytes()).sum();
        while bytes > CACHE_BYTES && files.len() > 1 {
            bytes -= files.pop_front().map_or(0, |(_, chunk)| chunk.bytes());
        }
        Ok(chunk)
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
                let archived = self.archived(partition, from, max_records, max_bytes).await?;
                archived.ok_or(below)
            }
            read => read,
        }
    }

    /// From where the archive starts, if it leaves no gap below the hot log.
    async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        let (start, end) = self.hot.bounds(partition).await?;
        if start == Offset(0) {
            return Ok((start, end));
        }
        let archive = self.archive(partition, start).await?;
        let first = archive.as_ref().and_then(|archive| archive.files_of(partition.number).first());
        Ok((first.map_or(start, |file| file.from.min(start)), end))
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
