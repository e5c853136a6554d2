//! What a view needs of an archive file, fetched and verified: a footer and some column chunks.
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use seam_shared::error::{Error, Result};
use seam_shared::lake::archive::ArchiveFile;
use seam_shared::lake::sealed::SealedFile;
use seam_shared::lake::{archive_file, verified};
use seam_shared::view::definition::View;
use seam_shared::view::expression::Expression;

use super::decode::Chunk;
use super::{Slice, values};

/// The verified parts of an archive file that a view needs.
#[derive(Debug)]
pub struct Input {
    file: SealedFile,
    /// The row groups that may hold events of the span.
    groups: Vec<usize>,
    /// The columns of the file that are here.
    columns: Vec<usize>,
    /// Their chunks, group by group.
    chunks: Vec<Bytes>,
    /// Whether every row's verdict is `counts`, so that nobody need look.
    pub(super) all_count: bool,
    /// The partition that all its events are of.
    pub(super) partition: u32,
    /// Whether every event lies within the span.
    pub(super) all_within: bool,
}

impl Input {
    /// Fetches what `view` needs of the events in `span`.
    ///
    /// # Errors
    /// `Corrupt` naming the file when a part of it is not what the archive's table says; those of the store.
    pub async fn fetch(store: &dyn ObjectStore, archived: &ArchiveFile, view: &View, span: Slice) -> Result<Input> {
        let file = SealedFile::open(store, &archived.path, archived.bytes, &archived.footer).await?;
        let holds = |field: usize| archive_file::holds(file.metadata(), &view.source.fields[field]);
        if fields(view).into_iter().all(holds) {
            return Input::cut(store, file, archived, view, span).await;
        }
        // It was written before the source had these fields: its payloads are decoded as they would be now.
        let bytes = verified::get(store, &archived.path, &archived.blake3).await?;
        let written = archive_file::rewritten(&view.source, archived.partition, &bytes)?;
        let (memory, length) = (InMemory::new(), written.bytes.len() as u64);
        memory.put(&archived.path, written.bytes.into()).await.map_err(Error::from)?;
        let file = SealedFile::open(&memory, &archived.path, length, &written.footer).await?;
        Input::cut(&memory, file, archived, view, span).await
    }

    async fn cut(
        store: &dyn ObjectStore,
        file: SealedFile,
        archived: &ArchiveFile,
        view: &View,
        span: Slice,
    ) -> Result<Input> {
        let all_count = archived.days.values().sum::<u64>() == archived.rows;
        let all_within = archived.times.is_some_and(|(first, last)| first >= span.start && last < span.end);
        let mut names = vec!["seam_time"];
        if !all_count {
            names.push("seam_verdict");
        }
        if values::needs_offsets(view) {
            names.push("seam_offset");
        }
        names.extend(fields(view).into_iter().map(|field| view.source.fields[field].name.as_str()));
        let columns = names.into_iter().map(|name| file.column(name)).collect::<Result<Vec<_>>>()?;
        let all = file.metadata().row_groups().iter().enumerate();
        let groups: Vec<usize> = all.filter(|(_, group)| may_hold(group, columns[0], span)).map(|(i, _)| i).collect();
        let wanted: Vec<_> =
            groups.iter().flat_map(|&group| columns.iter().map(move |&column| (group, column))).collect();
        let chunks = file.chunks(store, &wanted).await?;
        Ok(Input { file, groups, columns, chunks, all_count, partition: archived.partition, all_within })
    }
    /// How many row groups are here.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }
    /// How many events the row group has.
    pub fn rows(&self, group: usize) -> usize {
        usize::try_from(self.file.metadata().row_group(self.groups[group]).num_rows()).unwrap_or(0)
    }
    /// A column of a row group.
    ///
    /// # Errors
    /// `Corrupt` if the file has none of that name, `Internal` if it was not fetched.
    pub fn chunk(&self, group: usize, name: &str) -> Result<Chunk<'_>> {
        let column = self.file.column(name)?;
        let place = self.columns.iter().position(|&have| have == column);
        let place = place.ok_or_else(|| Error::internal(format!("column {name} was not fetched")))?;
        let bytes = &self.chunks[group * self.columns.len() + place];
        Ok(Chunk {
            bytes,
            was: self.file.metadata().row_group(self.groups[group]).column(column),
            rows: self.rows(group),
        })
    }
}

/// The filters of the view and of its states, and what these take back.
pub fn conditions(view: &View) -> impl Iterator<Item = &Expression> {
    let of_states = view.states.iter().flat_map(|state| [&state.filter, &state.retract]);
    view.filter.iter().chain(of_states.filter_map(|condition| condition.as_deref()))
}

/// The fields that the view reads.
fn fields(view: &View) -> Vec<usize> {
    let mut fields: Vec<usize> =
        view.keys().iter().map(|d| d.field).chain(view.states.iter().filter_map(|s| s.field)).collect();
    conditions(view).for_each(|condition| condition.fields(&mut fields));
    fields.sort_unstable();
    fields.dedup();
    fields
}

fn may_hold(group: &RowGroupMetaData, time: usize, span: Slice) -> bool {
    match group.column(time).statistics() {
        Some(Statistics::Int64(times)) => {
            times.min_opt().is_none_or(|&min| min < span.end.0)
                && times.max_opt().is_none_or(|&max| max >= span.start.0)
        }
        _ => true,
    }
}
