//! Events: from JSON bytes to typed columns, by one decoder that every layer uses.
//!
//! [`layout`] finds the members that a source reads (the tree of names in `wanted`, by a fast scan where that is sure), [`scalar`] reads one member's text as its type, [`decode`] puts both
//! together for a chunk of the log, [`duplicates`] marks the records whose id was seen before, [`lookback`] rebuilds its memory.
//! [`url`] is the normal form of URLs.
pub mod batch;
pub mod decode;
pub mod duplicates;
pub mod layout;
pub mod lookback;
pub mod scalar;
mod scan;
pub mod url;
mod wanted;
