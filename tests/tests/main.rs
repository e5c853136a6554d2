//! The promises of the whole, in one binary.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]
mod layers;
mod simulation;
mod vectors;
