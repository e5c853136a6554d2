//! Sessions: the events of one user of which none is further than a gap from the next.
//!
//! What is kept are intervals by user; whatever lies at most a gap apart coalesces. A union of intervals does not ask for order, so a
//! late event that bridges two sessions makes one of them, and a session that lies on both sides of the seam is one.
use std::collections::BTreeMap;

use crate::error::Result;
use crate::time::Timestamp;
use crate::view::aggregate::distinct;
use crate::view::bytes::{Reader, corrupt, put, put_signed};
use crate::view::value::{Value, quotient};

/// One session of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The event time of its first event, in microseconds.
    pub first: i64,
    /// That of its last event.
    pub last: i64,
    /// How many events it has.
    pub events: u64,
}

/// Sessions by the hash of their user (two users of a million share one with a chance of one in 30 million).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sessions {
    /// Microseconds; events exactly so far apart are of one session.
    gap: i64,
    /// By user, ascending in time, more than the gap apart.
    users: BTreeMap<u64, Vec<Session>>,
}

/// What sessions say all in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// How many sessions.
    pub sessions: u64,
    /// How many of them have one event.
    pub bounces: u64,
    /// Events in all of them.
    pub events: u64,
    /// From the first to the last event of each, added up, in microseconds.
    pub length: i128,
    /// The longest, in microseconds.
    pub longest: i64,
}

impl Summary {
    /// Adds a session.
    pub fn add(&mut self, session: &Session) {
        let length = session.last.saturating_sub(session.first);
        self.sessions += 1;
        self.bounces += u64::from(session.events == 1);
        self.events += session.events;
        self.length += i128::from(length);
        self.longest = self.longest.max(length);
    }
    /// The mean length in seconds; `None` without sessions.
    pub fn mean_length(&self) -> Option<f64> {
        (self.sessions > 0).then(|| quotient(self.length, u128::from(self.sessions) * 1_000_000))
    }
    /// The longest in seconds; `None` without sessions.
    pub fn longest(&self) -> Option<f64> {
        (self.sessions > 0).then(|| self.longest as f64 / 1e6)
    }
}

impl Sessions {
    /// No sessions yet.
    pub fn new(gap: i64) -> Sessions {
        Sessions { gap, users: BTreeMap::new() }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
    /// The gap in microseconds.
    pub fn gap(&self) -> i64 {
        self.gap
    }
    /// Adds one event; one without a user belongs to no session.
    pub fn lift(&mut self, user: &Value, time: Timestamp) {
        if let Some(user) = distinct::hash(user) {
            self.insert(user, Session { first: time.0, last: time.0, events: 1 });
        }
    }
    fn insert(&mut self, user: u64, mut session: Session) {
        let kept = self.users.entry(user).or_default();
        // The first that the new one may touch, and behind the last.
        let from = kept.partition_point(|old| old.last.saturating_add(self.gap) < session.first);
        let to = from + kept[from..].partition_point(|old| old.first <= session.last.saturating_add(self.gap));
        for old in &kept[from..to] {
            session.first = session.first.min(old.first);
            session.last = session.last.max(old.last);
            session.events += old.events;
        }
        kept.splice(from..to, [session]);
    }
    /// Adds all that `other` holds.
    pub fn combine(&mut self, other: &Sessions) {
        for (user, sessions) in &other.users {
            sessions.iter().for_each(|session| self.insert(*user, *session));
        }
    }
    /// Those of which the first event lies in `[from, to)`; and whether one of them may go on behind `end`, up to which events
    /// were looked at.
    pub fn starting_in(&self, (from, to): (Timestamp, Timestamp), end: Timestamp) -> (Sessions, bool) {
        let mut out = Sessions::new(self.gap);
        let mut goes_on = false;
        for (user, sessions) in &self.users {
            let inside: Vec<Session> =
                sessions.iter().filter(|session| (from.0..to.0).contains(&session.first)).copied().collect();
            goes_on |= inside.last().is_some_and(|session| session.last.saturating_add(self.gap) >= end.0);
            if !inside.is_empty() {
                out.users.insert(*user, inside);
            }
        }
        (out, goes_on)
    }
    /// What they say all in all.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        self.users.values().flatten().for_each(|session| summary.add(session));
        summary
    }
    /// Memory outside of the struct, in bytes; about.
    pub fn heap_bytes(&self) -> usize {
        self.users.values().map(|sessions| 48 + sessions.capacity() * size_of::<Session>()).sum()
    }
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.gap.unsigned_abs().into());
        put(out, self.users.len() as u128);
        let mut before = 0;
        for (user, sessions) in &self.users {
            put(out, u128::from(user - before));
            put(out, sessions.len() as u128);
            let mut at = 0;
            for session in sessions {
                put_signed(out, i128::from(session.first) - i128::from(at));
                put(out, u128::from(session.last.abs_diff(session.first)));
                put(out, session.events.into());
                at = session.last;
            }
            before = *user;
        }
    }
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Sessions> {
        let gap = i64::try_from(reader.unsigned()?).map_err(|_| corrupt())?;
        let mut users = BTreeMap::new();
        let mut user = 0u64;
        for number in 0..reader.length()? {
            let step = reader.count()?;
            user = user.checked_add(step).filter(|_| step > 0 || number == 0).ok_or_else(corrupt)?;
            let length = reader.length()?;
            if length == 0 {
                return Err(corrupt());
            }
            let mut sessions: Vec<Session> = Vec::new();
            for _ in 0..length {
                let (first, span, events) = (reader.signed()?, reader.count()?, reader.count()?);
                let session = session(sessions.last(), first, span, events).ok_or_else(corrupt)?;
                if sessions.last().is_some_and(|before| before.last.saturating_add(gap) >= session.first) {
                    return Err(corrupt());
                }
                sessions.push(session);
            }
            users.insert(user, sessions);
        }
        Ok(Sessions { gap, users })
    }
}

fn session(before: Option<&Session>, first: i128, span: u64, events: u64) -> Option<Session> {
    let first = i64::try_from(i128::from(before.map_or(0, |before| before.last)).checked_add(first)?).ok()?;
    let last = first.checked_add_unsigned(span)?;
    (events > 0 && (span == 0 || events > 1)).then_some(Session { first, last, events })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(gap: i64, events: &[(i64, i64)]) -> Sessions {
        let mut sessions = Sessions::new(gap);
        events.iter().for_each(|(user, time)| sessions.lift(&Value::Int(*user), Timestamp(*time)));
        sessions
    }

    fn listed(sessions: &Sessions) -> Vec<(i64, i64, u64)> {
        sessions.users.values().flatten().map(|s| (s.first, s.last, s.events)).collect()
    }

    #[test]
    fn a_gap_of_exactly_g_joins_and_one_more_does_not() {
        assert_eq!(listed(&of(10, &[(1, 0), (1, 10)])), [(0, 10, 2)]);
        assert_eq!(listed(&of(10, &[(1, 0), (1, 11)])), [(0, 0, 1), (11, 11, 1)]);
    }

    #[test]
    fn a_late_event_bridges_two() {
        let mut sessions = of(10, &[(1, 0), (1, 20), (2, 10)]);
        assert_eq!(sessions.summary().sessions, 3);
        sessions.lift(&Value::Int(1), Timestamp(10));
        assert_eq!(sessions.summary().sessions, 2);
        assert_eq!(sessions.summary().events, 4);
    }

    #[test]
    fn those_that_start_in_a_window_are_told_from_those_that_go_on() {
        let sessions = of(10, &[(1, 0), (1, 5), (2, 7), (3, 30)]);
        let (inside, goes_on) = sessions.starting_in((Timestamp(0), Timestamp(10)), Timestamp(40));
        assert_eq!((inside.summary().sessions, inside.summary().bounces, goes_on), (2, 1, false));
        assert!(sessions.starting_in((Timestamp(0), Timestamp(10)), Timestamp(17)).1);
    }
}
