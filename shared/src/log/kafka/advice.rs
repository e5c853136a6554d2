//! What is to be said about a cluster and the topics of the sources, for `seam doctor`: settings that endanger records.
use rdkafka::admin::ConfigResource;

use super::KafkaLog;
use crate::advice::Advice;
use crate::error::{Kind, Result};

impl KafkaLog {
    /// Looks at the topics of `sources` without making or changing anything. Never fails: a cluster that does not answer is advice
    /// too.
    pub async fn check(&self, sources: &[&str]) -> Vec<Advice> {
        let silent = |error| vec![Advice::refuse(format!("{error} (brokers: {})", self.brokers))];
        self.look(sources).await.unwrap_or_else(silent)
    }

    /// The same, for whoever can wait for a cluster that does not answer yet.
    ///
    /// # Errors
    /// `Unavailable` and the like if the cluster does not tell about a topic.
    pub async fn look(&self, sources: &[&str]) -> Result<Vec<Advice>> {
        let mut found = Vec::new();
        for source in sources {
            let name = self.topics.name(source);
            match self.topics.describe(&name).await {
                Ok(topic) => {
                    found.push(Advice::note(format!("topic {name} has {} partitions", topic.partitions)));
                    match self.topics.settings(&name).await {
                        Ok(settings) => found.extend(judge(&name, &settings)),
                        Err(error) => {
                            found.push(Advice::warn(format!("topic {name} does not show its settings: {error}")))
                        }
                    }
                }
                Err(error) if error.kind() == Kind::NotFound && self.topics.is_foreign(source) => {
                    let message = format!("topic {name}, which source {source} reads, does not exist: create it first");
                    found.push(Advice::refuse(message));
                }
                Err(error) if error.kind() == Kind::NotFound => {
                    found.push(Advice::note(format!(
                        "topic {name} does not exist yet; the first role that starts makes it"
                    )));
                }
                Err(error) => return Err(self.topics.explain(error).await),
            }
        }
        Ok(found)
    }
}

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// What is to be said about a topic's settings.
fn judge(name: &str, settings: &ConfigResource) -> Vec<Advice> {
    let value = |key: &str| settings.get(key).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    let mut found = Vec::new();
    if value("cleanup.policy").contains("compact") {
        found.push(Advice::refuse(format!(
            "topic {name} is compacted: Kafka drops records of it; set cleanup.policy=delete"
        )));
    }
    if value("unclean.leader.election.enable") == "true" {
        let message = "may lose acknowledged records with a broker; set unclean.leader.election.enable=false";
        found.push(Advice::warn(format!("topic {name} {message}")));
    }
    if value("min.insync.replicas") == "1" {
        let message = "acknowledges what one broker has, and loses it with that broker; set min.insync.replicas=2 and three copies";
        found.push(Advice::warn(format!("topic {name} {message}")));
    }
    if let Ok(kept @ 0..DAY) = value("retention.ms").parse::<i64>() {
        found.push(Advice::warn(format!(
            "topic {name} keeps records for {} minutes: an archiver that stands still for longer loses some; set retention.ms",
            kept / 60_000
        )));
    }
    found
}
