//! Processor time, wall time and peak memory of a piece of work.
use std::time::Instant;

use seam_generator::meter::{peak_bytes, processor_seconds};

/// What one piece of work took.
pub struct Round {
    /// Processor seconds of all threads of this process.
    pub processor: f64,
    /// Seconds on the wall.
    pub wall: f64,
    /// The largest resident memory meanwhile.
    pub peak_bytes: u64,
}

/// Does the work and measures it.
pub fn round<T>(work: impl FnOnce() -> T) -> (Round, T) {
    // Makes the kernel forget the peak so far; where that is refused, the peak of the whole run is printed.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (begun, before) = (Instant::now(), processor_seconds());
    let done = work();
    let wall = begun.elapsed().as_secs_f64();
    (Round { processor: processor_seconds() - before, wall, peak_bytes: peak_bytes() }, done)
}
