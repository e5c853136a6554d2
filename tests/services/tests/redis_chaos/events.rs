//! The events of the chaos, their definitions, and the plain fold of them at any offset.
use std::collections::BTreeMap;
use std::sync::Arc;

pub use seam_generator::Dice;
use seam_shared::log::Offset;
use seam_shared::segment::{OpenSegment, SegmentRule};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::State;
use seam_shared::view::definition::{
    DimensionDefinition, Field, Figure, Measure, Source, StateDefinition, StateKind, View,
};
use seam_shared::view::rows::Rows;
use seam_shared::view::value::{FieldType, Value};

pub fn source(partitions: u32) -> Arc<Source> {
    let field = |name: &str, field_type| Field::new(name, vec![name.to_owned()], field_type);
    Arc::new(Source {
        name: "clicks".to_owned(),
        id: None,
        time: vec!["at".to_owned()],
        fields: vec![field("page", FieldType::String), field("size", FieldType::Int), field("delay", FieldType::Float)],
        duplicates: None,
        segments: SegmentRule { max_events: 60, interval: Span(Span::SECOND.0 * 10) },
        partitions,
    })
}

/// One view by page and size in panes of a second, one of everything in panes of a minute.
pub fn views(source: &Arc<Source>) -> Vec<Arc<View>> {
    let view = |name: &str, dimensions: &[usize], pane| {
        let dimension = |&field: &usize| DimensionDefinition {
            name: source.fields[field].name.clone(),
            field,
            field_type: source.fields[field].field_type,
        };
        Arc::new(View {
            name: name.to_owned(),
            id: format!("{name}@test").into(),
            source: source.clone(),
            filter: None,
            dimensions: dimensions.iter().map(dimension).collect(),
            keyed: false,
            count_window: None,
            pane,
            windows: vec![Span::MINUTE],
            states: vec![
                StateDefinition::new(StateKind::Count, None),
                StateDefinition::new(StateKind::Fixed { scale: 0 }, Some(1)),
                StateDefinition::new(StateKind::Float, Some(2)),
            ],
            measures: vec![Measure { name: "events".to_owned(), state: 0, figure: Figure::Count }],
        })
    };
    vec![view("by_page", &[0, 1], Span::SECOND), view("total", &[], Span::MINUTE)]
}

/// Partials by pane and key.
pub type Groups = BTreeMap<(Timestamp, Vec<Value>), Vec<State>>;

pub fn by_key(rows: &Rows) -> Groups {
    let mut out = Groups::new();
    for i in 0..rows.len() {
        let key = (0..rows.dimensions.len()).map(|d| rows.value(d, i).clone()).collect();
        let states = rows.states.iter().map(|column| column.get(i)).collect();
        assert!(out.insert((rows.panes[i], key), states).is_none(), "a (pane, key) lies in one row");
    }
    out
}

struct Event {
    at: Timestamp,
    values: [Value; 3],
}

/// All events of one partition, and where its segments start.
pub struct Oracle {
    events: Vec<Event>,
    starts: Vec<u64>,
    open: OpenSegment,
}

impl Default for Oracle {
    fn default() -> Self {
        Oracle { events: Vec::new(), starts: vec![0], open: OpenSegment::at(Offset(0)) }
    }
}

impl Oracle {
    /// Makes up the next event, logged at `now`; answers with its JSON.
    pub fn push(&mut self, dice: &mut Dice, rule: SegmentRule, now: Timestamp) -> String {
        let late = if dice.one_in(4) { dice.below(40_000) } else { dice.below(900) };
        let at = now.0 / 1_000 - late as i64;
        let page = ["/", "/a", "all", "", "null", "a\\\"b"][dice.below(6) as usize];
        let size = dice.below(5) as i64 - 2;
        let delay = [0.1, 0.2, 1e300, -1e300, 1e-300, 3.5][dice.below(6) as usize];
        let text = page.replace("\\\"", "\"");
        let values = [Value::text(&text), Value::Int(size), Value::Float(delay)];
        let offset = Offset(self.events.len() as u64);
        self.events.push(Event { at: Timestamp(at * 1_000), values });
        self.starts.extend(self.open.admit(rule, offset, now).map(|start| start.0));
        format!("{{\"at\":{at},\"page\":\"{page}\",\"size\":{size},\"delay\":{delay:e}}}")
    }
    pub fn end(&self) -> u64 {
        self.events.len() as u64
    }
    pub fn starts(&self) -> &[u64] {
        &self.starts
    }
    /// The plain fold of the events of a range.
    pub fn fold(&self, view: &View, from: u64, to: u64) -> Groups {
        let mut groups = Groups::new();
        for event in &self.events[from as usize..to as usize] {
            let key = view.dimensions.iter().map(|d| event.values[d.field].clone()).collect();
            let states = (groups.entry((view.pane_of(event.at), key)))
                .or_insert_with(|| view.kinds().into_iter().map(State::empty).collect());
            for (state, definition) in states.iter_mut().zip(&view.states) {
                state.lift(&definition.field.map_or(Value::Null, |field| event.values[field].clone()));
            }
        }
        groups
    }
}
