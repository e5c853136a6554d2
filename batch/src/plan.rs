//! View -> Polars plan -> canonical rows: the batch layer's half of "one definition, compiled to both layers".
//!
//! Three steps, row group by row group. *Input*: the parts of an archive file that the view needs, verified. *Events*: its columns as
//! vectors of numbers, without what verdict, time or `where:` leave out; Polars evaluates conditions. *Fold*: these go column by column
//! into tables of groups, by the algebra that the speed layer folds with. Nothing here rounds or depends on the order of events.
mod decode;
mod dictionary;
mod events;
mod filter;
mod fold;
mod index;
mod input;
mod order;
mod pane;
#[cfg(test)]
pub mod tests;
mod values;
mod windows;

use polars::prelude as pl;
use seam_shared::error::Error;
use seam_shared::time::Timestamp;

pub use self::fold::Fold;
pub use self::input::Input;
pub use self::windows::{FileWindows, Numberer};

/// Panes that end in `(start, end]`, which is to say events in `[start, end)`. Both are multiples of the view's pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    /// No pane ends here or before.
    pub start: Timestamp,
    /// The last pane's end.
    pub end: Timestamp,
}

fn failed(error: pl::PolarsError) -> Error {
    Error::internal("the view's plan failed").because(error)
}
