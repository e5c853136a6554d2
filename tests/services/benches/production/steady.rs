//! A steady stream of events, and a reader that waits for them in answers.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seam_generator::Generator;
use seam_serving::Serving;
use seam_serving::query::Question;
use seam_shared::log::EventLog;
use seam_speed::worker::Track;
use tokio::task::JoinSet;

use crate::topic::records;

pub const TOPIC: &str = "steady";
/// Events a second of the steady stream, whose event times run as fast as the clock.
pub const RATE: u64 = 50_000;
const TICK: Duration = Duration::from_millis(5);
pub const EVENTS_A_TICK: usize = 250;
const TICKS: usize = 2_200;
/// Where the stream ends: the topic is new, and nobody writes transactions to it.
const END: u64 = (TICKS * EVENTS_A_TICK) as u64;
/// How often those look who watch.
const LOOK: Duration = Duration::from_micros(500);
/// The first second, in which connections are made, is left out.
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

/// An append: when it was due, when Kafka acknowledged it, and the offset behind its last event.
#[derive(Clone, Copy)]
pub struct Sent {
    due: Instant,
    acknowledged: Instant,
    end: u64,
}

/// A moment, and the offset below which everything was seen then.
pub type Seen = (Instant, u64);

/// Appends the ticks when they are due, whether or not earlier ones are acknowledged; `newest` is the end of what is.
pub async fn produce(log: Arc<dyn EventLog>, ticks: Vec<Bytes>, newest: Arc<AtomicU64>) -> Vec<Sent> {
    let begun = Instant::now() + TICK;
    let mut appends = JoinSet::new();
    for (lines, number) in ticks.into_iter().zip(0..) {
        let due = begun + TICK * number;
        tokio::time::sleep_until(due.into()).await;
        let (log, newest) = (log.clone(), newest.clone());
        appends.spawn(async move {
            let stored = log.append(TOPIC, records(&lines)).await.expect("the log takes the events");
            let end = stored.iter().map(|(_, offset)| offset.0 + 1).max().expect("a tick has events");
            newest.fetch_max(end, Ordering::Relaxed);
            Sent { due, acknowledged: Instant::now(), end }
        });
    }
    let mut sent = appends.join_all().await;
    sent.sort_by_key(|sent| sent.end);
    sent.split_off(TICKS_LEFT_OUT)
}

/// Sees what a worker has committed, until that is everything.
pub async fn follow(track: Arc<Track>) -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    while seen.last().is_none_or(|last| last.1 < END) {
        tokio::time::sleep(LOOK).await;
        seen.extend(track.committed().map(|at| (Instant::now(), at.0)));
    }
    seen
}

/// Asks for an answer that covers the newest acknowledged event, again and again, until everything is covered.
pub async fn ask(serving: &Serving, newest: &AtomicU64) -> Vec<Seen> {
    let (mut seen, mut covered) = (Vec::new(), 0);
    while covered < END {
        let wanted = newest.load(Ordering::Relaxed);
        if wanted <= covered {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let parameters = [
            ("dimension", "type".to_owned()),
            ("window", "1m".to_owned()),
            ("at", "2026-06-01T00:01:00Z".to_owned()),
            ("min_position", format!("{TOPIC}/0@{wanted}")),
            ("timeout", "30s".to_owned()),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value));
        let question = Question::from(
            serving.parse(&seam_shared::access::Caller::trusted(), "events", &parameters).expect("a question"),
        );
        let answer = serving.answer(&question, None).await.expect("an answer");
        covered = answer.coverage.rsplit('@').next().and_then(|at| at.parse().ok()).expect("a position");
        seen.push((Instant::now(), covered));
    }
    seen
}

/// The times until each append was acknowledged, sorted.
pub fn acknowledged(sent: &[Sent]) -> Vec<Duration> {
    sorted(sent.iter().map(|sent| sent.acknowledged - sent.due).collect())
}

/// The times until each append was seen, sorted.
pub fn seen(sent: &[Sent], seen: &[Seen]) -> Vec<Duration> {
    let first = |end: u64| seen[seen.partition_point(|seen| seen.1 < end)].0;
    sorted(sent.iter().map(|sent| first(sent.end).saturating_duration_since(sent.due)).collect())
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}
