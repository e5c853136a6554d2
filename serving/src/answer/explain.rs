//! How an answer comes about: generation, files, segments, rows, shares and times. Not cacheable: it holds what was measured.
use std::sync::Arc;

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use tokio::time::Instant;

use crate::Serving;
use crate::answer::{Extent, Reading, merge, views_of};
use crate::cache::BlockCache;
use crate::json::Json;
use crate::pin::halves::Halves;
use crate::pin::pinned::PinnedView;
use crate::query::{Query, Refusal, Times};
use crate::scan::levels;
use crate::scan::{self, Share};

impl Serving {
    /// Answers with what answering `query` takes, and with `rows` of raw events that were found already.
    ///
    /// # Errors
    /// As [`Serving::answer`].
    pub async fn explain(&self, query: &Arc<Query>, rows: Option<&[u8]>) -> Result<Vec<u8>, Refusal> {
        let views = views_of([query.as_ref()]);
        let begun = Instant::now();
        let mut pinned_at = begun;
        let reading = self.read(std::slice::from_ref(query), &views, &[], Extent::Rows, |_| {
            pinned_at = Instant::now();
            false
        });
        let Reading { pin, halves, queries, .. } = reading.await?;
        let query = queries.first().unwrap_or(query);
        let halves = halves.unwrap_or_default();
        let read_at = Instant::now();
        let range = scan::range(query);
        let (points, shares) = merge(query, &views, &halves, self.cache())?;
        let merged_at = Instant::now();
        let late = late(query, &views, &halves, self.cache())?;

        let mut json = Json::with_capacity(4_096);
        json.open('{').key("metric").text(&query.metric.name).key("window").text(&query.window.to_string());
        json.key("panes").open('{').key("after").time(range.0).key("until").time(range.1).close('}');
        json.key("points").number(points.list.len() as u64);
        json.key("milliseconds").open('{');
        for (name, from, to) in [("pin", begun, pinned_at), ("read", pinned_at, read_at), ("merge", read_at, merged_at)]
        {
            let milliseconds = (to - from).as_secs_f64() * 1e3;
            json.key(name).value(&seam_shared::view::value::Value::Float((milliseconds * 1e3).round() / 1e3));
        }
        json.close('}').key("views").open('[');
        for ((view, halves), late) in pin.views.iter().zip(&halves).zip(&late) {
            write_view(&mut json, view, halves, range, late.as_ref());
        }
        json.close(']').key("lag").optional_text(pin.lag.as_deref());
        json.key("cache_bytes").number(self.cache().bytes() as u64);
        if let Some(rows) = rows {
            json.key("raw").verbatim(rows);
        }
        pin.stamp.write(json.key("stamp"), Some(&shares));
        json.close('}');
        Ok(json.into_bytes())
    }
}

/// What came late, by view: what the speed layer holds of panes up to the newest one that the generation has of this range. A join
/// at a time would have lost it. `None` where the windows leave gaps.
fn late(
    query: &Query,
    views: &[Arc<View>],
    halves: &[Halves],
    cache: &BlockCache,
) -> Result<Vec<Option<Share>>, Refusal> {
    let (after, until) = scan::range(query);
    let speed: Vec<Halves> =
        halves.iter().map(|halves| Halves { speed: halves.speed.clone(), ..Halves::default() }).collect();
    let of_view = |(i, halves): (usize, &Halves)| {
        if query.times.have_gaps() {
            return Ok(None);
        }
        let blocks = halves
            .batch
            .iter()
            .map(|piece| &piece.block)
            .filter(|block| !block.is_empty())
            .filter_map(|block| block.by_key());
        let newest = blocks.map(|by_key| by_key.span.1).max();
        let Some(end) = newest.map(|newest| newest.min(until)).filter(|end| *end > after) else {
            return Ok(Some(Share::default()));
        };
        let window = Span(end.0 - after.0);
        let whole = Query { times: Times::even(end, window, window, 1), ..query.clone() };
        Ok(Some(merge(&whole, views, &speed, cache)?.1[i].speed))
    };
    halves.iter().enumerate().map(of_view).collect()
}

fn write_view(
    json: &mut Json,
    pinned: &PinnedView,
    halves: &Halves,
    range: (Timestamp, Timestamp),
    late: Option<&Share>,
) {
    json.open('{').key("id").text(&pinned.view.id).key("pane").text(&pinned.view.pane.to_string());
    json.key("generation");
    match &pinned.generation {
        Some(generation) => {
            json.open('{').key("number").number(generation.number).key("published").time(generation.published);
            json.key("files_in_all").number(generation.files.len() as u64).key("files").open('[');
            for file in levels::files_in(generation, range) {
                json.open('{').key("path").text(file.path.as_ref()).key("bytes").number(file.bytes);
                json.key("rows").number(file.rows).key("after").time(file.slice_start);
                json.key("until").time(file.slice_end).close('}');
            }
            json.close(']').close('}');
        }
        None => {
            json.null();
        }
    }
    json.key("late");
    match late {
        Some(late) => json.open('{').key("rows").number(late.rows).key("events").number(late.events).close('}'),
        None => json.null(),
    };
    json.key("rows_at_hand").number(halves.rows() as u64).key("partitions").open('[');
    for (number, part) in &pinned.parts {
        json.open('{').key("partition").text(&format!("{}/{number}", pinned.view.source.name));
        json.key("coverage").number(part.coverage.0);
        if let Some(held) = &part.held {
            json.key("position").number(held.progress.position.0).key("floor").number(held.progress.floor.0);
            json.key("closed_segments").number(held.closed.len() as u64);
            json.key("closed_segments_used").number(part.segments.as_ref().map_or(0, Vec::len) as u64);
            json.key("open_segment").open('{').key("start").number(held.progress.segment.start.0);
            json.key("rows").number(held.open.len() as u64).close('}');
        }
        json.close('}');
    }
    json.close(']').close('}');
}
