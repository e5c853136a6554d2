//! Processor time, wall time and peak memory of a piece of work, from `/proc`.
use std::time::Instant;

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

/// Processor seconds of this process so far, in ticks of 10 ms.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the bench runs on Linux");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() << 10
}
