//! What executes a query over tables in memory. The rest of the crate knows nothing of how.
mod polars;

use crate::error::SqlError;
use crate::frame::Frame;

pub use polars::Polars;

/// An engine for one SELECT over tables in memory.
pub trait Engine: std::fmt::Debug + Send + Sync {
    /// The answer to `query` over `tables`. Called on threads that may block.
    ///
    /// # Errors
    /// Names that do not exist, types that do not fit, and what the engine cannot do.
    fn run(&self, query: &str, tables: Vec<(String, Frame)>) -> Result<Frame, SqlError>;
}
