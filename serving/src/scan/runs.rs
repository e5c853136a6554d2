//! Runs: whole pieces of a week that lie in one cell, merged into one block and kept, so that a question over a month merges a few tables
//! and not one a day. A week begins where it begins for every question: a new generation changes the run of its last days alone. Weeks that
//! lie in one cell are merged once more where the same time is asked for again.
use std::borrow::Cow;
use std::sync::Arc;

use seam_shared::time::{Span, Timestamp};

use super::{Access, Cells, Part, Piece, Scan};
use crate::block::key::{BlockKey, Shape};
use crate::block::{self, Block, ByKey};
use crate::cache::BlockCache;

/// Pieces of a run lie between two multiples of this.
const LENGTH: Span = Span(7 * Span::DAY.0);
/// Pieces of a run, at least.
const PIECES: usize = 2;

impl<'q> Scan<'q> {
    /// What is scanned of pieces: runs of them, where there are any.
    pub fn joined<'p>(&self, access: &Access<'q>, pieces: &'p [Piece], cache: &BlockCache) -> Cow<'p, [Piece]> {
        let make = |key, run: &[Piece]| cache.run(key, || access.merged(run, cache));
        access.joined(&self.cells, pieces, &mut |key, run, reach| match reach {
            Reach::Week => Some(make(key, run)),
            Reach::Cell => cache.get(&key).or_else(|| cache.is_wanted(&key).then(|| make(key, run))),
        })
    }
}

/// How far a run may reach.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// From one week's start to the next one's: many questions have that.
    Week,
    /// As far as a cell does: only questions about the same time have that, so it is made once it was asked for again.
    Cell,
}

/// Finds a run by its name, or makes it of its pieces.
type Find<'f> = dyn FnMut(BlockKey, &[Piece], Reach) -> Option<Arc<Block>> + 'f;

impl Access<'_> {
    /// The pieces with those runs in the place of their pieces that are held.
    pub fn joined_as_held<'p>(&self, cells: &Cells, pieces: &'p [Piece], cache: &BlockCache) -> Cow<'p, [Piece]> {
        self.joined(cells, pieces, &mut |key, _, _| cache.get(&key))
    }

    fn joined<'p>(&self, cells: &Cells, pieces: &'p [Piece], find: &mut Find<'_>) -> Cow<'p, [Piece]> {
        let Some(shape) = self.kept() else { return Cow::Borrowed(pieces) };
        let mut joined = Cow::Borrowed(pieces);
        for reach in [Reach::Week, Reach::Cell] {
            let of_reach =
                |piece| place(cells, piece).map(|(cell, week)| (cell, (reach == Reach::Week).then_some(week)));
            let places: Vec<_> = joined.iter().map(of_reach).collect();
            if places.len() < PIECES || places.windows(PIECES).all(|pair| pair[0].is_none() || pair[0] != pair[1]) {
                continue;
            }
            let (mut out, mut from) = (Vec::with_capacity(joined.len()), 0);
            for same in places.chunk_by(|a, b| a.is_some() && a == b) {
                let run = &joined[from..from + same.len()];
                from += same.len();
                let block = (run.len() >= PIECES).then(|| find(key(run, shape), run, reach)).flatten();
                match block {
                    Some(block) => out.push(Piece::whole(block)),
                    None => out.extend_from_slice(run),
                }
            }
            joined = Cow::Owned(out);
        }
        joined
    }

    /// The dimensions that matter, as a shape.
    fn kept(&self) -> Option<Shape> {
        let bit = |d: &usize| 1_u64.checked_shl(u32::try_from(*d).ok()?);
        let dimensions = self.needed.iter().map(bit).try_fold(0, |bits, bit| Some(bits | bit?))?;
        Some(Shape { dimensions, width: None })
    }

    /// A run as one block: one row a key, in the pane of its last one. Its pieces are merged in the shapes in which they are scanned.
    fn merged(&self, run: &[Piece], cache: &BlockCache) -> Block {
        let rolled = |piece: &Piece| {
            // Panes stay what they are, so that none ends behind the run.
            let shape = piece.block.by_key().and_then(|by_key| self.narrow_of(&by_key.facts));
            shape.map_or_else(|| piece.block.clone(), |shape| cache.roll_up(&piece.block, shape))
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
    let by_key = block.by_key().filter(|by_key| *part == Part::WHOLE && by_key.name.is_some() && by_key.keys() > 0)?;
    let (first, last) = by_key.span;
    if first <= cells.base || last > cells.until {
        return None;
    }
    let (cell, end) = cells.stretch(first, Part::WHOLE);
    let (week, end_week) = (Timestamp(first.0 - 1).floor(LENGTH), Timestamp(last.0 - 1).floor(LENGTH));
    // A run of several weeks is in none of them.
    let week = if week == end_week { week } else { Timestamp::MIN };
    (last <= end).then_some((cell?, week))
}

fn key(run: &[Piece], shape: Shape) -> BlockKey {
    let name = |piece: &Piece| piece.block.by_key().and_then(|by_key| by_key.name.as_deref().cloned());
    BlockKey::Run(run.iter().filter_map(name).collect(), shape)
}
