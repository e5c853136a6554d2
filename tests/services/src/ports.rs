//! Free ports of the loopback.
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A port of 127.0.0.1 on which nobody listens. Another process may take it before it is used.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    free(10_000..32_000, &[0])
}

/// A free port between 10000 and 22000 whose port + 10000 is free as well: a Redis cluster's second port must stay below the
/// ports that the system hands out to clients.
///
/// # Panics
/// If no port is free.
pub fn free_port_below() -> u16 {
    free(10_000..22_000, &[0, 10_000])
}

/// A free port in `range` from which all of `offsets` are free, too. Not asked of the system: those ports are handed out again to
/// any client at once.
pub(crate) fn free(range: std::ops::Range<u16>, offsets: &[u16]) -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let width = u32::from(range.end - range.start);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    for _ in 0..1_000 {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        let place =
            (nanos ^ std::process::id().wrapping_mul(0x9E37_79B9)).wrapping_add(asked.wrapping_mul(7_919)) % width;
        let port = range.start + u16::try_from(place).unwrap_or(0);
        if offsets.iter().all(|offset| TcpListener::bind(("127.0.0.1", port + offset)).is_ok()) {
            return port;
        }
    }
    panic!("no port of 127.0.0.1 is free");
}
