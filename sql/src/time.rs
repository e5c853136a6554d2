//! Times and intervals as PostgreSQL reads them, in UTC.
use chrono::{DateTime, Months};
use seam_shared::time::Timestamp;

/// A length of time: whole months, and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interval {
    /// Calendar months.
    pub months: i64,
    /// What is not months.
    pub micros: i64,
}

impl Interval {
    /// Reads `5 minutes`, `1 day 02:00:00`, `60.000s`, `1h`, `-1 month`.
    pub fn parse(text: &str) -> Option<Interval> {
        let mut out = Interval::default();
        let mut rest = text.trim();
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let end = rest.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-' | ':')).unwrap_or(rest.len());
            let (number, after) = rest.split_at(end);
            let after = after.trim_start();
            if number.contains(':') {
                out.micros = out.micros.checked_add(clock(number)?)?;
                rest = after;
                continue;
            }
            let amount: f64 = number.parse().ok()?;
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let (months, seconds) = unit_of(&unit.to_ascii_lowercase())?;
            if months > 0 {
                let months = amount * months as f64;
                if months.fract() != 0.0 || months.abs() > 120_000.0 {
                    return None;
                }
                out.months += months as i64;
            } else {
                let micros = (amount * seconds * 1e6).round();
                if micros.abs() > 1e18 {
                    return None;
                }
                out.micros = out.micros.checked_add(micros as i64)?;
            }
            rest = after.trim_start();
        }
        Some(out)
    }
    /// The same backwards.
    #[must_use]
    pub fn negated(self) -> Interval {
        Interval { months: -self.months, micros: -self.micros }
    }
    /// A moment moved by it.
    pub fn add_to(self, micros: i64) -> Option<i64> {
        let moment = DateTime::from_timestamp_micros(micros)?;
        let months = Months::new(u32::try_from(self.months.abs()).ok()?);
        let moved = if self.months < 0 { moment.checked_sub_months(months) } else { moment.checked_add_months(months) };
        moved?.timestamp_micros().checked_add(self.micros)
    }
}

/// Months or seconds in a unit.
fn unit_of(unit: &str) -> Option<(i64, f64)> {
    Some(match unit.strip_suffix('s').filter(|unit| unit.len() > 1).unwrap_or(unit) {
        "year" | "y" | "yr" => (12, 0.0),
        "quarter" => (3, 0.0),
        "month" | "mon" => (1, 0.0),
        "week" | "w" => (0, 604_800.0),
        "day" | "d" => (0, 86_400.0),
        "hour" | "h" | "hr" => (0, 3_600.0),
        "minute" | "min" | "m" => (0, 60.0),
        "second" | "sec" | "s" | "" => (0, 1.0),
        "millisecond" | "msec" => (0, 1e-3),
        "microsecond" | "usec" => (0, 1e-6),
        _ if unit == "ms" => (0, 1e-3),
        _ if unit == "us" => (0, 1e-6),
        _ => return None,
    })
}

/// `hh:mm` or `hh:mm:ss.fraction` in microseconds.
fn clock(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text), |text| (-1.0, text));
    let mut parts = text.split(':');
    let mut number = || parts.next().unwrap_or("0").parse::<f64>().ok();
    let seconds = number()? * 3_600.0 + number()? * 60.0 + number()?;
    (parts.next().is_none() && seconds < 1e9).then_some((sign * seconds * 1e6).round() as i64)
}

/// Reads `2026-01-01`, `2026-01-01 10:00`, `2026-01-01T10:00:00.123456789Z`, `2026-01-01 10:00:00+02`; rounds to the microsecond.
pub fn moment(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() < 10 || !text.is_char_boundary(10) {
        return None;
    }
    let (date, rest) = text.split_at(10);
    if rest.is_empty() {
        return Timestamp::parse_rfc3339(date).map(|moment| moment.0);
    }
    let rest = rest.strip_prefix(['T', ' ', 't'])?.trim();
    let zone = rest.find(['Z', 'z', '+', '-']).or_else(|| rest.find(" UTC")).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone);
    let zone = match zone.trim() {
        "" | "Z" | "z" | "UTC" => "+00:00".to_owned(),
        zone if zone.len() == 3 => format!("{zone}:00"),
        zone if zone.len() == 5 && !zone.contains(':') => format!("{}:{}", &zone[..3], &zone[3..]),
        zone => zone.to_owned(),
    };
    let (whole, fraction) = time.trim().split_once('.').unwrap_or((time.trim(), ""));
    let whole = if whole.len() == 5 { format!("{whole}:00") } else { whole.to_owned() };
    if fraction.len() > 18 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digit = |i: usize| fraction.as_bytes().get(i).map_or(0, |digit| i64::from(digit - b'0'));
    let micros = (0..6).fold(0, |sum, i| sum * 10 + digit(i)) + i64::from(digit(6) >= 5);
    let seconds = DateTime::parse_from_rfc3339(&format!("{date}T{whole}{zone}")).ok()?;
    Some(seconds.timestamp_micros() + micros)
}

/// Whether a text could be nothing but a moment: date and time of day.
pub fn is_full_moment(text: &str) -> bool {
    text.len() > 13 && text.as_bytes().get(4) == Some(&b'-') && moment(text).is_some()
}

/// The day of a moment, as `2026-01-01`.
pub fn day(micros: i64) -> String {
    Timestamp(micros).to_rfc3339().split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_in_every_form() {
        let micros = |text| Interval::parse(text).map(|interval| (interval.months, interval.micros));
        assert_eq!(micros("5 minutes"), Some((0, 300_000_000)));
        assert_eq!(micros("60.000s"), Some((0, 60_000_000)));
        assert_eq!(micros("1 day 02:00:00.5"), Some((0, 93_600_500_000)));
        assert_eq!(micros("1 mon 2 days"), Some((1, 172_800_000_000)));
        assert_eq!(micros("-1 year"), Some((-12, 0)));
        assert_eq!(micros("1h30m"), Some((0, 5_400_000_000)));
        assert_eq!(micros("250 ms"), Some((0, 250_000)));
        for bad in ["", "x", "5 parsecs", "1.5 months", "12:x"] {
            assert_eq!(micros(bad), None, "{bad}");
        }
        let leap = moment("2024-03-31").expect("a date");
        let month = Interval { months: -1, micros: 0 };
        assert_eq!(month.add_to(leap), moment("2024-02-29"));
    }

    #[test]
    fn moments_are_read_in_every_form() {
        let new_year = Some(1_767_225_600_000_000);
        for text in [
            "2026-01-01",
            "2026-01-01 00:00",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.000000000Z",
            "2026-01-01 02:00:00+02",
            "2025-12-31T19:00:00-0500",
            "2026-01-01 00:00:00 UTC",
        ] {
            assert_eq!(moment(text), new_year, "{text}");
        }
        assert_eq!(moment("2026-01-01T00:00:00.123456789Z"), new_year.map(|t| t + 123_457));
        for bad in ["", "2026", "2026-13-01", "2026-01-01T25:00:00Z", "2026-01-01 x", "ünïcödé-text", "2026-01-01é"]
        {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }
}
