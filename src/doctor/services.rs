//! Log and state store, where they are services: the broker and its topics, and Redis.
use seam_shared::advice::Advice;
use seam_shared::config::{Config, LogStorage, RedisSettings, SpeedStorage};

/// What is to be said about the log.
pub async fn log(config: &Config) -> Vec<Advice> {
    match &config.storage.log {
        LogStorage::Embedded => {
            vec![Advice::note(
                "embedded: on one machine only; its disk is the one thing that keeps events until they are archived",
            )]
        }
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
