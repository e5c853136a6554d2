//! Where the log is when it is Kafka: `storage.log: host:9092,host:9092` and `storage.kafka`.
use std::collections::BTreeMap;

use super::Secret;
use super::report::Problems;
use super::tree::Node;

/// Characters of a prefix: Kafka allows 249 in the name of a topic.
const PREFIX_MAX: usize = 64;

/// A cluster, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaStorage {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    /// What the names of everything that is Seam's own in the cluster begin with: topics, groups and transactional ids.
    pub prefix: String,
    /// Copies of each partition of the topics that Seam creates; `None`: as many as the cluster's own default.
    pub replication: Option<u16>,
    /// Properties of librdkafka, for example `security.protocol`. Their values may be secret.
    pub properties: BTreeMap<String, Secret>,
}

impl KafkaStorage {
    /// A cluster that needs no properties.
    pub fn at(brokers: impl Into<String>) -> KafkaStorage {
        KafkaStorage { brokers: brokers.into(), prefix: String::new(), replication: None, properties: BTreeMap::new() }
    }

    /// The same cluster, in which names are taken as they are.
    #[must_use]
    pub fn without_prefix(&self) -> KafkaStorage {
        KafkaStorage { prefix: String::new(), ..self.clone() }
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
        if let Err(message) = crate::log::kafka::properties::check(&key.name, text) {
            problems.add(key.place, message);
        }
        properties.insert(key.name.clone(), Secret::new(text));
    }
    let replication = node.and_then(|n| n.number("replication")).and_then(|n| u16::try_from(n).ok());
    KafkaStorage { brokers, prefix: prefix(node, problems), replication, properties }
}

/// `storage.kafka.prefix`: legal in the name of a topic, and short enough to leave room for a source's.
fn prefix(node: Option<&Node>, problems: &mut Problems) -> String {
    let Some((node, text)) = node.and_then(|n| n.get("prefix")).and_then(|n| Some((n, n.text()?))) else {
        return String::new();
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > PREFIX_MAX || !text.chars().all(legal) {
        let message = format!(
            "`{text}` cannot begin the names of topics: letters, digits, `.`, `_` and `-`, at least one and at most {PREFIX_MAX}"
        );
        problems.suggest(node.place, message, Some("write it like shop.".to_owned()));
    }
    text.to_owned()
}
