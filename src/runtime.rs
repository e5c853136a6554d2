//! The threads of a process.
use std::time::Duration;

use seam_shared::{Error, Result};

/// How long a thread that read files waits for the next one. Short, as each keeps what it last held of memory.
const IDLE: Duration = Duration::from_millis(500);

/// The runtime of a process.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_keep_alive(IDLE).enable_all().build();
    runtime.map_err(|e| Error::internal("threads cannot be started").because(e))
}

/// How the work of a process stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything has committed what it held.
    InOrder,
    /// Something is still at work, and ends with the process.
    CutOff,
}

/// Drives a process until it stops.
pub fn until_stopped(work: impl Future<Output = Result<Ended>>) -> Result<()> {
    let runtime = runtime()?;
    if runtime.block_on(work)? == Ended::CutOff {
        std::mem::forget(runtime); // else it would wait for what is still at work, and that would find it gone
    }
    Ok(())
}
