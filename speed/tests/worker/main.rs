//! Promises of the speed layer, on random streams with crashes, zombies and losses, against a plain recomputation.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod plain;
mod promises;
mod rebuild;
mod world;
