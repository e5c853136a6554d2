//! States as integer columns that Polars adds up exactly, and back.
//!
//! An integer whose sum cannot leave 64 bits is added as it is; any other in parts of 32 bits, the highest signed. A double is
//! added as the three 32-bit parts of `ExactSum::lower`, grouped by the limb that they start at as well. `2^31` rows of such parts
//! fit 64 bits.
use polars::prelude as pl;
use polars::prelude::{IntoLazy, IntoSeries};
use seam_shared::error::Result;
use seam_shared::view::aggregate::{FixedStats, FloatStats};
use seam_shared::view::exact_sum::ExactSum;
use seam_shared::view::rows::States;

use super::{failed, integers};

/// How one state is lowered.
pub struct State {
    index: usize,
    form: Form,
}

enum Form {
    Count,
    /// One 64-bit column, summed as it is.
    Narrow,
    /// The value for min and max, and its parts by rising weight; the last is signed.
    Wide {
        parts: usize,
    },
    /// Value, limb and parts, and how many values of each kind are not finite.
    Float {
        not_finite: bool,
    },
}

const PART: i128 = 0xFFFF_FFFF;

impl State {
    /// Counts rows.
    pub fn count(index: usize) -> State {
        State { index, form: Form::Count }
    }
    /// Lowers a column of integers or decimals.
    pub fn fixed(index: usize, column: &pl::Column, out: &mut Vec<pl::Column>) -> Result<State> {
        let series = column.as_materialized_series();
        let name = |what: &str| format!("s{index}_{what}");
        let state = |form| State { index, form };
        let rows = series.len() as i128;
        let fits = |low: i128, high: i128| {
            low.unsigned_abs().max(high.unsigned_abs()).checked_mul(rows.unsigned_abs()).is_some_and(|v| v < 1 << 62)
        };
        if let Ok(values) = series.i64() {
            let (low, high) = (values.iter().flatten().min().unwrap_or(0), values.iter().flatten().max().unwrap_or(0));
            out.push(pl::Column::from(values.clone().with_name(name("value").into()).into_series()));
            if fits(low.into(), high.into()) {
                return Ok(state(Form::Narrow));
            }
            push_parts(values.iter().map(|v| v.map(i128::from)), 2, &name, out);
            return Ok(state(Form::Wide { parts: 2 }));
        }
        let values = series.decimal().map_err(failed)?.physical();
        let (low, high) = (values.iter().flatten().min().unwrap_or(0), values.iter().flatten().max().unwrap_or(0));
        if fits(low, high) {
            let narrow: pl::Int64Chunked = values.iter().map(|v| v.map(|v| v as i64)).collect();
            out.push(pl::Column::from(narrow.with_name(name("value").into()).into_series()));
            return Ok(state(Form::Narrow));
        }
        out.push(pl::Column::from(values.clone().with_name(name("value").into()).into_series()));
        push_parts(values.iter(), 4, &name, out);
        Ok(state(Form::Wide { parts: 4 }))
    }
    /// Lowers a column of doubles.
    pub fn float(index: usize, column: &pl::Column, out: &mut Vec<pl::Column>) -> Result<State> {
        let name = |what: &str| format!("s{index}_{what}").into();
        let values = column.as_materialized_series().f64().map_err(failed)?;
        let finite = |v: Option<f64>| v.filter(|v| v.is_finite()).map(|v| v + 0.0);
        let not_finite = values.iter().flatten().any(|v| !v.is_finite());
        let lowered = || values.iter().map(move |v| finite(v).map(ExactSum::lower));
        let clean: pl::Float64Chunked = values.iter().map(finite).collect();
        out.push(pl::Column::from(clean.with_name(name("value")).into_series()));
        let limbs: pl::Int64Chunked = lowered().map(|v| v.map(|(limb, _)| i64::from(limb))).collect();
        out.push(pl::Column::from(limbs.with_name(name("limb")).into_series()));
        for part in 0..3 {
            let parts: pl::Int64Chunked = lowered().map(|v| v.map(|(_, parts)| parts[part])).collect();
            out.push(pl::Column::from(parts.with_name(name(&format!("part{part}"))).into_series()));
        }
        if not_finite {
            let kinds: [(&str, fn(f64) -> bool); 3] =
                [("nan", f64::is_nan), ("positive", |v| v == f64::INFINITY), ("negative", |v| v == f64::NEG_INFINITY)];
            for (kind, is) in kinds {
                let flags: pl::Int64Chunked = values.iter().map(|v| Some(i64::from(v.is_some_and(is)))).collect();
                out.push(pl::Column::from(flags.with_name(name(kind)).into_series()));
            }
        }
        Ok(State { index, form: Form::Float { not_finite } })
    }
    /// What Polars is to compute for each key.
    pub fn aggregations(&self) -> Vec<pl::Expr> {
        let value = || pl::col(self.name("value"));
        let statistics = || {
            vec![
                value().count().alias(self.name("count")),
                value().min().alias(self.name("min")),
                value().max().alias(self.name("max")),
            ]
        };
        let sum = |name: String| pl::col(name.as_str()).sum().alias(name.as_str());
        match &self.form {
            Form::Count => Vec::new(),
            Form::Narrow => statistics().into_iter().chain([value().sum().alias(self.name("sum"))]).collect(),
            Form::Wide { parts } => {
                statistics().into_iter().chain((0..*parts).map(|part| sum(self.part(part)))).collect()
            }
            Form::Float { not_finite } => {
                let kinds = if *not_finite { &["nan", "positive", "negative"][..] } else { &[] };
                statistics().into_iter().chain(kinds.iter().map(|kind| sum(self.name(kind)))).collect()
            }
        }
    }
    /// The states of the groups, whose keys are sorted.
    pub fn assemble(&self, grouped: &pl::DataFrame, lowered: &pl::DataFrame, keys: &[i64]) -> Result<States> {
        match &self.form {
            Form::Count => Ok(States::Count(self.unsigned(grouped, "rows")?)),
            Form::Narrow => {
                let sums = integers(grouped, &self.name("sum"))?;
                let sums = sums.into_iter().map(i128::from).collect();
                self.fixed_stats(grouped, sums)
            }
            Form::Wide { parts } => {
                let mut sums = vec![0i128; grouped.height()];
                for part in 0..*parts {
                    for (sum, value) in sums.iter_mut().zip(integers(grouped, &self.part(part))?) {
                        *sum = sum.wrapping_add(i128::from(value) << (32 * part));
                    }
                }
                self.fixed_stats(grouped, sums)
            }
            Form::Float { not_finite } => self.float_stats(grouped, lowered, keys, *not_finite),
        }
    }

    fn fixed_stats(&self, grouped: &pl::DataFrame, sums: Vec<i128>) -> Result<States> {
        let counts = self.unsigned(grouped, &self.name("count"))?;
        let (lows, highs) = (self.wide(grouped, "min")?, self.wide(grouped, "max")?);
        let all = counts.into_iter().zip(sums).zip(lows.into_iter().zip(highs));
        let stats = all.map(|((count, sum), (min, max))| match count {
            0 => FixedStats::default(),
            count => FixedStats { count, sum, min, max },
        });
        Ok(States::Fixed(stats.collect()))
    }
    fn float_stats(
        &self,
        grouped: &pl::DataFrame,
        lowered: &pl::DataFrame,
        keys: &[i64],
        not_finite: bool,
    ) -> Result<States> {
        let mut out = vec![FloatStats::default(); keys.len()];
        let counts = self.unsigned(grouped, &self.name("count"))?;
        let (lows, highs) = (doubles(grouped, &self.name("min"))?, doubles(grouped, &self.name("max"))?);
        for (i, stats) in out.iter_mut().enumerate().filter(|(i, _)| counts[*i] > 0) {
            (stats.count, stats.min, stats.max) = (counts[i], lows[i] + 0.0, highs[i] + 0.0);
        }
        if not_finite {
            let kinds = [
                self.unsigned(grouped, &self.name("nan"))?,
                self.unsigned(grouped, &self.name("positive"))?,
                self.unsigned(grouped, &self.name("negative"))?,
            ];
            for (i, stats) in out.iter_mut().enumerate() {
                [stats.nan, stats.positive_infinite, stats.negative_infinite] = [kinds[0][i], kinds[1][i], kinds[2][i]];
            }
        }
        let limb = pl::col("key") * pl::lit(64i64) + pl::col(self.name("limb"));
        let parts = (0..3).map(|part| pl::col(self.part(part)).sum());
        let sums = lowered.clone().lazy().filter(pl::col(self.name("limb")).is_not_null());
        let sums = sums.group_by([limb.alias("limb")]).agg(parts.collect::<Vec<_>>()).collect().map_err(failed)?;
        let limbs = integers(&sums, "limb")?;
        let parts = [0, 1, 2].map(|part| integers(&sums, &self.part(part)));
        let [a, b, c] = parts;
        let (a, b, c) = (a?, b?, c?);
        for (i, limb) in limbs.into_iter().enumerate() {
            let row = keys.partition_point(|key| *key < limb >> 6);
            out[row].sum.add_parts((limb & 63) as u8, [a[i], b[i], c[i]]);
        }
        Ok(States::Float(out))
    }
    fn name(&self, what: &str) -> String {
        format!("s{}_{what}", self.index)
    }
    fn part(&self, part: usize) -> String {
        self.name(&format!("part{part}"))
    }
    fn unsigned(&self, grouped: &pl::DataFrame, name: &str) -> Result<Vec<u64>> {
        Ok(integers(grouped, name)?.into_iter().map(|v| v as u64).collect())
    }
    fn wide(&self, grouped: &pl::DataFrame, what: &str) -> Result<Vec<i128>> {
        let column = grouped.column(&self.name(what)).and_then(|c| c.cast(&pl::DataType::Int128)).map_err(failed)?;
        let column = column.as_materialized_series().i128().map_err(failed)?;
        Ok(column.iter().map(|v| v.unwrap_or(0)).collect())
    }
}

/// Splits integers into `count` columns of 32 bits each; the last takes the sign.
fn push_parts(
    values: impl Iterator<Item = Option<i128>>,
    count: usize,
    name: &dyn Fn(&str) -> String,
    out: &mut Vec<pl::Column>,
) {
    let mut parts: Vec<Vec<i64>> = vec![Vec::new(); count];
    for value in values {
        let value = value.unwrap_or(0);
        for (i, part) in parts.iter_mut().enumerate() {
            let shifted = value >> (32 * i);
            part.push(if i + 1 == count { shifted as i64 } else { (shifted & PART) as i64 });
        }
    }
    for (i, part) in parts.into_iter().enumerate() {
        out.push(pl::Column::new(name(&format!("part{i}")).into(), part));
    }
}

fn doubles(frame: &pl::DataFrame, name: &str) -> Result<Vec<f64>> {
    let column = frame.column(name).map_err(failed)?;
    Ok(column.f64().map_err(failed)?.iter().map(|v| v.unwrap_or(0.0)).collect())
}
