//! Pages: the rows of one answer in pieces. All are of one generation and one vector, as they are cut from one list that is kept.
use std::ops::Range;
use std::sync::Arc;

use seam_shared::Kind;

use crate::json::Json;
use crate::pin::stamp::{Shares, Stamp};
use crate::present::table::{Notes, Table};
use crate::present::{Points, figures};
use crate::query::{Complete, Cursor, Format, Query, Refusal, Zone};

/// Bytes of lists that are kept for their further pages.
pub const PAGES_BYTES: usize = 64 * 1024 * 1024;

/// All rows of an answer, and what else its pages say.
#[derive(Debug)]
pub struct Page {
    /// What was asked.
    pub query: Arc<Query>,
    /// The rows.
    pub points: Points,
    /// What each view put into it.
    pub shares: Vec<Shares>,
    /// Its stamp.
    pub stamp: Arc<Stamp>,
    /// The tag of the first page.
    pub tag: String,
}

impl Page {
    /// The cursor of the page behind the one that begins after `rows`, if there is one.
    pub fn next(&self, rows: usize) -> Option<Cursor> {
        let rows = rows + self.query.limit;
        let cursor = || Cursor { tag: self.tag.trim_matches('"').to_owned(), rows };
        (rows < self.points.list.len()).then(cursor)
    }
    /// The page that begins after `rows`.
    ///
    /// # Errors
    /// `Internal` when a value does not fit its column.
    pub fn write(&self, rows: usize) -> Result<Vec<u8>, Refusal> {
        let Page { query, points, shares, stamp, .. } = self;
        let found = points.list.len();
        let shown = rows..found.min(rows + query.limit);
        let mut json = Json::with_capacity(1_024 + shown.len() * (192 + 48 * query.dimensions.len()));
        match query.format {
            Format::Json => {}
            Format::Lines => {
                points.write(&mut json, query, shown);
                return Ok(json.into_bytes());
            }
            Format::Csv | Format::Arrow | Format::Parquet => {
                let table = points.table(query, shown);
                let notes = notes(&query.metric.name, query, stamp, Some(shares), self.next(rows));
                return Ok(write_table(&table, 0..table.len(), query.format, notes)?);
            }
        }
        json.open('{').key("metric").text(&query.metric.name).key("window").text(&query.window.to_string());
        json.key("dimensions").open('[');
        query.dimensions.iter().for_each(|name| {
            json.text(name);
        });
        json.close(']').key("points").open('[');
        points.write(&mut json, query, shown.clone());
        json.close(']').key("meta").open('{');
        write_meta(&mut json, query, self.next(rows), shown, found);
        stamp.write(json.key("stamp"), Some(shares));
        json.close('}').close('}');
        Ok(json.into_bytes())
    }
}

/// Writes what an answer says of its times, its layers and its pages, as members of the object that is open.
pub fn write_meta(json: &mut Json, query: &Query, next: Option<Cursor>, shown: Range<usize>, found: usize) {
    let (from, to) = query.times.range.unwrap_or(query.times.span());
    for (name, end) in [("from", from), ("to", to)] {
        match query.times.is_all() {
            true => json.key(name).null(),
            false => json.key(name).time_in(query.zone, end),
        };
    }
    json.key("step").optional_text(query.step.map(|step| step.to_string()).as_deref());
    json.key("tz").text(query.zone.name()).key("tzdb").text(Zone::VERSION);
    if let Some(rate) = &query.rate {
        json.key("per").text(&rate.per.to_string());
    }
    if let Some(complete) = &query.times.complete {
        write_complete(json, query, complete);
    }
    json.key("layers").text(query.layer.name());
    json.key("limit").number(query.limit as u64);
    json.key("rows").number(found as u64).key("truncated").bool(shown.len() < found);
    json.key("next").optional_text(next.map(|next| next.to_string()).as_deref());
    figures::write_error(json, &query.terms);
}

/// What an answer without a `meta` tells beside its rows.
pub fn notes(metrics: &str, query: &Query, stamp: &Stamp, shares: Option<&[Shares]>, next: Option<Cursor>) -> Notes {
    let mut json = Json::with_capacity(1_024);
    stamp.write(&mut json, shares);
    let stamp_text = String::from_utf8(json.into_bytes()).unwrap_or_default();
    let mut notes = vec![
        ("seam.metric", metrics.to_owned()),
        ("seam.window", query.window.to_string()),
        ("seam.coverage", stamp.coverage.clone()),
        ("seam.stamp", stamp_text),
    ];
    notes.extend(next.map(|next| ("seam.next", next.to_string())));
    notes
}

/// Rows of a table as CSV, Arrow or Parquet; as lines of JSON in any other format.
///
/// # Errors
/// `Internal` when a value does not fit its column.
pub fn write_table(table: &Table, rows: Range<usize>, format: Format, notes: Notes) -> seam_shared::Result<Vec<u8>> {
    match format {
        Format::Csv => Ok(table.csv(rows)),
        Format::Arrow => table.arrow(rows, notes),
        Format::Parquet => table.parquet(rows, notes),
        Format::Json | Format::Lines => {
            let mut json = Json::with_capacity(rows.len() * 128);
            table.write_rows(&mut json, rows, false);
            Ok(json.into_bytes())
        }
    }
}

/// The refusal of a cursor whose answer is gone.
pub fn expired() -> Refusal {
    Refusal {
        kind: Kind::Conflict,
        problem: "cursor-expired",
        detail: "the answer that this cursor goes on with is no longer kept; ask again without `cursor`".to_owned(),
        parameter: Some("cursor".to_owned()),
        suggestion: None,
    }
}

/// Says up to where windows are complete, and why not farther.
fn write_complete(json: &mut Json, query: &Query, complete: &Complete) {
    json.key("final").bool(true).key("final_through");
    match complete.through {
        Some(through) => json.time_in(query.zone, through),
        None => json.null(),
    };
    json.key("left_out").number(complete.left_out as u64).key("why").optional_text(complete.why.as_deref());
}
