//! Sources, views, rows and events for the tests of the lake, from a seed.
use std::sync::Arc;

use seam_shared::event::batch::{Column, EventBatch, Verdict};
use seam_shared::log::{Chunk, Offset};
use seam_shared::segment::SegmentRule;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::partial::{Aggregate, Partial};
use seam_shared::view::aggregate::unit::Unit;
use seam_shared::view::aggregate::{FixedStats, FloatStats};
use seam_shared::view::definition::{
    DimensionDefinition, DuplicateRule, Field, Source, StateDefinition, StateKind, View,
};
use seam_shared::view::rows::{Dimension, Rows, States};
use seam_shared::view::value::{FieldType, Value};

/// splitmix64
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub fn source() -> Source {
    let field = |name: &str, field_type| Field::new(name, vec![name.into()], field_type);
    Source {
        name: "clicks".into(),
        id: Some(vec!["id".into()]),
        time: vec!["time".into()],
        fields: vec![
            field("country", FieldType::String),
            field("paid", FieldType::Bool),
            field("items", FieldType::Int),
            field("price", FieldType::Decimal(2)),
            field("delay", FieldType::Float),
        ],
        duplicates: Some(DuplicateRule { horizon: Span::HOUR, max_records: 1_000 }),
        segments: SegmentRule::default(),
        partitions: 2,
    }
}

/// A view with every type of dimension and every kind of state.
pub fn view() -> View {
    let source = source();
    let dimension = |field: usize| {
        let Field { name, field_type, .. } = source.fields[field].clone();
        DimensionDefinition { name, field, field_type }
    };
    let state = |kind, field| StateDefinition::new(kind, field);
    View {
        name: "sales".into(),
        id: "sales@0123abcd".into(),
        dimensions: (0..4).map(dimension).collect(),
        filter: None,
        keyed: false,
        count_window: None,
        pane: Span::MINUTE,
        windows: vec![Span::MINUTE],
        states: vec![
            state(StateKind::Count, None),
            state(StateKind::Fixed { scale: 0 }, Some(2)),
            state(StateKind::Fixed { scale: 2 }, Some(3)),
            state(StateKind::Float, Some(4)),
            state(StateKind::Partial(Aggregate::Distinct, Unit::Scaled(0)), Some(2)),
        ],
        measures: Vec::new(),
        source: Arc::new(source),
    }
}

/// Texts that formats like to get wrong.
const TEXTS: [&str; 9] = ["", "null", "a", "\0", "ü\u{1F980}", "a\"b\\c", "line\nbreak", "%41/..", "NaN"];

fn choices() -> [Vec<Value>; 4] {
    let texts = TEXTS.iter().map(|t| Value::text(t)).chain([Value::Null]).collect();
    let flags = vec![Value::Null, Value::Bool(false), Value::Bool(true)];
    let numbers = [i64::MIN, -1, 0, 7, i64::MAX].map(Value::Int).into_iter().chain([Value::Null]).collect();
    let largest = 10i128.pow(28) - 1;
    let prices =
        [-largest, -1, 0, 1230, largest].map(|d| Value::Decimal(d, 2)).into_iter().chain([Value::Null]).collect();
    [texts, flags, numbers, prices]
}

/// Rows of [`view`] whose dictionaries are shuffled by `order` and hold values that no row uses; the rows depend on `seed` alone.
pub fn rows(seed: u64, count: usize, order: u64) -> Rows {
    let mut random = Random(seed);
    let mut shuffle = Random(order);
    let mut rows = Rows::empty(4, &view().kinds());
    for i in 0..count {
        rows.panes.push(Timestamp(((i / 7) as i64 - 100) * Span::MINUTE.0));
    }
    for (dimension, choices) in rows.dimensions.iter_mut().zip(choices()) {
        let mut places: Vec<usize> = (0..choices.len()).collect();
        (1..places.len()).for_each(|i| places.swap(i, shuffle.below(i as u64 + 1) as usize));
        let used = choices.len() as u64 - 1;
        let codes = (0..count).map(|_| places[random.below(used) as usize] as u32).collect();
        let mut values = vec![Value::Null; choices.len()];
        places.iter().zip(choices).for_each(|(&place, value)| values[place] = value);
        *dimension = Dimension { codes, values };
    }
    for states in &mut rows.states {
        for _ in 0..count {
            let lifts = random.below(4);
            match states {
                States::Count(all) => all.push(random.next() >> 1),
                States::Fixed(all) => {
                    let mut stats = FixedStats::default();
                    (0..lifts).for_each(|_| stats.lift(i128::from(random.next().cast_signed())));
                    all.push(stats);
                }
                States::Float(all) => {
                    let mut stats = FloatStats::default();
                    (0..lifts).for_each(|_| stats.lift(f64::from_bits(random.next())));
                    if random.below(5) == 0 {
                        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().for_each(|v| stats.lift(v));
                    }
                    all.push(stats);
                }
                States::Partial(all) => {
                    let mut partial = Partial::Empty;
                    let values = if random.below(400) == 0 { 1_200 } else { lifts * 3 };
                    (0..values).for_each(|_| partial.distinct().unwrap().insert(random.next()));
                    all.push(partial);
                }
            }
        }
    }
    rows
}

/// What the rows say, whatever their dictionaries look like.
pub fn told(rows: &Rows) -> Vec<(Timestamp, Vec<Value>, Vec<String>)> {
    let row = |i: usize| {
        let key = (0..rows.dimensions.len()).map(|d| rows.value(d, i).clone()).collect();
        (rows.panes[i], key, rows.states.iter().map(|s| format!("{:?}", s.get(i))).collect())
    };
    (0..rows.len()).map(row).collect()
}

/// Decoded events of [`source`] at offsets from `from` on, with their chunk.
pub fn events(seed: u64, from: u64, count: usize) -> (EventBatch, Chunk) {
    let mut random = Random(seed);
    let mut chunk = Chunk::at(Offset(from));
    let mut batch = EventBatch::default();
    let texts: Vec<Value> = [Value::Null].into_iter().chain(TEXTS.iter().map(|t| Value::text(t))).collect();
    let mut columns: (Vec<u32>, Vec<bool>, Vec<i64>, Vec<i128>, Vec<f64>) = Default::default();
    let present: Vec<bool> = (0..count).map(|_| random.below(8) > 0).collect();
    for i in 0..count {
        let (offset, log_time) = (Offset(from + i as u64), Timestamp(1_760_000_000_000_000 + i as i64));
        chunk.push(offset, log_time, format!("{{\"n\":{}}}", random.next()).as_bytes());
        batch.offsets.push(offset);
        batch.log_times.push(log_time);
        let verdicts = [Verdict::Counts, Verdict::Counts, Verdict::Duplicate, Verdict::Invalid];
        batch.verdicts.push(verdicts[random.below(4) as usize]);
        batch.times.push(Timestamp(1_760_000_000_000_000 + random.below(3 * 86_400_000_000) as i64));
        batch.ids.push(Some(&format!("id-{}", random.below(50))));
        columns.0.push(random.below(texts.len() as u64) as u32);
        columns.1.push(random.below(2) == 0);
        columns.2.push(random.next().cast_signed());
        columns.3.push(i128::from(random.next()) * 100_000_000);
        columns.4.push([1.5, f64::NAN, f64::INFINITY, -2e300][random.below(4) as usize]);
    }
    batch.columns = vec![
        Column::Str(columns.0),
        Column::Bool(columns.1, present.clone()),
        Column::Int(columns.2, present.clone()),
        Column::Decimal(columns.3, present.clone(), 2),
        Column::Float(columns.4, present),
    ];
    batch.dictionaries = (0..5).map(|f| if f == 0 { texts.clone() } else { Vec::new() }).map(Into::into).collect();
    (batch, chunk)
}
