//! A query as asked over HTTP, checked and made exact: names resolved, times on the grid of the panes. Pure.
mod calendar;
mod finality;
pub mod inquiry;
mod parse;
mod refusal;
mod sessions;
mod times;
mod zone;

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use seam_shared::access::Admission;
use seam_shared::config::Metric;
use seam_shared::log::OffsetVector;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{Figure, StateDefinition, StateKind, View};
use seam_shared::view::expression::Expression;
use seam_shared::view::value::Value;

pub use calendar::{Length, Unit};
pub use parse::{Catalog, PARAMETERS, Request, no_dimension, parse, value_of};
pub use refusal::{Refusal, nearest};
pub use sessions::gap as session_gap;
pub use times::{Complete, Shape, Times, Windows, divisor};
pub use zone::Zone;

/// Rows of an answer that names no limit.
pub const LIMIT_DEFAULT: usize = 1_000;
/// Rows of the largest answer.
pub const LIMIT_MAX: usize = 10_000;
/// Points (times by groups) that one query may compute.
pub const POINTS_MAX: usize = 100_000;
/// Groups by pane or step that one query may hold while it computes.
pub const PARTIALS_MAX: usize = 1_000_000;
/// The window of a query that names none.
pub const WINDOW_DEFAULT: Span = Span(5 * Span::MINUTE.0);
/// The longest window.
pub const WINDOW_MAX: Span = Span(36_525 * Span::DAY.0);
/// The longest time that a query may be given, unless the configured one is longer.
pub const TIMEOUT_MAX: Span = Span(30 * Span::SECOND.0);

/// About what a question's spelling takes.
const SPELLING_BYTES: usize = 256;

/// Which halves an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The newest generation and what the speed layer adds to it.
    Merged,
    /// The newest generation alone.
    Batch,
    /// What the speed layer holds, alone; the stamp says from where to where.
    Speed,
}

impl Layer {
    /// As it is written in a query.
    pub fn name(self) -> &'static str {
        match self {
            Layer::Merged => "merged",
            Layer::Batch => "batch",
            Layer::Speed => "speed",
        }
    }
}

/// An earlier generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one of this number.
    Number(u64),
    /// The one that was the newest at this moment.
    AsOf(Timestamp),
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One object with points, times and stamp.
    Json,
    /// One object a line and point.
    Lines,
    /// A line of names, then one a point.
    Csv,
    /// A stream of Arrow's, its columns typed.
    Arrow,
    /// A Parquet file, its columns typed.
    Parquet,
}

impl Format {
    /// The extension that asks for it, and its media type.
    pub const NAMES: [(Format, &str, &str); 5] = [
        (Format::Json, ".json", "application/json"),
        (Format::Lines, ".ndjson", "application/x-ndjson"),
        (Format::Csv, ".csv", "text/csv"),
        (Format::Arrow, ".arrow", "application/vnd.apache.arrow.stream"),
        (Format::Parquet, ".parquet", "application/vnd.apache.parquet"),
    ];
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        Format::NAMES.iter().find(|(format, ..)| *format == self).map_or("application/json", |(.., name)| name)
    }
}

/// Where a page of an answer begins: behind that many rows of the answer with that tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The tag of the first page, without its quotes.
    pub tag: String,
    /// Rows before the page.
    pub rows: usize,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.tag, self.rows)
    }
}

/// What stands where a group has no event in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fill {
    /// Without a dimension: count 0, the others null. With dimensions: no row.
    Natural,
    /// No row.
    None,
    /// A row for every group at every time, with value null.
    Null,
    /// A row for every group at every time, with value 0.
    Zero,
}

/// What rows are ordered by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OrderBy {
    /// The window's end.
    Time,
    /// The value; null comes last in either direction.
    Value,
    /// A dimension, by its place among the query's.
    Dimension(usize),
}

/// One key of the order of rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OrderKey {
    /// What is compared.
    pub by: OrderBy,
    /// Largest first.
    pub descending: bool,
}

/// What is asked of one view: a metric has one of these, a ratio two.
#[derive(Debug, Clone)]
pub struct Term {
    /// The view.
    pub view: Arc<View>,
    /// The index of the state in the view.
    pub state: usize,
    /// Which figure of it is the value.
    pub figure: Figure,
    /// The view's dimensions that rows show, in the query's order.
    pub dimensions: Vec<usize>,
    /// Per sliced dimension of the view, the values that count, sorted.
    pub slices: Vec<(usize, Vec<Value>)>,
    /// Conditions over the view's dimensions: the metric's own and the query's.
    pub conditions: Vec<Expression>,
    /// That the caller may see the view, and which of its rows.
    pub admission: Admission,
}

impl Term {
    /// Its state.
    pub fn definition(&self) -> &StateDefinition {
        &self.view.states[self.state]
    }
    /// The kind of its state.
    pub fn kind(&self) -> StateKind {
        self.definition().kind
    }
    /// Every condition that a row must meet to count: what was asked for, and what the caller may see.
    pub fn all_conditions(&self) -> impl Iterator<Item = &Expression> {
        self.conditions.iter().chain(self.admission.rows())
    }
}

/// A value as so much per time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// The time that it is said of.
    pub per: Span,
    /// A window covers time up to this at most: `now`, or the end of the last window if that is earlier.
    pub until: Timestamp,
}

/// A checked query.
#[derive(Debug, Clone)]
pub struct Query {
    /// The metric.
    pub metric: Arc<Metric>,
    /// What is asked of which view: one term, or numerator and denominator.
    pub terms: Vec<Term>,
    /// The dimensions that rows show, in the order in which they were first named.
    pub dimensions: Vec<String>,
    /// What the window of each point is.
    pub window: Shape,
    /// The distance of points, where a range was asked for.
    pub step: Option<Length>,
    /// The windows.
    pub times: Times,
    /// Whose calendar counts, and how times are written.
    pub zone: Zone,
    /// Only complete windows are shown.
    pub is_final: bool,
    /// The value is so much per time.
    pub rate: Option<Rate>,
    /// Of each window only so many groups are shown: those that the order puts first.
    pub top: Option<usize>,
    /// How far behind the last window sessions are read; twice their gap if it does not say.
    pub ahead: Option<Span>,
    /// The order of rows; then by time and dimension values.
    pub order: Vec<OrderKey>,
    /// The most rows to answer with.
    pub limit: usize,
    /// What stands for empty windows.
    pub fill: Fill,
    /// Which halves to use.
    pub layer: Layer,
    /// The generation to answer from instead of the newest.
    pub generation: Option<Which>,
    /// The answer must cover this, or be refused.
    pub min_position: Option<OffsetVector>,
    /// How long the answer may take, waiting for `min_position` included.
    pub timeout: Span,
    /// How the answer is written.
    pub format: Format,
    /// The page to answer with, if not the first.
    pub cursor: Option<Cursor>,
}

/// A query and its spelling.
#[derive(Debug)]
pub struct Question {
    /// The query.
    pub query: Arc<Query>,
    /// All that the answer depends on besides the stored data: equal bytes, equal answer.
    pub spelling: Vec<u8>,
    /// Whether it was asked before: answers to questions that nobody asks again are not kept.
    pub asked: AtomicBool,
}

impl From<Query> for Question {
    fn from(query: Query) -> Self {
        let mut spelling = Spelling(Vec::with_capacity(SPELLING_BYTES));
        query.hash(&mut spelling);
        Question { spelling: spelling.0, query: Arc::new(query), asked: AtomicBool::new(false) }
    }
}

/// Keeps all that is hashed. What `Hash` writes of two unequal things never is the same, nor one a beginning of the other; so it is with
/// lengths and variants, which are small as a rule and written in seven bits a byte.
#[derive(Debug, Default)]
pub struct Spelling(pub Vec<u8>);

impl Hasher for Spelling {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn write_usize(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
    fn write_isize(&mut self, number: isize) {
        self.write_usize(number as usize);
    }
    fn finish(&self) -> u64 {
        0
    }
}

impl Hash for Term {
    fn hash<H: Hasher>(&self, out: &mut H) {
        let Term { view, state, figure, dimensions, slices, conditions, admission } = self;
        (&view.id, state, figure, dimensions, slices, conditions, admission).hash(out);
    }
}

/// Without what decides whether there is an answer, but not which.
impl Hash for Query {
    fn hash<H: Hasher>(&self, out: &mut H) {
        let Query { metric, terms, dimensions, window, step, times, zone, is_final, rate, top, .. } = self;
        let Query { order, limit, fill, layer, format, .. } = self;
        (&metric.name, terms, dimensions, window, step, times).hash(out);
        (zone, is_final, rate, top).hash(out);
        (order, limit, fill, layer, format).hash(out);
    }
}

impl Query {
    /// The start and the end of the window with that end.
    pub fn window_of(&self, end: Timestamp) -> (Timestamp, Timestamp) {
        (self.times.start_of(end), end)
    }
    /// Whether the window with that end is not over yet, where that is said: of windows of a calendar.
    pub fn is_partial(&self, end: Timestamp) -> Option<bool> {
        self.times.ended.map(|ended| self.times.number(end) >= ended)
    }
    /// The source of its views. A metric's views all follow one source.
    pub fn source(&self) -> &str {
        &self.terms[0].view.source.name
    }
}
