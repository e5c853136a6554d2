//! The plain recomputation: every record, one at a time, by the definitions alone.
use std::collections::BTreeMap;
use std::sync::Arc;

use seam_shared::event::batch::{EventBatch, Verdict};
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::log::{EventLog, Offset, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::StateStore;
use seam_shared::time::Timestamp;
use seam_shared::view::aggregate::State;
use seam_shared::view::aggregate::partial::Lifted;
use seam_shared::view::definition::{Source, View};
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;

/// The partials of one segment.
pub type Segment = BTreeMap<(Timestamp, Vec<Value>), Vec<State>>;

/// Everything that a log says, recomputed.
pub struct Plain {
    pub batch: EventBatch,
    /// Segment starts in order; the last is still open.
    pub starts: Vec<Offset>,
}

impl Plain {
    /// Reads a log that was never trimmed.
    pub async fn read(log: &dyn EventLog, partition: &Partition, source: &Arc<Source>) -> Plain {
        let chunk = log.read(partition, Offset(0), usize::MAX, usize::MAX).await.unwrap();
        let mut batch = Decoder::new(source.clone()).decode(&chunk);
        Duplicates::new(source.duplicates).mark(&mut batch);
        let mut open = OpenSegment::at(Offset(0));
        let mut starts = vec![Offset(0)];
        for (&offset, &time) in batch.offsets.iter().zip(&batch.log_times) {
            starts.extend(open.admit(source.segments, offset, time));
        }
        Plain { batch, starts }
    }

    /// The segments of a view from `floor` on, up to `position`.
    pub fn segments(&self, view: &View, floor: Offset, position: Offset) -> BTreeMap<Offset, Segment> {
        let mut out: BTreeMap<Offset, Segment> = BTreeMap::new();
        for (i, &offset) in self.batch.offsets.iter().enumerate() {
            let passes = |f: &seam_shared::view::expression::Expression| {
                f.matches(&|field| self.batch.value(field, i)) == Some(true)
            };
            let counts = self.batch.verdicts[i] == Verdict::Counts && view.filter.as_ref().is_none_or(passes);
            if offset < floor || offset >= position || !counts {
                continue;
            }
            let start = self.starts[self.starts.partition_point(|&start| start <= offset) - 1];
            let key = view.dimensions.iter().map(|d| self.batch.value(d.field, i)).collect();
            let states = (out.entry(start).or_default())
                .entry((view.pane_of(self.batch.times[i]), key))
                .or_insert_with(|| view.kinds().into_iter().map(State::empty).collect());
            for (state, definition) in states.iter_mut().zip(&view.states) {
                if definition.passes(&|field| self.batch.value(field, i)) {
                    let value = &definition.measured(&|field| self.batch.value(field, i));
                    let retracted = definition.retracts(&|field| self.batch.value(field, i));
                    let (time, partition) = (self.batch.times[i], 0);
                    state.lift_event(definition, &Lifted { time, partition, offset, value, retracted });
                }
            }
        }
        out
    }

    /// Panics unless the store holds of a view exactly the events of [floor, position), by segment.
    pub async fn check(&self, state: &dyn StateStore, partition: &Partition, view: &View, context: &str) {
        let held = state.snapshot(partition, std::slice::from_ref(&view.id)).await.unwrap().remove(0);
        let Some(held) = held else { return };
        let mut found: BTreeMap<Offset, Segment> = BTreeMap::new();
        for closed in &held.closed {
            assert!(self.starts.contains(&closed.start) && self.starts.contains(&closed.end), "{context}: boundaries");
            let rows = state.segment(partition, &view.id, closed.start).await.unwrap().unwrap();
            found.insert(closed.start, by_key(&rows));
        }
        if let Some(first) = held.closed.first() {
            assert_eq!(first.start, held.progress.floor, "{context}: {} holds all from its floor", view.id);
        }
        for pair in held.closed.windows(2) {
            assert_eq!(pair[0].end, pair[1].start, "{context}: {} has a hole", view.id);
        }
        let last = held.closed.last().map_or(held.progress.floor, |closed| closed.end);
        assert_eq!(last, held.progress.segment.start, "{context}: {} open segment", view.id);
        found.insert(held.progress.segment.start, by_key(&held.open));
        found.retain(|_, segment| !segment.is_empty());
        let expected = self.segments(view, held.progress.floor, held.progress.position);
        assert_eq!(found, expected, "{context}: {} at {:?}", view.id, held.progress);
    }
}

fn by_key(rows: &Rows) -> Segment {
    let mut out = Segment::new();
    for i in 0..rows.len() {
        let key = (0..rows.dimensions.len()).map(|d| rows.value(d, i).clone()).collect();
        let states = rows.states.iter().map(|column| column.get(i)).collect();
        assert!(out.insert((rows.panes[i], key), states).is_none(), "a (pane, key) lies in one row");
    }
    out
}
