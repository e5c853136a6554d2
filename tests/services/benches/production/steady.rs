//! A steady stream of events, and a reader that waits for them in answers.
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seam_generator::Generator;
use seam_serving::Serving;
use seam_serving::query::Question;
use seam_shared::log::EventLog;

use crate::topic::records;

pub const TOPIC: &str = "steady";
/// Events a second of the steady stream, whose event times run as fast as the clock.
pub const RATE: u64 = 50_000;
const TICK: Duration = Duration::from_millis(5);
pub const EVENTS_A_TICK: usize = 250;
/// The first second, in which connections are made, is left out.
const TICKS: usize = 2_200;
const TICKS_LEFT_OUT: usize = 200;

/// The events of the steady stream, by tick.
pub fn ticks() -> Vec<Bytes> {
    let mut generator = Generator::new(2, RATE * 86_400);
    let tick = |_| {
        let mut text = Vec::new();
        generator.by_ref().take(EVENTS_A_TICK).for_each(|event| event.write_json(&mut text));
        Bytes::from(text)
    };
    (0..TICKS).map(tick).collect()
}

/// An append that Kafka acknowledged: when it was due, when it was acknowledged, and the offset behind its last event.
pub type Sent = (Instant, Instant, u64);

/// Appends the ticks when they are due, whether or not earlier ones are acknowledged.
pub async fn produce(log: Arc<dyn EventLog>, ticks: Vec<Bytes>, sent: Arc<Mutex<Vec<Sent>>>) {
    let begun = Instant::now() + TICK;
    for (lines, number) in ticks.into_iter().zip(0..) {
        let due = begun + TICK * number;
        tokio::time::sleep_until(due.into()).await;
        let (log, sent) = (log.clone(), sent.clone());
        tokio::spawn(async move {
            let stored = log.append(TOPIC, records(&lines)).await.expect("the log takes the events");
            let end = stored.iter().map(|(_, offset)| offset.0 + 1).max().expect("a tick has events");
            sent.lock().expect("nobody panics with it").push((due, Instant::now(), end));
        });
    }
}

/// Asks for an answer that covers the newest acknowledged event, again and again, until all are covered. Answers with the times
/// until an append was acknowledged, and until it was covered.
pub async fn watch(serving: &Serving, sent: &Mutex<Vec<Sent>>) -> [Vec<Duration>; 2] {
    let (mut covered, mut done) = (0, Vec::with_capacity(TICKS));
    while done.len() < TICKS {
        let newest = sent.lock().expect("nobody panics with it").iter().map(|sent| sent.2).max().unwrap_or(0);
        if newest <= covered {
            tokio::time::sleep(Duration::from_micros(500)).await;
            continue;
        }
        let parameters = [
            ("dimension", "type".to_owned()),
            ("window", "1m".to_owned()),
            ("at", "2026-06-01T00:01:00Z".to_owned()),
            ("min_position", format!("{TOPIC}/0@{newest}")),
            ("timeout", "30s".to_owned()),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value));
        let question = Question::from(serving.parse("events", &parameters).expect("a question"));
        let answer = serving.answer(&question, None).await.expect("an answer");
        let now = Instant::now();
        covered = answer.coverage.rsplit('@').next().and_then(|at| at.parse().ok()).expect("a position");
        let mut sent = sent.lock().expect("nobody panics with it");
        done.extend(sent.extract_if(.., |sent| sent.2 <= covered).map(|(due, acked, _)| (due, acked - due, now - due)));
    }
    done.sort_unstable();
    done.drain(..TICKS_LEFT_OUT);
    [done.iter().map(|done| done.1).collect(), done.iter().map(|done| done.2).collect()]
}
