//! Runs: whole pieces of a week that lie in one cell, merged into one block and kept, so that a question over a month merges a few tables
//! and not one a day. A week begins where it begins for every question: a new generation changes the run of its last days alone.
use std::borrow::Cow;
use std::sync::Arc;

use seam_shared::time::{Span, Timestamp};

use super::{Access, Cells, Part, Piece, Scan};
use crate::block::{self, Block, ByKey, Shape};
use crate::cache::{BlockCache, BlockKey};

/// Pieces of a run lie between two multiples of this.
const LENGTH: Span = Span(7 * Span::DAY.0);
/// Pieces of a run, at least.
const PIECES: usize = 2;

impl<'q> Scan<'q> {
    /// What is scanned of pieces: runs of them, where there are any.
    pub fn joined<'p>(&self, access: &Access<'q>, pieces: &'p [Piece], cache: &BlockCache) -> Cow<'p, [Piece]> {
        access.joined(&self.cells, pieces, &mut |key, run| Some(cache.run(key, || access.merged(run, cache))))
    }
}

impl Access<'_> {
    /// The pieces with those runs in the place of their pieces that are held.
    pub fn joined_as_held<'p>(&self, cells: &Cells, pieces: &'p [Piece], cache: &BlockCache) -> Cow<'p, [Piece]> {
        self.joined(cells, pieces, &mut |key, _| cache.get(&key))
    }

    fn joined<'p>(
        &self,
        cells: &Cells,
        pieces: &'p [Piece],
        find: &mut dyn FnMut(BlockKey, &[Piece]) -> Option<Arc<Block>>,
    ) -> Cow<'p, [Piece]> {
        let Some(shape) = self.kept().filter(|_| pieces.len() >= PIECES) else { return Cow::Borrowed(pieces) };
        let places: Vec<Option<(i64, Timestamp)>> = pieces.iter().map(|piece| place(cells, piece)).collect();
        let (mut out, mut from) = (Vec::new(), 0);
        for same in places.chunk_by(|a, b| a.is_some() && a == b) {
            let run = &pieces[from..from + same.len()];
            from += same.len();
            let block = (run.len() >= PIECES).then(|| find(key(run, shape), run)).flatten();
            match block {
                Some(block) => out.push(Piece::whole(block)),
                None => out.extend_from_slice(run),
            }
        }
        if out.len() == pieces.len() { Cow::Borrowed(pieces) } else { Cow::Owned(out) }
    }

    /// The dimensions that matter, as a shape.
    fn kept(&self) -> Option<Shape> {
        let bit = |d: &usize| 1_u64.checked_shl(u32::try_from(*d).ok()?);
        let dimensions = self.needed.iter().map(bit).try_fold(0, |bits, bit| Some(bits | bit?))?;
        Some(Shape { dimensions, width: None })
    }

    /// A run as one block: one row a key, in the pane of its last one. Its pieces are merged in the shapes in which they are scanned.
    fn merged(&self, run: &[Piece], cache: &BlockCache) -> Block {
        let ever = (Timestamp::MIN, Timestamp::MAX);
        let rolled = |piece: &Piece| {
            let shape = piece.block.by_key().and_then(|by_key| self.shape_of(by_key, Part::Whole, ever));
            // Panes stay what they are, so that none ends behind the run.
            let fine = shape.map(|shape| Shape { width: None, ..shape });
            fine.map_or_else(|| piece.block.clone(), |shape| cache.roll_up(&piece.block, shape))
        };
        let rolled: Vec<Arc<Block>> = run.iter().map(rolled).collect();
        let blocks: Vec<&ByKey> = rolled.iter().filter_map(|block| block.by_key()).collect();
        let spans = || run.iter().filter_map(|piece| piece.block.by_key()).map(|block| block.span);
        let last = spans().map(|(_, last)| last).max().unwrap_or_default();
        let first = spans().map(|(first, _)| first).min().unwrap_or(last);
        block::merged(&blocks, &self.needed, &|_| last, Some(Span(last.0 - first.0).max(self.pane)))
    }
}

/// The cell that holds all panes of a piece, and the week.
fn place(cells: &Cells, Piece { block, part }: &Piece) -> Option<(i64, Timestamp)> {
    let by_key = block.by_key().filter(|by_key| *part == Part::Whole && by_key.name.is_some() && by_key.keys() > 0)?;
    let (first, last) = by_key.span;
    if first <= cells.base || last > cells.until {
        return None;
    }
    let (cell, end) = cells.stretch(first, Part::Whole);
    let (week, end_week) = (Timestamp(first.0 - 1).floor(LENGTH), Timestamp(last.0 - 1).floor(LENGTH));
    (last <= end && week == end_week).then_some((cell?, week))
}

fn key(run: &[Piece], shape: Shape) -> BlockKey {
    let name = |piece: &Piece| piece.block.by_key().and_then(|by_key| by_key.name.clone());
    BlockKey::Run(run.iter().filter_map(name).collect(), shape)
}
