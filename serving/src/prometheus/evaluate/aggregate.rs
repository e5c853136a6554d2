//! Aggregations over series, at each moment.
use std::cmp::Ordering;

use hashbrown::HashMap;

use super::{Evaluation, Output};
use crate::prometheus::failure::Failure;
use crate::prometheus::labels::Labels;
use crate::prometheus::plan::{Aggregate, Aggregator, Node};
use crate::prometheus::source::Series;

/// A sum that loses nothing to the order of its terms but the last bit.
pub fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    if sum.is_finite() { sum + lost } else { sum }
}

/// The mean.
pub fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    let total = sum(values.clone());
    if total.is_finite() || values.clone().any(|value| !value.is_finite()) {
        return total / count;
    }
    sum(values.map(|value| value / count))
}

/// The population's variance.
pub fn variance(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let center = mean(values.clone());
    mean(values.map(|value| (value - center) * (value - center)))
}

/// The quantile of values, between neighbours in proportion.
pub fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    values.sort_by(|a, b| ascending(*a, *b));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// NaN first.
fn ascending(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => b.cmp(&a),
    }
}

impl Evaluation<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate) -> Result<Vec<Series>, Failure> {
        let mut series = self.vector(&aggregate.inner)?;
        // The order in which numbers are added must not depend on where they came from.
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        let groups = groups(aggregate, &series);
        match (aggregate.aggregator, &aggregate.parameter) {
            (Aggregator::TopK | Aggregator::BottomK, Some(k)) => {
                let k = self.scalar(k)?;
                self.ranked(series, &groups, &k, aggregate.aggregator == Aggregator::TopK)
            }
            (Aggregator::CountValues, Some(Node::Text(name))) => self.count_values(&series, &groups, name),
            (Aggregator::Quantile, Some(q)) => {
                let q = self.scalar(q)?;
                Ok(self.folded(&series, groups, |i, values| quantile(q[i], values.to_vec())))
            }
            (aggregator, _) => Ok(self.folded(&series, groups, |_, values| fold(aggregator, values))),
        }
    }
    /// One value a group and moment.
    fn folded(&self, series: &[Series], groups: Groups, fold: impl Fn(usize, &[f64]) -> f64) -> Vec<Series> {
        let mut values = Vec::new();
        let of_group = |(labels, members): (Labels, Vec<usize>)| {
            let at = |i: usize| {
                values.clear();
                values.extend(members.iter().filter_map(|member| series[*member].values[i]));
                (!values.is_empty()).then(|| fold(i, &values))
            };
            Series { labels, values: (0..self.grid.count).map(at).collect() }
        };
        groups.into_iter().map(of_group).collect()
    }
    /// The k first of each group at each moment; at one moment in their order.
    fn ranked(&self, series: Vec<Series>, groups: &Groups, k: &[f64], largest: bool) -> Result<Vec<Series>, Failure> {
        let mut kept: Vec<Vec<Option<f64>>> = vec![vec![None; self.grid.count]; series.len()];
        let mut order = Vec::new();
        for (i, &k) in k.iter().enumerate() {
            if k.is_nan() {
                return Err(Failure::execution("Scalar value NaN overflows int64"));
            }
            for (_, members) in groups {
                let present = members.iter().filter_map(|&member| Some((series[member].values[i]?, member)));
                let mut present: Vec<(f64, usize)> = present.collect();
                // What is not a number comes last either way.
                present.sort_by(|(a, _), (b, _)| match (a.is_nan(), b.is_nan()) {
                    (false, false) if largest => ascending(*b, *a),
                    (false, false) => ascending(*a, *b),
                    (a, b) => a.cmp(&b),
                });
                for (value, member) in present.into_iter().take(k.max(0.0) as usize) {
                    kept[member][i] = Some(value);
                    order.push(member);
                }
            }
        }
        let mut series: Vec<Option<Series>> =
            series.into_iter().zip(kept).map(|(series, values)| Some(Series { values, ..series })).collect();
        Ok(order.into_iter().filter_map(|member| series[member].take()).collect())
    }
    fn count_values(&self, series: &[Series], groups: &Groups, name: &str) -> Result<Vec<Series>, Failure> {
        check_label_name(name)?;
        let mut out = Output::new(self.grid.count);
        for (labels, members) in groups {
            for i in 0..self.grid.count {
                for value in members.iter().filter_map(|member| series[*member].values[i]) {
                    let mut labels = labels.clone();
                    labels.set(name, &number_text(value));
                    let at = out.series(labels)?;
                    let count = &mut out.list[at].values[i];
                    *count = Some(count.unwrap_or(0.0) + 1.0);
                }
            }
        }
        Ok(out.list)
    }
}

/// Groups with their labels, and the places of their members.
type Groups = Vec<(Labels, Vec<usize>)>;

fn groups(aggregate: &Aggregate, series: &[Series]) -> Groups {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Groups = Vec::new();
    for (member, series) in series.iter().enumerate() {
        let labels = aggregate.grouping.of(&series.labels);
        let at = *index.entry(labels).or_insert_with_key(|labels| {
            groups.push((labels.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(member);
    }
    groups
}

fn fold(aggregator: Aggregator, values: &[f64]) -> f64 {
    let all = || values.iter().copied();
    let best = |better: fn(f64, f64) -> bool| {
        all().reduce(|best, value| if better(value, best) || best.is_nan() { value } else { best })
    };
    match aggregator {
        Aggregator::Sum => sum(all()),
        Aggregator::Avg => mean(all()),
        Aggregator::Min => best(|value, best| value < best).unwrap_or(f64::NAN),
        Aggregator::Max => best(|value, best| value > best).unwrap_or(f64::NAN),
        Aggregator::Count => values.len() as f64,
        Aggregator::Group => 1.0,
        Aggregator::Stdvar => variance(all()),
        Aggregator::Stddev => variance(all()).sqrt(),
        Aggregator::TopK | Aggregator::BottomK | Aggregator::Quantile | Aggregator::CountValues => f64::NAN,
    }
}

/// A number as Prometheus writes it.
pub fn number_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// Refuses what is no label's name.
pub fn check_label_name(name: &str) -> Result<(), Failure> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic());
    if begins && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Failure::execution(format!("invalid label name {name:?}")))
}
