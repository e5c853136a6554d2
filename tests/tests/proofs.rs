//! What `seam test` runs: the tests of a file, random streams against its views; and that both find what is wrong.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seam_proof::dice::Dice;
use seam_proof::expected;
use seam_proof::random::{self, Options};
use seam_proof::trial::{Record, by_offset, cut_anywhere, run};
use seam_serving::query::Question;
use seam_serving::{Serving, Settings, Stores};
use seam_shared::access::Caller;
use seam_shared::clock::ManualClock;
use seam_shared::config::{self, Config};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use serde_json::Value;

fn load(text: &str) -> Config {
    config::load(text, "seam.yaml").unwrap_or_else(|report| panic!("{report}"))
}

fn web() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/web/seam.yaml");
    std::fs::read_to_string(file).unwrap()
}

#[tokio::test]
async fn the_tests_of_the_example_pass_in_every_layer_and_a_wrong_one_fails() {
    let config = load(&web());
    assert!(config.tests.len() >= 4);
    for case in &config.tests {
        let outcome = expected::run(&config, case).await.unwrap();
        assert_eq!(outcome.failures, Vec::<String>::new(), "{}", outcome.name);
        // speed, batch, and merged with the seam before, between and behind the events
        assert_eq!(outcome.answers, 2 + case.events.len() + 1);
    }
    let mut wrong = config.tests[0].clone();
    wrong.expect[0].insert("value".to_owned(), 4.into());
    let outcome = expected::run(&config, &wrong).await.unwrap();
    assert_eq!(outcome.failures.len(), 3, "{:?}", outcome.failures);
    let mut fewer = config.tests[0].clone();
    fewer.expect.pop();
    assert!(expected::run(&config, &fewer).await.unwrap().failures[0].contains("was not expected"));
}

fn options(streams: u64) -> Options {
    Options { seed: 1, streams, events: 10, samples: Vec::new() }
}

#[tokio::test]
async fn random_streams_agree_at_every_place_of_the_seam() {
    let tried =
        random::run(&load(&web()), &options(12), &by_offset).await.unwrap().unwrap_or_else(|found| panic!("{found:?}"));
    assert!(tried.streams == 12 && tried.cuts > tried.streams * 3, "{tried:?}");
}

/// The join of everybody else: the speed layer has what is newer than the newest of batch.
fn by_time(view: &View, batch: &Rows, speed: &Rows) -> Rows {
    let newest = batch.panes.iter().max().copied();
    let newer: Vec<u32> =
        (0..speed.len() as u32).filter(|i| newest.is_none_or(|n| speed.panes[*i as usize] > n)).collect();
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    groups.merge(batch);
    groups.merge(&speed.gather(&newer));
    groups.into_rows()
}

#[tokio::test]
async fn a_join_at_a_time_is_found_and_shrunk_to_two_events() {
    let found = random::run(&load(&web()), &options(20), &by_time).await.unwrap().unwrap_err();
    assert_eq!((found.records.len(), found.cut), (2, 1), "{found:?}");
}

/// Sessions by user from sorted times, each in the window that it begins in: how many, how many of one event, all events.
fn recount(events: &[(u64, i64)], gap: i64, window: i64) -> BTreeMap<i64, (u64, u64, u64)> {
    let mut users: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    events.iter().for_each(|(user, time)| users.entry(*user).or_default().push(*time));
    let mut out: BTreeMap<i64, (u64, u64, u64)> = BTreeMap::new();
    for times in users.values_mut() {
        times.sort_unstable();
        for session in times.chunk_by(|a, b| b - a <= gap) {
            let of_window = out.entry((session[0].div_euclid(window) + 1) * window).or_default();
            of_window.0 += 1;
            of_window.1 += u64::from(session.len() == 1);
            of_window.2 += session.len() as u64;
        }
    }
    out
}

#[tokio::test]
async fn sessions_count_whole_where_they_begin_wherever_the_seam_lies() {
    const CONFIG: &str = "
version: 1
sources: { hits: { map: { id: $.id, time: $.time }, fields: { visitor: int, page: string } } }
views:
  visits: { from: hits, dimensions: [], pane: 5m, windows: [1h], measures: { visits: 'sessions(visitor, 20m)' } }
metrics: { visits: { view: visits, measure: visits } }
";
    const MINUTE: i64 = 60_000_000;
    let config = Arc::new(cut_anywhere(&load(CONFIG)));
    let (base, mut compared) = (1_767_225_600_000_000_i64, 0);
    for seed in 0..12 {
        let dice = Dice::new(seed);
        let events: Vec<(u64, i64)> =
            (0..40).map(|_| (dice.below(4), base + dice.below(6 * 60 * 6) as i64 * MINUTE / 6)).collect();
        let record = |(id, (user, time)): (usize, &(u64, i64))| {
            let time = Timestamp(*time).to_rfc3339();
            let text = format!("{{\"id\":{id},\"time\":\"{time}\",\"visitor\":{user}}}");
            Record { partition: 0, value: Bytes::from(text) }
        };
        let records: Vec<Record> = events.iter().enumerate().map(record).collect();
        let cut = dice.below(records.len() as u64 + 1) as usize;
        let pipeline = run(&config.sources[0], &config.views, &records, cut).await.unwrap();
        let stores =
            Stores { log: Some(pipeline.log.clone()), state: pipeline.state.clone(), lake: pipeline.lake.clone() };
        let clock = Arc::new(ManualClock::at(Timestamp(base + 12 * 60 * MINUTE)));
        let settings = Settings { share_snapshots_for: Duration::ZERO, ..Settings::default() };
        let serving = Serving::new(config.clone(), stores, clock, Arc::new(Telemetry::new()), settings);
        serving.refresh().await.unwrap();
        let expected = recount(&events, 20 * MINUTE, 60 * MINUTE);
        // All hours at once, and each by itself: sessions that begin before a window or go on behind it.
        let hours = (0..6).map(|hour| (hour, hour + 1)).chain([(0, 6)]);
        for (from, to) in hours {
            let time = |hour: i64| Timestamp(base + hour * 60 * MINUTE);
            let parameters =
                [("window", "1h".to_owned()), ("from", time(from).to_rfc3339()), ("to", time(to).to_rfc3339())];
            let parameters: Vec<(String, String)> = parameters.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
            let query = serving.parse(&Caller::trusted(), "visits", &parameters).unwrap();
            let answer = serving.answer(&Question::from(query), None).await.unwrap();
            let body: Value = serde_json::from_slice(&answer.body.unwrap()).unwrap();
            for point in body["points"].as_array().unwrap() {
                let end = Timestamp::parse_rfc3339(point["time"].as_str().unwrap()).unwrap();
                let number = |name: &str| point[name].as_u64().unwrap();
                let found = (number("value"), number("bounces"), number("events"));
                assert_eq!(found, expected.get(&end.0).copied().unwrap_or_default(), "seed {seed}, cut {cut}: {point}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 12 * 12, "{compared}");
}
