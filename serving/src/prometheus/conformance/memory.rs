//! Series kept as samples in memory: values are those of the last five minutes, counters begin at nothing.
use seam_shared::time::{Span, Timestamp};

use crate::prometheus::evaluate::{extreme, seconds, windows};
use crate::prometheus::failure::Failure;
use crate::prometheus::source::{Leaf, Reads, Samples, Series, Source};

/// How old the value of a series may be.
const LOOKBACK: Span = Span(5 * Span::MINUTE.0);

#[derive(Debug, Default)]
pub struct Memory(Vec<Samples>);

impl Memory {
    pub fn load(&mut self, series: Vec<Samples>) {
        self.0.extend(series);
    }
    fn meant<'a>(&'a self, leaf: &'a Leaf) -> impl Iterator<Item = &'a Samples> {
        self.0.iter().filter(|series| leaf.matches(&series.labels))
    }
}

impl Source for Memory {
    fn values(&self, leaf: &Leaf) -> Result<Vec<Series>, Failure> {
        let window = leaf.reads.window().unwrap_or(LOOKBACK);
        let series = self.meant(leaf).map(|Samples { labels, list }| {
            let total = |at: Timestamp| list.iter().rev().find(|(sample, _)| *sample <= at).map_or(0.0, |(_, v)| *v);
            let of_window = |(at, samples): (Timestamp, &[(Timestamp, f64)])| {
                let (first, last) = (samples.first()?, samples.last()?);
                match leaf.reads {
                    Reads::Value => Some(last.1),
                    Reads::When => Some(seconds(last.0)),
                    Reads::Increase(window) => Some(total(at) - total(at.minus(window))),
                    Reads::Lowest(_) => extreme(samples, false),
                    Reads::Highest(_) => extreme(samples, true),
                    Reads::Change(_) | Reads::Samples(_) => Some(last.1 - first.1),
                }
            };
            let values = leaf.grid.iter().zip(windows(list, &leaf.grid, window)).map(of_window).collect();
            Series { labels: labels.clone(), values }
        });
        Ok(series.collect())
    }
    fn samples(&self, leaf: &Leaf, window: Span) -> Result<Vec<Samples>, Failure> {
        let (after, until) = (leaf.grid.first.minus(window), leaf.grid.last());
        let of_series = |Samples { labels, list }: &Samples| {
            let list = list.iter().filter(|(at, _)| after < *at && *at <= until).copied().collect();
            Samples { labels: labels.clone(), list }
        };
        Ok(self.meant(leaf).map(of_series).collect())
    }
}
