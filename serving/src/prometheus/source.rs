//! What the evaluator reads: series behind a small trait, and how much of them a leaf of a query needs.
use promql_parser::label::Matcher;
use seam_shared::time::{Span, Timestamp};

use super::failure::Failure;
use super::labels::{Labels, NAME};

/// Moments in equal steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The first.
    pub first: Timestamp,
    /// From one to the next.
    pub step: Span,
    /// How many there are, at least one.
    pub count: usize,
}

impl Grid {
    /// One moment.
    pub fn instant(at: Timestamp) -> Grid {
        Grid { first: at, step: Span::SECOND, count: 1 }
    }
    /// Moment `i`.
    pub fn at(&self, i: usize) -> Timestamp {
        self.first.plus(Span(self.step.0.saturating_mul(i as i64)))
    }
    /// The last.
    pub fn last(&self) -> Timestamp {
        self.at(self.count - 1)
    }
    /// All.
    pub fn iter(&self) -> impl Iterator<Item = Timestamp> + '_ {
        (0..self.count).map(|i| self.at(i))
    }
}

/// What is read of a series at a moment t.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Its value.
    Value,
    /// When its value was taken, in seconds.
    When,
    /// How much a counter grew in (t - window, t].
    Increase(Span),
    /// How much it changed in (t - window, t].
    Change(Span),
    /// The smallest sample in (t - window, t].
    Lowest(Span),
    /// The largest sample in (t - window, t].
    Highest(Span),
    /// The samples in (t - window, t].
    Samples(Span),
}

impl Reads {
    /// The window, where there is one.
    pub fn window(self) -> Option<Span> {
        match self {
            Reads::Value | Reads::When => None,
            Reads::Increase(w) | Reads::Change(w) | Reads::Lowest(w) | Reads::Highest(w) | Reads::Samples(w) => Some(w),
        }
    }
}

/// An aggregation that commutes with merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// The sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// Which labels groups keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// These.
    By(Vec<String>),
    /// All but these.
    Without(Vec<String>),
}

impl Grouping {
    /// What is left of a series' labels.
    pub fn of(&self, labels: &Labels) -> Labels {
        match self {
            Grouping::By(names) => labels.only(names),
            Grouping::Without(names) => labels.without(names),
        }
    }
}

/// What one selector of a query needs.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// What its series match, the name among it.
    pub matchers: Vec<Matcher>,
    /// When it is read.
    pub grid: Grid,
    /// What is read.
    pub reads: Reads,
    /// What is done with it next: a source may answer with the folded groups at once.
    pub folded: Option<(Fold, Grouping)>,
}

impl Leaf {
    /// Whether a series with `labels` is meant.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.is_match(labels.get(&matcher.name)))
    }
    /// Whether series with that name may be meant.
    pub fn matches_name(&self, name: &str) -> bool {
        self.matchers.iter().filter(|matcher| matcher.name == NAME).all(|matcher| matcher.is_match(name))
    }
}

/// A series' values at each moment of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// One a moment; `None` where it has none.
    pub values: Vec<Option<f64>>,
}

/// A series' samples in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// Its labels.
    pub labels: Labels,
    /// When, and what.
    pub list: Vec<(Timestamp, f64)>,
}

/// A series that is 1 for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Its labels.
    pub labels: Labels,
    /// From then on.
    pub from: Timestamp,
    /// Until before then, if it is over.
    pub until: Option<Timestamp>,
}

impl Mark {
    /// What a leaf reads of it, if it is meant and was there.
    pub fn series(&self, leaf: &Leaf) -> Option<Series> {
        let there = |at: Timestamp| (self.from <= at && self.until.is_none_or(|until| at < until)).then_some(1.0);
        let values: Vec<Option<f64>> = leaf.grid.iter().map(there).collect();
        (leaf.matches(&self.labels) && values.iter().any(Option::is_some))
            .then(|| Series { labels: self.labels.clone(), values })
    }
}

/// Where series come from.
pub trait Source {
    /// The values that a leaf reads, each series once.
    ///
    /// # Errors
    /// What cannot be read of the series meant.
    fn values(&self, leaf: &Leaf) -> Result<Vec<Series>, Failure>;
    /// The samples in (first - window, last], each series once.
    ///
    /// # Errors
    /// As [`Source::values`].
    fn samples(&self, leaf: &Leaf, window: Span) -> Result<Vec<Samples>, Failure>;
}
