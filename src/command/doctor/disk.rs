//! A data directory: can it be written, does fsync mean it, is there room?
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use seam_shared::advice::Advice;

const MIB: u64 = 1 << 20;
/// Below this, embedded stores soon refuse events.
const ROOM_MIN: u64 = 1 << 30;
/// Below this part of the disk, or so many bytes, somebody should look.
const ROOM_LOW: (u64, u64) = (10, 5 << 30);
/// An event is acknowledged after an fsync: slower than this is felt.
const SLOW: Duration = Duration::from_millis(30);
/// No disk that keeps what it is given over a power cut is faster.
const UNBELIEVABLE: Duration = Duration::from_micros(15);
const WRITES: usize = 16;

/// What is to be said about the directory at `path`, which need not exist yet.
pub fn check(path: &Path) -> Vec<Advice> {
    let shown = path.display();
    // What does not exist yet will be made in the nearest directory above that does.
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(place) = full.ancestors().find(|place| place.is_dir()) else {
        return vec![Advice::refuse(format!("{shown} lies in no directory"))];
    };
    let mut found = vec![match sync(place) {
        Err(error) => Advice::refuse(format!("{shown} cannot be written ({error}): give this user the directory")),
        Ok(took) if took > SLOW => Advice::warn(format!(
            "{shown}: an fsync takes {took:.1?}; every acknowledged batch of events waits for one: use a faster disk"
        )),
        Ok(took) if took < UNBELIEVABLE => Advice::warn(format!(
            "{shown}: an fsync takes {took:.1?}, faster than any disk that means it: acknowledged events may not survive a \
             power cut"
        )),
        Ok(took) => Advice::note(format!("{shown} can be written, an fsync takes {took:.1?}")),
    }];
    match rustix::fs::statvfs(place) {
        Ok(disk) => found.push(room(&shown.to_string(), disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)),
        Err(error) => found.push(Advice::warn(format!("{shown}: the free space is not known ({error})"))),
    }
    found
}

/// The median time of a small write with fsync.
fn sync(place: &Path) -> std::io::Result<Duration> {
    let path = place.join(format!(".seam-doctor-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let measured = measure(file);
    std::fs::remove_file(&path)?;
    measured
}

fn measure(mut file: File) -> std::io::Result<Duration> {
    let mut took = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_all()?;
        took.push(begun.elapsed());
    }
    took.sort();
    Ok(took[WRITES / 2])
}

fn room(shown: &str, free: u64, whole: u64) -> Advice {
    let (percent, bytes) = ROOM_LOW;
    let said = format!("{shown} has {} MiB free of {}", free / MIB, whole / MIB);
    if free < ROOM_MIN {
        Advice::refuse(format!("{said}: events will be refused soon; make room"))
    } else if free < bytes || free / percent < whole / 100 {
        Advice::warn(format!("{said}: make room before events are refused"))
    } else {
        Advice::note(said)
    }
}

#[cfg(test)]
mod tests {
    use seam_shared::advice::Severity;

    use super::*;

    #[test]
    fn room_is_judged_by_size_and_part() {
        let gib = 1 << 30;
        for (free, whole, severity) in [
            (gib / 2, 100 * gib, Severity::Refuse),
            (3 * gib, 20 * gib, Severity::Warn),
            (90 * gib, 1_000 * gib, Severity::Warn),
            (100 * gib, 900 * gib, Severity::Note),
            (8 * gib, 20 * gib, Severity::Note),
        ] {
            assert_eq!(room("data", free, whole).severity, severity, "{free} of {whole}");
        }
    }
}
