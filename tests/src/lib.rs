//! The harness of the promises: seeded chance, hostile events and views, a pipeline of the real layers, and a simulator.
pub mod hostile;
pub mod simulator;

pub use seam_proof::{dice, pipeline};
