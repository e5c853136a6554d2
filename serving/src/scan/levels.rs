//! Which files of a generation a question reads: of each day the coarsest roll-up that has its cells whole. Pure.
use seam_shared::lake::roll_up::{Level, RollUp};
use seam_shared::lake::views::{Generation, ViewFile};
use seam_shared::time::{Span, Timestamp};

use crate::scan::{Cells, Part};

/// More ends of cells in a day than hours and pieces of hours can have.
const EDGES_MAX: usize = 32;

/// A file to read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice<'g> {
    /// Its path in the store.
    pub path: &'g object_store::path::Path,
    /// Its content hash.
    pub blake3: &'g str,
    /// Its rows.
    pub rows: u64,
    /// What it is a roll-up to; `None` for the view's own rows.
    pub level: Option<Level>,
    /// Which of its panes count.
    pub part: Part,
}

impl<'g> Choice<'g> {
    /// A file of the view's own rows, whole.
    pub fn whole(file: &'g ViewFile) -> Choice<'g> {
        let ViewFile { path, blake3, rows, .. } = file;
        Choice { path, blake3, rows: *rows, level: None, part: Part::WHOLE }
    }
    /// A roll-up, whole.
    pub fn rolled(rollup: &'g RollUp) -> Choice<'g> {
        let RollUp { path, blake3, rows, level, .. } = rollup;
        Choice { path, blake3, rows: *rows, level: Some(*level), part: Part::WHOLE }
    }
}

/// The files of a generation that hold panes ending in `(after, until]`.
pub fn files_in(generation: &Generation, (after, until): (Timestamp, Timestamp)) -> &[ViewFile] {
    // Slices follow each other in time.
    let from = generation.files.partition_point(|file| file.slice_end <= after);
    let to = generation.files.partition_point(|file| file.slice_start < until);
    generation.files.get(from..to).unwrap_or_default()
}

/// The files of a generation for a question with these cells, to which the dimensions matter that are `needed`.
pub fn choose<'g>(generation: &'g Generation, cells: &Cells, needed: &[usize]) -> Vec<Choice<'g>> {
    let mut files = files_in(generation, (cells.base, cells.until));
    let mut out = Vec::with_capacity(files.len().min(EDGES_MAX));
    while let Some(first) = files.first() {
        let next = day_of(first).plus(Span::DAY);
        let (of_day, others) = files.split_at(files.partition_point(|file| file.slice_start < next));
        files = others;
        let fine = of_day.iter().map(|file| narrow(file, needed));
        match coarse(generation, cells, of_day, needed) {
            Some(coarse) if pays(&coarse, of_day, fine.clone()) => out.extend(coarse),
            _ => out.extend(fine),
        }
    }
    out
}

/// Whether a day's roll-ups have fewer rows than what they stand for. One roll-up has fewer than the files, but not always fewer than these
/// have without a dimension.
fn pays<'g>(coarse: &[Choice<'_>], of_day: &[ViewFile], fine: impl Iterator<Item = Choice<'g>> + Clone) -> bool {
    let has_narrow = of_day.iter().any(|file| !file.rollups.is_empty()) && fine.clone().any(|c| c.level.is_some());
    coarse.len() == 1 && !has_narrow || coarse.iter().map(|c| c.rows).sum::<u64>() <= fine.map(|c| c.rows).sum()
}

/// All files of a generation with where they begin, those of a level in time.
pub fn all(generation: &Generation) -> Vec<(Timestamp, Choice<'_>)> {
    let mut out = Vec::with_capacity(generation.files.len());
    for file in &generation.files {
        out.push((file.slice_start, Choice::whole(file)));
        out.extend(file.rollups.iter().map(|rollup| (rollup.start, Choice::rolled(rollup))));
    }
    out
}

fn day_of(file: &ViewFile) -> Timestamp {
    file.slice_start.floor(Span::DAY)
}

/// The file, or its panes without a dimension that does not matter.
fn narrow<'g>(file: &'g ViewFile, needed: &[usize]) -> Choice<'g> {
    let fits = |rollup: &&RollUp| rollup.level.without.is_some_and(|d| !needed.contains(&d));
    file.rollups.iter().find(fits).map_or_else(|| Choice::whole(file), Choice::rolled)
}

/// The roll-ups of a day in the place of some of its files, where no cell ends within it, or few do within an hour.
fn coarse<'g>(
    generation: &'g Generation,
    cells: &Cells,
    of_day: &'g [ViewFile],
    needed: &[usize],
) -> Option<Vec<Choice<'g>>> {
    let day = day_of(of_day.first()?);
    let first = &generation.files[generation.files.partition_point(|file| file.slice_start < day)];
    let width = |width: Span| {
        first.rollups.iter().find(move |rollup| rollup.level == Level { width, without: None } && rollup.start == day)
    };
    let (days, hours) = (width(Span::DAY), width(Span::HOUR));
    days.or(hours)?;
    let edges = cells.edges_inside(day, day.plus(Span::DAY), EDGES_MAX)?;
    if let Some(rollup) = days.filter(|_| edges.is_empty()) {
        return Some(vec![Choice::rolled(rollup)]);
    }
    let hours = hours?;
    let cut: Vec<Timestamp> = edges.into_iter().filter(|edge| edge.0 % Span::HOUR.0 != 0).collect();
    if cut.is_empty() {
        return Some(vec![Choice::rolled(hours)]);
    }
    // Where no hour is whole, its panes are all there is.
    let is_whole = |hour: Timestamp| {
        let next = hour.plus(Span::HOUR);
        cells.base <= hour && next <= cells.until && !cut.iter().any(|edge| hour < *edge && *edge < next)
    };
    if !(0..24).any(|hour| is_whole(day.plus(Span(hour * Span::HOUR.0)))) {
        return None;
    }
    let is_cut = |file: &&ViewFile| {
        let touches =
            |edge: &Timestamp| edge.floor(Span::HOUR) < file.slice_end && edge.ceil(Span::HOUR) > file.slice_start;
        cut.iter().any(touches)
    };
    let pieces =
        of_day.iter().filter(is_cut).map(|file| Choice { part: Part::edges(Span::HOUR), ..narrow(file, needed) });
    let inside = Choice { part: Part::inside(Span::HOUR), ..Choice::rolled(hours) };
    Some(std::iter::once(inside).chain(pieces).collect())
}
