//! The names of the supported subset: operators, aggregators, functions, functions over time.
use super::Failure;

/// An operator of two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called what they do")]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

/// An aggregation over series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called what they do")]
pub enum Aggregator {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    Quantile,
    CountValues,
}

/// A function of a series' samples in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called what they do")]
pub enum OverTime {
    Increase,
    Rate,
    Delta,
    InstantRate,
    InstantDelta,
    Avg,
    Min,
    Max,
    Sum,
    Count,
    First,
    Last,
    Present,
    Absent,
    Stddev,
    Stdvar,
    Quantile,
    Changes,
    Resets,
    Slope,
    PredictLinear,
}

/// A function of values.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "they are called what they do")]
pub enum Function {
    /// Of one number.
    Map(fn(f64) -> f64),
    /// Of a moment in seconds: without an argument, that of the evaluation.
    Calendar(Calendar),
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    Scalar,
    Vector,
    Time,
    Pi,
    Timestamp,
    Absent,
    Sort,
    SortDescending,
    SortByLabel,
    SortByLabelDescending,
    LabelReplace,
    LabelJoin,
}

/// A part of a date or a time of day, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called what they are")]
pub enum Calendar {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(own, _)| *own == name).map(|(_, item)| *item)
}

impl Operator {
    const NAMES: [(&'static str, Operator); 16] = [
        ("+", Operator::Add),
        ("-", Operator::Subtract),
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("%", Operator::Modulo),
        ("^", Operator::Power),
        ("atan2", Operator::Atan2),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        (">", Operator::Greater),
        ("<", Operator::Less),
        (">=", Operator::GreaterOrEqual),
        ("<=", Operator::LessOrEqual),
        ("and", Operator::And),
        ("or", Operator::Or),
        ("unless", Operator::Unless),
    ];
    /// By its sign.
    pub(super) fn named(name: &str) -> Result<Operator, Failure> {
        find(&Operator::NAMES, name).ok_or_else(|| Failure::outside(&format!("operator {name}"), "use another"))
    }
    /// Whether it filters.
    pub fn compares(self) -> bool {
        use Operator as O;
        matches!(self, O::Equal | O::NotEqual | O::Greater | O::Less | O::GreaterOrEqual | O::LessOrEqual)
    }
    /// Its number: of a comparison, 1 where it holds.
    pub fn number(self, a: f64, b: f64) -> f64 {
        let truth = |holds: bool| f64::from(u8::from(holds));
        match self {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide => a / b,
            Operator::Modulo => a % b,
            Operator::Power => a.powf(b),
            Operator::Atan2 => a.atan2(b),
            Operator::Equal => truth(a == b),
            Operator::NotEqual => truth(a != b),
            Operator::Greater => truth(a > b),
            Operator::Less => truth(a < b),
            Operator::GreaterOrEqual => truth(a >= b),
            Operator::LessOrEqual => truth(a <= b),
            Operator::And | Operator::Or | Operator::Unless => f64::NAN,
        }
    }
}

impl Aggregator {
    const NAMES: [(&'static str, Aggregator); 12] = [
        ("sum", Aggregator::Sum),
        ("avg", Aggregator::Avg),
        ("min", Aggregator::Min),
        ("max", Aggregator::Max),
        ("count", Aggregator::Count),
        ("group", Aggregator::Group),
        ("stddev", Aggregator::Stddev),
        ("stdvar", Aggregator::Stdvar),
        ("topk", Aggregator::TopK),
        ("bottomk", Aggregator::BottomK),
        ("quantile", Aggregator::Quantile),
        ("count_values", Aggregator::CountValues),
    ];
    pub(super) fn named(name: &str) -> Result<Aggregator, Failure> {
        let known: Vec<&str> = Aggregator::NAMES.iter().map(|(name, _)| *name).collect();
        let unknown = || Failure::outside(&format!("aggregation {name}"), &format!("it has {}", known.join(", ")));
        find(&Aggregator::NAMES, name).ok_or_else(unknown)
    }
}

impl OverTime {
    const NAMES: [(&'static str, OverTime); 21] = [
        ("increase", OverTime::Increase),
        ("rate", OverTime::Rate),
        ("delta", OverTime::Delta),
        ("irate", OverTime::InstantRate),
        ("idelta", OverTime::InstantDelta),
        ("avg_over_time", OverTime::Avg),
        ("min_over_time", OverTime::Min),
        ("max_over_time", OverTime::Max),
        ("sum_over_time", OverTime::Sum),
        ("count_over_time", OverTime::Count),
        ("first_over_time", OverTime::First),
        ("last_over_time", OverTime::Last),
        ("present_over_time", OverTime::Present),
        ("absent_over_time", OverTime::Absent),
        ("stddev_over_time", OverTime::Stddev),
        ("stdvar_over_time", OverTime::Stdvar),
        ("quantile_over_time", OverTime::Quantile),
        ("changes", OverTime::Changes),
        ("resets", OverTime::Resets),
        ("deriv", OverTime::Slope),
        ("predict_linear", OverTime::PredictLinear),
    ];
    pub(super) fn named(name: &str) -> Option<OverTime> {
        find(&OverTime::NAMES, name)
    }
}

impl Function {
    const NAMES: [(&'static str, Function); 47] = [
        ("abs", Function::Map(f64::abs)),
        ("ceil", Function::Map(f64::ceil)),
        ("floor", Function::Map(f64::floor)),
        ("exp", Function::Map(f64::exp)),
        ("ln", Function::Map(f64::ln)),
        ("log2", Function::Map(f64::log2)),
        ("log10", Function::Map(f64::log10)),
        ("sqrt", Function::Map(f64::sqrt)),
        (
            "sgn",
            Function::Map(|x| {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    x
                }
            }),
        ),
        ("acos", Function::Map(f64::acos)),
        ("acosh", Function::Map(f64::acosh)),
        ("asin", Function::Map(f64::asin)),
        ("asinh", Function::Map(f64::asinh)),
        ("atan", Function::Map(f64::atan)),
        ("atanh", Function::Map(f64::atanh)),
        ("cos", Function::Map(f64::cos)),
        ("cosh", Function::Map(f64::cosh)),
        ("sin", Function::Map(f64::sin)),
        ("sinh", Function::Map(f64::sinh)),
        ("tan", Function::Map(f64::tan)),
        ("tanh", Function::Map(f64::tanh)),
        ("deg", Function::Map(f64::to_degrees)),
        ("rad", Function::Map(f64::to_radians)),
        ("minute", Function::Calendar(Calendar::Minute)),
        ("hour", Function::Calendar(Calendar::Hour)),
        ("day_of_week", Function::Calendar(Calendar::DayOfWeek)),
        ("day_of_month", Function::Calendar(Calendar::DayOfMonth)),
        ("day_of_year", Function::Calendar(Calendar::DayOfYear)),
        ("days_in_month", Function::Calendar(Calendar::DaysInMonth)),
        ("month", Function::Calendar(Calendar::Month)),
        ("year", Function::Calendar(Calendar::Year)),
        ("round", Function::Round),
        ("clamp", Function::Clamp),
        ("clamp_min", Function::ClampMin),
        ("clamp_max", Function::ClampMax),
        ("scalar", Function::Scalar),
        ("vector", Function::Vector),
        ("time", Function::Time),
        ("pi", Function::Pi),
        ("timestamp", Function::Timestamp),
        ("absent", Function::Absent),
        ("sort", Function::Sort),
        ("sort_desc", Function::SortDescending),
        ("sort_by_label", Function::SortByLabel),
        ("sort_by_label_desc", Function::SortByLabelDescending),
        ("label_replace", Function::LabelReplace),
        ("label_join", Function::LabelJoin),
    ];
    pub(super) fn named(name: &str) -> Result<Function, Failure> {
        let instead = if name.starts_with("histogram_") {
            "Seam keeps no histograms; quantile measures are gauges by window, like latency_p95:5m"
        } else {
            "the documentation lists what there is"
        };
        find(&Function::NAMES, name).ok_or_else(|| Failure::outside(&format!("function {name}"), instead))
    }
}
