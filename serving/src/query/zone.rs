//! Zones of the IANA time zone database, as this build has it: local dates, the first moment of a date, and times as they are
//! written there. The host's own zone takes no part. Pure.
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};
use chrono_tz::{IANA_TZDB_VERSION, TZ_VARIANTS, Tz};
use seam_shared::time::{Span, Timestamp};

use super::refusal::{Refusal, nearest};

/// Farther from UTC than any zone ever was.
const FARTHEST: Span = Span(16 * Span::HOUR.0);

/// A zone by its name, e.g. `Asia/Shanghai`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(Tz);

impl Default for Zone {
    fn default() -> Self {
        Zone::UTC
    }
}

/// What an answer depends on: the name, and what this build knows of it.
impl Hash for Zone {
    fn hash<H: Hasher>(&self, out: &mut H) {
        (self.name(), Zone::VERSION).hash(out);
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Zone {
    /// Universal time.
    pub const UTC: Zone = Zone(Tz::UTC);
    /// The edition of the database, e.g. `2025b`.
    pub const VERSION: &'static str = IANA_TZDB_VERSION;

    /// The zone of that name; a refusal names the nearest.
    pub fn parse(name: &str) -> Result<Zone, Refusal> {
        Tz::from_str(name).map(Zone).map_err(|_| {
            let detail = format!("tz=`{name}` is no zone of the IANA time zone database; write it like Asia/Shanghai");
            Refusal::parameter("tz", detail).suggest(nearest(name, TZ_VARIANTS.iter().map(|tz| tz.name())))
        })
    }
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }
    /// How far its clocks are ahead of UTC at a moment; negative where they are behind.
    pub fn offset_at(&self, moment: Timestamp) -> i64 {
        if self.0 == Tz::UTC {
            return 0;
        }
        let seconds = self.0.offset_from_utc_datetime(&naive(moment)).fix().local_minus_utc();
        i64::from(seconds) * Span::SECOND.0
    }
    /// The date that its calendars show at a moment.
    pub fn date_at(&self, moment: Timestamp) -> NaiveDate {
        naive(Timestamp(moment.0 + self.offset_at(moment))).date()
    }
    /// The first moment at which its clocks show midnight of a date, or later where they are put forward over midnight. (Where
    /// they are put back over midnight, it comes twice: the first counts.)
    pub fn first_moment(&self, date: NaiveDate) -> Timestamp {
        self.first_at(date.and_time(NaiveTime::MIN))
    }
    /// The first moment at which its clocks show that or later.
    pub fn first_at(&self, local: NaiveDateTime) -> Timestamp {
        let shown = local.and_utc().timestamp_micros();
        let at = |offset: i32| Timestamp(shown - i64::from(offset) * Span::SECOND.0);
        let offset = |offset: <Tz as TimeZone>::Offset| offset.fix().local_minus_utc();
        match self.0.offset_from_local_datetime(&local) {
            LocalResult::Single(one) => at(offset(one)),
            LocalResult::Ambiguous(one, other) => at(offset(one)).min(at(offset(other))),
            LocalResult::None => self.end_of_gap(shown),
        }
    }
    /// The moment at which clocks are put forward over what they would have `shown`.
    fn end_of_gap(&self, shown: i64) -> Timestamp {
        let is_behind = |seconds: i64| {
            let moment = Timestamp(seconds * Span::SECOND.0);
            moment.0 + self.offset_at(moment) < shown
        };
        let (mut before, mut after) = ((shown - FARTHEST.0) / Span::SECOND.0, (shown + FARTHEST.0) / Span::SECOND.0);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            *if is_behind(middle) { &mut before } else { &mut after } = middle;
        }
        Timestamp(after * Span::SECOND.0)
    }
    /// Appends a moment as RFC 3339 with this zone's offset; in UTC (`Z`) where that is no whole minute, as it was long ago.
    pub fn write(&self, moment: Timestamp, out: &mut Vec<u8>) {
        if self.0 == Tz::UTC {
            return moment.write_rfc3339(out);
        }
        let offset = self.offset_at(moment);
        let local = Timestamp(moment.0 + offset);
        if offset % Span::MINUTE.0 != 0 || !(Timestamp::MIN..=Timestamp::MAX).contains(&local) {
            return moment.write_rfc3339(out);
        }
        local.write_rfc3339(out);
        out.pop();
        let minutes = offset.abs() / Span::MINUTE.0;
        let sign = if offset < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60).as_bytes());
    }
    /// The same as text.
    pub fn text(&self, moment: Timestamp) -> String {
        let mut out = Vec::with_capacity(32);
        self.write(moment, &mut out);
        String::from_utf8(out).expect("digits and punctuation")
    }
}

fn naive(moment: Timestamp) -> NaiveDateTime {
    let held = moment.clamp(Timestamp::MIN.minus(Span::DAY), Timestamp::MAX.plus(Span::DAY));
    DateTime::from_timestamp_micros(held.0).expect("about the years 1 to 9999").naive_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }
    fn zone(name: &str) -> Zone {
        Zone::parse(name).expect("a zone")
    }

    #[test]
    fn times_are_written_with_the_offset_of_their_day() {
        let cases = [
            ("UTC", "2026-03-29T00:30:00Z", "2026-03-29T00:30:00Z"),
            ("Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00+01:00"),
            ("Europe/Berlin", "2026-03-29T01:30:00Z", "2026-03-29T03:30:00+02:00"),
            ("Europe/London", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500+00:00"),
            ("America/St_Johns", "2026-01-01T00:00:00Z", "2025-12-31T20:30:00-03:30"),
            ("Asia/Kathmandu", "2026-01-01T00:00:00Z", "2026-01-01T05:45:00+05:45"),
            ("Africa/Monrovia", "1971-01-01T00:00:00Z", "1971-01-01T00:00:00Z"),
        ];
        for (name, given, expected) in cases {
            assert_eq!(zone(name).text(moment(given)), expected, "{name}");
            assert_eq!(moment(expected), moment(given));
        }
        // Beyond the years 1 to 9999 there.
        assert_eq!(zone("Pacific/Niue").text(Timestamp::MIN), Timestamp::MIN.to_rfc3339());
        assert_eq!(zone("Pacific/Kiritimati").text(Timestamp::MAX), Timestamp::MAX.to_rfc3339());
    }

    #[test]
    fn a_date_begins_when_its_midnight_is_first_reached() {
        let cases = [
            // Clocks go from 24:00 to 01:00, so the date begins at 01:00.
            ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"),
            ("Africa/Cairo", "2024-04-26", "2024-04-25T22:00:00Z"),
            // From 24:00 back to 23:00: midnight is reached an hour later.
            ("America/Sao_Paulo", "2018-02-18", "2018-02-18T03:00:00Z"),
            // From 01:00 back to 00:00: midnight twice.
            ("America/Havana", "2025-11-02", "2025-11-02T04:00:00Z"),
            // From 00:01 back to 23:01 of the day before.
            ("America/St_Johns", "2009-11-01", "2009-11-01T02:30:00Z"),
            // A date that there never was.
            ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"),
            ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
        ];
        for (name, date, expected) in cases {
            let date = NaiveDate::from_str(date).expect("a date");
            assert_eq!(zone(name).first_moment(date), moment(expected), "{name} {date}");
        }
    }

    #[test]
    fn an_unknown_zone_is_refused_with_the_nearest() {
        assert_eq!(Zone::parse("Asia/Shangai").expect_err("unknown").suggestion.as_deref(), Some("Asia/Shanghai"));
        for bad in ["", "local", "+08:00", "Asia"] {
            assert_eq!(Zone::parse(bad).expect_err(bad).parameter.as_deref(), Some("tz"));
        }
    }
}
