//! What a query scans of one view, and in which of its roll-ups. Pure but for a cache.
use std::ops::Range;

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{StateDefinition, View};
use seam_shared::view::rows::States;

use super::{Cells, Part, Piece, filter, range};
use crate::block::key::{BlockKey, Shape};
use crate::block::{Block, ByKey, Facts};
use crate::cache::BlockCache;
use crate::query::{Query, Term};

/// Rows of an unsorted block that are passed over in the time that one row takes to be merged.
const UNSORTED_ROWS_FOR_ONE: usize = 8;
/// A scan of more rows than this by key looks for a roll-up.
const ROLL_UP_FROM: usize = 256;
/// Widths of panes in roll-ups.
const WIDTHS: [Span; 6] = [
    Span(5 * Span::MINUTE.0),
    Span(15 * Span::MINUTE.0),
    Span::HOUR,
    Span(6 * Span::HOUR.0),
    Span::DAY,
    Span(7 * Span::DAY.0),
];
/// A cell has so many panes of a width at least, or its edges would be most of it.
const PANES_IN_A_CELL: i64 = 3;
/// Rows of a key from which on a wider pane pays: it costs another look at each key.
const ROWS_OF_A_KEY: usize = 8;

/// What is scanned of one view: the terms that are about it. They have the same slices and dimensions.
pub struct Access<'q> {
    /// The terms, each with its place in the query.
    pub(super) terms: Vec<(usize, &'q Term)>,
    /// The dimensions that matter.
    pub(super) needed: Vec<usize>,
    /// The shortest cell.
    cell: Span,
    /// The view's count of events, if it keeps one.
    events: Option<usize>,
    pub(super) pane: Span,
}

/// The shapes that a block is scanned in, each with the part of it.
type Shapes = Vec<(Shape, Part)>;

impl<'q> Access<'q> {
    /// What `query` asks of a view.
    pub fn new(query: &'q Query, view: &View) -> Access<'q> {
        let about = |(_, term): &(usize, &Term)| term.view.id == view.id;
        let terms: Vec<(usize, &Term)> = query.terms.iter().enumerate().filter(about).collect();
        let mut needed = Vec::with_capacity(view.dimensions.len() * 2);
        for (_, term) in &terms {
            needed.extend(&term.dimensions);
            needed.extend(term.slices.iter().map(|(d, _)| *d));
            needed.extend(term.all_conditions().flat_map(filter::dimensions_of));
        }
        needed.sort_unstable();
        needed.dedup();
        let cell = Cells::new(&query.times).size();
        let events = view.states.iter().position(StateDefinition::counts_events);
        Access { terms, needed, cell, events, pane: view.pane }
    }
    /// The dimensions that matter.
    pub fn needed(&self) -> &[usize] {
        &self.needed
    }
    /// Whether there is anything to scan.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
    /// How many events rows hold.
    #[inline]
    pub(super) fn events_in(&self, states: &[States], rows: Range<usize>) -> u64 {
        match self.events.map(|state| &states[state]) {
            Some(States::Count(counts)) => counts[rows].iter().sum(),
            _ => 0,
        }
    }
    /// About how many rows of a block by key are scanned.
    fn rows(&self, facts: &Facts, (after, until): (Timestamp, Timestamp)) -> usize {
        let Some((_, term)) = self.terms.first() else { return 0 };
        let narrowed: usize = filter::leading(term, |d| facts.values[d]).map(|d| facts.values[d]).product();
        let (first, last) = (facts.span.0.minus(facts.width.unwrap_or(self.pane)), facts.span.1);
        let all = last.0.saturating_sub(first.0).max(1);
        let asked = until.min(last).0.saturating_sub(after.max(first).0).max(0);
        let rows = facts.rows as f64 * (asked as f64 / all as f64);
        (facts.keys + rows as usize) / narrowed.max(1)
    }
    /// The dimensions that matter, as a shape.
    fn narrow(&self) -> Shape {
        Shape { dimensions: self.needed.iter().fold(0, |bits, d| bits | 1 << d), width: None }
    }
    /// The keys that a block has with just those dimensions, and how many rows each of them, at most.
    fn narrowed(&self, facts: &Facts) -> (usize, usize) {
        let values = |d: &usize| facts.values[*d].max(1);
        let keys = self.needed.iter().map(values).fold(1, usize::saturating_mul).min(facts.keys).max(1);
        let pane = facts.width.unwrap_or(self.pane);
        let panes = (facts.span.1.0.saturating_sub(facts.span.0.0) / pane.0) as usize + 1;
        (keys, facts.rows.div_ceil(keys).min(panes))
    }
    /// The shape without other dimensions in which a block is scanned, where that has less than half of its rows.
    pub(super) fn narrow_of(&self, facts: &Facts) -> Option<Shape> {
        let (own, (keys, rows)) = (facts.shape()?, self.narrowed(facts));
        Some(self.narrow()).filter(|narrow| *narrow != own && keys * rows * 2 <= facts.rows)
    }
    /// The shapes in which a block by key is scanned; none for its own rows. Where a cell holds many panes, wider ones of several widths
    /// stand for all but its edges, and narrower ones for the edges of these.
    fn shapes(&self, facts: &Facts, part: Part, range: (Timestamp, Timestamp)) -> Shapes {
        if self.rows(facts, range) <= ROLL_UP_FROM || facts.shape().is_none() {
            return Vec::new();
        }
        let narrow = self.narrow();
        let (mut shapes, mut width, mut part) = (Vec::new(), None, part);
        let (_, mut rows) = self.narrowed(facts);
        let pane = facts.width.unwrap_or(self.pane);
        let fits = |of: Span, wide: &Span| of.0 % wide.0 == 0 && of.0 / wide.0 >= PANES_IN_A_CELL;
        let widths = if part.is_fine() { &WIDTHS[..] } else { &[] };
        for &wide in widths {
            let fits = wide > pane
                && wide.0 % pane.0 == 0
                && wide.0 * PANES_IN_A_CELL <= self.cell.0
                && part.limit().is_none_or(|limit| fits(limit, &wide));
            let merged = (wide.0 / width.unwrap_or(pane).0) as usize;
            if fits && rows >= ROWS_OF_A_KEY && merged > 1 {
                let (inside, edges) = part.split(wide);
                shapes.push((Shape { width, ..narrow }, edges));
                (part, width, rows) = (inside, Some(wide), rows.div_ceil(merged) + 1);
            }
        }
        if width.is_some() || self.narrow_of(facts).is_some() {
            shapes.push((Shape { width, ..narrow }, part));
        }
        shapes
    }
    /// The shapes for a block, if it has a name: one without is not there for long enough.
    pub(super) fn parts_of(&self, block: &ByKey, part: Part, range: (Timestamp, Timestamp)) -> Shapes {
        if block.name.is_some() { self.shapes(&block.facts, part, range) } else { Vec::new() }
    }
    /// The shapes that a part of a block is scanned in, to be made.
    pub fn shapes_of(&self, block: &Block, part: Part, range: (Timestamp, Timestamp)) -> Vec<Shape> {
        let parts = block.by_key().map(|by_key| self.parts_of(by_key, part, range));
        parts.into_iter().flatten().map(|(shape, _)| shape).collect()
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
        let before = pieces.len();
        for (shape, part) in self.shapes(facts, part, range) {
            match cache.held_as(key, shape) {
                Some(block) => pieces.push(Piece { block, part }),
                None => {
                    pieces.truncate(before);
                    break;
                }
            }
        }
        pieces.len() > before
    }
    /// About how much work a scan of `piece` is, in rows by key.
    pub fn effort(&self, query: &Query, Piece { block, part }: &Piece, cache: &BlockCache) -> usize {
        let range = range(query);
        match block.as_ref() {
            _ if block.is_empty() => 0,
            Block::AsHeld(rows) if query.terms.iter().all(|t| t.slices.is_empty()) => rows.len(),
            Block::AsHeld(rows) => rows.len() / UNSORTED_ROWS_FOR_ONE,
            Block::ByKey(by_key) => match self.parts_of(by_key, *part, range).last() {
                None => self.rows(&by_key.facts, range),
                // Of the narrower panes there are only the edges.
                Some((shape, _)) => {
                    let rolled = cache.held_roll_up(block, *shape);
                    let rolled = rolled.as_ref().and_then(|rolled| rolled.by_key());
                    rolled.map_or(block.len(), |rolled| self.rows(&rolled.facts, range) * 2)
                }
            },
        }
    }
}
