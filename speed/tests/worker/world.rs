//! A small random world: a source with every type of field, views, hostile events, and a lake that is only cuts.
use std::sync::Arc;

use bytes::Bytes;
pub use seam_generator::Dice as Random;
use seam_shared::clock::ManualClock;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{EventLog, NewRecord, Partition};
use seam_shared::segment::SegmentRule;
use seam_shared::state::memory::MemoryState;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{
    DimensionDefinition, DuplicateRule, Field, Figure, Measure, Source, StateDefinition, StateKind, View,
};
use seam_shared::view::expression::{Comparison, Expression};
use seam_shared::view::value::{FieldType, Value};
use seam_speed::cuts::by_hand::CutsByHand;
use seam_speed::recover::Places;

pub struct World {
    pub random: Random,
    pub clock: Arc<ManualClock>,
    pub log: Arc<MemoryLog>,
    pub state: Arc<MemoryState>,
    pub cuts: Arc<CutsByHand>,
    pub source: Arc<Source>,
    pub partition: Partition,
}

pub fn source(random: &mut Random) -> Arc<Source> {
    let field = |name: &str, field_type| Field::new(name, vec![name.to_owned()], field_type);
    Arc::new(Source {
        name: "clicks".to_owned(),
        id: Some(vec!["id".to_owned()]),
        time: vec!["at".to_owned()],
        fields: vec![
            field("page", FieldType::String),
            field("country", FieldType::String),
            field("mobile", FieldType::Bool),
            field("size", FieldType::Int),
            field("price", FieldType::Decimal(2)),
            field("delay", FieldType::Float),
        ],
        duplicates: (!random.one_in(4)).then(|| DuplicateRule {
            horizon: Span(Span::SECOND.0 * (1 + random.below(60) as i64)),
            max_records: 1 + random.below(12),
        }),
        segments: SegmentRule { max_events: 1 + random.below(9), interval: Span(Span::SECOND.0 * 10) },
        partitions: 1,
    })
}

/// View `number`: fine, coarse, filtered, total, or with every kind of dimension.
pub fn view(source: &Arc<Source>, number: usize) -> Arc<View> {
    let dimensions: &[usize] = [&[0, 1][..], &[1], &[0], &[], &[3, 2, 0, 4, 0]][number % 5];
    let filter = (number % 5 == 2)
        .then(|| Expression::Or(vec![Expression::Compare(3, Comparison::Gt, Value::Int(2)), Expression::IsNull(3)]));
    Arc::new(View {
        name: format!("view{number}"),
        id: format!("view{number}@test").into(),
        source: source.clone(),
        filter,
        dimensions: (dimensions.iter().enumerate())
            .map(|(d, &field)| DimensionDefinition {
                name: format!("d{d}"),
                field,
                field_type: source.fields[field].field_type,
            })
            .collect(),
        keyed: false,
        count_window: None,
        pane: [Span::SECOND, Span::MINUTE][number % 2],
        windows: vec![Span::MINUTE],
        states: vec![
            StateDefinition::new(StateKind::Count, None),
            StateDefinition::new(StateKind::Fixed { scale: 0 }, Some(3)),
            StateDefinition::new(StateKind::Fixed { scale: 2 }, Some(4)),
            StateDefinition::new(StateKind::Float, Some(5)),
        ],
        measures: vec![Measure { name: "events".to_owned(), state: 0, figure: Figure::Count }],
    })
}

impl World {
    pub async fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let clock = Arc::new(ManualClock::at(Timestamp(1_780_272_000_000_000)));
        let log = Arc::new(MemoryLog::new(clock.clone()));
        let source = source(&mut random);
        log.open(&source.name, 1).await.unwrap();
        let partition = Partition::new("clicks", 0);
        World { random, clock, log, state: Arc::default(), cuts: Arc::default(), source, partition }
    }

    pub fn places(&self) -> Places {
        Places { log: self.log.clone(), state: self.state.clone(), cuts: self.cuts.clone() }
    }

    /// Appends some records: few ids, late times, nulls, numbers that are none, and now and then rubbish.
    pub async fn produce(&mut self, records: u64) {
        for _ in 0..records {
            let step = [0, 1_000, 3_000_000, 11_000_000, -2_000_000][self.random.below(5) as usize];
            seam_shared::clock::ManualClock::advance(&self.clock, step);
            if self.random.one_in(15) {
                self.log.skip(&self.partition, 1 + self.random.below(3)).unwrap();
            }
            let value = self.event();
            let record = NewRecord { partition: 0, value: Bytes::from(value) };
            self.log.append("clicks", vec![record]).await.unwrap();
        }
    }

    fn event(&mut self) -> String {
        let r = &mut self.random;
        if r.one_in(20) {
            return ["", "{", "[]", "{\"at\":\"never\"}", "null"][r.below(5) as usize].to_owned();
        }
        let at = 1_780_272_000_000_i64 - r.below(200_000) as i64;
        let mut out = format!("{{\"at\":{at}");
        let mut put = |name: &str, choices: &[&str], r: &mut Random| {
            let choice = choices[r.below(choices.len() as u64) as usize];
            if !choice.is_empty() {
                out.push_str(&format!(",\"{name}\":{choice}"));
            }
        };
        put("id", &["\"a\"", "\"b\"", "\"c\"", "\"d\"", "\"e\"", "\"f\"", "\"g\"", "\"h\"", ""], r);
        put("page", &["\"/\"", "\"/a\"", "\"\"", "\"null\"", "null", ""], r);
        put("country", &["\"de\"", "\"fr\"", "null"], r);
        put("mobile", &["true", "false", "null", ""], r);
        put("size", &["1", "2", "3", "-9007199254740993", "null", ""], r);
        put("price", &["1.25", "0.1", "-7", "99999999999999999.99", "null", ""], r);
        put("delay", &["0.1", "0.2", "1e300", "-1e300", "-0.0", "\"NaN\"", "\"Infinity\"", "null", ""], r);
        out.push('}');
        out
    }
}
