//! How an answer comes about: generation, files, segments, rows, shares and times. Not cacheable: it holds what was measured.
use std::sync::Arc;

use tokio::time::Instant;

use crate::Serving;
use crate::answer::{Halves, Reading, merge, views_of};
use crate::batch_view;
use crate::json::Json;
use crate::pin::PinnedView;
use crate::query::{Query, Refusal};
use crate::scan;

impl Serving {
    /// Answers with what answering `query` takes.
    ///
    /// # Errors
    /// As [`Serving::answer`].
    pub async fn explain(&self, query: &Arc<Query>) -> Result<Vec<u8>, Refusal> {
        let views = views_of([query.as_ref()]);
        let begun = Instant::now();
        let mut pinned_at = begun;
        let reading = self.read(std::slice::from_ref(query), &views, &[], |_| {
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
        for (view, halves) in pin.views.iter().zip(&halves) {
            write_view(&mut json, view, halves, range);
        }
        json.close(']').key("lag").optional_text(pin.lag.as_deref());
        json.key("cache_bytes").number(self.cache().bytes() as u64);
        pin.stamp.write(json.key("stamp"), Some(&shares));
        json.close('}');
        Ok(json.into_bytes())
    }
}

fn write_view(
    json: &mut Json,
    pinned: &PinnedView,
    halves: &Halves,
    range: (seam_shared::time::Timestamp, seam_shared::time::Timestamp),
) {
    json.open('{').key("id").text(&pinned.view.id).key("pane").text(&pinned.view.pane.to_string());
    json.key("generation");
    match &pinned.generation {
        Some(generation) => {
            json.open('{').key("number").number(generation.number).key("published").time(generation.published);
            json.key("files_in_all").number(generation.files.len() as u64).key("files").open('[');
            for file in batch_view::files_in(generation, range) {
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
