//! The ranks of a count window: how many events of each key a partition has had. All that such a view carries from segment to
//! segment, and a function of the log below a position: the sum of the view's own rows below it.
//!
//! Memory: one counter for each key that ever was, with the key itself beside it.
use std::num::NonZeroU64;

use hashbrown::HashMap;

use crate::error::{Error, Result};
use crate::view::definition::View;
use crate::view::rows::{Rows, States};
use crate::view::value::Value;

/// The events that each key of one partition has had.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ranks {
    places: HashMap<Box<[Value]>, u32>,
    counts: Vec<u64>,
}

impl Ranks {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.counts.len()
    }
    /// Whether no event has been.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
    /// How many events a key has had: the rank of its next one.
    pub fn of(&self, key: &[Value]) -> u64 {
        self.places.get(key).map_or(0, |place| self.counts[*place as usize])
    }
    /// Counts `events` more of a key.
    pub fn add(&mut self, key: &[Value], events: u64) {
        let place = self.place(key);
        self.counts[place as usize] += events;
    }
    /// Counts the events of one partition in a count-window view's rows.
    ///
    /// # Errors
    /// `Corrupt` if they are not the view's.
    pub fn add_rows(&mut self, view: &View, partition: u32, rows: &Rows) -> Result<()> {
        let (keys, partitions) = (view.keys().len(), &rows.dimensions);
        let counts = view.event_count().and_then(|state| rows.states.get(state));
        let (Some(States::Count(counts)), Some(partitions)) = (counts, partitions.get(keys)) else {
            return if rows.is_empty() { Ok(()) } else { Err(strange(view)) };
        };
        let wanted = Value::Int(i64::from(partition));
        let Some(wanted) = partitions.values.iter().position(|value| *value == wanted) else { return Ok(()) };
        let mut key = Vec::with_capacity(keys);
        for (row, count) in counts.iter().enumerate() {
            if partitions.codes[row] as usize == wanted {
                key.clear();
                key.extend((0..keys).map(|d| rows.value(d, row).clone()));
                self.add(&key, *count);
            }
        }
        Ok(())
    }

    fn place(&mut self, key: &[Value]) -> u32 {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        let place = u32::try_from(self.counts.len()).expect("fewer than 2^32 keys fit into memory");
        self.places.insert(key.into(), place);
        self.counts.push(0);
        place
    }
}

fn strange(view: &View) -> Error {
    Error::corrupt(format!("rows of {} have no partition or no count", view.id))
}

/// Gives the events of one partition, in log order, their windows. Keys come as codes of some dictionaries, so that a key is
/// looked at once for each time that these start anew.
#[derive(Debug)]
pub struct Ranker {
    records: NonZeroU64,
    ranks: Ranks,
    /// From codes to places among the ranks.
    known: HashMap<Box<[u32]>, u32>,
}

impl Ranker {
    /// Goes on from the ranks below its first event. Windows hold `records` events.
    pub fn new(records: NonZeroU64, ranks: Ranks) -> Ranker {
        Ranker { records, ranks, known: HashMap::new() }
    }
    /// The window of the next event, whose key has these codes; `spell` says what they stand for.
    #[inline]
    pub fn window<'v>(&mut self, codes: &[u32], spell: impl Fn(usize, u32) -> &'v Value) -> i64 {
        let place = match self.known.get(codes) {
            Some(place) => *place,
            None => {
                let key: Vec<Value> = codes.iter().enumerate().map(|(d, code)| spell(d, *code).clone()).collect();
                let place = self.ranks.place(&key);
                self.known.insert(codes.into(), place);
                place
            }
        };
        let rank = &mut self.ranks.counts[place as usize];
        let window = *rank / self.records;
        *rank += 1;
        window.cast_signed()
    }
    /// Must be called when codes begin to mean something else.
    pub fn forget_codes(&mut self) {
        self.known.clear();
    }
    /// The ranks now.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_so_many_events_of_each_key_whatever_the_codes_and_wherever_the_ranks_are_taken_over() {
        let names = [Value::text("a"), Value::text("b"), Value::Null];
        let events = [0, 1, 0, 0, 2, 0, 0, 1, 1, 2, 0, 1];
        let records = NonZeroU64::new(3).unwrap();
        let mut all = Ranker::new(records, Ranks::default());
        let expected: Vec<i64> =
            events.iter().map(|e| all.window(&[*e as u32], |_, code| &names[code as usize])).collect();
        assert_eq!(expected, [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1]);
        for cut in 0..=events.len() {
            let mut first = Ranker::new(records, Ranks::default());
            let mut found: Vec<i64> =
                events[..cut].iter().map(|e| first.window(&[*e as u32], |_, code| &names[code as usize])).collect();
            let mut second = Ranker::new(records, first.ranks().clone());
            // the same keys under other codes
            let other = |_: usize, code: u32| &names[2 - code as usize];
            found.extend(events[cut..].iter().map(|e| second.window(&[2 - *e as u32], other)));
            assert_eq!(found, expected, "cut at {cut}");
        }
        assert_eq!((all.ranks().of(&[Value::text("a")]), all.ranks().len()), (6, 3));
        assert_eq!(all.ranks().of(&[Value::text("nobody")]), 0);
    }
}
