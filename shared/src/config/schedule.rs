//! When batch runs: five fields of cron in an IANA time zone, right across the changes to and from summer time.
use chrono::TimeZone;
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

use crate::time::{Span, Timestamp};

/// A schedule: cron in a time zone, or every so often.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    rule: Rule,
    zone: Tz,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<croner::Cron>),
    /// On the grid of multiples since the epoch.
    Every(Span),
}

impl Schedule {
    /// Reads five fields (minute, hour, day of month, month, day of week) or `@hourly`, `@daily`, `@weekly`, `@monthly`,
    /// `@yearly`, `@every 30s`. The error says what is wrong.
    pub fn parse(text: &str, zone: Tz) -> Result<Schedule, String> {
        if let Some(span) = text.strip_prefix("@every ") {
            let span = Span::parse(span)?;
            if span < Span::SECOND {
                return Err(format!("`{text}` is too often; every second is the most"));
            }
            return Ok(Schedule { text: text.to_owned(), rule: Rule::Every(span), zone });
        }
        let fields = text.split_whitespace().count();
        if !text.starts_with('@') && fields != 5 {
            return Err(format!(
                "`{text}` is no schedule: a schedule has five fields (minute hour day month weekday), not {fields}"
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron =
            parser.parse(text).map_err(|error| format!("`{text}` is no schedule: {}", tidy(&error.to_string())))?;
        let schedule = Schedule { text: text.to_owned(), rule: Rule::Cron(Box::new(cron)), zone };
        let reference = Timestamp(1_704_067_200_000_000);
        match schedule.next_after(reference) {
            Some(_) => Ok(schedule),
            None => Err(format!("`{text}` never comes: there is no such day")),
        }
    }
    /// The first moment of the schedule after `moment`. A time of day that a clock change skips comes right after the gap;
    /// one that it repeats comes once, unless the hour is a wildcard or a step. `None` if there is none within the calendar.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let cron = match &self.rule {
            Rule::Every(span) => return Some(moment.floor(*span).plus(*span)),
            Rule::Cron(cron) => cron,
        };
        let local = self.zone.timestamp_micros(moment.0).single()?;
        let next = cron.find_next_occurrence(&local, false).ok()?;
        Some(Timestamp(next.timestamp_micros()))
    }
    /// The schedule as written.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Its time zone.
    pub fn zone(&self) -> Tz {
        self.zone
    }
}

/// The library's message in the form of ours: no full stop, no capital, no names of its types.
fn tidy(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let message = message.rsplit_once("error: ").map_or(message, |(_, rest)| rest);
    let message =
        message.rsplit_once("Invalid pattern: ").map_or(message, |(_, rest)| rest).replace("CronPattern", "it");
    let mut letters = message.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}
