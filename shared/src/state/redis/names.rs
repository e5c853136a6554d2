//! The names of the keys. All keys of a partition share the hash tag in braces, so that Redis Cluster keeps them in one slot.
use std::fmt::Write as _;

use crate::log::{Offset, Partition};

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
    /// The hash that says where the view stands and holds its open segment.
    pub(super) fn state(&self) -> String {
        format!("{}:state", self.base)
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
        assert_eq!(names.state(), "metrics:{shop/clicks/3}:by_region@1f:state");
        assert_eq!(names.closed(Offset(70)), "metrics:{shop/clicks/3}:by_region@1f:closed:70");
        let hostile = Names::new("a/b}", &Partition::new("c:{d", 0), "v:meta\0%");
        assert_eq!(hostile.state(), "metrics:{a%2fb%7d/c%3a%7bd/0}:v%3ameta%00%25:state");
    }
}
