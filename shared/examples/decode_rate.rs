//! How fast one core decodes the click events that peers are compared on, beside a plain typed serde_json loop in the same run.
//!
//! `cargo run --release -p seam-shared --example decode_rate -- [events]`
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use seam_shared::event::decode::{Decoder, Shape};
use seam_shared::event::duplicates::Duplicates;
use seam_shared::log::{Chunk, Offset};
use seam_shared::segment::SegmentRule;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{DuplicateRule, Field, Source};
use seam_shared::view::value::FieldType;

/// A fixed sequence of well-mixed numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Click events of about 238 bytes with the members, value ranges and order of the comparison's generator.
fn chunks(events: u64) -> Vec<Chunk> {
    const TYPES: [&str; 5] = ["view", "click", "cart", "purchase", "share"];
    const REGIONS: [&str; 8] = ["us-east", "us-west", "eu-west", "eu-central", "cn-north", "jp", "br", "uk"];
    const AGENTS: [&str; 2] = ["Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0", "okhttp/4.12.0 Android/14"];
    let mut numbers = Numbers(7);
    let mut chunk = Chunk::at(Offset(0));
    let mut out = Vec::new();
    let mut text = String::new();
    for at in 0..events {
        let id = numbers.next();
        let product = numbers.below(32) * numbers.below(32);
        let cents = 1 + numbers.below(20_000);
        let time = 1_780_272_000_000 + at - numbers.below(2000);
        text.clear();
        write!(
            text,
            r#"{{"event_id":"{id:016x}","event_type":"{}","ts":{time},"region":"{}","product":"p{product:04}","user_id":{},"value":{}.{:02},"session":"s{:012x}","page":"/shop/p{product:04}?ref=home","ua":"{}"}}"#,
            TYPES[(id % 5) as usize],
            REGIONS[(id / 5 % 8) as usize],
            numbers.below(1_000_000),
            cents / 100,
            cents % 100,
            numbers.next() >> 16,
            AGENTS[(id & 1) as usize],
        )
        .expect("writing to a string succeeds");
        chunk.push(Offset(at), Timestamp(time as i64 * 1000), text.as_bytes());
        if chunk.len() == 4096 || at + 1 == events {
            let next = chunk.next;
            out.push(std::mem::replace(&mut chunk, Chunk::at(next)));
        }
    }
    out
}

fn source(id: bool, value: FieldType) -> Arc<Source> {
    let field = |name: &str, field_type| Field { name: name.to_owned(), path: vec![name.to_owned()], field_type };
    Arc::new(Source {
        name: "clicks".to_owned(),
        id: id.then(|| vec!["event_id".to_owned()]),
        time: vec!["ts".to_owned()],
        fields: vec![
            field("event_type", FieldType::String),
            field("region", FieldType::String),
            field("product", FieldType::String),
            field("user_id", FieldType::Int),
            field("value", value),
        ],
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    })
}

/// The plain loop: one typed struct, text checked once, nothing kept.
#[derive(serde::Deserialize)]
struct Click<'a> {
    #[serde(borrow)]
    event_type: &'a str,
    ts: i64,
    #[serde(borrow)]
    region: &'a str,
    #[serde(borrow)]
    product: &'a str,
    user_id: u32,
    value: f64,
}

/// Seconds of processor time of this thread (Linux), or of the wall clock since `start` elsewhere.
fn seconds(start: Instant) -> f64 {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = counted.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or(start.elapsed().as_secs_f64(), |n| n / 1e9)
}

/// The best of five rounds, in million events a second of processor time.
fn rate(name: &str, events: u64, mut round: impl FnMut() -> u64) {
    let best = (0..5).map(|_| {
        let start = Instant::now();
        let before = seconds(start);
        let done = round();
        assert_eq!(done, events, "{name} must take every event");
        seconds(start) - before
    });
    println!("{name:<44} {:>6.2} M events/s", events as f64 / best.fold(f64::MAX, f64::min) / 1e6);
}

fn main() {
    let events: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(500_000);
    let chunks = chunks(events);
    let bytes: usize = chunks.iter().map(Chunk::bytes).sum();
    println!(
        "{events} events of {} bytes on average, one thread, best of five by processor time",
        bytes as u64 / events
    );
    rate("plain loop (typed serde_json, from_str)", events, || {
        let click = |value: &[u8]| {
            let click: Click = serde_json::from_str(std::str::from_utf8(value).ok()?).ok()?;
            let texts = click.event_type.len() + click.region.len() + click.product.len();
            Some(click.ts as f64 + f64::from(click.user_id) + click.value + texts as f64)
        };
        chunks.iter().flat_map(Chunk::iter).filter_map(|r| click(r.value)).filter(|sum| *sum > 0.0).count() as u64
    });
    for (name, id, value) in [
        ("decode 6 fields, value float", false, FieldType::Float),
        ("decode 6 fields, value decimal(2)", false, FieldType::Decimal(2)),
        ("decode 6 fields and the id", true, FieldType::Decimal(2)),
    ] {
        let mut decoder = Decoder::new(source(id, value));
        rate(name, events, || chunks.iter().map(|chunk| decoder.decode(chunk).len() as u64).sum());
    }
    let mut decoder = Decoder::new(source(true, FieldType::Decimal(2)));
    let rule = DuplicateRule { horizon: Span::HOUR, max_records: 1_000_000 };
    rate("decode 6 fields and the id, mark duplicates", events, || {
        let mut duplicates = Duplicates::new(rule);
        let mut marked = |chunk| {
            let mut batch = decoder.decode(chunk);
            duplicates.mark(&mut batch);
            batch.len() as u64
        };
        chunks.iter().map(&mut marked).sum()
    });
    let shape = Shape::new(source(true, FieldType::Decimal(2)));
    rate("check, as ingest does", events, || {
        chunks.iter().flat_map(Chunk::iter).filter(|r| shape.check(r.value).is_ok()).count() as u64
    });
}
