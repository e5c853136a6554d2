//! Rows as JSON: flat objects, what neighbours share written once. Pure.
use std::ops::Range;

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{StateDefinition, StateKind};
use seam_shared::view::rows::States;

use super::{Known, Point, Points, codes, figures};
use crate::json::Json;
use crate::query::{Format, Query, Zone};

impl Points {
    /// Writes rows as flat objects: items of the list that is open, or one a line.
    pub fn write(&self, json: &mut Json, query: &Query, rows: Range<usize>) {
        let is_list = query.format == Format::Json;
        // Rows of one time or of one key follow each other as a rule: what they share is written once.
        let (mut times, mut key) = (Times::new(query.zone), Json::with_capacity(64));
        let mut last: Option<&Point> = None;
        for point in &self.list[rows] {
            if last.is_none_or(|last| last.time != point.time) {
                times.turn_to(query, point.time);
            }
            if last.is_none_or(|last| !codes(&self.merged, last.key).eq(codes(&self.merged, point.key))) {
                key.clear();
                for (d, name) in query.dimensions.iter().enumerate() {
                    key.named(name).value(self.dimension(point, d));
                }
            }
            last = Some(point);
            json.open('{').copied(&times.members);
            if !query.dimensions.is_empty() {
                json.raw(",").copy(&key);
            }
            self.write_value(json, query, point);
            json.close('}');
            if !is_list {
                json.raw("\n");
            }
        }
    }
    /// Writes a row's value and figures as further members of the object that is open.
    pub fn write_value(&self, json: &mut Json, query: &Query, point: &Point) {
        let from = json.raw(",\"value\":").at();
        let value = from..json.value(&point.value).at();
        if let (None, [term], [States::Fixed(all)], true) =
            (query.rate, &query.terms[..], &self.merged.states[..], point.is_own)
            && all[point.key as usize].count > 0
        {
            return figures::write_fixed(json, &all[point.key as usize], term, value);
        }
        if let Some(seconds) = self.covered_seconds(query, point) {
            json.key("covered_seconds").value(&seconds);
        }
        if let [States::Count(_)] = &self.merged.states[..] {
            return;
        }
        let counts =
            |state: &StateDefinition| state.kind == StateKind::Count || state.is_net() && state.field.is_none();
        let is_count = query.terms.iter().all(|term| counts(term.definition()));
        match self.figures(query, point) {
            Known::Two(numerator, denominator) => {
                json.key("numerator").value(&numerator).key("denominator").value(&denominator);
            }
            Known::One(known) => figures::write(json, &known, &point.value, value, is_count),
        }
    }
}

/// The length of a moment's text in UTC without a fraction, in quotes.
const WHOLE_SECONDS: usize = "\"2026-01-01T00:00:00Z\"".len();

/// About what a moment's text takes.
const MOMENT_BYTES: usize = 32;

/// The members that say which window a row is of.
struct Times {
    zone: Zone,
    start: Moment,
    end: Moment,
    members: Vec<u8>,
}

/// A moment as text in quotes.
#[derive(Default)]
struct Moment {
    time: Option<Timestamp>,
    text: Vec<u8>,
}

impl Moment {
    fn turn_to(&mut self, zone: Zone, time: Timestamp) {
        if self.time == Some(time) {
            return;
        }
        let Some(before) = self.time.replace(time).filter(|_| zone == Zone::UTC) else { return self.write(zone, time) };
        let (day, clock) = (time.0.div_euclid(Span::DAY.0), time.0.rem_euclid(Span::DAY.0));
        let is_whole = clock % Span::SECOND.0 == 0 && self.text.len() == WHOLE_SECONDS && self.text.ends_with(b"Z\"");
        if before.0.div_euclid(Span::DAY.0) != day || !is_whole {
            return self.write(zone, time);
        }
        // On the same day only the clock is another.
        let seconds = clock / Span::SECOND.0;
        for (place, number) in [(12, seconds / 3_600), (15, seconds / 60 % 60), (18, seconds % 60)] {
            self.text[place..place + 2].copy_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
        }
    }
    fn write(&mut self, zone: Zone, time: Timestamp) {
        self.text.clear();
        self.text.reserve(MOMENT_BYTES);
        self.text.push(b'"');
        zone.write(time, &mut self.text);
        self.text.push(b'"');
    }
}

impl Times {
    fn new(zone: Zone) -> Times {
        Times { zone, start: Moment::default(), end: Moment::default(), members: Vec::with_capacity(96) }
    }
    fn turn_to(&mut self, query: &Query, time: Timestamp) {
        let (start, end) = query.window_of(time);
        if self.end.time == Some(start) {
            std::mem::swap(&mut self.start, &mut self.end);
        }
        self.start.turn_to(self.zone, start);
        self.end.turn_to(self.zone, end);
        self.members.clear();
        let parts: [&[u8]; 4] = [b"\"time\":", &self.end.text, b",\"start\":", &self.start.text];
        parts.into_iter().for_each(|part| self.members.extend_from_slice(part));
        if let Some(is_partial) = query.is_partial(time) {
            self.members.extend_from_slice(if is_partial { b",\"partial\":true" } else { b",\"partial\":false" });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    #[test]
    fn a_moment_is_written_as_its_zone_writes_it() {
        let mut dice = Dice(11);
        for name in ["UTC", "Europe/Berlin"] {
            let zone = Zone::parse(name).expect("a zone");
            let (mut moment, mut time) = (Moment::default(), Timestamp(1_767_225_000_000_000));
            for _ in 0..20_000 {
                let step = [Span::SECOND.0, Span::MINUTE.0, Span::HOUR.0, 1_000, 0, 7][dice.pick(6) as usize];
                time = Timestamp(time.0 + step * (dice.pick(90) as i64 - 30));
                // Mostly whole seconds, as windows have them.
                time = if dice.pick(4) > 0 { time.floor(Span::SECOND) } else { time };
                moment.turn_to(zone, time);
                assert_eq!(String::from_utf8_lossy(&moment.text), format!("\"{}\"", zone.text(time)));
            }
        }
        let years = [
            Timestamp::MIN,
            Timestamp::MAX,
            Timestamp(Timestamp::MAX.0 + 1),
            Timestamp(Timestamp::MAX.0 + 1_000_001),
            Timestamp(-1),
            Timestamp(0),
        ];
        let mut moment = Moment::default();
        for time in years.into_iter().chain(years.into_iter().rev()) {
            moment.turn_to(Zone::UTC, time);
            assert_eq!(String::from_utf8_lossy(&moment.text), format!("\"{}\"", Zone::UTC.text(time)));
        }
    }
}
