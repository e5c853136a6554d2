//! The compiled definitions that both layers follow: a source's fields and a view's filter, dimensions, panes and measures.
use std::num::NonZeroU64;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::segment::SegmentRule;
use crate::time::{Span, Timestamp};
use crate::view::aggregate::partial::Aggregate;
use crate::view::aggregate::unit::Unit;
use crate::view::expression::Expression;
pub use crate::view::field::{Field, Origin};
use crate::view::value::{FieldType, Value};

/// When two events are one: the later of two records with the same id counts as a duplicate if the earlier is among the
/// `max_records` records before it in its partition and at most `horizon` of log time older. A function of the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateRule {
    /// Log time (record timestamps) looked back.
    pub horizon: Span,
    /// Records of the partition looked back.
    pub max_records: u64,
}

/// A compiled source.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, and its topic's.
    pub name: String,
    /// Where the event's id lies, if events have one.
    pub id: Option<Vec<String>>,
    /// Where the event time lies.
    pub time: Vec<String>,
    /// The typed fields that views may use.
    pub fields: Vec<Field>,
    /// Which events are duplicates; `None`: none are.
    pub duplicates: Option<DuplicateRule>,
    /// Where segments end.
    pub segments: SegmentRule,
    /// Partitions of its topic when it is created.
    pub partitions: u32,
}

impl Source {
    /// The index of a field.
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }
}

/// A dimension of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DimensionDefinition {
    /// Its name.
    pub name: String,
    /// The index of its field in the source; meaningless for those of a count window.
    pub field: usize,
    /// Its type; never `Float`.
    pub field_type: FieldType,
}

impl DimensionDefinition {
    /// The two that a count window adds: no fields, but where an event stands in the log.
    pub fn of_count_window() -> [DimensionDefinition; 2] {
        let dimension =
            |name: &str| DimensionDefinition { name: name.to_owned(), field: usize::MAX, field_type: FieldType::Int };
        [PARTITION, COUNT_WINDOW].map(dimension)
    }
}

/// The dimension of a count window that holds the partition.
pub const PARTITION: &str = "partition";
/// The dimension of a count window that holds its number, from 0 for each key and partition.
pub const COUNT_WINDOW: &str = "count_window";

/// The kind of one mergeable state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StateKind {
    /// How many events.
    Count,
    /// Count, sum, min and max of an integer or decimal field, exact.
    Fixed {
        /// Digits after the point.
        scale: u8,
    },
    /// Count, correctly rounded sum, min and max of a float field.
    Float,
    /// A general partial of an aggregate, over numbers in that unit where they are numbers.
    Partial(Aggregate, Unit),
}

/// One state that a view keeps for each (pane, key). Measures of one kind over the same field and filter share it.
#[derive(Debug, Clone, PartialEq)]
pub struct StateDefinition {
    /// What it keeps.
    pub kind: StateKind,
    /// The source's field it folds; `None` for `Count`.
    pub field: Option<usize>,
    /// Which of the view's events it counts; `None`: all. An event counts only where the filter is true (not unknown).
    pub filter: Option<Arc<Expression>>,
    /// The bounds of a histogram, ascending and of the field's type; else empty.
    pub bounds: Arc<[Value]>,
    /// Which events take back what earlier ones have said; `None`: none do. Only of a `Net`.
    pub retract: Option<Arc<Expression>>,
}

impl StateDefinition {
    /// A state over all of the view's events, without bounds.
    pub fn new(kind: StateKind, field: Option<usize>) -> StateDefinition {
        StateDefinition { kind, field, filter: None, bounds: Arc::default(), retract: None }
    }
    /// Whether it counts all of the view's events.
    pub fn counts_events(&self) -> bool {
        self.kind == StateKind::Count && self.filter.is_none()
    }
    /// Whether `values` (the source's fields, by index) are of an event that takes something back.
    pub fn retracts(&self, values: &dyn Fn(usize) -> Value) -> bool {
        self.retract.as_ref().is_some_and(|retract| retract.matches(values) == Some(true))
    }
    /// Whether it is of events or numbers that may be taken back.
    pub fn is_net(&self) -> bool {
        matches!(self.kind, StateKind::Partial(Aggregate::Net, _))
    }
    /// What it measures of an event whose field says `value`: that, or 1 where it has no field.
    pub fn measured(&self, values: &dyn Fn(usize) -> Value) -> Value {
        self.field.map_or(Value::Int(1), values)
    }
    /// Whether `values` (the source's fields, by index) are of an event that it counts.
    pub fn passes(&self, values: &dyn Fn(usize) -> Value) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(values) == Some(true))
    }
}

/// Which figure of a state a measure shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Figure {
    /// How many events (for a field: how many finite numbers).
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their variance over n.
    #[serde(rename = "var_pop")]
    VarPop,
    /// Their variance over n - 1, as SQL's `variance`.
    #[serde(rename = "var_samp")]
    VarSamp,
    /// The square root of the variance over n.
    #[serde(rename = "stddev_pop")]
    StddevPop,
    /// The square root of the variance over n - 1, as SQL's `stddev`.
    #[serde(rename = "stddev_samp")]
    StddevSamp,
    /// How many different values.
    Distinct,
    /// A quantile, in millionths.
    Quantile(u32),
    /// The first or the last value.
    Value,
    /// How many numbers, with those of each bucket beside it.
    Histogram,
    /// How many sessions.
    Sessions,
    /// How many sessions of one event.
    Bounces,
    /// Events in the sessions.
    SessionEvents,
    /// The mean length of the sessions in seconds.
    SessionLength,
    /// The longest session in seconds.
    SessionLongest,
}

/// A named measure: one figure of one state. `stats(f)` is five measures: `name.count`, `name.sum`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// Its name, e.g. `events` or `delay.avg`.
    pub name: String,
    /// The index of its state in [`View::states`].
    pub state: usize,
    /// The figure.
    pub figure: Figure,
}

/// A view's namespace in the state store and the lake: `name@definition-hash`.
pub type ViewId = Arc<str>;

/// A compiled view.
#[derive(Debug, Clone)]
pub struct View {
    /// Its public name.
    pub name: String,
    /// `name@definition-hash`: changes with everything that changes what the view holds.
    pub id: ViewId,
    /// The source it folds.
    pub source: Arc<Source>,
    /// Which events count; `None`: all. An event counts only where the filter is true (not unknown).
    pub filter: Option<Expression>,
    /// Its dimensions in order. Those of a count window stand last: the partition and the number of the window.
    pub dimensions: Vec<DimensionDefinition>,
    /// Whether its files lie by key instead of by pane: for dimensions of so many values that keys are read one by one.
    pub keyed: bool,
    /// Events of a count window; `None`: the view has none. With it, the events of a key (all dimensions that are fields) in a
    /// partition that count are numbered in log order, and the one of rank r is in window r / this.
    pub count_window: Option<NonZeroU64>,
    /// The smallest time bucket. It divides a day evenly.
    pub pane: Span,
    /// The windows offered; each a multiple of the pane.
    pub windows: Vec<Span>,
    /// The states of each (pane, key).
    pub states: Vec<StateDefinition>,
    /// The measures that can be asked for.
    pub measures: Vec<Measure>,
}

impl View {
    /// The end of the pane that an event falls in: panes hold `[end - pane, end)` and are named by their end.
    pub fn pane_of(&self, time: Timestamp) -> Timestamp {
        time.floor(self.pane).plus(self.pane)
    }
    /// The kinds of its states in order.
    pub fn kinds(&self) -> Vec<StateKind> {
        self.states.iter().map(|s| s.kind).collect()
    }
    /// The dimensions that are fields of the source, in order: all but those of a count window.
    pub fn keys(&self) -> &[DimensionDefinition] {
        let implied = if self.count_window.is_some() { 2 } else { 0 };
        &self.dimensions[..self.dimensions.len().saturating_sub(implied)]
    }
    /// The state that counts all of its events, if it has one. A count window always has.
    pub fn event_count(&self) -> Option<usize> {
        self.states.iter().position(StateDefinition::counts_events)
    }
    /// The index of a dimension.
    pub fn dimension(&self, name: &str) -> Option<usize> {
        self.dimensions.iter().position(|d| d.name == name)
    }
    /// A measure by name.
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|m| m.name == name)
    }
}
