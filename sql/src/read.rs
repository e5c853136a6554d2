//! From the merged rows of a view to the columns of its table.
use seam_serving::answer::panes::Selection;
use seam_shared::time::Timestamp;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::{Value, decimal_to_double};

use crate::catalog::{Origin, Table};
use crate::error::{SqlError, state};
use crate::frame::{Cells, Column, Frame, Type};
use crate::pushdown::Read;

/// The states of the view that a read needs.
fn states(table: &Table, read: &Read) -> Vec<usize> {
    let state = |column: &usize| match table.columns[*column].origin {
        Origin::Measure(measure) => Some(table.view.measures[measure].state),
        _ => None,
    };
    let mut states: Vec<usize> = read.columns.iter().filter_map(state).collect();
    states.sort_unstable();
    states.dedup();
    states
}

/// What serving is asked for.
pub fn selection(table: &Table, read: &Read) -> Selection {
    Selection {
        view: table.view.clone(),
        admission: table.admission.clone(),
        range: (Timestamp(read.after), Timestamp(read.until.max(read.after))),
        slices: read.slices.clone(),
        states: states(table, read),
    }
}

/// The columns of a table that a read uses, over the rows that serving gave; the first one if it uses none.
///
/// # Errors
/// A sum that is too large for its type.
pub fn frame(table: &Table, read: &Read, rows: &Rows) -> Result<Frame, SqlError> {
    let states = states(table, read);
    let first = [0];
    let columns = if read.columns.is_empty() { &first[..] } else { &read.columns[..] };
    let column = |&column: &usize| -> Result<Column, SqlError> {
        let definition = &table.columns[column];
        let cells = match definition.origin {
            Origin::Time => Cells::Time(rows.panes.iter().map(|pane| Some(pane.0)).collect()),
            Origin::PaneStart => {
                Cells::Time(rows.panes.iter().map(|pane| Some(pane.minus(table.view.pane).0)).collect())
            }
            Origin::Dimension(d) => dimension(rows, d, definition.kind)?,
            Origin::Measure(m) => {
                let measure = &table.view.measures[m];
                let place = states.iter().position(|state| *state == measure.state);
                let place = place.ok_or_else(|| SqlError::new(state::INTERNAL, "a state was not read"))?;
                let kind = &table.view.states[measure.state];
                let figure = |row| rows.states[place].get(row).present(kind).get(measure.figure);
                cells((0..rows.len()).map(figure), definition.kind)?
            }
        };
        Ok(Column { name: definition.name.clone(), cells })
    };
    columns.iter().map(column).collect::<Result<Vec<_>, _>>().map(Frame)
}

/// The columns of a table without rows: what they are.
pub fn empty(table: &Table) -> Frame {
    let column = |c: &crate::catalog::ColumnDefinition| Column { name: c.name.clone(), cells: Cells::empty(c.kind) };
    Frame(table.columns.iter().map(column).collect())
}

fn dimension(rows: &Rows, d: usize, kind: Type) -> Result<Cells, SqlError> {
    let dimension = &rows.dimensions[d];
    if kind != Type::Text {
        return cells(dimension.codes.iter().map(|code| dimension.values[*code as usize].clone()), kind);
    }
    let text = |value: &Value| match value {
        Value::Null => None,
        value => Some(value.to_string()),
    };
    Ok(Cells::Coded(dimension.codes.clone(), dimension.values.iter().map(text).collect()))
}

/// Values as cells of a type.
fn cells(values: impl Iterator<Item = Value>, kind: Type) -> Result<Cells, SqlError> {
    fn each<T>(
        values: impl Iterator<Item = Value>,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<Option<T>>, SqlError> {
        let one = |value: Value| match value {
            Value::Null => Ok(None),
            value => {
                let too_large = || SqlError::new(state::OUT_OF_RANGE, format!("{value} does not fit its column"));
                read(&value).map(Some).ok_or_else(too_large)
            }
        };
        values.map(one).collect()
    }
    Ok(match kind {
        Type::Int => Cells::Int(each(values, |value| match value {
            Value::Int(int) => Some(*int),
            Value::Decimal(unscaled, 0) => i64::try_from(*unscaled).ok(),
            _ => None,
        })?),
        Type::Float => Cells::Float(each(values, |value| match value {
            Value::Float(float) => Some(*float),
            Value::Int(int) => Some(*int as f64),
            Value::Decimal(unscaled, scale) => Some(decimal_to_double(*unscaled, *scale)),
            _ => None,
        })?),
        Type::Decimal(scale) => {
            let limit = 10_i128.pow(38);
            let unscaled = each(values, |value| match value {
                Value::Decimal(unscaled, given) if *given == scale && unscaled.abs() < limit => Some(*unscaled),
                _ => None,
            });
            Cells::Decimal(unscaled?, scale)
        }
        Type::Bool => Cells::Bool(each(values, |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })?),
        Type::Text | Type::Time | Type::Date => Cells::Text(each(values, |value| Some(value.to_string()))?),
    })
}
