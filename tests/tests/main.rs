//! The promises of the whole, in one binary.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]
// what the program itself allocates with
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod counted;
mod evolution;
mod flips;
mod layers;
mod life;
mod operations;
mod proofs;
mod restarts;
mod retractions;
mod rollback;
mod simulation;
mod tidy;
mod vectors;
