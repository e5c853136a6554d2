//! The plain oracle: keep every event, recompute from scratch. Every layer is tested against it, and it uses nothing of what
//! they add up with.
mod measures;

use std::collections::BTreeMap;

use num_bigint::BigInt;

use crate::event::batch::{EventBatch, Verdict};
use crate::log::{Offset, OffsetVector};
use crate::time::Timestamp;
use crate::view::aggregate::Figures;
use crate::view::aggregate::partial::Aggregate;
use crate::view::definition::{StateKind, View};
use crate::view::expression::Expression;
use crate::view::value::Value;

/// One record as it was decoded.
#[derive(Debug, Clone)]
pub struct KeptEvent {
    /// Its partition.
    pub partition: u32,
    /// Its offset there.
    pub offset: Offset,
    /// Its event time.
    pub time: Timestamp,
    /// Whether it counts.
    pub verdict: Verdict,
    /// Its source's fields in order.
    pub values: Vec<Value>,
}

/// Every event of one source.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// In any order.
    pub events: Vec<KeptEvent>,
}

/// The window of each event of a count-window view, by partition and offset.
pub type Windows = BTreeMap<(u32, Offset), i64>;

impl KeptEvent {
    /// Whether it is one of a view's events.
    pub fn is_of(&self, view: &View) -> bool {
        let passes = |filter: &Expression| filter.matches(&|field| self.values[field].clone()) == Some(true);
        self.verdict == Verdict::Counts && view.filter.as_ref().is_none_or(passes)
    }
    /// What it says of dimension `d` of a view that it is of; `windows` are [`Oracle::windows`] of that view.
    pub fn dimension(&self, view: &View, d: usize, windows: &Windows) -> Value {
        match d.checked_sub(view.keys().len()) {
            None => self.values[view.dimensions[d].field].clone(),
            Some(0) => Value::Int(i64::from(self.partition)),
            Some(_) => windows.get(&(self.partition, self.offset)).map_or(Value::Null, |window| Value::Int(*window)),
        }
    }
}

impl Oracle {
    /// In which window of a count-window view each of its events lies: as many windows are full as there are events of its key before
    /// it in its partition. Empty for other views.
    pub fn windows(&self, view: &View) -> Windows {
        let mut windows = Windows::new();
        let Some(records) = view.count_window else { return windows };
        let mut in_order: Vec<&KeptEvent> = self.events.iter().filter(|event| event.is_of(view)).collect();
        in_order.sort_by_key(|event| (event.partition, event.offset));
        let mut earlier: BTreeMap<(u32, Vec<Value>), u64> = BTreeMap::new();
        for event in in_order {
            let key = view.keys().iter().map(|dimension| event.values[dimension.field].clone()).collect();
            let rank = earlier.entry((event.partition, key)).or_default();
            windows.insert((event.partition, event.offset), (*rank / records.get()) as i64);
            *rank += 1;
        }
        windows
    }
    /// Keeps the records of one partition, with their final verdicts.
    pub fn keep(&mut self, partition: u32, batch: &EventBatch) {
        for row in 0..batch.offsets.len() {
            let verdict = batch.verdicts[row];
            let fields = if verdict == Verdict::Invalid { 0 } else { batch.columns.len() };
            let values = (0..fields).map(|field| batch.value(field, row)).collect();
            let (offset, time) = (batch.offsets[row], batch.times[row]);
            self.events.push(KeptEvent { partition, offset, time, verdict, values });
        }
    }
    /// What a view says of the panes with end in `(start, end]`, by key (the dimensions in `group_by`, by index): the figures
    /// of each of its states, from the events below `below`. Without dimensions there is one key, even of no events.
    pub fn answer(
        &self,
        view: &View,
        group_by: &[usize],
        (start, end): (Timestamp, Timestamp),
        below: &OffsetVector,
    ) -> BTreeMap<Vec<Value>, Vec<Figures>> {
        let windows = self.windows(view);
        let mut groups: BTreeMap<Vec<Value>, Vec<&KeptEvent>> = BTreeMap::new();
        if group_by.is_empty() {
            groups.insert(Vec::new(), Vec::new());
        }
        for event in &self.events {
            let pane_end = event.time.0 - event.time.0.rem_euclid(view.pane.0) + view.pane.0;
            if event.is_of(view) && event.offset < below.get(event.partition) && start.0 < pane_end && pane_end <= end.0
            {
                let key = group_by.iter().map(|&d| event.dimension(view, d, &windows)).collect();
                groups.entry(key).or_default().push(event);
            }
        }
        let figures = |events: &[&KeptEvent]| -> Vec<Figures> {
            view.states
                .iter()
                .map(|state| {
                    let passing = |event: &&&KeptEvent| state.passes(&|field| event.values[field].clone());
                    (state, events.iter().filter(passing).copied().collect::<Vec<&KeptEvent>>())
                })
                .map(|(state, events)| (state, state.field.unwrap_or(0), events))
                .map(|(state, field, events)| match state.kind {
                    StateKind::Count => Figures { count: events.len() as u64, ..Figures::none() },
                    StateKind::Fixed { scale } => of_fixed(events.iter().map(|event| &event.values[field]), scale),
                    StateKind::Float => of_doubles(events.iter().map(|event| &event.values[field])),
                    StateKind::Partial(aggregate, unit) => match aggregate {
                        Aggregate::Net => measures::net(state, unit, &events),
                        _ => measures::of(aggregate, unit, &state.bounds, &events, field),
                    },
                })
                .collect()
        };
        groups.into_iter().map(|(key, events)| (key, figures(&events))).collect()
    }
}

fn of_fixed<'a>(values: impl Iterator<Item = &'a Value>, scale: u8) -> Figures {
    let numbers: Vec<i128> = values
        .filter_map(|value| match value {
            Value::Int(number) => Some(i128::from(*number)),
            Value::Decimal(number, _) => Some(*number),
            _ => None,
        })
        .collect();
    let (Some(&min), Some(&max)) = (numbers.iter().min(), numbers.iter().max()) else { return Figures::none() };
    let decimal = |number: i128| Value::Decimal(number, scale);
    let sum: i128 = numbers.iter().sum();
    let avg = measures::mean(&BigInt::from(sum), numbers.len() as i64, scale).unwrap_or(f64::NAN);
    let figures = Figures { count: numbers.len() as u64, sum: decimal(sum), avg: Value::Float(avg), ..Figures::none() };
    Figures { min: decimal(min), max: decimal(max), ..figures }
}

fn of_doubles<'a>(values: impl Iterator<Item = &'a Value>) -> Figures {
    let all: Vec<f64> = values.filter_map(|v| if let Value::Float(x) = v { Some(*x) } else { None }).collect();
    let how_many = |what: fn(f64) -> bool| all.iter().filter(|x| what(**x)).count() as u64;
    let not_finite = [how_many(f64::is_nan), how_many(|x| x == f64::INFINITY), how_many(|x| x == f64::NEG_INFINITY)];
    let mut finite: Vec<f64> = all.iter().copied().filter(|x| x.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (finite.first(), finite.last()) else {
        return Figures { not_finite, ..Figures::none() };
    };
    let double = |x: f64| if x.is_finite() { Value::Float(x + 0.0) } else { Value::Null };
    let sum = exact_sum(&finite);
    let figures = Figures {
        count: finite.len() as u64,
        sum: double(sum),
        avg: double(sum / finite.len() as f64),
        ..Figures::none()
    };
    Figures { min: double(*min), max: double(*max), not_finite, ..figures }
}

/// The double nearest to the real sum of finite doubles: every bit of every number is counted in its place.
pub fn exact_sum(numbers: &[f64]) -> f64 {
    let mut places = vec![0i64; 2200]; // places[i] counts 2^(i - 1074)
    for number in numbers {
        let exponent = number.to_bits() >> 52 & 0x7FF;
        let mantissa = number.to_bits() << 12 >> 12 | u64::from(exponent > 0) << 52;
        for bit in (0..53).filter(|bit| mantissa >> bit & 1 == 1) {
            places[exponent.max(1) as usize - 1 + bit] += if *number < 0.0 { -1 } else { 1 };
        }
    }
    let carry = |places: &mut [i64]| {
        places.iter_mut().fold(0, |carry: i64, place| {
            let count = *place + carry;
            *place = count.rem_euclid(2);
            count.div_euclid(2)
        })
    };
    let negative = carry(&mut places.clone()) < 0;
    if negative {
        places.iter_mut().for_each(|place| *place = -*place);
    }
    carry(&mut places);
    let Some(top) = places.iter().rposition(|place| *place == 1) else { return 0.0 };
    // 54 bits from the highest on and one for all that is below them: the conversion to a double rounds them as it should
    let bottom = top.saturating_sub(53);
    let head = places[bottom..=top].iter().rev().fold(0u64, |head, place| head << 1 | *place as u64);
    let below = u64::from(places[..bottom].contains(&1));
    let exponent = bottom as i32 - 1075;
    // in two steps, as neither factor may leave the range of doubles; only a sum that fits 53 bits can be subnormal
    let magnitude = (head << 1 | below) as f64 * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2);
    if negative { -magnitude } else { magnitude }
}
