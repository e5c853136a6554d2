//! Windows of calendars, growing and rolling ones, rates and top groups: each as a plain recomputation says at the answer's own
//! stamp, with the batch cut in the middle of windows, on days of 23, 24 and 25 hours. And the same on any host.
use std::process::Command;

use serde_json::json;

use super::*;
use crate::Stores;
use crate::testing::bytes;
use seam_shared::log::memory::MemoryLog;
use seam_shared::telemetry::Telemetry;

const ROUTE: &str = "/api/analytics/metrics";
/// Zones, each with a moment around which its clocks are changed (or not), and a pane that fits.
const PLACES: [(&str, &str); 8] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("America/St_Johns", "2009-11-01T02:31:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Asia/Kathmandu", "2026-02-28T18:15:00Z"),
    ("UTC", "2024-12-31T12:00:00Z"),
];

fn moment(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

/// A world whose events lie in the days around a moment, some of them on the boundaries of hours; the clock is two days behind it.
fn world_around(seed: u64, around: Timestamp) -> World {
    let mut world = World::new(seed);
    let mut dice = Dice(seed + 3);
    for event in &mut world.events {
        // Dice have 31 bits: the second, and the microsecond within it.
        let second = dice.pick((4 * Span::DAY.0 / Span::SECOND.0) as u64) as i64;
        let offset = second * Span::SECOND.0 + dice.pick(Span::SECOND.0 as u64) as i64 - 2 * Span::DAY.0;
        event.time = Timestamp(around.0 + offset);
        if dice.pick(5) == 0 {
            event.time = event.time.floor(Span(30 * Span::MINUTE.0)).max(around.minus(Span(2 * Span::DAY.0)));
        }
    }
    world.clock.advance(around.0 + 2 * Span::DAY.0 - NOW.0);
    let times = world.events.iter().map(|event| event.time);
    let (first, last) = (times.clone().min().expect("events"), times.max().expect("events"));
    assert!(last.minus(Span(3 * Span::DAY.0)) > first, "{first:?} to {last:?} are no four days");
    world
}

/// Both halves of a view, cut at random.
async fn cut(world: &World, name: &str, dice: &mut Dice) {
    let view = world.view(name);
    let mut cuts = [0; 2];
    for partition in 0..2u32 {
        let boundaries = &world.boundaries[partition as usize];
        let cut = dice.pick(boundaries.len() as u64 - 1) as usize;
        cuts[partition as usize] = boundaries[cut];
        world.fold(&view, partition, dice.pick(cut as u64 + 1) as usize, world.end(partition)).await;
    }
    world.publish(&view, cuts).await;
}

/// Each row as the events between its own start and end say.
fn check_rows(events: &[&Event], points: &[Json], broken_down: bool) {
    for point in points {
        let [start, end] = ["start", "time"].map(|name| moment(point[name].as_str().expect("text")));
        assert!(start < end, "{point}");
        let carrier = point["carrier"].to_string();
        let inside = |e: &&&Event| start <= e.time && e.time < end && (!broken_down || e.carrier.to_json() == carrier);
        let (count, texts) = prices(&events.iter().filter(inside).copied().collect::<Vec<_>>());
        assert_eq!(point["count"], count, "{point}");
        assert_eq!(["sum", "min", "max"].map(|name| as_decimal(&point[name])), texts, "{point}");
    }
}

#[tokio::test]
async fn windows_of_every_shape_equal_a_recomputation_wherever_the_batch_is_cut() {
    let (mut rows, mut filled) = (0, 0);
    for seed in 0..48 {
        let (zone, around) = PLACES[seed as usize % PLACES.len()];
        let world = world_around(seed + 1, moment(around));
        cut(&world, "by_route", &mut Dice(seed + 77)).await;
        let router = router(world.serving().await);
        for shape in [
            "step=day",
            "step=week",
            "step=month",
            "step=year",
            "window=quarter",
            "cumulative=day&step=30m",
            "cumulative=week&step=day",
            "cumulative=month&step=week",
            "window=36h&step=day",
            "window=1d&step=week",
            "window=2h&step=25m",
            "window=30m&step=1h",
        ] {
            for dimension in ["", "&dimension=carrier"] {
                let uri = format!("{ROUTE}/spend?{shape}&tz={zone}&from=now-4d&limit=10000{dimension}");
                let response = get(&router, &uri).await;
                assert_eq!(response.status(), 200, "{uri}");
                let body = json(response).await;
                let events = covered(&world, &body["meta"]["stamp"], "merged");
                let points = body["points"].as_array().expect("points");
                check_rows(&events, points, !dimension.is_empty());
                rows += points.len();
                filled += points.iter().filter(|point| point["count"] != 0).count();
                if shape.starts_with("step=") && dimension.is_empty() {
                    // Buckets follow each other, so together they hold each event in the range once.
                    assert!(points.windows(2).all(|pair| pair[0]["time"] == pair[1]["start"]), "{uri}");
                    let total: u64 = points.iter().filter_map(|point| point["count"].as_u64()).sum();
                    assert_eq!(total, prices(&events).0, "{uri}");
                    for point in points.iter().filter(|_| zone == "Europe/Berlin") {
                        assert!(point["start"].as_str().is_some_and(|text| text.contains("T00:00:00+")), "{point}");
                    }
                }
            }
        }
    }
    assert!(rows > 10_000 && filled > 5_000, "{rows} {filled}");
}

/// A day of 23 hours, to the byte.
#[tokio::test]
async fn a_day_of_23_hours_is_answered_so() {
    let mut world = World::new(1);
    let begin = moment("2026-03-28T23:00:00Z");
    for (i, event) in world.events.iter_mut().enumerate() {
        event.time = Timestamp(begin.0 + (i as i64 - 12) * 15 * Span::MINUTE.0);
    }
    world.clock.advance(moment("2026-03-29T19:59:30Z").0 - NOW.0);
    cut(&world, "by_route", &mut Dice(9)).await;
    let router = router(world.serving().await);
    let ask =
        async |query: &str| json(get(&router, &format!("{ROUTE}/events.total?tz=Europe/Berlin&{query}")).await).await;
    let days = ask("step=day&from=2026-03-28&to=now").await;
    let golden = json!([
        {"time": "2026-03-29T00:00:00+01:00", "start": "2026-03-28T00:00:00+01:00", "partial": false, "value": 12},
        {"time": "2026-03-30T00:00:00+02:00", "start": "2026-03-29T00:00:00+01:00", "partial": true, "value": 88 + 4},
    ]);
    assert_eq!(days["points"], golden);
    assert_eq!((&days["window"], &days["meta"]["step"]), (&json!("day"), &json!("day")));
    assert_eq!(days["meta"]["from"], "2026-03-28T00:00:00+01:00");
    assert_eq!(days["meta"]["to"], "2026-03-30T00:00:00+02:00");
    assert_eq!(
        (&days["meta"]["tz"], &days["meta"]["tzdb"]),
        (&json!("Europe/Berlin"), &json!(chrono_tz::IANA_TZDB_VERSION))
    );
    // The hour from two to three never was: the third hour of the day begins at three.
    let hours = ask("cumulative=day&step=1h&from=2026-03-29&to=2026-03-29T05:00").await;
    let shown: Vec<(&str, u64)> = (hours["points"].as_array().expect("rows").iter())
        .map(|point| (point["time"].as_str().expect("text"), point["value"].as_u64().expect("a number")))
        .collect();
    let expected = [
        ("2026-03-29T01:00:00+01:00", 4),
        ("2026-03-29T03:00:00+02:00", 8),
        ("2026-03-29T04:00:00+02:00", 12),
        ("2026-03-29T05:00:00+02:00", 16),
    ];
    assert_eq!(shown, expected);
    assert_eq!(hours["window"], "cumulative day");
    let today = ask("cumulative=day").await;
    let golden = json!({"time": "2026-03-29T22:00:00+02:00", "start": "2026-03-29T00:00:00+01:00", "partial": true, "value": 84});
    assert_eq!(today["points"], json!([golden]));
    let csv =
        get(&router, &format!("{ROUTE}/events.total.csv?tz=Europe/Berlin&step=day&from=2026-03-28&to=2026-03-29"))
            .await;
    let text = String::from_utf8(bytes(csv).await).expect("text");
    assert_eq!(text, "time,start,partial,value\r\n2026-03-29T00:00:00+01:00,2026-03-28T00:00:00+01:00,false,12\r\n");
}

/// Set in the child processes of the test below.
const CHILD: &str = "SEAM_TEST_PRINTS_ANSWERS";

#[tokio::test]
async fn the_zone_of_the_host_takes_no_part() {
    if std::env::var_os(CHILD).is_some() {
        let world = world_around(11, moment("2026-03-29T01:00:00Z"));
        cut(&world, "by_route", &mut Dice(5)).await;
        let router = router(world.serving().await);
        let mut all = Vec::new();
        for tz in ["UTC", "Europe/Berlin", "Asia/Kathmandu"] {
            for shape in ["step=day", "cumulative=week&step=day", "window=1d&step=1d"] {
                let uri = format!("{ROUTE}/spend?{shape}&tz={tz}&from=2026-03-27&to=now&dimension=carrier");
                let response = get(&router, &uri).await;
                all.extend_from_slice(response.headers()["etag"].as_bytes());
                all.extend(bytes(response).await);
            }
        }
        return println!("answers {} {}", all.len(), blake3::hash(&all));
    }
    let printed = ["America/New_York", "Asia/Kolkata", "Europe/Berlin"].map(|zone| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["the_zone_of_the_host_takes_no_part", "--nocapture"]).env(CHILD, "1").env("TZ", zone);
        let output = command.output().expect("a child process");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find(|line| line.starts_with("answers ")).expect("the answers").to_owned()
    });
    assert_eq!(printed[0], printed[1]);
    assert_eq!(printed[0], printed[2]);
    let bytes: usize = printed[0].split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    assert!(bytes > 5_000, "{}", printed[0]);
}

#[tokio::test]
async fn rates_are_divided_by_the_time_that_is_covered() {
    // Data from 10:00 on, two events a minute; now is 11:00:30.
    let begin = moment("2026-01-05T10:00:00Z");
    for seed in 0..4 {
        let mut world = World::new(2);
        for (i, event) in world.events.iter_mut().enumerate() {
            event.time = Timestamp(begin.0 + (i as i64 % 60) * Span::MINUTE.0);
        }
        world.clock.advance(begin.0 + Span::HOUR.0 + 30 * Span::SECOND.0 - NOW.0);
        cut(&world, "by_route", &mut Dice(seed + 1)).await;
        let router = router(world.serving().await);
        let ask = async |query: &str| json(get(&router, &format!("{ROUTE}/{query}")).await).await;
        for (query, value, seconds) in [
            // All of the window is covered: two events a minute.
            ("events.total?window=10m&at=2026-01-05T10:30:00Z&per=minute", 2.0, 600),
            ("events.total?window=10m&at=2026-01-05T10:30:00Z&per=hour", 120.0, 600),
            ("events.total?window=10m&at=2026-01-05T10:30:00Z&per=30s", 1.0, 600),
            // It begins before the data.
            ("events.total?window=1h&at=2026-01-05T10:30:00Z&per=minute", 2.0, 1_800),
            // It ends after now.
            ("events.total?window=1h&at=2026-01-05T11:30:00Z&per=minute", 60.0 / 30.5, 1_830),
            ("events.total?step=day&at=2026-01-05T12:00:00Z&per=minute", 120.0 / 60.5, 3_630),
            ("events.rate?step=day&at=2026-01-05T12:00:00Z", 120.0 * 60.0 / 60.5, 3_630),
        ] {
            let body = ask(query).await;
            let point = &body["points"][0];
            assert_eq!(point["covered_seconds"], seconds, "{query} {body}");
            let shown = point["value"].as_f64().expect("a number");
            assert!((shown - value).abs() < 1e-12 * value, "{query} {shown}");
        }
        let before = ask("events.total?window=10m&at=2026-01-05T09:00:00Z&per=minute").await;
        assert_eq!(before["points"][0]["value"], json!(null));
        assert_eq!(ask("events.rate?window=5m").await["meta"]["per"], "1h");
        let average = ask("processing.latency?per=second").await;
        assert!(average["detail"].as_str().is_some_and(|d| d.contains("does not grow with time")), "{average}");
    }
}

#[tokio::test]
async fn the_top_groups_of_each_step_are_those_of_the_merged_answer() {
    for seed in 1..10 {
        let world = World::new(seed);
        cut(&world, "by_route", &mut Dice(seed)).await;
        let router = router(world.serving().await);
        let ask = async |metric: &str, query: &str| {
            let uri =
                format!("{ROUTE}/{metric}?from=now-3h&step=30m&window=1h&dimension=carrier,origin&limit=10000{query}");
            json(get(&router, &uri).await).await["points"].as_array().expect("rows").clone()
        };
        for metric in ["events.total", "spend"] {
            for fill in ["", "&fill=zero"] {
                let all = ask(metric, fill).await;
                let mut expected = all.clone();
                // Largest first, null last, equal ones by key: the whole answer is in the order of time and key.
                let rank = |point: &Json| point["value"].as_f64().unwrap_or(f64::NEG_INFINITY);
                expected.sort_by(|a, b| a["time"].as_str().cmp(&b["time"].as_str()).then(rank(b).total_cmp(&rank(a))));
                let mut shown: BTreeMap<String, usize> = BTreeMap::new();
                expected.retain(|point| {
                    let place = shown.entry(point["time"].to_string()).or_default();
                    *place += 1;
                    *place <= 3
                });
                assert_eq!(ask(metric, &format!("{fill}&top=3")).await, expected, "{metric} seed {seed}");
                assert!(expected.len() > 12);
            }
            let all = ask(metric, "&order=value").await;
            let least = ask(metric, "&order=value&top=1").await;
            assert_eq!(least.len(), 6);
            assert_eq!(least[0], all[0]);
        }
    }
}

/// Only what the log held at a time after a window counts as complete, whatever partition is idle.
#[tokio::test]
async fn final_answers_hold_complete_windows_only() {
    let world = World::new(6);
    let view = world.view("by_route");
    let log = Arc::new(MemoryLog::new(world.clock.clone()));
    let serving = Arc::new(serving_of(&world, log.clone()).await);
    let router = router(serving.clone());
    let place = |number: u32| Partition::new("clicks", number);
    // Partition 0 ends where the world does; nothing ever comes into partition 1.
    let end = world.end(0);
    world.fold(&view, 0, 0, end).await;
    world.fold(&view, 1, 0, 0).await;
    log.skip(&place(0), end).expect("skipped");
    let uri = |from: &str, to: &str| {
        format!("{ROUTE}/events.total?window=5m&from=2025-12-31T{from}:00Z&to=2026-01-01T{to}:00Z&final=true")
    };
    let (early, late) = (uri("23:31", "00:01"), uri("23:41", "00:11"));
    let ask = async |uri: &str| {
        let response = get(&router, uri).await;
        let tag = response.headers()["etag"].to_str().expect("text").to_owned();
        (json(response).await, tag)
    };
    let shown = |body: &Json| body["points"].as_array().map(Vec::len);
    // The log was looked at when it was empty, at 00:00:30: windows that end later are not complete.
    let (body, first) = ask(&early).await;
    assert_eq!((shown(&body), &body["meta"]["left_out"]), (Some(5), &json!(1)), "{body}");
    assert_eq!(body["meta"]["final_through"], "2025-12-31T23:56:00Z");
    // Time passes; without a look at the log nothing more is known, and the answer is the same one.
    world.clock.advance(29_000_000);
    let (again, same) = ask(&early).await;
    assert_eq!((&again, &same), (&body, &first));
    world.clock.advance(1_000_000);
    serving.refresh().await.expect("refreshed");
    let (body, second) = ask(&early).await;
    assert_eq!(
        (shown(&body), &body["meta"]["left_out"], &body["meta"]["why"]),
        (Some(6), &json!(0), &json!(null)),
        "{body}"
    );
    assert_eq!(body["meta"]["final_through"], "2026-01-01T00:01:00Z");
    assert_ne!(first, second);
    let plain = json(get(&router, &early.replace("&final=true", "")).await).await;
    assert_eq!(plain["points"], body["points"]);
    // One more record: until it is folded, windows that end after the last look before it are not complete.
    log.skip(&place(0), 1).expect("skipped");
    world.clock.advance(600_000_000);
    serving.refresh().await.expect("refreshed");
    let (body, _) = ask(&late).await;
    assert_eq!((shown(&body), &body["meta"]["left_out"]), (Some(4), &json!(2)), "{body}");
    assert!(body["meta"]["why"].as_str().is_some_and(|why| why.contains("consumed to the log's end")), "{body}");
    // The newest complete window, without a range.
    let (newest, _) = ask(&format!("{ROUTE}/events.total?window=5m&final=true")).await;
    assert_eq!(newest["points"][0]["time"], "2026-01-01T00:01:00Z");
    // A partition that is behind from the start on: nothing is known to be complete, and it says so.
    let behind = Arc::new(serving_of(&world, log.clone()).await);
    let router = crate::http::router(behind);
    let body = json(get(&router, &late).await).await;
    assert_eq!((shown(&body), &body["meta"]["final_through"]), (Some(0), &json!(null)));
    assert!(body["meta"]["why"].as_str().is_some_and(|why| why.contains("clicks/0")), "{body}");
    let refused = json(get(&router, &format!("{late}&layer=speed")).await).await;
    assert_eq!(refused["status"], 400);
    // Without a log at all.
    let router = crate::http::router(world.serving().await);
    let body = json(get(&router, &late).await).await;
    assert!(body["meta"]["why"].as_str().is_some_and(|why| why.contains("how far the log reaches")), "{body}");
}

async fn serving_of(world: &World, log: Arc<MemoryLog>) -> crate::Serving {
    let stores = Stores { log: Some(log), state: world.state.clone(), lake: world.lake.clone() };
    let settings = Settings { share_snapshots_for: Duration::ZERO, ..Settings::default() };
    let telemetry = Arc::new(Telemetry::new());
    let serving = crate::Serving::new(world.config.clone(), stores, world.clock.clone(), telemetry, settings);
    serving.refresh().await.expect("refreshed");
    serving
}

#[tokio::test]
async fn roll_ups_change_no_byte_of_an_answer() {
    let questions = [
        "spend?window=3d",
        "spend?dimension=origin&window=2d&order=-value",
        "spend?dimension=carrier,origin&window=1d&step=6h&from=now-4d",
        "processing.latency?dimension=carrier:UA&window=7h&step=35m&from=now-3d",
        "events.total?from=now-4d&step=1d&window=1d",
        "errors.rate?dimension=carrier&window=26h&step=1h&from=now-3d",
        "events.total?from=now-3d&step=1d&tz=Asia/Kathmandu",
        "events.rate?from=now-3d&step=1d&tz=Europe/Berlin",
        "share?window=1d&step=25m&from=now-2d&limit=200",
        "events.total?window=4m&step=5m&from=now-1d",
    ];
    let mut rolled = 0;
    for seed in 0..24 {
        let around = moment(PLACES[seed as usize % PLACES.len()].1);
        let [with, mut without] = [0; 2].map(|_| {
            let mut world = world_around(seed, around);
            let mut dice = Dice(seed + 29);
            for event in &mut world.events {
                // Over all four days, some of them together, some on the boundaries of hours and days.
                let seconds = dice.pick(4 * 86_400) as i64 / [1, 1, 1_200, 86_400][dice.pick(4) as usize];
                let unit = [1, 1, 1_200, 86_400][dice.pick(4) as usize];
                let place = (seconds.saturating_mul(unit) % (4 * 86_400)) * Span::SECOND.0;
                event.time = Timestamp(around.0 - 2 * Span::DAY.0 + place);
            }
            world
        });
        without.rolled = false;
        let mut dice = Dice(seed + 91);
        let skew = dice.pick(7_200) as i64 * Span::SECOND.0;
        for world in [&with, &without] {
            let mut dice = Dice((seed + 17) * 0x9E37_79B9);
            for _ in 0..16 {
                dice.pick(2);
            }
            world.clock.advance(skew);
            for name in ["by_route", "by_carrier"] {
                cut(world, name, &mut dice).await;
            }
        }
        let routers = [router(with.serving().await), router(without.serving().await)];
        let view = with.view("by_route");
        let generation = with.serving().await.batch_view(&view).pin().expect("a generation");
        rolled += generation.files.iter().map(|file| file.rollups.len()).sum::<usize>();
        for question in questions {
            let uri = format!("{ROUTE}/{question}");
            let [a, b] = [get(&routers[0], &uri).await, get(&routers[1], &uri).await];
            assert_eq!(a.headers().get("etag"), b.headers().get("etag"), "seed {seed}: {uri}");
            let [a, b] = [bytes(a).await, bytes(b).await];
            assert_eq!(String::from_utf8_lossy(&a), String::from_utf8_lossy(&b), "seed {seed}: {uri}");
            // What is held in the cache now is answered from, too.
            let again = bytes(get(&routers[0], &format!("{uri}&timeout=9s")).await).await;
            assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&b), "seed {seed}: {uri} again");
        }
    }
    assert!(rolled > 300, "{rolled} roll-ups");
}
