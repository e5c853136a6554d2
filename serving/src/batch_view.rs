//! The batch half: the newest generation of a view, pinned whole by each answer, and its files as blocks.
use std::sync::Arc;

use arc_swap::ArcSwap;
use object_store::ObjectStore;
use seam_shared::clock::Clock;
use seam_shared::lake::views::{Generation, ViewFile, ViewTable};
use seam_shared::lake::{verified, view_file};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;
use seam_shared::{Error, Kind, Result};

use crate::block::Block;
use crate::cache::{BlockCache, BlockKey};

/// Rows of a file beyond which its decoding leaves the threads that serve requests: about a millisecond of work.
const INLINE_ROWS: u64 = 4_096;

/// The files of a generation that hold panes ending in `(after, until]`.
pub fn files_in(generation: &Generation, (after, until): (Timestamp, Timestamp)) -> impl Iterator<Item = &ViewFile> {
    generation.files.iter().filter(move |file| file.slice_start < until && file.slice_end > after)
}

/// One view's newest generation as this process knows it. It may be old; an answer that needs a newer one asks for it.
#[derive(Debug)]
pub struct BatchView {
    table: ViewTable,
    store: Arc<dyn ObjectStore>,
    /// The newest generation first; where that went back, those before it up to one that did not.
    line: ArcSwap<Vec<Arc<Generation>>>,
    refreshing: tokio::sync::Mutex<()>,
}

impl BatchView {
    /// The generations of `view` in `store`. Nothing is read before [`BatchView::refresh`].
    pub fn new(store: Arc<dyn ObjectStore>, view: Arc<View>, clock: Arc<dyn Clock>) -> BatchView {
        BatchView {
            table: ViewTable::new(store.clone(), view, clock),
            store,
            line: ArcSwap::default(),
            refreshing: tokio::sync::Mutex::new(()),
        }
    }
    /// The view.
    pub fn view(&self) -> &Arc<View> {
        self.table.view()
    }
    /// The lake.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }
    /// The newest generation known, `None` before the first.
    pub fn pin(&self) -> Option<Arc<Generation>> {
        self.line.load().first().cloned()
    }
    /// The newest generation known, and where it went back those before it, which answer until the speed layer meets it.
    pub fn line(&self) -> Arc<Vec<Arc<Generation>>> {
        self.line.load_full()
    }
    /// Looks for a newer generation; says whether there was one. A generation never goes back.
    ///
    /// # Errors
    /// As [`ViewTable::latest`].
    pub async fn refresh(&self) -> Result<bool> {
        let _one_at_a_time = self.refreshing.lock().await;
        let Some(found) = self.table.latest().await? else { return Ok(false) };
        let known = self.pin().map_or(0, |generation| generation.number);
        if found.number <= known {
            return Ok(false);
        }
        let mut line = vec![Arc::new(found)];
        while let Some(last) = line.last().filter(|last| last.number > 1 && last.rolled_back_to().is_some()) {
            let before = self.table.at(last.number - 1).await?;
            line.push(Arc::new(before));
        }
        self.line.store(Arc::new(line));
        Ok(true)
    }
    /// Generation `number`, from the lake.
    ///
    /// # Errors
    /// As [`ViewTable::at`].
    pub async fn at(&self, number: u64) -> Result<Generation> {
        self.table.at(number).await
    }
    /// The generations from `since` on.
    ///
    /// # Errors
    /// As [`ViewTable::history`].
    pub async fn history(&self, since: u64) -> Result<Vec<Generation>> {
        self.table.history(since).await
    }
    /// The generation's blocks that hold panes ending in `(after, until]`.
    ///
    /// # Errors
    /// `NotFound` when a file is gone: the generation was retired, pin a newer one. `Corrupt` names a damaged file.
    pub async fn blocks(
        &self,
        generation: &Generation,
        range: (Timestamp, Timestamp),
        cache: &BlockCache,
    ) -> Result<Vec<Arc<Block>>> {
        let mut blocks = Vec::new();
        for file in files_in(generation, range) {
            let key = BlockKey::File(self.view().id.clone(), file.blake3.as_str().into());
            let block = match cache.get(&key) {
                Some(block) => block,
                None => {
                    let loaded = cache.get_or_load(&key, self.load(file)).await?;
                    loaded.ok_or_else(|| Error::not_found(format!("object {} does not exist", file.path)))?
                }
            };
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// Decodes a large file on a thread of its own: it takes longer than a request may be kept waiting for another.
    async fn load(&self, file: &ViewFile) -> Result<Option<Block>> {
        let bytes = match verified::get(self.store.as_ref(), &file.path, &file.blake3).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let view = self.view().clone();
        let decode = move || Ok(Some(Block::sorted(view_file::read(&view, &bytes)?)));
        if file.rows <= INLINE_ROWS {
            return decode();
        }
        let decoded = tokio::task::spawn_blocking(decode).await;
        decoded.unwrap_or_else(|error| Err(Error::internal(format!("reading {} failed", file.path)).because(error)))
    }
}
