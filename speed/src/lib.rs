//! The speed layer: log -> fold -> commit. What comes in is a partition of the log, what goes out are absolute partials.
//!
//! - [`fold`] turns decoded events into partials of the open segment, for all views of a source at once.
//! - [`segments`] cuts the log into segments and says what to commit; it is all that a worker remembers.
//! - [`worker`] reads, folds and commits, one partition a worker; [`recover`] says where it starts, with [`cuts`] of the lake.
//! - [`rebuild`] folds a view again beside the live state, and compares; [`rewind`] does so when a generation went back.
//! - [`trim`] forgets what a published generation covers; [`tally`] feeds the metrics.
//!
//! Promise: in the state store a view's partials are exactly the events of `[floor, position)`, by segment, whoever
//! crashed, however often a request was sent.
pub mod cuts;
pub mod fold;
pub mod rebuild;
pub mod recover;
pub mod rewind;
pub mod segments;
pub mod tally;
pub mod trim;
pub mod worker;
