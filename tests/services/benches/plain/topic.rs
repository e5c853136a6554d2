//! A topic full of events, and the plain consumer that a worker is compared with.
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use seam_generator::Generator;
use seam_shared::log::{EventLog, NewRecord};
use tokio::runtime::Runtime;

pub const TOPIC: &str = "shop";
/// As many events as the generator spreads over its day.
const EVENTS_A_DAY: u64 = 5_000_000;

#[derive(serde::Deserialize)]
struct Event<'a> {
    event_type: &'a str,
    ts: i64,
    region: &'a str,
    product: &'a str,
    user_id: u32,
    value: f64,
}

/// Appends the events; answers with their bytes.
pub fn fill(runtime: &Runtime, log: &dyn EventLog, events: u64) -> u64 {
    runtime.block_on(log.open(TOPIC, 1)).expect("a topic");
    let mut generator = Generator::new(1, events.max(EVENTS_A_DAY)).take(usize::try_from(events).expect("memory"));
    let mut bytes = 0;
    loop {
        let mut text = Vec::new();
        generator.by_ref().take(20_000).for_each(|event| event.write_json(&mut text));
        if text.is_empty() {
            return bytes;
        }
        bytes += text.len() as u64;
        runtime.block_on(log.append(TOPIC, records(&text.into()))).expect("the log takes the events");
    }
}

/// A record for each line.
pub fn records(lines: &Bytes) -> Vec<NewRecord> {
    let record = |line: &[u8]| NewRecord { partition: 0, value: lines.slice_ref(line.trim_ascii_end()) };
    lines.split_inclusive(|&byte| byte == b'\n').map(record).collect()
}

/// What a program of few lines does.
pub fn plain(bootstrap: &str, events: u64, parse: bool) -> u64 {
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
