//! A table of groups that rows of narrower panes are merged into, column by column.
//!
//! Most rows are of a pane and a key that came a moment ago. So in front of the hash table lies a list of rows by their codes side by
//! side in one number, of one pane at a time, where so many numbers are few beside the rows. It holds nothing that the table does not.
use std::ops::Range;

use super::Groups;
use crate::time::{Span, Timestamp};
use crate::view::definition::StateKind;
use crate::view::rows::{Rows, States};
use crate::view::value::Value;

/// The list may have so many places for each row that is merged at a time.
const PLACES_A_ROW: usize = 16;
const NOWHERE: u32 = u32::MAX;

/// Groups of wider panes, or without a dimension. The last state is a count of the rows merged.
#[derive(Debug)]
pub struct Rolled {
    groups: Groups,
    /// By dimension and code of the rows merged last, the code here.
    codes: Vec<Vec<u32>>,
    /// The pane that `places` is of.
    pane: Timestamp,
    /// The bits that each dimension's codes have in a place's number.
    widths: Vec<u32>,
    places: Vec<u32>,
    /// The rows that those of one merge went to.
    merged: Vec<u32>,
}

impl Rolled {
    /// An empty table for a view with that many dimensions and those states.
    pub fn new(dimensions: usize, kinds: &[StateKind]) -> Rolled {
        let (groups, codes) = (Groups::new(dimensions, kinds), vec![Vec::new(); dimensions]);
        Rolled { groups, codes, pane: Timestamp(i64::MIN), widths: Vec::new(), places: Vec::new(), merged: Vec::new() }
    }
    /// Makes room for that many groups.
    pub fn reserve(&mut self, groups: usize) {
        self.groups.reserve(groups);
    }
    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
    /// All rows in canonical form.
    pub fn into_rows(self) -> Rows {
        self.groups.into_rows()
    }
    /// All rows in the order in which their keys first came.
    pub fn into_unsorted(self) -> Rows {
        self.groups.into_unsorted()
    }
    /// Merges some rows into panes of a width that is a multiple of theirs, all values of the dimension `without` as null. Rows that do
    /// not have the last column, the count of rows merged, count once each.
    pub fn merge(&mut self, rows: &Rows, range: Range<usize>, width: Span, without: Option<usize>) {
        self.translate(rows, without);
        self.merged.clear();
        let mut from = range.start;
        while from < range.end {
            let pane = rows.panes[from].ceil(width);
            let begins = pane.minus(width);
            let within = |narrow: &&Timestamp| begins < **narrow && **narrow <= pane; // a division a row would cost more
            let run = 1 + rows.panes[from + 1..range.end].iter().take_while(within).count();
            self.find(rows, from..from + run, pane);
            from += run;
        }
        let is_first = rows.states.len() < self.groups.rows.states.len();
        for (column, other) in self.groups.rows.states.iter_mut().zip(&rows.states) {
            column.combine_rows(&self.merged, other, range.start);
        }
        if let (true, Some(States::Count(weights))) = (is_first, self.groups.rows.states.last_mut()) {
            self.merged.iter().for_each(|&row| weights[row as usize] += 1);
        }
    }

    /// Notes by dimension and code of `rows` the code here: most often that of the rows before.
    fn translate(&mut self, rows: &Rows, without: Option<usize>) {
        let Rolled { groups, codes, .. } = self;
        for (d, (dimension, codes)) in rows.dimensions.iter().zip(codes).enumerate() {
            if without == Some(d) {
                codes.clear();
                codes.resize(dimension.values.len(), groups.intern(d, &Value::Null));
                continue;
            }
            codes.resize(dimension.values.len(), 0);
            for (code, value) in codes.iter_mut().zip(&dimension.values) {
                if groups.rows.dimensions[d].values.get(*code as usize) != Some(value) {
                    *code = groups.intern(d, value);
                }
            }
        }
    }
    /// Notes where the rows in `range`, all of them of one pane here, are merged into.
    fn find(&mut self, rows: &Rows, range: Range<usize>, pane: Timestamp) {
        let Rolled { groups, codes, widths, places, merged, .. } = self;
        let bits = |codes: usize| usize::BITS - codes.leading_zeros();
        let needed: Vec<u32> = groups.rows.dimensions.iter().map(|d| bits(d.values.len())).collect();
        let few = 1usize.checked_shl(needed.iter().sum()).filter(|places| *places <= PLACES_A_ROW * range.len());
        let mut key = vec![0; codes.len()];
        let mut look_up = |i: usize, groups: &mut Groups| {
            let of_row = rows.dimensions.iter().zip(&*codes);
            key.iter_mut().zip(of_row).for_each(|(code, (d, codes))| *code = codes[d.codes[i] as usize]);
            groups.row(pane, &key) as u32
        };
        let Some(few) = few else {
            merged.extend(range.map(|i| look_up(i, groups)));
            return;
        };
        if self.pane != pane || *widths != needed {
            (self.pane, *widths) = (pane, needed);
            places.clear();
            places.resize(few, NOWHERE);
        }
        let first = merged.len();
        merged.resize(first + range.len(), 0);
        for ((dimension, codes), width) in rows.dimensions.iter().zip(&*codes).zip(&*widths) {
            let place = merged[first..].iter_mut().zip(&dimension.codes[range.clone()]);
            place.for_each(|(place, code)| *place = *place << width | codes[*code as usize]);
        }
        for (place, i) in merged[first..].iter_mut().zip(range) {
            let known = &mut places[*place as usize];
            if *known == NOWHERE {
                *known = look_up(i, groups);
            }
            *place = *known;
        }
    }
}
