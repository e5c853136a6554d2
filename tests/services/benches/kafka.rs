//! How fast a partition of Kafka is read and decoded, beside a plain consumer that parses the same records in the same run.
//!
//! `cargo bench -p seam-services --bench kafka -- [events]`. The plain consumer polls rdkafka and parses six typed fields with
//! serde_json; ours reads as a worker does, decodes every declared field and decides what is valid. Rates are by processor time of
//! this process, librdkafka's threads included; the broker is another process. The best of some rounds; nothing can fail by time.
#[path = "plain/topic.rs"]
mod topic;

use std::sync::Arc;
use std::time::Instant;

use seam_generator::meter::processor_seconds;
use seam_services::Kafka;
use seam_shared::config::KafkaStorage;
use seam_shared::event::decode::Decoder;
use seam_shared::log::kafka::KafkaLog;
use seam_shared::log::{Chunk, EventLog, Offset, Partition};
use seam_shared::segment::SegmentRule;
use seam_shared::view::definition::{Field, Source};
use seam_shared::view::value::FieldType;
use tokio::runtime::Runtime;

use topic::{TOPIC, fill, plain};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 3;

fn main() {
    let events = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let Some(kafka) = Kafka::start(&[]) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let open = || KafkaLog::new(&KafkaStorage::at(kafka.bootstrap()), "bench", Default::default()).expect("a log");
    let log = open();
    let (began, bytes) = (Instant::now(), fill(&runtime, &log, events));
    let rate = events as f64 / began.elapsed().as_secs_f64() / 1e6;
    println!("{events} events of {} bytes, appended at {rate:.2} M/s wall; best of {ROUNDS} rounds\n", bytes / events);
    println!("{:<44} {:>9} {:>9}", "", "M/s core", "M/s wall");
    let mut cases: [(&str, Box<dyn Fn() -> u64>, [f64; 2]); 4] = [
        ("plain consumer", Box::new(|| plain(&kafka.bootstrap(), events, false)), [f64::MAX; 2]),
        ("plain consumer, serde_json", Box::new(|| plain(&kafka.bootstrap(), events, true)), [f64::MAX; 2]),
        ("log read", Box::new(|| read(&runtime, &open(), events, |_| {})), [f64::MAX; 2]),
        ("log read and decode", Box::new(|| decode(&runtime, &open(), events)), [f64::MAX; 2]),
    ];
    for _ in 0..ROUNDS {
        for (name, run, best) in &mut cases {
            let (wall, processor) = (Instant::now(), processor_seconds());
            assert_eq!(run(), events, "{name} takes every event");
            let took = [processor_seconds() - processor, wall.elapsed().as_secs_f64()];
            if took[0] < best[0] {
                *best = took;
            }
        }
    }
    for (name, _, [processor, wall]) in &cases {
        let rate = |seconds: f64| events as f64 / seconds / 1e6;
        println!("{name:<44} {:>9.2} {:>9.2}", rate(*processor), rate(*wall));
    }
    println!("\nour read and decode runs at {:.0} % of the plain consumer", cases[1].2[0] / cases[3].2[0] * 100.0);
}

/// Reads everything as a worker does.
fn read(runtime: &Runtime, log: &KafkaLog, events: u64, mut take: impl FnMut(&Chunk)) -> u64 {
    let (partition, mut at) = (Partition::new(TOPIC, 0), Offset(0));
    while at.0 < events {
        let chunk = runtime.block_on(log.read(&partition, at, 8_192, 8 << 20)).expect("read");
        take(&chunk);
        at = chunk.next;
    }
    at.0
}

fn decode(runtime: &Runtime, log: &KafkaLog, events: u64) -> u64 {
    let field = |name: &str, field_type| Field::new(name, vec![name.to_owned()], field_type);
    let source = Source {
        name: TOPIC.to_owned(),
        id: None,
        time: vec!["ts".to_owned()],
        fields: vec![
            field("event_type", FieldType::String),
            field("region", FieldType::String),
            field("product", FieldType::String),
            field("user_id", FieldType::Int),
            field("value", FieldType::Float),
        ],
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    };
    let mut decoder = Decoder::new(Arc::new(source));
    let mut decoded = 0;
    read(runtime, log, events, |chunk| decoded += decoder.decode(chunk).verdicts.len() as u64);
    decoded
}
