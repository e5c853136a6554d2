//! Which records are duplicates: a function of the log, computed record by record in log order.
//!
//! A valid record with an id is a duplicate if the *most recent* earlier valid record with that id (itself a duplicate or
//! not) is among the `max_records` records before it and its log time is at most `horizon` before this one's. Comparing
//! with the most recent one, whatever became of it, and with its own log time is what keeps the rule local: the verdict
//! depends on the `max_records` records before and nothing older, so remembering just those after a restart is exact.
//! It also means that an id which keeps coming within the horizon stays a duplicate of its first record.
use std::ops::Range;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128;

use crate::event::batch::{EventBatch, Verdict};
use crate::view::definition::DuplicateRule;

/// 128 bits of an id, the same in every process and version.
type Key = [u64; 2];

/// Records whose ids are looked up side by side.
const GROUP: usize = 32;

/// The last record of an id.
#[derive(Debug, Clone, Copy)]
struct Seen {
    key: Key,
    /// Which record it was, counted in records since this memory began.
    record: u64,
    /// Its log time in microseconds.
    log_time: i64,
}

/// The ids of one partition's latest records. Holds at most two times `max_records` of 32 bytes.
#[derive(Debug, Clone)]
pub struct Duplicates {
    rule: Option<DuplicateRule>,
    /// Records seen so far, valid or not.
    records: u64,
    /// Ids of the current run of `max_records` records, and of the run before it.
    current: HashTable<Seen>,
    previous: HashTable<Seen>,
}

impl Duplicates {
    /// Remembers nothing yet. Without a rule nothing is a duplicate.
    pub fn new(rule: impl Into<Option<DuplicateRule>>) -> Self {
        Self { rule: rule.into(), records: 0, current: HashTable::new(), previous: HashTable::new() }
    }

    /// How many records before a position must be remembered to go on from it exactly.
    pub fn needs(&self) -> u64 {
        self.rule.map_or(0, |rule| rule.max_records)
    }

    /// Decides for each record that counts so far whether it is a duplicate, and remembers them all.
    pub fn mark(&mut self, batch: &mut EventBatch) {
        let Some(rule) = self.rule else { return };
        for rows in groups(batch) {
            let keys = self.approach(batch, rows.clone());
            for (row, key) in rows.zip(keys) {
                if self.admit(rule, batch, row, key) && batch.verdicts[row] == Verdict::Counts {
                    batch.verdicts[row] = Verdict::Duplicate;
                }
            }
        }
    }

    /// Takes in records whose verdicts are known or not asked for: what a restart reads below its position.
    pub fn remember(&mut self, batch: &EventBatch) {
        let Some(rule) = self.rule else { return };
        for rows in groups(batch) {
            let keys = self.approach(batch, rows.clone());
            for (row, key) in rows.zip(keys) {
                self.admit(rule, batch, row, key);
            }
        }
    }

    /// The keys of a group's ids. Looks them all up without using the answers: these look-ups do not wait for one another, so
    /// the processor fetches their memory side by side, which is most of the time that a large memory of ids takes.
    fn approach(&self, batch: &EventBatch, rows: Range<usize>) -> [Key; GROUP] {
        let mut keys = [[0; 2]; GROUP];
        for (key, row) in keys.iter_mut().zip(rows) {
            if let Some(id) = batch.ids.get(row) {
                let hash = xxh3_128(id.as_bytes());
                #[expect(clippy::cast_possible_truncation, reason = "the two halves of the hash")]
                let halves = [hash as u64, (hash >> 64) as u64];
                *key = halves;
            }
        }
        for table in [&self.current, &self.previous] {
            for key in keys {
                std::hint::black_box(table.find(key[0], |seen| seen.key == key).is_some());
            }
        }
        keys
    }

    /// Takes in one record; says whether its id was seen within the rule's bounds.
    #[inline]
    fn admit(&mut self, rule: DuplicateRule, batch: &EventBatch, row: usize, key: Key) -> bool {
        let record = self.records;
        self.records += 1;
        if record.is_multiple_of(rule.max_records.max(1)) {
            // Whatever the older run holds is now more than `max_records` records back.
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current.clear();
        }
        if batch.verdicts[row] == Verdict::Invalid {
            return false;
        }
        if batch.ids.get(row).is_none() {
            return false;
        }
        let now = Seen { key, record, log_time: batch.log_times[row].0 };
        let last = match self.current.find_mut(key[0], |seen| seen.key == key) {
            Some(seen) => Some(std::mem::replace(seen, now)),
            None => {
                self.current.insert_unique(key[0], now, |seen| seen.key[0]);
                self.previous.find(key[0], |seen| seen.key == key).copied()
            }
        };
        last.is_some_and(|last| {
            record - last.record <= rule.max_records && now.log_time.saturating_sub(last.log_time) <= rule.horizon.0
        })
    }
}

/// The rows of a batch, [`GROUP`] by [`GROUP`].
fn groups(batch: &EventBatch) -> impl Iterator<Item = Range<usize>> + use<> {
    let rows = batch.verdicts.len();
    (0..rows).step_by(GROUP).map(move |start| start..rows.min(start + GROUP))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::batch::Ids;
    use crate::log::Offset;
    use crate::time::{Span, Timestamp};

    /// A record: log time, id (0: none), valid.
    type Sketch = (i64, u8, bool);

    fn batch(records: &[Sketch]) -> EventBatch {
        let mut ids = Ids::default();
        records.iter().for_each(|r| ids.push((r.1 > 0).then(|| format!("id-{}", r.1)).as_deref()));
        EventBatch {
            offsets: (0..records.len() as u64).map(Offset).collect(),
            log_times: records.iter().map(|r| Timestamp(r.0)).collect(),
            verdicts: records.iter().map(|r| if r.2 { Verdict::Counts } else { Verdict::Invalid }).collect(),
            ids,
            ..EventBatch::default()
        }
    }

    /// The rule as it is written, looking at every earlier record.
    fn naive(rule: DuplicateRule, records: &[Sketch]) -> Vec<Verdict> {
        let verdict = |at: usize| {
            let (time, id, valid) = records[at];
            if !valid {
                return Verdict::Invalid;
            }
            let last = (0..at).rev().find(|&i| id > 0 && records[i].2 && records[i].1 == id);
            let near = |i: usize| (at - i) as u64 <= rule.max_records && time - records[i].0 <= rule.horizon.0;
            if last.is_some_and(near) { Verdict::Duplicate } else { Verdict::Counts }
        };
        (0..records.len()).map(verdict).collect()
    }

    fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
        proptest::collection::vec((0i64..60, 0u8..6, proptest::bool::weighted(0.9)), 0..120)
    }

    proptest! {
        #[test]
        fn verdicts_follow_the_rule_as_written(records in sketches(), horizon in 0i64..60, max_records in 0u64..20) {
            let rule = DuplicateRule { horizon: Span(horizon), max_records };
            let mut marked = batch(&records);
            Duplicates::new(rule).mark(&mut marked);
            prop_assert_eq!(marked.verdicts, naive(rule, &records));
        }

        #[test]
        fn a_restart_anywhere_gives_the_same_verdicts(
            records in sketches(), cut in 0usize..120, horizon in 0i64..60, max_records in 0u64..20
        ) {
            let rule = DuplicateRule { horizon: Span(horizon), max_records };
            let cut = cut.min(records.len());
            let mut whole = batch(&records);
            Duplicates::new(rule).mark(&mut whole);
            let mut again = Duplicates::new(rule);
            let from = cut.saturating_sub(usize::try_from(again.needs()).unwrap_or(usize::MAX));
            again.remember(&batch(&records[from..cut]));
            let mut rest = batch(&records[cut..]);
            again.mark(&mut rest);
            prop_assert_eq!(&rest.verdicts[..], &whole.verdicts[cut..]);
        }
    }

    #[test]
    fn an_id_that_keeps_coming_stays_a_duplicate() {
        let rule = DuplicateRule { horizon: Span(10), max_records: 100 };
        let mut marked = batch(&[(0, 1, true), (8, 1, true), (16, 1, true), (27, 1, true)]);
        Duplicates::new(rule).mark(&mut marked);
        use Verdict::{Counts, Duplicate};
        assert_eq!(marked.verdicts, [Counts, Duplicate, Duplicate, Counts]);
    }

    #[test]
    fn without_a_rule_nothing_is_a_duplicate() {
        let mut marked = batch(&[(0, 1, true), (0, 1, true)]);
        let mut none = Duplicates::new(None);
        none.mark(&mut marked);
        assert_eq!((marked.verdicts, none.needs()), (vec![Verdict::Counts; 2], 0));
    }
}
