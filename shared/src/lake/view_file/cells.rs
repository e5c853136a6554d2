//! The cells of a view's files, column by column: `None` where a column is none of the view's.
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};

use super::Coder;
use crate::view::aggregate::partial::Partial;
use crate::view::aggregate::{FixedStats, FloatStats};
use crate::view::exact_sum::ExactSum;
use crate::view::rows::Dimension;
use crate::view::value::{FieldType, Value};

pub(super) fn unsigned(column: &ArrayRef) -> Option<impl Iterator<Item = u64>> {
    Some(column.as_primitive_opt::<Int64Type>()?.values().iter().map(|n| n.cast_unsigned()))
}

fn cells<T: ArrowPrimitiveType>(column: &ArrayRef) -> Option<impl Iterator<Item = Option<T::Native>>> {
    Some(column.as_primitive_opt::<T>()?.iter())
}

pub(super) fn read_dimension(
    kind: FieldType,
    column: &ArrayRef,
    dimension: &mut Dimension,
    coder: &mut Coder,
) -> Option<()> {
    match kind {
        FieldType::String => read_text(column, dimension, coder)?,
        FieldType::Bool => {
            let flags = column.as_boolean_opt()?.iter().map(|cell| cell.map(i64::from));
            coder.numbers(flags, dimension, |flag| Value::Bool(flag != 0));
        }
        FieldType::Int => coder.numbers(cells::<Int64Type>(column)?, dimension, Value::Int),
        FieldType::Decimal(scale) => {
            coder.numbers(cells::<Decimal128Type>(column)?, dimension, |number| Value::Decimal(number, scale));
        }
        FieldType::Float => return None,
    }
    Some(())
}

fn read_text(column: &ArrayRef, dimension: &mut Dimension, coder: &mut Coder) -> Option<()> {
    const UNSEEN: u32 = u32::MAX;
    let coded = column.as_dictionary_opt::<Int32Type>()?;
    let texts = coded.values().as_string_opt::<i32>()?;
    let Dimension { codes, values } = dimension;
    let mut known = vec![UNSEEN; texts.len()];
    for key in coded.keys() {
        codes.push(match key.map(usize::try_from) {
            None => coder.null(values),
            Some(Ok(key)) if *known.get(key)? != UNSEEN => known[key],
            Some(Ok(key)) => {
                known[key] = coder.text(texts.value(key), values);
                known[key]
            }
            Some(Err(_)) => return None,
        });
    }
    Some(())
}

pub(super) fn read_partials(column: &ArrayRef, all: &mut Vec<Partial>) -> Option<()> {
    for bytes in column.as_binary_opt::<i32>()? {
        all.push(Partial::decode(bytes.unwrap_or_default()).ok()?);
    }
    Some(())
}

pub(super) fn read_fixed(
    counts: impl Iterator<Item = u64>,
    columns: [&ArrayRef; 3],
    all: &mut Vec<FixedStats>,
) -> Option<()> {
    let [sums, mins, maxs] = columns;
    let sums = sums.as_primitive_opt::<Decimal128Type>()?.values();
    let extend = |extremes: &mut dyn Iterator<Item = (i128, i128)>| {
        let stats = counts.zip(sums).zip(extremes).map(|((count, &sum), (min, max))| match count {
            0 => FixedStats::default(),
            _ => FixedStats { count, sum, min, max },
        });
        all.extend(stats);
    };
    match (mins.as_primitive_opt::<Int64Type>(), maxs.as_primitive_opt::<Int64Type>()) {
        (Some(mins), Some(maxs)) => {
            extend(&mut mins.values().iter().zip(maxs.values()).map(|(&min, &max)| (i128::from(min), i128::from(max))));
        }
        (_, _) => {
            let mins = mins.as_primitive_opt::<Decimal128Type>()?.values();
            let maxs = maxs.as_primitive_opt::<Decimal128Type>()?.values();
            extend(&mut mins.iter().copied().zip(maxs.iter().copied()));
        }
    }
    Some(())
}

pub(super) fn read_float(
    counts: impl Iterator<Item = u64>,
    columns: [&ArrayRef; 6],
    all: &mut Vec<FloatStats>,
) -> Option<()> {
    let [sums, mins, maxs, nan, positive, negative] = columns;
    let sums = sums.as_binary_opt::<i32>()?;
    let (mins, maxs) =
        (mins.as_primitive_opt::<Float64Type>()?.values(), maxs.as_primitive_opt::<Float64Type>()?.values());
    let not_finite = unsigned(nan)?.zip(unsigned(positive)?).zip(unsigned(negative)?);
    for (i, (count, ((nan, positive_infinite), negative_infinite))) in counts.zip(not_finite).enumerate() {
        let finite = if count == 0 {
            FloatStats::default()
        } else {
            let mut bytes = sums.value(i);
            let sum = ExactSum::decode(&mut bytes).ok()?;
            FloatStats { count, sum, min: mins[i], max: maxs[i], ..FloatStats::default() }
        };
        all.push(FloatStats { nan, positive_infinite, negative_infinite, ..finite });
    }
    Some(())
}
