//! How fast a partition of Kafka is read and decoded, beside a plain consumer that parses the same records in the same run.
//!
//! `cargo bench -p seam-services --bench kafka -- [events]`. The plain consumer polls rdkafka and parses six typed fields with
//! serde_json; ours reads as a worker does, decodes every declared field and decides what is valid. Rates are by processor time of
//! this process, librdkafka's threads included; the broker is another process. The best of some rounds; nothing can fail by time.
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use seam_generator::Generator;
use seam_services::Kafka;
use seam_shared::config::KafkaStorage;
use seam_shared::event::decode::Decoder;
use seam_shared::log::kafka::KafkaLog;
use seam_shared::log::{Chunk, EventLog, NewRecord, Offset, Partition};
use seam_shared::segment::SegmentRule;
use seam_shared::view::definition::{Field, Source};
use seam_shared::view::value::FieldType;
use tokio::runtime::Runtime;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOPIC: &str = "shop";
const ROUNDS: usize = 3;

#[derive(serde::Deserialize)]
struct Event<'a> {
    event_type: &'a str,
    ts: i64,
    region: &'a str,
    product: &'a str,
    user_id: u32,
    value: f64,
}

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

/// Appends the events; answers with their bytes.
fn fill(runtime: &Runtime, log: &KafkaLog, events: u64) -> u64 {
    runtime.block_on(log.open(TOPIC, 1)).expect("a topic");
    let mut generator = Generator::new(1, events.max(5_000_000)).take(usize::try_from(events).expect("memory"));
    let mut bytes = 0;
    loop {
        let mut text = Vec::new();
        generator.by_ref().take(20_000).for_each(|event| event.write_json(&mut text));
        if text.is_empty() {
            return bytes;
        }
        bytes += text.len() as u64;
        let values = Bytes::from(text);
        let record = |line: &[u8]| NewRecord { partition: 0, value: values.slice_ref(line.trim_ascii_end()) };
        let records = values.split_inclusive(|&byte| byte == b'\n').map(record).collect();
        runtime.block_on(log.append(TOPIC, records)).expect("the log takes the events");
    }
}

/// What a program of few lines does.
fn plain(bootstrap: &str, events: u64, parse: bool) -> u64 {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "plain").set("enable.auto.commit", "false");
    // Without this, librdkafka pauses for a second whenever its queue is full.
    let consumer: BaseConsumer = config.set("fetch.queue.backoff.ms", "5").create().expect("a consumer");
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(TOPIC, 0, Place::Beginning).expect("a place");
    consumer.assign(&place).expect("assign");
    let (mut taken, mut sum) = (0, 0.0);
    while taken < events {
        let Some(Ok(message)) = consumer.poll(Duration::from_secs(10)) else { continue };
        let value = message.payload().expect("a value");
        if parse {
            let text = std::str::from_utf8(value).expect("text");
            let event: Event<'_> = serde_json::from_str(text).expect("an event");
            let texts = event.event_type.len() + event.region.len() + event.product.len();
            sum += event.value + (event.ts % 7 + i64::from(event.user_id)) as f64 + texts as f64;
        }
        taken += 1;
    }
    assert!(parse == (sum != 0.0));
    taken
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
    let field = |name: &str, field_type| Field { name: name.to_owned(), path: vec![name.to_owned()], field_type };
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

/// Processor seconds of this process so far, in ticks of 10 ms.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the bench runs on Linux");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
