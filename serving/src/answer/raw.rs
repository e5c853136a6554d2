//! The raw events behind one cell of an answer: from the archive by files that can hold some, above it from the log, or the tail where
//! that has forgotten them.
//!
//! An event counts here by the same verdict, filter, pane and coverage as in the answer, so that there are as many as the cell says.
mod search;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use seam_shared::access::Caller;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lock::lock;
use seam_shared::log::tiered::TieredLog;
use seam_shared::log::{EventLog, Offset, OffsetVector};
use seam_shared::view::definition::Source;
use seam_shared::{Error, Kind, Result};

use self::search::{Archived, Row, Search, Test};
use crate::Serving;
use crate::json::Json;
use crate::pin::pinned::PinnedView;
use crate::query::{Layer, Query, Refusal, Term};
use crate::scan;

/// Rows of an answer that names no limit.
pub const LIMIT_DEFAULT: usize = 100;
/// Rows of the largest answer.
pub const LIMIT_MAX: usize = 1_000;

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
    /// Where to go on in a partition that begins at `begin`; nowhere if it was on an earlier page.
    fn begin(&self, partition: u32, begin: Offset) -> Option<Offset> {
        match partition.cmp(&self.partition) {
            Ordering::Less => None,
            Ordering::Equal => Some(begin.max(self.offset)),
            Ordering::Greater => Some(begin),
        }
    }
}

/// Whether a term is of some windows of a count window, or of some partitions.
fn asks_for_count_windows(term: &Term) -> bool {
    let fields = term.view.keys().len();
    let mut asked: Vec<usize> = term.slices.iter().map(|(d, _)| *d).collect();
    term.all_conditions().for_each(|condition| condition.fields(&mut asked));
    asked.iter().any(|d| *d >= fields)
}

impl Serving {
    /// Answers with the raw events that a cell counts.
    ///
    /// # Errors
    /// `Denied` to a caller that may not see everything; `Invalid` for more than one window; `Unavailable` when the log no longer
    /// holds what neither archive nor tail hold yet.
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
        let test = Test { term, times: after..end };
        let archived = self.archived(term).await?;
        let log = self.topics.log().map(|log| tiered(log, &term.view.source.name, archived.as_ref()));
        let mut search = Search::new(&test, asked.limit, log, archived);
        for (number, &end) in (0..).zip(&until) {
            let begin = pinned.parts.get(&number).filter(|_| query.layer == Layer::Speed);
            let begin = begin.map_or(Offset(0), |part| part.from);
            let from = asked.cursor.as_ref().map_or(Some(begin), |cursor| cursor.begin(number, begin));
            if let Some(from) = from.filter(|from| *from < end) {
                search.look(number, from..end).await?;
            }
        }
        let found = search.found;
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

    /// What is archived of a term's source, once there is an archive.
    async fn archived(&self, term: &Term) -> Result<Option<Archived>> {
        let Some(table) = self.archive(&term.view.source).await? else { return Ok(None) };
        let snapshot = table.latest().await?;
        Ok(Some(Archived { table, snapshot }))
    }

    /// The archive of a source, once there is one.
    async fn archive(&self, source: &Source) -> Result<Option<Arc<ArchiveTable>>> {
        let known = lock(&self.archives).get(&source.name).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let opened = ArchiveTable::existing(self.lake.clone(), source, self.clock.clone()).await?;
        let table = opened.map(|(table, _)| Arc::new(table));
        if let Some(table) = &table {
            let mut archives = lock(&self.archives);
            archives.insert(source.name.clone(), table.clone());
        }
        Ok(table)
    }
}

/// The log with what is archived and kept of a source below: it may have forgotten what lies above A, or what was archived just now.
fn tiered(log: &Arc<dyn EventLog>, source: &str, archived: Option<&Archived>) -> Arc<dyn EventLog> {
    let tables = archived.map(|archived| (source.to_owned(), archived.table.clone()));
    Arc::new(TieredLog::new(log.clone(), tables.into_iter().collect()))
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

fn write(json: &mut Json, source: &str, row: &Row, pinned: &PinnedView) {
    let cut = pinned.generation.as_ref().map_or(Offset(0), |generation| generation.cut.get(row.partition));
    json.open('{').key("partition").text(&format!("{source}/{}", row.partition)).key("offset").number(row.offset.0);
    json.key("part").text(if row.offset < cut { "batch" } else { "speed" });
    json.key("time").time(row.time).key("received").time(row.log_time).key("id").optional_text(row.id.as_deref());
    json.key("event").verbatim(&row.payload).close('}');
}
