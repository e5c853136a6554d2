//! Log and state store, where they are services: the broker and its topics, and Redis.
use seam_shared::advice::Advice;
use seam_shared::config::{Config, KafkaStorage, LogStorage, RedisSettings, SpeedStorage};

/// What is to be said about the log.
pub async fn log(config: &Config) -> Vec<Advice> {
    match &config.storage.log {
        LogStorage::Embedded => {
            vec![Advice::note(
                "embedded: on one machine only; its disk is the one thing that keeps events until they are archived",
            )]
        }
        LogStorage::Kafka(storage) => kafka(config, storage).await,
    }
}

/// What is to be said about the state store.
pub async fn state(config: &Config) -> Vec<Advice> {
    match &config.storage.speed {
        SpeedStorage::Embedded => vec![Advice::note("embedded")],
        SpeedStorage::Redis(settings) => redis(settings).await,
        SpeedStorage::Memory => vec![Advice::note("in memory: rebuilt from lake and log at each start")],
    }
}

#[cfg(feature = "redis")]
async fn redis(settings: &RedisSettings) -> Vec<Advice> {
    let mut found = seam_shared::state::redis::RedisState::open(settings.clone()).check().await;
    if found.is_empty() {
        found.push(Advice::note("the Redis answers and its settings are right"));
    }
    found
}

#[cfg(not(feature = "redis"))]
async fn redis(_settings: &RedisSettings) -> Vec<Advice> {
    vec![Advice::refuse("this build has no Redis: its feature `redis` is off")]
}

#[cfg(feature = "kafka")]
async fn kafka(config: &Config, storage: &KafkaStorage) -> Vec<Advice> {
    let log = match crate::wire::kafka_log(config, storage) {
        Ok(log) => log,
        Err(error) => return vec![Advice::refuse(error.to_string())],
    };
    let sources: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    let mut found = log.check(&sources).await;
    if found.iter().all(|advice| advice.severity != seam_shared::advice::Severity::Refuse) {
        found.extend(super::retention::check(config, &log).await);
    }
    found
}

#[cfg(not(feature = "kafka"))]
async fn kafka(_config: &Config, _storage: &KafkaStorage) -> Vec<Advice> {
    vec![Advice::refuse("this build has no Kafka: its feature `kafka` is off")]
}
