//! The embedded state store: atomic across a crash, not synced, because it may lose everything at any moment.
//!
//! What is open is kept in memory and on disk as a few blocks of rows, later ones over earlier ones; the stored progress says
//! how many of them count. So a commit writes only what changed, and nothing is ever cleared: leftovers are overwritten.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

use async_trait::async_trait;
use fjall::{Keyspace, OwnedWriteBatch};
use serde::{Deserialize, Serialize};

use crate::embedded::{Database, failed};
use crate::error::{Error, Result};
use crate::lock::{self, lock};
use crate::log::{Offset, Partition};
use crate::state::held::{self, Held};
use crate::state::{Committed, Progress, SegmentWrite, Snapshot, StateStore, ViewCommit, ViewId};
use crate::view::rows::Rows;

/// The blocks of an open segment become one when there are that many.
const OPEN_BLOCKS_MAX: u32 = 256;
/// They become one, too, when they hold more rows than this and than twice the rows of the segment.
const OPEN_ROWS_MIN: usize = 16_384;

/// The state store of an embedded deployment.
pub struct EmbeddedState {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    progress: Keyspace,
    open: Keyspace,
    closed: Keyspace,
    partitions: RwLock<BTreeMap<Partition, Arc<Mutex<Views>>>>,
}

type Views = BTreeMap<ViewId, View>;

/// A view of one partition: what is held, and the blocks that hold its open segment on disk.
#[derive(Clone)]
struct View {
    held: Held,
    blocks: Blocks,
}

/// The stored blocks of an open segment.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Blocks {
    count: u32,
    rows: usize,
}

/// What is stored of a view of one partition: who it is, where it stands, what of its open segment counts.
#[derive(Serialize, Deserialize)]
struct Stored {
    partition: Partition,
    view: String,
    progress: Progress,
    blocks: Blocks,
}

impl std::fmt::Debug for EmbeddedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmbeddedState")
    }
}

impl EmbeddedState {
    /// The state in `database`, with all that it holds.
    pub fn open(database: &Database) -> Result<EmbeddedState> {
        let shared = Shared {
            database: database.clone(),
            progress: database.small_values("state_progress")?,
            open: database.small_values("state_open")?,
            closed: database.large_values("state_closed")?,
            partitions: RwLock::default(),
        };
        for guard in shared.progress.iter() {
            let (key, stored) = guard.into_inner().map_err(failed)?;
            let Ok(stored) = serde_json::from_slice::<Stored>(&stored) else {
                shared.progress.remove(key).map_err(failed)?;
                continue;
            };
            let (partition, view) = (stored.partition.clone(), stored.view.clone());
            if let Err(error) = shared.load(stored) {
                // Nothing is lost but time: the view is claimed again and folds the log again.
                tracing::warn!(%partition, view, %error, "stored state is damaged and was dropped");
                shared.remove(&partition, &view)?;
            }
        }
        Ok(EmbeddedState { shared: Arc::new(shared) })
    }

    /// Runs work on a partition's views, one caller at a time, away from the threads that drive tasks.
    async fn with<T: Send + 'static>(
        &self,
        partition: &Partition,
        work: impl FnOnce(&Shared, &Partition, &mut Views) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (shared, partition) = (Arc::clone(&self.shared), partition.clone());
        blocking(move || {
            let views = shared.views(&partition);
            work(&shared, &partition, &mut lock(&views))
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("work on the state was cut off").because(error))?
}

/// The key of a view of one partition; what belongs to it goes on from there.
fn key_of(partition: &Partition, view: &str) -> Vec<u8> {
    [partition.source.as_bytes(), &[0], &partition.number.to_be_bytes(), view.as_bytes(), &[0]].concat()
}

fn segment_key(key: &[u8], start: Offset) -> Vec<u8> {
    [key, &start.0.to_be_bytes()].concat()
}

fn block_key(key: &[u8], number: u32) -> Vec<u8> {
    [key, &number.to_be_bytes()].concat()
}

/// The big-endian number at the end of a key or at the start of a value.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

impl Shared {
    fn views(&self, partition: &Partition) -> Arc<Mutex<Views>> {
        let known = lock::read(&self.partitions).get(partition).cloned();
        known.unwrap_or_else(|| {
            let mut partitions = lock::write(&self.partitions);
            Arc::clone(partitions.entry(partition.clone()).or_default())
        })
    }

    fn load(&self, stored: Stored) -> Result<()> {
        let key = key_of(&stored.partition, &stored.view);
        let mut held = Held::at(stored.progress.floor);
        held.progress = stored.progress;
        for guard in self.closed.prefix(&key) {
            let (key, value) = guard.into_inner().map_err(failed)?;
            let start = number(&key[key.len() - 8..]);
            held.closed.insert(Offset(start), Offset(number(value.get(..8).unwrap_or_default())));
        }
        for block in 0..stored.blocks.count {
            let value = self.open.get(block_key(&key, block)).map_err(failed)?;
            let lost = || Error::corrupt(format!("state of {} in {} is incomplete", stored.view, stored.partition));
            held.open.write(Rows::decode(&value.ok_or_else(lost)?)?);
        }
        let views = self.views(&stored.partition);
        lock(&views).insert(Arc::from(stored.view), View { held, blocks: stored.blocks });
        Ok(())
    }

    /// Writes where a view stands.
    fn put(
        &self,
        batch: &mut OwnedWriteBatch,
        partition: &Partition,
        id: &ViewId,
        progress: Progress,
        blocks: Blocks,
    ) -> Result<()> {
        let stored = Stored { partition: partition.clone(), view: id.to_string(), progress, blocks };
        let value = serde_json::to_vec(&stored)
            .map_err(|error| Error::internal(format!("progress of {id} cannot be described")).because(error))?;
        batch.insert(&self.progress, key_of(partition, id), value);
        Ok(())
    }

    fn commit(
        &self,
        partition: &Partition,
        views: &mut Views,
        commits: Vec<ViewCommit>,
        encoded: Vec<Vec<Vec<u8>>>,
    ) -> Result<Committed> {
        let verdict = held::check(&commits, |view| views.get(view).map(|view| &view.held))?;
        if verdict != Committed::Applied {
            return Ok(verdict);
        }
        let mut batch = self.database.fjall.batch();
        let mut next = Vec::with_capacity(commits.len());
        for (commit, values) in commits.iter().zip(encoded) {
            let Some(view) = views.get(&commit.view) else { return Ok(Committed::Missing) };
            let key = key_of(partition, &commit.view);
            let mut blocks = view.blocks;
            for (segment, value) in commit.segments.iter().zip(values) {
                if segment.end.is_some() {
                    batch.insert(&self.closed, segment_key(&key, segment.start), value);
                    blocks = Blocks::default();
                } else if !segment.rows.is_empty() {
                    batch.insert(&self.open, block_key(&key, blocks.count), value);
                    blocks = Blocks { count: blocks.count + 1, rows: blocks.rows + segment.rows.len() };
                }
            }
            self.put(&mut batch, partition, &commit.view, view.held.after(commit), blocks)?;
            next.push(blocks);
        }
        batch.commit().map_err(failed)?;
        for (commit, blocks) in commits.into_iter().zip(next) {
            let id = Arc::clone(&commit.view);
            if let Some(view) = views.get_mut(&id) {
                view.blocks = blocks;
                view.held.apply(commit, |_, _| {});
                self.compact(partition, &id, view)?;
            }
        }
        Ok(verdict)
    }

    /// Makes one block of many, so that a restart reads little.
    fn compact(&self, partition: &Partition, id: &ViewId, view: &mut View) -> Result<()> {
        let Blocks { count, rows } = view.blocks;
        if count < OPEN_BLOCKS_MAX && rows <= OPEN_ROWS_MIN {
            return Ok(());
        }
        let all = view.held.open.rows();
        if count < OPEN_BLOCKS_MAX && rows <= 2 * all.len() {
            return Ok(());
        }
        let mut batch = self.database.fjall.batch();
        let blocks = Blocks { count: 1, rows: all.len() };
        batch.insert(&self.open, block_key(&key_of(partition, id), 0), all.encode());
        self.put(&mut batch, partition, id, view.held.progress, blocks)?;
        batch.commit().map_err(failed)?;
        view.blocks = blocks;
        Ok(())
    }

    fn claim(&self, partition: &Partition, views: &mut Views, id: &ViewId, boundary: Offset) -> Result<Progress> {
        if let Some(view) = views.get(id) {
            return Ok(view.held.progress);
        }
        if id.contains('\0') || partition.source.contains('\0') {
            return Err(Error::invalid(format!("`{id}` is no name for a view")));
        }
        let view = View { held: Held::at(boundary), blocks: Blocks::default() };
        let progress = view.held.progress;
        let mut batch = self.database.fjall.batch();
        self.put(&mut batch, partition, id, progress, view.blocks)?;
        batch.commit().map_err(failed)?;
        views.insert(Arc::clone(id), view);
        Ok(progress)
    }

    fn trim(&self, partition: &Partition, views: &mut Views, id: &ViewId, floor: Offset) -> Result<()> {
        let Some(view) = views.get_mut(id) else { return Ok(()) };
        let Some(trimmed) = view.held.trimmed(id, floor)? else { return Ok(()) };
        let is_open_kept = trimmed.progress.segment == view.held.progress.segment;
        let blocks = if is_open_kept { view.blocks } else { Blocks::default() };
        let mut batch = self.database.fjall.batch();
        let key = key_of(partition, id);
        for &start in view.held.closed.range(..floor).map(|(start, _)| start) {
            batch.remove(&self.closed, segment_key(&key, start));
        }
        self.put(&mut batch, partition, id, trimmed.progress, blocks)?;
        batch.commit().map_err(failed)?;
        *view = View { held: trimmed, blocks };
        Ok(())
    }

    /// Removes all that is stored of a view.
    fn remove(&self, partition: &Partition, id: &str) -> Result<()> {
        let key = key_of(partition, id);
        let mut batch = self.database.fjall.batch();
        batch.remove(&self.progress, &key[..]);
        for keyspace in [&self.open, &self.closed] {
            for guard in keyspace.prefix(&key) {
                batch.remove(keyspace, guard.key().map_err(failed)?);
            }
        }
        batch.commit().map_err(failed)
    }
}

/// The value to store for each segment of each commit.
fn encode(commits: &[ViewCommit]) -> Vec<Vec<Vec<u8>>> {
    let value = |segment: &SegmentWrite| match segment.end {
        Some(end) => [&end.0.to_be_bytes()[..], &segment.rows.encode()].concat(),
        None => segment.rows.encode(),
    };
    commits.iter().map(|commit| commit.segments.iter().map(value).collect()).collect()
}

#[async_trait]
impl StateStore for EmbeddedState {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        let (shared, partition) = (Arc::clone(&self.shared), partition.clone());
        blocking(move || {
            // Encoding comes before the lock: it is most of the work, and readers need not wait for it.
            let encoded = encode(&commits);
            let views = shared.views(&partition);
            shared.commit(&partition, &mut lock(&views), commits, encoded)
        })
        .await
    }

    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        let view = Arc::clone(view);
        self.with(partition, move |shared, partition, views| shared.claim(partition, views, &view, boundary)).await
    }

    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        let ids = views.to_vec();
        self.with(partition, move |_, _, views| {
            Ok(ids.iter().map(|id| views.get_mut(id).map(|view| view.held.snapshot())).collect())
        })
        .await
    }

    async fn progress(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Progress>>> {
        let ids = views.to_vec();
        let look = move |_: &Shared, _: &Partition, views: &mut Views| {
            Ok(ids.iter().map(|id| views.get(id).map(|view| view.held.progress)).collect())
        };
        self.with(partition, look).await
    }

    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        let key = segment_key(&key_of(partition, view), start);
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let stored = shared.closed.get(key).map_err(failed)?;
            stored.map(|value| Rows::decode(value.get(8..).unwrap_or_default()).map(Arc::new)).transpose()
        })
        .await
    }

    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        let view = Arc::clone(view);
        self.with(partition, move |shared, partition, views| shared.trim(partition, views, &view, floor)).await
    }

    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        let view = Arc::clone(view);
        self.with(partition, move |shared, partition, views| {
            shared.remove(partition, &view)?;
            views.remove(&view);
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests;
