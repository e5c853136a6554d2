//! Exactly once, whatever dies: seeded streams with late events and duplicates, the seam at every place, writes that fail before and after
//! they are stored, processes that die, and two that think they are the one. Everything written is compared with a plain recount.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seam_shared::outlet::Record;
use seam_shared::outlet::memory::{Fate, MemoryPlace};
use seam_shared::telemetry::ViewLabels;
use seam_shared::time::{Span, Timestamp};
use seam_sinks::sinker::{Sinker, Step};
use serde_json::Value;

use crate::world::{START, World, file};

struct Dice(u64);

impl Dice {
    fn pick(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

async fn produce(world: &mut World, dice: &mut Dice) {
    for _ in 0..1 + dice.pick(12) {
        let now = seam_shared::clock::Clock::now(world.clock.as_ref());
        let late = if dice.pick(3) == 0 { dice.pick(600) } else { dice.pick(30) } as i64;
        let time = Timestamp(START.0.max(now.minus(Span(late * 1_000_000)).0));
        let page = ["/a", "/b", "/c", "bot"][dice.pick(4) as usize];
        let id = dice.pick(120).to_string();
        world.event(dice.pick(2) as u32, &id, time, page, dice.pick(5) as i64).await;
    }
    world.clock.advance(dice.pick(40_000_000) as i64);
}

/// What a sink did, by what can happen to it. `faults`: whether writes fail and processes die.
async fn run(seed: u64, measures: &str, sink: &str, faults: bool) -> (World, Vec<Record>) {
    run_with(seed, measures, sink, faults, 1 << 20).await
}

/// The same with so many bytes of memory of what was written.
async fn run_with(seed: u64, measures: &str, sink: &str, faults: bool, memory: usize) -> (World, Vec<Record>) {
    let mut dice = Dice(seed * 2 + 1);
    let mut world = World::new(&file(measures, sink)).await;
    let place = MemoryPlace::default();
    let new = |world: &World| world.sinker(Arc::new(place.outlet())).remembering(memory);
    let mut sinkers: Vec<Sinker> = vec![new(&world), new(&world)];
    // Before the first fold there is no answer; to look for one again takes time.
    if !seed.is_multiple_of(10) {
        world.fold(0).await;
    }
    for _ in 0..80 {
        match dice.pick(10) {
            0..3 => produce(&mut world, &mut dice).await,
            3 | 4 => world.fold(dice.pick(2) as u32).await,
            5 => world.publish(|| dice.pick(2) == 0).await,
            6 => world.serving.refresh().await.expect("refreshed"),
            7 if faults => {
                let fates = (0..3).map(|_| [None, Some(Fate::Lost), Some(Fate::Unanswered)][dice.pick(3) as usize]);
                place.doom(fates.collect::<Vec<_>>());
            }
            _ => {
                let who = if faults { dice.pick(2) as usize } else { 0 };
                // What fails is tried again later; what dies forgets everything.
                let stepped = sinkers[who].step().await;
                assert!(faults || stepped.is_ok(), "{stepped:?}");
                if faults && dice.pick(4) == 0 {
                    sinkers[who] = new(&world);
                }
            }
        }
    }
    place.doom([]);
    world.fold(0).await;
    world.fold(1).await;
    world.clock.advance(2 * Span::HOUR.0);
    world.serving.refresh().await.expect("refreshed");
    let mut last = new(&world);
    last.step().await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(last.step().await.expect("nothing fails"), Step::Nothing, "seed {seed}");
    let records = place.records();
    (world, records)
}

/// Each record says what a recount of its coverage says; answers with the records by key, in order.
fn check_each(world: &World, records: &[Record], seed: u64) -> BTreeMap<(String, String), Vec<Value>> {
    let mut by_key: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for record in records {
        let key: Value = serde_json::from_slice(&record.key).expect("JSON");
        let value: Value = serde_json::from_slice(&record.value).expect("JSON");
        assert_eq!((&key["start"], &key["group"]), (&value["start"], &value["group"]));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let place = (text(&key["start"]), text(&key["group"]["page"]));
        let recount = world.recount(value["stamp"]["coverage"].as_str().expect("a coverage"));
        let (events, most) = recount.get(&place).copied().unwrap_or_default();
        let measures = &value["measures"];
        assert!(measures.get("events").is_none_or(|said| *said == events), "seed {seed}: {value} is {events}");
        assert_eq!(measures["most"], most, "seed {seed}: {value}");
        by_key.entry(place).or_default().push(value);
    }
    by_key
}

#[tokio::test]
async fn update_writes_each_change_once_whatever_dies() {
    let sink = "{ topic: out, mode: update, trigger: 1s }";
    for (measures, seeds) in [("{ events: count(), most: max(n) }", 0..60), ("{ most: max(n) }", 60..120)] {
        let (mut repeated, mut olds) = (0, 0);
        for seed in seeds {
            let (world, records) = run(seed, measures, sink, true).await;
            let by_key = check_each(&world, &records, seed);
            let whole = world.recount(&world.end().await);
            assert_eq!(by_key.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>(), "seed {seed}");
            for (place, values) in &by_key {
                let last = &values[values.len() - 1]["measures"];
                assert_eq!(last["most"], whole[place].1, "seed {seed}");
                assert!(last.get("events").is_none_or(|events| *events == whole[place].0), "seed {seed}");
                for pair in values.windows(2) {
                    assert_ne!(pair[0]["measures"], pair[1]["measures"], "seed {seed}: {place:?} is there twice");
                    assert_eq!(pair[1]["old"], pair[0]["measures"], "seed {seed}");
                    olds += 1;
                }
                assert_eq!(values[0].get("old"), None, "seed {seed}");
                repeated += usize::from(values.len() > 1);
            }
        }
        assert!(repeated > 50 && olds > 50, "the run was a test: {repeated} {olds}");
    }
}

/// The log alone says what changed: a count changes with every event that counts, and with nothing else.
#[tokio::test]
async fn update_of_a_count_needs_no_memory() {
    let mut changes = 0;
    for seed in 120..180 {
        let sink = "{ topic: out, mode: update, trigger: 1s }";
        let (world, records) = run_with(seed, "{ events: count(), most: max(n) }", sink, true, 0).await;
        for (place, values) in check_each(&world, &records, seed) {
            for pair in values.windows(2) {
                let events = |value: &Value| value["measures"]["events"].as_u64().expect("a count");
                assert!(events(&pair[0]) < events(&pair[1]), "seed {seed}: {place:?} is there twice: {pair:?}");
                changes += 1;
            }
        }
    }
    assert!(changes > 50, "the run was a test: {changes}");
}

#[tokio::test]
async fn append_writes_each_group_once_and_counts_what_is_late() {
    let (mut written, mut late) = (0, 0);
    for seed in 200..260 {
        let faults = seed % 2 == 0;
        let sink = "{ topic: out, mode: append, trigger: 1s, window: 2m }";
        let (world, records) = run(seed, "{ events: count(), most: max(n) }", sink, faults).await;
        let by_key = check_each(&world, &records, seed);
        assert!(by_key.values().all(|values| values.len() == 1), "seed {seed}: a group is there twice");
        let whole = world.recount(&world.end().await);
        let events = |value: &Value| value["measures"]["events"].as_u64().expect("a count");
        let in_output: u64 = by_key.values().map(|values| events(&values[0])).sum();
        let in_all: u64 = whole.values().map(|(events, _)| events).sum();
        let labels = ViewLabels { view: "clicks_per_minute".to_owned() };
        let too_late = world.telemetry.sink_late_events.get_or_create(&labels).get();
        if faults {
            assert!(in_output + too_late <= in_all, "seed {seed}");
        } else {
            assert_eq!(in_output + too_late, in_all, "seed {seed}: every event is written or counted as late");
        }
        (written, late) = (written + in_output, late + too_late);
    }
    assert!(written > 500 && late > 50, "the run was a test: {written} {late}");
}

#[tokio::test]
async fn complete_writes_all_groups_of_one_moment_together() {
    for seed in 300..330 {
        let sink = "{ topic: out, mode: complete, trigger: 1s }";
        let (world, records) = run(seed, "{ events: count(), most: max(n) }", sink, true).await;
        check_each(&world, &records, seed);
        let mut outputs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in &records {
            let value: Value = serde_json::from_slice(&record.value).expect("JSON");
            let coverage = value["stamp"]["coverage"].as_str().expect("a coverage").to_owned();
            let key = String::from_utf8(record.key.to_vec()).expect("UTF-8");
            assert!(outputs.entry(coverage).or_default().insert(key), "seed {seed}: an output is there twice");
        }
        for (coverage, keys) in outputs {
            assert_eq!(keys.len(), world.recount(&coverage).len(), "seed {seed}");
        }
    }
}
