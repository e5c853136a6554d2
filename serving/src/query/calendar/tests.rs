//! Buckets tile the time without gap or overlap, in zones of every kind, and begin where a plain walk over the clocks says.
use chrono::{NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::*;

/// Zones with summer time in both halves of the world, at midnight, by half an hour, in the negative; with odd offsets; with
/// dates left out; without any of it.
const ZONES: [&str; 36] = [
    "UTC",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Johannesburg",
    "Africa/Lagos",
    "America/Adak",
    "America/Asuncion",
    "America/Havana",
    "America/Los_Angeles",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Scoresbysund",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Pyongyang",
    "Asia/Shanghai",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Atlantic/Azores",
    "Australia/Eucla",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Lisbon",
    "Europe/London",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Kwajalein",
];
const BEGIN: &str = "1970-01-05T00:00:00Z";
const END: &str = "2037-12-20T00:00:00Z";

fn moment(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}
fn zone(name: &str) -> Zone {
    Zone::parse(name).expect("a zone")
}
/// What clocks show, by chrono alone.
fn shown(tz: Tz, moment: Timestamp) -> NaiveDateTime {
    let utc = chrono::DateTime::from_timestamp_micros(moment.0).expect("in range").naive_utc();
    utc + tz.offset_from_utc_datetime(&utc).fix()
}
fn is_first_of(unit: Unit, date: NaiveDate) -> bool {
    match unit {
        Unit::Day => true,
        Unit::Week => date.weekday() == chrono::Weekday::Mon,
        Unit::Month => date.day() == 1,
        Unit::Quarter => date.day() == 1 && [1, 4, 7, 10].contains(&date.month()),
        Unit::Year => date.ordinal() == 1,
    }
}

#[test]
fn buckets_tile_the_years_in_every_zone() {
    let (begin, end) = (moment(BEGIN), moment(END));
    for name in ZONES {
        let (zone, tz) = (zone(name), name.parse::<Tz>().expect("a zone"));
        for (unit, _) in Unit::NAMES {
            let length = Length::Calendar(unit);
            let (mut at, mut count) = (length.bucket(zone, begin), 0);
            assert!(at.0 <= begin && begin < at.1, "{name} {unit:?}");
            while at.0 < end {
                // Not empty, as long as such a bucket may be, and the next one begins where it ends.
                assert!(at.0 < at.1 && at.1.0 - at.0.0 <= unit.longest().0, "{name} {unit:?} {}", at.0);
                assert_eq!(length.bucket(zone, at.0), at, "{name} {unit:?}");
                assert_eq!(length.bucket(zone, Timestamp(at.1.0 - 1)), at, "{name} {unit:?}");
                // By the clocks: it begins with a date that begins one (or behind one that was left out), and not a microsecond
                // before.
                let (first, before) = (shown(tz, at.0), shown(tz, Timestamp(at.0.0 - 1)));
                let begun: Vec<NaiveDate> =
                    before.date().iter_days().skip(1).take_while(|date| *date <= first.date()).collect();
                assert!(begun.iter().any(|date| is_first_of(unit, *date)), "{name} {unit:?} {first} after {before}");
                at = length.bucket(zone, at.1);
                count += 1;
            }
            let expected = match unit {
                Unit::Day => 24_821,
                Unit::Week => 3_546,
                Unit::Month => 816,
                Unit::Quarter => 272,
                Unit::Year => 68,
            };
            assert!((expected - 3_i64..=expected + 1).contains(&count), "{name} {unit:?} {count}");
        }
    }
}

/// Every quarter of an hour of the years, and every second where a bucket begins: a bucket begins at the first moment at which
/// clocks show a later date than ever before.
#[test]
fn days_begin_where_a_walk_over_the_clocks_finds_a_new_date() {
    let quarter = Span(15 * Span::MINUTE.0);
    for name in ZONES {
        let (zone, tz) = (zone(name), name.parse::<Tz>().expect("a zone"));
        let offset = |moment: Timestamp| shown(tz, moment).and_utc().timestamp_micros() - moment.0;
        let (mut at, end) = (moment(BEGIN), moment(END));
        let mut today = Length::Calendar(Unit::Day).bucket(zone, at);
        while at < end {
            // Days on which clocks are not changed have 24 hours: the walk is over the others and their neighbours.
            let quiet = [-2, -1, 0, 1, 2].map(|days| offset(Timestamp(at.0 + days * Span::DAY.0)));
            if quiet.iter().all(|o| *o == quiet[0]) {
                assert_eq!(today.1.0 - today.0.0, Span::DAY.0, "{name} {}", today.0);
                at = today.1;
            } else {
                let mut latest = shown(tz, today.0).date();
                let mut at_quarter = today.0;
                while at_quarter < today.1 {
                    let date = shown(tz, at_quarter).date();
                    assert!(date <= latest, "{name}: a day begins before {at_quarter}");
                    latest = latest.max(date);
                    at_quarter = at_quarter.plus(quarter).floor(quarter);
                }
                assert!(shown(tz, today.1).date() > latest, "{name} {}", today.1);
                assert!(shown(tz, today.1.minus(Span::SECOND)).date() <= latest, "{name} {}", today.1);
                at = today.1;
            }
            today = Length::Calendar(Unit::Day).bucket(zone, at);
        }
    }
}

#[test]
fn all_of_a_bucket_is_in_it() {
    let mut seed = 7_u64;
    for turn in 0..20_000 {
        seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        let zone = zone(ZONES[turn % ZONES.len()]);
        let length = Length::Calendar(Unit::NAMES[turn / ZONES.len() % 5].0);
        let span = (moment(END).0 - moment(BEGIN).0) as u64;
        let at = moment(BEGIN).plus(Span(((seed >> 8) % span) as i64));
        let bucket = length.bucket(zone, at);
        assert!(bucket.0 <= at && at < bucket.1);
        let inside = Timestamp(bucket.0.0 + (seed >> 20) as i64 % (bucket.1.0 - bucket.0.0));
        assert_eq!(length.bucket(zone, inside), bucket, "{zone} {length} {at}");
    }
}

#[test]
fn lengths_read_and_print() {
    for text in ["day", "week", "month", "quarter", "year", "5m", "1d"] {
        assert_eq!(Length::parse("step", text).expect("valid").to_string(), text);
    }
    let refused = Length::parse("step", "fortnight").expect_err("refused");
    assert!(refused.detail.contains("or day, week, month, quarter or year"), "{}", refused.detail);
}
