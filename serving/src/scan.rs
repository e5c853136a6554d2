//! One term's scan over blocks: which rows match, which windows they fall in, and their merged states. Pure.
use std::ops::Range;

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::StateKind;
use seam_shared::view::expression::Expression;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::{Rows, States};
use seam_shared::view::value::Value;

use crate::block::Block;
use crate::query::{PARTIALS_MAX, POINTS_MAX, Query, Refusal, Term, Times};

/// Rows of an unsorted block that are passed over in the time that one row takes to be merged.
const UNSORTED_ROWS_FOR_ONE: usize = 8;

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

/// The cells that windows are unions of: where step and window do not match, both are multiples of a cell.
#[derive(Debug, Clone, Copy)]
struct Cells {
    /// The cells lie in `(base, base + size], (base + size, …]`.
    base: Timestamp,
    size: i64,
    /// Cells from one window's start to the next one's.
    stride: i64,
    /// Cells in a window.
    width: i64,
    until: Timestamp,
}

impl Cells {
    fn new(times: &Times, window: Span) -> Cells {
        let (mut size, mut rest) = (window.0, times.step.0);
        while rest != 0 {
            (size, rest) = (rest, size % rest);
        }
        // A step beyond the window leaves gaps: a window is one cell of its own then only if the window divides the step.
        let (stride, width) = (times.step.0 / size, window.0 / size);
        Cells { base: times.first.minus(window), size, stride, width, until: times.last() }
    }
    /// The number of the cell that a pane falls in, if a window has it.
    fn of(&self, pane: Timestamp) -> Option<i64> {
        let cell = (pane.0 - self.base.0 + self.size - 1) / self.size - 1;
        (self.stride <= self.width || cell % self.stride < self.width).then_some(cell)
    }
    /// The numbers of the windows that a cell is part of, of `count` in all.
    fn windows(&self, cell: i64, count: usize) -> Range<usize> {
        let first = ((cell - self.width + self.stride) / self.stride).max(0);
        let last = (cell / self.stride).min(count as i64 - 1);
        first as usize..(last + 1).max(first) as usize
    }
}

/// The scan of one term.
pub struct Scan<'a> {
    term: &'a Term,
    times: Times,
    cells: Cells,
    /// By cell number (in the place of the pane) and key: the term's state.
    groups: Groups,
    /// The view's count of events, if it keeps one.
    events: Option<usize>,
}

impl<'a> Scan<'a> {
    /// An empty scan.
    pub fn new(query: &Query, term: &'a Term) -> Scan<'a> {
        let events = term.view.states.iter().position(|s| s.kind == StateKind::Count);
        Scan {
            term,
            times: query.times,
            cells: Cells::new(&query.times, query.window),
            groups: Groups::new(term.dimensions.len(), &[term.kind()]),
            events,
        }
    }
    /// The panes that any window can have: those that end in `(after, until]`.
    pub fn range(query: &Query) -> (Timestamp, Timestamp) {
        (query.times.first.minus(query.window), query.times.last())
    }
    /// Merges the rows of `block` that match, and says how much that was.
    ///
    /// # Errors
    /// `TooLarge` when the query has more groups than may be held.
    pub fn add(&mut self, block: &Block) -> Result<Share, Refusal> {
        let mut share = Share::default();
        if block.rows().is_empty() {
            return Ok(share);
        }
        let Some(mut filter) = Filter::new(self.term, block) else { return Ok(share) };
        let rows = block.rows();
        let mut codes = Codes::new(&self.term.dimensions, rows);
        let first = filter.first_code(rows);
        if !block.is_sorted() {
            let mut visit = |row: usize| {
                let pane = rows.panes[row];
                if filter.matches(rows, row)
                    && self.cells.base < pane
                    && pane <= self.cells.until
                    && let Some(cell) = self.cells.of(pane)
                {
                    self.take(rows, row, cell, &mut codes, &mut share);
                }
            };
            match first {
                Some((d, code)) => {
                    let candidates = rows.dimensions[d].codes.iter().enumerate().filter(|(_, c)| **c == code);
                    candidates.for_each(|(row, _)| visit(row));
                }
                None => (0..rows.len()).for_each(visit),
            }
            return self.check().map(|()| share);
        }
        for (pane, range) in block.panes(self.cells.base, self.cells.until) {
            let Some(cell) = self.cells.of(pane) else { continue };
            for row in filter.narrow(block, range) {
                if filter.matches(rows, row) {
                    self.take(rows, row, cell, &mut codes, &mut share);
                }
            }
            self.check()?;
        }
        Ok(share)
    }
    /// Merges one row into its cell.
    #[inline]
    fn take(&mut self, rows: &Rows, row: usize, cell: i64, codes: &mut Codes<'_>, share: &mut Share) {
        let at = codes.group(&mut self.groups, rows, row, Timestamp(cell));
        self.groups.states_mut()[0].combine(at, &rows.states[self.term.state], row);
        share.rows += 1;
        if let Some(States::Count(counts)) = self.events.map(|s| &rows.states[s]) {
            share.events += counts[row];
        }
    }
    fn check(&self) -> Result<(), Refusal> {
        if self.groups.len() <= PARTIALS_MAX {
            return Ok(());
        }
        Err(Refusal::too_large(format!(
            "the query needs more than {PARTIALS_MAX} partial groups; ask for fewer dimensions, a shorter range or slices"
        )))
    }
    /// About how much work [`Scan::add`] of a block is, in rows of a sorted block.
    pub fn effort(query: &Query, term: &Term, block: &Block) -> usize {
        let rows = block.rows();
        if rows.is_empty() {
            return 0;
        }
        if !block.is_sorted() {
            return if term.slices.is_empty() { rows.len() } else { rows.len() / UNSORTED_ROWS_FOR_ONE };
        }
        let (after, until) = Scan::range(query);
        let (mut from, mut to, mut panes) = (None, 0, 0);
        for (_, range) in block.panes(after, until) {
            from = from.or(Some(range.start));
            (to, panes) = (range.end, panes + 1);
        }
        let leading = term.slices.iter().enumerate().take_while(|(i, (d, values))| i == d && values.len() == 1);
        let narrowed: usize = leading.map(|(_, (d, _))| rows.dimensions[*d].values.len().max(1)).product();
        panes + (to - from.unwrap_or(to)) / narrowed
    }
    /// The merged states by window (its end in the place of the pane) and key, in canonical order.
    ///
    /// # Errors
    /// `TooLarge` when there are more points than may be computed.
    pub fn finish(self) -> Result<Rows, Refusal> {
        let Scan { times, cells, groups, term, .. } = self;
        let cell_rows = groups.into_unsorted();
        let mut out = Groups::new(term.dimensions.len(), &[term.kind()]);
        let dimensions: Vec<usize> = (0..term.dimensions.len()).collect();
        let mut codes = Codes::new(&dimensions, &cell_rows);
        for row in 0..cell_rows.len() {
            for window in cells.windows(cell_rows.panes[row].0, times.count) {
                let at = codes.group(&mut out, &cell_rows, row, times.at(window));
                out.states_mut()[0].combine(at, &cell_rows.states[0], row);
            }
            if out.len() > POINTS_MAX {
                return Err(Refusal::too_large(format!(
                    "the query has more than {POINTS_MAX} points; ask for fewer dimensions, a longer step or slices"
                )));
            }
        }
        Ok(out.into_rows())
    }
}

/// The codes of a table of groups by those of the rows that are scanned, each looked up on its first use.
struct Codes<'a> {
    dimensions: &'a [usize],
    known: Vec<Vec<u32>>,
    key: Vec<u32>,
}

impl<'a> Codes<'a> {
    fn new(dimensions: &'a [usize], rows: &Rows) -> Self {
        let values = |&d: &usize| rows.dimensions.get(d).map_or(0, |dimension| dimension.values.len());
        let known = dimensions.iter().map(|d| vec![u32::MAX; values(d)]).collect();
        Codes { dimensions, known, key: vec![0; dimensions.len()] }
    }
    #[inline]
    fn group(&mut self, groups: &mut Groups, rows: &Rows, row: usize, pane: Timestamp) -> usize {
        for (to, &from) in self.dimensions.iter().enumerate() {
            let theirs = rows.dimensions[from].codes[row] as usize;
            if self.known[to][theirs] == u32::MAX {
                self.known[to][theirs] = groups.intern(to, &rows.dimensions[from].values[theirs]);
            }
            self.key[to] = self.known[to][theirs];
        }
        groups.row(pane, &self.key)
    }
}

/// A term's slices and conditions in the codes of one block.
struct Filter<'a> {
    /// The leading dimensions that are sliced to one value each: found by binary search.
    leading: Vec<u32>,
    /// Per leading dimension, where its rows were found last.
    hints: Vec<(usize, usize)>,
    /// Other sliced dimensions and their codes, sorted.
    sliced: Vec<(usize, Vec<u32>)>,
    /// Conditions over one dimension, by code; filled as codes are met.
    by_code: Vec<(usize, &'a Expression, Vec<Option<bool>>)>,
    /// Conditions over several dimensions.
    others: Vec<&'a Expression>,
}

impl<'a> Filter<'a> {
    /// `None` when no row of the block can match.
    fn new(term: &'a Term, block: &Block) -> Option<Filter<'a>> {
        let mut filter = Filter {
            leading: Vec::new(),
            hints: Vec::new(),
            sliced: Vec::new(),
            by_code: Vec::new(),
            others: Vec::new(),
        };
        for (d, values) in &term.slices {
            let codes = block.codes(*d, values);
            match codes[..] {
                [] => return None,
                [code] if block.is_sorted() && *d == filter.leading.len() => filter.leading.push(code),
                _ => filter.sliced.push((*d, codes)),
            }
        }
        for condition in &term.conditions {
            for part in conjuncts(condition) {
                match only_dimension(part) {
                    Some(d) => filter.by_code.push((d, part, vec![None; block.rows().dimensions[d].values.len()])),
                    None => filter.others.push(part),
                }
            }
        }
        filter.hints = vec![(0, 0); filter.leading.len()];
        Some(filter)
    }
    /// The one code of the dimension that leaves the fewest rows, as far as its dictionary tells.
    fn first_code(&self, rows: &Rows) -> Option<(usize, u32)> {
        let single =
            self.sliced.iter().filter_map(|(d, codes)| Some((*d, *codes.first().filter(|_| codes.len() == 1)?)));
        single.max_by_key(|(d, _)| rows.dimensions[*d].values.len())
    }
    /// The rows of one pane that have the leading values.
    fn narrow(&mut self, block: &Block, range: Range<usize>) -> Range<usize> {
        let leading = self.leading.iter().zip(&mut self.hints).enumerate();
        leading.fold(range, |range, (d, (code, hint))| block.narrow(range, d, *code, hint))
    }
    #[inline]
    fn matches(&mut self, rows: &Rows, row: usize) -> bool {
        let code = |d: usize| rows.dimensions[d].codes[row];
        let is_one_of = |codes: &[u32], code: u32| match codes {
            [only] => *only == code,
            codes => codes.binary_search(&code).is_ok(),
        };
        self.sliced.iter().all(|(d, codes)| is_one_of(codes, code(*d)))
            && self.by_code.iter_mut().all(|(d, condition, known)| {
                let code = code(*d) as usize;
                *known[code].get_or_insert_with(|| {
                    condition.matches(&|_| rows.dimensions[*d].values[code].clone()) == Some(true)
                })
            })
            && self.others.iter().all(|condition| condition.matches(&|d| rows.value(d, row).clone()) == Some(true))
    }
}

/// The parts that must all be true.
fn conjuncts(condition: &Expression) -> Vec<&Expression> {
    match condition {
        Expression::And(parts) => parts.iter().flat_map(conjuncts).collect(),
        Expression::Compare(..)
        | Expression::In(..)
        | Expression::IsNull(_)
        | Expression::Not(_)
        | Expression::Or(_) => vec![condition],
    }
}

/// The dimension that a condition is about, if it is about one.
fn only_dimension(condition: &Expression) -> Option<usize> {
    let all_same = |parts: &[Expression]| {
        let first = only_dimension(parts.first()?)?;
        parts.iter().all(|part| only_dimension(part) == Some(first)).then_some(first)
    };
    match condition {
        Expression::Compare(d, ..) | Expression::In(d, _) | Expression::IsNull(d) => Some(*d),
        Expression::Not(part) => only_dimension(part),
        Expression::And(parts) | Expression::Or(parts) => all_same(parts),
    }
}

/// The value of dimension `d` in each of `rows`, for a key.
pub fn key_of(rows: &Rows, row: usize) -> Vec<Value> {
    (0..rows.dimensions.len()).map(|d| rows.value(d, row).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_make_up_exactly_the_windows() {
        for (window, step) in [(5, 5), (5, 1), (5, 2), (6, 4), (2, 5), (3, 7), (10, 4), (1, 1), (4, 6)] {
            let times = Times { first: Timestamp(40), step: Span(step), count: 6, range: None };
            let cells = Cells::new(&times, Span(window));
            for pane in 40 - window + 1..=times.last().0 {
                let expected: Vec<usize> =
                    (0..times.count).filter(|&i| times.at(i).0 - window < pane && pane <= times.at(i).0).collect();
                let got: Vec<usize> =
                    cells.of(Timestamp(pane)).map_or(Vec::new(), |cell| cells.windows(cell, times.count).collect());
                assert_eq!(got, expected, "window {window} step {step} pane {pane}");
            }
        }
    }
}
