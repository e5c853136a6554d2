//! Operators between two sides: which series meet, and what becomes of them.
use hashbrown::HashMap;

use super::{Evaluation, Output};
use crate::prometheus::failure::Failure;
use crate::prometheus::labels::{Labels, NAME};
use crate::prometheus::plan::{Binary, Many, Matching, Operator};
use crate::prometheus::source::{Grouping, Series};

impl Evaluation<'_> {
    pub(super) fn binary(&self, binary: &Binary) -> Result<Vec<Series>, Failure> {
        let (left, right) = (&binary.left, &binary.right);
        match (left.1, right.1) {
            (true, _) => self.with_scalar(binary, self.vector(&right.0)?, &self.scalar(&left.0)?, true),
            (_, true) => self.with_scalar(binary, self.vector(&left.0)?, &self.scalar(&right.0)?, false),
            (false, false) => {
                let (left, right) = (self.vector(&left.0)?, self.vector(&right.0)?);
                match binary.operator {
                    Operator::And | Operator::Or | Operator::Unless => self.set(binary, left, right),
                    _ => self.meet(binary, &left, &right),
                }
            }
        }
    }
    fn with_scalar(
        &self,
        binary: &Binary,
        mut series: Vec<Series>,
        scalar: &[f64],
        scalar_is_left: bool,
    ) -> Result<Vec<Series>, Failure> {
        for (value, scalar) in series.iter_mut().flat_map(|series| series.values.iter_mut().zip(scalar)) {
            *value = value.and_then(|own| {
                let (left, right) = if scalar_is_left { (*scalar, own) } else { (own, *scalar) };
                // The series' own value is what a filter keeps.
                result(binary, left, right).map(|number| if is_filter(binary) { own } else { number })
            });
        }
        if is_filter(binary) { Ok(series) } else { self.relabel(series, |labels| Ok(labels.nameless())) }
    }
    fn set(&self, binary: &Binary, mut left: Vec<Series>, mut right: Vec<Series>) -> Result<Vec<Series>, Failure> {
        let key = |series: &Series| signature(&binary.matching, &series.labels);
        let is_or = binary.operator == Operator::Or;
        let others = if is_or { &left } else { &right };
        let mut present: HashMap<Labels, Vec<bool>> = HashMap::new();
        for series in others {
            let at = present.entry(key(series)).or_insert_with(|| vec![false; self.grid.count]);
            at.iter_mut().zip(&series.values).for_each(|(at, value)| *at |= value.is_some());
        }
        let keeps = binary.operator == Operator::And;
        for series in if is_or { &mut right } else { &mut left } {
            let present = present.get(&key(series));
            for (i, value) in series.values.iter_mut().enumerate() {
                if present.is_some_and(|present| present[i]) != keeps {
                    *value = None;
                }
            }
        }
        if !is_or {
            return Ok(left);
        }
        left.append(&mut right);
        self.relabel(left, |labels| Ok(labels.clone()))
    }
    /// Series of both sides with equal signatures, one of the one side with one or several of the other.
    fn meet(&self, binary: &Binary, left: &[Series], right: &[Series]) -> Result<Vec<Series>, Failure> {
        let matching = &binary.matching;
        let swapped = matching.many == Many::Right;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let mut index: HashMap<Labels, Vec<&Series>> = HashMap::new();
        for series in one {
            index.entry(signature(matching, &series.labels)).or_default().push(series);
        }
        let mut out = Output::new(self.grid.count);
        let mut met: HashMap<(Labels, usize), &Labels> = HashMap::new();
        for series in many {
            let key = signature(matching, &series.labels);
            let Some(others) = index.get(&key) else { continue };
            for i in 0..self.grid.count {
                let Some(value) = series.values[i] else { continue };
                let mut found = others.iter().filter_map(|other| Some((other, other.values[i]?)));
                let Some((other, other_value)) = found.next() else { continue };
                if let Some((second, _)) = found.next() {
                    return Err(twice(&key, &other.labels, &second.labels, if swapped { "left" } else { "right" }));
                }
                if matching.many == Many::Neither
                    && let Some(first) = met.insert((key.clone(), i), &series.labels)
                {
                    let (a, b) = (first, &series.labels);
                    return Err(Failure::execution(format!(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right): {key} has {a} and {b}"
                    )));
                }
                let (a, b) = if swapped { (other_value, value) } else { (value, other_value) };
                let Some(number) = result(binary, a, b) else { continue };
                let to = out.series(labels(binary, &series.labels, &other.labels))?;
                out.put(to, i, number).map_err(|failure| {
                    let hint = "multiple matches for labels: grouping labels must ensure unique matches";
                    Failure::execution(format!("{hint} ({})", failure.text))
                })?;
            }
        }
        Ok(out.list)
    }
}

fn is_filter(binary: &Binary) -> bool {
    binary.operator.compares() && !binary.bool
}

/// The operator's number; of a filter the left value, where it holds.
fn result(binary: &Binary, left: f64, right: f64) -> Option<f64> {
    let number = binary.operator.number(left, right);
    if is_filter(binary) { (number != 0.0).then_some(left) } else { Some(number) }
}

fn signature(matching: &Matching, labels: &Labels) -> Labels {
    matching.labels.of(labels)
}

/// The labels of a result, from those of the side that may have many and of the other.
fn labels(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let mut labels = if is_filter(binary) { many.clone() } else { many.nameless() };
    let Matching { labels: matched, many, include } = &binary.matching;
    if *many == Many::Neither {
        labels = match matched {
            Grouping::By(names) => labels.only(names),
            Grouping::Without(names) => {
                let name = labels.get(NAME).to_owned();
                let mut labels = labels.without(names);
                labels.set(NAME, &name);
                labels
            }
        };
    }
    include.iter().for_each(|name| labels.set(name, one.get(name)));
    labels
}

fn twice(key: &Labels, first: &Labels, second: &Labels, side: &str) -> Failure {
    Failure::execution(format!(
        "found duplicate series for the match group {key} on the {side} hand-side of the operation: [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
    ))
}
