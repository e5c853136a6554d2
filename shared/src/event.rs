//! Events: from JSON bytes to typed columns, by one decoder that every layer uses.
pub mod batch;
