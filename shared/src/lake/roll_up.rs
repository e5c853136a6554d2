//! Roll-ups: rows of a generation merged into fewer, by the same algebra. They lie beside the files that they are made of, so that a
//! question over weeks reads days and not panes.
//!
//! Of a day there are its groups by hour and by day; of a slice its panes without the dimension that has most values. Which of them are
//! kept is a function of the rows alone, so that every run over the same archive makes the same files. No roll-up is an `add` of the
//! table: whoever reads the table as a Delta table counts each event once. The first file of what a roll-up is of names it in its tags.
use std::collections::VecDeque;

use bytes::Bytes;
use object_store::path::Path;
use serde_json::{Value as Json, json};

use crate::error::Result;
use crate::lake::view_file::{self, Writer};
use crate::time::{Span, Timestamp};
use crate::view::definition::{StateDefinition, StateKind, View};
use crate::view::groups::Groups;
use crate::view::groups::rolled::Rolled;
use crate::view::rows::{Rows, States};

/// A roll-up is kept if it has no more than one row for so many.
const PAYS_FROM: u64 = 2;
/// Without a dimension, one row must stand for so many: the panes are as many as before.
const PAYS_FROM_WITHOUT: u64 = 4;

/// What a roll-up keeps of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level {
    /// The width of its panes.
    pub width: Span,
    /// The dimension that it lacks: all its values are null.
    pub without: Option<usize>,
}

/// The file of a roll-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollUp {
    /// Its path in the store.
    pub path: Path,
    /// Its content hash.
    pub blake3: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// What it keeps.
    pub level: Level,
    /// It is made of the panes that end after this …
    pub start: Timestamp,
    /// … and at this or before.
    pub end: Timestamp,
}

/// Which roll-ups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those that have few rows beside what they are made of.
    WhatPays,
    /// All of them.
    All,
}

impl Keep {
    fn pays(self, rows: u64, factor: u64, of: u64) -> bool {
        self == Keep::All || rows * factor <= of
    }
}

/// What is to be a roll-up's file.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// What it keeps.
    pub level: Level,
    /// The file.
    pub bytes: Bytes,
    /// Its rows.
    pub rows: u64,
}

/// The widths of the roll-ups of days of a view with such panes.
pub fn widths(pane: Span) -> impl Iterator<Item = Span> {
    [Span::HOUR, Span::DAY].into_iter().filter(move |width| *width > pane && width.0 % pane.0 == 0)
}

/// A view as its roll-ups have it: wider panes, and a last state that counts the rows that each row stands for.
pub fn view_of(view: &View, width: Span) -> View {
    let mut rolled = view.clone();
    rolled.pane = width;
    rolled.keyed = false;
    rolled.states.push(StateDefinition::new(StateKind::Count, None));
    rolled
}

/// The rows of a roll-up's file, and how many rows of the view each of them stands for.
///
/// # Errors
/// `Corrupt` if the bytes are no such file.
pub fn read(view: &View, level: Level, bytes: &Bytes) -> Result<(Rows, States)> {
    let mut rows = view_file::read(&view_of(view, level.width), bytes)?;
    let weights = rows.states.pop().unwrap_or(States::Count(Vec::new()));
    Ok((rows, weights))
}

fn empty(view: &View) -> Rolled {
    Rolled::new(view.dimensions.len(), &view.kinds())
}

/// The panes of a slice without a dimension, while its rows come in canonical order.
#[derive(Debug)]
pub struct Narrow {
    view: View,
    keep: Keep,
    state: NarrowState,
    rows: u64,
}

#[derive(Debug)]
enum NarrowState {
    Unknown,
    Folding(usize, Box<Rolled>),
    DoesNotPay,
}

impl Narrow {
    /// No rows yet.
    pub fn new(view: &View, keep: Keep) -> Narrow {
        Narrow { view: view_of(view, view.pane), keep, state: NarrowState::Unknown, rows: 0 }
    }
    /// The next rows. The first ones say which dimension has most values.
    pub fn push(&mut self, rows: &Rows) {
        self.rows += rows.len() as u64;
        if matches!(self.state, NarrowState::Unknown) {
            let used = |d: usize| {
                let mut used = rows.dimensions[d].codes.clone();
                used.sort_unstable();
                used.dedup();
                used.len()
            };
            self.state = match (0..rows.dimensions.len()).max_by_key(|d| used(*d)) {
                Some(without) => NarrowState::Folding(without, Box::new(empty(&self.view))),
                None => NarrowState::DoesNotPay,
            };
        }
        if let NarrowState::Folding(without, groups) = &mut self.state {
            groups.merge(rows, 0..rows.len(), self.view.pane, Some(*without));
            if !self.keep.pays(groups.len() as u64, PAYS_FROM_WITHOUT, self.rows) {
                self.state = NarrowState::DoesNotPay;
            }
        }
    }
    /// The roll-up, if it pays.
    ///
    /// # Errors
    /// `Internal` if the rows were not the view's.
    pub fn finish(self) -> Result<Option<Content>> {
        let NarrowState::Folding(without, groups) = self.state else { return Ok(None) };
        let (level, rows) = (Level { width: self.view.pane, without: Some(without) }, groups.into_rows());
        let bytes = view_file::write(&self.view, &rows)?.bytes;
        Ok(Some(Content { level, bytes, rows: rows.len() as u64 }))
    }
}

/// The groups of a part of a day by its shortest width, while its rows come in the order of panes. What is complete is kept sorted and
/// packed until it is written.
#[derive(Debug)]
pub struct Wide {
    view: View,
    keep: Keep,
    width: Option<Span>,
    open: Option<(Timestamp, Rolled)>,
    packed: VecDeque<(Timestamp, Vec<u8>)>,
    rows: u64,
    /// How many groups the pane before had: the next one may have as many.
    before: usize,
    /// What is packed or written already, by the next width.
    wider: Option<(View, Rolled)>,
    /// Once something is written.
    file: Option<Writer>,
}

impl Wide {
    /// No rows yet.
    pub fn new(view: &View, keep: Keep) -> Wide {
        let width = widths(view.pane).next();
        let wider = widths(view.pane).nth(1).map(|wider| {
            let view = view_of(view, wider);
            let groups = empty(&view);
            (view, groups)
        });
        let view = view_of(view, width.unwrap_or(view.pane));
        Wide { view, keep, width, open: None, packed: VecDeque::new(), rows: 0, before: 0, wider, file: None }
    }
    /// The next rows.
    pub fn push(&mut self, rows: &Rows) {
        self.rows += rows.len() as u64;
        let Some(width) = self.width else { return };
        let mut from = 0;
        while from < rows.len() {
            let end = rows.panes[from].ceil(width);
            let to = from + rows.panes[from..].partition_point(|pane| *pane <= end);
            if self.open.as_ref().is_none_or(|(open, _)| *open != end) {
                self.pack();
            }
            let (_, groups) = self.open.get_or_insert_with(|| {
                let mut groups = empty(&self.view);
                groups.reserve(self.before);
                (end, groups)
            });
            groups.merge(rows, from..to, width, None);
            from = to;
        }
    }
    /// What follows it in time, of which nothing is written yet.
    pub fn append(&mut self, mut next: Wide) {
        self.pack();
        next.pack();
        self.rows += next.rows;
        self.packed.append(&mut next.packed);
        if let (Some((view, groups)), Some((_, more))) = (&mut self.wider, next.wider) {
            let rows = more.into_unsorted();
            groups.merge(&rows, 0..rows.len(), view.pane, None);
        }
    }
    /// Writes what is complete of a day's beginning, so that it need not be kept. What follows may go on with the last group of panes.
    ///
    /// # Errors
    /// `Internal` if the rows were not the view's.
    pub fn settle(&mut self) -> Result<()> {
        let packed = self.packed.back().map(|(end, _)| *end);
        let last = self.open.as_ref().map(|(end, _)| *end).or(packed);
        self.write(|end| Some(end) != last)
    }
    /// The roll-ups of the day that pay.
    ///
    /// # Errors
    /// As [`Wide::settle`].
    pub fn finish(mut self) -> Result<Vec<Content>> {
        self.pack();
        self.write(|_| true)?;
        let (Some(width), Some(mut file)) = (self.width, self.file) else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        let mut finer = self.rows;
        let rows = file.rows();
        if self.keep.pays(rows, PAYS_FROM, finer) {
            out.push(Content { level: Level { width, without: None }, bytes: file.finish()?.bytes, rows });
            finer = rows;
        }
        if let Some((view, groups)) = self.wider
            && self.keep.pays(groups.len() as u64, PAYS_FROM, finer)
        {
            let rows = groups.into_rows();
            let level = Level { width: view.pane, without: None };
            out.push(Content { level, bytes: view_file::write(&view, &rows)?.bytes, rows: rows.len() as u64 });
        }
        Ok(out)
    }

    /// Writes the panes that come first as long as they are `complete`.
    fn write(&mut self, complete: impl Fn(Timestamp) -> bool) -> Result<()> {
        while let Some((end, bytes)) = self.packed.pop_front_if(|(end, _)| complete(*end)) {
            let mut rows = Rows::decode(&bytes)?;
            // Two passes may have met in the middle of an hour.
            if self.packed.front().is_some_and(|(next, _)| *next == end) {
                let mut both = Groups::like(&rows);
                both.merge(&rows);
                while let Some((_, more)) = self.packed.pop_front_if(|(next, _)| *next == end) {
                    both.merge(&Rows::decode(&more)?);
                }
                rows = both.into_rows();
            }
            self.file.get_or_insert_with(|| Writer::new(&self.view)).push(&rows)?;
        }
        Ok(())
    }
    fn pack(&mut self) {
        if let Some((end, groups)) = self.open.take() {
            self.before = groups.len();
            let rows = groups.into_rows();
            if let Some((view, groups)) = &mut self.wider {
                groups.merge(&rows, 0..rows.len(), view.pane, None);
            }
            self.packed.push_back((end, rows.encode()));
        }
    }
}

/// Roll-ups as a tag of the file that names them; their paths are relative.
pub fn to_tag(rollups: &[RollUp]) -> String {
    let each = rollups.iter().map(|rollup| {
        json!({
            "path": rollup.path.filename(),
            "blake3": rollup.blake3,
            "bytes": rollup.bytes,
            "rows": rollup.rows,
            "width": rollup.level.width.0,
            "without": rollup.level.without,
            "start": rollup.start.0,
            "end": rollup.end.0,
        })
    });
    Json::Array(each.collect()).to_string()
}

/// Roll-ups from such a tag, their files in `folder`; `None` if it is none.
pub fn from_tag(tag: &str, folder: &Path) -> Option<Vec<RollUp>> {
    let Json::Array(all) = serde_json::from_str(tag).ok()? else { return None };
    let one = |each: &Json| {
        let text = |key: &str| each.get(key)?.as_str();
        let number = |key: &str| each.get(key)?.as_i64();
        let count = |key: &str| each.get(key)?.as_u64();
        let without = match each.get("without")? {
            Json::Null => None,
            d => Some(usize::try_from(d.as_u64()?).ok()?),
        };
        Some(RollUp {
            path: folder.clone().join(text("path")?),
            blake3: text("blake3")?.to_owned(),
            bytes: count("bytes")?,
            rows: count("rows")?,
            level: Level { width: Span(number("width")?), without },
            start: Timestamp(number("start")?),
            end: Timestamp(number("end")?),
        })
    };
    all.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
