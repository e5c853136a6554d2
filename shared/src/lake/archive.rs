//! The archive table of a source: every event, in files of whole segments, gap-free from each partition's start to A.
mod evolution;
mod recent_ids;
mod tails;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use object_store::ObjectStore;
use object_store::path::Path;
use serde_json::{Value as Json, json};

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::event::batch::Excluded;
use crate::failpoint::{self, Failpoint};
use crate::lake::archive_file::{self, Written};
use crate::lake::delta::{Add, Commit, Metadata, Snapshot, Table, Transaction, schema};
use crate::lake::sealed::Footer;
use crate::lake::verified;
use crate::lock::lock;
use crate::log::{Anchor, Offset, OffsetVector};
use crate::time::Timestamp;
use crate::view::definition::Source;
use evolution::Purpose;
pub use tails::Tail;

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFile {
    /// Its path in the store; read it with [`verified::get`] or, in parts, as a [`SealedFile`](crate::lake::sealed::SealedFile).
    pub path: Path,
    /// The partition whose records it holds.
    pub partition: u32,
    /// The start of its first segment.
    pub from: Offset,
    /// The end of its last segment: the next segment's start.
    pub to: Offset,
    /// The starts of its segments, in order; the first is `from`.
    pub boundaries: Vec<Offset>,
    /// Its content hash.
    pub blake3: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its footer, for those who read parts of it.
    pub footer: Footer,
    /// Its rows, whatever their verdict.
    pub rows: u64,
    /// The UTC days of its events, by their start, with how many rows count.
    pub days: BTreeMap<Timestamp, u64>,
    /// The earliest and latest time of its valid events, rounded outwards to milliseconds; `None` if it has none.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Its records that count nowhere; `None` in files of before that was said.
    pub excluded: Option<Excluded>,
    /// Its last record, which the archiver compares with the log; `None` in files of before there were anchors.
    pub anchor: Option<Anchor>,
}

/// The archive at one version.
#[derive(Debug, Clone)]
pub struct ArchiveSnapshot {
    /// The table's version.
    pub version: u64,
    /// The files by partition and offset.
    pub files: Vec<Arc<ArchiveFile>>,
    /// A: how far each partition is archived.
    pub positions: OffsetVector,
}

/// A file to add: whole segments of one partition.
#[derive(Debug)]
pub struct NewFile {
    /// The partition.
    pub partition: u32,
    /// Where it starts: A(p), or for the first file of a partition anywhere but behind the start of its tail (the log may have been
    /// trimmed before).
    pub from: Offset,
    /// Where it ends.
    pub to: Offset,
    /// The starts of its segments; the first is `from`.
    pub boundaries: Vec<Offset>,
    /// Its content.
    pub content: Written,
    /// Its last record.
    pub anchor: Option<Anchor>,
}

/// The archive table of one source.
#[derive(Debug)]
pub struct ArchiveTable {
    table: Table,
    source: String,
    /// What the table said of the source's fields when it was opened.
    fields: Option<String>,
    newest: Mutex<Option<Arc<ArchiveSnapshot>>>,
}

impl ArchiveSnapshot {
    /// The files of one partition, in order.
    pub fn files_of(&self, partition: u32) -> &[Arc<ArchiveFile>] {
        let start = self.files.partition_point(|f| f.partition < partition);
        let end = self.files.partition_point(|f| f.partition <= partition);
        &self.files[start..end]
    }
    /// The segment starts of one partition in order, and A at the end; empty for a partition without files.
    pub fn boundaries(&self, partition: u32) -> Vec<Offset> {
        let files = self.files_of(partition);
        let starts = files.iter().flat_map(|f| f.boundaries.iter().copied());
        starts.chain(files.last().map(|f| f.to)).collect()
    }
    /// What lies below A of each partition and counts nowhere; without the partitions in which an old file does not say.
    pub fn excluded(&self) -> BTreeMap<u32, Excluded> {
        let of = |number: u32| {
            let mut files = self.files_of(number).iter().map(|file| file.excluded);
            files.try_fold(Excluded::default(), |sum, file| Some(sum.plus(file?)))
        };
        self.positions.0.keys().filter_map(|&number| Some((number, of(number)?))).collect()
    }
    /// A of a partition, `None` if nothing of it is archived yet.
    pub fn position(&self, partition: u32) -> Option<Offset> {
        self.positions.0.get(&partition).copied()
    }
}

impl ArchiveTable {
    /// Opens the archive of `source`, and creates it where there is none; where the source has more fields or wider ones than before,
    /// the table says so from now on. `incarnation` names the log that it archives.
    ///
    /// # Errors
    /// `Invalid` when the archive was made with other settings than the source has now: segment rule, duplicate rule and log are fixed
    /// for an archive's life, and fields change only so that no archived event counts otherwise than it did.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        source: &Source,
        incarnation: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<ArchiveTable> {
        let root = Path::from("archive").join(source.name.as_str());
        let table = Table::new(store, root, clock);
        let wanted = evolution::settings(source, incarnation);
        loop {
            let found = match table.latest().await? {
                Some(found) => found,
                None => create(&table, source, &wanted).await?,
            };
            let Some(change) = evolution::check(source, &found.metadata, &wanted, Purpose::Write)? else {
                return Ok(ArchiveTable::of(table, source, &found));
            };
            if change.widened {
                check_verdicts(&table, source, &found).await?;
            }
            match evolve(&table, source, &found, &wanted).await {
                Ok(()) => tracing::info!(source = source.name, changes = ?change.what, "the archive's columns change"),
                Err(error) if error.kind() == Kind::Conflict => {} // another process changes them, or archives
                Err(error) => return Err(error),
            }
        }
    }
    fn of(table: Table, source: &Source, found: &Snapshot) -> ArchiveTable {
        let fields = found.metadata.configuration.get(evolution::FIELDS).cloned();
        ArchiveTable { table, source: source.name.clone(), fields, newest: Mutex::new(None) }
    }
    /// Opens the archive of `source` where there is one, for readers that do not have the log at hand; also the name of the log
    /// that it archives.
    ///
    /// # Errors
    /// As [`ArchiveTable::open`].
    pub async fn existing(
        store: Arc<dyn ObjectStore>,
        source: &Source,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<(ArchiveTable, String)>> {
        let table = Table::new(store, Path::from("archive").join(source.name.as_str()), clock);
        let Some(found) = table.latest().await? else { return Ok(None) };
        let unknown = || Error::corrupt(format!("the archive of {} does not name its log", source.name));
        let text = found.metadata.configuration.get("seam.incarnation").ok_or_else(unknown)?;
        let incarnation: String = serde_json::from_str(text).map_err(|e| unknown().because(e))?;
        // Readers need not wait for the columns to change: they decode again what they need.
        let wanted = evolution::settings(source, &incarnation);
        evolution::check(source, &found.metadata, &wanted, Purpose::Read)?;
        Ok(Some((ArchiveTable::of(table, source, &found), incarnation)))
    }
    /// The store that holds the files.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        self.table.store()
    }
    /// The newest version that was read so far; nothing is asked of the store.
    pub fn known(&self) -> Option<Arc<ArchiveSnapshot>> {
        lock(&self.newest).clone()
    }
    /// The newest version.
    ///
    /// # Errors
    /// As [`Table::latest`].
    pub async fn latest(&self) -> Result<Arc<ArchiveSnapshot>> {
        let found = self.table.latest().await?;
        let found = found.ok_or_else(|| Error::not_found(format!("archive {} is gone", self.source)))?;
        self.read(&found)
    }
    /// The archive as of `version`.
    ///
    /// # Errors
    /// As [`Table::at`].
    pub async fn at(&self, version: u64) -> Result<Arc<ArchiveSnapshot>> {
        self.read(self.table.at(version).await?.as_ref())
    }
    /// Stores a file and commits it. Nothing of it is seen before that; a crash leaves an object that no version names.
    ///
    /// # Errors
    /// `Conflict` when `from` is not A(p), be it that another archiver was first, or a tail begins before the first file: read the table
    /// again and go on from there.
    /// `Unavailable` when it is unknown whether the commit was made.
    pub async fn commit_file(&self, file: NewFile) -> Result<Arc<ArchiveSnapshot>> {
        check_segments(&file)?;
        let mut before = self.writable().await?;
        self.check_gap(&before, &file).await?;
        let (partition, from, to) = (file.partition, file.from, file.to);
        let name = format!("{partition}-{:020}-{:020}-{}.parquet", from.0, to.0, self.table.clock().nonce());
        verified::put(self.store().as_ref(), &self.table.file(&name), &file.content.bytes).await?;
        let blake3 = verified::hash(&file.content.bytes);
        failpoint::reach(Failpoint::ArchiveUploaded);
        let add = self.add(name, &file, blake3);
        loop {
            let app_id = format!("{}/{partition}", self.source);
            let commit = Commit {
                add: vec![add.clone()],
                transactions: vec![Transaction { app_id, version: to.0 }],
                info: [("operation".to_owned(), Json::from("WRITE"))].into_iter().collect(),
                ..Commit::default()
            };
            match self.table.commit(before.version + 1, commit).await {
                Ok(()) => {
                    failpoint::reach(Failpoint::ArchiveCommitted);
                    return self.latest().await;
                }
                Err(error) if error.kind() == Kind::Conflict => {}
                Err(error) => return Err(error),
            }
            before = self.writable().await?;
            self.check_gap(&before, &file).await?; // it was a commit of another partition
        }
    }

    /// The newest version, if its fields are those that this process writes.
    async fn writable(&self) -> Result<Arc<ArchiveSnapshot>> {
        let found = self.table.latest().await?;
        let found = found.ok_or_else(|| Error::not_found(format!("archive {} is gone", self.source)))?;
        if found.metadata.configuration.get(evolution::FIELDS) != self.fields.as_ref() {
            let source = &self.source;
            return Err(Error::invalid(format!(
                "the fields of source {source} were changed by a process with a newer configuration: this one archives nothing more \
                 until it is started with that"
            )));
        }
        self.read(&found)
    }
    async fn check_gap(&self, now: &ArchiveSnapshot, file: &NewFile) -> Result<()> {
        match now.position(file.partition) {
            Some(position) if position != file.from => Err(Error::conflict(format!(
                "archive {}/{} reaches {position}, a file from {} does not follow it",
                self.source, file.partition, file.from
            ))),
            Some(_) => Ok(()),
            None => self.check_beginning(file.partition, file.from).await,
        }
    }
    fn add(&self, name: String, file: &NewFile, blake3: String) -> Add {
        let written = &file.content;
        let days: serde_json::Map<String, Json> =
            written.days.iter().map(|(day, rows)| (day.to_rfc3339()[..10].to_owned(), Json::from(*rows))).collect();
        let tags = [
            ("partition", file.partition.to_string()),
            ("from", file.from.to_string()),
            ("to", file.to.to_string()),
            ("boundaries", json!(file.boundaries).to_string()),
            ("blake3", blake3),
            ("footer_bytes", written.footer.bytes.to_string()),
            ("footer_blake3", written.footer.blake3.clone()),
            ("rows", written.rows.to_string()),
            ("days", Json::Object(days).to_string()),
            ("excluded", json!(written.excluded).to_string()),
        ];
        let anchor = file.anchor.map(|anchor| ("anchor", json!(anchor).to_string()));
        let tags = tags.into_iter().chain(anchor).map(|(key, value)| (key.to_owned(), value)).collect();
        let mut stats = json!({"numRecords": written.rows});
        if let Some((first, last)) = written.times {
            // the protocol keeps milliseconds: both ends are rounded outwards
            let millisecond = crate::time::Span(1_000);
            let (first, last) = (first.floor(millisecond), last.ceil(millisecond));
            stats["minValues"] = json!({"seam_partition": file.partition, "seam_time": first.to_rfc3339()});
            stats["maxValues"] = json!({"seam_partition": file.partition, "seam_time": last.to_rfc3339()});
        }
        Add::new(name, written.bytes.len() as u64, self.table.clock().now(), &stats, tags)
    }
    fn read(&self, snapshot: &Snapshot) -> Result<Arc<ArchiveSnapshot>> {
        let known = lock(&self.newest).clone();
        if let Some(known) = known.as_ref().filter(|k| k.version == snapshot.version) {
            return Ok(Arc::clone(known));
        }
        let known: BTreeMap<&str, &Arc<ArchiveFile>> =
            known.iter().flat_map(|k| &k.files).map(|f| (f.path.filename().unwrap_or_default(), f)).collect();
        let mut files = Vec::with_capacity(snapshot.files.len());
        for add in snapshot.files.values() {
            files.push(match known.get(add.path.as_str()) {
                Some(file) => Arc::clone(file),
                None => Arc::new(parse(self.table.file(&add.path), add)?),
            });
        }
        files.sort_by_key(|f| (f.partition, f.from));
        let mut positions = OffsetVector::default();
        for (app_id, &version) in &snapshot.transactions {
            let number = app_id.strip_prefix(&format!("{}/", self.source)).and_then(|n| n.parse().ok());
            positions.set(number.ok_or_else(|| self.strange(app_id))?, Offset(version));
        }
        let read = Arc::new(ArchiveSnapshot { version: snapshot.version, files, positions });
        self.check_whole(&read)?;
        let mut newest = lock(&self.newest);
        if newest.as_ref().is_none_or(|n| n.version < read.version) {
            *newest = Some(Arc::clone(&read));
        }
        Ok(read)
    }
    fn strange(&self, what: &str) -> Error {
        Error::corrupt(format!("archive {} holds what no archiver writes: {what}", self.source))
    }
    /// The archive is gap-free and overlap-free from its start to A.
    fn check_whole(&self, snapshot: &ArchiveSnapshot) -> Result<()> {
        for pair in snapshot.files.windows(2) {
            if pair[0].partition == pair[1].partition && pair[0].to != pair[1].from {
                return Err(self.strange(&format!("{} does not follow {}", pair[1].path, pair[0].path)));
            }
        }
        for (&number, &position) in &snapshot.positions.0 {
            if snapshot.files_of(number).last().map(|f| f.to) != Some(position) {
                return Err(self.strange(&format!("position {number}@{position} without its file")));
            }
        }
        Ok(())
    }
}

fn check_segments(file: &NewFile) -> Result<()> {
    let ascending = file.boundaries.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = file.boundaries.first() == Some(&file.from) && file.boundaries.last() < Some(&file.to);
    if ascending && inside && file.content.rows > 0 {
        return Ok(());
    }
    Err(Error::internal(format!("a file from {} to {} is no run of whole segments", file.from, file.to)))
}

fn parse(path: Path, add: &Add) -> Result<ArchiveFile> {
    let parsed = || {
        let tag = |key: &str| add.tags.get(key);
        let days: BTreeMap<String, u64> = serde_json::from_str(tag("days")?).ok()?;
        let days = days.into_iter().map(|(day, rows)| Some((Timestamp::parse_rfc3339(&day)?, rows)));
        Some(ArchiveFile {
            path: path.clone(),
            partition: tag("partition")?.parse().ok()?,
            from: Offset(tag("from")?.parse().ok()?),
            to: Offset(tag("to")?.parse().ok()?),
            boundaries: serde_json::from_str(tag("boundaries")?).ok()?,
            blake3: tag("blake3")?.clone(),
            bytes: add.size,
            footer: Footer { bytes: tag("footer_bytes")?.parse().ok()?, blake3: tag("footer_blake3")?.clone() },
            rows: tag("rows")?.parse().ok()?,
            days: days.collect::<Option<_>>()?,
            times: times(add),
            excluded: tag("excluded").map(|text| serde_json::from_str(text)).transpose().ok()?,
            anchor: tag("anchor").map(|text| serde_json::from_str(text)).transpose().ok()?,
        })
    };
    parsed().ok_or_else(|| Error::corrupt(format!("the table says too little of file {path}")))
}

fn times(add: &Add) -> Option<(Timestamp, Timestamp)> {
    let stats: Json = serde_json::from_str(add.stats.as_deref()?).ok()?;
    let time = |end: &str| Timestamp::parse_rfc3339(stats.get(end)?.get("seam_time")?.as_str()?);
    Some((time("minValues")?, time("maxValues")?))
}

async fn create(table: &Table, source: &Source, settings: &BTreeMap<String, String>) -> Result<Arc<Snapshot>> {
    let columns = schema::to_json(&archive_file::schema(source))?;
    let (nonce, now) = (table.clock().nonce(), table.clock().now());
    let mut metadata = Metadata::new(nonce, &source.name, columns, now);
    metadata.configuration.extend(settings.clone());
    let info = [("operation".to_owned(), Json::from("CREATE TABLE"))].into_iter().collect();
    let commit = Commit { metadata: Some(metadata), info, ..Commit::default() };
    match table.commit(0, commit).await {
        Err(error) if error.kind() != Kind::Conflict => return Err(error),
        Ok(()) | Err(_) => {}
    }
    table.latest().await?.ok_or_else(|| Error::unavailable(format!("archive {} vanished", source.name)))
}

/// Says in the table what the fields are now.
async fn evolve(table: &Table, source: &Source, found: &Snapshot, settings: &BTreeMap<String, String>) -> Result<()> {
    let mut metadata = found.metadata.clone();
    metadata.schema_string = schema::to_json(&archive_file::schema(source))?;
    metadata.configuration.extend(settings.clone());
    let info = [("operation".to_owned(), Json::from("CHANGE COLUMNS"))].into_iter().collect();
    table.commit(found.version + 1, Commit { metadata: Some(metadata), info, ..Commit::default() }).await
}

/// Reads every archived event by the new fields: none may count otherwise than it did.
async fn check_verdicts(table: &Table, source: &Source, found: &Snapshot) -> Result<()> {
    let source = Arc::new(source.clone());
    for add in found.files.values() {
        let file = parse(table.file(&add.path), add)?;
        let bytes = verified::get(table.store().as_ref(), &file.path, &file.blake3).await?;
        archive_file::decoded(&source, &bytes)?;
    }
    Ok(())
}
