//! The events of a run as one state sees them, and the pass of each over its column of general partials.
use seam_shared::event::batch::{Column, EventBatch};
use seam_shared::view::aggregate::distinct::{hash_integer, hash_text};
use seam_shared::view::aggregate::partial::{Aggregate, Lifted, Partial};
use seam_shared::view::definition::{StateDefinition, StateKind};
use seam_shared::view::value::Value;

/// What a state measures of a batch.
#[derive(Debug)]
pub struct Measured<'a> {
    /// The state.
    pub definition: &'a StateDefinition,
    /// The batch.
    pub batch: &'a EventBatch,
    /// The partition that the batch is of.
    pub partition: u32,
    /// Which events of the batch the state's own filter lets pass; `None`: all.
    pub passes: Option<&'a [bool]>,
    /// Which events of the batch take back what earlier ones said; `None`: none do.
    pub retracted: Option<&'a [bool]>,
}

impl<'a> Measured<'a> {
    /// The column of its field.
    pub fn column(&self) -> Option<&'a Column> {
        self.definition.field.map(|field| &self.batch.columns[field])
    }
    fn texts(&self) -> &'a [Value] {
        let texts = self.definition.field.and_then(|field| self.batch.dictionaries.get(field));
        texts.map_or(&[][..], |texts| texts.as_slice())
    }
}

/// Lifts events, each given with the row that it falls in, into general partials: one pass, the kind decided once.
pub fn lift_partials(
    partials: &mut [Partial],
    measured: &Measured<'_>,
    events: impl Iterator<Item = (usize, usize)> + Clone,
) {
    let StateKind::Partial(aggregate, _) = measured.definition.kind else {
        debug_assert!(false, "a general partial is of an aggregate");
        return;
    };
    let Some(column) = measured.column() else { return lift_values(partials, measured, aggregate, events) };
    match (aggregate, column) {
        (Aggregate::Variance, Column::Int(..) | Column::Decimal(..) | Column::Float(..)) => numbers(
            column,
            events,
            partials,
            |partial, number| partial.variance().into_iter().for_each(|v| v.lift_fixed(number)),
            |partial, number| partial.variance().into_iter().for_each(|v| v.lift_double(number)),
        ),
        (Aggregate::Quantiles(parts), Column::Int(..) | Column::Decimal(..) | Column::Float(..)) => numbers(
            column,
            events,
            partials,
            |partial, number| partial.quantiles().into_iter().for_each(|q| q.lift_fixed(number, parts)),
            |partial, number| partial.quantiles().into_iter().for_each(|q| q.lift_double(number, parts)),
        ),
        (Aggregate::Distinct, Column::Int(values, valid)) => {
            for (event, slot) in events.filter(|&(event, _)| valid[event]) {
                partials[slot].distinct().into_iter().for_each(|d| d.insert(hash_integer(values[event])));
            }
        }
        (Aggregate::Distinct, Column::Str(codes)) => {
            let texts = measured.texts();
            for (event, slot) in events {
                if let Value::Str(text) = &texts[codes[event] as usize] {
                    partials[slot].distinct().into_iter().for_each(|d| d.insert(hash_text(text)));
                }
            }
        }
        _ => lift_values(partials, measured, aggregate, events),
    }
}

/// The numbers of a column that are there, each with its partial.
fn numbers(
    column: &Column,
    events: impl Iterator<Item = (usize, usize)>,
    partials: &mut [Partial],
    fixed: impl Fn(&mut Partial, i128),
    double: impl Fn(&mut Partial, f64),
) {
    match column {
        Column::Int(values, valid) => {
            events.filter(|&(e, _)| valid[e]).for_each(|(e, slot)| fixed(&mut partials[slot], values[e].into()));
        }
        Column::Decimal(values, valid, _) => {
            events.filter(|&(e, _)| valid[e]).for_each(|(e, slot)| fixed(&mut partials[slot], values[e]));
        }
        Column::Float(values, valid) => {
            events.filter(|&(e, _)| valid[e]).for_each(|(e, slot)| double(&mut partials[slot], values[e]));
        }
        Column::Str(_) | Column::Bool(..) => {}
    }
}

/// Any aggregate of any column, value by value.
fn lift_values(
    partials: &mut [Partial],
    measured: &Measured<'_>,
    aggregate: Aggregate,
    events: impl Iterator<Item = (usize, usize)>,
) {
    let (batch, bounds) = (measured.batch, &measured.definition.bounds);
    let texts = measured.texts();
    let codes = if let Some(Column::Str(codes)) = measured.column() { Some(codes) } else { None };
    for (event, slot) in events {
        let made;
        let value = match codes {
            Some(codes) => &texts[codes[event] as usize],
            None => {
                made = measured.definition.measured(&|field| batch.value(field, event));
                &made
            }
        };
        let retracted = measured.retracted.is_some_and(|retracted| retracted[event]);
        let (time, offset, partition) = (batch.times[event], batch.offsets[event], measured.partition);
        partials[slot].lift(aggregate, bounds, &Lifted { time, partition, offset, value, retracted });
    }
}
