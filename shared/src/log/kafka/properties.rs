//! The properties of librdkafka's clients: Seam's own, those that the file may set, and those that nothing may replace.
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Asking about topics.
    Ask,
    /// Appending.
    Append,
    /// Reading a partition.
    Read,
    /// Being in a group.
    Join,
}

type Properties = &'static [(&'static str, &'static str)];

/// Properties of the file may replace these.
const STANDARD: Properties = &[
    ("client.id", "seam"),
    ("topic.metadata.refresh.interval.ms", "5000"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
];
/// An append waits for its acknowledgement anyway, so a few milliseconds more buy larger batches.
const APPEND: Properties = &[
    ("linger.ms", "2"),
    ("compression.type", "lz4"),
    ("message.max.bytes", "2097152"),
    ("message.timeout.ms", "30000"),
    ("queue.buffering.max.messages", "1000000"),
];
/// There is a consumer for each partition and role, so each must be small, and is refilled without librdkafka's pause of a second.
const READ: Properties = &[
    ("fetch.queue.backoff.ms", "5"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.message.max.bytes", "4194304"),
    ("fetch.wait.max.ms", "500"),
];
/// How long it takes to notice a member that died. Nothing is read, so that there is nothing to hold.
const JOIN: Properties =
    &[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "1500"), ("queued.min.messages", "1")];

/// Nothing may replace these: the promises rest on them.
const FIXED_ASK: Properties = &[("isolation.level", "read_committed")];
const FIXED_APPEND: Properties = &[("enable.idempotence", "true"), ("acks", "all")];
const FIXED_READ: Properties = &[
    ("isolation.level", "read_committed"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "true"),
];
/// Nobody ever commits, and nothing is read: where it would begin does not matter.
const FIXED_JOIN: Properties = &[
    ("enable.auto.commit", "false"),
    ("auto.offset.reset", "latest"),
    ("partition.assignment.strategy", "cooperative-sticky"),
];

/// Properties that are set elsewhere in the file or from the work at hand.
const OWN: [&str; 5] =
    ["bootstrap.servers", "metadata.broker.list", "group.id", "group.instance.id", "transactional.id"];

/// All properties of a client, the later ones winning; `given` are those of the file.
pub(super) fn all<'a>(
    purpose: Use,
    given: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let (standard, fixed) = match purpose {
        Use::Ask => (&[][..], FIXED_ASK),
        Use::Append => (APPEND, FIXED_APPEND),
        Use::Read => (READ, FIXED_READ),
        Use::Join => (JOIN, FIXED_JOIN),
    };
    STANDARD.iter().chain(standard).copied().chain(given).chain(fixed.iter().copied())
}

/// Whether a property may be in the file; the error says why not, and never repeats the value.
pub fn check(key: &str, value: &str) -> Result<(), String> {
    let fixed = [FIXED_APPEND, FIXED_READ, FIXED_JOIN].into_iter().flatten().any(|(fixed, _)| *fixed == key);
    if fixed || key == "request.required.acks" {
        return Err(format!("`{key}` cannot be changed: exactness rests on Seam's own value"));
    }
    if OWN.contains(&key) {
        return Err(format!("`{key}` is set by Seam itself"));
    }
    match ClientConfig::new().set(key, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, key, _)) => Err(wrong(&reason, &key)),
        Err(_) => Err(wrong("", key)),
    }
}

/// What is wrong with a property, without its value: librdkafka's own words repeat it.
pub(super) fn wrong(reason: &str, key: &str) -> String {
    if reason.contains("No such configuration property") {
        return format!("librdkafka has no property `{key}`");
    }
    format!("librdkafka does not take this value for `{key}`")
}
