//! The outlet port: where a view's changes go, and with them the mark that says how far the outputs reach.
pub mod contract;
pub mod lines;
pub mod log;
pub mod memory;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// One record of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is about: records with equal keys follow each other in the order in which they were written.
    pub key: Bytes,
    /// What it says. Its key can be told from it.
    pub value: Bytes,
}

/// # Contract
/// 1. `write` stores all of its records and the mark, or nothing: whoever reads what was committed sees no part of it. After an
///    error nobody knows which; then `claim` tells by the mark.
/// 2. `claim` makes this the one writer: a write of whoever claimed before fails with `Kind::Conflict`, and nothing of it is ever
///    seen. It answers with the mark of the last write that was stored.
/// 3. A write without a claim is `Kind::Conflict`.
///
/// What cannot promise that says so: see [`Outlet::is_exact`].
#[async_trait]
pub trait Outlet: Send + Sync + std::fmt::Debug {
    /// Takes the outlet over; the mark of the last write, if there was one.
    async fn claim(&self) -> Result<Option<Bytes>>;
    /// Writes records, and the mark that stands for all that was written up to them.
    async fn write(&self, records: &[Record], mark: &[u8]) -> Result<()>;
    /// The values of about so many of the newest records at most, older before newer where their keys are equal.
    async fn newest(&self, most: usize) -> Result<Vec<Bytes>>;
    /// Whether each write is there once whatever happens, as the contract says; else it may be there again after a crash.
    fn is_exact(&self) -> bool {
        true
    }
}
