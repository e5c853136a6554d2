//! An answer: pin both halves, then know the tag, then merge what both hold, and write it with its stamp.
pub(crate) mod again;
pub mod by_key;
pub mod dashboard;
pub mod explain;
pub mod extract;
mod further;
pub mod history;
pub(crate) mod kept;
pub mod page;
pub mod panes;
pub mod raw;
pub mod sheet;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use seam_shared::failpoint::{self, Failpoint};
use seam_shared::lake::view_file::by_key::Slice;
use seam_shared::log::OffsetVector;
use seam_shared::time::Span;
use seam_shared::view::definition::View;
use seam_shared::{Error, Kind};
use tokio::time::Instant;

use crate::Serving;
use crate::cache::BlockCache;
use crate::deadline::{Stop, within};
use crate::pin::Pin;
use crate::pin::halves::Halves;
use crate::pin::keyed;
use crate::pin::pinned::PinnedView;
use crate::pin::read::INLINE_ROWS;
use crate::pin::stamp::{self, Shares};
use crate::present::{self, Points};
use crate::query::{Cursor, Fill, Format, Layer, Query, Question, Refusal};
use crate::scan::sessions;
use crate::scan::{self, Access, Piece, Scan};

use kept::Body;
use page::Page;

/// How often an answer that waits for a position looks for it: the longer it has waited already, the seldomer.
const LOOKS: u32 = 16;
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// What a request is answered with.
#[derive(Debug)]
pub struct Answer {
    /// The entity tag: equal tags, equal bodies.
    pub tag: String,
    /// The hash of what was pinned for it; `None` for a page of what was answered earlier.
    pub pinned: Option<[u8; 32]>,
    /// The JSON; `None` when the caller has what it would get.
    pub body: Option<Bytes>,
    /// Records that the log held, when it was last asked, beyond the answer's coverage: `flights/0=12`. Not in the body,
    /// which is a function of what the tag names.
    pub lag: Option<String>,
    /// How far the definitions are that are being built to follow those that answered. Not in the body either.
    pub building: Option<String>,
    /// How far the answer reaches: `flights/0@12`.
    pub coverage: String,
    /// The cursor of the next page, where there is one.
    pub next: Option<String>,
    /// How the body is written.
    pub format: Format,
}

/// Rows and what each view's halves put into them, by the order of the views.
pub type Merged = (Points, Vec<Shares>);

/// Scans and merges a query's terms over the halves of the views in `views`; roll-ups come from the cache.
///
/// # Errors
/// `TooLarge` beyond the limits of points and partials.
pub fn merge(query: &Query, views: &[Arc<View>], halves: &[Halves], cache: &BlockCache) -> Result<Merged, Refusal> {
    merge_until(query, views, halves, cache, &Stop::default())
}

/// The same, as long as somebody waits for it.
///
/// # Errors
/// As [`merge`]; `Unavailable` once it was stopped.
pub fn merge_until(
    query: &Query,
    views: &[Arc<View>],
    halves: &[Halves],
    cache: &BlockCache,
    stop: &Stop,
) -> Result<Merged, Refusal> {
    let mut shares = vec![Shares::default(); views.len()];
    let wide = sessions::widened(query);
    let asked = wide.as_ref().unwrap_or(query);
    let mut scan = Scan::new(asked).until(stop);
    let mut begin = None;
    for ((view, Halves { batch, speed, begin: of_view, .. }), shares) in views.iter().zip(halves).zip(&mut shares) {
        if query.terms.iter().any(|term| term.view.id == view.id) {
            begin = *of_view;
        }
        let access = Access::new(asked, view);
        let joined = scan.joined(&access, batch, cache);
        for Piece { block, part } in scan.in_order(&joined) {
            shares.batch += scan.add_part(&access, block, *part, cache)?;
        }
        for block in speed {
            shares.speed += scan.add(&access, block, cache)?;
        }
    }
    let rows = scan.finish()?;
    let (rows, goes_on) = if wide.is_some() { sessions::by_start(query, &rows)? } else { (rows, false) };
    let mut points = present::points(query, rows, begin)?;
    points.goes_on = goes_on;
    Ok((points, shares))
}

/// How many groups a query has at least, as far as is known without scanning: those of the largest block that all of it is about.
fn least_groups(query: &Query, views: &[Arc<View>], halves: &[Halves]) -> usize {
    let (after, until) = scan::range(query);
    let whole = |view: &View| {
        let mut terms = query.terms.iter().filter(|term| term.view.id == view.id);
        terms.any(|term| {
            let unsliced = term.slices.is_empty() && term.all_conditions().next().is_none();
            unsliced && term.dimensions.len() == view.dimensions.len()
        })
    };
    let blocks = views.iter().zip(halves).filter(|(view, _)| whole(view)).flat_map(|(_, halves)| &halves.batch);
    let inside = blocks.map(|piece| &piece.block).filter(|block| !block.is_empty()).filter_map(|block| block.by_key());
    let inside = inside.filter(|by_key| by_key.span.0 > after && by_key.span.1 <= until);
    inside.map(|by_key| by_key.keys()).max().unwrap_or(0)
}

/// The views of queries, each once, in the order of their ids.
pub fn views_of<'q>(queries: impl IntoIterator<Item = &'q Query>) -> Vec<Arc<View>> {
    let mut views: Vec<Arc<View>> =
        queries.into_iter().flat_map(|query| query.terms.iter().map(|term| term.view.clone())).collect();
    views.sort_by(|a, b| a.id.cmp(&b.id));
    views.dedup_by(|a, b| a.id == b.id);
    views
}

/// What queries are answered from.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What was asked; of those that want complete windows alone, those windows.
    pub(crate) queries: Vec<Arc<Query>>,
    /// The tag of what is to be answered.
    pub(crate) tag: String,
    /// The views at one moment.
    pub(crate) pin: Arc<Pin>,
    /// What was pinned, by view; `None` when the tag was enough.
    pub(crate) halves: Option<Vec<Halves>>,
}

/// What is read of what was pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Every row of the panes.
    Rows,
    /// What the queries scan, roll-ups in the place of rows: halves by query, then by view.
    Scanned,
}

impl Serving {
    /// Answers a query; with `known` (an `If-None-Match` header) that names the answer's tag, nothing is computed.
    ///
    /// # Errors
    /// `Unavailable` when the halves do not meet, or it takes longer than the query's timeout; `TooLarge` beyond a limit;
    /// `Conflict` when a cursor's answer is gone; `Corrupt` when a file is damaged.
    pub async fn answer(&self, question: &Question, known: Option<&str>) -> Result<Answer, Refusal> {
        let query = &question.query;
        let keep = question.asked.swap(true, Ordering::Relaxed);
        // Pinned where it is made: it is large to be moved.
        let work = pin!(async {
            match &query.cursor {
                Some(cursor) => Box::pin(self.page(query, cursor, known)).await,
                None => self.first_page(question, known, keep).await,
            }
        });
        within(query.timeout, work).await
    }

    /// Answers with the first page. What has more pages is kept as a list.
    pub(crate) async fn first_page(
        &self,
        question: &Question,
        known: Option<&str>,
        keep: bool,
    ) -> Result<Answer, Refusal> {
        let Question { query, spelling, .. } = question;
        let body = |pin: &Pin, tag: &str, queries: &[Arc<Query>], merged: Vec<Merged>| {
            let (Some((points, shares)), [query]) = (merged.into_iter().next(), queries) else {
                return Err(Error::internal("one query was asked, and another number answered").into());
            };
            let (stamp, tag) = (pin.stamp.clone(), tag.to_owned());
            let page = Page { query: query.clone(), points, shares, stamp, tag };
            let body = Body { bytes: page.write(0)?.into(), next: page.next(0) };
            if let Some(next) = &body.next {
                let bytes = page.points.bytes();
                self.pages.insert(next.tag.clone(), Arc::new(page), bytes);
            }
            Ok(body)
        };
        let answer = self.compute(std::slice::from_ref(query), spelling, known, keep, body).await?;
        Ok(Answer { format: query.format, ..answer })
    }

    /// Answers several queries of one layer at one pin. `body` spells out what was merged for each of them; to `keep` it is for those
    /// who ask the same again.
    pub(crate) async fn compute(
        &self,
        queries: &[Arc<Query>],
        question: &[u8],
        known: Option<&str>,
        keep: bool,
        body: impl FnOnce(&Pin, &str, &[Arc<Query>], Vec<Merged>) -> Result<Body, Refusal>,
    ) -> Result<Answer, Refusal> {
        let views = views_of(queries.iter().map(Arc::as_ref));
        let mut made = None;
        let mut is_enough = |tag: &str| {
            known.is_some_and(|header| crate::pin::etag::matches(header, tag)) || {
                made = self.kept(tag);
                made.is_some()
            }
        };
        let mut queries = queries.to_vec();
        let (tag, pin) = loop {
            let reading = self.read(&queries, &views, question, Extent::Scanned, &mut is_enough).await?;
            let Reading { queries: read, tag, pin, halves: Some(halves) } = reading else {
                break (reading.tag, reading.pin);
            };
            let merged = self.merge_all(&read, views.clone(), halves).await?;
            // A session that goes on behind what was read is read further.
            if merged.iter().any(|(points, _)| points.goes_on)
                && let Some(further) = queries.iter().map(sessions::all_further).collect()
            {
                queries = further;
                continue;
            }
            failpoint::reach(Failpoint::ServeAnswered);
            let body = body(&pin, &tag, &read, merged)?;
            if keep {
                self.keep(&tag, &body);
            }
            made = Some(body);
            break (tag, pin);
        };
        let (lag, building, coverage) = (pin.lag.clone(), pin.building.clone(), pin.stamp.coverage.clone());
        Ok(Answer {
            tag,
            pinned: Some(pin.digest),
            next: made.as_ref().and_then(|body| body.next.as_ref()).map(Cursor::to_string),
            body: made.map(|body| body.bytes),
            lag,
            building,
            coverage,
            format: Format::Json,
        })
    }

    /// Pins what queries of one layer need, and reads it unless their tag `is_enough`. What was retired between pin and read is
    /// not missed: both are done again.
    pub(crate) async fn read(
        &self,
        queries: &[Arc<Query>],
        views: &[Arc<View>],
        question: &[u8],
        extent: Extent,
        mut is_enough: impl FnMut(&str) -> bool,
    ) -> Result<Reading, Refusal> {
        let ranges = queries.iter().map(|query| scan::range(query));
        let range = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
        let is_rate = queries.iter().any(|query| query.rate.is_some());
        let mut attempts = 0;
        loop {
            let pin = self.pin_for(queries, views, attempts > 0).await?;
            let (queries, spelling) = self.only_complete(queries, question, &pin);
            let tag = crate::pin::etag::tag(&spelling, &pin.digest);
            if is_enough(&tag) {
                return Ok(Reading { queries, tag, pin, halves: None });
            }
            let halves = match extent {
                Extent::Rows => {
                    let slices = |v: &PinnedView| keyed::slices(queries.iter().map(Arc::as_ref), &v.view);
                    let slices: Vec<Vec<Slice>> = pin.views.iter().map(slices).collect();
                    Box::pin(self.halves(&pin.views, &slices, range, is_rate)).await
                }
                Extent::Scanned => self.scanned(&queries, &pin.views, is_rate).await,
            };
            match halves {
                Ok(halves) => return Ok(Reading { queries, tag, pin, halves: Some(halves) }),
                Err(error) if error.kind() == Kind::NotFound && queries.iter().any(|q| q.generation.is_some()) => {
                    return Err(history::retired(&error));
                }
                Err(error) => {
                    attempts += 1;
                    Box::pin(self.look_again(error, attempts, views)).await?;
                }
            }
        }
    }

    /// Pins for queries of one layer, waiting until each one's `min_position` is covered.
    pub(crate) async fn pin_for(
        &self,
        queries: &[Arc<Query>],
        views: &[Arc<View>],
        fresh: bool,
    ) -> Result<Arc<Pin>, Refusal> {
        if let Some((query, which)) = queries.iter().find_map(|query| Some((query, query.generation?))) {
            let [_] = queries else {
                let detail = "several queries at once are answered from one moment, the newest; ask for it alone";
                return Err(Refusal::parameter("generation", detail));
            };
            return Box::pin(self.pin_at(query, views, which)).await;
        }
        let layer = queries.first().map_or(Layer::Merged, |query| query.layer);
        let waiting: Vec<(&Arc<Query>, &OffsetVector)> =
            queries.iter().filter_map(|query| Some((query, query.min_position.as_ref()?))).collect();
        if waiting.is_empty() {
            return Ok(self.pin(views, layer, fresh).await?);
        }
        Box::pin(self.pin_covering(&waiting, views, layer)).await
    }

    /// Pins views once what is waited for is covered.
    async fn pin_covering(
        &self,
        waiting: &[(&Arc<Query>, &OffsetVector)],
        views: &[Arc<View>],
        layer: Layer,
    ) -> Result<Arc<Pin>, Refusal> {
        for (query, wanted) in waiting {
            if let Some(number) = wanted.0.keys().find(|number| **number >= self.partitions_of(query.source())) {
                let source = query.source();
                return Err(Refusal::parameter("min_position", format!("source {source} has no partition {number}")));
            }
        }
        // A little before the answer as a whole is too late: then it says what is missing.
        let timeout = waiting.first().map_or(Span::SECOND, |(query, _)| query.timeout);
        let deadline = Instant::now() + Duration::from_micros(timeout.0.unsigned_abs()) * 19 / 20;
        let begun = Instant::now();
        let mut missing: Option<Refusal> = None;
        loop {
            let look = self.pin(views, layer, true);
            let pin = match missing {
                None => look.await?,
                Some(missing) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    tokio::time::timeout(left, look).await.map_err(|_| missing)??
                }
            };
            let behind = |(query, wanted): &&(&Arc<Query>, &OffsetVector)| {
                let mut of_source = pin.views.iter().filter(|view| view.view.source.name == query.source());
                !of_source.all(|view| view.coverage().covers(wanted))
            };
            let Some((query, wanted)) = waiting.iter().find(behind) else { return Ok(pin) };
            // However long it takes, little is added to it; whoever waits at the same time shares each look.
            let pause = (begun.elapsed() / LOOKS).clamp(PAUSE_MIN, PAUSE_MAX);
            let reached = stamp::coverage_text(&stamp::common_coverage(&pin.views));
            let (wanted, timeout) = (wanted.to_text(query.source()), query.timeout);
            let detail =
                format!("min_position {wanted} is not covered after {timeout}: the answer would reach {reached}");
            let not_covered = Refusal::from(Error::unavailable(detail)).named("position-not-covered");
            if Instant::now() + pause > deadline {
                return Err(not_covered);
            }
            missing = Some(not_covered);
            self.clock.sleep(pause).await;
            if layer == Layer::Batch {
                for view in views {
                    self.batch_view(view).refresh().await?;
                }
            }
        }
    }

    /// Refuses what would have too many points, before they are computed, where the blocks tell.
    fn check_budget(&self, queries: &[Arc<Query>], views: &[Arc<View>], halves: &[Halves]) -> Result<(), Refusal> {
        for (query, halves) in queries.iter().zip(halves.chunks(views.len().max(1))) {
            let groups = least_groups(query, views, halves);
            let times = if matches!(query.fill, Fill::Null | Fill::Zero) { query.times.count() } else { 1 };
            let (points, most) = (groups.saturating_mul(times), self.settings.query_points);
            if points > most {
                return Err(Refusal::too_large(format!(
                    "the query has at least {groups} groups, {points} points in all; at most {most} are computed: ask for fewer \
                     dimensions or slices, or a longer step"
                )));
            }
        }
        Ok(())
    }

    async fn merge_all(
        &self,
        queries: &[Arc<Query>],
        views: Vec<Arc<View>>,
        halves: Vec<Halves>,
    ) -> Result<Vec<Merged>, Refusal> {
        self.check_budget(queries, &views, &halves)?;
        let cache = self.cache().clone();
        let effort: usize = halves.iter().map(|halves| halves.effort).sum();
        let queries = queries.to_vec();
        let stop = Stop::default();
        // The thread does not notice by itself that the request is gone.
        let _stopped = stop.on_drop();
        let work = move || {
            let by_query = queries.iter().zip(halves.chunks(views.len().max(1)));
            by_query.map(|(query, halves)| merge_until(query, &views, halves, &cache, &stop)).collect()
        };
        if effort <= INLINE_ROWS {
            return work();
        }
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(Error::internal("the merge failed").because(error).into()))
    }
}

#[cfg(test)]
mod tests;
