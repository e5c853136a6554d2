//! The times of an answer's points: how `at`, `from`, `to` and `step` are read and put on the grid of the panes.
use seam_shared::time::{Span, Timestamp};

use super::refusal::Refusal;
use super::{POINTS_MAX, WINDOW_MAX};

/// The ends of the windows: `first`, `first + step`, …; `count` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Times {
    /// The end of the first window.
    pub first: Timestamp,
    /// From one point to the next; the window where there is one point.
    pub step: Span,
    /// How many points there are, at least 1.
    pub count: usize,
    /// The range as used, where one was asked for.
    pub range: Option<(Timestamp, Timestamp)>,
}

impl Times {
    /// The end of window `i`.
    pub fn at(&self, i: usize) -> Timestamp {
        Timestamp(self.first.0 + self.step.0 * i as i64)
    }
    /// The end of the last window.
    pub fn last(&self) -> Timestamp {
        self.at(self.count - 1)
    }
}

/// The parameters about time as given.
#[derive(Debug, Default, Clone, Copy)]
pub struct Asked {
    /// The first moment of the range.
    pub from: Option<Timestamp>,
    /// Its end.
    pub to: Option<Timestamp>,
    /// The end of the only window.
    pub at: Option<Timestamp>,
    /// The distance of points.
    pub step: Option<Span>,
}

/// Puts what was asked on the grid: ends are rounded up to the pane, so that the freshest events show; starts down.
pub fn resolve(asked: Asked, window: Span, pane: Span, now: Timestamp) -> Result<Times, Refusal> {
    if asked.at.is_some() && (asked.from.is_some() || asked.to.is_some()) {
        return Err(Refusal::parameter("at", "`at` asks for one moment; it does not go with `from` and `to`"));
    }
    let end = asked.at.or(asked.to).unwrap_or(now).ceil(pane);
    let step = asked.step.unwrap_or(window);
    check_grid("step", step, pane)?;
    let Some(from) = asked.from else {
        return Ok(Times { first: end, step: window, count: 1, range: None });
    };
    let from = from.floor(pane);
    if end <= from {
        return Err(Refusal::parameter("from", format!("the range from {from} to {end} is empty")));
    }
    let count = (end.0 - from.0) / step.0;
    if count == 0 {
        return Err(Refusal::parameter(
            "from",
            format!("the range from {from} to {end} is shorter than a step of {step}"),
        ));
    }
    if count > POINTS_MAX as i64 {
        return Err(Refusal::too_large(format!(
            "the range from {from} to {end} has {count} points at a step of {step}; at most {POINTS_MAX} are computed"
        )));
    }
    Ok(Times { first: from.plus(step), step, count: count as usize, range: Some((from, end)) })
}

/// Refuses a length that is no positive multiple of the pane, naming the nearest that is.
pub fn check_grid(name: &str, length: Span, pane: Span) -> Result<(), Refusal> {
    if length.0 > WINDOW_MAX.0 {
        return Err(Refusal::parameter(name, format!("{name}={length} is longer than the largest, {WINDOW_MAX}")));
    }
    if length.0 > 0 && length.0 % pane.0 == 0 {
        return Ok(());
    }
    let nearest = Span(((length.0 + pane.0 / 2) / pane.0).max(1) * pane.0);
    let detail =
        format!("{name}={length} is no positive multiple of the view's pane, {pane}; the nearest is {nearest}");
    Err(Refusal::parameter(name, detail).suggest(Some(nearest.to_string())))
}

/// Reads `now`, `now-6h`, RFC 3339, or whole seconds or milliseconds since 1970.
pub fn parse_moment(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
    let bad = || {
        let forms = "write it like 2026-01-01T00:00:00Z, 1767225600, now or now-6h";
        Refusal::parameter(name, format!("{name}=`{text}` is no time; {forms}"))
    };
    let moment = if let Some(offset) = text.strip_prefix("now") {
        // A plus sign that was not escaped in the URL arrives as a space.
        match offset.split_at_checked(1) {
            None => now,
            Some(("-", span)) => now.minus(Span::parse(span).map_err(|_| bad())?),
            Some(("+" | " ", span)) => now.plus(Span::parse(span).map_err(|_| bad())?),
            Some(_) => return Err(bad()),
        }
    } else if text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit()) {
        Timestamp::from_epoch_guess(text.parse().map_err(|_| bad())?)
    } else {
        Timestamp::parse_rfc3339(&text.replace(' ', "+")).ok_or_else(bad)?
    };
    if !(Timestamp::MIN..=Timestamp::MAX).contains(&moment) {
        return Err(Refusal::parameter(name, format!("{name}=`{text}` is outside the years 1 to 9999")));
    }
    Ok(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000 * Span::MINUTE.0 + 5);
    const FIVE: Span = Span(5 * Span::MINUTE.0);

    fn minute(n: i64) -> Timestamp {
        Timestamp(n * Span::MINUTE.0)
    }

    #[test]
    fn one_point_ends_at_now_rounded_up_to_the_pane() {
        let times = resolve(Asked::default(), FIVE, Span::MINUTE, NOW).expect("valid");
        assert_eq!((times.first, times.count, times.range), (minute(1001), 1, None));
        let stepped = Asked { step: Some(Span::MINUTE), ..Asked::default() };
        assert_eq!(resolve(stepped, FIVE, Span::MINUTE, NOW).expect("valid"), times);
        let at = Asked { at: Some(minute(7)), ..Asked::default() };
        assert_eq!(resolve(at, FIVE, Span::MINUTE, NOW).expect("valid").first, minute(7));
    }

    #[test]
    fn a_range_is_widened_to_the_grid_and_tumbles_by_default() {
        let asked = Asked {
            from: Some(Timestamp(minute(10).0 + 1)),
            to: Some(Timestamp(minute(24).0 + 1)),
            ..Asked::default()
        };
        let times = resolve(asked, FIVE, Span::MINUTE, NOW).expect("valid");
        assert_eq!(times.range, Some((minute(10), minute(25))));
        assert_eq!((times.first, times.step, times.count), (minute(15), FIVE, 3));
        assert_eq!(times.last(), minute(25));
        let times =
            resolve(Asked { step: Some(Span(2 * Span::MINUTE.0)), ..asked }, FIVE, Span::MINUTE, NOW).expect("valid");
        assert_eq!((times.first, times.count, times.last()), (minute(12), 7, minute(24)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let asked = |from, to, step| Asked { from: Some(from), to: Some(to), step, at: None };
        let refused = |asked| resolve(asked, FIVE, Span::MINUTE, NOW).expect_err("refused");
        assert!(refused(asked(minute(10), minute(10), None)).detail.contains("is empty"));
        assert!(refused(asked(minute(10), minute(11), None)).detail.contains("shorter than a step"));
        assert!(refused(asked(minute(10), minute(20), Some(Span(1)))).detail.contains("the nearest is 1m"));
        let day = asked(minute(0), minute(100_001), Some(Span::MINUTE));
        assert_eq!(refused(day).kind, seam_shared::Kind::TooLarge);
        assert!(resolve(asked(minute(0), minute(100_000), Some(Span::MINUTE)), FIVE, Span::MINUTE, NOW).is_ok());
        assert_eq!(
            refused(Asked { at: Some(NOW), ..asked(minute(0), minute(9), None) }).parameter.as_deref(),
            Some("at")
        );
        let nearest = check_grid("window", Span(89 * Span::SECOND.0), Span::MINUTE).expect_err("refused");
        assert_eq!(nearest.suggestion.as_deref(), Some("1m"));
        assert!(check_grid("window", Span(0), Span::MINUTE).is_err());
        assert!(check_grid("window", Span(WINDOW_MAX.0 + Span::MINUTE.0), Span::MINUTE).is_err());
    }

    #[test]
    fn moments_are_read_in_every_form() {
        let read = |text| parse_moment("from", text, NOW);
        let new_year = Timestamp(1_767_225_600_000_000);
        assert_eq!(read("2026-01-01T00:00:00Z").expect("valid"), new_year);
        assert_eq!(read("2026-01-01T02:00:00 02:00").expect("valid"), new_year);
        assert_eq!(read("1767225600").expect("valid"), new_year);
        assert_eq!(read("1767225600000").expect("valid"), new_year);
        assert_eq!(read("now-1h30m").expect("valid"), Timestamp(NOW.0 - 5_400_000_000));
        assert_eq!(read("now+1m").expect("valid"), Timestamp(NOW.0 + 60_000_000));
        for bad in ["", "-", "yesterday", "nowish", "now-", "now-6", "99999999999999999999", "now-9999999w", "12.5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
