//! Windows of every shape: on the grid, in calendars, growing; and what is refused.
use super::super::calendar::Unit;
use super::*;

const NOW: Timestamp = Timestamp(1_000 * Span::MINUTE.0 + 5);
const FIVE: Span = Span(5 * Span::MINUTE.0);
const NOTHING: Asked = Asked {
    from: None,
    to: None,
    at: None,
    step: None,
    window: None,
    cumulative: None,
    zone: Zone::UTC,
    is_final: false,
};
const DAY: Option<Length> = Some(Length::Calendar(Unit::Day));

fn minute(n: i64) -> Timestamp {
    Timestamp(n * Span::MINUTE.0)
}
fn moment(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}
fn grid(pane: Span) -> Grid {
    Grid { pane, window: FIVE, now: NOW }
}
fn of(asked: Asked) -> Times {
    resolve(asked, grid(Span::MINUTE)).expect("valid").times
}
fn refused(asked: Asked) -> Refusal {
    resolve(asked, grid(Span::MINUTE)).expect_err("refused")
}
fn berlin() -> Zone {
    Zone::parse("Europe/Berlin").expect("a zone")
}
/// Each window as its start and end in a zone.
fn shown(asked: Asked) -> Vec<(String, String)> {
    let now = moment("2026-11-22T12:07:00Z");
    let times = resolve(asked, Grid { now, ..grid(Span(15 * Span::MINUTE.0)) }).expect("valid").times;
    (0..times.count()).map(|i| (asked.zone.text(times.start(i)), asked.zone.text(times.end(i)))).collect()
}

#[test]
fn one_point_ends_at_now_rounded_up_to_the_pane() {
    let times = of(NOTHING);
    assert_eq!((times.end(0), times.count(), times.range), (minute(1001), 1, None));
    let stepped = Asked { step: Some(Length::Fixed(Span::MINUTE)), ..NOTHING };
    assert_eq!(of(stepped).span(), (minute(996), minute(1001)));
    assert_eq!(of(Asked { at: Some(minute(7)), ..NOTHING }).end(0), minute(7));
}

#[test]
fn a_range_is_widened_to_the_grid_and_tumbles_by_default() {
    let asked = Asked { from: Some(Timestamp(minute(10).0 + 1)), to: Some(Timestamp(minute(24).0 + 1)), ..NOTHING };
    let times = of(asked);
    assert_eq!(times.range, Some((minute(10), minute(25))));
    assert_eq!((times.end(0), times.count(), times.span()), (minute(15), 3, (minute(10), minute(25))));
    let times = of(Asked { step: Some(Length::Fixed(Span(2 * Span::MINUTE.0))), ..asked });
    assert_eq!((times.end(0), times.count(), times.end(6)), (minute(12), 7, minute(24)));
    assert_eq!(times.start(0), minute(7), "a shorter step slides");
    let seven = Some(Length::Fixed(Span(7 * Span::MINUTE.0)));
    let times = of(Asked { step: seven, ..asked });
    assert_eq!((times.count(), times.start(0), times.start(1), times.have_gaps()), (2, minute(10), minute(17), false));
    let named = Asked { step: seven, window: Some(Length::Fixed(FIVE)), ..asked };
    assert!(of(named).have_gaps(), "what is asked for is answered");
    assert_eq!(
        of(Asked { step: seven, ..NOTHING }).span(),
        (minute(996), minute(1001)),
        "one point is of the usual window"
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let asked = |from, to, step: Option<Span>| Asked {
        from: Some(from),
        to: Some(to),
        step: step.map(Length::Fixed),
        ..NOTHING
    };
    assert!(refused(asked(minute(10), minute(10), None)).detail.contains("is empty"));
    assert!(refused(asked(minute(10), minute(11), None)).detail.contains("shorter than a step"));
    assert!(refused(asked(minute(10), minute(20), Some(Span(1)))).detail.contains("the nearest is 1m"));
    let day = asked(minute(0), minute(100_001), Some(Span::MINUTE));
    assert_eq!(refused(day).kind, seam_shared::Kind::TooLarge);
    assert_eq!(of(asked(minute(0), minute(100_000), Some(Span::MINUTE))).count(), 100_000);
    let at = Asked { at: Some(NOW), ..asked(minute(0), minute(9), None) };
    assert_eq!(refused(at).parameter.as_deref(), Some("at"));
    let nearest = check_grid("window", Span(89 * Span::SECOND.0), Span::MINUTE).expect_err("refused");
    assert_eq!(nearest.suggestion.as_deref(), Some("1m"));
    assert!(check_grid("window", Span(0), Span::MINUTE).is_err());
    assert!(check_grid("window", Span(WINDOW_MAX.0 + Span::MINUTE.0), Span::MINUTE).is_err());
    let both = Asked { window: Some(Length::Fixed(FIVE)), cumulative: DAY, ..NOTHING };
    assert_eq!(refused(both).parameter.as_deref(), Some("window"));
    let month_by_day = Asked { window: Some(Length::Calendar(Unit::Month)), step: DAY, ..NOTHING };
    assert_eq!(refused(month_by_day).suggestion.as_deref(), Some("cumulative=month"));
}

#[test]
fn ranges_of_calendars_are_estimated_before_they_are_counted() {
    let ages = Asked { from: Some(Timestamp::MIN), to: Some(Timestamp::MAX), step: DAY, ..NOTHING };
    assert_eq!(refused(ages).kind, seam_shared::Kind::TooLarge);
    let minutes =
        Asked { cumulative: Some(Length::Calendar(Unit::Year)), step: Some(Length::Fixed(Span::MINUTE)), ..ages };
    assert_eq!(refused(minutes).kind, seam_shared::Kind::TooLarge);
    let last = Asked { from: Some(Timestamp::MAX.minus(Span::DAY)), ..ages };
    assert!(refused(last).detail.contains("beyond the years 1 to 9999"));
    let years = Asked { step: Some(Length::Calendar(Unit::Year)), to: Some(moment("9998-12-31")), ..ages };
    assert_eq!(of(years).count(), 9_998);
}

#[test]
fn days_have_the_hours_that_they_have() {
    let march = Asked {
        from: Some(moment("2026-03-28T10:00:00Z")),
        to: Some(moment("2026-03-30T00:00:00+02:00")),
        step: DAY,
        zone: berlin(),
        ..NOTHING
    };
    let expected = [
        ("2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00"),
        ("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
    ];
    let expected = expected.map(|(start, end)| (start.to_owned(), end.to_owned()));
    assert_eq!(shown(march), expected);
    let short = of(march);
    assert_eq!(short.end(1).0 - short.start(1).0, 23 * Span::HOUR.0);
    assert_eq!(short.range, Some(short.span()));
    // A fixed day stays one of 24 hours, from the range's start on.
    let fixed = Asked { step: Some(Length::Fixed(Span::DAY)), window: Some(Length::Fixed(Span::DAY)), ..march };
    let fixed = of(fixed);
    assert_eq!((fixed.count(), fixed.end(0).0 - fixed.start(0).0), (1, Span::DAY.0));
    // Without a range: the bucket that is not over yet, as a day or as a window.
    let today = Asked { step: DAY, ..Asked { zone: berlin(), ..NOTHING } };
    assert_eq!(shown(today), [("2026-11-22T00:00:00+01:00".to_owned(), "2026-11-23T00:00:00+01:00".to_owned())]);
    assert_eq!(shown(Asked { window: DAY, step: None, ..today }), shown(today));
    // Rolling windows of a fixed length that end with days.
    let rolling = of(Asked { window: Some(Length::Fixed(Span(7 * Span::DAY.0))), ..march });
    assert_eq!((rolling.count(), rolling.end(1).0 - rolling.start(1).0), (2, 7 * Span::DAY.0));
}

#[test]
fn cumulative_windows_grow_and_begin_anew() {
    let asked = Asked { cumulative: DAY, zone: berlin(), ..NOTHING };
    assert_eq!(shown(asked), [("2026-11-22T00:00:00+01:00".to_owned(), "2026-11-22T13:15:00+01:00".to_owned())]);
    // The end of a day is the whole day, not nothing of the next.
    let midnight = Asked { at: Some(moment("2026-11-22T00:00:00+01:00")), ..asked };
    assert_eq!(shown(midnight), [("2026-11-21T00:00:00+01:00".to_owned(), "2026-11-22T00:00:00+01:00".to_owned())]);
    for (from, to, hours) in [("2026-03-29", "2026-03-30", 23), ("2026-10-25", "2026-10-26", 25)] {
        let moment = |text: &str| parse_moment("from", text, NOW, berlin()).expect("a time");
        let day = of(Asked { from: Some(moment(from)), to: Some(moment(to)), ..asked });
        assert_eq!(day.count(), hours);
        for i in 0..hours {
            assert_eq!(
                (day.start(i), day.end(i)),
                (moment(from), moment(from).plus(Span((i as i64 + 1) * Span::HOUR.0)))
            );
        }
    }
    // Weeks do not end with months: the last days of a month are a step of their own.
    let asked = Asked {
        from: Some(moment("2026-02-20")),
        to: Some(moment("2026-03-05")),
        cumulative: Some(Length::Calendar(Unit::Month)),
        step: Some(Length::Calendar(Unit::Week)),
        ..NOTHING
    };
    let days: Vec<(String, String)> =
        shown(asked).into_iter().map(|(start, end)| (start[5..10].to_owned(), end[5..10].to_owned())).collect();
    let expected = [("02-01", "02-23"), ("02-01", "03-01"), ("03-01", "03-02"), ("03-01", "03-09")];
    assert_eq!(days, expected.map(|(start, end)| (start.to_owned(), end.to_owned())));
    // Periods of a fixed length, and a range that begins in the middle of one.
    let hours = Asked {
        from: Some(minute(130)),
        to: Some(minute(190)),
        cumulative: Some(Length::Fixed(Span::HOUR)),
        step: Some(Length::Fixed(Span(20 * Span::MINUTE.0))),
        ..NOTHING
    };
    let hours = of(hours);
    let list: Vec<(i64, i64)> =
        (0..hours.count()).map(|i| (hours.start(i).0 / Span::MINUTE.0, hours.end(i).0 / Span::MINUTE.0)).collect();
    assert_eq!(list, [(120, 140), (120, 160), (120, 180), (180, 200)]);
}

#[test]
fn a_pane_that_does_not_fit_the_zone_is_refused_with_one_that_does() {
    let ask = |zone: &str, pane: Span| {
        let zone = Zone::parse(zone).expect("a zone");
        let range = (Some(moment("2026-01-01")), Some(moment("2026-02-01")));
        resolve(Asked { from: range.0, to: range.1, step: DAY, zone, ..NOTHING }, Grid { window: pane, ..grid(pane) })
    };
    let quarter = Span(15 * Span::MINUTE.0);
    for (zone, pane, fits) in [
        ("Asia/Kolkata", Span::HOUR, "30m"),
        ("Asia/Kathmandu", Span::HOUR, "15m"),
        ("Asia/Shanghai", Span::DAY, "8h"),
        ("Australia/Eucla", Span(30 * Span::MINUTE.0), "15m"),
    ] {
        let refusal = ask(zone, pane).expect_err(zone);
        assert_eq!(refusal.problem, "pane-does-not-fit");
        assert!(refusal.detail.contains(&format!("with panes of {fits} ")), "{}", refusal.detail);
        assert!(ask(zone, quarter).is_ok());
    }
    assert!(ask("UTC", Span::DAY).is_ok());
    assert!(ask("Asia/Shanghai", Span::HOUR).is_ok());
}

#[test]
fn the_newest_complete_window_is_looked_for_among_the_last_ones() {
    let asked = Asked { is_final: true, ..NOTHING };
    let times = of(asked);
    assert!(times.newest);
    assert_eq!((times.end(times.count() - 1), times.end(0)), (minute(1000), minute(940)));
    let day = of(Asked { window: DAY, ..asked });
    assert_eq!((day.count(), day.span()), (2, (moment("1969-12-31"), moment("1970-01-02"))));
    let today = of(Asked { cumulative: DAY, ..asked });
    assert_eq!(today.span(), (moment("1970-01-01"), minute(1000)));
    // Where a range is asked for, what of it is complete is wanted.
    let range = of(Asked { from: Some(minute(10)), to: Some(minute(20)), ..asked });
    assert_eq!((range.newest, range.count()), (false, 2));
}

#[test]
fn moments_are_read_in_every_form() {
    let read = |text| parse_moment("from", text, NOW, Zone::UTC);
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
    let there = |text| parse_moment("from", text, NOW, berlin()).expect("valid");
    for text in ["2026-01-01", "2026-01-01T00:00", "2026-01-01T00:00:00.000", "2025-12-31T23:00:00Z"] {
        assert_eq!(there(text), new_year.minus(Span::HOUR), "{text}");
    }
}
