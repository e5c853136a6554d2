//! Cells: what windows are unions of. Pure.
use std::ops::Range;

use seam_shared::time::{Span, Timestamp};

use crate::block::ByKey;
use crate::query::{Times, Windows, divisor};

/// Stretches of time that windows are unions of, in time: between any two neighbours no window begins or ends.
#[derive(Debug, Clone)]
pub struct Cells {
    /// The cells lie after this.
    pub base: Timestamp,
    /// The end of the last window.
    pub until: Timestamp,
    grid: Grid,
}

#[derive(Debug, Clone)]
enum Grid {
    /// Cells of one size from `base` on. Where step and window do not match, both are multiples of a cell.
    Even {
        size: i64,
        /// Cells from one window's start to the next one's.
        stride: i64,
        /// Cells in a window.
        width: i64,
    },
    /// Cell `i` lies in `(edges[i], edges[i + 1]]`.
    Listed {
        edges: Vec<Timestamp>,
        /// The cells of each window.
        windows: Vec<Range<i64>>,
    },
}

/// Which panes of the cells are looked for in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Only those from the first to the last multiple of this in each cell: a roll-up to that width has them whole.
    inside: Option<Span>,
    /// Not those from the first to the last multiple of this; one of `inside`.
    outside: Option<Span>,
}

impl Part {
    /// All of them.
    pub const WHOLE: Part = Part { inside: None, outside: None };
    /// Those from the first to the last multiple of a width in each cell.
    pub const fn inside(width: Span) -> Part {
        Part { inside: Some(width), outside: None }
    }
    /// The others.
    pub const fn edges(width: Span) -> Part {
        Part { inside: None, outside: Some(width) }
    }
    /// Of these panes, those that a roll-up to `width` has whole, and the others.
    pub fn split(self, width: Span) -> (Part, Part) {
        (Part { inside: Some(width), ..self }, Part { outside: Some(width), ..self })
    }
    /// The width that begins where these panes end, if they are not all panes of a cell.
    pub fn limit(self) -> Option<Span> {
        self.outside
    }
    /// Whether all panes count, up to a limit.
    pub fn is_fine(self) -> bool {
        self.inside.is_none()
    }
}

impl Cells {
    /// The cells of windows.
    pub fn new(times: &Times) -> Cells {
        let (base, until) = times.span();
        let grid = match &times.windows {
            Windows::Even { step, length, .. } => {
                // A step beyond the window leaves gaps: a window is one cell of its own then only if the window divides the step.
                let size = divisor(length.0, step.0);
                Grid::Even { size, stride: step.0 / size, width: length.0 / size }
            }
            Windows::Listed(list) => {
                let mut edges: Vec<Timestamp> = list.iter().flat_map(|&(start, end)| [start, end]).collect();
                edges.sort_unstable();
                edges.dedup();
                let place = |edge: Timestamp| edges.partition_point(|other| *other < edge) as i64;
                let windows = list.iter().map(|&(start, end)| place(start)..place(end)).collect();
                Grid::Listed { edges, windows }
            }
        };
        Cells { base, until, grid }
    }
    /// Their numbers are below this.
    pub fn count(&self) -> usize {
        match &self.grid {
            Grid::Even { size, .. } => ((self.until.0 - self.base.0) / size) as usize,
            Grid::Listed { edges, .. } => edges.len().saturating_sub(1),
        }
    }
    /// The length of the shortest cell.
    pub fn size(&self) -> Span {
        match &self.grid {
            Grid::Even { size, .. } => Span(*size),
            Grid::Listed { edges, .. } => Span(edges.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap_or(1)),
        }
    }
    /// The ends of cells after `start` and before `end`, in time; `None` if there are more than `most`.
    pub fn edges_inside(&self, start: Timestamp, end: Timestamp, most: usize) -> Option<Vec<Timestamp>> {
        let is_inside = |edge: &Timestamp| start < *edge && *edge < end;
        let edges: Vec<Timestamp> = match &self.grid {
            Grid::Even { size, .. } => {
                let first = (start.0 - self.base.0).div_euclid(*size).max(-1) + 1;
                let edges = (first..).map(|i| Timestamp(self.base.0 + i * size));
                edges.take_while(|edge| *edge < end && *edge <= self.until).filter(is_inside).take(most + 1).collect()
            }
            Grid::Listed { edges, .. } => {
                let from = edges.partition_point(|edge| *edge <= start);
                edges[from..].iter().copied().take_while(is_inside).take(most + 1).collect()
            }
        };
        (edges.len() <= most).then_some(edges)
    }
    /// Whether each cell is one window.
    pub fn are_windows(&self) -> bool {
        match &self.grid {
            Grid::Even { stride, width, .. } => *stride == 1 && *width == 1,
            Grid::Listed { windows, .. } => (0..).zip(windows).all(|(i, cells)| *cells == (i..i + 1)),
        }
    }
    /// The number of the cell that a pane after `base` falls in, if a window has that cell and `part` that pane; and the end
    /// of the stretch of panes of which the same is true.
    #[inline]
    pub fn stretch(&self, pane: Timestamp, part: Part) -> (Option<i64>, Timestamp) {
        let (cell, start, end) = match &self.grid {
            Grid::Even { size, .. } => {
                let cell = (pane.0 - self.base.0 - 1) / size;
                let start = Timestamp(self.base.0 + cell * size);
                (cell, start, Timestamp(start.0 + size))
            }
            Grid::Listed { edges, .. } => {
                let cell = edges.partition_point(|edge| *edge < pane) - 1;
                (cell as i64, edges[cell], edges[cell + 1])
            }
        };
        if !self.is_in_a_window(cell) {
            return (None, end);
        }
        if part == Part::WHOLE {
            return (Some(cell), end);
        }
        // The panes after `first` up to `last`; none of them where no multiple lies in the cell, or one.
        let between = |width: Span| (start.ceil(width), end.floor(width));
        let wide = part.inside.map_or((start, end), between);
        let out = part.outside.map_or((end, end), between);
        // Five stretches follow each other, the second and the fourth of which count.
        let last = wide.1.max(wide.0);
        let bounds = [(wide.0, false), (out.0.min(last), true), (out.1.min(last), false), (wide.1, true), (end, false)];
        let (until, counts) = bounds.into_iter().find(|(until, _)| pane <= *until).unwrap_or((end, false));
        (counts.then_some(cell), until.min(end))
    }
    /// The stretches of time, each after the first moment up to the second, in which panes of `part` fall in a cell, of panes that end from
    /// the first moment to the last; `None` if there are more than `most`.
    pub fn few(
        &self,
        (first, last): (Timestamp, Timestamp),
        part: Part,
        most: usize,
    ) -> Option<Vec<(i64, Timestamp, Timestamp)>> {
        let (mut after, end) = (self.base.max(Timestamp(first.0.saturating_sub(1))), self.until.min(last));
        let mut out = Vec::new();
        // Between any two that count there are few that do not.
        for _ in 0..most * 4 {
            if after >= end {
                return Some(out);
            }
            let (cell, until) = self.stretch(Timestamp(after.0 + 1), part);
            let until = until.min(end);
            out.extend(cell.map(|cell| (cell, after, until)));
            if out.len() > most {
                return None;
            }
            after = until;
        }
        None
    }
    /// Which of the rows of a key, counted from its first one, fall in which cell.
    pub fn stretches(&self, block: &ByKey, rows: Range<usize>, part: Part, out: &mut Vec<(i64, Range<usize>)>) {
        out.clear();
        let first = rows.start;
        let mut rows = rows.start + block.rows_until(rows.clone(), self.base)..rows.end;
        // Most cells have as many rows as the one before.
        let mut near = 1;
        while !rows.is_empty() && block.panes[rows.start] <= self.until {
            let (cell, until) = self.stretch(block.panes[rows.start], part);
            near = block.rows_until_near(&rows, until.min(self.until), near);
            let end = rows.start + near;
            if let Some(cell) = cell {
                out.push((cell, rows.start - first..end - first));
            }
            rows.start = end;
        }
    }
    #[inline]
    fn is_in_a_window(&self, cell: i64) -> bool {
        match &self.grid {
            Grid::Even { stride, width, .. } => stride <= width || cell % stride < *width,
            Grid::Listed { windows, .. } => windows.get(self.first_window(cell)).is_some_and(|w| w.contains(&cell)),
        }
    }
    /// The number of the first window that ends with a cell or after it.
    pub fn first_window(&self, cell: i64) -> usize {
        match &self.grid {
            Grid::Even { stride, width, .. } => ((cell - width + stride) / stride).max(0) as usize,
            Grid::Listed { windows, .. } => windows.partition_point(|window| window.end <= cell),
        }
    }
    /// The cells of a window.
    pub fn of_window(&self, window: usize) -> Range<i64> {
        match &self.grid {
            Grid::Even { stride, width, .. } => stride * window as i64..stride * window as i64 + width,
            Grid::Listed { windows, .. } => windows[window].clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(window: i64, step: i64, first: i64) -> Times {
        Times::even(Timestamp(first), Span(step), Span(window), 6)
    }
    fn listed(windows: &[(i64, i64)]) -> Times {
        let list = windows.iter().map(|&(start, end)| (Timestamp(start), Timestamp(end)));
        Times { windows: Windows::Listed(list.collect()), ..even(1, 1, 1) }
    }

    #[test]
    fn cells_make_up_exactly_the_windows() {
        let evens =
            [(5, 5), (5, 1), (5, 2), (6, 4), (2, 5), (3, 7), (10, 4), (1, 1), (4, 6)].map(|(w, s)| even(w, s, 40));
        let lists = [
            listed(&[(3, 10), (10, 30), (30, 31)]),
            listed(&[(3, 10), (3, 20), (3, 31), (31, 35), (31, 40)]),
            listed(&[(1, 8), (4, 11), (15, 22), (16, 30)]),
            listed(&[]),
        ];
        for times in evens.into_iter().chain(lists) {
            let (times, cells) = (&times, &Cells::new(&times));
            let (base, until) = times.span();
            assert_eq!((cells.base, cells.until), (base, until));
            for pane in base.0 + 1..=until.0 {
                let has = |i: &usize| times.start(*i).0 < pane && pane <= times.end(*i).0;
                let expected: Vec<usize> = (0..times.count()).filter(has).collect();
                let (cell, until) = cells.stretch(Timestamp(pane), Part::WHOLE);
                let of = |cell: i64| (0..times.count()).filter(move |i| cells.of_window(*i).contains(&cell));
                let got: Vec<usize> = cell.map_or(Vec::new(), |cell| of(cell).collect());
                assert_eq!(got, expected, "{times:?} pane {pane}");
                assert_eq!(cell.map(|cell| cells.first_window(cell)), expected.first().copied());
                assert!((pane..=until.0).all(|p| cells.stretch(Timestamp(p), Part::WHOLE) == (cell, until)));
            }
        }
    }

    #[test]
    fn inside_and_edges_make_up_each_cell() {
        let evens = [(20, 20, 5), (17, 17, 4), (8, 12, 3), (4, 4, 4), (3, 3, 8), (20, 6, 2)];
        let evens = evens.map(|(window, step, width)| (even(window, step, 41), width));
        let lists = [(listed(&[(3, 10), (10, 30), (30, 31)]), 4), (listed(&[(1, 8), (4, 11), (15, 22), (16, 30)]), 3)];
        for (times, width) in evens.into_iter().chain(lists) {
            let cells = Cells::new(&times);
            for pane in cells.base.0 + 1..=cells.until.0 {
                let of = |part| cells.stretch(Timestamp(pane), part);
                let (whole, _) = of(Part::WHOLE);
                let (inside, until) = of(Part::inside(Span(width)));
                let (edges, same) = of(Part::edges(Span(width)));
                assert_eq!((inside.or(edges), inside.and(edges)), (whole, None));
                assert!(whole.is_none() || until == same && until.0 >= pane);
                for part in [Part::WHOLE, Part::inside(Span(width)), Part::edges(Span(width))] {
                    let few = cells.few((Timestamp(cells.base.0 - 5), cells.until), part, 1_000).expect("few");
                    let has = |(_, after, until): &&(i64, Timestamp, Timestamp)| after.0 < pane && pane <= until.0;
                    let mut of_pane = few.iter().filter(has).map(|(cell, ..)| *cell);
                    assert_eq!((of_pane.next(), of_pane.next()), (cells.stretch(Timestamp(pane), part).0, None));
                }
                // What is inside is there with the whole pane of the roll-up.
                let coarse = Timestamp(pane).ceil(Span(width));
                let is_there = |p: &i64| {
                    (cells.base.0 < *p && *p <= cells.until.0)
                        && cells.stretch(Timestamp(*p), Part::inside(Span(width))).0 == inside
                };
                assert!(
                    inside.is_none() || (coarse.0 - width + 1..=coarse.0).all(|p| is_there(&p)),
                    "{times:?} width {width} pane {pane}"
                );
            }
        }
    }

    #[test]
    fn a_chain_of_widths_has_each_pane_once_and_whole() {
        let evens = [(40, 40), (17, 17), (55, 12), (24, 30), (7, 7)].map(|(window, step)| even(window, step, 61));
        let lists = [listed(&[(3, 40), (40, 90), (90, 91)]), listed(&[(1, 58), (4, 61), (75, 122), (76, 130)])];
        for (times, (narrow, wide)) in evens.into_iter().chain(lists).flat_map(|t| [(t.clone(), (2, 8)), (t, (3, 15))])
        {
            let cells = Cells::new(&times);
            for limit in [None, Some(Span(wide * 3))] {
                let all = limit.map_or(Part::WHOLE, Part::edges);
                let (inside, edges) = all.split(Span(narrow));
                let (widest, between) = inside.split(Span(wide));
                for pane in cells.base.0 + 1..=cells.until.0 {
                    let of = |part| cells.stretch(Timestamp(pane), part);
                    let found = [(edges, 1), (between, narrow), (widest, wide)].map(|(part, width)| {
                        let (cell, until) = of(part);
                        assert!(until.0 >= pane && of(part).0 == cells.stretch(until, part).0);
                        // The whole pane of that width is there.
                        let end = Timestamp(pane).ceil(Span(width)).0;
                        let is_there = |p: &i64| {
                            cells.base.0 < *p && *p <= cells.until.0 && cells.stretch(Timestamp(*p), part).0 == cell
                        };
                        assert!(cell.is_none() || (end - width + 1..=end).all(|p| is_there(&p)), "{times:?} {pane}");
                        cell
                    });
                    let expected: Vec<i64> = of(all).0.into_iter().collect();
                    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), expected, "{times:?} {pane}");
                }
            }
        }
    }

    #[test]
    fn contiguous_buckets_are_cells() {
        assert!(Cells::new(&listed(&[(3, 10), (10, 30), (30, 31)])).are_windows());
        assert!(!Cells::new(&listed(&[(3, 10), (12, 30)])).are_windows());
        assert!(!Cells::new(&listed(&[(3, 10), (3, 30)])).are_windows());
        assert_eq!(Cells::new(&listed(&[(3, 10), (10, 30), (30, 31)])).size(), Span(1));
    }
}
