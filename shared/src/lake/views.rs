//! The table of one view's generations: each an immutable batch result that covers the log up to a cut B.
//!
//! A generation's number is its version in the Delta log; version 0 is the empty table. Files are named by their content, so that the
//! same rows are the same file whichever job computed them. A replaced file stays in the store until retention removes it.
mod history;
mod rollback;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use serde_json::{Value as Json, json};

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::event::batch::Excluded;
use crate::lake::delta::{Add, Commit, Metadata, Remove, Snapshot, Table, Transaction, schema};
use crate::lake::roll_up::{self, RollUp};
use crate::lake::sealed::Footer;
use crate::lake::verified;
use crate::lake::view_file::{self, Written};
use crate::log::{Offset, OffsetVector};
use crate::time::{Span, Timestamp};
use crate::view::definition::View;
use crate::view::ranks::Ranks;
use crate::view::rows::Rows;
pub use history::Published;

/// One file of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFile {
    /// Its path in the store.
    pub path: Path,
    /// Its content hash.
    pub blake3: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Its panes end after this.
    pub slice_start: Timestamp,
    /// Its panes end at this or before.
    pub slice_end: Timestamp,
    /// Its footer, which seals all else, where keys can be read from it one by one.
    pub footer: Option<Footer>,
    /// The roll-ups of its rows, or of the day that it begins.
    pub rollups: Vec<RollUp>,
}

/// A published batch result.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// Its number, from 1; also its version in the Delta log.
    pub number: u64,
    /// B: it covers each partition's records below this.
    pub cut: OffsetVector,
    /// Which log B counts in.
    pub incarnation: String,
    /// Its files by slice and path.
    pub files: Vec<ViewFile>,
    /// When it was published, by its writer's clock.
    pub published: Timestamp,
    /// What its writer said of it: `parent`, `engine`, `drift`, …
    pub info: Arc<serde_json::Map<String, Json>>,
}

/// What a generation calls the records below its cut that count nowhere.
const EXCLUDED: &str = "excluded";

/// What a [`Publication`] says in `info` of the records below its cut that count nowhere.
pub fn excluded_info(excluded: &BTreeMap<u32, Excluded>) -> (String, Json) {
    let of: serde_json::Map<String, Json> =
        excluded.iter().map(|(number, excluded)| (number.to_string(), json!(excluded))).collect();
    (EXCLUDED.to_owned(), Json::Object(of))
}

impl Generation {
    /// What lies below its cut in a partition and counts nowhere; `None` where its writer did not know.
    pub fn excluded(&self, partition: u32) -> Option<Excluded> {
        if self.cut.get(partition) == Offset(0) {
            return Some(Excluded::default());
        }
        serde_json::from_value(self.info.get(EXCLUDED)?.get(partition.to_string())?.clone()).ok()
    }
    /// The paths of all its files, roll-ups included.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files
            .iter()
            .flat_map(|file| std::iter::once(&file.path).chain(file.rollups.iter().map(|rollup| &rollup.path)))
    }
}

/// A generation to publish.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The number of the generation it was made from; `None` for the first.
    pub parent: Option<u64>,
    /// B.
    pub cut: OffsetVector,
    /// Which log B counts in.
    pub incarnation: String,
    /// All of its files, those of the parent that it keeps among them.
    pub files: Vec<ViewFile>,
    /// What to say of it, e.g. `engine` and `drift`.
    pub info: serde_json::Map<String, Json>,
}

/// The table of one view.
#[derive(Debug)]
pub struct ViewTable {
    table: Table,
    view: Arc<View>,
}

impl ViewTable {
    /// The table of `view`, which need not exist yet. Nothing is read.
    pub fn new(store: Arc<dyn ObjectStore>, view: Arc<View>, clock: Arc<dyn Clock>) -> ViewTable {
        let root = Path::from("views").join(view.id.as_ref());
        ViewTable { table: Table::new(store, root, clock), view }
    }
    /// The view.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }
    /// The newest generation, `None` before the first. Asks the store for one version beyond what is known.
    ///
    /// # Errors
    /// As [`Table::latest`].
    pub async fn latest(&self) -> Result<Option<Generation>> {
        self.newer_than(0).await
    }
    /// The newest generation if it is newer than `number`: one small read when it is not.
    ///
    /// # Errors
    /// As [`Table::latest`].
    pub async fn newer_than(&self, number: u64) -> Result<Option<Generation>> {
        let snapshot = self.table.latest().await?.filter(|s| s.version > number);
        snapshot.map(|s| self.read_generation(&s)).transpose()
    }
    /// Generation `number`.
    ///
    /// # Errors
    /// As [`Table::at`]; `NotFound` where there is none of that number.
    pub async fn at(&self, number: u64) -> Result<Generation> {
        if number == 0 {
            return Err(Error::not_found(format!("view {} has no generation 0", self.view.id)));
        }
        self.read_generation(self.table.at(number).await?.as_ref())
    }
    /// The generations from `since` on, in order.
    ///
    /// # Errors
    /// As [`Table::latest`].
    pub async fn history(&self, since: u64) -> Result<Vec<Generation>> {
        let snapshots = self.table.history(since.max(1)).await?;
        snapshots.iter().map(|snapshot| self.read_generation(snapshot)).collect()
    }
    /// The generations from `since` to `until`, in order.
    ///
    /// # Errors
    /// As [`Table::latest`].
    pub async fn between(&self, since: u64, until: u64) -> Result<Vec<Generation>> {
        let snapshots = self.table.between(since.max(1), until).await?;
        snapshots.iter().map(|snapshot| self.read_generation(snapshot)).collect()
    }
    /// Stores the rows of the panes that end in `(slice_start, slice_end]`, in canonical order, as a file that no generation
    /// names yet.
    ///
    /// # Errors
    /// `Invalid` for rows that are not the view's, `Unavailable` when the store refuses.
    pub async fn put(&self, rows: &Rows, slice_start: Timestamp, slice_end: Timestamp) -> Result<ViewFile> {
        self.put_file(view_file::write(&self.view, rows)?, rows.len() as u64, slice_start, slice_end).await
    }
    /// The same for rows that are written already.
    ///
    /// # Errors
    /// As [`ViewTable::put`].
    pub async fn put_file(
        &self,
        file: Written,
        rows: u64,
        slice_start: Timestamp,
        slice_end: Timestamp,
    ) -> Result<ViewFile> {
        let Written { bytes, footer } = file;
        let (path, blake3) = self.put_named("part", &bytes).await?;
        let bytes = bytes.len() as u64;
        Ok(ViewFile { path, blake3, bytes, rows, slice_start, slice_end, footer, rollups: Vec::new() })
    }
    /// Stores a roll-up of the panes that end in `(start, end]`, which no generation names yet.
    ///
    /// # Errors
    /// `Unavailable` when the store refuses.
    pub async fn put_roll_up(&self, content: roll_up::Content, start: Timestamp, end: Timestamp) -> Result<RollUp> {
        let roll_up::Content { level, bytes, rows } = content;
        let (path, blake3) = self.put_named("rollup", &bytes).await?;
        Ok(RollUp { path, blake3, bytes: bytes.len() as u64, rows, level, start, end })
    }
    /// Stores a file under its content's name, and tells its path and content hash.
    async fn put_named(&self, kind: &str, bytes: &Bytes) -> Result<(Path, String)> {
        let blake3 = verified::hash(bytes);
        let path = self.table.file(&format!("{kind}-{}.parquet", &blake3[..32]));
        verified::put(self.table.store().as_ref(), &path, bytes).await?;
        Ok((path, blake3))
    }
    /// The rows of a file, verified.
    ///
    /// # Errors
    /// `Corrupt` naming the file when it is not what was written; `NotFound` when it is gone: the generation was retired, take
    /// a newer one.
    pub async fn get(&self, file: &ViewFile) -> Result<Rows> {
        let bytes = verified::get(self.table.store().as_ref(), &file.path, &file.blake3).await?;
        view_file::read(&self.view, &bytes)
    }
    /// How many events of each key a generation of a count-window view counts, by partition. Reads all of its files, one after the
    /// other.
    ///
    /// # Errors
    /// As [`ViewTable::get`].
    pub async fn ranks(&self, generation: &Generation, partitions: &[u32]) -> Result<BTreeMap<u32, Ranks>> {
        let mut all: BTreeMap<u32, Ranks> = partitions.iter().map(|&number| (number, Ranks::default())).collect();
        for file in &generation.files {
            let rows = self.get(file).await?;
            for (number, ranks) in &mut all {
                ranks.add_rows(&self.view, *number, &rows)?;
            }
        }
        Ok(all)
    }
    /// Publishes a generation: the one moment at which the view changes.
    ///
    /// # Errors
    /// `Conflict` when the parent is not the newest generation (another job was first), or when B would go back, which
    /// [`ViewTable::roll_back`] alone may do; `Unavailable` when it is unknown whether the commit was made.
    pub async fn publish(&self, publication: Publication) -> Result<Generation> {
        let latest = self.latest().await?;
        self.check(latest.as_ref(), &publication)?;
        if latest.is_none() && self.table.latest().await?.is_none() {
            self.create().await?;
        }
        let number = publication.parent.unwrap_or(0) + 1;
        let commit = self.commit(latest.as_ref(), publication)?;
        self.table.commit(number, commit).await?;
        self.at(number).await
    }

    fn check(&self, latest: Option<&Generation>, publication: &Publication) -> Result<()> {
        let id = &self.view.id;
        let newest = latest.map(|g| g.number);
        if newest != publication.parent {
            let name = |n: Option<u64>| n.map_or("none".to_owned(), |n| n.to_string());
            let (newest, parent) = (name(newest), name(publication.parent));
            return Err(Error::conflict(format!("view {id} has generation {newest}, this one was made from {parent}")));
        }
        if let Some(latest) = latest
            && latest.incarnation == publication.incarnation
            && !publication.cut.covers(&latest.cut)
        {
            let source = &self.view.source.name;
            let (old, new) = (latest.cut.to_text(source), publication.cut.to_text(source));
            return Err(Error::conflict(format!("view {id} covers {old}, a generation at {new} would go back")));
        }
        let paths: BTreeSet<&Path> = publication.files.iter().map(|f| &f.path).collect();
        if paths.len() != publication.files.len() {
            return Err(Error::internal(format!("a generation of view {id} names a file twice")));
        }
        Ok(())
    }
    async fn create(&self) -> Result<()> {
        let columns = schema::to_json(&view_file::schema(&self.view))?;
        let (nonce, now) = (self.table.clock().nonce(), self.table.clock().now());
        let mut metadata = Metadata::new(nonce, &self.view.name, columns, now);
        let settings = [
            ("seam.view", self.view.id.to_string()),
            ("seam.source", self.view.source.name.clone()),
            ("seam.pane", self.view.pane.to_string()),
        ];
        metadata.configuration.extend(settings.map(|(key, value)| (key.to_owned(), value)));
        let info = [("operation".to_owned(), Json::from("CREATE TABLE"))].into_iter().collect();
        match self.table.commit(0, Commit { metadata: Some(metadata), info, ..Commit::default() }).await {
            Err(error) if error.kind() != Kind::Conflict => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
    fn commit(&self, parent: Option<&Generation>, publication: Publication) -> Result<Commit> {
        let now = self.table.clock().now();
        let old: BTreeMap<&Path, &ViewFile> =
            parent.iter().flat_map(|p| &p.files).map(|file| (&file.path, file)).collect();
        let new: BTreeSet<&Path> = publication.files.iter().map(|f| &f.path).collect();
        let removed = old.keys().filter(|path| !new.contains(*path));
        let remove = removed.map(|path| Ok(Remove::new(self.relative(path)?, now))).collect::<Result<_>>()?;
        let added = publication.files.iter().filter(|file| old.get(&file.path) != Some(file));
        let add = added.map(|file| self.add(file, now)).collect::<Result<_>>()?;
        let positions = publication.cut.0.iter().map(|(number, position)| Transaction {
            app_id: format!("{}/{number}", self.view.source.name),
            version: position.0,
        });
        let mut info = serde_json::Map::new();
        info.insert("operation".into(), "WRITE".into());
        info.extend(publication.info);
        info.insert("parent".into(), json!(publication.parent));
        info.insert("incarnation".into(), publication.incarnation.into());
        Ok(Commit { metadata: None, remove, add, transactions: positions.collect(), info })
    }
    fn relative(&self, path: &Path) -> Result<String> {
        let parts = path.prefix_match(self.table.root());
        let parts = parts.ok_or_else(|| Error::internal(format!("file {path} is not of view {}", self.view.id)))?;
        Ok(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
    }
    fn add(&self, file: &ViewFile, now: Timestamp) -> Result<Add> {
        let tags = [
            ("blake3", file.blake3.clone()),
            ("rows", file.rows.to_string()),
            ("slice_start", file.slice_start.0.to_string()),
            ("slice_end", file.slice_end.0.to_string()),
        ];
        let sealed = file.footer.iter();
        let sealed = sealed.flat_map(|f| [("footer_bytes", f.bytes.to_string()), ("footer_blake3", f.blake3.clone())]);
        let rollups = (!file.rollups.is_empty()).then(|| ("rollups", roll_up::to_tag(&file.rollups)));
        let tags = tags.into_iter().chain(sealed).chain(rollups).map(|(key, value)| (key.to_owned(), value)).collect();
        let mut stats = json!({"numRecords": file.rows});
        let readable = Timestamp::MIN..=Timestamp::MAX;
        if readable.contains(&file.slice_start) && readable.contains(&file.slice_end) {
            // the protocol keeps milliseconds: both ends are rounded outwards
            let millisecond = Span(1_000);
            let (first, last) = (file.slice_start.floor(millisecond), file.slice_end.ceil(millisecond));
            stats["minValues"] = json!({"pane_end": first.to_rfc3339()});
            stats["maxValues"] = json!({"pane_end": last.to_rfc3339()});
        }
        Ok(Add::new(self.relative(&file.path)?, file.bytes, now, &stats, tags))
    }
    fn read_generation(&self, snapshot: &Snapshot) -> Result<Generation> {
        let strange = |what: &str| {
            let (id, number) = (&self.view.id, snapshot.version);
            Error::corrupt(format!("generation {number} of view {id} lacks what a publisher writes: {what}"))
        };
        let mut cut = OffsetVector::default();
        for (app_id, &version) in &snapshot.transactions {
            let number = app_id.strip_prefix(&format!("{}/", self.view.source.name)).and_then(|n| n.parse().ok());
            cut.set(number.ok_or_else(|| strange(app_id))?, Offset(version));
        }
        let mut files = Vec::with_capacity(snapshot.files.len());
        for add in snapshot.files.values() {
            let path = self.table.file(&add.path);
            files.push(parse(self.table.root(), &path, add).ok_or_else(|| strange(path.as_ref()))?);
        }
        files.sort_by(|a, b| (a.slice_start, &a.path).cmp(&(b.slice_start, &b.path)));
        let said = |key: &str| snapshot.info.get(key);
        Ok(Generation {
            number: snapshot.version,
            cut,
            incarnation: said("incarnation").and_then(Json::as_str).ok_or_else(|| strange("incarnation"))?.to_owned(),
            files,
            published: Timestamp(said("timestamp").and_then(Json::as_i64).unwrap_or(0).saturating_mul(1_000)),
            info: Arc::clone(&snapshot.info),
        })
    }
}

fn parse(root: &Path, path: &Path, add: &Add) -> Option<ViewFile> {
    let number = |key: &str| add.tags.get(key)?.parse::<i64>().ok();
    let footer = match (add.tags.get("footer_bytes"), add.tags.get("footer_blake3")) {
        (Some(bytes), Some(blake3)) => Some(Footer { bytes: bytes.parse().ok()?, blake3: blake3.clone() }),
        _ => None,
    };
    Some(ViewFile {
        footer,
        path: path.clone(),
        blake3: add.tags.get("blake3")?.clone(),
        bytes: add.size,
        rows: add.tags.get("rows")?.parse().ok()?,
        slice_start: Timestamp(number("slice_start")?),
        slice_end: Timestamp(number("slice_end")?),
        rollups: add.tags.get("rollups").map_or(Some(Vec::new()), |tag| roll_up::from_tag(tag, root))?,
    })
}
