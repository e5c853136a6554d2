//! Cells: what windows are unions of. Pure.
use std::ops::Range;

use seam_shared::time::{Span, Timestamp};

use crate::query::Times;

/// Equal stretches of time that windows are unions of: where step and window do not match, both are multiples of a cell.
#[derive(Debug, Clone, Copy)]
pub struct Cells {
    /// The cells lie in `(base, base + size], (base + size, …]`.
    pub base: Timestamp,
    /// The end of the last window.
    pub until: Timestamp,
    size: i64,
    /// Cells from one window's start to the next one's.
    stride: i64,
    /// Cells in a window.
    width: i64,
}

/// Which panes of the cells are looked for in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    Whole,
    /// Those from the first to the last multiple of a width in each cell: a roll-up to that width has them whole.
    Inside(Span),
    /// The others.
    Edges(Span),
}

impl Cells {
    /// The cells of windows with those ends.
    pub fn new(times: &Times, window: Span) -> Cells {
        let (mut size, mut rest) = (window.0, times.step.0);
        while rest != 0 {
            (size, rest) = (rest, size % rest);
        }
        // A step beyond the window leaves gaps: a window is one cell of its own then only if the window divides the step.
        let (stride, width) = (times.step.0 / size, window.0 / size);
        Cells { base: times.first.minus(window), size, stride, width, until: times.last() }
    }
    /// The length of a cell.
    pub fn size(&self) -> Span {
        Span(self.size)
    }
    /// Whether each cell is one window.
    pub fn are_windows(&self) -> bool {
        self.stride == 1 && self.width == 1
    }
    /// The number of the cell that a pane after `base` falls in, if a window has that cell and `part` that pane; and the end
    /// of the stretch of panes of which the same is true.
    #[inline]
    pub fn stretch(&self, pane: Timestamp, part: Part) -> (Option<i64>, Timestamp) {
        let cell = (pane.0 - self.base.0 - 1) / self.size;
        let start = Timestamp(self.base.0 + cell * self.size);
        let end = Timestamp(start.0 + self.size);
        if self.stride > self.width && cell % self.stride >= self.width {
            return (None, end);
        }
        let (Part::Inside(width) | Part::Edges(width)) = part else { return (Some(cell), end) };
        let (first, last) = (start.ceil(width), end.floor(width));
        let (is_inside, until) = match pane {
            _ if pane <= first => (false, first.min(end)),
            _ if pane <= last => (true, last),
            _ => (false, end),
        };
        ((is_inside == matches!(part, Part::Inside(_))).then_some(cell), until)
    }
    /// The numbers of the windows that a cell is part of, of `count` in all.
    pub fn windows(&self, cell: i64, count: usize) -> Range<usize> {
        let first = ((cell - self.width + self.stride) / self.stride).max(0);
        let last = (cell / self.stride).min(count as i64 - 1);
        first as usize..(last + 1).max(first) as usize
    }
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
                let (cell, until) = cells.stretch(Timestamp(pane), Part::Whole);
                let got: Vec<usize> = cell.map_or(Vec::new(), |cell| cells.windows(cell, times.count).collect());
                assert_eq!(got, expected, "window {window} step {step} pane {pane}");
                assert!((pane..=until.0).all(|p| cells.stretch(Timestamp(p), Part::Whole) == (cell, until)));
            }
        }
    }

    #[test]
    fn inside_and_edges_make_up_each_cell() {
        for (window, step, width) in [(20, 20, 5), (17, 17, 4), (8, 12, 3), (4, 4, 4), (3, 3, 8), (20, 6, 2)] {
            let times = Times { first: Timestamp(41), step: Span(step), count: 6, range: None };
            let cells = Cells::new(&times, Span(window));
            for pane in times.first.0 - window + 1..=times.last().0 {
                let of = |part| cells.stretch(Timestamp(pane), part);
                let (whole, _) = of(Part::Whole);
                let (inside, until) = of(Part::Inside(Span(width)));
                let (edges, same) = of(Part::Edges(Span(width)));
                assert_eq!((inside.or(edges), inside.and(edges)), (whole, None));
                assert!(until == same && until.0 >= pane);
                // What is inside is there with the whole pane of the roll-up.
                let coarse = Timestamp(pane).ceil(Span(width));
                let all = (coarse.0 - width + 1..=coarse.0)
                    .all(|p| p > cells.base.0 && cells.stretch(Timestamp(p), Part::Inside(Span(width))).0 == inside);
                assert!(inside.is_none() || all, "window {window} step {step} width {width} pane {pane}");
            }
        }
    }
}
