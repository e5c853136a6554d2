//! Of a question for the first groups of each window, the rows that it shows: they are chosen before all are put in order. Pure.
use std::cmp::Ordering;

use seam_shared::view::value::Value;

use super::sums::Sums;
use crate::present::order_of_values;
use crate::query::{Fill, OrderBy, Query};

/// How many rows of each window are shown, and whether those with the largest values come first; `None` where that takes more than the
/// value of each row alone.
fn asked(query: &Query) -> Option<(usize, bool)> {
    let is_simple = query.terms.len() == 1 && query.rate.is_none() && !query.dimensions.is_empty();
    let is_filled = matches!(query.fill, Fill::Null | Fill::Zero);
    let descending = match &query.order[..] {
        [] => true,
        [key] if key.by == OrderBy::Value => key.descending,
        _ => return None,
    };
    query.top.filter(|_| is_simple && !is_filled).map(|top| (top, descending))
}

/// The rows that are shown, in no order; `None` if all may be.
pub fn chosen(query: &Query, sums: &Sums) -> Option<Vec<u32>> {
    let ((top, descending), term) = (asked(query)?, query.terms.first()?);
    if sums.len() <= top {
        return None;
    }
    let states = sums.states().first()?;
    let value = |row: u32| states.figure(row as usize, term.definition(), term.figure);
    let mut all: Vec<(i64, Value, u32)> = (0..sums.len() as u32).map(|row| (sums.cell(row), value(row), row)).collect();
    if !all.is_sorted_by_key(|(cell, ..)| *cell) {
        all.sort_unstable_by_key(|(cell, ..)| *cell);
    }
    let mut rows = Vec::new();
    for of_window in all.chunk_by_mut(|a, b| a.0 == b.0) {
        let first = of_window.len().min(top);
        if first < of_window.len() {
            of_window.select_nth_unstable_by(first, |(_, a, row), (_, b, other)| {
                let by_value: Ordering = order_of_values(a, b, descending);
                by_value.then_with(|| sums.compare_keys(*row, *other))
            });
        }
        rows.extend(of_window[..first].iter().map(|(.., row)| *row));
    }
    Some(rows)
}
