//! Where the log is when it is Kafka: `storage.log: host:9092,host:9092` and `storage.kafka`.
use std::collections::BTreeMap;

use super::Secret;
use super::report::Problems;
use super::tree::Node;

/// A cluster, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaStorage {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    /// Copies of each partition of the topics that Seam creates; `None`: as many as the cluster's own default.
    pub replication: Option<u16>,
    /// Properties of librdkafka, for example `security.protocol`. Their values may be secret.
    pub properties: BTreeMap<String, Secret>,
}

impl KafkaStorage {
    /// A cluster that needs no properties.
    pub fn at(brokers: impl Into<String>) -> KafkaStorage {
        KafkaStorage { brokers: brokers.into(), replication: None, properties: BTreeMap::new() }
    }
}

/// Whether a text names brokers: `host:9092,host:9092`, also as `kafka://host:9092`; then they are without the scheme.
///
/// # Errors
/// What is wrong with it.
pub(super) fn brokers(text: &str) -> Result<String, String> {
    let text = text.strip_prefix("kafka://").unwrap_or(text).trim_end_matches('/');
    let hosts: Vec<&str> = text.split(',').map(str::trim).collect();
    for host in &hosts {
        let parts = host.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>()));
        if !matches!(parts, Some((name, Ok(1..))) if !name.is_empty() && !name.contains(['/', ' '])) {
            return Err(format!("`{host}` is no broker; write it like host:9092"));
        }
    }
    Ok(hosts.join(","))
}

/// `storage.kafka`.
pub(super) fn storage(brokers: String, node: Option<&Node>, problems: &mut Problems) -> KafkaStorage {
    let mut properties = BTreeMap::new();
    for (key, value) in node.and_then(|n| n.get("properties")).map_or(&[][..], Node::entries) {
        let Some(text) = value.text() else { continue };
        #[cfg(feature = "kafka")]
        if let Err(message) = crate::log::kafka::check_property(&key.name, text) {
            problems.add(key.place, message);
        }
        properties.insert(key.name.clone(), Secret::new(text));
    }
    let replication = node.and_then(|n| n.number("replication")).and_then(|n| u16::try_from(n).ok());
    KafkaStorage { brokers, replication, properties }
}
