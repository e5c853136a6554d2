//! The threads of a process.
use seam_shared::{Error, Result};

/// The runtime of a process.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| Error::internal("threads cannot be started").because(e))
}
