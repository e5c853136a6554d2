//! Promises of the lake: one of two writers wins, nothing is lost or doubled, damage is named, the same rows are the same bytes.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]
mod checkpoints;
#[cfg(feature = "cloud")]
mod clouds;
mod damage;
mod keyed;
mod racing;
mod readers;
mod rows;
mod samples;
