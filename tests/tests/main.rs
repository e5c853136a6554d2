//! The promises of the whole, in one binary.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]
mod flips;
mod layers;
mod restarts;
mod simulation;
mod vectors;
