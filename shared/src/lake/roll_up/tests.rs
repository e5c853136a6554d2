//! Roll-ups hold what their rows hold, however a day was cut, and those are kept that pay.
use super::*;
use crate::view::value::Value;
use std::sync::Arc;

use crate::segment::SegmentRule;
use crate::view::definition::{DimensionDefinition, Field, Source};
use crate::view::value::FieldType;

fn view(pane: Span) -> View {
    let field = |name: &str, field_type| Field::new(name, vec![name.to_owned()], field_type);
    let source = Source {
        name: "clicks".to_owned(),
        id: None,
        time: vec!["time".to_owned()],
        fields: vec![
            field("region", FieldType::String),
            field("product", FieldType::String),
            field("price", FieldType::Decimal(2)),
            field("delay", FieldType::Float),
        ],
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    };
    let dimension =
        |field: usize, name: &str| DimensionDefinition { name: name.to_owned(), field, field_type: FieldType::String };
    View {
        name: "v".to_owned(),
        id: "v@0".into(),
        source: Arc::new(source),
        filter: None,
        keyed: false,
        count_window: None,
        dimensions: vec![dimension(0, "region"), dimension(1, "product")],
        pane,
        windows: vec![pane],
        states: vec![
            StateDefinition::new(StateKind::Count, None),
            StateDefinition::new(StateKind::Fixed { scale: 2 }, Some(2)),
            StateDefinition::new(StateKind::Float, Some(3)),
        ],
        measures: Vec::new(),
    }
}

/// Rows of a day: by minute, few regions, many products.
fn rows(view: &View, day: Timestamp, n: u64) -> Rows {
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    for i in 0..n {
        let random = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let pane = day.plus(Span((random % 1_440) as i64 * Span::MINUTE.0)).floor(view.pane).plus(view.pane);
        let region = if random % 7 == 0 { Value::Null } else { Value::text(["eu", "us"][(random / 7 % 2) as usize]) };
        let key = [region, Value::text(&format!("p{}", random / 1_440 % 40))];
        let codes: Vec<u32> = key.iter().enumerate().map(|(d, value)| groups.intern(d, value)).collect();
        let row = groups.row(pane, &codes);
        let values = [Value::Null, Value::Decimal(i128::from(random % 999), 2), Value::Float(0.1 * i as f64)];
        groups.states_mut().iter_mut().zip(&values).for_each(|(states, value)| states.lift(row, value));
    }
    groups.into_rows()
}

/// The rows rolled up one by one.
fn expected(view: &View, rows: &Rows, level: Level) -> Rows {
    let rolled = view_of(view, level.width);
    let mut groups = Groups::new(2, &rolled.kinds());
    for i in 0..rows.len() {
        let key: Vec<Value> =
            (0..2).map(|d| if level.without == Some(d) { Value::Null } else { rows.value(d, i).clone() }).collect();
        let mut states: Vec<_> = rows.states.iter().map(|states| states.get(i)).collect();
        states.push(crate::view::aggregate::State::Count(1));
        groups.merge_row(rows.panes[i].ceil(level.width), &key, &states);
    }
    groups.into_rows()
}

const DAY: Timestamp = Timestamp(1_780_272_000_000_000);

#[test]
fn roll_ups_hold_the_same_in_fewer_rows_however_the_day_was_cut() {
    for (pane, n) in [(Span::MINUTE, 60_000), (Span(5 * Span::MINUTE.0), 900), (Span::HOUR, 20_000), (Span::MINUTE, 3)]
    {
        let view = view(pane);
        let rows = rows(&view, DAY, n);
        let mut whole = Wide::new(&view, Keep::WhatPays);
        whole.push(&rows);
        let whole = whole.finish().unwrap();
        for cut in [rows.len() / 3, rows.len() / 2, rows.len()] {
            let picks = |range: std::ops::Range<usize>| rows.gather(&range.map(|i| i as u32).collect::<Vec<_>>());
            let [mut first, mut second] = [0; 2].map(|_| Wide::new(&view, Keep::WhatPays));
            first.push(&picks(0..cut));
            second.push(&picks(cut..rows.len()));
            if cut % 2 == 0 {
                first.settle().unwrap();
            }
            first.append(second);
            first.settle().unwrap();
            assert!(first.packed.len() <= 2, "what is complete is not kept");
            assert_eq!(first.finish().unwrap(), whole, "cut at {cut}");
        }
        let found: Vec<Span> = whole.iter().map(|content| content.level.width).collect();
        match (pane, n) {
            (Span::MINUTE, 60_000) => assert_eq!(found, [Span::HOUR, Span::DAY]),
            (Span::HOUR, _) => assert_eq!(found, [Span::DAY]),
            (_, 3) => assert_eq!(found, [], "three rows stay three rows"),
            _ => {}
        }
        let mut narrow = Narrow::new(&view, Keep::All);
        narrow.push(&rows);
        let narrow = narrow.finish().unwrap().unwrap();
        assert_eq!(narrow.level, Level { width: pane, without: Some(1) });
        for content in whole.iter().chain([&narrow]) {
            let mut right = expected(&view, &rows, content.level);
            let (mut found, weights) = read(&view, content.level, &content.bytes).unwrap();
            assert_eq!(content.rows, found.len() as u64);
            found.states.push(weights);
            [&mut right, &mut found].into_iter().for_each(Rows::sort);
            assert_eq!(found, right);
        }
    }
}

#[test]
fn tags_are_read_as_they_were_written() {
    let folder = Path::from("views").join("v@0");
    let rollup = |without| RollUp {
        path: folder.clone().join("rollup-ab.parquet"),
        blake3: "ab".repeat(32),
        bytes: 17,
        rows: 4,
        level: Level { width: Span::DAY, without },
        start: DAY,
        end: DAY.plus(Span::DAY),
    };
    let all = vec![rollup(None), rollup(Some(1))];
    assert_eq!(from_tag(&to_tag(&all), &folder), Some(all));
    assert_eq!(from_tag("[{}]", &folder), None);
    assert_eq!(from_tag("nonsense", &folder), None);
}
