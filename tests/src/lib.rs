//! The harness of the promises: seeded chance, hostile events and views, and a pipeline of the real layers.
pub mod dice;
pub mod hostile;
pub mod pipeline;
