//! Hostile streams from a seed: what an event says is known from the making, not from any decoder.
pub mod events;
pub mod values;
