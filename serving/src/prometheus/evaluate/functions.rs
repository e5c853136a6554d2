//! Functions of values, of labels and of the order of series.
use chrono::{DateTime, Datelike, Timelike, Utc};
use regex::Regex;

use super::aggregate::check_label_name;
use super::{Evaluation, argument, map, seconds};
use crate::prometheus::failure::Failure;
use crate::prometheus::labels::Labels;
use crate::prometheus::plan::{Calendar, Function, Node};
use crate::prometheus::source::Series;

impl Evaluation<'_> {
    pub(super) fn call(&self, function: Function, arguments: &[Node]) -> Result<Vec<Series>, Failure> {
        let input = || self.vector(argument(arguments, 0)?);
        let number = |place: usize| self.scalar(argument(arguments, place)?);
        let unnamed = |series| self.relabel(series, |labels: &Labels| Ok(labels.nameless()));
        match function {
            Function::Map(f) => unnamed(map(input()?, f)),
            Function::Calendar(part) => {
                let series = if arguments.is_empty() { self.now() } else { input()? };
                unnamed(map(series, |at| calendar(part, at)))
            }
            Function::Round => {
                let to = if arguments.len() > 1 { number(1)? } else { vec![1.0; self.grid.count] };
                // As the reciprocal, since a tenth is no double but ten is.
                unnamed(each(input()?, |i, x| (x * (1.0 / to[i]) + 0.5).floor() / (1.0 / to[i])))
            }
            Function::Clamp | Function::ClampMin | Function::ClampMax => unnamed(self.clamp(function, arguments)?),
            Function::Vector => {
                let values = number(0)?.into_iter().map(Some).collect();
                Ok(vec![Series { labels: Labels::default(), values }])
            }
            Function::Timestamp => {
                let mut series = input()?;
                if !matches!(argument(arguments, 0)?, Node::Values(_)) {
                    series = each(series, |i, _| seconds(self.grid.at(i)));
                }
                unnamed(series)
            }
            Function::Sort | Function::SortDescending => {
                let mut series = input()?;
                let value = |series: &Series| series.values.first().copied().flatten().unwrap_or(f64::NAN);
                series.sort_by(|a, b| {
                    let (a, b) = (value(a), value(b));
                    let (x, y) = if matches!(function, Function::Sort) { (a, b) } else { (b, a) };
                    a.is_nan().cmp(&b.is_nan()).then(x.partial_cmp(&y).unwrap_or(std::cmp::Ordering::Equal))
                });
                Ok(series)
            }
            Function::SortByLabel | Function::SortByLabelDescending => {
                let places = 1..arguments.len();
                let names = places.map(|place| self.text(arguments, place)).collect::<Result<Vec<_>, _>>()?;
                let mut series = input()?;
                series.sort_by(|a, b| {
                    let key =
                        |series: &Series| names.iter().map(|n| series.labels.get(n).to_owned()).collect::<Vec<_>>();
                    let ordering = key(a).cmp(&key(b)).then_with(|| a.labels.cmp(&b.labels));
                    if matches!(function, Function::SortByLabel) { ordering } else { ordering.reverse() }
                });
                Ok(series)
            }
            Function::LabelReplace => self.label_replace(arguments),
            Function::LabelJoin => self.label_join(arguments),
            Function::Scalar | Function::Time | Function::Pi | Function::Absent => {
                Err(Failure::bad_data("an instant vector is expected here"))
            }
        }
    }
    /// The moments themselves.
    fn now(&self) -> Vec<Series> {
        vec![Series { labels: Labels::default(), values: self.grid.iter().map(|at| Some(seconds(at))).collect() }]
    }
    fn clamp(&self, function: Function, arguments: &[Node]) -> Result<Vec<Series>, Failure> {
        let series = self.vector(argument(arguments, 0)?)?;
        let first = self.scalar(argument(arguments, 1)?)?;
        let (low, high) = match function {
            Function::ClampMin => (first, vec![f64::INFINITY; self.grid.count]),
            Function::ClampMax => (vec![f64::NEG_INFINITY; self.grid.count], first),
            _ => (first, self.scalar(argument(arguments, 2)?)?),
        };
        let clamped = |(i, value): (usize, &Option<f64>)| {
            if low[i] > high[i] {
                return None;
            }
            // What is not a number stays so, and limits that are none make it so.
            value.map(|x| {
                if x.is_nan() || low[i].is_nan() || high[i].is_nan() { f64::NAN } else { x.max(low[i]).min(high[i]) }
            })
        };
        let of_series = |series: Series| {
            let values = series.values.iter().enumerate().map(clamped).collect();
            Series { labels: series.labels, values }
        };
        Ok(series.into_iter().map(of_series).collect())
    }
    fn label_replace(&self, arguments: &[Node]) -> Result<Vec<Series>, Failure> {
        let [target, replacement, from, pattern] = [1, 2, 3, 4].map(|place| self.text(arguments, place));
        let (target, replacement, from, pattern) = (target?, replacement?, from?, pattern?);
        check_label_name(target)?;
        let bad = |_| Failure::execution(format!("invalid regular expression in label_replace(): {pattern}"));
        let pattern = Regex::new(&format!("^(?s:{pattern})$")).map_err(bad)?;
        let series = self.vector(argument(arguments, 0)?)?;
        self.relabel(series, |labels| {
            let mut labels = labels.clone();
            if let Some(captures) = pattern.captures(labels.get(from)) {
                let mut value = String::new();
                captures.expand(replacement, &mut value);
                labels.set(target, &value);
            }
            Ok(labels)
        })
    }
    fn label_join(&self, arguments: &[Node]) -> Result<Vec<Series>, Failure> {
        let (target, separator) = (self.text(arguments, 1)?, self.text(arguments, 2)?);
        check_label_name(target)?;
        let places = 3..arguments.len();
        let from = places.map(|place| self.text(arguments, place)).collect::<Result<Vec<_>, _>>()?;
        let series = self.vector(argument(arguments, 0)?)?;
        self.relabel(series, |labels| {
            let values: Vec<&str> = from.iter().map(|name| labels.get(name)).collect();
            let value = values.join(separator);
            let mut labels = labels.clone();
            labels.set(target, &value);
            Ok(labels)
        })
    }
}

/// The series with `f` of moment and value.
fn each(mut series: Vec<Series>, f: impl Fn(usize, f64) -> f64) -> Vec<Series> {
    for series in &mut series {
        for (i, value) in series.values.iter_mut().enumerate() {
            *value = value.map(|x| f(i, x));
        }
    }
    series
}

/// A part of the date or time, in UTC; NaN outside of the calendar.
fn calendar(part: Calendar, at: f64) -> f64 {
    let moment = if at.is_finite() { DateTime::<Utc>::from_timestamp(at as i64, 0) } else { None };
    let Some(moment) = moment else { return f64::NAN };
    f64::from(match part {
        Calendar::Minute => moment.minute(),
        Calendar::Hour => moment.hour(),
        Calendar::DayOfWeek => moment.weekday().num_days_from_sunday(),
        Calendar::DayOfMonth => moment.day(),
        Calendar::DayOfYear => moment.ordinal(),
        Calendar::DaysInMonth => u32::from(moment.num_days_in_month()),
        Calendar::Month => moment.month(),
        Calendar::Year => return f64::from(moment.year()),
    })
}
