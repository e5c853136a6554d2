//! What is known of the topics: their incarnation and partitions, asked again now and then; creation; refusal of compacted ones.
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::{self, PATIENCE, Quiet};
use super::native::{self, Description};
use super::properties::Use;
use super::reasons;
use crate::config::KafkaStorage;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::log::{Offset, Partition, Topic};

/// A topic that is read is asked for its id again after this time.
const TRUSTED: Duration = Duration::from_secs(1);

/// The cluster's topics, by source.
pub(super) struct Topics {
    admin: Arc<AdminClient<Quiet>>,
    config: ClientConfig,
    /// The topics that other programs write, by source. Seam does not create them.
    names: BTreeMap<String, String>,
    /// What the names of all others begin with.
    prefix: String,
    /// What was found at `open`, by source.
    known: Mutex<HashMap<String, Known>>,
    replication: Option<u16>,
}

#[derive(Debug, Clone)]
struct Known {
    topic: Topic,
    asked: Instant,
    /// The topic has another incarnation now.
    replaced: bool,
}

impl Topics {
    /// `names` are the topics of sources that other programs write.
    pub(super) fn new(storage: &KafkaStorage, names: BTreeMap<String, String>) -> Result<Topics> {
        let config = client::config(storage, Use::Ask);
        let admin = config.create_with_context::<_, AdminClient<Quiet>>(Quiet);
        let admin = admin.map_err(|error| client::failed("Kafka cannot be used", error))?;
        let (prefix, replication) = (storage.prefix.clone(), storage.replication);
        Ok(Topics { admin: Arc::new(admin), config, names, prefix, known: Mutex::default(), replication })
    }

    /// The topic of a source.
    pub(super) fn name<'a>(&'a self, source: &'a str) -> Cow<'a, str> {
        match self.names.get(source) {
            Some(name) => Cow::Borrowed(name),
            None if self.prefix.is_empty() => Cow::Borrowed(source),
            None => Cow::Owned(format!("{}{source}", self.prefix)),
        }
    }

    /// The source of a topic.
    pub(super) fn source<'a>(&'a self, topic: &'a str) -> &'a str {
        let foreign = self.names.iter().find(|(_, name)| *name == topic);
        foreign.map_or_else(|| topic.strip_prefix(&self.prefix).unwrap_or(topic), |(source, _)| source)
    }

    /// What there is of a source's topic now, made first if it is Seam's own and missing.
    pub(super) async fn open(&self, source: &str, partitions: u32) -> Result<Topic> {
        let name = self.name(source);
        let found = match self.describe(&name).await {
            Err(error) if error.kind() == Kind::NotFound && self.is_foreign(source) => {
                let message = format!("topic {name}, which source {source} reads, does not exist: create it first");
                return Err(Error::not_found(message));
            }
            Err(error) if error.kind() == Kind::NotFound => self.create(&name, partitions).await?,
            Err(error) if error.kind() == Kind::Unavailable => return Err(self.explain(error).await),
            found => found?,
        };
        if self.lock().get(source).is_none() {
            self.refuse_compacted(&name).await?;
        }
        self.note(source, found)
    }

    /// A partition's topic, from memory; asked for if `open` was not called before, or if the partition may be a new one.
    ///
    /// # Errors
    /// `NotFound` for an unknown partition; `Corrupt` for a topic that was made again.
    pub(super) async fn check(&self, partition: &Partition) -> Result<()> {
        let source = &partition.source;
        let known = self.lock().get(source).cloned();
        let topic = match known {
            Some(known) if known.replaced => return Err(self.replaced(source)),
            Some(known) if partition.number < known.topic.partitions => known.topic,
            Some(_) | None => {
                let found = self.describe(&self.name(source)).await?;
                self.note(source, found)?
            }
        };
        if partition.number < topic.partitions {
            return Ok(());
        }
        Err(Error::not_found(format!("partition {partition} does not exist")))
    }

    /// Asks for the topic's id again if that was not done for a while, or if `doubt` says so.
    ///
    /// # Errors
    /// `Corrupt` for a topic that was made again; `Unavailable` for one that is gone or cannot be asked for while in doubt.
    pub(super) async fn verify(&self, source: &str, doubt: bool) -> Result<()> {
        {
            let mut known = self.lock();
            match known.get_mut(source) {
                Some(known) if known.replaced => return Err(self.replaced(source)),
                Some(known) if !doubt && known.asked.elapsed() < TRUSTED => return Ok(()),
                Some(known) => known.asked = Instant::now(), // others need not ask meanwhile
                None => {}
            }
        }
        match self.describe(&self.name(source)).await {
            Ok(found) => self.note(source, found).map(drop),
            Err(error) if error.kind() == Kind::NotFound => {
                Err(Error::unavailable(format!("topic {} is gone", self.name(source))).because(error))
            }
            Err(_) if !doubt => Ok(()), // the read itself will tell
            Err(error) => Err(error),
        }
    }

    /// The first offset kept and the position after the last record that is not of an open transaction.
    pub(super) async fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)> {
        let (admin, name) = (Arc::clone(&self.admin), self.name(&partition.source).into_owned());
        let number = i32::try_from(partition.number).unwrap_or(i32::MAX);
        let asked = blocking(move || admin.inner().fetch_watermarks(&name, number, PATIENCE)).await?;
        let what = format!("the bounds of log {partition} are not known");
        let (start, end) = asked.map_err(|error| match client::failed(&what, error) {
            // The partition exists: that was checked. While brokers start again, some do not know of it.
            error if error.kind() == Kind::NotFound => Error::unavailable(what.as_str()).because(error),
            error => error,
        })?;
        let offset = |number: i64| Offset(u64::try_from(number).unwrap_or_default());
        Ok((offset(start), offset(end)))
    }

    /// Keeps what was found, and compares it with what was found first.
    fn note(&self, source: &str, found: Description) -> Result<Topic> {
        let topic = Topic { incarnation: found.id, partitions: found.partitions };
        let mut known = self.lock();
        let fresh = || Known { topic: topic.clone(), asked: Instant::now(), replaced: false };
        let known = known.entry(source.to_owned()).or_insert_with(fresh);
        known.replaced |= known.topic.incarnation != topic.incarnation;
        if known.replaced {
            return Err(self.replaced(source));
        }
        *known = fresh();
        Ok(topic)
    }

    fn replaced(&self, source: &str) -> Error {
        let name = self.name(source);
        Error::corrupt(format!(
            "topic {name} was deleted and made again: its offsets mean other records now. Give source {source} another name, or \
             set aside its archive and its speed state, and start again"
        ))
    }

    /// Whether other programs write a source's topic.
    pub(super) fn is_foreign(&self, source: &str) -> bool {
        self.names.contains_key(source)
    }

    /// What the cluster says about a topic.
    pub(super) async fn describe(&self, name: &str) -> Result<Description> {
        let (admin, topic) = (Arc::clone(&self.admin), name.to_owned());
        let found = blocking(move || native::describe(admin.inner(), &topic, PATIENCE)).await?;
        found.map_err(|code| match code {
            Code::UnknownTopic | Code::UnknownTopicOrPartition => {
                Error::not_found(format!("topic {name} does not exist"))
            }
            code => client::refused(&format!("Kafka does not tell about topic {name}"), code),
        })
    }

    /// Says why nobody answers, where that can be found out.
    pub(super) async fn explain(&self, error: Error) -> Error {
        let config = self.config.clone();
        match blocking(move || reasons::why(&config)).await {
            Ok(Some(reason)) => Error::unavailable(format!("Kafka cannot be used: {reason}")),
            Ok(None) | Err(_) => error,
        }
    }

    async fn create(&self, name: &str, partitions: u32) -> Result<Description> {
        let settings = [
            ("cleanup.policy", "delete"),
            ("message.timestamp.type", "LogAppendTime"),
            ("max.message.bytes", "2097152"),
        ];
        self.make(name, partitions, &settings).await
    }

    /// A topic that Seam writes, made with these settings if it does not exist.
    pub(super) async fn ensure(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) -> Result<Description> {
        match self.describe(name).await {
            Err(error) if error.kind() == Kind::NotFound => self.make(name, partitions, settings).await,
            found => found,
        }
    }

    async fn make(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) -> Result<Description> {
        let what = format!("topic {name} cannot be created");
        let count = i32::try_from(partitions.max(1)).unwrap_or(i32::MAX);
        // -1: as many as the cluster's own default
        let copies = TopicReplication::Fixed(self.replication.map_or(-1, i32::from));
        let topic = NewTopic::new(name, count, copies);
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let made = self.admin.create_topics([&topic], &options).await.map_err(|e| client::failed(&what, e))?;
        for made in made {
            match made {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(client::refused(&what, code)),
            }
        }
        // A broker may know of it a little later than the controller.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.describe(name).await {
                Err(error) if error.kind() == Kind::NotFound && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                found => return found,
            }
        }
    }

    /// A topic's settings.
    pub(super) async fn settings(&self, name: &str) -> std::result::Result<ConfigResource, KafkaError> {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let found = self.admin.describe_configs([&ResourceSpecifier::Topic(name)], &options).await?;
        found.into_iter().next().ok_or(KafkaError::NoMessageReceived)?.map_err(KafkaError::AdminOp)
    }

    /// Compaction drops records: the same offsets would give other contents to whoever reads later.
    async fn refuse_compacted(&self, name: &str) -> Result<()> {
        let policy = match self.settings(name).await {
            Ok(settings) => settings.get("cleanup.policy").and_then(|entry| entry.value.clone()).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(topic = name, %error, "whether the topic is compacted is not known; a compacted one gives wrong answers");
                return Ok(());
            }
        };
        if policy.split(',').any(|policy| policy.trim() == "compact") {
            return Err(Error::invalid(format!(
                "topic {name} is compacted (cleanup.policy={policy}): Kafka drops records of it, so that an answer could not be \
                 computed again; set cleanup.policy=delete, or copy it to a topic that is not compacted"
            )));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        lock(&self.known)
    }
}

/// Work that waits for the cluster, beside the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("asking Kafka failed").because(error))
}
