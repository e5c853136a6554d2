//! Finds the events of one cell: in the archive by files that can hold some, above it in the log.
use std::ops::Range;
use std::sync::Arc;

use seam_shared::event::batch::{EventBatch, Verdict};
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::lake::archive::{ArchiveFile, ArchiveSnapshot, ArchiveTable};
use seam_shared::lake::{archive_file, verified};
use seam_shared::log::{Chunk, EventLog, Offset, Partition};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::value::Value;
use seam_shared::{Error, Kind, Result};

use crate::query::Term;

/// Records that are looked at for one answer; then it ends with a cursor.
const RECORDS_MAX: u64 = 2_000_000;
/// Records and bytes of one read of the log.
const CHUNK: (usize, usize) = (16_384, 8 << 20);

/// One event.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) partition: u32,
    pub(super) offset: Offset,
    pub(super) log_time: Timestamp,
    pub(super) time: Timestamp,
    pub(super) id: Option<String>,
    pub(super) payload: Vec<u8>,
}

/// Rows, and how they were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    /// Records that were looked at, and files that they were in.
    pub(super) scanned: u64,
    pub(super) files: u64,
    /// Where to go on, if there may be more.
    pub(super) next: Option<(u32, Offset)>,
}

/// Which events count.
pub(super) struct Test<'q> {
    pub(super) term: &'q Term,
    /// Event times.
    pub(super) times: Range<Timestamp>,
}

impl Test<'_> {
    /// The places in a batch of the events that count, among those with an offset in the range.
    fn matching(&self, batch: &EventBatch, offsets: &Range<Offset>) -> Vec<usize> {
        let view = &self.term.view;
        let state = &view.states[self.term.state];
        let filtered = view.filter.as_ref().map(|filter| filter.filter(batch));
        let counts = |row: &usize| {
            let row = *row;
            if batch.verdicts[row] != Verdict::Counts
                || !offsets.contains(&batch.offsets[row])
                || !self.times.contains(&batch.times[row])
                || filtered.as_ref().is_some_and(|filtered| !filtered[row])
            {
                return false;
            }
            let dimension = |d: usize| batch.value(view.dimensions[d].field, row);
            let sliced = self.term.slices.iter().all(|(d, values)| values.contains(&dimension(*d)));
            sliced
                && self.term.all_conditions().all(|condition| condition.matches(&dimension) == Some(true))
                && state.passes(&|field| batch.value(field, row))
                && state.field.is_none_or(|field| is_counted(&batch.value(field, row)))
        };
        (0..batch.len()).filter(counts).collect()
    }
    /// Whether a file of the archive can hold such events.
    fn may_hold(&self, file: &ArchiveFile) -> bool {
        let in_times = file.times.is_some_and(|(first, last)| first < self.times.end && last >= self.times.start);
        let days = self.times.start.floor(Span::DAY)..self.times.end;
        in_times && file.days.iter().any(|(day, rows)| *rows > 0 && days.contains(day))
    }
}

/// Whether a value is in the count of its measure: null is not, nor what is no number.
fn is_counted(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Float(number) => number.is_finite(),
        Value::Bool(_) | Value::Str(_) | Value::Int(_) | Value::Decimal(..) => true,
    }
}

/// A source's archive, as it is now.
pub(super) struct Archived {
    pub(super) table: Arc<ArchiveTable>,
    pub(super) snapshot: Arc<ArchiveSnapshot>,
}

/// A search through partition after partition, until there are enough rows.
pub(super) struct Search<'q> {
    test: &'q Test<'q>,
    /// The most rows.
    limit: usize,
    log: Option<Arc<dyn EventLog>>,
    archive: Option<Archived>,
    /// What it has come to.
    pub(super) found: Found,
}

impl<'q> Search<'q> {
    pub(super) fn new(
        test: &'q Test<'q>,
        limit: usize,
        log: Option<Arc<dyn EventLog>>,
        archive: Option<Archived>,
    ) -> Search<'q> {
        Search { test, limit, log, archive, found: Found::default() }
    }

    /// Looks at a partition's records, unless there are enough rows already.
    pub(super) async fn look(&mut self, number: u32, offsets: Range<Offset>) -> Result<()> {
        let archived = self.archive.as_ref().and_then(|archive| archive.snapshot.position(number));
        let archived = archived.unwrap_or(Offset(0));
        if self.found.next.is_none() {
            self.in_archive(number, offsets.start..offsets.end.min(archived)).await?;
        }
        if self.found.next.is_none() && archived < offsets.end {
            self.in_log(number, archived, offsets.start.max(archived)..offsets.end).await?;
        }
        Ok(())
    }

    async fn in_archive(&mut self, number: u32, offsets: Range<Offset>) -> Result<()> {
        let Some(Archived { table, snapshot }) = &self.archive else { return Ok(()) };
        let (store, snapshot) = (table.store().clone(), snapshot.clone());
        for file in snapshot.files_of(number) {
            if file.to <= offsets.start || file.from >= offsets.end || !self.test.may_hold(file) {
                continue;
            }
            if self.found.rows.len() >= self.limit || self.found.scanned >= RECORDS_MAX {
                self.found.next = Some((number, file.from.max(offsets.start)));
                return Ok(());
            }
            let bytes = verified::get(store.as_ref(), &file.path, &file.blake3).await?;
            let source = self.test.term.view.source.clone();
            let decoded = tokio::task::spawn_blocking(move || archive_file::decoded(&source, &bytes)).await;
            let (chunk, batch) =
                decoded.unwrap_or_else(|error| Err(Error::internal("reading failed").because(error)))?;
            self.found.files += 1;
            self.take(number, &chunk, &batch, &offsets);
            if self.found.next.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn in_log(&mut self, number: u32, archived: Offset, offsets: Range<Offset>) -> Result<()> {
        let source = &self.test.term.view.source;
        let partition = Partition::new(source.name.as_str(), number);
        let missing = || Error::unavailable(format!("the events of {partition} from {archived} on are out of reach"));
        let log = self.log.clone().ok_or_else(missing)?;
        if self.found.rows.len() >= self.limit {
            self.found.next = Some((number, offsets.start));
            return Ok(());
        }
        let mut duplicates = match &self.archive {
            Some(Archived { table, snapshot }) => table.duplicates(snapshot, number, source.duplicates).await?,
            None => Duplicates::new(source.duplicates),
        };
        let mut decoder = Decoder::new(source.clone());
        // What lies between the archive and the page is read for its ids.
        let mut at = archived;
        while at < offsets.end {
            if self.found.scanned >= RECORDS_MAX && at >= offsets.start {
                self.found.next = Some((number, at));
                return Ok(());
            }
            let read = log.read(&partition, at, CHUNK.0, CHUNK.1).await;
            let chunk = read.map_err(|e| if e.kind() == Kind::NotFound { missing().because(e) } else { e })?;
            if chunk.is_empty() {
                return Ok(());
            }
            let mut batch = decoder.decode(&chunk);
            duplicates.mark(&mut batch);
            self.take(number, &chunk, &batch, &offsets);
            if self.found.next.is_some() {
                return Ok(());
            }
            at = chunk.next;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Takes the events that count until there are enough.
    fn take(&mut self, partition: u32, chunk: &Chunk, batch: &EventBatch, offsets: &Range<Offset>) {
        let found = &mut self.found;
        found.scanned += batch.len() as u64;
        for row in self.test.matching(batch, offsets) {
            if found.rows.len() >= self.limit {
                found.next = Some((partition, batch.offsets[row]));
                return;
            }
            found.rows.push(Row {
                partition,
                offset: batch.offsets[row],
                log_time: batch.log_times[row],
                time: batch.times[row],
                id: batch.ids.get(row).map(str::to_owned),
                payload: chunk.get(row).value.to_vec(),
            });
        }
    }
}
