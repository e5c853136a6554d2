//! The names of the keys. All keys of a partition share the hash tag in braces, so that Redis Cluster keeps them in one slot.
use std::fmt::Write as _;

use crate::log::{Offset, Partition};
use crate::time::Timestamp;

/// The keys of one view of one partition.
#[derive(Debug, Clone)]
pub(super) struct Names {
    base: String,
}

impl Names {
    pub(super) fn new(namespace: &str, partition: &Partition, view: &str) -> Names {
        let source = escape(&partition.source);
        let base = format!("metrics:{{{}/{source}/{}}}:{}", escape(namespace), partition.number, escape(view));
        Names { base }
    }
    /// The hash that says where the view stands and what else exists of it.
    pub(super) fn meta(&self) -> String {
        format!("{}:meta", self.base)
    }
    /// The hash of one pane of the open segment.
    pub(super) fn pane(&self, segment: Offset, pane: Timestamp) -> String {
        format!("{}:open:{segment}:{pane}", self.base)
    }
    /// The rows of a closed segment.
    pub(super) fn closed(&self, start: Offset) -> String {
        format!("{}:closed:{start}", self.base)
    }
}

/// Letters, digits and `_ . - @` stay, every other byte becomes `%xx`: no name can be taken for another, or for two.
fn escape(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_readable_and_cannot_be_spoofed() {
        let names = Names::new("shop", &Partition::new("clicks", 3), "by_region@1f");
        assert_eq!(names.meta(), "metrics:{shop/clicks/3}:by_region@1f:meta");
        assert_eq!(names.closed(Offset(70)), "metrics:{shop/clicks/3}:by_region@1f:closed:70");
        let pane = names.pane(Offset(9), Timestamp(1_780_272_010_000_000));
        assert_eq!(pane, "metrics:{shop/clicks/3}:by_region@1f:open:9:2026-06-01T00:00:10Z");
        let hostile = Names::new("a/b}", &Partition::new("c:{d", 0), "v:meta\0%");
        assert_eq!(hostile.meta(), "metrics:{a%2fb%7d/c%3a%7bd/0}:v%3ameta%00%25:meta");
    }
}
