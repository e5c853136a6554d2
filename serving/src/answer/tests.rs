//! Answers equal a plain recomputation at their own stamp, for any generation boundary, speed floor and layer.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectStoreExt;
use seam_shared::Result;
use seam_shared::log::{Offset, OffsetVector, Partition};
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{Committed, Progress, Snapshot, StateStore, ViewCommit, ViewId};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::rows::Rows;
use seam_shared::view::value::{Value, decimal_text};
use serde_json::Value as Json;

use crate::Settings;
use crate::block::Block;
use crate::cache::BlockCache;
use crate::http::router;
use crate::query::{Query, Question};
use crate::scan::{Access, Scan};
use crate::testing::{Dice, Event, NOW, World, excluded, get, json};

mod windows;

/// What one row should say of the price: count, sum, min and max, each in its JSON spelling.
fn prices(events: &[&Event]) -> (u64, [String; 3]) {
    let prices: Vec<i128> = events.iter().filter_map(|e| e.price).collect();
    let text = |number: Option<i128>| number.map_or("null".to_owned(), |n| decimal_text(n, 2));
    let sum = (!prices.is_empty()).then(|| prices.iter().sum());
    (prices.len() as u64, [text(sum), text(prices.iter().min().copied()), text(prices.iter().max().copied())])
}

/// The events that a layer's answer claims to count.
fn covered<'w>(world: &'w World, stamp: &Json, layer: &str) -> Vec<&'w Event> {
    let vector = |text: &str| OffsetVector::parse_text(text).expect("a vector").remove("clicks").unwrap_or_default();
    let coverage = vector(stamp["coverage"].as_str().expect("text"));
    let from = match layer {
        "speed" => vector(stamp["views"][0]["speed_from"]["text"].as_str().expect("text")),
        _ => OffsetVector::default(),
    };
    let counts = |e: &&Event| (from.get(e.partition).0..coverage.get(e.partition).0).contains(&e.offset);
    world.events.iter().filter(counts).collect()
}

fn check(world: &World, body: &Json, layer: &str, window: Span, broken_down: bool) {
    let events = covered(world, &body["meta"]["stamp"], layer);
    let mut expected: BTreeMap<(String, Value), Vec<&Event>> = BTreeMap::new();
    for i in 1..=36 {
        let end = Timestamp(NOW.floor(Span::MINUTE).0 - 3 * Span::HOUR.0 + i * 5 * Span::MINUTE.0);
        let inside = |e: &&&Event| end.minus(window) <= e.time && e.time < end;
        if !broken_down {
            expected.insert((end.to_rfc3339(), Value::Null), events.iter().filter(inside).copied().collect());
        } else {
            for event in events.iter().filter(inside) {
                expected.entry((end.to_rfc3339(), event.carrier.clone())).or_default().push(event);
            }
        }
    }
    let points = body["points"].as_array().expect("points");
    assert_eq!(points.len(), expected.len());
    for (((time, carrier), events), point) in expected.iter().zip(points) {
        assert_eq!(point["time"], time.as_str());
        if broken_down {
            assert_eq!(point["carrier"].to_string(), carrier.to_json());
        }
        let (count, texts) = prices(events);
        assert_eq!(point["count"], count, "{point}");
        let shown = ["sum", "min", "max"].map(|name| as_decimal(&point[name]));
        assert_eq!(shown, texts, "{point}");
    }
}

fn as_decimal(number: &Json) -> String {
    number.as_f64().map_or("null".to_owned(), |f| decimal_text((f * 100.0).round() as i128, 2))
}

#[tokio::test]
async fn the_stamp_says_what_counts_nowhere_where_that_is_known() {
    let world = World::new(4);
    let view = world.view("by_route");
    let ask = async |layer: &str| {
        let router = router(world.serving().await);
        let body = json(get(&router, &format!("/api/analytics/metrics/spend?layer={layer}")).await).await;
        body["meta"]["stamp"]["views"][0].clone()
    };
    // Each half says it up to where it reaches; the answer takes, in each partition, what is said where it ends.
    let cuts = [world.boundaries[0][2], world.boundaries[1][1]];
    world.publish(&view, cuts).await;
    world.fold(&view, 0, 1, world.end(0)).await;
    let sum = |offsets: [u64; 2]| {
        let [a, b] = offsets.map(excluded);
        serde_json::json!({ "invalid": a.invalid + b.invalid, "duplicates": a.duplicates + b.duplicates })
    };
    assert_eq!(ask("merged").await["excluded"], sum([world.end(0), cuts[1]]));
    assert_eq!(ask("batch").await["excluded"], sum(cuts));
    assert_eq!(ask("speed").await["excluded"], Json::Null, "it begins in mid-log");
    // A commit by a process that does not say it.
    let place = Partition::new("clicks", 0);
    let held = world.state.snapshot(&place, std::slice::from_ref(&view.id)).await.expect("held");
    let progress = held[0].as_ref().expect("folded").progress;
    let silent = Progress { position: Offset(world.end(0) + 1), excluded: None, ..progress };
    let commit = ViewCommit { view: view.id.clone(), from: progress.position, progress: silent, segments: Vec::new() };
    assert_eq!(world.state.commit(&place, vec![commit]).await.expect("committed"), Committed::Applied);
    assert_eq!(ask("merged").await["excluded"], Json::Null);
}

#[tokio::test]
async fn every_answer_equals_a_recomputation_at_its_own_stamp() {
    let mut answered = 0;
    for seed in 1..=40 {
        let world = World::new(seed);
        let view = world.view("by_route");
        let mut dice = Dice(seed + 77);
        let mut cuts = [0; 2];
        for partition in 0..2u32 {
            let boundaries = &world.boundaries[partition as usize];
            // The last boundary is the log's end, which closes no segment.
            let cut = dice.pick(boundaries.len() as u64 - 1);
            let floor = dice.pick(cut + 1) as usize;
            cuts[partition as usize] = boundaries[cut as usize];
            let position = boundaries[floor] + dice.pick(world.end(partition) - boundaries[floor] + 1);
            if dice.pick(6) > 0 {
                world.fold(&view, partition, floor, position).await;
            }
        }
        world.publish(&view, cuts).await;
        let router = router(world.serving().await);
        for layer in ["merged", "batch", "speed"] {
            for (window, dimension) in
                [("5m", ""), ("20m", ""), ("5m", "&dimension=carrier"), ("1h", "&dimension=carrier")]
            {
                let uri = format!(
                    "/api/analytics/metrics/spend?from=now-3h&step=5m&limit=10000&window={window}&layer={layer}{dimension}"
                );
                let response = get(&router, &uri).await;
                if response.status() == 503 && layer == "speed" {
                    continue;
                }
                assert_eq!(response.status(), 200, "seed {seed} {uri}");
                let window = Span::parse(window).expect("a span");
                check(&world, &json(response).await, layer, window, !dimension.is_empty());
                answered += 1;
            }
        }
    }
    assert!(answered > 400, "{answered}");
}

#[tokio::test]
async fn a_floor_above_the_generation_is_never_papered_over() {
    let world = World::new(5);
    let view = world.view("by_route");
    world.hold(&view, 2, None).await;
    let router = router(world.serving().await);
    let uri = "/api/analytics/metrics/events.total?window=3h";
    let refused = get(&router, uri).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(json(refused).await["detail"].as_str().expect("text").contains("is being built"));
    // A generation below the floor leaves a gap; one inside a segment overlaps; one at a boundary above the floor meets.
    let cuts = |i: usize| [world.boundaries[0][i], world.boundaries[1][i]];
    world.publish(&view, cuts(1)).await;
    assert_eq!(get(&router, uri).await.status(), 503);
    let inside = [world.boundaries[0][3] - 1, world.boundaries[1][3] - 1];
    if inside[0] > world.boundaries[0][2] && inside[1] > world.boundaries[1][2] {
        world.publish(&view, inside).await;
        assert_eq!(get(&router, uri).await.status(), 503);
    }
    world.publish(&view, cuts(3)).await;
    let body = json(get(&router, uri).await).await;
    let inside = |e: &&Event| e.time.0 >= NOW.ceil(Span::MINUTE).0 - 3 * Span::HOUR.0;
    assert_eq!(body["points"][0]["value"], world.events.iter().filter(inside).count() as u64);
    assert_eq!(body["meta"]["stamp"]["complete"], true);
}

#[tokio::test]
async fn without_state_the_generation_answers_alone_and_the_stamp_says_so() {
    let world = World::new(9);
    let view = world.view("by_route");
    let serving = world.serving().await;
    let router = router(serving.clone());
    let uri = "/api/analytics/metrics/events.total?window=4h";
    assert_eq!(get(&router, uri).await.status(), 503, "nothing to answer from");
    world.publish(&view, [world.boundaries[0][2], 0]).await;
    world.fold(&view, 1, 0, world.end(1)).await;
    serving.refresh().await.expect("refreshed");
    let body = json(get(&router, uri).await).await;
    let stamp = &body["meta"]["stamp"];
    assert_eq!(stamp["complete"], false);
    assert_eq!(stamp["missing"][0]["partition"], "clicks/0");
    assert_eq!(stamp["coverage"], format!("clicks/0@{},clicks/1@{}", world.boundaries[0][2], world.end(1)));
    assert_eq!(body["points"][0]["value"], covered(&world, stamp, "merged").len() as u64);
    let shares = &stamp["views"][0]["shares"];
    let (batch, speed) = (&shares["batch"]["events"], &shares["speed"]["events"]);
    assert_eq!(batch.as_u64().zip(speed.as_u64()).map(|(b, s)| b + s), body["points"][0]["value"].as_u64());
    world.state.flush_all();
    let body = json(get(&router, uri).await).await;
    assert_eq!(body["meta"]["stamp"]["coverage"], format!("clicks/0@{},clicks/1@0", world.boundaries[0][2]));
}

/// A state store that can be cut off.
#[derive(Debug)]
struct CutOff {
    inner: Arc<MemoryState>,
    away: AtomicBool,
    asked: AtomicU64,
}

impl CutOff {
    async fn reached<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) { Err(seam_shared::Error::unavailable("refused")) } else { answer.await }
    }
}

#[async_trait]
impl StateStore for CutOff {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        self.reached(self.inner.commit(partition, commits)).await
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        self.reached(self.inner.claim(partition, view, boundary)).await
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        self.reached(self.inner.snapshot(partition, views)).await
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        self.reached(self.inner.segment(partition, view, start)).await
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        self.reached(self.inner.trim(partition, view, floor)).await
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        self.reached(self.inner.forget(partition, view)).await
    }
}

#[tokio::test]
async fn a_state_store_that_is_away_leaves_the_generation_which_the_stamp_calls_stale() {
    let world = World::new(9);
    let view = world.view("by_route");
    let store = CutOff { inner: world.state.clone(), away: AtomicBool::new(true), asked: AtomicU64::new(0) };
    let store = Arc::new(store);
    let settings = Settings { share_snapshots_for: Duration::ZERO, ..Settings::default() };
    let serving = world.serving_from(store.clone(), settings).await;
    let router = router(serving.clone());
    let uri = "/api/analytics/metrics/events.total?window=4h";
    assert_eq!(get(&router, uri).await.status(), 503, "nothing to answer from");
    let cuts = [world.boundaries[0][2], world.boundaries[1][3]];
    world.publish(&view, cuts).await;
    world.hold(&view, 0, None).await;
    serving.refresh().await.expect("refreshed");
    store.asked.store(0, Ordering::Relaxed);
    let mut tags = Vec::new();
    for _ in 0..20 {
        let response = get(&router, uri).await;
        tags.push(response.headers()["etag"].clone());
        let body = json(response).await;
        let stamp = &body["meta"]["stamp"];
        assert_eq!((&stamp["complete"], &stamp["stale"]), (&Json::Bool(false), &Json::Bool(true)));
        assert_eq!(stamp["missing"].as_array().map(Vec::len), Some(2));
        assert_eq!(stamp["missing"][1]["why"], "the state store cannot be reached");
        assert_eq!(stamp["coverage"], format!("clicks/0@{},clicks/1@{}", cuts[0], cuts[1]));
        assert_eq!(body["points"][0]["value"], covered(&world, stamp, "merged").len() as u64);
    }
    assert!(store.asked.load(Ordering::Relaxed) < 10, "a store that is away is not asked for every answer");
    assert_eq!(get(&router, &format!("{uri}&layer=speed")).await.status(), 503);
    let wanted = format!("{uri}&min_position=clicks/0@{}&timeout=1s", world.end(0));
    assert_eq!(get(&router, &wanted).await.status(), 503, "what was promised is not given up for an answer");
    store.away.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let response = get(&router, uri).await;
    assert!(!tags.contains(&response.headers()["etag"]), "another answer, another tag");
    let stamp = json(response).await["meta"]["stamp"].clone();
    assert_eq!((&stamp["complete"], &stamp["stale"]), (&Json::Bool(true), &Json::Bool(false)));
    assert_eq!(stamp["coverage"], format!("clicks/0@{},clicks/1@{}", world.end(0), world.end(1)));
}

#[tokio::test]
async fn a_finished_answer_is_kept_under_its_tag_as_long_as_there_is_room() {
    let world = World::new(3);
    let view = world.view("by_route");
    world.hold(&view, 0, None).await;
    assert_eq!(Settings::default().answer_bytes, 64 * 1024 * 1024);
    for (answer_bytes, kept) in [(64 * 1024, true), (1_024, false)] {
        let serving = world.serving_with(Settings { answer_bytes, ..Settings::default() }).await;
        let parameters = [("dimension".to_owned(), "carrier".to_owned()), ("window".to_owned(), "3h".to_owned())];
        let query = serving.parse(&seam_shared::access::Caller::trusted(), "events.total", &parameters).expect("valid");
        let question = Question::from(query.clone());
        let mut bodies = Vec::new();
        for _ in 0..3 {
            bodies.push(serving.answer(&question, None).await.expect("answered").body.expect("a body"));
        }
        let [once, first, second] = <[_; 3]>::try_from(bodies).expect("three");
        assert_eq!(once, first);
        assert_ne!(once.as_ptr(), first.as_ptr(), "what is asked once is not kept");
        assert!(first.len() > 1_024 && first.len() < 64 * 1024);
        assert_eq!(first, second);
        assert_eq!(first.as_ptr() == second.as_ptr(), kept);
        for limit in 0..500 {
            let other = Question::from(Query { limit: limit + 1, ..query.clone() });
            other.asked.store(true, Ordering::Relaxed);
            serving.answer(&other, None).await.expect("answered");
        }
        assert!(serving.answers.bytes() <= answer_bytes, "{}", serving.answers.bytes());
        let third = serving.answer(&question, None).await.expect("answered").body.expect("a body");
        assert_eq!(third, first);
        assert_ne!(third.as_ptr(), first.as_ptr(), "500 others took its place");
    }
}

#[tokio::test]
async fn what_is_prepared_for_waiting_takes_little_of_those_who_do_not() {
    let world = World::halved(3).await;
    let serving = world.serving().await;
    let query = serving.parse(&seam_shared::access::Caller::trusted(), "events.total", &[]).expect("valid");
    let question = Question::from(query);
    let answer = serving.answer(&question, None);
    // A request's future is moved and allocated; a timer in it would also align it to a cache line.
    let (bytes, alignment) = (size_of_val(&answer), align_of_val(&answer));
    assert!(bytes <= 4_096 && alignment <= 16, "{bytes} bytes at {alignment}");
    assert!(answer.await.expect("answered").body.is_some());
}

#[tokio::test]
async fn rows_give_the_same_answer_whether_they_are_sorted_or_not() {
    let world = World::new(11);
    let serving = world.serving().await;
    let view = world.view("by_route");
    let rows = world.rows(&view, 0, 0, world.end(0));
    let blocks = [Block::sorted(rows.clone()), Block::unsorted(Arc::new(rows))].map(Arc::new);
    let cache = BlockCache::new(0);
    let mut matched = 0;
    for (dimension, condition) in [
        ("", ""),
        ("carrier", ""),
        ("carrier:UA", ""),
        ("carrier:UA,origin:JFK", ""),
        ("origin:JFK,origin:null,carrier", ""),
        ("origin,carrier:null", "carrier is null or origin = \"JFK\""),
        ("carrier:XX", ""),
    ] {
        for (window, step) in [("5m", "5m"), ("1h", "7m"), ("3m", "11m")] {
            let texts = [
                ("dimension", dimension),
                ("where", condition),
                ("window", window),
                ("step", step),
                ("from", "now-3h"),
            ];
            let given = texts.into_iter().filter(|(_, text)| !text.is_empty());
            let parameters: Vec<(String, String)> = given.map(|(name, text)| (name.into(), text.into())).collect();
            let query = serving
                .parse(&seam_shared::access::Caller::trusted(), "spend", &parameters)
                .unwrap_or_else(|refusal| panic!("{refusal:?}"));
            let [sorted, unsorted] = blocks.each_ref().map(|block| {
                let mut scan = Scan::new(&query);
                let share = scan.add(&Access::new(&query, &view), block, &cache).expect("within the limits");
                (share, scan.finish().expect("within the limits"))
            });
            assert_eq!(sorted, unsorted, "{parameters:?}");
            matched += sorted.0.rows;
            if window == step {
                assert_eq!(sorted.0.rows > 0, dimension != "carrier:XX", "{parameters:?}");
            }
        }
    }
    assert!(matched > 100, "{matched}");
}

/// A store in which a segment is retired, as the floor is raised, when somebody first asks for its rows.
#[derive(Debug)]
struct Retiring {
    inner: Arc<MemoryState>,
    floors: Mutex<Vec<(Partition, ViewId, Offset)>>,
}

#[async_trait]
impl StateStore for Retiring {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        self.inner.commit(partition, commits).await
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        self.inner.claim(partition, view, boundary).await
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        self.inner.snapshot(partition, views).await
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        let floors = std::mem::take(&mut *self.floors.lock().expect("not poisoned"));
        for (partition, view, floor) in floors {
            self.inner.trim(&partition, &view, floor).await?;
        }
        self.inner.segment(partition, view, start).await
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        self.inner.trim(partition, view, floor).await
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        self.inner.forget(partition, view).await
    }
}

#[tokio::test]
async fn what_is_retired_in_the_middle_of_an_answer_is_looked_for_again() {
    for (route, layer) in [("metrics", "merged"), ("metrics", "speed"), ("explain", "merged"), ("explain", "speed")] {
        let world = World::new(6);
        let view = world.view("by_route");
        let mut floors = Vec::new();
        for partition in 0..2 {
            world.fold(&view, partition, 0, world.end(partition)).await;
            let floor = Offset(world.boundaries[partition as usize][3]);
            floors.push((Partition::new("clicks", partition), view.id.clone(), floor));
        }
        let cuts = |i: usize| [world.boundaries[0][i], world.boundaries[1][i]];
        world.publish(&view, cuts(1)).await;
        let state = Arc::new(Retiring { inner: world.state.clone(), floors: Mutex::new(floors) });
        let router = router(world.serving_from(state.clone(), Settings::default()).await);
        // A newer generation that serving has not seen yet is why the segments may go.
        world.publish(&view, cuts(3)).await;
        let uri = format!("/api/analytics/{route}/spend?from=now-3h&step=5m&layer={layer}");
        let response = get(&router, &uri).await;
        assert_eq!(response.status(), 200, "{uri}");
        assert!(state.floors.lock().expect("not poisoned").is_empty(), "the segments were retired in the answer");
        let body = json(response).await;
        match (route, layer) {
            ("metrics", _) => check(&world, &body, layer, Span(5 * Span::MINUTE.0), false),
            (_, "merged") => assert_eq!(body["stamp"]["views"][0]["generation"], 2),
            _ => assert_eq!(body["stamp"]["views"][0]["speed_from"]["positions"]["0"], world.boundaries[0][3]),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_retired_in_the_middle_of_an_answer_is_looked_for_in_a_newer_generation() {
    let world = World::new(8);
    let view = world.view("by_route");
    let cuts = |i: usize| [world.boundaries[0][i], world.boundaries[1][i]];
    world.hold(&view, 0, None).await;
    world.publish(&view, cuts(2)).await;
    let serving = world.serving().await;
    let old = serving.batch_view(&view).pin().expect("a generation");
    world.publish(&view, cuts(3)).await;
    let new = world.serving().await.batch_view(&view).pin().expect("a generation");
    for path in old.paths().filter(|path| new.paths().all(|kept| kept != *path)) {
        world.lake.delete(path).await.expect("deleted");
    }
    let router = router(serving);
    let uri = "/api/analytics/metrics/spend?from=now-3h&step=5m";
    let body = json(get(&router, uri).await).await;
    assert_eq!(body["meta"]["stamp"]["views"][0]["generation"], 2);
    check(&world, &body, "merged", Span(5 * Span::MINUTE.0), false);
    for path in new.paths() {
        world.lake.delete(path).await.expect("deleted");
    }
    let lost = get(&crate::http::router(world.serving().await), uri).await;
    assert_eq!(lost.status(), 503, "no newer generation has it either");
}

#[tokio::test]
async fn what_is_asked_of_a_generation_is_ready_in_the_next_one_before_that_is_shown() {
    let uri = "/api/analytics/metrics/spend?dimension=carrier&from=now-3h&step=5m";
    let mut ready = 0;
    for seed in 0..12 {
        let world = World::new(seed);
        let view = world.view("by_route");
        let cuts = |back: usize| [0, 1].map(|p| world.boundaries[p][world.boundaries[p].len() - back]);
        world.hold(&view, 0, None).await;
        world.publish(&view, cuts(3)).await;
        let serving = world.serving().await;
        let router = router(serving.clone());
        assert_eq!(get(&router, uri).await.status(), 200);
        let old = serving.batch_view(&view).pin().expect("a generation");
        world.publish(&view, cuts(2)).await;
        serving.refresh().await.expect("refreshed");
        let new = serving.batch_view(&view).pin().expect("a generation");
        assert_eq!((old.number, new.number), (1, 2));
        let slices = |generation: &seam_shared::lake::views::Generation| {
            generation.files.iter().map(|file| file.slice_start).collect::<Vec<_>>()
        };
        if slices(&old) != slices(&new) {
            continue;
        }
        for path in new.paths() {
            world.lake.delete(path).await.expect("deleted");
        }
        let body = json(get(&router, uri).await).await;
        assert_eq!(body["meta"]["stamp"]["views"][0]["generation"], 2, "seed {seed}: {body}");
        check(&world, &body, "merged", Span(5 * Span::MINUTE.0), true);
        ready += 1;
    }
    assert!(ready > 3, "{ready}");
}
