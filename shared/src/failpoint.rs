//! Named places at which a test lets a process die as by kill -9: between two effects of which only the first has happened.
//!
//! `SEAM_FAILPOINT=archive.uploaded:3` ends the process at the third time that it gets there. Nothing is armed without it, and
//! passing a place then costs one load.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// Events are in the log, and their sender was not told.
    IngestAppended,
    /// A chunk is folded, and not committed.
    SpeedFolded,
    /// A chunk is committed, and the worker does not know it.
    SpeedCommitted,
    /// Segments of one partition are trimmed, those of the next are not.
    SpeedTrimmed,
    /// A file of the archive is stored, and in no commit.
    ArchiveUploaded,
    /// A file of the archive is committed, and the archiver does not know it.
    ArchiveCommitted,
    /// The files of a generation are stored, and it is not published.
    BatchComputed,
    /// A generation is published; old files are not deleted, and the lease is held.
    BatchPublished,
    /// An answer was computed, and its reader does not get it.
    ServeAnswered,
    /// The records of an output are with the broker, and their transaction is open.
    SinkProduced,
    /// The transaction of an output is committed, and the sink does not know it.
    SinkCommitted,
}

impl Failpoint {
    /// All of them, with their names; a name begins with the role that passes there.
    pub const NAMES: [(Failpoint, &str); 11] = [
        (Failpoint::IngestAppended, "ingest.appended"),
        (Failpoint::SpeedFolded, "speed.folded"),
        (Failpoint::SpeedCommitted, "speed.committed"),
        (Failpoint::SpeedTrimmed, "speed.trimmed"),
        (Failpoint::ArchiveUploaded, "archive.uploaded"),
        (Failpoint::ArchiveCommitted, "archive.committed"),
        (Failpoint::BatchComputed, "batch.computed"),
        (Failpoint::BatchPublished, "batch.published"),
        (Failpoint::ServeAnswered, "serve.answered"),
        (Failpoint::SinkProduced, "sink.produced"),
        (Failpoint::SinkCommitted, "sink.committed"),
    ];
}

struct Armed {
    point: Failpoint,
    left: AtomicU32,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms one failpoint for the life of the process: `name` or `name:times`.
///
/// # Errors
/// What is wrong with the text.
pub fn arm(text: &str) -> Result<(), String> {
    let (point, left) = parse(text)?;
    let _ = ARMED.set(Armed { point, left: AtomicU32::new(left) });
    Ok(())
}

fn parse(text: &str) -> Result<(Failpoint, u32), String> {
    let (name, times) = text.split_once(':').unwrap_or((text, "1"));
    let known = Failpoint::NAMES.iter().find(|(_, known)| *known == name);
    let names = || Failpoint::NAMES.map(|(_, name)| name).join(", ");
    let (point, _) = known.ok_or_else(|| format!("SEAM_FAILPOINT: there is no {name:?}; there are {}", names()))?;
    match times.parse() {
        Ok(times @ 1..) => Ok((*point, times)),
        _ => Err(format!("SEAM_FAILPOINT: {times:?} is no number of times")),
    }
}

/// Whether the process is to die at a failpoint: for what would make no difference otherwise.
pub fn is_armed(point: Failpoint) -> bool {
    ARMED.get().is_some_and(|armed| armed.point == point)
}

/// Passes a failpoint.
#[inline]
pub fn reach(point: Failpoint) {
    if let Some(armed) = ARMED.get()
        && armed.point == point
        && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        die(point);
    }
}

#[cold]
fn die(point: Failpoint) {
    tracing::error!(?point, "the process dies here, as SEAM_FAILPOINT wants");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_has_a_name_and_a_count() {
        assert_eq!(parse("speed.folded"), Ok((Failpoint::SpeedFolded, 1)));
        assert_eq!(parse("archive.uploaded:3"), Ok((Failpoint::ArchiveUploaded, 3)));
        for wrong in ["", "speed", "speed.folded:0", "speed.folded:many"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
