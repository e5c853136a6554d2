//! Where segments end: a pure function of the log, so that archive and speed agree on every boundary without talking.
//!
//! A segment ends after `max_events` records, or before the record whose timestamp takes the running maximum of the segment's
//! record timestamps across a multiple of `interval`. The maximum starts anew with each segment, so a boundary offset is all
//! that is needed to find every later boundary.
use serde::{Deserialize, Serialize};

use crate::log::Offset;
use crate::time::{Span, Timestamp};

/// The two numbers of the rule. They are fixed for the life of a topic incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRule {
    /// Records in a full segment.
    pub max_events: u64,
    /// The grid of record timestamps.
    pub interval: Span,
}

impl Default for SegmentRule {
    fn default() -> Self {
        Self { max_events: 65_536, interval: Span::MINUTE }
    }
}

/// A segment that still grows: its start, the records in it and their running maximum timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSegment {
    /// The first offset that belongs to it; also its name.
    pub start: Offset,
    /// Records in it so far (valid or not).
    pub count: u64,
    /// The largest record timestamp in it; meaningless while `count` is 0.
    pub max_timestamp: Timestamp,
}

impl OpenSegment {
    /// An empty segment that starts at a boundary.
    pub fn at(start: Offset) -> Self {
        Self { start, count: 0, max_timestamp: Timestamp(i64::MIN) }
    }
    /// Whether a record with `timestamp` opens the next segment instead of joining this one.
    pub fn ends_before(&self, rule: SegmentRule, timestamp: Timestamp) -> bool {
        self.count > 0
            && (self.count >= rule.max_events
                || timestamp.floor(rule.interval) > self.max_timestamp.floor(rule.interval))
    }
    /// Takes in a record; when it opens the next segment, answers with the boundary: the record's own offset.
    pub fn admit(&mut self, rule: SegmentRule, offset: Offset, timestamp: Timestamp) -> Option<Offset> {
        let boundary = self.ends_before(rule, timestamp).then_some(offset);
        if let Some(start) = boundary {
            *self = OpenSegment::at(start);
        }
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        boundary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundaries(from: usize, records: &[(u64, i64)], rule: SegmentRule) -> Vec<u64> {
        let mut segment = OpenSegment::at(Offset(records[from].0));
        records[from..].iter().filter_map(|&(o, t)| segment.admit(rule, Offset(o), Timestamp(t))).map(|o| o.0).collect()
    }

    #[test]
    fn replay_from_any_boundary_finds_the_same_later_boundaries() {
        let rule = SegmentRule { max_events: 3, interval: Span(10) };
        let records: Vec<(u64, i64)> =
            [(0, 1), (2, 5), (3, 12), (4, 3), (5, 13), (6, 14), (9, 29), (10, 31), (11, 2), (12, 3), (13, 45)].to_vec();
        let all = boundaries(0, &records, rule);
        assert!(all.len() >= 4);
        for &cut in &all {
            let from = records.iter().position(|r| r.0 == cut).expect("a boundary is a record's offset");
            let later: Vec<u64> = all.iter().copied().filter(|&b| b > cut).collect();
            assert_eq!(boundaries(from, &records, rule), later);
        }
    }
}
