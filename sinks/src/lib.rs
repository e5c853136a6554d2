//! Sinks: what changed in a view, written where others read it. An answer of serving, and the log's records since the last output, become
//! records with the mark that says how far they reach; an outlet stores both together.
//!
//! Promises: an output is exact at the positions that its records are stamped with. Where the outlet is exact, each change is
//! there once, whenever the process dies and however many of them there are. Only the middle is here: where the log, the answers and
//! the outlet lie is chosen by whoever wires it.

// what is written
pub mod mark;
pub mod records;
pub mod remembered;
pub mod touched;

// how it comes about
pub mod reader;
pub mod sinker;
