//! One table's commit log: a Delta Lake log of create-only numbered JSON, replayed into a snapshot of the live files.
//!
//! Correctness needs GET and create-only PUT, no LIST: the next version is probed until it is absent. Of two writers of one version
//! one wins; whose commit it is, is decided by a nonce that is read back, so that a lost reply is no lost or doubled commit.
//! A reader replays once, from the newest checkpoint on, and later versions on top of what it has in memory.
pub mod action;
mod checkpoint;
pub mod schema;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde_json::Value as Json;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use action::{Action, PROTOCOL};
pub use action::{Add, Metadata, Remove, Transaction};
use checkpoint::{Checkpoints, EVERY};

/// How often a commit is tried whose fate stays unknown.
const ATTEMPTS: usize = 5;
/// Versions that a replay asks for at once, at most.
const READ_AHEAD: u64 = 32;

/// What a table holds at one version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The version.
    pub version: u64,
    /// Schema and settings.
    pub metadata: Metadata,
    /// The live files by their path relative to the table.
    pub files: BTreeMap<String, Arc<Add>>,
    /// The positions reached, by application.
    pub transactions: BTreeMap<String, u64>,
    /// The commit info of this very version.
    pub info: Arc<serde_json::Map<String, Json>>,
}

/// What one commit changes.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// What the table is, with version 0, and where its columns change.
    pub metadata: Option<Metadata>,
    /// Files taken away.
    pub remove: Vec<Remove>,
    /// New files.
    pub add: Vec<Add>,
    /// Positions reached.
    pub transactions: Vec<Transaction>,
    /// What Seam says about the commit.
    pub info: serde_json::Map<String, Json>,
}

/// One table.
#[derive(Debug)]
pub struct Table {
    store: Arc<dyn ObjectStore>,
    root: Path,
    clock: Arc<dyn Clock>,
    newest: Mutex<Option<Arc<Snapshot>>>,
}

impl Table {
    /// The table at `root`, which need not exist yet. Nothing is read.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, clock: Arc<dyn Clock>) -> Table {
        Table { store, root, clock, newest: Mutex::new(None) }
    }
    /// Where the table's files lie.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }
    /// The table's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The clock and source of nonces.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }
    /// The whole path of one of the table's files.
    pub fn file(&self, relative: &str) -> Path {
        relative.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }
    /// The newest version, or `None` where there is no table. Asks for one version beyond what is known.
    ///
    /// # Errors
    /// `Corrupt` naming the commit that is damaged, `Invalid` for a table whose protocol is not known, `Unavailable`.
    pub async fn latest(&self) -> Result<Option<Arc<Snapshot>>> {
        let known = self.lock().clone();
        let found = self.replay(known, u64::MAX, None).await?;
        let mut newest = self.lock();
        if let Some(found) = &found
            && newest.as_ref().is_none_or(|n| n.version < found.version)
        {
            *newest = Some(Arc::clone(found));
        }
        Ok(found)
    }
    /// The table as of `version`.
    ///
    /// # Errors
    /// As [`Table::latest`]; `NotFound` if there is no such version.
    pub async fn at(&self, version: u64) -> Result<Arc<Snapshot>> {
        let known = self.lock().clone().filter(|k| k.version <= version);
        let found = self.replay(known, version, None).await?.filter(|s| s.version == version);
        found.ok_or_else(|| Error::not_found(format!("table {} has no version {version}", self.root)))
    }
    /// Every version from `since` on, in order.
    ///
    /// # Errors
    /// As [`Table::latest`].
    pub async fn history(&self, since: u64) -> Result<Vec<Arc<Snapshot>>> {
        self.between(since, u64::MAX).await
    }
    /// The versions from `since` to `until`, in order, as far as there are.
    ///
    /// # Errors
    /// As [`Table::latest`].
    pub async fn between(&self, since: u64, until: u64) -> Result<Vec<Arc<Snapshot>>> {
        let mut kept = Vec::new();
        self.replay(None, until, Some((since, &mut kept))).await?;
        Ok(kept)
    }
    /// Creates `version` with what `commit` says; now and then a checkpoint, too. The caller has checked it against the snapshot of the
    /// version before.
    ///
    /// # Errors
    /// `Conflict` if another writer made that version; `Unavailable` if the store does not tell: then the commit may still
    /// appear, so read the table again before deciding anything.
    pub async fn commit(&self, version: u64, commit: Commit) -> Result<()> {
        self.create(version, commit).await?;
        if version > 0
            && version.is_multiple_of(EVERY)
            && let Err(error) = self.checkpoint(version).await
        {
            tracing::warn!(%error, version, table = %self.root, "no checkpoint was written; the table opens slower");
        }
        Ok(())
    }
    async fn checkpoint(&self, version: u64) -> Result<()> {
        let snapshot = self.at(version).await?;
        self.checkpoints().write(&snapshot).await
    }
    fn checkpoints(&self) -> Checkpoints<'_> {
        Checkpoints { store: self.store.as_ref(), root: &self.root }
    }
    async fn create(&self, version: u64, commit: Commit) -> Result<()> {
        let nonce = self.clock.nonce();
        let text = self.text(version, &nonce, commit);
        let path = self.version_path(version);
        let mut trouble = None;
        for _ in 0..ATTEMPTS {
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(&path, text.clone().into(), create).await {
                Ok(_) => return Ok(()),
                Err(error) => trouble = Some(Error::from(error)),
            }
            match self.read_commit(version).await {
                Ok(Some(actions)) if commit_nonce(&actions) == Some(&nonce) => return Ok(()),
                Ok(Some(_)) => {
                    let root = &self.root;
                    return Err(Error::conflict(format!("another writer made version {version} of table {root}")));
                }
                Ok(None) => {}
                Err(error) if error.kind() == Kind::Unavailable => trouble = Some(error),
                Err(error) => return Err(error),
            }
        }
        let error = Error::unavailable(format!("version {version} of table {} may or may not be there", self.root));
        Err(trouble.into_iter().fold(error, Error::because))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Snapshot>>> {
        lock(&self.newest)
    }
    fn text(&self, version: u64, nonce: &str, commit: Commit) -> String {
        let mut info = serde_json::Map::new();
        info.insert("timestamp".into(), self.clock.now().0.div_euclid(1_000).into());
        info.insert("engineInfo".into(), concat!("seam/", env!("CARGO_PKG_VERSION")).into());
        info.extend(commit.info);
        info.insert("nonce".into(), nonce.into());
        let mut actions = Vec::new();
        if version == 0 {
            actions.push(Action::Protocol(PROTOCOL));
        }
        actions.extend(commit.metadata.map(Action::MetaData));
        actions.extend(commit.transactions.into_iter().map(Action::Txn));
        actions.extend(commit.remove.into_iter().map(Action::Remove));
        actions.extend(commit.add.into_iter().map(Action::Add));
        action::write(info, actions)
    }
    fn version_path(&self, version: u64) -> Path {
        self.root.clone().join("_delta_log").join(format!("{version:020}.json"))
    }
    /// The actions of one commit; `None` where there is no such version.
    pub(crate) async fn read_commit(&self, version: u64) -> Result<Option<Vec<Action>>> {
        let path = self.version_path(version);
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        action::read(path.as_ref(), &bytes).map(Some)
    }
    /// Goes on from what is `known` as far as there are versions; those from a number on are kept where somebody wants them all.
    async fn replay(
        &self,
        known: Option<Arc<Snapshot>>,
        until: u64,
        mut keep: Option<(u64, &mut Vec<Arc<Snapshot>>)>,
    ) -> Result<Option<Arc<Snapshot>>> {
        let mut found = known;
        let mut width = 1;
        // The commit of a checkpoint's version is applied once more, which changes nothing: it says who wrote it.
        let mut again = None;
        if found.is_none() {
            let first = keep.as_ref().map_or(until, |(since, _)| *since);
            found = self.checkpoints().read(first).await?.map(Arc::new);
            again = found.as_ref().map(|checkpoint| checkpoint.version);
        }
        loop {
            let next = again.unwrap_or_else(|| found.as_ref().map_or(0, |s| s.version + 1));
            let last = until.min(next + width - 1);
            let commits = join_all((next..=last).map(|version| self.read_commit(version))).await;
            if commits.is_empty() {
                return Ok(found);
            }
            for (version, commit) in (next..).zip(commits) {
                let Some(actions) = commit? else {
                    return match again {
                        None => Ok(found),
                        Some(version) => {
                            let path = self.version_path(version);
                            Err(Error::corrupt(format!("commit {path} is gone, but there is a checkpoint of it")))
                        }
                    };
                };
                again = None;
                let mut snapshot = match found.take() {
                    Some(before) => Arc::unwrap_or_clone(before),
                    None => self.first(&actions)?,
                };
                snapshot.version = version;
                self.apply(&mut snapshot, actions)?;
                let snapshot = Arc::new(snapshot);
                if let Some((_, kept)) = keep.as_mut().filter(|(since, _)| version >= *since) {
                    kept.push(Arc::clone(&snapshot));
                }
                found = Some(snapshot);
            }
            width = (width * 2).min(READ_AHEAD);
        }
    }
    fn first(&self, actions: &[Action]) -> Result<Snapshot> {
        let metadata = actions.iter().find_map(|a| match a {
            Action::MetaData(metadata) => Some(metadata.clone()),
            _ => None,
        });
        let none = || Error::corrupt(format!("version 0 of table {} says nothing of its schema", self.root));
        Ok(Snapshot {
            version: 0,
            metadata: metadata.ok_or_else(none)?,
            files: BTreeMap::new(),
            transactions: BTreeMap::new(),
            info: Arc::default(),
        })
    }
    fn apply(&self, snapshot: &mut Snapshot, actions: Vec<Action>) -> Result<()> {
        for action in actions {
            match action {
                Action::Protocol(p) => {
                    let (reader, writer) = (p.min_reader_version, p.min_writer_version);
                    if reader > PROTOCOL.min_reader_version || writer > PROTOCOL.min_writer_version {
                        let root = &self.root;
                        return Err(Error::invalid(format!(
                            "table {root} needs Delta reader version {reader} and writer version {writer}, \
                             this Seam knows 1 and 2: use a newer Seam"
                        )));
                    }
                }
                Action::MetaData(metadata) => snapshot.metadata = metadata,
                Action::Add(add) => {
                    snapshot.files.insert(add.path.clone(), Arc::new(add));
                }
                Action::Remove(remove) => {
                    snapshot.files.remove(&remove.path);
                }
                Action::Txn(txn) => {
                    snapshot.transactions.insert(txn.app_id, txn.version);
                }
                Action::CommitInfo(info) => snapshot.info = Arc::new(info),
            }
        }
        Ok(())
    }
}

fn commit_nonce(actions: &[Action]) -> Option<&str> {
    actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.get("nonce")?.as_str(),
        _ => None,
    })
}
