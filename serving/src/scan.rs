//! A query's scan over blocks: which rows match, which windows they fall in, and their merged states. Pure but for a cache.
mod access;
mod cells;
mod filter;
pub mod levels;
mod runs;
pub mod sessions;
mod slide;
mod stretches;
mod sums;
mod top;

use std::ops::Range;
use std::sync::Arc;

use seam_shared::time::Timestamp;
use seam_shared::view::definition::StateKind;
use seam_shared::view::rows::{Dimension, Rows, States};

use crate::block::{Block, ByKey};
use crate::cache::BlockCache;
use crate::deadline::Stop;
use crate::query::{PARTIALS_MAX, POINTS_MAX, Query, Refusal, Term};
pub use access::Access;
pub use cells::{Cells, Part};
use filter::{Conditions, Slices};
use slide::Slide;
use stretches::Stretches;
use sums::{By, Keys, Sums};

/// The partials of a query's groups may take so much memory; it is looked at again each time that so many groups have come.
const PARTIAL_BYTES_MAX: usize = 512 << 20;
const WEIGH_EVERY: usize = 1_024;
/// What one half put into an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Rows of partials that matched.
    pub rows: u64,
    /// Events in them, where the view counts events.
    pub events: u64,
}

impl std::ops::AddAssign for Share {
    fn add_assign(&mut self, other: Share) {
        self.rows += other.rows;
        self.events += other.events;
    }
}

/// A block, and which of its panes count.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The block.
    pub block: Arc<Block>,
    /// The part of its panes.
    pub part: Part,
}

impl Piece {
    /// All panes of a block.
    pub fn whole(block: Arc<Block>) -> Piece {
        Piece { block, part: Part::WHOLE }
    }
}

/// The panes that any window of a query can have: those that end in `(after, until]`.
pub fn range(query: &Query) -> (Timestamp, Timestamp) {
    sessions::range(query)
}

/// The scan of a query.
pub struct Scan<'q> {
    query: &'q Query,
    cells: Arc<Cells>,
    /// By key and cell: the state of each term.
    sums: Sums,
    /// From so many groups on, the memory of their partials is looked at again.
    weigh_from: usize,
    stop: Stop,
}

impl<'q> Scan<'q> {
    /// An empty scan.
    pub fn new(query: &'q Query) -> Scan<'q> {
        let cells = Arc::new(Cells::new(&query.times));
        let sums = Sums::new(query.dimensions.len(), &kinds(query), cells.count());
        Scan { query, cells, sums, weigh_from: WEIGH_EVERY, stop: Stop::default() }
    }
    /// The same scan, until it is stopped.
    #[must_use]
    pub fn until(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }
    /// Pieces in the order in which they are merged best: where all lies in one cell, those with most keys first.
    pub fn in_order<'p>(&self, pieces: &'p [Piece]) -> Vec<&'p Piece> {
        let mut out: Vec<&Piece> = pieces.iter().collect();
        if self.cells.count() == 1 {
            out.sort_by_key(|piece| std::cmp::Reverse(piece.block.by_key().map_or(0, ByKey::keys)));
        }
        out
    }
    /// Merges the rows of `block`, of the view that `access` is about, that match; and says how much that was.
    ///
    /// # Errors
    /// `TooLarge` when the query has more groups than may be held.
    pub fn add(&mut self, access: &Access<'q>, block: &Arc<Block>, cache: &BlockCache) -> Result<Share, Refusal> {
        self.add_part(access, block, Part::WHOLE, cache)
    }
    /// The same for a part of the block's panes.
    ///
    /// # Errors
    /// As [`Scan::add`].
    pub fn add_part(
        &mut self,
        access: &Access<'q>,
        block: &Arc<Block>,
        part: Part,
        cache: &BlockCache,
    ) -> Result<Share, Refusal> {
        if block.is_empty() {
            return Ok(Share::default());
        }
        let by_key = match block.as_ref() {
            Block::AsHeld(rows) => return self.add_as_held(access, rows),
            Block::ByKey(by_key) => by_key,
        };
        let shapes = access.parts_of(by_key, part, range(self.query));
        if shapes.is_empty() {
            return self.add_by_key(access, by_key, part);
        }
        let mut share = Share::default();
        for (shape, part) in shapes {
            if let Some(rolled) = cache.roll_up(block, shape).by_key() {
                share += self.add_by_key(access, rolled, part)?;
            }
        }
        Ok(share)
    }
    fn add_by_key(&mut self, access: &Access<'q>, block: &ByKey, part: Part) -> Result<Share, Refusal> {
        let mut share = Share::default();
        let is_outside = block.span.1 <= self.cells.base || block.span.0 > self.cells.until;
        if is_outside {
            return Ok(share);
        }
        let Some(mut merge) = Merge::new(&self.sums, access, &block.dimensions, Some(block)) else {
            return Ok(share);
        };
        let cells = self.cells.clone();
        let mut stretches = Stretches::new(&cells, block, part);
        for key in merge.run.clone() {
            if !merge.matches(key) {
                continue;
            }
            let rows = block.rows(key);
            let stretches = stretches.of(block, &rows);
            if stretches.is_empty() {
                continue;
            }
            let to = merge.keys.of(&mut self.sums, &block.dimensions, key);
            for (cell, place) in stretches {
                let rows = rows.start + place.start..rows.start + place.end;
                share.rows += block.weight(rows.clone());
                share.events += access.events_in(&block.states, rows.clone());
                merge.take(&mut self.sums, &block.states, (to, *cell), rows);
            }
            self.check()?;
        }
        merge.keys.learn(&mut self.sums);
        Ok(share)
    }
    fn add_as_held(&mut self, access: &Access<'q>, rows: &Rows) -> Result<Share, Refusal> {
        let mut share = Share::default();
        let Some(mut merge) = Merge::new(&self.sums, access, &rows.dimensions, None) else { return Ok(share) };
        let one_code = merge.slices.one_code(&rows.dimensions);
        let mut visit = |row: usize| {
            let pane = rows.panes[row];
            if self.cells.base < pane
                && pane <= self.cells.until
                && merge.matches(row)
                && let (Some(cell), _) = self.cells.stretch(pane, Part::WHOLE)
            {
                let key = merge.keys.of(&mut self.sums, &rows.dimensions, row);
                merge.take(&mut self.sums, &rows.states, (key, cell), row..row + 1);
                share.rows += 1;
                share.events += access.events_in(&rows.states, row..row + 1);
            }
        };
        match one_code {
            Some((d, code)) => {
                let candidates = rows.dimensions[d].codes.iter().enumerate().filter(|(_, c)| **c == code);
                candidates.for_each(|(row, _)| visit(row));
            }
            None => (0..rows.len()).for_each(visit),
        }
        self.check().map(|()| share)
    }
    fn check(&mut self) -> Result<(), Refusal> {
        self.stop.check()?;
        if self.sums.len() >= self.weigh_from {
            self.weigh_from = self.sums.len() + WEIGH_EVERY;
            if self.sums.heap_bytes() > PARTIAL_BYTES_MAX {
                return Err(Refusal::too_large(format!(
                    "the partials of the query's groups take more than {} MiB; ask for fewer dimensions, a shorter range or slices",
                    PARTIAL_BYTES_MAX >> 20
                )));
            }
        }
        if self.sums.len() <= PARTIALS_MAX {
            return Ok(());
        }
        Err(Refusal::too_large(format!(
            "the query needs more than {PARTIALS_MAX} partial groups; ask for fewer dimensions, a shorter range or slices"
        )))
    }
    /// The merged states of the terms by window (its end in the place of the pane) and key, in canonical order.
    ///
    /// # Errors
    /// `TooLarge` when there are more points than may be computed.
    pub fn finish(self) -> Result<Rows, Refusal> {
        let too_many = || {
            Refusal::too_large(format!(
                "the query has more than {POINTS_MAX} points; ask for fewer dimensions, a longer step or slices"
            ))
        };
        let Scan { query, cells, sums, stop, .. } = self;
        let end = |window: i64| query.times.end(window as usize);
        if cells.are_windows() {
            if sums.len() > POINTS_MAX {
                return Err(too_many());
            }
            let shown = match top::chosen(query, &sums) {
                Some(rows) => sums.only(&rows),
                None => sums,
            };
            return Ok(shown.into_rows(By::Cell, end));
        }
        // The number of a row's cell is its pane.
        let by_cell = sums.into_rows(By::Key, Timestamp);
        let cell = |row: usize| by_cell.panes[row].0;
        let dimensions: Vec<usize> = (0..by_cell.dimensions.len()).collect();

        let mut out = Sums::new(dimensions.len(), &kinds(query), query.times.count());
        let mut keys = Keys::new(&out, &dimensions, &by_cell.dimensions, &[], by_cell.len());
        let mut slide = Slide::new(&by_cell.states);
        let is_same = |a: usize, b: usize| by_cell.dimensions.iter().all(|d| d.codes[a] == d.codes[b]);
        let mut start = 0;
        while start < by_cell.len() {
            stop.check()?;
            let last = (start + 1..by_cell.len()).find(|row| !is_same(start, *row)).unwrap_or(by_cell.len());
            let rows_before = |from: usize, until: i64| (from..last).find(|row| cell(*row) >= until).unwrap_or(last);
            let key = keys.of(&mut out, &by_cell.dimensions, start);
            let (mut from, mut to) = (start, start);
            slide.begin(from);
            let mut window = 0;
            while from < last && window < query.times.count() {
                // Windows before the next row are empty.
                window = window.max(if from == to { cells.first_window(cell(from)) } else { 0 });
                if window == query.times.count() {
                    break;
                }
                let of_window = cells.of_window(window);
                from = rows_before(from, of_window.start);
                to = rows_before(to.max(from), of_window.end);
                slide.go_on(from, to);
                if from < to {
                    let at = out.row(key, window as i64);
                    for (columns, row) in slide.parts() {
                        out.states_mut().iter_mut().zip(columns).for_each(|(to, part)| to.combine(at, part, row));
                    }
                }
                window += 1;
            }
            if out.len() > POINTS_MAX {
                return Err(too_many());
            }
            start = last;
        }
        Ok(out.into_rows(By::Cell, end))
    }
}

/// What the terms of a query are made of.
fn kinds(query: &Query) -> Vec<StateKind> {
    query.terms.iter().map(Term::kind).collect()
}

/// What is known of one block while it is merged.
struct Merge<'b> {
    dimensions: &'b [Dimension],
    slices: Slices,
    /// The keys (or rows) that can match.
    run: Range<usize>,
    /// Per term: its conditions, its state in the view, its place in the query, and whether the key or row at hand matches.
    terms: Vec<(Conditions<'b>, usize, usize, bool)>,
    keys: Keys<'b>,
}

impl<'b> Merge<'b> {
    /// `None` when nothing in the block, which may be one by key, can match.
    fn new(
        sums: &Sums,
        access: &'b Access<'_>,
        dimensions: &'b [Dimension],
        by_key: Option<&'b ByKey>,
    ) -> Option<Merge<'b>> {
        let (_, first) = access.terms.first()?;
        let slices = Slices::new(first, dimensions, by_key.is_some())?;
        let rows = dimensions.first().map_or(0, |dimension| dimension.codes.len());
        let run = by_key.map_or(0..rows, |block| slices.keys(block));
        let dictionaries = by_key.map_or(&[][..], |block| &block.dictionaries);
        let terms = access.terms.iter();
        let terms = terms.map(|(place, term)| (Conditions::new(term, dimensions), term.state, *place, false)).collect();
        let keys = Keys::new(sums, &first.dimensions, dimensions, dictionaries, run.len());
        Some(Merge { dimensions, slices, run, terms, keys })
    }
    /// Whether any term counts a key or row; notes which.
    #[inline]
    fn matches(&mut self, i: usize) -> bool {
        let dimensions = self.dimensions;
        if !self.slices.match_at(dimensions, i) {
            return false;
        }
        let mut any = false;
        for (conditions, _, _, matches) in &mut self.terms {
            *matches = conditions.hold_at(dimensions, i);
            any |= *matches;
        }
        any
    }
    /// Merges rows with the key (or row) at hand into their key's cell.
    #[inline]
    fn take(&self, sums: &mut Sums, states: &[States], (key, cell): (u32, i64), rows: Range<usize>) {
        let to = sums.row(key, cell);
        for (_, state, place, _) in self.terms.iter().filter(|(.., matches)| *matches) {
            sums.states_mut()[*place].combine_all(to, &states[*state], rows.clone());
        }
    }
}

#[cfg(test)]
mod tests;
