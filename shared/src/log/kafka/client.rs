//! How clients of a cluster are made: their properties, their log lines, and what their errors mean.
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::config::KafkaStorage;
use crate::error::{Error, Kind};

/// How long the cluster may take for one answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

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

/// The properties of a client.
pub(super) fn config(storage: &KafkaStorage, purpose: Use) -> ClientConfig {
    let (standard, fixed) = match purpose {
        Use::Ask => (&[][..], FIXED_ASK),
        Use::Append => (APPEND, FIXED_APPEND),
        Use::Read => (READ, FIXED_READ),
        Use::Join => (JOIN, FIXED_JOIN),
    };
    let mut config = ClientConfig::new();
    let given = storage.properties.iter().map(|(key, value)| (key.as_str(), value.expose()));
    let all = STANDARD.iter().chain(standard).copied().chain(given).chain(fixed.iter().copied());
    for (key, value) in all.chain([("bootstrap.servers", storage.brokers.as_str())]) {
        config.set(key, value);
    }
    // A reader's failures are told by its reads; its log lines would go to the terminal, as nobody serves rdkafka's queue.
    let silent = purpose == Use::Read;
    if silent {
        config.set("log_level", "0");
    }
    config.set_log_level(if silent { RDKafkaLogLevel::Emerg } else { RDKafkaLogLevel::Info });
    config
}

/// Whether a property may be in the file; the error says why not, and never repeats the value.
pub fn check_property(key: &str, value: &str) -> Result<(), String> {
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
fn wrong(reason: &str, key: &str) -> String {
    if reason.contains("No such configuration property") {
        return format!("librdkafka has no property `{key}`");
    }
    format!("librdkafka does not take this value for `{key}`")
}

/// librdkafka's log lines and errors go to ours; none holds a property's value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // librdkafka says so many times a second, and whoever needed the broker says it as well
            Some(Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve) => {
                tracing::debug!(%error, reason, "kafka");
            }
            Some(_) | None => tracing::warn!(%error, reason, "kafka"),
        }
    }
}

/// Passes on a line of librdkafka.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "librdkafka");
        }
        // a broker that is away is said by whoever needed it
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::debug!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::trace!(facility, message, "librdkafka");
        }
    }
}

/// What an error of rdkafka means.
pub(super) fn failed(what: &str, error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, key, _) => Error::invalid(format!("{what}: {}", wrong(&reason, &key))),
        KafkaError::ClientCreation(reason) => Error::invalid(format!("{what}: no Kafka client can be made: {reason}")),
        error => match error.rdkafka_error_code() {
            Some(code) => refused(what, code),
            None => Error::unavailable(what).because(error),
        },
    }
}

/// What an error code of Kafka means.
pub(super) fn refused(what: &str, code: Code) -> Error {
    let kind = match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId => {
            Kind::NotFound
        }
        Code::MessageSizeTooLarge => Kind::TooLarge,
        Code::InvalidTopic | Code::InvalidConfig | Code::InvalidReplicationFactor | Code::PolicyViolation => {
            Kind::Invalid
        }
        _ => Kind::Unavailable,
    };
    Error::new(kind, what).because(KafkaError::Global(code))
}
