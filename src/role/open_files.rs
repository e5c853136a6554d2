//! How many connections a process has room for: each is an open file, and so is much else.

/// Files that are left to the stores, the log and whatever else is open.
const RESERVE: usize = 512;
/// Where Linux says what a process may do.
const LIMITS: &str = "/proc/self/limits";

/// How many connections there can be at once of the `wanted`. Where the limit of open files is lower than that needs, it says so: beyond it
/// nothing could be opened any more, by whoever needs it.
pub fn room(wanted: usize) -> usize {
    let limits = std::fs::read_to_string(LIMITS).unwrap_or_default();
    let Some(files) = files(&limits) else { return wanted };
    let room = within(wanted, files);
    if room < wanted {
        tracing::warn!(
            "this process may open {files} files, so it takes {room} connections at once, not {wanted} (`server.connections`): \
             raise the limit of open files (`ulimit -n`, `LimitNOFILE`) to {}",
            wanted + RESERVE
        );
    }
    room
}

/// The limit of open files in force; `None` if there is none, or none is told.
fn files(limits: &str) -> Option<usize> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

/// At least half of the files may be connections.
fn within(wanted: usize, files: usize) -> usize {
    wanted.min(files.saturating_sub(RESERVE).max(files / 2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_others() {
        let told = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(files(told), Some(1_024), "the soft one is in force");
        assert_eq!(files(&told.replace("1024 ", "unlimited ")), None);
        assert_eq!(files(""), None);
        for (wanted, limit, room) in
            [(10_000, 1_024, 512), (10_000, 20_000, 10_000), (10_000, 10_100, 9_588), (10_000, 600, 300), (3, 256, 3)]
        {
            assert_eq!(within(wanted, limit), room, "{wanted} of {limit} files");
        }
        assert_eq!(within(10_000, 0), 1);
    }
}
