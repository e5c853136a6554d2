//! One day of a view, recomputed from the archive slice by slice, so that memory is bounded by settings and not by the data.
use std::collections::VecDeque;
use std::sync::Arc;

use object_store::ObjectStore;
use seam_shared::error::{Error, Result};
use seam_shared::lake::archive::ArchiveFile;
use seam_shared::lake::verified;
use seam_shared::lake::views::{ViewFile, ViewTable};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;

use crate::plan::{self, Input, Slice};

/// What bounds the memory of a recompute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Events of a slice, about. With it the slices of a day, and so the files of a view, change.
    pub slice_rows: u64,
    /// Rows of the archive files that one plan reads; does not change any result.
    pub plan_rows: u64,
    /// Bytes of archive files kept between slices.
    pub cache_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { slice_rows: 2_000_000, plan_rows: 3_000_000, cache_bytes: 256 << 20 }
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

/// Archive files by path, verified once and kept while there is room.
#[derive(Debug)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    kept: VecDeque<(Arc<ArchiveFile>, Input)>,
    room: u64,
}

impl Files {
    /// An empty cache of so many bytes.
    pub fn new(store: Arc<dyn ObjectStore>, room: u64) -> Files {
        Files { store, kept: VecDeque::new(), room }
    }
    /// The file, from the cache or the store.
    ///
    /// # Errors
    /// `Corrupt` naming the file when it is not what the archive's table says.
    pub async fn get(&mut self, file: &Arc<ArchiveFile>) -> Result<Input> {
        if let Some(at) = self.kept.iter().position(|(kept, _)| kept.path == file.path)
            && let Some(found) = self.kept.remove(at)
        {
            let input = found.1.clone();
            self.kept.push_back(found);
            return Ok(input);
        }
        let bytes = verified::get(self.store.as_ref(), &file.path, &file.blake3).await?;
        let input = Input::new(bytes, file.days.values().sum::<u64>() == file.rows);
        self.kept.push_back((Arc::clone(file), input.clone()));
        while self.kept.iter().map(|(kept, _)| kept.bytes).sum::<u64>() > self.room && self.kept.len() > 1 {
            self.kept.pop_front();
        }
        Ok(input)
    }
}

/// Computes a day of a view and stores its files, which no generation names yet. `archive` is all files below the cut.
///
/// # Errors
/// Those of the store and the plan.
pub async fn day(
    table: &ViewTable,
    archive: &[Arc<ArchiveFile>],
    day: Timestamp,
    cache: &mut Files,
    settings: Settings,
) -> Result<Vec<ViewFile>> {
    let events = archive.iter().filter_map(|file| file.days.get(&day)).sum();
    let mut out = Vec::new();
    for slice in slices(day, events, table.view().pane, settings) {
        let rows = rows(table.view(), archive, day, slice, cache, settings).await?;
        if !rows.is_empty() {
            out.push(table.put(&rows, slice.start, slice.end).await?);
        }
    }
    Ok(out)
}

async fn rows(
    view: &Arc<View>,
    archive: &[Arc<ArchiveFile>],
    day: Timestamp,
    slice: Slice,
    cache: &mut Files,
    settings: Settings,
) -> Result<Rows> {
    let touches = |file: &&Arc<ArchiveFile>| {
        let reaches = |(first, last): (Timestamp, Timestamp)| first < slice.end && last >= slice.start;
        file.days.contains_key(&day) && file.times.is_none_or(reaches)
    };
    let files: Vec<&Arc<ArchiveFile>> = archive.iter().filter(touches).collect();
    let mut parts = Vec::new();
    let (mut inputs, mut read) = (Vec::new(), 0);
    for (i, file) in files.iter().enumerate() {
        inputs.push(cache.get(file).await?);
        read += file.rows;
        if i + 1 == files.len() || read + files[i + 1].rows > settings.plan_rows {
            let (view, inputs) = (Arc::clone(view), std::mem::take(&mut inputs));
            let part = tokio::task::spawn_blocking(move || plan::compute_files(&view, &inputs, slice)).await;
            parts.push(part.map_err(|error| Error::internal("a recompute ended early").because(error))??);
            read = 0;
        }
    }
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    parts.iter().for_each(|part| groups.merge(part));
    Ok(groups.into_rows())
}
