//! The raw events behind one cell of an answer: from the archive by files that can hold some, above it from the log.
//!
//! An event counts here by the same verdict, filter, pane and coverage as in the answer, so that there are as many as the cell says.
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use seam_shared::access::Caller;
use seam_shared::event::batch::{EventBatch, Verdict};
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::lake::archive::{ArchiveFile, ArchiveSnapshot, ArchiveTable};
use seam_shared::lake::{archive_file, verified};
use seam_shared::log::{Chunk, Offset, OffsetVector, Partition};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::Source;
use seam_shared::view::value::Value;
use seam_shared::{Error, Kind, Result};

use crate::Serving;
use crate::json::Json;
use crate::pin::pinned::PinnedView;
use crate::query::{Query, Refusal, Term};
use crate::scan;

/// Rows of an answer that names no limit.
pub const LIMIT_DEFAULT: usize = 100;
/// Rows of the largest answer.
pub const LIMIT_MAX: usize = 1_000;
/// Records that are looked at for one answer; then it ends with a cursor.
const RECORDS_MAX: u64 = 2_000_000;
/// Records and bytes of one read of the log.
const CHUNK: (usize, usize) = (16_384, 8 << 20);

/// What is asked of the rows.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The metric's query, of one window.
    pub query: Arc<Query>,
    /// Which of its terms: of a ratio, 0 is the numerator.
    pub term: usize,
    /// The most rows.
    pub limit: usize,
    /// Where to go on.
    pub cursor: Option<Place>,
}

/// Where a page of rows begins, and up to where its answer reaches: what was added since the first page is in none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    partition: u32,
    offset: Offset,
    /// The coverage of every partition.
    until: Vec<Offset>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until: Vec<String> = self.until.iter().map(Offset::to_string).collect();
        write!(f, "{}-{}-{}", self.partition, self.offset, until.join("_"))
    }
}

impl Place {
    /// Reads what [`Place::to_string`] writes.
    pub fn parse(text: &str) -> Option<Place> {
        let mut parts = text.splitn(3, '-');
        let (partition, offset) = (parts.next()?.parse().ok()?, Offset(parts.next()?.parse().ok()?));
        let until = parts.next()?.split('_').map(|offset| offset.parse().map(Offset).ok());
        Some(Place { partition, offset, until: until.collect::<Option<_>>()? })
    }
}

/// One event.
#[derive(Debug, Clone)]
struct Row {
    partition: u32,
    offset: Offset,
    log_time: Timestamp,
    time: Timestamp,
    id: Option<String>,
    payload: Vec<u8>,
}

/// Rows, and how they were found.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<Row>,
    scanned: u64,
    files: u64,
    next: Option<(u32, Offset)>,
}

/// Which events count.
struct Test<'q> {
    query: &'q Query,
    term: &'q Term,
    /// Event times.
    times: Range<Timestamp>,
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

/// Whether a term is of some windows of a count window, or of some partitions.
fn asks_for_count_windows(term: &Term) -> bool {
    let fields = term.view.keys().len();
    let mut asked: Vec<usize> = term.slices.iter().map(|(d, _)| *d).collect();
    term.all_conditions().for_each(|condition| condition.fields(&mut asked));
    asked.iter().any(|d| *d >= fields)
}

/// Whether a value is in the count of its measure: null is not, nor what is no number.
fn is_counted(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Float(number) => number.is_finite(),
        Value::Bool(_) | Value::Str(_) | Value::Int(_) | Value::Decimal(..) => true,
    }
}

impl Serving {
    /// Answers with the raw events that a cell counts.
    ///
    /// # Errors
    /// `Denied` to a caller that may not see everything; `Invalid` for more than one window; `Unavailable` when the log no longer
    /// holds what the archive does not hold yet.
    pub async fn raw_rows(&self, caller: &Caller, asked: &Asked) -> Result<Vec<u8>, Refusal> {
        let query = &asked.query;
        if caller.is_filtered() {
            let denied = Error::new(Kind::Denied, "this key sees some rows only, and raw events hold more than those");
            return Err(denied.into());
        }
        if query.times.count() != 1 {
            let detail = "raw events are those of one window; ask for it with `window` and `at`";
            return Err(Refusal::parameter(if query.times.range.is_some() { "from" } else { "step" }, detail));
        }
        let Some(term) = query.terms.get(asked.term) else {
            return Err(Refusal::parameter("of", "only a ratio has a denominator"));
        };
        if asks_for_count_windows(term) {
            let detail = "which events a count window holds is known from those before them; ask for raw events without a condition on \
                          `partition` or `count_window`";
            return Err(Refusal::parameter("dimension", detail));
        }
        let views = crate::answer::views_of([query.as_ref()]);
        let reading =
            self.read(std::slice::from_ref(query), &views, &[], crate::answer::Extent::Rows, |_| true).await?;
        let of_term = reading.pin.views.iter().find(|view| view.view.id == term.view.id);
        let pinned = of_term.ok_or_else(|| Error::internal("a query's view is not pinned"))?;
        let until = until(pinned, asked.cursor.as_ref())?;
        let (after, end) = scan::range(query);
        let test = Test { query, term, times: after..end };
        let found = self.find(pinned, &test, asked, &until).await?;
        let next = found.next.map(|(partition, offset)| Place { partition, offset, until: until.clone() });
        let mut json = Json::with_capacity(1_024 + found.rows.iter().map(|row| row.payload.len() + 160).sum::<usize>());
        json.open('{').key("metric").text(&query.metric.name).key("window").text(&query.window.to_string());
        json.key("from").time(test.times.start).key("to").time(test.times.end).key("rows").open('[');
        for row in &found.rows {
            write(&mut json, &term.view.source.name, row, pinned);
        }
        json.close(']').key("meta").open('{').key("scanned").number(found.scanned).key("files").number(found.files);
        json.key("limit").number(asked.limit as u64);
        json.key("next").optional_text(next.map(|next| next.to_string()).as_deref());
        let covered = until.iter().zip(0..).map(|(offset, number)| (number, *offset)).collect();
        json.key("coverage").text(&OffsetVector(covered).to_text(&term.view.source.name));
        reading.pin.stamp.write(json.key("stamp"), None);
        json.close('}').close('}');
        Ok(json.into_bytes())
    }

    async fn find(&self, pinned: &PinnedView, test: &Test<'_>, asked: &Asked, until: &[Offset]) -> Result<Found> {
        let source = &test.term.view.source;
        let archive = self.archive(source).await?;
        let snapshot = match &archive {
            Some(table) => Some(table.latest().await?),
            None => None,
        };
        let mut found = Found::default();
        for (number, &end) in (0..).zip(until) {
            let begin = pinned.parts.get(&number).filter(|_| test.query.layer == crate::query::Layer::Speed);
            let mut from = begin.map_or(Offset(0), |part| part.from);
            if let Some(cursor) = &asked.cursor {
                match number.cmp(&cursor.partition) {
                    std::cmp::Ordering::Less => continue,
                    std::cmp::Ordering::Equal => from = from.max(cursor.offset),
                    std::cmp::Ordering::Greater => {}
                }
            }
            if from >= end {
                continue;
            }
            let archived = snapshot.as_ref().and_then(|snapshot| snapshot.position(number)).unwrap_or(Offset(0));
            if let (Some(table), Some(snapshot)) = (&archive, &snapshot) {
                self.in_archive(table, snapshot, test, number, from..end.min(archived), asked.limit, &mut found)
                    .await?;
            }
            if found.next.is_none() && archived < end {
                let archive = archive.as_ref().zip(snapshot.as_ref());
                self.in_log(archive, test, number, archived, from.max(archived)..end, asked.limit, &mut found).await?;
            }
            if found.next.is_some() {
                break;
            }
        }
        Ok(found)
    }

    #[expect(clippy::too_many_arguments, reason = "one partition's part of one search")]
    async fn in_archive(
        &self,
        table: &ArchiveTable,
        snapshot: &ArchiveSnapshot,
        test: &Test<'_>,
        number: u32,
        offsets: Range<Offset>,
        limit: usize,
        found: &mut Found,
    ) -> Result<()> {
        for file in snapshot.files_of(number) {
            if file.to <= offsets.start || file.from >= offsets.end || !test.may_hold(file) {
                continue;
            }
            if found.rows.len() >= limit || found.scanned >= RECORDS_MAX {
                found.next = Some((number, file.from.max(offsets.start)));
                return Ok(());
            }
            let bytes = verified::get(table.store().as_ref(), &file.path, &file.blake3).await?;
            let source = test.term.view.source.clone();
            let decoded = tokio::task::spawn_blocking(move || archive_file::decoded(&source, &bytes)).await;
            let (chunk, batch) =
                decoded.unwrap_or_else(|error| Err(Error::internal("reading failed").because(error)))?;
            found.files += 1;
            found.take(test, number, &chunk, &batch, &offsets, limit);
            if found.next.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one partition's part of one search")]
    async fn in_log(
        &self,
        archive: Option<(&Arc<ArchiveTable>, &Arc<ArchiveSnapshot>)>,
        test: &Test<'_>,
        number: u32,
        archived: Offset,
        offsets: Range<Offset>,
        limit: usize,
        found: &mut Found,
    ) -> Result<()> {
        let source = &test.term.view.source;
        let partition = Partition::new(source.name.as_str(), number);
        let missing = || Error::unavailable(format!("the events of {partition} from {archived} on are out of reach"));
        let log = self.topics.log().ok_or_else(missing)?;
        if found.rows.len() >= limit {
            found.next = Some((number, offsets.start));
            return Ok(());
        }
        let mut duplicates = Duplicates::new(source.duplicates);
        if let Some((table, snapshot)) = archive {
            remember(table, snapshot, number, &mut duplicates).await?;
        }
        let mut decoder = Decoder::new(source.clone());
        // What lies between the archive and the page is read for its ids.
        let mut at = archived;
        while at < offsets.end {
            if found.scanned >= RECORDS_MAX && at >= offsets.start {
                found.next = Some((number, at));
                return Ok(());
            }
            let read = log.read(&partition, at, CHUNK.0, CHUNK.1).await;
            let chunk = read.map_err(|e| if e.kind() == Kind::NotFound { missing().because(e) } else { e })?;
            if chunk.is_empty() {
                return Ok(());
            }
            let mut batch = decoder.decode(&chunk);
            duplicates.mark(&mut batch);
            found.take(test, number, &chunk, &batch, &offsets, limit);
            if found.next.is_some() {
                return Ok(());
            }
            at = chunk.next;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The archive of a source, once there is one.
    async fn archive(&self, source: &Source) -> Result<Option<Arc<ArchiveTable>>> {
        let known = self.archives.lock().unwrap_or_else(PoisonError::into_inner).get(&source.name).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let opened = ArchiveTable::existing(self.lake.clone(), source, self.clock.clone()).await?;
        let table = opened.map(|(table, _)| Arc::new(table));
        if let Some(table) = &table {
            let mut archives = self.archives.lock().unwrap_or_else(PoisonError::into_inner);
            archives.insert(source.name.clone(), table.clone());
        }
        Ok(table)
    }
}

impl Found {
    /// Takes the events that count until there are enough.
    fn take(
        &mut self,
        test: &Test<'_>,
        partition: u32,
        chunk: &Chunk,
        batch: &EventBatch,
        offsets: &Range<Offset>,
        limit: usize,
    ) {
        self.scanned += batch.len() as u64;
        for row in test.matching(batch, offsets) {
            if self.rows.len() >= limit {
                self.next = Some((partition, batch.offsets[row]));
                return;
            }
            self.rows.push(Row {
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

/// How far the rows reach in each partition: as far as the answer, or as far as the first page did.
fn until(pinned: &PinnedView, cursor: Option<&Place>) -> Result<Vec<Offset>, Refusal> {
    let now: Vec<Offset> = pinned.parts.values().map(|part| part.coverage).collect();
    let Some(cursor) = cursor else { return Ok(now) };
    let fits = cursor.until.len() <= now.len() && cursor.until.iter().zip(&now).all(|(then, now)| then <= now);
    if fits {
        return Ok(cursor.until.clone());
    }
    Err(Refusal::parameter("cursor", "this cursor is of another log"))
}

/// Takes in the ids of the archive's last records, which those behind it are compared with.
async fn remember(
    table: &ArchiveTable,
    snapshot: &ArchiveSnapshot,
    number: u32,
    duplicates: &mut Duplicates,
) -> Result<()> {
    let (mut missing, mut needed) = (duplicates.needs(), Vec::new());
    for file in snapshot.files_of(number).iter().rev() {
        if missing == 0 {
            break;
        }
        needed.push(file);
        missing = missing.saturating_sub(file.rows);
    }
    for file in needed.into_iter().rev() {
        let bytes = verified::get(table.store().as_ref(), &file.path, &file.blake3).await?;
        duplicates.remember(&archive_file::read_ids(&bytes)?);
    }
    Ok(())
}

fn write(json: &mut Json, source: &str, row: &Row, pinned: &PinnedView) {
    let cut = pinned.generation.as_ref().map_or(Offset(0), |generation| generation.cut.get(row.partition));
    json.open('{').key("partition").text(&format!("{source}/{}", row.partition)).key("offset").number(row.offset.0);
    json.key("part").text(if row.offset < cut { "batch" } else { "speed" });
    json.key("time").time(row.time).key("received").time(row.log_time).key("id").optional_text(row.id.as_deref());
    json.key("event").verbatim(&row.payload).close('}');
}
