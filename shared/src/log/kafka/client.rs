//! How clients of a cluster are made: their properties, their log lines, and what their errors mean.
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::properties::{Use, all, wrong};
use crate::config::KafkaStorage;
use crate::error::{Error, Kind};

/// How long the cluster may take for one answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The properties of a client.
pub(super) fn config(storage: &KafkaStorage, purpose: Use) -> ClientConfig {
    let mut config = ClientConfig::new();
    let given = storage.properties.iter().map(|(key, value)| (key.as_str(), value.expose()));
    for (key, value) in all(purpose, given).chain([("bootstrap.servers", storage.brokers.as_str())]) {
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
