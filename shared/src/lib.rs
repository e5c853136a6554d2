//! What the layers agree on: event -> log -> (speed | batch) -> serving. No layer's own work is in here.
//!
//! - [`event`] decodes a record's bytes into typed columns, once for all layers.
//! - [`log`], [`state`] and the object store are the three places where layers meet.
//! - [`segment`] says where segments end, [`view`] is the algebra of partials, [`lake`] the table format.
//! - [`outlet`] is where a view's changes go.
//! - [`access`] says who may do what;
//! - [`config`] reads `seam.yaml`; [`clock`] is the only door to time and randomness, [`telemetry`] the metrics.

// what flows
pub mod event;
pub mod time;

// where it is kept
pub mod embedded;
pub mod lake;
pub mod log;
pub mod outlet;
pub mod segment;
pub mod state;

// what is computed
pub mod view;

// what everything needs
pub mod access;
pub mod advice;
pub mod clock;
pub mod config;
pub mod error;
pub mod failpoint;
pub mod lock;
pub mod telemetry;

pub use error::{Error, Kind, Result};
