//! A view over the records of the tests, and the plain fold of them.
use std::collections::BTreeMap;
use std::sync::Arc;

use seam_shared::config;
use seam_shared::log::{EventLog, Offset, Partition};
use seam_shared::segment::SegmentRule;
use seam_shared::state::StateStore;
use seam_shared::view::aggregate::State;
use seam_shared::view::definition::{Source, View};
use seam_shared::view::groups::Groups;
use seam_shared::view::value::Value;
use seam_speed::cuts::by_hand::CutsByHand;
use seam_speed::recover::Places;
use seam_speed::worker::{Limits, Worker};
use serde_json::json;

/// An event of a page; its size is its number.
pub fn event(number: usize, page: &str) -> String {
    json!({ "at": "2026-05-01T10:00:00Z", "page": page, "size": number }).to_string()
}

/// Events and sizes by page.
pub struct Definitions {
    source: Arc<Source>,
    view: Arc<View>,
}

impl Definitions {
    pub fn new(source: &str, partitions: u32) -> Definitions {
        let text = format!(
            "version: 1\nname: test\nsources:\n  {source}:\n    partitions: {partitions}\n    map: {{ time: $.at }}\n    \
             fields: {{ page: string, size: int }}\nviews:\n  by_page:\n    from: {source}\n    dimensions: [page]\n    \
             measures: {{ events: count(), size: sum(size) }}\n"
        );
        let config = config::load(&text, "seam.yaml").unwrap_or_else(|report| panic!("{report}"));
        let segments = SegmentRule { max_events: 70, ..SegmentRule::default() };
        let source = Arc::new(Source { segments, ..config.sources[0].as_ref().clone() });
        let view = Arc::new(View { source: source.clone(), ..config.views[0].as_ref().clone() });
        Definitions { source, view }
    }

    pub fn places(&self, log: Arc<dyn EventLog>, state: Arc<dyn StateStore>) -> Places {
        Places { log, state, cuts: Arc::new(CutsByHand::default()) }
    }

    pub fn worker(&self, places: Places, number: u32) -> Worker {
        Worker::new(places, self.source.clone(), vec![self.view.clone()], number, Limits::default())
    }

    /// How far the state of a partition reaches.
    pub async fn position(&self, state: &dyn StateStore, number: u32) -> Option<Offset> {
        let partition = Partition::new(self.source.name.as_str(), number);
        let held = state.snapshot(&partition, std::slice::from_ref(&self.view.id)).await.expect("snapshot");
        held.into_iter().next().flatten().map(|held| held.progress.position)
    }

    /// That the state of a partition is the fold of `records` below its position, which is answered.
    pub async fn check(&self, state: &dyn StateStore, records: &[(u64, String)], number: u32) -> Offset {
        let partition = Partition::new(self.source.name.as_str(), number);
        let held = state.snapshot(&partition, std::slice::from_ref(&self.view.id)).await.expect("snapshot");
        let held = held.into_iter().next().flatten().expect("there is state");
        let mut merged = Groups::new(1, &self.view.kinds());
        for segment in &held.closed {
            let rows = state.segment(&partition, &self.view.id, segment.start).await.expect("segment");
            merged.merge(&rows.expect("the segment is there"));
        }
        merged.merge(&held.open);
        let rows = merged.into_rows();
        let found: BTreeMap<String, Vec<State>> = (0..rows.len())
            .map(|i| (format!("{:?}", rows.value(0, i)), rows.states.iter().map(|column| column.get(i)).collect()))
            .collect();
        let mut expected: BTreeMap<String, Vec<State>> = BTreeMap::new();
        for (_, text) in records.iter().filter(|(offset, _)| *offset < held.progress.position.0) {
            let event: serde_json::Value = serde_json::from_str(text).expect("JSON");
            let page = Value::text(event["page"].as_str().expect("a page"));
            let size = Value::Int(event["size"].as_i64().expect("a size"));
            let states = expected
                .entry(format!("{page:?}"))
                .or_insert_with(|| self.view.kinds().into_iter().map(State::empty).collect());
            for (state, definition) in states.iter_mut().zip(&self.view.states) {
                state.lift(&definition.field.map_or(Value::Null, |_| size.clone()));
            }
        }
        assert_eq!(found, expected, "the fold below {} of {partition}", held.progress.position);
        held.progress.position
    }
}
