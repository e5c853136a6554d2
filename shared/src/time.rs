//! Event time and durations, in microseconds since the Unix epoch, UTC.
use std::fmt;

use serde::{Deserialize, Serialize};

/// A moment: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A length of time in microseconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub i64);

impl Span {
    /// One second.
    pub const SECOND: Span = Span(1_000_000);
    /// One minute.
    pub const MINUTE: Span = Span(60_000_000);
    /// One hour.
    pub const HOUR: Span = Span(3_600_000_000);
    /// One day of 24 hours.
    pub const DAY: Span = Span(86_400_000_000);

    /// Reads `5m`, `30s`, `250ms`, `1h`, `7d`, `1h30m`; the error says what is expected.
    pub fn parse(text: &str) -> Result<Span, String> {
        let bad = || format!("`{text}` is no duration; write it like 30s, 5m, 1h or 7d");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let number: i64 = rest[..digits].parse().map_err(|_| bad())?;
            rest = &rest[digits..];
            let unit_len = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let unit = match &rest[..unit_len] {
                "us" => 1,
                "ms" => 1_000,
                "s" => Span::SECOND.0,
                "m" => Span::MINUTE.0,
                "h" => Span::HOUR.0,
                "d" => Span::DAY.0,
                "w" => Span::DAY.0 * 7,
                _ => return Err(bad()),
            };
            rest = &rest[unit_len..];
            total = number.checked_mul(unit).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
        }
        Ok(Span(total))
    }
}

impl fmt::Display for Span {
    /// The shortest exact spelling: `90s` prints as `90s`, `3600s` as `1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units =
            [(Span::DAY.0, "d"), (Span::HOUR.0, "h"), (Span::MINUTE.0, "m"), (Span::SECOND.0, "s"), (1_000, "ms")];
        for (size, name) in units {
            if self.0 != 0 && self.0 % size == 0 {
                return write!(f, "{}{name}", self.0 / size);
            }
        }
        write!(f, "{}us", self.0)
    }
}

impl Timestamp {
    /// The earliest moment an event may carry: 0001-01-01T00:00:00Z.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000_000);
    /// The latest moment an event may carry: the last microsecond of the year 9999.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    /// The start of the grid cell of width `span` that holds this moment.
    pub fn floor(self, span: Span) -> Timestamp {
        Timestamp(self.0.div_euclid(span.0) * span.0)
    }
    /// The first grid point of width `span` that is not before this moment.
    pub fn ceil(self, span: Span) -> Timestamp {
        Timestamp(-((-self.0).div_euclid(span.0)) * span.0)
    }
    /// This moment, `span` later.
    #[must_use]
    pub fn plus(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }
    /// This moment, `span` earlier.
    #[must_use]
    pub fn minus(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }
    /// RFC 3339 in UTC with as many fraction digits as needed (0, 3 or 6).
    pub fn to_rfc3339(self) -> String {
        let mut text = Vec::with_capacity(27);
        self.write_rfc3339(&mut text);
        String::from_utf8(text).expect("digits and punctuation")
    }
    /// The same, appended to bytes: answers are full of times. A window may begin before the year 1, and the last one ends with
    /// the year 9999: such a year is written with a sign and six digits, as ECMAScript does.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let (days, micros) = (self.0.div_euclid(Span::DAY.0), self.0.rem_euclid(Span::DAY.0));
        let (year, month, day) = civil_date(days);
        let year = match year {
            0..10_000 => year,
            beyond => {
                let (sign, size) = (if beyond < 0 { '-' } else { '+' }, beyond.abs());
                out.extend_from_slice(format!("{sign}{:02}", size / 10_000).as_bytes());
                size % 10_000
            }
        };
        let (seconds, fraction) = (micros / Span::SECOND.0, micros % Span::SECOND.0);
        let mut text = *b"0000-00-00T00:00:00Z";
        put_pair(&mut text, 0, year / 100);
        put_pair(&mut text, 2, year % 100);
        put_pair(&mut text, 5, month);
        put_pair(&mut text, 8, day);
        put_pair(&mut text, 11, seconds / 3_600);
        put_pair(&mut text, 14, seconds / 60 % 60);
        put_pair(&mut text, 17, seconds % 60);
        out.extend_from_slice(&text);
        if fraction == 0 {
            return;
        }
        out.pop();
        match fraction % 1_000 {
            0 => out.extend_from_slice(format!(".{:03}Z", fraction / 1_000).as_bytes()),
            _ => out.extend_from_slice(format!(".{fraction:06}Z").as_bytes()),
        }
    }
    /// Reads RFC 3339 with any offset (`2026-01-01T00:00:00Z`, `…+02:00`), or a date alone as its midnight in UTC.
    /// Digits beyond the microsecond are cut off.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
            return Some(Timestamp(moment.timestamp_micros()));
        }
        let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(Timestamp(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros()))
    }
    /// Reads a whole number as seconds, milliseconds, microseconds or nanoseconds by its size: below 1e11 seconds,
    /// below 1e14 milliseconds, below 1e17 microseconds. The rule depends on the number alone.
    pub fn from_epoch_guess(number: i64) -> Timestamp {
        match number.unsigned_abs() {
            0..100_000_000_000 => Timestamp(number * 1_000_000),
            100_000_000_000..100_000_000_000_000 => Timestamp(number * 1_000),
            100_000_000_000_000..100_000_000_000_000_000 => Timestamp(number),
            _ => Timestamp(number.div_euclid(1_000)),
        }
    }
}

/// Writes a number below 100 over two zeros.
#[inline]
fn put_pair(text: &mut [u8; 20], place: usize, number: i64) {
    text[place] += number as u8 / 10;
    text[place + 1] += number as u8 % 10;
}

/// Year, month and day of a number of days since 1970-01-01: counted in eras of 400 years from a
/// March 1st on, so that the leap day is the last of its year.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let since_march = days + 719_468;
    let (era, day_of_era) = (since_march.div_euclid(146_097), since_march.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next_year, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_print() {
        assert_eq!(Span::parse("1h30m"), Ok(Span(5_400_000_000)));
        assert_eq!(Span::parse("5m").map(|s| s.to_string()), Ok("5m".to_owned()));
        assert!(Span::parse("5").is_err());
        assert!(Span::parse("").is_err());
        assert!(Span::parse("5 minutes").is_err());
    }

    #[test]
    fn the_ends_of_windows_at_the_ends_of_time_are_times() {
        for (micros, text) in [
            (Timestamp::MAX.0, "9999-12-31T23:59:59.999999Z"),
            (Timestamp::MAX.0 + 1, "+010000-01-01T00:00:00Z"),
            (Timestamp::MIN.0, "0001-01-01T00:00:00Z"),
            (Timestamp::MIN.0 - 1_000, "0000-12-31T23:59:59.999Z"),
            (Timestamp::MIN.0 - 367 * Span::DAY.0, "-000001-12-31T00:00:00Z"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text);
        }
    }

    #[test]
    fn times_are_written_as_chrono_writes_them() {
        let by_chrono = |time: Timestamp| {
            let moment = chrono::DateTime::from_timestamp_micros(time.0).expect("in range");
            moment.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
        };
        let mut times =
            vec![Timestamp::MIN.0, Timestamp::MAX.0, 0, -1, 1_000, 951_782_400_000_000, 4_107_542_399_000_000];
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            let grid = [1, 1_000, 1_000_000, Span::DAY.0][(seed >> 60) as usize % 4];
            let span = Timestamp::MAX.0.abs_diff(Timestamp::MIN.0);
            times.push((Timestamp::MIN.0 + ((seed >> 1) % span) as i64) / grid * grid);
        }
        for time in times.into_iter().map(Timestamp) {
            assert_eq!(time.to_rfc3339(), by_chrono(time));
            assert_eq!(Timestamp::parse_rfc3339(&time.to_rfc3339()), Some(time));
        }
        assert_eq!(Timestamp(i64::MIN).to_rfc3339(), "-290308-12-21T19:59:05.224192Z");
    }

    #[test]
    fn grid_is_euclidean() {
        assert_eq!(Timestamp(-1).floor(Span(10)), Timestamp(-10));
        assert_eq!(Timestamp(-1).ceil(Span(10)), Timestamp(0));
        assert_eq!(Timestamp(10).ceil(Span(10)), Timestamp(10));
        assert_eq!(Timestamp(11).ceil(Span(10)), Timestamp(20));
    }
}
