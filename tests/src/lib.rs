//! The harness of the promises: seeded chance, hostile events and views, a pipeline of the real layers, and a simulator.
pub mod dice;
pub mod hostile;
pub mod pipeline;
pub mod simulator;
