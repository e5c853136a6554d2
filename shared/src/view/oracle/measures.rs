//! The oracle's recount of the general aggregates: sets, sorted lists and integers of any size.
use std::collections::{BTreeMap, BTreeSet};

use num_bigint::BigInt;

use super::KeptEvent;
use crate::view::aggregate::distinct::hash;
use crate::view::aggregate::partial::Aggregate;
use crate::view::aggregate::quantiles::Ranks;
use crate::view::aggregate::sessions::{Session, Summary};
use crate::view::aggregate::unit::Unit;
use crate::view::aggregate::variance::Spread;
use crate::view::aggregate::{Figures, More};
use crate::view::definition::StateDefinition;
use crate::view::value::Value;

/// What events say of a field, which is the aggregate's.
pub(super) fn of(aggregate: Aggregate, unit: Unit, bounds: &[Value], events: &[&KeptEvent], field: usize) -> Figures {
    let value = |event: &KeptEvent| event.values[field].clone();
    let known: Vec<&KeptEvent> = events.iter().copied().filter(|event| value(event) != Value::Null).collect();
    let finite = |event: &&&KeptEvent| !matches!(value(event), Value::Float(x) if !x.is_finite());
    let numbers: Vec<Value> = known.iter().filter(finite).map(|event| value(event)).collect();
    let odd: Vec<f64> =
        known.iter().filter_map(|e| if let Value::Float(x) = value(e) { Some(x) } else { None }).collect();
    let how_many = |what: fn(f64) -> bool| odd.iter().filter(|x| what(**x)).count() as u64;
    let not_finite = [how_many(f64::is_nan), how_many(|x| x == f64::INFINITY), how_many(|x| x == f64::NEG_INFINITY)];
    let (count, none) = (numbers.len() as u64, Figures::none());
    match aggregate {
        Aggregate::Variance => Figures { count, not_finite, more: More::Spread(spread(&numbers, unit)), ..none },
        Aggregate::Distinct => {
            let (count, exact) = distinct(known.iter().map(|event| value(event)));
            Figures { count, more: More::Distinct { exact }, ..none }
        }
        Aggregate::Quantiles(parts) => {
            let mut sorted = numbers;
            sorted.sort();
            let end = |end: Option<&Value>| end.cloned().map_or(Value::Null, |value| shown(value, unit));
            let (min, max) = (end(sorted.first()), end(sorted.last()));
            Figures { count, min, max, not_finite, more: More::Ranks(ranks(&sorted, unit, parts)), ..none }
        }
        Aggregate::First | Aggregate::Last => {
            let place = |event: &&&KeptEvent| (event.time, event.partition, event.offset);
            let mut finite = known.iter().filter(finite).collect::<Vec<_>>();
            finite.sort_by_key(|event| place(event));
            let one = if aggregate == Aggregate::First { finite.first() } else { finite.last() };
            let count = u64::from(one.is_some());
            Figures { count, more: More::Moment(one.map(|event| (value(event), event.time))), ..none }
        }
        Aggregate::Sessions(gap) => {
            let summary = sessions(known.iter().map(|event| (value(event), event.time.0)), gap.0);
            Figures { count: summary.sessions, more: More::Sessions(summary), ..none }
        }
        Aggregate::Net => none, // told by `net`
        Aggregate::Histogram => {
            let mut buckets: Vec<(Value, u64)> = bounds.iter().cloned().chain([Value::Null]).map(|b| (b, 0)).collect();
            for number in &numbers {
                let within = |(bound, _): &(Value, u64)| *bound == Value::Null || number <= bound;
                if let Some(at) = buckets.iter().position(within) {
                    buckets[at].1 += 1;
                }
            }
            Figures { count, not_finite, more: More::Buckets(buckets), ..none }
        }
    }
}

/// What is left of numbers, or of events, when those that were taken back are struck off.
pub(super) fn net(state: &StateDefinition, unit: Unit, events: &[&KeptEvent]) -> Figures {
    let (mut whole_sum, mut count, mut not_finite) = (BigInt::ZERO, 0i64, [0i64; 3]);
    for event in events {
        let sign = if state.retracts(&|field| event.values[field].clone()) { -1 } else { 1 };
        match state.field.map_or(Value::Int(1), |field| event.values[field].clone()) {
            Value::Null => {}
            Value::Float(x) if x.is_nan() => not_finite[0] += sign,
            Value::Float(x) if x.is_infinite() => not_finite[if x > 0.0 { 1 } else { 2 }] += sign,
            number => {
                count += sign;
                whole_sum += whole(&number) * sign;
            }
        }
    }
    let more = More::Net { count };
    if count == 0 && whole_sum == BigInt::ZERO && not_finite == [0; 3] {
        return Figures { more, ..Figures::none() };
    }
    let not_finite = not_finite.map(|count| count.max(0) as u64);
    let figures = Figures { count: count.max(0) as u64, not_finite, more, ..Figures::none() };
    if state.field.is_none() {
        return figures;
    }
    let null_if_odd = |x: f64| if x.is_finite() { Value::Float(x + 0.0) } else { Value::Null };
    let (sum, mean) = match unit {
        Unit::Scaled(scale) => {
            let sum = i128::try_from(&whole_sum).unwrap_or_default();
            (Value::Decimal(sum, scale), mean(&whole_sum, count, scale))
        }
        Unit::Double => {
            // the same doubles with their signs turned
            let signed = events.iter().filter_map(|event| {
                let field = state.field?;
                let Value::Float(x) = event.values[field] else { return None };
                let turned = if state.retracts(&|field| event.values[field].clone()) { -x } else { x };
                x.is_finite().then_some(turned)
            });
            let sum = super::exact_sum(&signed.collect::<Vec<f64>>());
            (null_if_odd(sum), (count != 0).then(|| sum / count as f64))
        }
    };
    let avg = mean.map_or(Value::Null, null_if_odd);
    Figures { sum, avg, ..figures }
}

/// Events by user in the order of time, cut where the next one is too far away.
fn sessions(events: impl Iterator<Item = (Value, i64)>, gap: i64) -> Summary {
    let mut users: BTreeMap<Value, Vec<i64>> = BTreeMap::new();
    events.for_each(|(user, time)| users.entry(user).or_default().push(time));
    let mut summary = Summary::default();
    for times in users.values_mut() {
        times.sort_unstable();
        for session in times.chunk_by(|before, after| after.saturating_sub(*before) <= gap) {
            let (first, last) = (session[0], session[session.len() - 1]);
            summary.add(&Session { first, last, events: session.len() as u64 });
        }
    }
    summary
}

/// Extremes of integers are shown as decimals without digits after the point.
fn shown(value: Value, unit: Unit) -> Value {
    match (value, unit) {
        (Value::Int(number), Unit::Scaled(scale)) => Value::Decimal(number.into(), scale),
        (other, _) => other,
    }
}

/// A number in units of its last digit, or of 2^-1074.
fn whole(value: &Value) -> BigInt {
    match value {
        Value::Int(number) => BigInt::from(*number),
        Value::Decimal(number, _) => BigInt::from(*number),
        Value::Float(x) => {
            let size = size_of_bits((x + 0.0).to_bits() & !(1 << 63));
            if *x < 0.0 { -size } else { size }
        }
        Value::Null | Value::Bool(_) | Value::Str(_) => BigInt::ZERO,
    }
}

/// The double of these bits (the next power of two, for those of infinity) in units of 2^-1074.
fn size_of_bits(bits: u64) -> BigInt {
    let exponent = bits >> 52;
    let mantissa = bits & ((1 << 52) - 1) | if exponent > 0 { 1 << 52 } else { 0 };
    BigInt::from(mantissa) << (exponent.max(1) - 1)
}

fn spread(numbers: &[Value], unit: Unit) -> Spread {
    let n = BigInt::from(numbers.len());
    if numbers.is_empty() {
        return Spread::default();
    }
    let all: Vec<BigInt> = numbers.iter().map(whole).collect();
    let (sum, squares) = (all.iter().sum::<BigInt>(), all.iter().map(|x| x * x).sum::<BigInt>());
    let distance = &n * squares - &sum * &sum;
    let scale = match unit {
        Unit::Scaled(scale) => BigInt::from(10).pow(2 * u32::from(scale)),
        Unit::Double => BigInt::from(1) << 2148u32,
    };
    let (pop, samp) = (&n * &n * &scale, &n * (&n - 1) * &scale);
    let enough = numbers.len() > 1;
    Spread {
        var_pop: nearest(&distance, &pop, 1),
        stddev_pop: nearest(&distance, &pop, 2),
        var_samp: if enough { nearest(&distance, &samp, 1) } else { None },
        stddev_samp: if enough { nearest(&distance, &samp, 2) } else { None },
    }
}

/// The double nearest to a sum of scaled integers, divided by how many there are; `None` if there are none.
pub(super) fn mean(sum: &BigInt, count: i64, scale: u8) -> Option<f64> {
    let below = BigInt::from(count.unsigned_abs()) * BigInt::from(10).pow(scale.into());
    let size = if *sum < BigInt::ZERO { -sum } else { sum.clone() };
    let mean = if count == 0 { None } else { nearest(&size, &below, 1) };
    mean.map(|mean| if (*sum < BigInt::ZERO) == (count < 0) { mean } else { -mean + 0.0 })
}

/// The double nearest to the root of `above / below` (the first or the second root): searched among all doubles by comparing
/// with the number half-way to the next one. `None` beyond the largest.
fn nearest(above: &BigInt, below: &BigInt, root: u32) -> Option<f64> {
    let above = above << (1075 * root);
    let rounds_to_at_most = |bits: u64| {
        let half_way = (size_of_bits(bits) + size_of_bits(bits + 1)).pow(root) * below;
        above < half_way || above == half_way && bits & 1 == 0
    };
    let (mut low, mut high) = (0, f64::INFINITY.to_bits());
    while low < high {
        let middle = low.midpoint(high);
        if rounds_to_at_most(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    (low < f64::INFINITY.to_bits()).then(|| f64::from_bits(low))
}

/// The count of a set, or beyond 1,024 values Ertl's estimate from the largest rank of each register, as its formula has it.
fn distinct(values: impl Iterator<Item = Value>) -> (u64, bool) {
    let one_nan = |value| if matches!(value, Value::Float(x) if x.is_nan()) { Value::Float(f64::NAN) } else { value };
    let mut set = BTreeSet::new(); // one by one, by their order: collecting goes by equality, and NaN equals nothing
    for value in values {
        set.insert(one_nan(value));
    }
    if set.len() <= 1_024 {
        return (set.len() as u64, true);
    }
    let mut ranks: BTreeMap<u64, u32> = BTreeMap::new();
    for bits in set.iter().filter_map(hash).map(|hash| format!("{hash:064b}")) {
        let register = u64::from_str_radix(&bits[..14], 2).unwrap_or(0);
        let rank = bits[14..].find('1').map_or(51, |zeros| zeros as u32 + 1);
        let largest = ranks.entry(register).or_default();
        *largest = rank.max(*largest);
    }
    let m = 16_384.0;
    let share = |rank: u32| ranks.values().filter(|r| **r == rank).count() as f64 / m;
    let zeros = 1.0 - ranks.len() as f64 / m;
    let sigma: f64 = zeros + (1..60).map(|k| 2f64.powi(k - 1) * zeros.powf(2f64.powi(k))).sum::<f64>();
    let x = 1.0 - share(51);
    let tail: f64 = (1..60).map(|k| 2f64.powi(-k) * (1.0 - x.powf(2f64.powi(-k))).powi(2)).sum();
    let tau = (1.0 - x - tail) / 3.0;
    let inner: f64 = (1..=50).map(|rank| share(rank) * 2f64.powi(-(rank as i32))).sum();
    let estimate = m / (2.0 * 2f64.ln() * (sigma + inner + tau * 2f64.powi(-50)));
    (estimate.round() as u64, false)
}

/// What each number of a sorted list is taken for: its bin's middle, but the smallest and the largest themselves.
fn ranks(sorted: &[Value], unit: Unit, parts: u16) -> Ranks {
    let divisor = if let Unit::Scaled(scale) = unit { 10f64.powi(i32::from(scale)) } else { 1.0 };
    let double = |value: &Value| match value {
        Value::Int(number) => *number as f64,
        Value::Decimal(number, _) => *number as f64,
        Value::Float(x) => *x,
        Value::Null | Value::Bool(_) | Value::Str(_) => f64::NAN,
    };
    let mut bins: Vec<(f64, u64)> = Vec::new();
    let all: Vec<f64> = sorted.iter().map(|value| double(value) / divisor).collect();
    for (i, value) in sorted.iter().enumerate() {
        let taken = match i {
            _ if i == 0 || i + 1 == all.len() => all[i],
            _ => (middle(double(value), parts) / divisor).clamp(all[0], all[all.len() - 1]),
        };
        match bins.last_mut() {
            Some((same, count)) if *same == taken => *count += 1,
            _ => bins.push((taken + 0.0, 1)),
        }
    }
    Ranks { bins, count: all.len() as u64, parts }
}

/// The middle of the bin: powers of two from 2^-64 to 2^127, each in equal parts.
fn middle(x: f64, parts: u16) -> f64 {
    let size = x.abs();
    let Some(power) = (-64..128).rev().find(|power| size >= 2f64.powi(*power)) else { return 0.0 };
    let k = u128::from(parts);
    // the part whose bounds the number lies between, in units that make all of them whole
    let scaled = (size / 2f64.powi(power) * 2f64.powi(52)) as u128 * k;
    let part = (0..k).rev().find(|part| size >= 2f64.powi(128) || scaled >= (k + part) << 52).unwrap_or(0);
    let (lower, upper) = (k + part, k + part + 1);
    let middle = (2 * lower * upper) as f64 / (k * (lower + upper)) as f64 * 2f64.powi(power);
    if x < 0.0 { -middle } else { middle }
}
