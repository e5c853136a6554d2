//! From the text of a query to what is evaluated: the tree, and the leaves that are read for it. Everything outside the supported
//! subset is refused here, before anything is read.
mod depth;
mod names;

use std::time::{Duration, UNIX_EPOCH};

use promql_parser::label::{Labels as Names, MatchOp, Matcher};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, Offset, VectorMatchCardinality,
    VectorSelector,
};
use seam_shared::time::{Span, Timestamp};

use super::failure::Failure;
use super::labels::NAME;
use super::source::{Fold, Grid, Grouping, Leaf, Reads};

pub use names::{Aggregator, Calendar, Function, Operator, OverTime};

/// A query, ready to be evaluated.
#[derive(Debug)]
pub struct Plan {
    /// The tree.
    pub root: Node,
    /// What is read for it.
    pub leaves: Vec<Leaf>,
    /// What comes out.
    pub kind: ValueType,
    /// The moments of the answer.
    pub grid: Grid,
}

/// A node of the tree.
#[derive(Debug)]
pub enum Node {
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// The values of a leaf.
    Values(usize),
    /// The samples of a leaf: the whole query.
    Samples(usize),
    /// A function of a leaf's samples in a window; parameters are scalars.
    OverTime(OverTime, usize, Vec<Node>),
    /// The negative.
    Negate(Box<Node>),
    /// Two sides.
    Binary(Box<Binary>),
    /// Groups of one side.
    Aggregate(Box<Aggregate>),
    /// A function.
    Call(Function, Vec<Node>),
    /// `absent` and `absent_over_time` with the labels of what is absent.
    Absent(Box<Node>, Vec<(String, String)>),
}

/// An operator and its sides.
#[derive(Debug)]
pub struct Binary {
    /// What is done.
    pub operator: Operator,
    /// 0 and 1 in the place of a filter.
    pub bool: bool,
    /// Which series of the two sides meet.
    pub matching: Matching,
    /// The left side, and whether it is a scalar.
    pub left: (Node, bool),
    /// The right side, and whether it is a scalar.
    pub right: (Node, bool),
}

/// Which series of two sides meet, and what their meeting is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    /// The labels that must be equal: `on` these, or all but these.
    pub labels: Grouping,
    /// Which side may have several series in a group.
    pub many: Many,
    /// Labels that the result takes from the side with one.
    pub include: Vec<String>,
}

/// Which side may have several series in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Many {
    /// None.
    Neither,
    /// `group_left`.
    Left,
    /// `group_right`.
    Right,
}

/// An aggregation.
#[derive(Debug)]
pub struct Aggregate {
    /// What is done.
    pub aggregator: Aggregator,
    /// In which groups.
    pub grouping: Grouping,
    /// k, or the quantile, or the label's name.
    pub parameter: Option<Node>,
    /// Of what.
    pub inner: Node,
}

/// Reads a query.
///
/// # Errors
/// `bad_data` when it is not PromQL.
pub fn parse(text: &str) -> Result<Expr, Failure> {
    depth::check(text)?;
    promql_parser::parser::parse(text)
        .map_err(|error| Failure::bad_data(format!("invalid parameter \"query\": {error}")))
}

/// Plans a query over a grid.
///
/// # Errors
/// `execution` for what is outside the supported subset.
pub fn plan(expression: &Expr, grid: Grid) -> Result<Plan, Failure> {
    let mut planner = Planner { grid, leaves: Vec::new() };
    let root = match strip(expression) {
        Expr::MatrixSelector(matrix) => {
            if grid.count > 1 {
                return Err(Failure::bad_data("invalid expression type \"range vector\" for range query"));
            }
            Node::Samples(planner.range(matrix, Reads::Samples, None)?)
        }
        _ => planner.node(expression, None)?,
    };
    Ok(Plan { root, leaves: planner.leaves, kind: expression.value_type(), grid })
}

/// The matchers of a selector, its name among them.
///
/// # Errors
/// `execution` for alternatives of matchers.
pub fn matchers(selector: &VectorSelector) -> Result<Vec<Matcher>, Failure> {
    if !selector.matchers.or_matchers.is_empty() {
        return Err(Failure::outside("`or` between matchers", "use a regular expression, or `or` between selectors"));
    }
    let name = selector.name.iter().map(|name| Matcher::new(MatchOp::Equal, NAME, name));
    Ok(name.chain(selector.matchers.matchers.iter().cloned()).collect())
}

/// A length of time; what is longer than all of time is all of time.
fn span(duration: Duration) -> Span {
    Span(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// Without parentheses.
fn strip(expression: &Expr) -> &Expr {
    match expression {
        Expr::Paren(inner) => strip(&inner.expr),
        other => other,
    }
}

fn owned(names: &Names) -> Vec<String> {
    names.labels.clone()
}

/// What is done with the groups of a leaf's series.
type Folded = Option<(Fold, Grouping)>;

struct Planner {
    grid: Grid,
    leaves: Vec<Leaf>,
}

impl Planner {
    /// A node; `folded` is what is done with it next.
    fn node(&mut self, expression: &Expr, folded: Folded) -> Result<Node, Failure> {
        match expression {
            Expr::NumberLiteral(number) => Ok(Node::Number(number.val)),
            Expr::StringLiteral(text) => Ok(Node::Text(text.val.clone())),
            Expr::Paren(inner) => self.node(&inner.expr, folded),
            Expr::VectorSelector(selector) => Ok(Node::Values(self.leaf(selector, Reads::Value, folded)?)),
            Expr::Unary(unary) => Ok(Node::Negate(Box::new(self.node(&unary.expr, None)?))),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.call(call, folded),
            Expr::MatrixSelector(_) => Err(Failure::bad_data("a range vector stands where no function takes one")),
            Expr::Subquery(_) => Err(Failure::outside(
                "a subquery",
                "record the inner query as a metric of seam.yaml, or ask for the range itself",
            )),
            Expr::Extension(_) => Err(Failure::outside("an extension", "use plain PromQL")),
        }
    }
    fn leaf(&mut self, selector: &VectorSelector, reads: Reads, folded: Folded) -> Result<usize, Failure> {
        let mut grid = self.grid;
        match &selector.at {
            None => {}
            Some(AtModifier::Start) => grid = Grid::instant(grid.first),
            Some(AtModifier::End) => grid = Grid::instant(grid.last()),
            Some(AtModifier::At(moment)) => {
                let since = moment.duration_since(UNIX_EPOCH).map(span);
                grid =
                    Grid::instant(Timestamp(since.map_or_else(|before| -span(before.duration()).0, |since| since.0)));
            }
        }
        grid.first = match &selector.offset {
            None => grid.first,
            Some(Offset::Pos(offset)) => grid.first.minus(span(*offset)),
            Some(Offset::Neg(offset)) => grid.first.plus(span(*offset)),
        };
        let earliest = grid.first.minus(reads.window().unwrap_or_default());
        if earliest < Timestamp::MIN || grid.last() > Timestamp::MAX {
            return Err(Failure::bad_data("the query reaches outside the years 1 to 9999"));
        }
        self.leaves.push(Leaf { matchers: matchers(selector)?, grid, reads, folded });
        Ok(self.leaves.len() - 1)
    }
    fn range(&mut self, matrix: &MatrixSelector, reads: fn(Span) -> Reads, folded: Folded) -> Result<usize, Failure> {
        if matrix.range.is_zero() {
            return Err(Failure::bad_data("duration must be greater than 0"));
        }
        self.leaf(&matrix.vs, reads(span(matrix.range)), folded)
    }
    fn binary(&mut self, binary: &BinaryExpr) -> Result<Node, Failure> {
        let operator = Operator::named(&binary.op.to_string())?;
        let modifier = binary.modifier.clone().unwrap_or_default();
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            return Err(Failure::outside("`fill`", "use `or vector(0)`"));
        }
        let labels = match &modifier.matching {
            None => Grouping::Without(Vec::new()),
            Some(LabelModifier::Include(names)) => Grouping::By(owned(names)),
            Some(LabelModifier::Exclude(names)) => Grouping::Without(owned(names)),
        };
        let (many, include) = match &modifier.card {
            VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => (Many::Neither, Vec::new()),
            VectorMatchCardinality::ManyToOne(names) => (Many::Left, owned(names)),
            VectorMatchCardinality::OneToMany(names) => (Many::Right, owned(names)),
        };
        let mut side = |expression: &Expr| -> Result<(Node, bool), Failure> {
            Ok((self.node(expression, None)?, expression.value_type() == ValueType::Scalar))
        };
        Ok(Node::Binary(Box::new(Binary {
            operator,
            bool: modifier.return_bool,
            matching: Matching { labels, many, include },
            left: side(&binary.lhs)?,
            right: side(&binary.rhs)?,
        })))
    }
    fn aggregate(&mut self, aggregate: &AggregateExpr) -> Result<Node, Failure> {
        let aggregator = Aggregator::named(&aggregate.op.to_string())?;
        let grouping = match &aggregate.modifier {
            None => Grouping::By(Vec::new()),
            Some(LabelModifier::Include(names)) => Grouping::By(owned(names)),
            Some(LabelModifier::Exclude(names)) => Grouping::Without(owned(names)),
        };
        let fold = match aggregator {
            Aggregator::Sum => Some(Fold::Sum),
            Aggregator::Min => Some(Fold::Min),
            Aggregator::Max => Some(Fold::Max),
            _ => None,
        };
        let parameter = aggregate.param.as_ref().map(|parameter| self.node(parameter, None)).transpose()?;
        let inner = self.node(&aggregate.expr, fold.map(|fold| (fold, grouping.clone())))?;
        Ok(Node::Aggregate(Box::new(Aggregate { aggregator, grouping, parameter, inner })))
    }
    fn call(&mut self, call: &Call, folded: Folded) -> Result<Node, Failure> {
        let arguments = &call.args.args;
        if let Some(function) = OverTime::named(call.func.name) {
            return self.over_time(function, arguments, folded);
        }
        let function = Function::named(call.func.name)?;
        match (function, arguments.first().map(|first| strip(first))) {
            (Function::Absent, Some(inner)) => {
                let labels = if let Expr::VectorSelector(selector) = inner { equal(selector)? } else { Vec::new() };
                Ok(Node::Absent(Box::new(self.node(inner, None)?), labels))
            }
            (Function::Timestamp, Some(Expr::VectorSelector(selector))) => {
                Ok(Node::Call(function, vec![Node::Values(self.leaf(selector, Reads::When, None)?)]))
            }
            _ => {
                let nodes = arguments.iter().map(|argument| self.node(argument, None));
                Ok(Node::Call(function, nodes.collect::<Result<_, _>>()?))
            }
        }
    }
    fn over_time(&mut self, function: OverTime, arguments: &[Box<Expr>], folded: Folded) -> Result<Node, Failure> {
        let (mut matrix, mut parameters) = (None, Vec::new());
        for argument in arguments {
            match strip(argument) {
                Expr::MatrixSelector(selector) => matrix = Some(selector),
                other => parameters.push(self.node(other, None)?),
            }
        }
        let matrix = matrix.ok_or_else(|| Failure::bad_data("a range vector is missing"))?;
        let commutes = |wanted: Fold| folded.clone().filter(|(fold, _)| *fold == wanted);
        let leaf = match function {
            OverTime::Increase | OverTime::Rate => self.range(matrix, Reads::Increase, commutes(Fold::Sum))?,
            OverTime::Delta => self.range(matrix, Reads::Change, None)?,
            OverTime::Min => self.range(matrix, Reads::Lowest, commutes(Fold::Min))?,
            OverTime::Max => self.range(matrix, Reads::Highest, commutes(Fold::Max))?,
            _ => self.range(matrix, Reads::Samples, None)?,
        };
        let node = Node::OverTime(function, leaf, parameters);
        Ok(if function == OverTime::Absent { Node::Absent(Box::new(node), equal(&matrix.vs)?) } else { node })
    }
}

/// The labels that a selector fixes: each that is named once, with `=`.
fn equal(selector: &VectorSelector) -> Result<Vec<(String, String)>, Failure> {
    let all = matchers(selector)?;
    let once = |matcher: &&Matcher| {
        matcher.name != NAME
            && matcher.op == MatchOp::Equal
            && all.iter().filter(|other| other.name == matcher.name).count() == 1
    };
    Ok(all.iter().filter(once).map(|matcher| (matcher.name.clone(), matcher.value.clone())).collect())
}
