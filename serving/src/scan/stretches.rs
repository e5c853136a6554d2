//! Which rows of each key of a block fall in which cell. Pure.
use std::ops::Range;

use seam_shared::time::Timestamp;

use super::cells::{Cells, Part};
use crate::block::ByKey;

/// Stretches of time that are looked for in each key one by one; of more of them, only those in which a key has rows are.
const FEW: usize = 12;

/// The rows of one key after the other.
pub struct Stretches<'c> {
    cells: &'c Cells,
    part: Part,
    /// The stretches of time that count, each after the first moment up to the second, if they are few.
    few: Option<Vec<(i64, Timestamp, Timestamp)>>,
    /// Where the rows of each of the few were in the key before: they are about there in the next one, too.
    near: Vec<Range<usize>>,
    found: Vec<(i64, Range<usize>)>,
    /// All keys have the same panes, and one was looked at.
    is_known: bool,
}

impl<'c> Stretches<'c> {
    /// Of a part of a block.
    pub fn new(cells: &'c Cells, block: &ByKey, part: Part) -> Stretches<'c> {
        let few = if block.is_even() { None } else { cells.few(block.span, part, FEW) };
        let near = vec![0..0; few.as_ref().map_or(0, Vec::len)];
        Stretches { cells, part, few, near, found: Vec::new(), is_known: false }
    }
    /// Which of the rows of a key, counted from its first one, fall in which cell.
    pub fn of(&mut self, block: &ByKey, rows: &Range<usize>) -> &[(i64, Range<usize>)] {
        if self.is_known {
            return &self.found;
        }
        match &self.few {
            None => self.cells.stretches(block, rows.clone(), self.part, &mut self.found),
            Some(few) => {
                self.found.clear();
                for ((cell, after, until), near) in few.iter().zip(&mut self.near) {
                    near.start = block.rows_until_near(rows, *after, near.start);
                    near.end = block.rows_until_near(rows, *until, near.end);
                    if near.start < near.end {
                        self.found.push((*cell, near.clone()));
                    }
                }
            }
        }
        self.is_known = block.is_even();
        &self.found
    }
}
