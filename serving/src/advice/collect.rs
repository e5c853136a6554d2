//! Makes rankings of what was pinned: of a generation, over it of the speed layer's closed segments, over both of what is open. The first two
//! are kept, as they do not change.
use std::hash::Hash;
use std::sync::Arc;

use seam_shared::log::{Offset, Partition};
use seam_shared::time::Timestamp;
use seam_shared::{Error, Result};

use super::Question;
use super::ranking::{Builder, Ranking};
use crate::Serving;
use crate::block::Block;
use crate::pin::pinned::PinnedView;
use crate::pin::read::INLINE_ROWS;
use crate::query::Spelling;
use crate::scan::levels::files_in;

/// What a ranking is made of, file by file or segment by segment.
enum Part {
    /// The files of the generation whose slices these are.
    Slice(Timestamp, Timestamp),
    /// A closed segment of a partition, by its place in the list of those pinned.
    Segment(u32, usize),
}

impl Serving {
    /// The items of what was pinned.
    ///
    /// # Errors
    /// As [`Serving::halves`]; `TooLarge` when there are too many items.
    pub(super) async fn ranking(&self, question: &Question, pinned: &PinnedView) -> Result<Arc<Ranking>> {
        let range = (question.items_of.after, question.items_of.decay.until);
        let mut spelling = Spelling::default();
        (&pinned.view.id, question.items_of.as_ref(), question.items_dimensions()).hash(&mut spelling);
        let mut below = None;
        if let Some(generation) = &pinned.generation {
            (generation.number, &generation.incarnation).hash(&mut spelling);
            let files = files_in(generation, range);
            self.check_rows(files.iter().map(|file| file.rows))?;
            let mut parts: Vec<Part> = files.iter().map(|file| Part::Slice(file.slice_start, file.slice_end)).collect();
            parts.dedup_by(|a, b| matches!((a, b), (Part::Slice(a, _), Part::Slice(b, _)) if a == b));
            below = Some(self.made_once(question, pinned, &spelling, None, parts).await?);
        }
        let mut parts = Vec::new();
        let mut open = Vec::new();
        for (&number, part) in &pinned.parts {
            let (Some(held), Some(segments)) = (&part.held, &part.segments) else { continue };
            let names: Vec<(Offset, Offset)> = segments.iter().map(|segment| (segment.start, segment.end)).collect();
            (number, held.epoch, names).hash(&mut spelling);
            parts.extend((0..segments.len()).map(|place| Part::Segment(number, place)));
            open.push(held.open.block());
        }
        if !parts.is_empty() {
            below = Some(self.made_once(question, pinned, &spelling, below, parts).await?);
        }
        let rows: usize = open.iter().map(|block| block.len()).sum();
        if let (0, Some(all)) = (rows, &below) {
            return Ok(all.clone());
        }
        let builder = Builder::new(below, question.items_of.clone(), question.items_dimensions());
        Ok(Arc::new(added(builder, open).await?.finish()))
    }

    /// The ranking that is kept under a spelling; it is made if it is not. Those of other windows than the one that ends now are not kept:
    /// they would push that one out.
    async fn made_once(
        &self,
        question: &Question,
        pinned: &PinnedView,
        spelling: &Spelling,
        below: Option<Arc<Ranking>>,
        parts: Vec<Part>,
    ) -> Result<Arc<Ranking>> {
        let key = *blake3::hash(&spelling.0).as_bytes();
        if let Some(known) = self.advice.rankings.get(&key) {
            return Ok(known);
        }
        if !question.is_current {
            return self.made(question, pinned, below, parts).await;
        }
        let _one_at_a_time = self.advice.making.lock().await;
        if let Some(known) = self.advice.rankings.get(&key) {
            return Ok(known);
        }
        let made = self.made(question, pinned, below, parts).await?;
        self.advice.rankings.insert(key, made.clone(), made.bytes());
        Ok(made)
    }

    async fn made(
        &self,
        question: &Question,
        pinned: &PinnedView,
        below: Option<Arc<Ranking>>,
        parts: Vec<Part>,
    ) -> Result<Arc<Ranking>> {
        let mut builder = Builder::new(below, question.items_of.clone(), question.items_dimensions());
        for part in parts {
            let blocks = self.blocks_of(pinned, part).await?;
            builder = added(builder, blocks).await?;
        }
        let finished = tokio::task::spawn_blocking(move || builder.finish()).await;
        Ok(Arc::new(finished.map_err(|error| Error::internal("a ranking failed").because(error))?))
    }

    async fn blocks_of(&self, pinned: &PinnedView, part: Part) -> Result<Vec<Arc<Block>>> {
        let view = &pinned.view;
        match part {
            Part::Slice(start, end) => {
                let Some(generation) = &pinned.generation else { return Ok(Vec::new()) };
                self.batch_view(view).blocks(generation, (start, end), self.cache()).await
            }
            Part::Segment(number, place) => {
                let part = pinned.parts.get(&number);
                let held = part.and_then(|part| Some((part.held.as_ref()?, part.segments.as_ref()?.get(place)?)));
                let Some((held, segment)) = held else { return Ok(Vec::new()) };
                let partition = Partition::new(view.source.name.as_str(), number);
                Ok(vec![self.segment(&partition, view, held, *segment).await?])
            }
        }
    }
}

/// Adds blocks; many rows on a thread of their own.
async fn added(builder: Builder, blocks: Vec<Arc<Block>>) -> Result<Builder> {
    let rows: usize = blocks.iter().map(|block| block.len()).sum();
    let work = move || blocks.iter().try_fold(builder, |builder, block| builder.add(block));
    if rows <= INLINE_ROWS {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::internal("a ranking failed").because(error)))
}
