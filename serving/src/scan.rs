//! A query's scan over blocks: which rows match, which windows they fall in, and their merged states. Pure but for a cache.
mod cells;
mod filter;
mod runs;
mod slide;

use std::ops::Range;
use std::sync::Arc;

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{StateDefinition, StateKind, View};
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::{Dimension, Rows, States};

use crate::block::{Block, ByKey, Facts, Shape};
use crate::cache::{BlockCache, BlockKey};
use crate::deadline::Stop;
use crate::query::{PARTIALS_MAX, POINTS_MAX, Query, Refusal, Term};
use crate::sessions;
pub use cells::{Cells, Part};
use filter::{Conditions, Slices};
use slide::Slide;

/// Rows of an unsorted block that are passed over in the time that one row takes to be merged.
const UNSORTED_ROWS_FOR_ONE: usize = 8;
/// A scan of more rows than this by key looks for a roll-up.
const ROLL_UP_FROM: usize = 256;
/// The partials of a query's groups may take so much memory; it is looked at again each time that so many groups have come.
const PARTIAL_BYTES_MAX: usize = 512 << 20;
const WEIGH_EVERY: usize = 1_024;
/// Cells of one key that there is room for from the start.
const ROOM: usize = 1_024;
/// Widths of panes in roll-ups.
const WIDTHS: [Span; 6] = [
    Span(5 * Span::MINUTE.0),
    Span(15 * Span::MINUTE.0),
    Span::HOUR,
    Span(6 * Span::HOUR.0),
    Span::DAY,
    Span(7 * Span::DAY.0),
];

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
        Piece { block, part: Part::Whole }
    }
}

/// The panes that any window of a query can have: those that end in `(after, until]`.
pub fn range(query: &Query) -> (Timestamp, Timestamp) {
    sessions::range(query)
}

/// The scan of a query.
pub struct Scan<'q> {
    query: &'q Query,
    cells: Cells,
    /// By cell (a window's end, or a number in the place of it) and key: the state of each term.
    groups: Groups,
    /// From so many groups on, the memory of their partials is looked at again.
    weigh_from: usize,
    stop: Stop,
}

/// What is scanned of one view: the terms that are about it. They have the same slices and dimensions.
pub struct Access<'q> {
    /// The terms, each with its place in the query.
    terms: Vec<(usize, &'q Term)>,
    /// The dimensions that matter.
    needed: Vec<usize>,
    /// The width of panes that makes the fewest rows of a cell.
    width: Option<Span>,
    /// The view's count of events, if it keeps one.
    events: Option<usize>,
    pane: Span,
}

impl<'q> Access<'q> {
    /// What `query` asks of a view.
    pub fn new(query: &'q Query, view: &View) -> Access<'q> {
        let about = |(_, term): &(usize, &Term)| term.view.id == view.id;
        let terms: Vec<(usize, &Term)> = query.terms.iter().enumerate().filter(about).collect();
        let mut needed = Vec::new();
        for (_, term) in &terms {
            needed.extend(&term.dimensions);
            needed.extend(term.slices.iter().map(|(d, _)| *d));
            needed.extend(term.all_conditions().flat_map(filter::dimensions_of));
        }
        needed.sort_unstable();
        needed.dedup();
        let cell = Cells::new(&query.times).size();
        // The rows inside a cell and those at its edges are about as many where the width is the root of both lengths.
        let pays =
            |w: &Span| w.0 % view.pane.0 == 0 && *w > view.pane && w.0 <= (cell.0 / w.0).saturating_mul(view.pane.0);
        let width = WIDTHS.into_iter().rfind(pays);
        let events = view.states.iter().position(StateDefinition::counts_events);
        Access { terms, needed, width, events, pane: view.pane }
    }
    /// The dimensions that matter.
    pub fn needed(&self) -> &[usize] {
        &self.needed
    }
    /// Whether there is anything to scan.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
    /// About how many rows of a block by key are scanned.
    fn rows(&self, facts: &Facts, (after, until): (Timestamp, Timestamp)) -> usize {
        let Some((_, term)) = self.terms.first() else { return 0 };
        let narrowed: usize = filter::leading(term, &facts.values).map(|d| facts.values[d]).product();
        let (first, last) = (facts.span.0.minus(facts.width.unwrap_or(self.pane)), facts.span.1);
        let all = last.0.saturating_sub(first.0).max(1);
        let asked = until.min(last).0.saturating_sub(after.max(first).0).max(0);
        let rows = facts.rows as f64 * (asked as f64 / all as f64);
        (facts.keys + rows as usize) / narrowed.max(1)
    }
    /// The shape that a block by key is scanned in, where another than its own has less than half of its rows.
    fn shape(&self, facts: &Facts, part: Part, range: (Timestamp, Timestamp)) -> Option<Shape> {
        if self.rows(facts, range) <= ROLL_UP_FROM {
            return None;
        }
        let own = facts.shape()?;
        let pane = facts.width.unwrap_or(self.pane);
        let width = self.width.filter(|width| *width > pane && part == Part::Whole);
        let shape = Shape { dimensions: self.needed.iter().fold(0, |bits, d| bits | 1 << d), width };
        let values = |d: &usize| facts.values[*d].max(1);
        let keys = self.needed.iter().map(values).fold(1, usize::saturating_mul).min(facts.keys);
        let merged = width.map_or(1, |width| (width.0 / pane.0) as usize);
        let panes = facts.rows.div_ceil(facts.keys.max(1)).div_ceil(merged);
        (shape != own && keys * panes * 2 <= facts.rows).then_some(shape)
    }
    /// The shape for a block, if it has a name: one without is not there for long enough.
    fn shape_of(&self, block: &ByKey, part: Part, range: (Timestamp, Timestamp)) -> Option<Shape> {
        block.name.as_ref().and_then(|_| self.shape(&block.facts, part, range))
    }
    /// Adds what is scanned of a block in the place of it, if that is not its own rows and all is held.
    pub fn held(
        &self,
        key: &BlockKey,
        facts: &Facts,
        part: Part,
        range: (Timestamp, Timestamp),
        cache: &BlockCache,
        pieces: &mut Vec<Piece>,
    ) -> bool {
        let Some(shape) = self.shape(facts, part, range) else { return false };
        let found: Option<Vec<Piece>> = parts(shape, part)
            .into_iter()
            .flatten()
            .map(|(shape, part)| Some(Piece { block: cache.held_as(key, shape)?, part }))
            .collect();
        let is_held = found.is_some();
        pieces.extend(found.into_iter().flatten());
        is_held
    }
    /// About how much work a scan of `piece` is, in rows by key.
    pub fn effort(&self, query: &Query, Piece { block, part }: &Piece, cache: &BlockCache) -> usize {
        let range = range(query);
        match block.as_ref() {
            _ if block.is_empty() => 0,
            Block::AsHeld(rows) if query.terms.iter().all(|t| t.slices.is_empty()) => rows.len(),
            Block::AsHeld(rows) => rows.len() / UNSORTED_ROWS_FOR_ONE,
            Block::ByKey(by_key) => match self.shape_of(by_key, *part, range) {
                None => self.rows(&by_key.facts, range),
                Some(shape) => {
                    let rolled = cache.held_roll_up(block, shape);
                    let rolled = rolled.as_ref().and_then(|rolled| rolled.by_key());
                    rolled.map_or(block.len(), |rolled| self.rows(&rolled.facts, range))
                }
            },
        }
    }
}

/// The shapes that a part of a block is scanned in, each with the part of it: whole cells in wide panes, their edges in the block's.
fn parts(shape: Shape, part: Part) -> [Option<(Shape, Part)>; 2] {
    let fine = Shape { width: None, ..shape };
    match shape.width {
        Some(width) => [Some((shape, Part::Inside(width))), Some((fine, Part::Edges(width)))],
        None => [Some((fine, part)), None],
    }
}

impl<'q> Scan<'q> {
    /// An empty scan.
    pub fn new(query: &'q Query) -> Scan<'q> {
        let cells = Cells::new(&query.times);
        let mut groups = Groups::new(query.dimensions.len(), &kinds(query));
        groups.reserve(query.times.count().min(ROOM));
        Scan { query, cells, groups, weigh_from: WEIGH_EVERY, stop: Stop::default() }
    }
    /// The same scan, until it is stopped.
    #[must_use]
    pub fn until(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }
    /// Merges the rows of `block`, of the view that `access` is about, that match; and says how much that was.
    ///
    /// # Errors
    /// `TooLarge` when the query has more groups than may be held.
    pub fn add(&mut self, access: &Access<'q>, block: &Arc<Block>, cache: &BlockCache) -> Result<Share, Refusal> {
        self.add_part(access, block, Part::Whole, cache)
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
        let Some(shape) = access.shape_of(by_key, part, range(self.query)) else {
            return self.add_by_key(access, by_key, part);
        };
        let mut share = Share::default();
        for (shape, part) in parts(shape, part).into_iter().flatten() {
            if let Some(rolled) = cache.roll_up(block, shape).by_key() {
                share += self.add_by_key(access, rolled, part)?;
            }
        }
        Ok(share)
    }
    fn add_by_key(&mut self, access: &Access<'q>, block: &ByKey, part: Part) -> Result<Share, Refusal> {
        let mut share = Share::default();
        let Some(mut merge) = Merge::new(access, &block.dimensions, true) else { return Ok(share) };
        for key in merge.slices.keys(block) {
            if !merge.matches(key) {
                continue;
            }
            let mut rows = block.rows(key);
            rows.start += block.rows_until(rows.clone(), self.cells.base);
            while !rows.is_empty() && block.panes[rows.start] <= self.cells.until {
                let (cell, until) = self.cells.stretch(block.panes[rows.start], part);
                let end = rows.start + block.rows_until(rows.clone(), until.min(self.cells.until));
                if let Some(cell) = cell {
                    merge.take(self, &block.states, key, cell, rows.start..end);
                    share.rows += block.weight(rows.start..end);
                    share.events += access.events_in(&block.states, rows.start..end);
                }
                rows.start = end;
            }
            self.check()?;
        }
        Ok(share)
    }
    fn add_as_held(&mut self, access: &Access<'q>, rows: &Rows) -> Result<Share, Refusal> {
        let mut share = Share::default();
        let Some(mut merge) = Merge::new(access, &rows.dimensions, false) else { return Ok(share) };
        let one_code = merge.slices.one_code(&rows.dimensions);
        let mut visit = |row: usize| {
            let pane = rows.panes[row];
            if self.cells.base < pane
                && pane <= self.cells.until
                && merge.matches(row)
                && let (Some(cell), _) = self.cells.stretch(pane, Part::Whole)
            {
                merge.take(self, &rows.states, row, cell, row..row + 1);
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
        if self.groups.len() >= self.weigh_from {
            self.weigh_from = self.groups.len() + WEIGH_EVERY;
            let bytes: usize = self.groups.rows().states.iter().map(States::heap_bytes).sum();
            if bytes > PARTIAL_BYTES_MAX {
                return Err(Refusal::too_large(format!(
                    "the partials of the query's groups take more than {} MiB; ask for fewer dimensions, a shorter range or slices",
                    PARTIAL_BYTES_MAX >> 20
                )));
            }
        }
        if self.groups.len() <= PARTIALS_MAX {
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
        let Scan { query, cells, groups, stop, .. } = self;
        if cells.are_windows() {
            return if groups.len() > POINTS_MAX { Err(too_many()) } else { Ok(groups.into_rows()) };
        }
        let by_key = ByKey::new(groups.into_unsorted(), None);
        let mut out = Groups::like(&Rows::empty(query.dimensions.len(), &kinds(query)));
        let dimensions: Vec<usize> = (0..by_key.dimensions.len()).collect();
        let mut codes = Codes::new(&dimensions, &by_key.dimensions);
        for key in 0..by_key.keys() {
            stop.check()?;
            let rows = by_key.rows(key);
            // The place of a row's cell is its pane.
            let cell = |row: usize| by_key.panes[row].0;
            let rows_before =
                |from: usize, until: i64| (from..rows.end).find(|row| cell(*row) >= until).unwrap_or(rows.end);
            let (mut from, mut to) = (rows.start, rows.start);
            let mut slide = Slide::new(&by_key.states, from);
            let mut window = 0;
            while from < rows.end && window < query.times.count() {
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
                    let at = codes.group(&mut out, &by_key.dimensions, key, query.times.end(window));
                    for part in slide.parts() {
                        out.states_mut().iter_mut().zip(part).for_each(|(to, part)| to.combine_state(at, part));
                    }
                }
                window += 1;
            }
            if out.len() > POINTS_MAX {
                return Err(too_many());
            }
        }
        Ok(out.into_rows())
    }
}

/// What the terms of a query are made of.
fn kinds(query: &Query) -> Vec<StateKind> {
    query.terms.iter().map(Term::kind).collect()
}

impl Access<'_> {
    fn events_in(&self, states: &[States], rows: Range<usize>) -> u64 {
        match self.events.map(|state| &states[state]) {
            Some(States::Count(counts)) => counts[rows].iter().sum(),
            _ => 0,
        }
    }
}

/// What is known of one block while it is merged.
struct Merge<'b> {
    dimensions: &'b [Dimension],
    slices: Slices,
    /// Per term: its conditions, its state in the view, its place in the query, and whether the key or row at hand matches.
    terms: Vec<(Conditions<'b>, usize, usize, bool)>,
    codes: Codes<'b>,
}

impl<'b> Merge<'b> {
    /// `None` when nothing in the block can match.
    fn new(access: &'b Access<'_>, dimensions: &'b [Dimension], by_key: bool) -> Option<Merge<'b>> {
        let (_, first) = access.terms.first()?;
        let slices = Slices::new(first, dimensions, by_key)?;
        let terms = access.terms.iter();
        let terms = terms.map(|(place, term)| (Conditions::new(term, dimensions), term.state, *place, false)).collect();
        Some(Merge { dimensions, slices, terms, codes: Codes::new(&first.dimensions, dimensions) })
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
    /// Merges rows with the key (or row) `i` at hand into their cell.
    #[inline]
    fn take(&mut self, scan: &mut Scan<'_>, states: &[States], i: usize, cell: i64, rows: Range<usize>) {
        let pane = if scan.cells.are_windows() { scan.query.times.end(cell as usize) } else { Timestamp(cell) };
        let to = self.codes.group(&mut scan.groups, self.dimensions, i, pane);
        for (_, state, place, _) in self.terms.iter().filter(|(.., matches)| *matches) {
            scan.groups.states_mut()[*place].combine_all(to, &states[*state], rows.clone());
        }
    }
}

/// The codes of a table of groups by those of what is scanned, each looked up on its first use.
struct Codes<'a> {
    dimensions: &'a [usize],
    known: Vec<Vec<u32>>,
    key: Vec<u32>,
}

impl<'a> Codes<'a> {
    fn new(dimensions: &'a [usize], scanned: &[Dimension]) -> Self {
        let known = dimensions.iter().map(|d| vec![u32::MAX; scanned[*d].values.len()]).collect();
        Codes { dimensions, known, key: vec![0; dimensions.len()] }
    }
    #[inline]
    fn group(&mut self, groups: &mut Groups, scanned: &[Dimension], i: usize, pane: Timestamp) -> usize {
        for (to, &from) in self.dimensions.iter().enumerate() {
            let theirs = scanned[from].codes[i] as usize;
            if self.known[to][theirs] == u32::MAX {
                self.known[to][theirs] = groups.intern(to, &scanned[from].values[theirs]);
            }
            self.key[to] = self.known[to][theirs];
        }
        groups.row(pane, &self.key)
    }
}

#[cfg(test)]
mod tests;
