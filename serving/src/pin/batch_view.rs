//! The batch half: the newest generation of a view, pinned whole by each answer, and its files as blocks.
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::HashSet;
use object_store::ObjectStore;
use seam_shared::clock::Clock;
use seam_shared::lake::views::{Generation, ViewTable};
use seam_shared::lake::{roll_up, verified, view_file};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;
use seam_shared::{Error, Kind, Result};

use crate::block::Block;
use crate::block::key::{BlockKey, Shape};
use crate::cache::BlockCache;
use crate::scan::levels::{self, Choice, files_in};
use crate::scan::{Access, Piece};

/// Rows of a file beyond which its decoding leaves the threads that serve requests: about a millisecond of work.
const INLINE_ROWS: u64 = 4_096;
/// A newer generation is shown after this time whether it is ready or not.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// Files of one question that are read and decoded side by side.
const LOADS_AT_ONCE: usize = 4;

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
        let found = self.table.newer_than(self.known()).await?;
        match found {
            Some(found) => self.take(found).await,
            None => Ok(false),
        }
    }
    /// The same; what questions scanned of the generation before is made ready first of the newer one, so that none of them waits for
    /// it. What cannot be made ready, or not in time, is left to the questions.
    ///
    /// # Errors
    /// As [`ViewTable::latest`].
    pub async fn refresh_ready(&self, cache: &Arc<BlockCache>) -> Result<bool> {
        let Some(found) = self.table.newer_than(self.known()).await? else { return Ok(false) };
        if let Some(before) = self.pin() {
            let ready = tokio::time::timeout(READY_WITHIN, self.make_ready(&before, &found, cache)).await;
            if let Ok(Err(error)) = ready {
                tracing::warn!(%error, view = %self.view().id, "a generation could not be made ready");
            }
        }
        let _one_at_a_time = self.refreshing.lock().await;
        self.take(found).await
    }
    fn known(&self) -> u64 {
        self.pin().map_or(0, |generation| generation.number)
    }
    /// Shows a generation if it is newer; says whether it is.
    async fn take(&self, found: Generation) -> Result<bool> {
        if found.number <= self.known() {
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
    /// Loads files of a newer generation whose predecessors are held, in the shapes in which those are held.
    async fn make_ready(&self, before: &Generation, newer: &Generation, cache: &Arc<BlockCache>) -> Result<()> {
        let old = levels::all(before);
        let same: HashSet<&str> = old.iter().map(|(_, choice)| choice.blake3).collect();
        for choice in levels::all(newer).into_iter().filter(|(_, choice)| !same.contains(choice.blake3)) {
            // The files of a level follow each other in time.
            let of_level = old.iter().filter(|(_, old)| old.level == choice.1.level);
            let Some((_, last)) = of_level.take_while(|(start, _)| *start <= choice.0).last() else { continue };
            let key = self.key(last);
            let shapes = cache.shapes_held(&key);
            if shapes.is_empty() && cache.get(&key).is_none() {
                continue;
            }
            let block = self.block(choice.1, cache).await?;
            roll_up(&block, shapes, cache.clone()).await?;
        }
        Ok(())
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
            blocks.push(self.block(Choice::whole(file), cache).await?);
        }
        Ok(blocks)
    }
    /// What a query scans of files that were chosen for it. What is held in the shape that it scans is not needed in any other.
    ///
    /// # Errors
    /// As [`BatchView::blocks`].
    pub async fn pieces(
        &self,
        choices: Vec<Choice<'_>>,
        access: &Access<'_>,
        range: (Timestamp, Timestamp),
        cache: &Arc<BlockCache>,
    ) -> Result<Vec<Piece>> {
        let mut pieces = Vec::with_capacity(choices.len() + 1);
        let mut missing = Vec::new();
        for choice in choices {
            let key = self.key(&choice);
            if let Some(facts) = cache.facts(&key) {
                let is_outside = facts.span.1 <= range.0 || facts.span.0 > range.1;
                if is_outside || access.held(&key, &facts, choice.part, range, cache, &mut pieces) {
                    continue;
                }
            }
            match cache.get(&key) {
                Some(block) => pieces.push(Piece { block, part: choice.part }),
                None => missing.push(choice),
            }
        }
        for some in missing.chunks(LOADS_AT_ONCE) {
            let mut loading = Vec::with_capacity(some.len());
            for choice in some {
                loading.push(self.piece(*choice, access, range, cache));
            }
            for piece in futures::future::join_all(loading).await {
                pieces.push(piece?);
            }
        }
        Ok(pieces)
    }

    /// A file that is read for the first time, and rolled up to what is scanned of it.
    async fn piece(
        &self,
        choice: Choice<'_>,
        access: &Access<'_>,
        range: (Timestamp, Timestamp),
        cache: &Arc<BlockCache>,
    ) -> Result<Piece> {
        let block = self.block(choice, cache).await?;
        roll_up(&block, access.shapes_of(&block, choice.part, range), cache.clone()).await?;
        Ok(Piece { block, part: choice.part })
    }
    fn key(&self, choice: &Choice<'_>) -> BlockKey {
        BlockKey::file(&self.view().id, choice.blake3)
    }
    async fn block(&self, choice: Choice<'_>, cache: &BlockCache) -> Result<Arc<Block>> {
        let key = self.key(&choice);
        if let Some(block) = cache.get(&key) {
            return Ok(block);
        }
        let loaded = cache.get_or_load(&key, self.load(&choice)).await?;
        loaded.ok_or_else(|| Error::not_found(format!("object {} does not exist", choice.path)))
    }
    /// Decodes a large file on a thread of its own: it takes longer than a request may be kept waiting for another.
    async fn load(&self, file: &Choice<'_>) -> Result<Option<Block>> {
        let bytes = match verified::get(self.store.as_ref(), file.path, file.blake3).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (view, level) = (self.view().clone(), file.level);
        let decode = move || {
            Ok(Some(match level {
                None => Block::sorted(view_file::read(&view, &bytes)?),
                Some(level) => {
                    let (rows, weights) = roll_up::read(&view, level, &bytes)?;
                    Block::rolled(rows, weights, level.width)
                }
            }))
        };
        if file.rows <= INLINE_ROWS {
            return decode();
        }
        let decoded = tokio::task::spawn_blocking(decode).await;
        decoded.unwrap_or_else(|error| Err(Error::internal(format!("reading {} failed", file.path)).because(error)))
    }
}

/// Makes roll-ups of a block that are not held; of a large one on a thread of its own.
async fn roll_up(block: &Arc<Block>, shapes: Vec<Shape>, cache: Arc<BlockCache>) -> Result<()> {
    let (rows, block) = (block.len() as u64, block.clone());
    let roll_up = move || shapes.into_iter().for_each(|shape| drop(cache.roll_up(&block, shape)));
    if rows <= INLINE_ROWS {
        roll_up();
        return Ok(());
    }
    let rolled = tokio::task::spawn_blocking(roll_up).await;
    rolled.map_err(|error| Error::internal("a roll-up failed").because(error))
}
