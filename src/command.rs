//! The commands: each reads what was typed and a checked configuration, does one thing, and prints. Which is which, `main.rs` says.
pub mod archive;
pub mod batch;
pub mod completions;
pub mod demo;
pub mod diff;
pub mod dlq;
pub mod doctor;
pub mod grafana;
pub mod ingest;
pub mod keys;
pub mod prove;
pub mod query;
pub mod rebuild;
pub mod tap;
pub mod top;
pub mod up;
pub mod validate;
