//! What states say, ready to be shown: the figures of each kind, and which of them a measure names.
use crate::time::Timestamp;
use crate::view::aggregate::net::Net;
use crate::view::aggregate::partial::{Aggregate, Partial};
use crate::view::aggregate::quantiles::Ranks;
use crate::view::aggregate::sessions::Summary;
use crate::view::aggregate::unit::Unit;
use crate::view::aggregate::variance::Spread;
use crate::view::aggregate::{FixedStats, State};
use crate::view::definition::{Figure, StateDefinition, StateKind};
use crate::view::rows::States;
use crate::view::value::{Value, quotient};

/// What a state says, ready to be shown. `Null` where there is nothing to say; never NaN, never an extreme.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// How many events, finite values, or different values.
    pub count: u64,
    /// The sum; `Null` when empty, where none is kept, or when the exact sum of doubles is beyond the range of a double.
    pub sum: Value,
    /// sum / count, as a double.
    pub avg: Value,
    /// The smallest.
    pub min: Value,
    /// The largest.
    pub max: Value,
    /// NaNs, +inf and -inf, counted apart.
    pub not_finite: [u64; 3],
    /// What only some aggregates say.
    pub more: More,
}

/// What only some aggregates say.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum More {
    /// Nothing more.
    #[default]
    Nothing,
    /// Variance and standard deviation.
    Spread(Spread),
    /// How many different values, and whether that is exact.
    Distinct {
        /// Whether it is.
        exact: bool,
    },
    /// The numbers by rank.
    Ranks(Ranks),
    /// The first or last value and its event's time; `None` if there is none.
    Moment(Option<(Value, Timestamp)>),
    /// The upper bound of each bucket (of the last, `Null`) and how many numbers are in it.
    Buckets(Vec<(Value, u64)>),
    /// Sessions all in all.
    Sessions(Summary),
    /// How many are left; below 0 where more were taken back than came.
    Net {
        /// That number.
        count: i64,
    },
}

impl Figures {
    /// What nothing says.
    pub fn none() -> Figures {
        let null = Value::Null;
        let (sum, avg, min, max) = (null.clone(), null.clone(), null.clone(), null);
        Figures { count: 0, sum, avg, min, max, not_finite: [0; 3], more: More::Nothing }
    }
    /// One of them; `Null` if the state says nothing of the kind.
    pub fn get(&self, figure: Figure) -> Value {
        let natural = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let count = || natural(self.count);
        let double = |x: Option<f64>| x.map_or(Value::Null, Value::Float);
        match (figure, &self.more) {
            (Figure::Count, More::Net { count }) => Value::Int(*count),
            (Figure::Count | Figure::Distinct | Figure::Histogram | Figure::Sessions, _) => count(),
            (Figure::Sum, _) => self.sum.clone(),
            (Figure::Avg, _) => self.avg.clone(),
            (Figure::Min, _) => self.min.clone(),
            (Figure::Max, _) => self.max.clone(),
            (Figure::VarPop, More::Spread(spread)) => double(spread.var_pop),
            (Figure::VarSamp, More::Spread(spread)) => double(spread.var_samp),
            (Figure::StddevPop, More::Spread(spread)) => double(spread.stddev_pop),
            (Figure::StddevSamp, More::Spread(spread)) => double(spread.stddev_samp),
            (Figure::Quantile(millionths), More::Ranks(ranks)) => double(ranks.quantile(millionths)),
            (Figure::Value, More::Moment(Some((value, _)))) => value.clone(),
            (Figure::Bounces, More::Sessions(summary)) => natural(summary.bounces),
            (Figure::SessionEvents, More::Sessions(summary)) => natural(summary.events),
            (Figure::SessionLength, More::Sessions(summary)) => double(summary.mean_length()),
            (Figure::SessionLongest, More::Sessions(summary)) => double(summary.longest()),
            (
                Figure::VarPop
                | Figure::VarSamp
                | Figure::StddevPop
                | Figure::StddevSamp
                | Figure::Quantile(_)
                | Figure::Bounces
                | Figure::SessionEvents
                | Figure::SessionLength
                | Figure::SessionLongest
                | Figure::Value,
                _,
            ) => Value::Null,
        }
    }
}

impl States {
    /// One figure of one state, of that definition: what [`State::present`] has of it.
    pub fn figure(&self, i: usize, definition: &StateDefinition, figure: Figure) -> Value {
        match (self, definition.kind, figure) {
            (States::Count(counts), _, Figure::Count) => Value::Int(i64::try_from(counts[i]).unwrap_or(i64::MAX)),
            (States::Fixed(all), StateKind::Fixed { scale }, Figure::Sum | Figure::Min | Figure::Max | Figure::Avg)
                if all[i].count > 0 =>
            {
                let stats = &all[i];
                match figure {
                    Figure::Sum => Value::Decimal(stats.sum, scale),
                    Figure::Min => Value::Decimal(stats.min, scale),
                    Figure::Max => Value::Decimal(stats.max, scale),
                    _ => Value::Float(stats.mean(scale)),
                }
            }
            (states, ..) => states.get(i).present(definition).get(figure),
        }
    }
}

impl FixedStats {
    /// The mean of values of that scale, of which there is one at least: rounded once.
    pub fn mean(&self, scale: u8) -> f64 {
        quotient(self.sum, u128::from(self.count) * 10u128.pow(u32::from(scale)))
    }
}

impl State {
    /// The figures of a state of that definition.
    pub fn present(&self, definition: &StateDefinition) -> Figures {
        let none = Figures::none();
        match (self, definition.kind) {
            (State::Count(n), _) => Figures { count: *n, ..none },
            (State::Fixed(s), _) if s.count == 0 => none,
            (State::Fixed(s), kind) => {
                let scale = match kind {
                    StateKind::Fixed { scale } => scale,
                    StateKind::Count | StateKind::Float | StateKind::Partial(..) => 0,
                };
                let number = |v: i128| Value::Decimal(v, scale);
                Figures {
                    count: s.count,
                    sum: number(s.sum),
                    avg: Value::Float(s.mean(scale)),
                    min: number(s.min),
                    max: number(s.max),
                    ..none
                }
            }
            (State::Float(s), _) => {
                let not_finite = [s.nan, s.positive_infinite, s.negative_infinite];
                if s.count == 0 {
                    return Figures { not_finite, ..none };
                }
                let finite = |v: f64| if v.is_finite() { Value::Float(v) } else { Value::Null };
                let sum = s.sum.round();
                Figures {
                    count: s.count,
                    sum: finite(sum),
                    avg: finite(sum / s.count as f64),
                    min: finite(s.min),
                    max: finite(s.max),
                    not_finite,
                    ..none
                }
            }
            (State::Partial(partial), StateKind::Partial(aggregate, unit)) => match partial {
                Partial::Net(net) => of_net(net, unit, definition.field.is_some()),
                partial => of_partial(partial, aggregate, unit, &definition.bounds),
            },
            (State::Partial(_), StateKind::Count | StateKind::Fixed { .. } | StateKind::Float) => {
                debug_assert!(false, "a state is of its definition's kind");
                none
            }
        }
    }
}

/// Of numbers that may be taken back. What is only counted has no sum.
fn of_net(net: &Net, unit: Unit, has_field: bool) -> Figures {
    let natural = |count: i64| u64::try_from(count).unwrap_or(0);
    let (sum, avg) = if has_field { net.present(unit) } else { (Value::Null, Value::Null) };
    let (count, not_finite) = (natural(net.count), net.not_finite.map(natural));
    Figures { count, sum, avg, not_finite, more: More::Net { count: net.count }, ..Figures::none() }
}

fn of_partial(partial: &Partial, aggregate: Aggregate, unit: Unit, bounds: &[Value]) -> Figures {
    let none = Figures::none();
    match partial {
        Partial::Empty => {
            let more = match aggregate {
                Aggregate::Variance => More::Spread(Spread::default()),
                Aggregate::Distinct => More::Distinct { exact: true },
                Aggregate::Quantiles(parts) => More::Ranks(Ranks { parts, ..Ranks::default() }),
                Aggregate::First | Aggregate::Last => More::Moment(None),
                Aggregate::Histogram => More::Buckets(buckets(bounds)),
                Aggregate::Sessions(_) => More::Sessions(Summary::default()),
                Aggregate::Net => More::Net { count: 0 },
            };
            Figures { more, ..none }
        }
        Partial::Variance(variance) => Figures {
            count: variance.count,
            not_finite: variance.not_finite,
            more: More::Spread(variance.present(unit)),
            ..none
        },
        Partial::Distinct(distinct) => {
            let (count, exact) = distinct.estimate();
            Figures { count, more: More::Distinct { exact }, ..none }
        }
        Partial::Quantiles(sketch) => {
            let parts = if let Aggregate::Quantiles(parts) = aggregate { parts } else { 1 };
            let (min, max) = sketch.extremes(unit).unwrap_or((Value::Null, Value::Null));
            let ranks = sketch.ranks(unit, parts);
            Figures { count: ranks.count, min, max, not_finite: sketch.not_finite, more: More::Ranks(ranks), ..none }
        }
        Partial::First(moment) | Partial::Last(moment) => {
            Figures { count: 1, more: More::Moment(Some((moment.value.clone(), moment.time))), ..none }
        }
        Partial::Histogram(histogram) => Figures {
            count: histogram.count(),
            not_finite: histogram.not_finite,
            more: More::Buckets(histogram.buckets(bounds)),
            ..none
        },
        Partial::Net(net) => of_net(net, unit, true),
        Partial::Sessions(sessions) => {
            let summary = sessions.summary();
            Figures { count: summary.sessions, more: More::Sessions(summary), ..none }
        }
    }
}

fn buckets(bounds: &[Value]) -> Vec<(Value, u64)> {
    bounds.iter().cloned().chain([Value::Null]).map(|bound| (bound, 0)).collect()
}
