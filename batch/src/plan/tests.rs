//! The plan against a plain fold, on random views over hostile events.
use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
pub use seam_generator::Dice as Random;
use seam_shared::event::batch::{Column, EventBatch, Verdict};
use seam_shared::lake::archive::ArchiveFile;
use seam_shared::lake::archive_file;
use seam_shared::log::{Chunk, Offset};
use seam_shared::segment::SegmentRule;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::State;
use seam_shared::view::aggregate::partial::{Aggregate, Lifted};
use seam_shared::view::aggregate::unit::Unit;
use seam_shared::view::definition::{DimensionDefinition, Field, Source, StateDefinition, StateKind, View};
use seam_shared::view::expression::{Comparison, Expression};
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::{FieldType, Value};

use super::{Fold, Input, Slice};

const TYPES: [FieldType; 7] = [
    FieldType::String,
    FieldType::Bool,
    FieldType::Int,
    FieldType::Decimal(2),
    FieldType::Float,
    FieldType::String,
    FieldType::Decimal(18),
];

pub fn source() -> Arc<Source> {
    let field = |(i, &field_type): (usize, &FieldType)| Field::new(format!("f{i}"), vec![format!("f{i}")], field_type);
    Arc::new(Source {
        name: "events".to_owned(),
        id: None,
        time: vec!["time".to_owned()],
        fields: TYPES.iter().enumerate().map(field).collect(),
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    })
}

/// A value of the type, often an extreme one.
fn value(random: &mut Random, field_type: FieldType) -> Value {
    const TEXTS: [&str; 9] = [
        "",
        "a",
        "b",
        "null",
        "zz\u{0}",
        "exactly12byt",
        "thirteen_byte",
        "ä",
        "a text that is far longer than twelve bytes",
    ];
    const INTS: [i64; 8] = [0, 1, -1, 7, i64::MAX, i64::MIN, i64::MAX - 1, 1 << 40];
    const FLOATS: [f64; 14] = [
        0.0,
        1.0,
        -1.0,
        0.1,
        1e300,
        -1e300,
        5e-324,
        f64::MAX,
        f64::MIN,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e-20,
        3.5,
    ];
    let huge = 10i128.pow(28) - 1;
    if random.one_in(6) {
        return Value::Null;
    }
    match field_type {
        FieldType::String => Value::text(TEXTS[random.below(9) as usize]),
        FieldType::Bool => Value::Bool(random.one_in(2)),
        FieldType::Int => Value::Int(if random.one_in(3) { *random.pick(&INTS) } else { random.below(5) as i64 - 2 }),
        FieldType::Decimal(scale) => Value::Decimal(
            if random.one_in(3) { *random.pick(&[huge, -huge, 0]) } else { random.below(9) as i128 - 4 },
            scale,
        ),
        FieldType::Float => Value::Float(*random.pick(&FLOATS)),
    }
}

/// Events: time, verdict and one value a field.
pub struct Event(pub Timestamp, pub Verdict, pub Vec<Value>);

pub fn events(random: &mut Random, source: &Source, count: usize, base: Timestamp) -> Vec<Event> {
    let tame = random.one_in(2); // half of all streams stay small, so that the narrow sums are used too
    let event = |_| {
        let time = base.plus(Span(random.below(Span::HOUR.0 as u64 * 3) as i64));
        let time = if random.one_in(9) { time.floor(Span::MINUTE) } else { time };
        let verdict = if random.one_in(8) { Verdict::Duplicate } else { Verdict::Counts };
        let verdict = if random.one_in(12) { Verdict::Invalid } else { verdict };
        let mut values: Vec<Value> = source.fields.iter().map(|f| value(random, f.field_type)).collect();
        for value in &mut values {
            match value {
                Value::Int(v) if tame => *v %= 100,
                Value::Decimal(v, _) if tame => *v %= 1000,
                _ => {}
            }
        }
        Event(time, verdict, values)
    };
    (0..count).map(event).collect()
}

/// The events as an archive file.
pub fn file(source: &Source, from: u64, events: &[Event]) -> archive_file::Written {
    let mut chunk = Chunk::at(Offset(from));
    let mut batch = EventBatch::default();
    for (i, event) in events.iter().enumerate() {
        chunk.push(Offset(from + i as u64), Timestamp(i as i64), b"{}");
        batch.offsets.push(Offset(from + i as u64));
        batch.log_times.push(Timestamp(i as i64));
        batch.verdicts.push(event.1);
        batch.times.push(event.0);
        batch.ids.push(None);
    }
    for (f, field) in source.fields.iter().enumerate() {
        let values = events.iter().map(|event| &event.2[f]);
        let valid: Vec<bool> = values.clone().map(|v| *v != Value::Null).collect();
        if field.field_type == FieldType::String {
            let mut dictionary = vec![Value::Null];
            let codes = values.map(|v| match dictionary.iter().position(|known| known == v) {
                Some(code) => code as u32,
                None => {
                    dictionary.push(v.clone());
                    dictionary.len() as u32 - 1
                }
            });
            batch.columns.push(Column::Str(codes.collect()));
            batch.dictionaries.push(dictionary.into());
            continue;
        }
        batch.dictionaries.push(Vec::new().into());
        batch.columns.push(match field.field_type {
            FieldType::Bool => Column::Bool(values.map(|v| *v == Value::Bool(true)).collect(), valid),
            FieldType::Int => Column::Int(values.map(|v| if let Value::Int(v) = v { *v } else { 0 }).collect(), valid),
            FieldType::Decimal(scale) => Column::Decimal(
                values.map(|v| if let Value::Decimal(v, _) = v { *v } else { 0 }).collect(),
                valid,
                scale,
            ),
            _ => Column::Float(values.map(|v| if let Value::Float(v) = v { *v } else { 0.0 }).collect(), valid),
        });
    }
    archive_file::write(source, 0, &[(batch, chunk)], Offset(from)..Offset(from + events.len() as u64)).unwrap()
}

fn condition(random: &mut Random, source: &Source, depth: u32) -> Expression {
    const COMPARISONS: [Comparison; 6] =
        [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge];
    let field = random.below(source.fields.len() as u64) as usize;
    let literal = |random: &mut Random| loop {
        match value(random, source.fields[field].field_type) {
            Value::Null => {}
            Value::Float(v) if !v.is_finite() => {}
            value => return value,
        }
    };
    match random.below(if depth == 0 { 3 } else { 6 }) {
        0 => Expression::Compare(field, *random.pick(&COMPARISONS), literal(random)),
        1 => Expression::In(field, (0..=random.below(3)).map(|_| literal(random)).collect()),
        2 => Expression::IsNull(field),
        3 => Expression::Not(Box::new(condition(random, source, depth - 1))),
        4 => Expression::And((0..2).map(|_| condition(random, source, depth - 1)).collect()),
        _ => Expression::Or((0..2).map(|_| condition(random, source, depth - 1)).collect()),
    }
}

/// A state of any aggregate over a field that it can measure.
fn general(random: &mut Random, source: &Source) -> StateDefinition {
    let field = random.below(source.fields.len() as u64) as usize;
    let field_type = source.fields[field].field_type;
    let is_number = !matches!(field_type, FieldType::String | FieldType::Bool);
    let aggregate = match random.below(if is_number { 6 } else { 3 }) {
        0 => Aggregate::Distinct,
        1 => Aggregate::First,
        2 => Aggregate::Last,
        3 => Aggregate::Variance,
        4 => Aggregate::Quantiles(50),
        _ => Aggregate::Histogram,
    };
    let mut state = StateDefinition::new(StateKind::Partial(aggregate, Unit::of(field_type)), Some(field));
    state.bounds = match (aggregate, field_type) {
        (Aggregate::Histogram, FieldType::Int) => [-1, 0, 1].map(Value::Int).into(),
        (Aggregate::Histogram, FieldType::Float) => [-1.0, 0.5, 1e300].map(Value::Float).into(),
        (Aggregate::Histogram, FieldType::Decimal(scale)) => [-1, 1].map(|n| Value::Decimal(n, scale)).into(),
        _ => Arc::default(),
    };
    state
}

pub fn view(random: &mut Random, source: &Arc<Source>) -> View {
    let fields: Vec<usize> = (0..source.fields.len()).filter(|_| random.one_in(3)).collect();
    let dimension = |field: usize| DimensionDefinition {
        name: source.fields[field].name.clone(),
        field,
        field_type: source.fields[field].field_type,
    };
    let dimensions =
        fields.into_iter().filter(|&f| source.fields[f].field_type != FieldType::Float).map(dimension).collect();
    let mut states = vec![StateDefinition::new(StateKind::Count, None)];
    for (field, definition) in source.fields.iter().enumerate() {
        let kind = match definition.field_type {
            FieldType::Int => StateKind::Fixed { scale: 0 },
            FieldType::Decimal(scale) => StateKind::Fixed { scale },
            FieldType::Float => StateKind::Float,
            FieldType::String | FieldType::Bool => continue,
        };
        if random.one_in(2) {
            states.push(StateDefinition::new(kind, Some(field)));
        }
    }
    for _ in 0..random.below(4) {
        states.push(general(random, source));
    }
    for state in &mut states {
        if random.one_in(4) {
            state.filter = Some(Arc::new(condition(random, source, 1)));
        }
    }
    View {
        name: "random".to_owned(),
        id: "random@0".into(),
        source: Arc::clone(source),
        filter: random.one_in(2).then(|| condition(random, source, 2)),
        dimensions,
        keyed: false,
        count_window: None,
        pane: *random.pick(&[Span::MINUTE, Span(10 * Span::SECOND.0), Span::HOUR, Span(15 * Span::MINUTE.0)]),
        windows: Vec::new(),
        states,
        measures: Vec::new(),
    }
}

/// The same by a plain fold of one event after the other.
pub fn fold(view: &View, events: &[Event], slice: Slice) -> Rows {
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    for (offset, Event(time, verdict, values)) in events.iter().enumerate() {
        let matches = view.filter.as_ref().is_none_or(|f| f.matches(&|field| values[field].clone()) == Some(true));
        if *verdict != Verdict::Counts || !matches || *time < slice.start || *time >= slice.end {
            continue;
        }
        let key: Vec<Value> = view.dimensions.iter().map(|d| values[d.field].clone()).collect();
        let states = view.states.iter().map(|definition| {
            let mut state = State::empty(definition.kind);
            let value = &definition.measured(&|field| values[field].clone());
            let retracted = definition.retracts(&|field| values[field].clone());
            if definition.passes(&|field| values[field].clone()) {
                let (partition, offset) = (0, Offset(offset as u64));
                state.lift_event(definition, &Lifted { time: *time, partition, offset, value, retracted });
            }
            state
        });
        let states: Vec<State> = states.collect();
        groups.merge_row(view.pane_of(*time), &key, &states);
    }
    groups.into_rows()
}

fn archived(source: &Source, from: u64, events: &[Event]) -> (Vec<u8>, ArchiveFile) {
    let written = file(source, from, events);
    let archived = ArchiveFile {
        path: Path::from("archive/events/file.parquet"),
        partition: 0,
        from: Offset(from),
        to: Offset(from + events.len() as u64),
        boundaries: Vec::new(),
        anchor: None,
        excluded: None,
        blake3: String::new(),
        bytes: written.bytes.len() as u64,
        footer: written.footer,
        rows: written.rows,
        days: written.days,
        times: written.times,
    };
    (written.bytes.into(), archived)
}

async fn fetch(view: &View, slice: Slice, (bytes, archived): (Vec<u8>, ArchiveFile)) -> Input {
    let store = InMemory::new();
    store.put(&archived.path, bytes.into()).await.unwrap();
    Input::fetch(&store, &archived, view, slice).await.unwrap()
}

async fn input(view: &View, slice: Slice, from: u64, events: &[Event]) -> Input {
    fetch(view, slice, archived(&view.source, from, events)).await
}

fn compute(view: &View, inputs: &[Input], slice: Slice) -> Rows {
    let mut fold = Fold::new(Arc::new(view.clone()), slice);
    inputs.iter().for_each(|input| fold.add(input, None).unwrap());
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    let mut last = None;
    fold.take(slice, |rows| {
        let mut canonical = rows.clone();
        canonical.sort();
        assert_eq!(canonical.panes, rows.panes, "pieces come in canonical order");
        for (d, dimension) in canonical.dimensions.iter().enumerate() {
            (0..rows.len()).for_each(|i| assert_eq!(&dimension.values[dimension.codes[i] as usize], rows.value(d, i)));
        }
        assert!(last < rows.panes.first().copied(), "a pane is in one piece");
        last = rows.panes.last().copied();
        groups.merge(rows);
        Ok(())
    })
    .unwrap();
    groups.into_rows()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_equals_the_fold_bit_for_bit() {
    let source = source();
    let (mut groups, mut filtered) = (0, 0);
    for seed in 0..1000 {
        let mut random = Random(seed);
        let base =
            *random.pick(&[Timestamp(1_780_272_000_000_000), Timestamp(-Span::DAY.0 * 400), Timestamp(-Span::HOUR.0)]);
        let (first, second) = (random.below(60) as usize, random.below(200) as usize);
        let mut all = events(&mut random, &source, first, base);
        let mut more = events(&mut random, &source, second + 1, base);
        let view = view(&mut random, &source);
        let start = base.floor(Span::HOUR);
        let hours = random.below(4) as i64 + 1;
        let slice = Slice { start, end: start.plus(Span(hours * Span::HOUR.0)) };
        if random.one_in(2) {
            all.iter_mut().chain(&mut more).for_each(|event| event.1 = Verdict::Counts);
        }
        if random.one_in(2) {
            all.push(Event(slice.end, Verdict::Counts, source.fields.iter().map(|_| Value::Null).collect()));
        }
        let first = all.len();
        let inputs = [input(&view, slice, 0, &all).await, input(&view, slice, first as u64, &more).await];
        all.extend(more);
        let expected = fold(&view, &all, slice);
        let found = compute(&view, &inputs, slice);
        assert_eq!(found, expected, "seed {seed} {view:?}");
        assert_eq!(found.encode(), expected.encode(), "seed {seed}");
        groups += found.len();
        filtered += usize::from(view.filter.is_some() && !found.is_empty());
    }
    assert!(groups > 10_000 && filtered > 100, "the cases must say something: {groups} groups, {filtered} filtered");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_groups_and_early_folds_make_no_difference() {
    let source = source();
    for seed in 0..6 {
        let mut random = Random(seed);
        let base = Timestamp(1_780_272_000_000_000);
        let slice = Slice { start: base, end: base.plus(Span(Span::HOUR.0 * if seed < 3 { 3 } else { 2 })) };
        let mut view = view(&mut random, &source);
        view.dimensions.truncate(seed as usize % 3);
        // more than a row group holds, and a second file whose events come late
        let (mut all, mut more) =
            (events(&mut random, &source, 140_000, base), events(&mut random, &source, 30_000, base));
        if seed % 2 == 0 {
            all.iter_mut().chain(&mut more).for_each(|event| event.1 = Verdict::Counts);
        }
        let inputs = [input(&view, slice, 0, &all).await, input(&view, slice, all.len() as u64, &more).await];
        assert!(inputs[0].groups() == 2 || seed >= 3, "the span has all events");
        all.extend(more);
        let (found, expected) = (compute(&view, &inputs, slice), fold(&view, &all, slice));
        assert_eq!(found.encode(), expected.encode(), "seed {seed} {view:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_its_table_says_is_refused() {
    let source = source();
    let mut random = Random(11);
    let base = Timestamp(1_780_272_000_000_000);
    let slice = Slice { start: base, end: base.plus(Span::DAY) };
    let states = vec![StateDefinition::new(StateKind::Count, None)];
    let counts = View { filter: None, states, ..view(&mut random, &source) };
    let mut all = events(&mut random, &source, 50, base);
    all[7].1 = Verdict::Invalid;
    let mut said = archived(&source, 0, &all);
    said.1.days = [(base, 50)].into();
    let input = fetch(&counts, slice, said).await;
    assert!(input.all_count && input.all_within, "the table says so");
    let error = Fold::new(Arc::new(counts.clone()), slice).add(&input, None).expect_err("an event has no time");
    assert_eq!(error.kind(), seam_shared::error::Kind::Corrupt);
    // and one whose events are not within the times that it is said to have
    all.iter_mut().for_each(|event| event.1 = Verdict::Counts);
    let mut said = archived(&source, 0, &all);
    said.1.times = Some((base, base));
    let early = Slice { start: base, end: base.plus(Span::HOUR) };
    let input = fetch(&counts, early, said).await;
    let error = Fold::new(Arc::new(counts), early).add(&input, None).expect_err("events are outside");
    assert_eq!(error.kind(), seam_shared::error::Kind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wide_dimensions_make_keys_too() {
    let source = source();
    let mut random = Random(7);
    let base = Timestamp(1_780_272_000_000_000);
    let mut all = events(&mut random, &source, 3000, base);
    for event in &mut all {
        event.2[2] = Value::Int(random.bits() as i64);
        event.2[3] = Value::Decimal(random.bits() as i128, 2);
        event.2[6] = Value::Decimal(random.bits() as i128, 18);
        event.2[0] = Value::text(&format!("a long text number {}", random.bits()));
        event.2[5] = Value::text(&random.below(100_000).to_string());
    }
    let mut wide = view(&mut random, &source);
    wide.filter = None;
    wide.dimensions = [0, 2, 3, 5, 6]
        .map(|f| DimensionDefinition { name: format!("f{f}"), field: f, field_type: source.fields[f].field_type })
        .to_vec();
    let slice = Slice { start: base, end: base.plus(Span::DAY) };
    let found = compute(&wide, &[input(&wide, slice, 0, &all).await], slice);
    assert_eq!(found, fold(&wide, &all, slice));
    assert!(found.len() > 2000);
}
