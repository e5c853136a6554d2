//! Several metrics side by side: one row a time and group, one column a metric, all from one pin.
use std::cmp::Ordering;
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use seam_shared::Kind;
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;
use seam_shared::view::value::Value;

use crate::answer::{Answer, Merged};
use crate::deadline::within;
use crate::inquiry::{By, Inquiry};
use crate::json::Json;
use crate::kept::Body;
use crate::page::{self, notes, write_meta, write_table};
use crate::pin::Pin;
use crate::pinned::PinnedView;
use crate::present::{self, Points, compare_values};
use crate::query::{Cursor, Fill, Format, Query, Refusal, Spelling};
use crate::stamp::{Shares, Stamp};
use crate::table::{Cells, Table};
use crate::{Serving, etag};

/// All rows of an answer, and what else its pages say.
#[derive(Debug)]
pub struct Sheet {
    inquiry: Inquiry,
    spelling: Vec<u8>,
    table: Table,
    /// Of each metric: what each of its views put into it.
    shares: Vec<Vec<(Arc<View>, Shares)>>,
    stamp: Arc<Stamp>,
    /// The tag of the first page.
    tag: String,
}

/// A time and group, and each metric's value there.
struct Row {
    time: Timestamp,
    /// Where the values of its dimensions are found: a metric's list, and the place in it.
    at: (usize, usize),
    values: Vec<Value>,
}

/// Puts lists of points, each in the order of time and group, side by side.
fn join(queries: &[Arc<Query>], lists: &[Points]) -> Vec<Row> {
    let dimensions = queries[0].dimensions.len();
    let compare = |a: (usize, usize), b: (usize, usize)| {
        let (left, right) = (&lists[a.0].list[a.1], &lists[b.0].list[b.1]);
        let by_group = || {
            let values = |d| lists[a.0].dimension(left, d).cmp(lists[b.0].dimension(right, d));
            (0..dimensions).map(values).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
        };
        left.time.cmp(&right.time).then_with(by_group)
    };
    let missing: Vec<Value> = queries.iter().map(|query| value_of_absence(query)).collect();
    let mut next = vec![0; lists.len()];
    let mut rows = Vec::with_capacity(lists.iter().map(|points| points.list.len()).max().unwrap_or(0));
    loop {
        let heads = (0..lists.len()).map(|m| (m, next[m])).filter(|(m, place)| *place < lists[*m].list.len());
        let Some(least) = heads.min_by(|a, b| compare(*a, *b)) else { return rows };
        let mut values = missing.clone();
        for (m, points) in lists.iter().enumerate() {
            if let Some(point) = points.list.get(next[m])
                && compare((m, next[m]), least).is_eq()
            {
                values[m] = point.value.clone();
                next[m] += 1;
            }
        }
        rows.push(Row { time: lists[least.0].list[least.1].time, at: least, values });
    }
}

/// What stands in a row for a metric that has no point there while another has.
fn value_of_absence(query: &Query) -> Value {
    match query.fill {
        Fill::Natural => present::value_of_nothing(query),
        Fill::Zero => Value::Int(0),
        Fill::None | Fill::Null => Value::Null,
    }
}

fn sort(rows: &mut [Row], order: &[(By, bool)], lists: &[Points]) {
    let dimension = |row: &Row, d: usize| lists[row.at.0].dimension(&lists[row.at.0].list[row.at.1], d).clone();
    rows.sort_by(|a, b| {
        for (by, descending) in order {
            let ordering = match by {
                By::Time => a.time.cmp(&b.time),
                By::Dimension(d) => dimension(a, *d).cmp(&dimension(b, *d)),
                By::Metric(m) => match compare_values(&a.values[*m], &b.values[*m]) {
                    // Null comes last in either direction.
                    found if found.is_ne() && (a.values[*m] == Value::Null || b.values[*m] == Value::Null) => {
                        return found;
                    }
                    found => found,
                },
            };
            let ordering = if *descending { ordering.reverse() } else { ordering };
            if ordering.is_ne() {
                return ordering;
            }
        }
        Ordering::Equal
    });
}

fn table(inquiry: &Inquiry, lists: &[Points]) -> Table {
    let query = inquiry.first();
    let mut rows = join(&inquiry.queries, lists);
    sort(&mut rows, &inquiry.order, lists);
    let mut table = Table::new(rows.len()).in_zone(query.zone);
    if !query.times.is_all() {
        table.push("time", Cells::Times(rows.iter().map(|row| row.time).collect()));
        table.push("start", Cells::Times(rows.iter().map(|row| query.window_of(row.time).0).collect()));
    }
    for (d, name) in query.dimensions.iter().enumerate() {
        let value = |row: &Row| lists[row.at.0].dimension(&lists[row.at.0].list[row.at.1], d).clone();
        table.push(name, Cells::Values(present::dimension_type(query, d), rows.iter().map(value).collect()));
    }
    for (m, query) in inquiry.queries.iter().enumerate() {
        let values = rows.iter_mut().map(|row| std::mem::replace(&mut row.values[m], Value::Null)).collect();
        table.push(&query.metric.name, Cells::Values(present::value_type(query), values));
    }
    table
}

impl Sheet {
    fn next(&self, rows: usize) -> Option<Cursor> {
        let tag = self.tag.trim_matches('"').to_owned();
        Some(Cursor { tag, rows: rows + self.inquiry.first().limit }).filter(|next| next.rows < self.table.len())
    }
    fn bytes(&self) -> usize {
        self.table.bytes() + self.spelling.len()
    }
    /// The page that begins after `rows`.
    fn write(&self, rows: usize) -> Result<Vec<u8>, Refusal> {
        let Sheet { inquiry, table, shares, stamp, .. } = self;
        let query = inquiry.first();
        let shown: Range<usize> = rows..table.len().min(rows + query.limit);
        if inquiry.format != Format::Json {
            let metrics = inquiry.metrics().collect::<Vec<_>>().join(",");
            let notes = notes(&metrics, query, stamp, None, self.next(rows));
            return Ok(write_table(table, shown, inquiry.format, notes)?);
        }
        let mut json = Json::with_capacity(1_024 + shown.len() * 64 * (2 + inquiry.queries.len()));
        json.open('{');
        let name = match &inquiry.view {
            Some(view) => json.key("view").text(view).key("measures"),
            None => json.key("metrics"),
        };
        name.open('[');
        inquiry.metrics().for_each(|name| {
            json.text(name);
        });
        let window = if query.times.is_all() { "all".to_owned() } else { query.window.to_string() };
        json.close(']').key("window").text(&window).key("dimensions").open('[');
        query.dimensions.iter().for_each(|name| {
            json.text(name);
        });
        json.close(']').key("points").open('[');
        table.write_rows(&mut json, shown.clone(), true);
        json.close(']').key("meta").open('{');
        write_meta(&mut json, query, self.next(rows), shown, table.len());
        json.key("shares").open('{');
        for (name, of_views) in inquiry.metrics().zip(shares) {
            json.named(name).open('[');
            for (view, shares) in of_views {
                json.open('{').key("view").text(&view.name);
                shares.write(&mut json, view);
                json.close('}');
            }
            json.close(']');
        }
        json.close('}');
        stamp.write(json.key("stamp"), None);
        json.close('}').close('}');
        Ok(json.into_bytes())
    }
}

impl Serving {
    /// Answers several metrics at one pin; with `known` that names the answer's tag, nothing is computed.
    ///
    /// # Errors
    /// As [`Serving::answer`].
    pub async fn sheet(&self, inquiry: &Inquiry, known: Option<&str>) -> Result<Answer, Refusal> {
        within(inquiry.first().timeout, async {
            match inquiry.cursor() {
                Some(cursor) => self.further_rows(inquiry, cursor, known).await,
                None => self.first_rows(inquiry, known).await,
            }
        })
        .await
    }

    async fn first_rows(&self, inquiry: &Inquiry, known: Option<&str>) -> Result<Answer, Refusal> {
        let spelling = spelling(inquiry);
        let body = |pin: &Pin, tag: &str, queries: &[Arc<Query>], merged: Vec<Merged>| {
            let inquiry = Inquiry { queries: queries.to_vec(), ..inquiry.clone() };
            let (lists, shares): (Vec<Points>, Vec<Vec<Shares>>) = merged.into_iter().unzip();
            let shares = inquiry.queries.iter().zip(shares).map(|(query, shares)| of_metric(query, pin, &shares));
            let sheet = Sheet {
                table: table(&inquiry, &lists),
                shares: shares.collect(),
                spelling: self::spelling(&inquiry),
                inquiry,
                stamp: pin.stamp.clone(),
                tag: tag.to_owned(),
            };
            if sheet.table.is_empty() && sheet.inquiry.view.is_some() && sheet.inquiry.first().times.is_all() {
                return Err(no_such_key(&sheet));
            }
            let body = Body { bytes: sheet.write(0)?.into(), next: sheet.next(0) };
            if let Some(next) = &body.next {
                let bytes = sheet.bytes();
                self.sheets.insert(next.tag.clone(), Arc::new(sheet), bytes);
            }
            Ok(body)
        };
        let keep = self.door.knock(&String::from_utf8_lossy(&spelling));
        let answer = self.compute(&inquiry.queries, &spelling, known, keep, body).await?;
        Ok(Answer { format: inquiry.format, ..answer })
    }

    async fn further_rows(&self, inquiry: &Inquiry, cursor: &Cursor, known: Option<&str>) -> Result<Answer, Refusal> {
        let mut sheet = self.sheets.get(&cursor.tag);
        if sheet.is_none() {
            // As long as nothing was added, the same rows can be made again.
            self.first_rows(inquiry, None).await?;
            sheet = self.sheets.get(&cursor.tag);
        }
        let sheet = sheet.ok_or_else(page::expired)?;
        // Times that are meant from `now` on are those of the first page.
        let mut asked = inquiry.clone();
        for (query, first) in asked.queries.iter_mut().zip(&sheet.inquiry.queries) {
            *query = Arc::new(Query { times: first.times.clone(), rate: first.rate, ..query.as_ref().clone() });
        }
        if spelling(&asked) != sheet.spelling || cursor.rows >= sheet.table.len() {
            return Err(Refusal::parameter("cursor", "this cursor is of another question"));
        }
        let tag = format!("\"{cursor}\"");
        let next = sheet.next(cursor.rows).map(|next| next.to_string());
        let is_known = known.is_some_and(|header| etag::matches(header, &tag));
        let body = if is_known { None } else { Some(sheet.write(cursor.rows)?.into()) };
        let (coverage, format) = (sheet.stamp.coverage.clone(), inquiry.format);
        Ok(Answer { tag, pinned: None, body, next, coverage, lag: None, building: None, format })
    }
}

/// A key without a row is one that is not there.
fn no_such_key(sheet: &Sheet) -> Refusal {
    let view = sheet.inquiry.view.as_deref().unwrap_or_default();
    Refusal {
        kind: Kind::NotFound,
        problem: "no-such-key",
        detail: format!("view {view} has no such key up to {}", sheet.stamp.coverage),
        parameter: Some("key".to_owned()),
        suggestion: None,
    }
}

/// All that an answer depends on besides the stored data.
fn spelling(inquiry: &Inquiry) -> Vec<u8> {
    let mut spelling = Spelling::default();
    ("sheet", &inquiry.view, &inquiry.queries, &inquiry.order, inquiry.format).hash(&mut spelling);
    spelling.0
}

/// What each view of a metric put into it.
fn of_metric(query: &Query, pin: &Pin, shares: &[Shares]) -> Vec<(Arc<View>, Shares)> {
    let asked = |view: &PinnedView| query.terms.iter().any(|term| term.view.id == view.view.id);
    let views = pin.views.iter().zip(shares).filter(|(view, _)| asked(view));
    views.map(|(view, shares)| (view.view.clone(), *shares)).collect()
}
