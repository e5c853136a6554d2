//! Functions of a series' samples in a window (t - window, t].
use seam_shared::time::{Span, Timestamp};

use super::aggregate::{mean, quantile, sum, variance};
use super::seconds;
use crate::prometheus::plan::OverTime;
use crate::prometheus::source::{Grid, Samples, Series};

type Window<'a> = &'a [(Timestamp, f64)];

/// For each moment of a grid, the samples in (t - window, t].
pub fn windows<'a>(list: &'a [(Timestamp, f64)], grid: &'a Grid, window: Span) -> impl Iterator<Item = Window<'a>> {
    grid.iter().map(move |at| {
        let from = list.partition_point(|(sample, _)| *sample <= at.minus(window));
        let to = list.partition_point(|(sample, _)| *sample <= at);
        &list[from..to.max(from)]
    })
}

/// The smallest or largest of samples; NaN only where there is nothing else.
pub fn extreme(samples: Window<'_>, largest: bool) -> Option<f64> {
    let values = samples.iter().map(|(_, value)| *value);
    values.reduce(|best, value| {
        let better = if largest { value > best } else { value < best };
        if better || best.is_nan() { value } else { best }
    })
}

/// Applies a function at each moment of `steps`; `grid` are the moments that the samples were read for, or one of all.
pub(super) fn apply(
    function: OverTime,
    samples: Vec<Samples>,
    grid: &Grid,
    window: Span,
    steps: &Grid,
    parameters: &[Vec<f64>],
) -> Vec<Series> {
    let of_series = |Samples { labels, list }: Samples| {
        let mut windows = windows(&list, grid, window);
        let mut last: Window<'_> = &[];
        let values = (0..steps.count).map(|i| {
            last = windows.next().unwrap_or(last);
            let at = grid.at(i.min(grid.count - 1));
            let parameter = parameters.first().map_or(f64::NAN, |parameter| parameter[i]);
            value(function, last, at, parameter)
        });
        let values = values.collect();
        drop(windows);
        Series { labels, values }
    };
    samples.into_iter().map(of_series).collect()
}

fn value(function: OverTime, samples: Window<'_>, at: Timestamp, parameter: f64) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let values = || samples.iter().map(|(_, value)| *value);
    Some(match function {
        OverTime::Avg => mean(values()),
        OverTime::Min => extreme(samples, false)?,
        OverTime::Max => extreme(samples, true)?,
        OverTime::Sum => sum(values()),
        OverTime::Count => samples.len() as f64,
        OverTime::First => first.1,
        OverTime::Last => last.1,
        OverTime::Present | OverTime::Absent => 1.0,
        OverTime::Stdvar => variance(values()),
        OverTime::Stddev => variance(values()).sqrt(),
        OverTime::Quantile => quantile(parameter, values().collect()),
        OverTime::Changes => pairs(samples, |a, b| a != b && !(a.is_nan() && b.is_nan())),
        OverTime::Resets => pairs(samples, |a, b| b < a),
        OverTime::InstantRate | OverTime::InstantDelta => {
            let [.., before, last] = samples else { return None };
            let rates = function == OverTime::InstantRate;
            // A counter that fell began anew.
            let grown = if rates && last.1 < before.1 { last.1 } else { last.1 - before.1 };
            if rates { grown / (seconds(last.0) - seconds(before.0)) } else { grown }
        }
        OverTime::Slope => line(samples, first.0)?.0,
        OverTime::PredictLinear => {
            let (slope, intercept) = line(samples, at)?;
            slope * parameter + intercept
        }
        OverTime::Increase | OverTime::Rate | OverTime::Delta => last.1 - first.1,
    })
}

fn pairs(samples: Window<'_>, counts: impl Fn(f64, f64) -> bool) -> f64 {
    samples.windows(2).filter(|pair| counts(pair[0].1, pair[1].1)).count() as f64
}

/// The line of least squares: its slope a second, and its value at `origin`.
fn line(samples: Window<'_>, origin: Timestamp) -> Option<(f64, f64)> {
    if samples.len() < 2 {
        return None;
    }
    let n = samples.len() as f64;
    let points = || samples.iter().map(|(at, value)| ((at.0 - origin.0) as f64 / 1e6, *value));
    let (sum_x, sum_y) = (sum(points().map(|(x, _)| x)), sum(points().map(|(_, y)| y)));
    let covariance = sum(points().map(|(x, y)| x * y)) - sum_x * sum_y / n;
    let spread = sum(points().map(|(x, _)| x * x)) - sum_x * sum_x / n;
    let slope = covariance / spread;
    Some((slope, sum_y / n - slope * sum_x / n))
}
