//! The figures beside a value: as further members of a JSON row, and as columns of CSV. Pure.
use std::ops::Range;

use seam_shared::view::aggregate::distinct::STANDARD_ERROR;
use seam_shared::view::aggregate::partial::Aggregate;
use seam_shared::view::aggregate::quantiles::accuracy;
use seam_shared::view::aggregate::unit::Unit;
use seam_shared::view::aggregate::{Figures, FixedStats, More};
use seam_shared::view::definition::{Figure, StateKind};
use seam_shared::view::value::{FieldType, Value};

use crate::json::Json;
use crate::query::Term;

/// The quantiles that rows show beside the one that was asked for, in millionths.
const SHOWN: [(&str, u32); 5] =
    [("p50", 500_000), ("p75", 750_000), ("p90", 900_000), ("p95", 950_000), ("p99", 990_000)];

/// Writes figures as further members of the object that is open; `value` is the row's, written at `at` already.
pub fn write(json: &mut Json, figures: &Figures, value: &Value, at: Range<usize>, is_count: bool) {
    let Figures { count, sum, avg, min, max, not_finite, more } = figures;
    match more {
        More::Nothing | More::Net { .. } if is_count => return,
        More::Net { count } => {
            json.key("count").value(&Value::Int(*count)).key("sum").value(sum).key("avg").value(avg);
        }
        More::Nothing => {
            // What the value says already is not spelled a second time.
            json.raw(",\"count\":").number(*count).raw(",\"sum\":");
            if sum == value {
                json.again(at.clone())
            } else {
                json.value(sum)
            };
            json.raw(",\"avg\":");
            if avg == value {
                json.again(at)
            } else {
                json.value(avg)
            };
            json.raw(",\"min\":").value(min).raw(",\"max\":").value(max);
        }
        More::Spread(spread) => {
            let double = |x: Option<f64>| x.map_or(Value::Null, Value::Float);
            json.key("count").number(*count);
            json.key("var_pop").value(&double(spread.var_pop)).key("var_samp").value(&double(spread.var_samp));
            json.key("stddev_pop").value(&double(spread.stddev_pop));
            json.key("stddev_samp").value(&double(spread.stddev_samp));
        }
        More::Distinct { exact } => {
            json.key("exact").bool(*exact);
        }
        More::Ranks(ranks) => {
            json.key("count").number(*count).key("min").value(min).key("max").value(max).key("quantiles").open('{');
            for (name, millionths) in SHOWN {
                json.key(name).value(&ranks.quantile(millionths).map_or(Value::Null, Value::Float));
            }
            json.close('}');
        }
        More::Moment(moment) => {
            match moment {
                Some((_, time)) => json.key("at").time(*time),
                None => json.key("at").null(),
            };
        }
        More::Buckets(buckets) => {
            json.key("histogram").open('[');
            for (to, count) in buckets {
                json.open('{').key("to").value(to).key("count").number(*count).close('}');
            }
            json.close(']');
        }
        More::Sessions(summary) => {
            let seconds = |x: Option<f64>| x.map_or(Value::Null, Value::Float);
            json.key("bounces").number(summary.bounces).key("events").number(summary.events);
            json.key("length").value(&seconds(summary.mean_length()));
            json.key("longest").value(&seconds(summary.longest()));
        }
    }
    let [nan, positive, negative] = not_finite;
    if nan + positive + negative > 0 {
        json.key("not_finite").open('{').key("nan").number(*nan).key("inf").number(*positive);
        json.key("-inf").number(*negative).close('}');
    }
}

/// The same of statistics of scaled integers, of which there is one at least: what most rows show. The term's figure is written at `at`.
pub fn write_fixed(json: &mut Json, stats: &FixedStats, term: &Term, at: Range<usize>) {
    let scale = match term.kind() {
        StateKind::Fixed { scale } => scale,
        StateKind::Count | StateKind::Float | StateKind::Partial(..) => 0,
    };
    let places = usize::from(scale);
    json.raw(",\"count\":").number(stats.count).raw(",\"sum\":");
    match term.figure {
        Figure::Sum => json.again(at.clone()),
        _ => json.decimal(stats.sum, places),
    };
    json.raw(",\"avg\":");
    match term.figure {
        Figure::Avg => json.again(at),
        _ => json.double(stats.mean(scale)),
    };
    json.raw(",\"min\":").decimal(stats.min, places).raw(",\"max\":").decimal(stats.max, places);
}

/// The type of a figure.
pub fn type_of(term: &Term, figure: Figure) -> FieldType {
    let unit = match term.kind() {
        StateKind::Count => return FieldType::Int,
        StateKind::Fixed { scale } => Unit::Scaled(scale),
        StateKind::Float => Unit::Double,
        StateKind::Partial(_, unit) => unit,
    };
    match (figure, unit) {
        (Figure::Count | Figure::Distinct | Figure::Histogram, _) => FieldType::Int,
        (Figure::Sessions | Figure::Bounces | Figure::SessionEvents, _) => FieldType::Int,
        (Figure::SessionLength | Figure::SessionLongest, _) => FieldType::Float,
        (Figure::Min | Figure::Max, Unit::Scaled(0)) => FieldType::Int,
        (Figure::Sum | Figure::Min | Figure::Max, Unit::Scaled(scale)) => FieldType::Decimal(scale),
        (Figure::Sum | Figure::Min | Figure::Max, Unit::Double) => FieldType::Float,
        (Figure::Value, _) => {
            let field = term.definition().field.map(|field| term.view.source.fields[field].field_type);
            field.unwrap_or(FieldType::String)
        }
        (Figure::Avg | Figure::VarPop | Figure::VarSamp | Figure::StddevPop | Figure::StddevSamp, _) => {
            FieldType::Float
        }
        (Figure::Quantile(_), _) => FieldType::Float,
    }
}

/// The names and types of the columns beside the value.
pub fn columns(term: &Term) -> Vec<(String, FieldType)> {
    const COUNT: (&str, Figure) = ("count", Figure::Count);
    const ENDS: [(&str, Figure); 2] = [("min", Figure::Min), ("max", Figure::Max)];
    let definition = term.definition();
    let figures: Vec<(&str, Figure)> = match definition.kind {
        StateKind::Count => Vec::new(),
        StateKind::Fixed { .. } | StateKind::Float => {
            [COUNT, ("sum", Figure::Sum), ("avg", Figure::Avg)].into_iter().chain(ENDS).collect()
        }
        StateKind::Partial(Aggregate::Variance, _) => vec![
            COUNT,
            ("var_pop", Figure::VarPop),
            ("var_samp", Figure::VarSamp),
            ("stddev_pop", Figure::StddevPop),
            ("stddev_samp", Figure::StddevSamp),
        ],
        StateKind::Partial(Aggregate::Quantiles(_), _) => {
            let shown = SHOWN.map(|(name, millionths)| (name, Figure::Quantile(millionths)));
            [COUNT].into_iter().chain(ENDS).chain(shown).collect()
        }
        StateKind::Partial(Aggregate::Net, _) if definition.field.is_none() => Vec::new(),
        StateKind::Partial(Aggregate::Net, _) => vec![COUNT, ("sum", Figure::Sum), ("avg", Figure::Avg)],
        StateKind::Partial(Aggregate::Distinct, _) => return vec![("exact".to_owned(), FieldType::Bool)],
        StateKind::Partial(Aggregate::First | Aggregate::Last, _) => return vec![("at".to_owned(), FieldType::String)],
        StateKind::Partial(Aggregate::Sessions(_), _) => vec![
            ("bounces", Figure::Bounces),
            ("events", Figure::SessionEvents),
            ("length", Figure::SessionLength),
            ("longest", Figure::SessionLongest),
        ],
        StateKind::Partial(Aggregate::Histogram, _) => {
            let bounds = definition.bounds.iter().map(|bound| format!("to_{bound}"));
            return bounds.chain(["above".to_owned()]).map(|name| (name, FieldType::Int)).collect();
        }
    };
    figures.into_iter().map(|(name, figure)| (name.to_owned(), type_of(term, figure))).collect()
}

/// The cells of those columns.
pub fn cells(figures: &Figures) -> Vec<Value> {
    let number = |count: u64| Value::Int(count.cast_signed());
    let double = |x: Option<f64>| x.map_or(Value::Null, Value::Float);
    let Figures { count, sum, avg, min, max, more, .. } = figures;
    match more {
        More::Nothing => vec![number(*count), sum.clone(), avg.clone(), min.clone(), max.clone()],
        More::Spread(s) => {
            let doubles = [s.var_pop, s.var_samp, s.stddev_pop, s.stddev_samp].map(double);
            [number(*count)].into_iter().chain(doubles).collect()
        }
        More::Net { count } => vec![Value::Int(*count), sum.clone(), avg.clone()],
        More::Distinct { exact } => vec![Value::Bool(*exact)],
        More::Ranks(ranks) => {
            let quantiles = SHOWN.iter().map(|(_, millionths)| double(ranks.quantile(*millionths)));
            [number(*count), min.clone(), max.clone()].into_iter().chain(quantiles).collect()
        }
        More::Moment(moment) => {
            vec![moment.as_ref().map_or(Value::Null, |(_, time)| Value::text(&time.to_rfc3339()))]
        }
        More::Buckets(buckets) => buckets.iter().map(|(_, count)| number(*count)).collect(),
        More::Sessions(s) => {
            vec![number(s.bounces), number(s.events), double(s.mean_length()), double(s.longest())]
        }
    }
}

/// How far the value of a term may be off, as a member of the object that is open; nothing if it is exact.
pub fn write_error(json: &mut Json, terms: &[Term]) {
    for term in terms {
        match term.kind() {
            StateKind::Partial(Aggregate::Distinct, _) => {
                json.key("error").open('{').key("relative_standard_error").value(&Value::Float(STANDARD_ERROR));
                json.key("exact_up_to").number(seam_shared::view::aggregate::distinct::EXACT_MAX as u64).close('}');
            }
            StateKind::Partial(Aggregate::Quantiles(parts), _) => {
                let figure = Value::Float(accuracy(parts));
                json.key("error").open('{').key("relative_error").value(&figure).close('}');
            }
            StateKind::Count | StateKind::Fixed { .. } | StateKind::Float | StateKind::Partial(..) => continue,
        }
        return;
    }
}
