//! The evaluation of a planned query: every node at all moments at once. Pure.
mod aggregate;
mod binary;
mod functions;
mod over_time;

use hashbrown::HashMap;
use promql_parser::parser::value::ValueType;
use tokio::time::Instant;

use super::failure::{Failure, Reason};
use super::labels::Labels;
use super::plan::{Aggregator, Function, Node, OverTime, Plan};
use super::source::{Grid, Reads, Samples, Series, Source};

pub use aggregate::number_text;
pub use over_time::{extreme, windows};

/// Values (series times moments) that one part of a query may hold.
pub const VALUES_MAX: usize = 5_000_000;

/// What a query comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number at each moment.
    Scalar(Vec<f64>),
    /// Series at each moment.
    Vector(Vec<Series>),
    /// Samples of series.
    Samples(Vec<Samples>),
    /// Text.
    Text(String),
}

/// Evaluates a plan over what a source holds, until a deadline. Series come in the order of their labels, but where the query
/// itself puts them in order.
///
/// # Errors
/// `execution` when series cannot be told apart or matched; `timeout`; what the source says.
pub fn evaluate(plan: &Plan, source: &dyn Source, deadline: Instant) -> Result<Value, Failure> {
    let evaluation = Evaluation { plan, source, grid: plan.grid, deadline };
    Ok(match (&plan.root, plan.kind) {
        (Node::Text(text), _) => Value::Text(text.clone()),
        (Node::Samples(leaf), _) => {
            let leaf = &plan.leaves[*leaf];
            let mut samples = source.samples(leaf, leaf.reads.window().unwrap_or_default())?;
            samples.sort_by(|a, b| a.labels.cmp(&b.labels));
            Value::Samples(samples)
        }
        (root, ValueType::Scalar) => Value::Scalar(evaluation.scalar(root)?),
        (root, _) => {
            let mut series = evaluation.vector(root)?;
            series.retain(|series| series.values.iter().any(Option::is_some));
            if plan.grid.count > 1 || !is_ordered(root) {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            Value::Vector(series)
        }
    })
}

/// Whether the query itself says how series are ordered.
fn is_ordered(node: &Node) -> bool {
    match node {
        Node::Aggregate(aggregate) => matches!(aggregate.aggregator, Aggregator::TopK | Aggregator::BottomK),
        Node::Call(function, _) => matches!(
            function,
            Function::Sort | Function::SortDescending | Function::SortByLabel | Function::SortByLabelDescending
        ),
        _ => false,
    }
}

struct Evaluation<'a> {
    plan: &'a Plan,
    source: &'a dyn Source,
    grid: Grid,
    deadline: Instant,
}

impl Evaluation<'_> {
    fn vector(&self, node: &Node) -> Result<Vec<Series>, Failure> {
        self.check()?;
        match node {
            Node::Values(leaf) => self.leaf(*leaf),
            Node::OverTime(function, leaf, parameters) => self.over_time(*function, *leaf, parameters),
            Node::Negate(inner) => {
                let series = map(self.vector(inner)?, |value| -value);
                self.relabel(series, |labels| Ok(labels.nameless()))
            }
            Node::Binary(binary) => self.binary(binary),
            Node::Aggregate(aggregate) => self.aggregate(aggregate),
            Node::Call(function, arguments) => self.call(*function, arguments),
            Node::Absent(inner, labels) => {
                let inner = self.vector(inner)?;
                let absent = |i: usize| inner.iter().all(|series| series.values[i].is_none()).then_some(1.0);
                let labels =
                    Labels::new(labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())));
                Ok(vec![Series { labels, values: (0..self.grid.count).map(absent).collect() }])
            }
            Node::Number(_) | Node::Text(_) | Node::Samples(_) => {
                Err(Failure::bad_data("an instant vector is expected here"))
            }
        }
    }
    fn scalar(&self, node: &Node) -> Result<Vec<f64>, Failure> {
        self.check()?;
        match node {
            Node::Number(number) => Ok(vec![*number; self.grid.count]),
            Node::Negate(inner) => Ok(self.scalar(inner)?.into_iter().map(|value| -value).collect()),
            Node::Binary(binary) => {
                let (left, right) = (self.scalar(&binary.left.0)?, self.scalar(&binary.right.0)?);
                Ok(left.into_iter().zip(right).map(|(a, b)| binary.operator.number(a, b)).collect())
            }
            Node::Call(Function::Time, _) => Ok(self.grid.iter().map(seconds).collect()),
            Node::Call(Function::Pi, _) => Ok(vec![std::f64::consts::PI; self.grid.count]),
            Node::Call(Function::Scalar, arguments) => {
                let series = self.vector(argument(arguments, 0)?)?;
                let only = |i: usize| {
                    let mut present = series.iter().filter_map(|series| series.values[i]);
                    present.next().filter(|_| present.next().is_none()).unwrap_or(f64::NAN)
                };
                Ok((0..self.grid.count).map(only).collect())
            }
            _ => Err(Failure::bad_data("a scalar is expected here")),
        }
    }
    fn text<'n>(&self, nodes: &'n [Node], place: usize) -> Result<&'n str, Failure> {
        match argument(nodes, place)? {
            Node::Text(text) => Ok(text),
            _ => Err(Failure::bad_data("a string literal is expected here")),
        }
    }
    /// The values of a leaf; one read at one moment is the same at all.
    fn leaf(&self, leaf: usize) -> Result<Vec<Series>, Failure> {
        let leaf = &self.plan.leaves[leaf];
        let mut series = self.source.values(leaf)?;
        if leaf.grid.count == 1 {
            let count = self.grid.count;
            series.iter_mut().for_each(|series| series.values = vec![series.values.first().copied().flatten(); count]);
        }
        Ok(series)
    }
    fn over_time(&self, function: OverTime, leaf: usize, parameters: &[Node]) -> Result<Vec<Series>, Failure> {
        let read = &self.plan.leaves[leaf];
        let series = match read.reads {
            Reads::Samples(window) => {
                let parameters = parameters.iter().map(|node| self.scalar(node)).collect::<Result<Vec<_>, _>>()?;
                let samples = self.source.samples(read, window)?;
                over_time::apply(function, samples, &read.grid, window, &self.grid, &parameters)
            }
            Reads::Increase(window) if function == OverTime::Rate => {
                let length = window.0 as f64 / 1e6;
                map(self.leaf(leaf)?, |increase| increase / length)
            }
            _ => self.leaf(leaf)?,
        };
        if matches!(function, OverTime::First | OverTime::Last) {
            return Ok(series);
        }
        self.relabel(series, |labels| Ok(labels.nameless()))
    }
    /// The series under other labels. Those that then are one are joined where they do not meet.
    fn relabel(
        &self,
        series: Vec<Series>,
        rename: impl Fn(&Labels) -> Result<Labels, Failure>,
    ) -> Result<Vec<Series>, Failure> {
        let mut out = Output::new(self.grid.count);
        for series in series {
            let to = out.series(rename(&series.labels)?)?;
            for (i, value) in series.values.into_iter().enumerate() {
                if let Some(value) = value {
                    out.put(to, i, value)?;
                }
            }
        }
        Ok(out.list)
    }
    fn check(&self) -> Result<(), Failure> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        Err(Failure { reason: Reason::Timeout, text: "query timed out in expression evaluation".to_owned() })
    }
}

/// Series under construction, each labels once.
struct Output {
    count: usize,
    index: HashMap<Labels, usize>,
    list: Vec<Series>,
}

impl Output {
    fn new(count: usize) -> Output {
        Output { count, index: HashMap::new(), list: Vec::new() }
    }
    /// The place of the series with these labels.
    fn series(&mut self, labels: Labels) -> Result<usize, Failure> {
        if let Some(&at) = self.index.get(&labels) {
            return Ok(at);
        }
        if (self.list.len() + 1).saturating_mul(self.count) > VALUES_MAX {
            return Err(Failure::execution(format!(
                "query processing would hold more than {VALUES_MAX} values; ask for fewer series or longer steps"
            )));
        }
        self.index.insert(labels.clone(), self.list.len());
        self.list.push(Series { labels, values: vec![None; self.count] });
        Ok(self.list.len() - 1)
    }
    fn put(&mut self, series: usize, i: usize, value: f64) -> Result<(), Failure> {
        let Series { labels, values } = &mut self.list[series];
        if values[i].replace(value).is_some() {
            return Err(Failure::execution(format!("vector cannot contain metrics with the same labelset: {labels}")));
        }
        Ok(())
    }
}

fn argument(nodes: &[Node], place: usize) -> Result<&Node, Failure> {
    nodes.get(place).ok_or_else(|| Failure::bad_data("an argument is missing"))
}

fn map(mut series: Vec<Series>, f: impl Fn(f64) -> f64) -> Vec<Series> {
    series.iter_mut().flat_map(|series| &mut series.values).flatten().for_each(|value| *value = f(*value));
    series
}

/// A moment in seconds since 1970.
pub fn seconds(at: seam_shared::time::Timestamp) -> f64 {
    at.0 as f64 / 1e6
}
