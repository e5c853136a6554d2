//! Random views over a source: dimensions of every type that may be one, conditions, panes and states.
use std::num::NonZeroU64;
use std::sync::Arc;

use seam_shared::time::Span;
use seam_shared::view::aggregate::partial::Aggregate;
use seam_shared::view::aggregate::unit::Unit;
use seam_shared::view::definition::{DimensionDefinition, Source, StateDefinition, StateKind, View};
use seam_shared::view::expression::{Comparison, Expression};
use seam_shared::view::value::{FieldType, Value};

use crate::dice::Dice;
use crate::hostile::values;

const PANES: [Span; 7] = [
    Span(100_000),
    Span::SECOND,
    Span(10 * Span::SECOND.0),
    Span::MINUTE,
    Span(15 * Span::MINUTE.0),
    Span::HOUR,
    Span::DAY,
];

/// View `number` of the seed; one of four has a count window.
pub fn view(dice: &Dice, source: &Arc<Source>, number: usize) -> Arc<View> {
    let is_counted = dice.one_in(4);
    make(dice, source, number, 4, is_counted)
}

/// View `number` of the seed, with a count window and few keys.
pub fn counted(dice: &Dice, source: &Arc<Source>, number: usize) -> Arc<View> {
    make(dice, source, number, 1, true)
}

fn make(dice: &Dice, source: &Arc<Source>, number: usize, dimensions: u64, is_counted: bool) -> Arc<View> {
    let mut fields: Vec<usize> =
        (0..source.fields.len()).filter(|&f| source.fields[f].field_type != FieldType::Float).collect();
    let wanted = dice.below(1 + dimensions) as usize;
    while fields.len() > wanted {
        fields.swap_remove(dice.below(fields.len() as u64) as usize);
    }
    let dimension = |field: usize| DimensionDefinition {
        name: source.fields[field].name.clone(),
        field,
        field_type: source.fields[field].field_type,
    };
    let mut states = vec![StateDefinition::new(StateKind::Count, None)];
    for (field, definition) in source.fields.iter().enumerate() {
        let kind = match definition.field_type {
            FieldType::Int => StateKind::Fixed { scale: 0 },
            FieldType::Decimal(scale) => StateKind::Fixed { scale },
            FieldType::Float => StateKind::Float,
            FieldType::String | FieldType::Bool => continue,
        };
        if !dice.one_in(3) {
            states.push(StateDefinition::new(kind, Some(field)));
        }
    }
    for _ in 0..dice.below(5) {
        states.push(general(dice, source));
    }
    for state in &mut states {
        if dice.one_in(4) {
            state.filter = Some(Arc::new(condition(dice, source, 1)));
        }
    }
    if states.len() > 1 && dice.one_in(8) {
        states.remove(0); // a view need not count its events
    }
    let keyed = !fields.is_empty() && dice.one_in(3);
    let mut dimensions: Vec<DimensionDefinition> = fields.into_iter().map(dimension).collect();
    let count_window = is_counted.then(|| NonZeroU64::MIN.saturating_add(dice.below(6)));
    if count_window.is_some() {
        dimensions.extend(DimensionDefinition::of_count_window());
        if !states.iter().any(StateDefinition::counts_events) {
            states.push(StateDefinition::new(StateKind::Count, None));
        }
    }
    Arc::new(View {
        name: format!("view{number}"),
        id: format!("view{number}@random").into(),
        source: source.clone(),
        filter: dice.one_in(2).then(|| condition(dice, source, 3)),
        dimensions,
        keyed,
        count_window,
        pane: PANES[dice.below(PANES.len() as u64) as usize],
        windows: Vec::new(),
        states,
        measures: Vec::new(),
    })
}

/// A state of any aggregate over a field that it can measure.
fn general(dice: &Dice, source: &Source) -> StateDefinition {
    let field = dice.below(source.fields.len() as u64) as usize;
    let field_type = source.fields[field].field_type;
    let is_number = !matches!(field_type, FieldType::String | FieldType::Bool);
    let gap = Span([1, 1_000_000, 60_000_000, 3_600_000_000][dice.below(4) as usize]);
    if dice.one_in(4) {
        return net(dice, source, field);
    }
    let aggregate = match dice.below(if is_number { 7 } else { 4 }) {
        0 => Aggregate::Distinct,
        1 => Aggregate::First,
        2 => Aggregate::Last,
        3 if field_type != FieldType::Float => Aggregate::Sessions(gap),
        4 => Aggregate::Variance,
        5 => Aggregate::Quantiles([1, 50, 999][dice.below(3) as usize]),
        _ => Aggregate::Histogram,
    };
    let mut state = StateDefinition::new(StateKind::Partial(aggregate, Unit::of(field_type)), Some(field));
    if aggregate == Aggregate::Histogram {
        let mut bounds: Vec<Value> = (0..=dice.below(4)).map(|_| literal(dice, field_type)).collect();
        bounds.sort();
        bounds.dedup();
        state.bounds = bounds.into();
    }
    state
}

/// A state of events, or of numbers where the field has them, some of which take back what others said.
fn net(dice: &Dice, source: &Source, field: usize) -> StateDefinition {
    let field_type = source.fields[field].field_type;
    let is_number = !matches!(field_type, FieldType::String | FieldType::Bool);
    let field = (is_number && !dice.one_in(4)).then_some(field);
    let unit = field.map_or(Unit::Scaled(0), |_| Unit::of(field_type));
    let mut state = StateDefinition::new(StateKind::Partial(Aggregate::Net, unit), field);
    state.retract = (!dice.one_in(6)).then(|| Arc::new(condition(dice, source, 1)));
    state
}

/// A value that may be written in a definition.
fn literal(dice: &Dice, field_type: FieldType) -> Value {
    loop {
        match values::value(dice, field_type) {
            Value::Null => {}
            Value::Float(v) if !v.is_finite() => {}
            value => return value,
        }
    }
}

/// A random condition that nests up to `depth` deep.
pub fn condition(dice: &Dice, source: &Source, depth: u32) -> Expression {
    const COMPARISONS: [Comparison; 6] =
        [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge];
    let field = dice.below(source.fields.len() as u64) as usize;
    let literal = || literal(dice, source.fields[field].field_type);
    let parts = || (0..2 + dice.below(2)).map(|_| condition(dice, source, depth - 1)).collect();
    match dice.below(if depth == 0 { 3 } else { 6 }) {
        0 => {
            // true and false have no order
            let comparisons = if source.fields[field].field_type == FieldType::Bool { 2 } else { 6 };
            Expression::Compare(field, COMPARISONS[dice.below(comparisons) as usize], literal())
        }
        1 => Expression::In(field, (0..=dice.below(3)).map(|_| literal()).collect()),
        2 => Expression::IsNull(field),
        3 => Expression::Not(Box::new(condition(dice, source, depth - 1))),
        4 => Expression::And(parts()),
        _ => Expression::Or(parts()),
    }
}
