//! One day of a view, recomputed from the archive slice by slice, so that memory is bounded by settings and not by the data.
//!
//! Adjacent slices are computed in one *pass* over the files that touch them, a slice being stored as soon as no later file touches it;
//! passes run side by side. How the slices are shared out among passes makes no difference to their rows.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use seam_shared::error::{Error, Kind, Result};
use seam_shared::lake::archive::ArchiveFile;
use seam_shared::lake::roll_up::{Keep, Narrow, Wide};
use seam_shared::lake::view_file::Writer;
use seam_shared::lake::views::{Generation, ViewFile, ViewTable};
use seam_shared::time::{Span, Timestamp};

use crate::plan::{FileWindows, Fold, Input, Numberer, Slice};

/// What bounds the memory of a recompute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Events of a slice, about. With it the slices of a day, and so the files of a view, change.
    pub slice_rows: u64,
    /// Slices that a pass may hold at a time, if its files allow; does not change any result.
    pub open_slices: usize,
    /// Passes that run side by side; does not change any result.
    pub threads: usize,
    /// Events of a day from which on it has roll-ups; 0: always, whether they pay or not. With it the files of a view change.
    pub roll_up_from: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { slice_rows: 1_000_000, open_slices: 5, threads: 2, roll_up_from: 4_096 }
    }
}

/// The slices of a day with so many events: a pure function of the day's count, so that every run over the same archive cuts
/// the same files. They are equal in length and hold whole panes.
pub fn slices(day: Timestamp, events: u64, pane: Span, settings: Settings) -> Vec<Slice> {
    let panes = Span::DAY.0 / pane.0;
    let wanted = i64::try_from(events.div_ceil(settings.slice_rows.max(1))).unwrap_or(i64::MAX).clamp(1, panes);
    let count = (wanted..=panes).find(|count| panes % count == 0).unwrap_or(panes);
    let length = Span(Span::DAY.0 / count);
    let start = |i: i64| day.plus(Span(i * length.0));
    (0..count).map(|i| Slice { start: start(i), end: start(i + 1) }).collect()
}

/// What a view with a count window is computed from beside the archive: groups of the generation before, and the windows of the
/// events of all files that those do not count yet. Other files are not read.
#[derive(Debug, Default)]
pub struct Counted {
    /// The generation's files.
    before: Vec<ViewFile>,
    /// By path of an archive file.
    windows: BTreeMap<Path, FileWindows>,
}

/// Tells the windows of the events in `new`, which follow those that `base` counts; `None` for a view without a count window. Takes one
/// or two bytes an event of memory, and one counter a key and partition.
///
/// # Errors
/// Those of the store and the plan.
pub async fn counted(
    store: &Arc<dyn ObjectStore>,
    table: &Arc<ViewTable>,
    base: Option<&Generation>,
    mut new: Vec<Arc<ArchiveFile>>,
) -> Result<Option<Counted>> {
    if table.view().count_window.is_none() {
        return Ok(None);
    }
    new.sort_by_key(|file| (file.partition, file.from));
    let partitions: BTreeSet<u32> = new.iter().map(|file| file.partition).collect();
    let ranks = match base {
        Some(base) => table.ranks(base, &partitions.into_iter().collect::<Vec<_>>()).await?,
        None => BTreeMap::new(),
    };
    let before = base.map(|base| base.files.clone()).unwrap_or_default();
    let Some(mut numberer) = Numberer::new(table.view(), ranks) else { return Ok(None) };
    let (store, handle) = (Arc::clone(store), tokio::runtime::Handle::current());
    let numbering = tokio::task::spawn_blocking(move || {
        let mut windows = BTreeMap::new();
        for file in &new {
            let view = Arc::clone(numberer.view());
            let input = handle.block_on(Input::fetch(store.as_ref(), file, &view, Numberer::EVER))?;
            windows.insert(file.path.clone(), numberer.number(&input).map_err(|error| named(error, file))?);
        }
        let bytes: usize = windows.values().map(FileWindows::bytes).sum();
        tracing::debug!(files = windows.len(), bytes, "the events of count windows are numbered");
        Ok(Some(Counted { before, windows }))
    });
    numbering.await.map_err(|error| Error::internal("a recompute ended early").because(error))?
}

/// Computes a day of a view and stores its files, which no generation names yet. `archive` is all files below the cut.
///
/// # Errors
/// Those of the store and the plan; `Corrupt` naming an archive file that is not what the archive's table says.
pub async fn day(
    store: &Arc<dyn ObjectStore>,
    table: &Arc<ViewTable>,
    archive: &[Arc<ArchiveFile>],
    counted: Option<&Arc<Counted>>,
    day: Timestamp,
    settings: Settings,
) -> Result<Vec<ViewFile>> {
    let mut files: Vec<_> = archive.iter().filter(|file| file.days.contains_key(&day)).cloned().collect();
    files.sort_by_key(|file| file.times); // the order of events, whatever their partition
    let events = files.iter().filter_map(|file| file.days.get(&day)).sum();
    let slices = slices(day, events, table.view().pane, settings);
    let threads = settings.threads.max(1);
    let roll_up = match settings.roll_up_from {
        // Whoever reads a keyed view reads keys of it.
        _ if table.view().keyed => None,
        0 => Some(Keep::All),
        from => (events >= from).then_some(Keep::WhatPays),
    };
    let mut passes = Vec::new();
    for share in slices.chunks(slices.len().div_ceil(threads)) {
        share_out(share, &files, settings.open_slices, &mut passes);
    }
    let running = passes.into_iter().enumerate().map(|(i, pass)| {
        let (store, table, counted) = (Arc::clone(store), Arc::clone(table), counted.cloned());
        let files = touching(&files, pass[0].start, pass[pass.len() - 1].end);
        let handle = tokio::runtime::Handle::current();
        // almost all of it is computation
        let work =
            async move { run(store.as_ref(), &table, counted.as_deref(), &files, (&pass, i == 0), roll_up).await };
        let pass = tokio::task::spawn_blocking(move || handle.block_on(work));
        async { pass.await.map_err(|error| Error::internal("a recompute ended early").because(error))? }
    });
    let mut passes = futures::stream::iter(running).buffered(threads);
    let (mut stored, mut wide): (Vec<ViewFile>, Option<Wide>) = (Vec::new(), None);
    while let Some((files, rows)) = passes.try_next().await? {
        stored.extend(files);
        match &mut wide {
            Some(wide) => rows.into_iter().for_each(|rows| wide.append(rows)),
            None => wide = rows,
        }
        wide.as_mut().map_or(Ok(()), Wide::settle)?; // while the next pass is at work
    }
    if let (Some(first), Some(wide)) = (stored.first_mut(), wide) {
        for content in wide.finish()? {
            first.rollups.push(table.put_roll_up(content, day, day.plus(Span::DAY)).await?);
        }
    }
    Ok(stored)
}

/// Halves the slices until a pass over each share holds few enough of them at a time.
fn share_out(slices: &[Slice], files: &[Arc<ArchiveFile>], open_max: usize, passes: &mut Vec<Vec<Slice>>) {
    let (start, end) = (slices[0].start, slices[slices.len() - 1].end);
    let files = touching(files, start, end);
    let completed = completed(slices, &files);
    let mut reached = start;
    let open = files.iter().enumerate().map(|(i, file)| {
        reached = reached.max(file.times.map_or(end, |(_, last)| last));
        let begun = slices.partition_point(|slice| slice.start <= reached);
        begun - completed.partition_point(|&last| last < i).min(begun)
    });
    if slices.len() == 1 || open.max().is_none_or(|open| open <= open_max) {
        passes.push(slices.to_vec());
    } else {
        let (early, late) = slices.split_at(slices.len() / 2);
        share_out(early, &files, open_max, passes);
        share_out(late, &files, open_max, passes);
    }
}

async fn run(
    store: &dyn ObjectStore,
    table: &ViewTable,
    counted: Option<&Counted>,
    files: &[Arc<ArchiveFile>],
    (slices, is_first): (&[Slice], bool),
    roll_up: Option<Keep>,
) -> Result<(Vec<ViewFile>, Option<Wide>)> {
    let span = Slice { start: slices[0].start, end: slices[slices.len() - 1].end };
    let mut fold = Fold::new(Arc::clone(table.view()), span);
    let within = |file: &&ViewFile| file.slice_start < span.end && file.slice_end > span.start;
    for before in counted.iter().flat_map(|counted| &counted.before).filter(within) {
        fold.begin(&table.get(before).await?);
    }
    let (mut stored, mut wide) = (Vec::new(), roll_up.map(|keep| Wide::new(table.view(), keep)));
    let mut writer = Writer::new(table.view());
    let mut open = slices.iter().zip(completed(slices, files)).peekable();
    for (i, file) in files.iter().enumerate() {
        let windows = counted.and_then(|counted| counted.windows.get(&file.path));
        if counted.is_none() || windows.is_some() {
            let input = Input::fetch(store, file, table.view(), span).await?;
            fold.add(&input, windows).map_err(|error| named(error, file))?;
        }
        while let Some((slice, _)) = open.next_if(|(_, last)| *last <= i) {
            let mut narrow = roll_up.map(|keep| Narrow::new(table.view(), keep));
            fold.take(*slice, |rows| {
                wide.iter_mut().for_each(|wide| wide.push(rows));
                narrow.iter_mut().for_each(|narrow| narrow.push(rows));
                writer.push(rows)
            })?;
            if writer.rows() > 0 {
                let rows = writer.rows();
                let mut file = table.put_file(writer.finish()?, rows, slice.start, slice.end).await?;
                if let Some(content) = narrow.map(Narrow::finish).transpose()?.flatten() {
                    file.rollups.push(table.put_roll_up(content, slice.start, slice.end).await?);
                }
                stored.push(file);
            }
            if is_first {
                wide.as_mut().map_or(Ok(()), Wide::settle)?;
            }
        }
    }
    Ok((stored, wide))
}

/// An error that names the file.
fn named(error: Error, file: &ArchiveFile) -> Error {
    match error.kind() {
        Kind::Corrupt => Error::corrupt(format!("file {} cannot be read", file.path)).because(error),
        _ => error,
    }
}

/// For each slice the file with which it and all before it are complete.
fn completed(slices: &[Slice], files: &[Arc<ArchiveFile>]) -> Vec<usize> {
    let last = |slice: &Slice| files.iter().rposition(|file| touches(file, slice.start, slice.end)).unwrap_or(0);
    let mut latest = 0;
    let up_to = |last: usize| {
        latest = latest.max(last);
        latest
    };
    slices.iter().map(last).map(up_to).collect()
}

fn touching(files: &[Arc<ArchiveFile>], start: Timestamp, end: Timestamp) -> Vec<Arc<ArchiveFile>> {
    files.iter().filter(|file| touches(file, start, end)).cloned().collect()
}

fn touches(file: &ArchiveFile, start: Timestamp, end: Timestamp) -> bool {
    file.times.is_none_or(|(first, last)| first < end && last >= start)
}
