//! Days, weeks, months, quarters and years in a zone: where they begin, and how they follow each other. Pure.
use std::fmt;

use chrono::{Datelike, Days, Months, NaiveDate};
use seam_shared::time::{Span, Timestamp};

use super::refusal::Refusal;
use super::zone::Zone;

/// A stretch of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// From midnight to midnight: 23, 24 or 25 hours.
    Day,
    /// From Monday on (ISO 8601).
    Week,
    /// From the first of a month on.
    Month,
    /// From the first of January, April, July or October on.
    Quarter,
    /// From the first of January on.
    Year,
}

impl Unit {
    /// All of them by name.
    pub const NAMES: [(Unit, &str); 5] = [
        (Unit::Day, "day"),
        (Unit::Week, "week"),
        (Unit::Month, "month"),
        (Unit::Quarter, "quarter"),
        (Unit::Year, "year"),
    ];
    /// The longest that it can be.
    fn longest(self) -> Span {
        let days = match self {
            Unit::Day => 2,
            Unit::Week => 8,
            Unit::Month => 32,
            Unit::Quarter => 93,
            Unit::Year => 367,
        };
        Span(days * Span::DAY.0)
    }
    /// The first date of the one that a date is in.
    fn first(self, date: NaiveDate) -> NaiveDate {
        let of_month = |month: u32| NaiveDate::from_ymd_opt(date.year(), month, 1).expect("months have a first day");
        match self {
            Unit::Day => date,
            Unit::Week => date - Days::new(u64::from(date.weekday().num_days_from_monday())),
            Unit::Month => of_month(date.month()),
            Unit::Quarter => of_month((date.month() - 1) / 3 * 3 + 1),
            Unit::Year => of_month(1),
        }
    }
    /// The first date of the one after the one that begins with `first`.
    fn next(self, first: NaiveDate) -> NaiveDate {
        match self {
            Unit::Day => first + Days::new(1),
            Unit::Week => first + Days::new(7),
            Unit::Month => first + Months::new(1),
            Unit::Quarter => first + Months::new(3),
            Unit::Year => first + Months::new(12),
        }
    }
}

/// A length of time: a fixed one, or one of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Length {
    /// Always as long.
    Fixed(Span),
    /// As the calendar says.
    Calendar(Unit),
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Length::Fixed(span) => span.fmt(f),
            Length::Calendar(unit) => {
                f.write_str(Unit::NAMES.iter().find(|(other, _)| other == unit).map_or("", |(_, name)| name))
            }
        }
    }
}

impl Length {
    /// Reads `day`, `week`, `month`, `quarter`, `year`, or a duration like `5m`.
    pub fn parse(parameter: &str, text: &str) -> Result<Length, Refusal> {
        if let Some((unit, _)) = Unit::NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(Length::Calendar(*unit));
        }
        let refused = |detail: String| {
            let detail = format!("{detail}, or day, week, month, quarter or year of a calendar");
            Refusal::parameter(parameter, detail)
        };
        Span::parse(text).map(Length::Fixed).map_err(refused)
    }
    /// At least that long; the buckets of a range are at most as many as it is long in units of this.
    pub fn longest(self) -> Span {
        match self {
            Length::Fixed(span) => span,
            Length::Calendar(unit) => unit.longest(),
        }
    }
    /// The bucket that holds the moment: it begins at `.0`, and at `.1` the next one does.
    pub fn bucket(self, zone: Zone, moment: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            Length::Fixed(span) => (moment.floor(span), moment.floor(span).plus(span)),
            Length::Calendar(unit) => {
                let mut first = unit.first(zone.date_at(moment));
                let mut start = zone.first_moment(first);
                // The next one has begun already where clocks were put back over midnight; and it begins at the same moment
                // where the calendar left out a date.
                loop {
                    first = unit.next(first);
                    let next = zone.first_moment(first);
                    if next > moment {
                        return (start, next);
                    }
                    start = next;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
