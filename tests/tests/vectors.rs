//! The seven defects of naive sketches, as vectors: each must come out right from every layer, wherever the batch cut falls.
use std::sync::Arc;

use object_store::memory::InMemory;
use seam_ingest::{Door, RawEvent};
use seam_serving::{Serving, Settings, Stores};
use seam_shared::clock::Clock;
use seam_shared::config::{self, Config};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_speed::worker::Limits;
use seam_tests::pipeline::Pipeline;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

const NOW: Timestamp = Timestamp(1_780_272_000_000_000 + 12 * Span::HOUR.0);

const CONFIG: &str = r#"
version: 1
name: vectors
sources:
  clicks:
    map: { id: $.id, time: $.time }
    segment: { events: 1, interval: 10s }
    dedupe: { horizon: 1h, max_records: 10000 }
    fields: { type: string, region: string, product: string, value: int, price: "decimal(2)", delay: float }
views:
  by_key:
    from: clicks
    dimensions: [type, region, product]
    pane: 1m
    windows: [5m]
    measures: { events: count(), value: stats(value), price: stats(price), delay: stats(delay) }
metrics:
  events: { view: by_key, measure: events }
  value: { view: by_key, measure: value }
  price: { view: by_key, measure: price }
  delay: { view: by_key, measure: delay }
"#;

pub fn load(text: &str) -> Arc<Config> {
    Arc::new(config::load(text, "vectors.yaml").unwrap_or_else(|report| panic!("{report}")))
}

/// An event at `time` with the same number in each measured field.
fn event(time: Timestamp, number: i64) -> Json {
    json!({"time": time.to_rfc3339(), "value": number, "price": number, "delay": number})
}

fn ago(micros: i64) -> Timestamp {
    NOW.minus(Span(micros))
}

/// The serving layer of a pipeline, with nothing cached.
pub async fn serving(config: &Arc<Config>, pipeline: &Pipeline) -> Serving {
    let serving = cold_serving(config, pipeline);
    serving.refresh().await.unwrap();
    serving
}

/// The same before it has read anything.
pub fn cold_serving(config: &Arc<Config>, pipeline: &Pipeline) -> Serving {
    let (log, state, lake) = (Some(pipeline.log.clone() as _), pipeline.state.clone(), pipeline.lake.clone());
    let clock: Arc<dyn Clock> = pipeline.clock.clone();
    let telemetry = Arc::new(Telemetry::new());
    Serving::new(config.clone(), Stores { log, state, lake }, clock, telemetry, Settings::default())
}

/// The layers behind a door.
struct World {
    config: Arc<Config>,
    pipeline: Pipeline,
    door: Arc<Door>,
}

impl World {
    async fn new(config: &Arc<Config>) -> World {
        let (source, views) = (config.sources[0].clone(), config.views.clone());
        let pipeline = Pipeline::new(source.clone(), views, Arc::new(InMemory::new()), NOW).await;
        let clock: Arc<dyn Clock> = pipeline.clock.clone();
        let door = Arc::new(Door::open(pipeline.log.clone(), clock, &[source]).await.unwrap());
        World { config: config.clone(), pipeline, door }
    }
    async fn submit(&self, events: &[Json]) {
        let raw = events.iter().zip(1..).map(|(event, line)| RawEvent::new(line, event.to_string()));
        let receipt = self.door.submit("clicks", raw.collect()).await.unwrap();
        assert_eq!((receipt.accepted, receipt.rejected), (events.len() as u64, 0), "{receipt:?}");
    }
    /// Publishes all that was submitted: an event of long ago closes the last segment.
    async fn publish(&self) {
        self.submit(&[json!({"time": "2001-01-01T00:00:00Z", "type": "the last"})]).await;
        self.pipeline.archive().await.unwrap();
        self.pipeline.recompute(false).await.unwrap();
    }
    async fn ask(&self, question: &Question<'_>, layer: &str) -> Vec<Json> {
        let mut parameters = vec![("window".to_owned(), "5m".to_owned()), ("at".to_owned(), question.at.to_rfc3339())];
        parameters.extend(question.dimensions.iter().map(|name| ("dimension".to_owned(), (*name).to_owned())));
        parameters.push(("layer".to_owned(), layer.to_owned()));
        let serving = serving(&self.config, &self.pipeline).await;
        let asked =
            serving.parse(&seam_shared::access::Caller::trusted(), question.metric, &parameters).unwrap().into();
        let answer = serving.answer(&asked, None).await.unwrap_or_else(|refusal| panic!("{layer}: {refusal:?}"));
        let answer: Json = serde_json::from_slice(&answer.body.unwrap()).unwrap();
        assert_eq!(answer["meta"]["stamp"]["complete"], true, "{answer}");
        answer["points"].as_array().unwrap().clone()
    }
}

/// What is asked, and what every layer must say. Members that are not named in an expected point are not looked at.
struct Question<'a> {
    metric: &'a str,
    at: Timestamp,
    dimensions: &'a [&'a str],
    expected: Vec<Json>,
}

fn total<'a>(metric: &'a str, at: Timestamp, expected: Json) -> Question<'a> {
    Question { metric, at, dimensions: &[], expected: vec![expected] }
}

fn stats(count: u64, sum: i64, avg: f64, min: i64, max: i64) -> Json {
    json!({"count": count, "sum": sum, "avg": avg, "min": min, "max": max})
}

fn empty() -> Json {
    json!({"count": 0, "sum": null, "avg": null, "min": null, "max": null})
}

/// Equal as numbers: 3.0 is 3.
fn same(found: &Json, expected: &Json) -> bool {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => found == expected,
        _ => found == expected,
    }
}

fn check(found: &[Json], question: &Question<'_>, context: &str) {
    let Question { metric, at, expected, .. } = question;
    assert_eq!(found.len(), expected.len(), "{context}: {metric} at {at}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        for (name, value) in expected.as_object().unwrap() {
            assert!(same(&found[name], value), "{context}: {metric} at {at}: `{name}` of {found} is not {value}");
        }
    }
}

/// Asks the questions of every layer, with the batch cut behind each of `cuts` events.
async fn holds(events: &[Json], cuts: &[usize], questions: &[Question<'_>]) {
    let config = load(CONFIG);
    for &cut in cuts {
        let world = World::new(&config).await;
        world.submit(&events[..cut]).await;
        world.pipeline.fold().await.unwrap();
        world.publish().await;
        world.submit(&events[cut..]).await;
        world.pipeline.fold().await.unwrap();
        for question in questions {
            for layer in ["merged", "speed"] {
                let context = format!("{layer}, cut behind event {cut}");
                check(&world.ask(question, layer).await, question, &context);
            }
        }
        world.publish().await;
        for question in questions {
            for layer in ["batch", "merged"] {
                check(&world.ask(question, layer).await, question, &format!("{layer}, after a second cut"));
            }
        }
        world.pipeline.state.flush_all(); // speed starts anew behind the cut
        world.pipeline.fold().await.unwrap();
        for question in questions {
            check(&world.ask(question, "merged").await, question, "merged, after all state was lost");
        }
    }
}

#[tokio::test]
async fn vector_1_the_largest_of_negative_numbers_is_negative() {
    let events = [event(ago(Span::MINUTE.0), -5), event(ago(Span::MINUTE.0), -2)];
    let wanted = || stats(2, -7, -3.5, -5, -2);
    holds(&events, &[0, 1, 2], &["value", "price", "delay"].map(|metric| total(metric, NOW, wanted()))).await;
}

#[tokio::test]
async fn vector_2_a_single_event_six_minutes_late_leaves_the_window_empty_and_says_so_with_null() {
    let events = [event(ago(6 * Span::MINUTE.0), 3)];
    let then = ago(5 * Span::MINUTE.0);
    let questions: Vec<Question<'_>> = ["value", "price", "delay"]
        .into_iter()
        .flat_map(|metric| [total(metric, NOW, empty()), total(metric, then, stats(1, 3, 3.0, 3, 3))])
        .collect();
    holds(&events, &[0, 1], &questions).await;
    holds(&events, &[0, 1], &[total("events", NOW, json!({"value": 0})), total("events", then, json!({"value": 1}))])
        .await;
}

#[tokio::test]
async fn vector_3_a_late_event_behind_a_fresh_head_is_not_counted_now() {
    let old = ago(10 * Span::MINUTE.0);
    let events = [event(ago(Span::SECOND.0), 1), event(old, 100), event(ago(2 * Span::SECOND.0), 2)];
    let questions = [
        total("value", NOW, stats(2, 3, 1.5, 1, 2)),
        total("value", old.plus(Span::MINUTE), stats(1, 100, 100.0, 100, 100)),
    ];
    holds(&events, &[0, 1, 2, 3], &questions).await;
}

#[tokio::test]
async fn vector_4_a_replay_of_yesterdays_1000_events_counts_1000_yesterday_and_none_today() {
    let yesterday = ago(Span::DAY.0);
    let events: Vec<Json> =
        (0..1_000).map(|i| event(yesterday.minus(Span(1 + i * 299 * Span::SECOND.0 / 1_000)), i)).collect();
    let questions = [
        total("events", yesterday, json!({"value": 1_000})),
        total("value", yesterday, stats(1_000, 499_500, 499.5, 0, 999)),
        total("events", NOW, json!({"value": 0})),
    ];
    holds(&events, &[0, 400, 1_000], &questions).await;
}

#[tokio::test]
async fn vector_5_an_event_of_the_next_hour_counts_in_the_next_hour_and_holds_up_nothing() {
    let ahead = NOW.plus(Span(Span::HOUR.0 - Span::SECOND.0));
    let events = [event(ago(Span::SECOND.0), 1), event(ahead, 7), event(ago(2 * Span::SECOND.0), 2)];
    let questions = [
        total("value", NOW, stats(2, 3, 1.5, 1, 2)),
        total("value", NOW.plus(Span(5 * Span::MINUTE.0)), empty()),
        total("value", NOW.plus(Span::HOUR), stats(1, 7, 7.0, 7, 7)),
    ];
    holds(&events, &[0, 1, 2, 3], &questions).await;
}

#[tokio::test]
async fn vector_6_keys_never_collide_and_null_is_no_text() {
    let keys = [
        (json!("click"), json!("eu:west"), json!("x")),
        (json!("click"), json!("eu"), json!("west:x")),
        (json!("click:eu"), json!("west"), json!("x")),
        (json!("click"), json!(null), json!(null)),
        (json!("click"), json!("null"), json!("null")),
        (json!("click"), json!(""), json!("")),
        (json!("click"), json!(""), json!(null)),
        (json!("click"), json!("all"), json!("*")),
        (json!("click"), json!("a\u{0}"), json!("b")),
        (json!("click"), json!("a"), json!("\u{0}b")),
    ];
    let mut events = Vec::new();
    for (i, (kind, region, product)) in keys.iter().enumerate() {
        for _ in 0..=i {
            let mut event = event(ago(Span::SECOND.0), i as i64);
            event["type"] = kind.clone();
            event["region"] = region.clone();
            event["product"] = product.clone();
            events.push(event);
        }
    }
    let texts = |json: &Json| json.as_str().map(str::to_owned); // null comes first, then text by bytes
    let mut expected: Vec<_> = keys.iter().zip(1..).collect();
    expected.sort_by_key(|((kind, region, product), _)| [texts(kind), texts(region), texts(product)]);
    let expected = expected.into_iter().map(
        |((kind, region, product), count)| json!({"type": kind, "region": region, "product": product, "value": count}),
    );
    let dimensions = &["type", "region", "product"];
    let all = Question { metric: "events", at: NOW, dimensions, expected: expected.collect() };
    holds(&events, &[0, 7, events.len()], &[all]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn vector_7_two_threads_on_one_key_lose_nothing_in_20_runs() {
    const EACH: i64 = 250;
    let config = load(&CONFIG.replace("events: 1,", "events: 64,"));
    for run in 0..20 {
        let world = Arc::new(World::new(&config).await);
        let cancel = CancellationToken::new();
        let limits = Limits { records: 16, bytes: 1 << 20 };
        // two workers on one partition: the second one is as welcome as a restart
        let workers = [0, 1].map(|_| tokio::spawn(world.pipeline.worker(0, limits).run(cancel.clone())));
        let writers = [0, 1].map(|writer| {
            let world = world.clone();
            tokio::spawn(async move {
                for i in 0..EACH {
                    let mut event = event(ago(Span::SECOND.0 * (1 + i % 240)), i);
                    event["type"] = json!("click");
                    event["id"] = json!(format!("{writer}-{i}"));
                    world.submit(&[event]).await;
                    if i % 32 == writer {
                        tokio::task::yield_now().await;
                    }
                }
            })
        });
        for writer in writers {
            writer.await.unwrap();
        }
        cancel.cancel();
        for worker in workers {
            worker.await.unwrap().unwrap();
        }
        world.pipeline.fold().await.unwrap();
        let sum = EACH * (EACH - 1);
        let wanted = stats(2 * EACH as u64, sum, sum as f64 / (2 * EACH) as f64, 0, EACH - 1);
        let mut question = Question { metric: "value", at: NOW, dimensions: &["type"], expected: vec![wanted] };
        question.expected[0]["type"] = json!("click");
        for layer in ["merged", "speed"] {
            check(&world.ask(&question, layer).await, &question, &format!("run {run}, {layer}"));
        }
        world.publish().await;
        check(&world.ask(&question, "merged").await, &question, &format!("run {run}, merged"));
        world.pipeline.clock.advance(Span::MINUTE.0);
        world.publish().await;
        check(&world.ask(&question, "batch").await, &question, &format!("run {run}, batch"));
    }
}
