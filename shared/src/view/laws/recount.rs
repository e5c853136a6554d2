//! The fold of a stream, in any pieces, against the plain oracle's recount.
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::event::batch::{EventBatch, Verdict};
use crate::log::{Offset, OffsetVector};
use crate::segment::SegmentRule;
use crate::time::{Span, Timestamp};
use crate::view::aggregate::Figures;
use crate::view::aggregate::partial::{Aggregate, Lifted};
use crate::view::aggregate::unit::Unit;
use crate::view::definition::{DimensionDefinition, Source, StateDefinition, StateKind, View};
use crate::view::expression::Expression;
use crate::view::expression::tests::{batches, expressions, fields};
use crate::view::groups::Groups;
use crate::view::oracle::Oracle;
use crate::view::value::Value;

fn view(filter: Option<Expression>, of_state: Option<Expression>) -> View {
    let fields = fields();
    let dimension = |field: usize| DimensionDefinition {
        name: fields[field].name.clone(),
        field,
        field_type: fields[field].field_type,
    };
    let state = |kind, field| StateDefinition::new(kind, field);
    let unit = |field: usize| Unit::of(fields[field].field_type);
    let general = |aggregate, field| state(StateKind::Partial(aggregate, unit(field)), Some(field));
    let (of_state, bounds) = (of_state.map(Arc::new), [-1, 0, 7].map(Value::Int));
    let source = Source {
        name: "clicks".to_owned(),
        id: None,
        time: vec!["time".to_owned()],
        fields: fields.clone(),
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 2,
    };
    View {
        name: "stats".to_owned(),
        id: "stats@1".into(),
        source: Arc::new(source),
        filter,
        dimensions: [0, 4, 2].into_iter().map(dimension).collect(),
        keyed: false,
        count_window: None,
        pane: Span(10),
        windows: vec![Span(30)],
        states: vec![
            state(StateKind::Count, None),
            state(StateKind::Fixed { scale: 0 }, Some(1)),
            state(StateKind::Fixed { scale: 2 }, Some(2)),
            state(StateKind::Float, Some(3)),
            general(Aggregate::Variance, 1),
            general(Aggregate::Variance, 2),
            general(Aggregate::Variance, 3),
            general(Aggregate::Distinct, 0),
            general(Aggregate::Quantiles(50), 2),
            general(Aggregate::Quantiles(7), 3),
            general(Aggregate::First, 0),
            general(Aggregate::Last, 3),
            StateDefinition { bounds: bounds.into(), ..general(Aggregate::Histogram, 1) },
            StateDefinition { filter: of_state.clone(), ..state(StateKind::Count, None) },
            StateDefinition { filter: of_state.clone(), ..state(StateKind::Float, Some(3)) },
            StateDefinition { filter: of_state, ..general(Aggregate::Distinct, 1) },
        ],
        measures: Vec::new(),
    }
}

fn fold(view: &View, partition: u32, batch: &EventBatch, below: Offset) -> Groups {
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    let passes = view.filter.as_ref().map(|filter| filter.filter(batch));
    for row in 0..batch.len() {
        let passes = passes.as_ref().is_none_or(|passes| passes[row]);
        if !passes || batch.verdicts[row] != Verdict::Counts || batch.offsets[row] >= below {
            continue;
        }
        let key: Vec<Value> = view.dimensions.iter().map(|d| batch.value(d.field, row)).collect();
        let codes: Vec<u32> = key.iter().enumerate().map(|(d, value)| groups.intern(d, value)).collect();
        let group = groups.row(view.pane_of(batch.times[row]), &codes);
        for (states, definition) in groups.states_mut().iter_mut().zip(&view.states) {
            if definition.passes(&|field| batch.value(field, row)) {
                let value = &definition.measured(&|field| batch.value(field, row));
                let retracted = definition.retracts(&|field| batch.value(field, row));
                let (time, offset) = (batch.times[row], batch.offsets[row]);
                states.lift_event(group, definition, &Lifted { time, partition, offset, value, retracted });
            }
        }
    }
    groups
}

/// A batch with times, and with records that do not count.
fn stamped() -> impl Strategy<Value = EventBatch> {
    let verdict = prop::sample::select(vec![Verdict::Counts, Verdict::Counts, Verdict::Duplicate, Verdict::Invalid]);
    (batches(), proptest::collection::vec((-40i64..60, verdict), 30)).prop_map(|(mut batch, marks)| {
        let marks = &marks[..batch.len()];
        batch.times = marks.iter().map(|(time, _)| Timestamp(*time)).collect();
        batch.verdicts = marks.iter().map(|(_, verdict)| *verdict).collect();
        batch
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn the_fold_equals_the_recount(
        parts in [stamped(), stamped()],
        filter in proptest::option::weighted(0.3, expressions()),
        of_state in proptest::option::weighted(0.7, expressions()),
        cut in [0u64..31, 0u64..31],
        group_by in prop::sample::select(vec![vec![], vec![0], vec![1], vec![2, 0], vec![0, 1, 2]]),
        (start, length) in (-6i64..6, 1i64..12),
    ) {
        let view = view(filter, of_state);
        let (mut oracle, mut below, mut rolled) = (Oracle::default(), OffsetVector::default(), Groups::new(group_by.len(), &view.kinds()));
        let all: Vec<usize> = (0..view.states.len()).collect();
        let window = (Timestamp(start * 10), Timestamp((start + length) * 10));
        for (number, part) in (0u32..).zip(&parts) {
            oracle.keep(number, part);
            below.set(number, Offset(cut[number as usize]));
            let rows = fold(&view, number, part, Offset(cut[number as usize])).into_rows();
            let inside = |pane: Timestamp| window.0 < pane && pane <= window.1;
            rolled.merge_chosen(&rows, &group_by, &all, |i| inside(rows.panes[i]).then_some(window.1));
        }
        if group_by.is_empty() {
            rolled.row(window.1, &[]);
        }
        let rows = rolled.into_rows();
        let folded: BTreeMap<Vec<Value>, Vec<Figures>> = (0..rows.len()).map(|i| {
            let key = (0..group_by.len()).map(|d| rows.value(d, i).clone()).collect();
            let figures = rows.states.iter().zip(&view.states).map(|(s, state)| s.get(i).present(state)).collect();
            (key, figures)
        }).collect();
        prop_assert_eq!(folded, oracle.answer(&view, &group_by, window, &below));
    }
}
