//! The rows of an open segment under absolute upserts: cheap to write to, cheap to hand out.
use std::sync::Arc;

use crate::view::groups::index::Index;
use crate::view::rows::{Rows, States};

/// Waiting rows are taken in at the latest when there are this many, and twice as many as the table has.
const WAITING_ROWS_MIN: usize = 16_384;

/// A table of rows by (pane, key). What is written waits until somebody asks for the table: a segment that closes before
/// anybody asks costs nothing. The table is copied on write only while a reader still holds the last one.
#[derive(Debug, Default, Clone)]
pub(super) struct OpenRows {
    rows: Arc<Rows>,
    index: Index,
    waiting: Vec<Rows>,
    waiting_rows: usize,
}

impl OpenRows {
    /// Takes rows that replace those with their pane and key.
    pub(super) fn write(&mut self, newer: Rows) {
        if newer.is_empty() {
            return;
        }
        self.waiting_rows += newer.len();
        self.waiting.push(newer);
        if self.waiting_rows > WAITING_ROWS_MIN.max(2 * self.rows.len()) {
            self.take_in();
        }
    }
    /// All rows as they stand.
    pub(super) fn rows(&mut self) -> Arc<Rows> {
        self.take_in();
        Arc::clone(&self.rows)
    }

    fn take_in(&mut self) {
        self.waiting_rows = 0;
        for newer in std::mem::take(&mut self.waiting) {
            if self.rows.is_empty() {
                self.rows = Arc::new(newer.empty_like());
                self.index = Index::new(newer.dimensions.len());
            }
            self.index.join(Arc::make_mut(&mut self.rows), &newer, States::replace);
        }
    }
}
