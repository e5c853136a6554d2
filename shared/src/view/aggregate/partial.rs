//! The general partial: every aggregate that is more than a few numbers, behind one enum and one self-describing spelling.
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::log::Offset;
use crate::time::{Span, Timestamp};
use crate::view::aggregate::distinct::{self, Distinct};
use crate::view::aggregate::first_last::Moment;
use crate::view::aggregate::histogram::Histogram;
use crate::view::aggregate::net::Net;
use crate::view::aggregate::quantiles::Quantiles;
use crate::view::aggregate::sessions::Sessions;
use crate::view::aggregate::variance::Variance;
use crate::view::bytes::{Reader, corrupt};
use crate::view::value::Value;

const VERSION: u8 = 1;

/// Which aggregate a general partial is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Aggregate {
    /// Variance and standard deviation of numbers.
    Variance,
    /// How many different values.
    Distinct,
    /// Quantiles of numbers, with so many parts of each power of two.
    Quantiles(u16),
    /// The first value.
    First,
    /// The last value.
    Last,
    /// Numbers by fixed bounds, which the state's definition has.
    Histogram,
    /// Sessions of users, with the longest time between two events of one.
    Sessions(Span),
    /// How many numbers and their sum, less those that were taken back; of events where it has no field.
    Net,
}

/// An event as aggregates see it.
#[derive(Debug, Clone, Copy)]
pub struct Lifted<'a> {
    /// Its event time.
    pub time: Timestamp,
    /// Its partition.
    pub partition: u32,
    /// Its offset there.
    pub offset: Offset,
    /// The value of the measured field; 1 for a `Net` without one.
    pub value: &'a Value,
    /// Whether it takes back what an earlier event has said. Only `Net` can.
    pub retracted: bool,
}

/// The partial of one measure in one (pane, key). What has seen nothing is `Empty`, whatever it is of: so equal content has equal
/// bytes, and groups without values take no memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Partial {
    /// The identity.
    #[default]
    Empty,
    /// Of variance and standard deviation.
    Variance(Box<Variance>),
    /// Of distinct.
    Distinct(Box<Distinct>),
    /// Of quantiles.
    Quantiles(Box<Quantiles>),
    /// Of first.
    First(Box<Moment>),
    /// Of last.
    Last(Box<Moment>),
    /// Of a histogram.
    Histogram(Box<Histogram>),
    /// Of sessions.
    Sessions(Box<Sessions>),
    /// Of numbers that may be taken back; what all was taken back of is `Empty`.
    Net(Box<Net>),
}

/// The content of a partial of one kind, made first where it is empty; nothing where it is of another kind.
macro_rules! content {
    ($partial:expr, $kind:ident) => {{
        let partial: &mut Partial = $partial;
        if matches!(partial, Partial::Empty) {
            *partial = Partial::$kind(Box::default());
        }
        if let Partial::$kind(content) = partial {
            Some(&mut **content)
        } else {
            debug_assert!(false, "the partials of one state are of one kind");
            None
        }
    }};
}

impl Partial {
    /// The variance, to lift numbers into.
    #[inline]
    pub fn variance(&mut self) -> Option<&mut Variance> {
        content!(self, Variance)
    }
    /// The set of values, to insert hashes into.
    #[inline]
    pub fn distinct(&mut self) -> Option<&mut Distinct> {
        content!(self, Distinct)
    }
    /// The sketch, to lift numbers into.
    #[inline]
    pub fn quantiles(&mut self) -> Option<&mut Quantiles> {
        content!(self, Quantiles)
    }
    /// The histogram, to lift numbers into.
    #[inline]
    pub fn histogram(&mut self) -> Option<&mut Histogram> {
        content!(self, Histogram)
    }
    /// Adds one event's value; null adds nothing. `bounds` are a histogram's.
    pub fn lift(&mut self, aggregate: Aggregate, bounds: &[Value], event: &Lifted<'_>) {
        let value = event.value;
        if *value == Value::Null {
            return;
        }
        match aggregate {
            Aggregate::Variance => match (self.variance(), value) {
                (Some(variance), Value::Float(x)) => variance.lift_double(*x),
                (Some(variance), value) => fixed(value).into_iter().for_each(|n| variance.lift_fixed(n)),
                (None, _) => {}
            },
            Aggregate::Quantiles(parts) => match (self.quantiles(), value) {
                (Some(sketch), Value::Float(x)) => sketch.lift_double(*x, parts),
                (Some(sketch), value) => fixed(value).into_iter().for_each(|n| sketch.lift_fixed(n, parts)),
                (None, _) => {}
            },
            Aggregate::Distinct => {
                if let (Some(distinct), Some(hash)) = (self.distinct(), distinct::hash(value)) {
                    distinct.insert(hash);
                }
            }
            Aggregate::Histogram => {
                if let Some(histogram) = self.histogram() {
                    histogram.lift(value, bounds);
                }
            }
            Aggregate::First | Aggregate::Last => self.lift_moment(aggregate, event),
            Aggregate::Net => {
                match (content!(self, Net), value) {
                    (Some(net), Value::Float(x)) => net.lift_double(*x, event.retracted),
                    (Some(net), value) => fixed(value).into_iter().for_each(|n| net.lift_fixed(n, event.retracted)),
                    (None, _) => {}
                }
                self.settle();
            }
            Aggregate::Sessions(gap) => {
                if matches!(self, Partial::Empty) {
                    *self = Partial::Sessions(Box::new(Sessions::new(gap.0)));
                }
                if let Partial::Sessions(sessions) = self {
                    sessions.lift(value, event.time);
                }
            }
        }
    }
    /// What all was taken back of is as if it had never come.
    fn settle(&mut self) {
        if matches!(self, Partial::Net(net) if net.is_nothing()) {
            *self = Partial::Empty;
        }
    }
    fn lift_moment(&mut self, aggregate: Aggregate, event: &Lifted<'_>) {
        let place = (event.time, event.partition, event.offset.0);
        let beats = match &*self {
            Partial::First(kept) => place < (kept.time, kept.partition, kept.offset),
            Partial::Last(kept) => place > (kept.time, kept.partition, kept.offset),
            _ => true,
        };
        if !beats || matches!(event.value, Value::Float(x) if !x.is_finite()) {
            return;
        }
        let (time, partition, offset) = place;
        let moment = Box::new(Moment { time, partition, offset, value: event.value.clone() });
        *self = if aggregate == Aggregate::First { Partial::First(moment) } else { Partial::Last(moment) };
    }
    /// Adds all that `other`, of the same kind, holds: associative and commutative, with `Empty` as identity.
    pub fn combine(&mut self, other: &Partial) {
        match (&mut *self, other) {
            (_, Partial::Empty) => {}
            (Partial::Empty, other) => self.clone_from(other),
            (Partial::Variance(mine), Partial::Variance(more)) => mine.combine(more),
            (Partial::Distinct(mine), Partial::Distinct(more)) => mine.combine(more),
            (Partial::Quantiles(mine), Partial::Quantiles(more)) => mine.combine(more),
            (Partial::First(mine), Partial::First(more)) => mine.keep_first(more),
            (Partial::Last(mine), Partial::Last(more)) => mine.keep_last(more),
            (Partial::Histogram(mine), Partial::Histogram(more)) => mine.combine(more),
            (Partial::Sessions(mine), Partial::Sessions(more)) => mine.combine(more),
            (Partial::Net(mine), Partial::Net(more)) => {
                mine.combine(more);
                self.settle();
            }
            (
                Partial::Variance(_)
                | Partial::Distinct(_)
                | Partial::Quantiles(_)
                | Partial::First(_)
                | Partial::Last(_)
                | Partial::Histogram(_)
                | Partial::Sessions(_)
                | Partial::Net(_),
                _,
            ) => debug_assert!(false, "the partials of one state are of one kind"),
        }
    }
    /// Whether it may be a partial of that aggregate.
    pub fn is_of(&self, aggregate: Aggregate) -> bool {
        match self {
            Partial::Empty => true,
            Partial::Variance(_) => aggregate == Aggregate::Variance,
            Partial::Distinct(_) => aggregate == Aggregate::Distinct,
            Partial::Quantiles(_) => matches!(aggregate, Aggregate::Quantiles(_)),
            Partial::First(_) => aggregate == Aggregate::First,
            Partial::Last(_) => aggregate == Aggregate::Last,
            Partial::Histogram(_) => aggregate == Aggregate::Histogram,
            Partial::Sessions(sessions) => aggregate == Aggregate::Sessions(Span(sessions.gap())),
            Partial::Net(_) => aggregate == Aggregate::Net,
        }
    }
    /// Memory outside of the enum, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Partial::Empty => 0,
            Partial::Variance(content) => size_of_val(&**content) + content.heap_bytes(),
            Partial::Distinct(content) => size_of_val(&**content) + content.heap_bytes(),
            Partial::Quantiles(content) => size_of_val(&**content) + content.heap_bytes(),
            Partial::First(content) | Partial::Last(content) => size_of_val(&**content) + content.heap_bytes(),
            Partial::Histogram(content) => size_of_val(&**content) + content.heap_bytes(),
            Partial::Sessions(content) => size_of_val(&**content) + content.heap_bytes(),
            Partial::Net(content) => size_of_val(&**content) + content.heap_bytes(),
        }
    }
    /// Appends the one spelling of its content: nothing for `Empty`, else a version, the kind, and what the kind keeps.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut start = |kind: u8| out.extend_from_slice(&[VERSION, kind]);
        match self {
            Partial::Empty => {}
            Partial::Variance(content) => {
                start(1);
                content.encode(out);
            }
            Partial::Distinct(content) => {
                start(2);
                content.encode(out);
            }
            Partial::Quantiles(content) => {
                start(3);
                content.encode(out);
            }
            Partial::First(content) => {
                start(4);
                content.encode(out);
            }
            Partial::Last(content) => {
                start(5);
                content.encode(out);
            }
            Partial::Histogram(content) => {
                start(6);
                content.encode(out);
            }
            Partial::Sessions(content) => {
                start(7);
                content.encode(out);
            }
            Partial::Net(content) => {
                start(8);
                content.encode(out);
            }
        }
    }
    /// Reads what [`Partial::encode`] wrote, all of `bytes`. Never panics.
    ///
    /// # Errors
    /// `Kind::Corrupt` if the bytes are not such a spelling.
    pub fn decode(bytes: &[u8]) -> Result<Partial> {
        if bytes.is_empty() {
            return Ok(Partial::Empty);
        }
        let mut reader = Reader { rest: bytes };
        if reader.byte()? != VERSION {
            return Err(corrupt());
        }
        let partial = match reader.byte()? {
            1 => Partial::Variance(Box::new(Variance::decode(&mut reader)?)),
            2 => Partial::Distinct(Box::new(Distinct::decode(&mut reader)?)),
            3 => Partial::Quantiles(Box::new(Quantiles::decode(&mut reader)?)),
            4 => Partial::First(Box::new(Moment::decode(&mut reader)?)),
            5 => Partial::Last(Box::new(Moment::decode(&mut reader)?)),
            6 => Partial::Histogram(Box::new(Histogram::decode(&mut reader)?)),
            7 => Partial::Sessions(Box::new(Sessions::decode(&mut reader)?)),
            8 => Partial::Net(Box::new(Net::decode(&mut reader)?)),
            _ => return Err(corrupt()),
        };
        if reader.rest.is_empty() { Ok(partial) } else { Err(corrupt()) }
    }
}

fn fixed(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::Decimal(number, _) => Some(*number),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::Str(_) => {
            debug_assert!(false, "definitions are typed: only numbers arrive");
            None
        }
    }
}
