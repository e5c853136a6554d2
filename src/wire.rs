//! The one file that chooses adapters: a checked configuration becomes ports that the layers take.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use seam_batch::job::{Archive, Context};
use seam_shared::Result;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::{Config, LogStorage, RedisSettings, SpeedStorage};
use seam_shared::embedded::Database;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::store;
use seam_shared::log::embedded::EmbeddedLog;
use seam_shared::log::{EventLog, Topic};
use seam_shared::state::StateStore;
use seam_shared::state::embedded::EmbeddedState;
use seam_shared::state::memory::MemoryState;
use seam_shared::telemetry::Telemetry;
use seam_shared::view::definition::Source;
use seam_speed::cuts::LakeCuts;
use seam_speed::recover::Places;

/// Everything outside the process that the layers use.
pub struct Ports {
    /// What is configured.
    pub config: Arc<Config>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The speed layer's state.
    pub state: Arc<dyn StateStore>,
    /// The lake.
    pub lake: Arc<dyn ObjectStore>,
    /// Time and nonces.
    pub clock: Arc<dyn Clock>,
    /// Counters of all layers.
    pub telemetry: Arc<Telemetry>,
}

impl Ports {
    /// Opens log, state and lake. One process at a time may hold the embedded log and state.
    pub fn open(config: Config) -> Result<Ports> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let lake = lake(&config)?;
        let database = Database::open(&config.storage.directory.join("store"))?;
        let log: Arc<dyn EventLog> = match config.storage.log {
            LogStorage::Embedded => Arc::new(EmbeddedLog::open(&database, clock.clone())?),
        };
        let state: Arc<dyn StateStore> = match &config.storage.speed {
            SpeedStorage::Embedded => Arc::new(EmbeddedState::open(&database)?),
            SpeedStorage::Memory => Arc::new(MemoryState::default()),
            SpeedStorage::Redis(settings) => redis(settings)?,
        };
        let telemetry = Arc::new(Telemetry::new());
        Ok(Ports { config: Arc::new(config), log, state, lake, clock, telemetry })
    }

    /// A source's topic, created if it does not exist.
    pub async fn topic(&self, source: &Source) -> Result<Topic> {
        self.log.open(&source.name, source.partitions).await
    }

    /// What a speed worker reads and writes.
    pub fn places(&self) -> Places {
        let cuts = LakeCuts::new(&self.lake, &self.config.views, &self.clock);
        Places { log: self.log.clone(), state: self.state.clone(), cuts: Arc::new(cuts) }
    }

    /// What the batch layer works with: the archives of all sources, and the state for the audit.
    pub async fn batch(&self) -> Result<Context> {
        let mut archives = BTreeMap::new();
        for source in &self.config.sources {
            let incarnation = self.topic(source).await?.incarnation;
            let table = ArchiveTable::open(self.lake.clone(), source, &incarnation, self.clock.clone()).await?;
            archives.insert(source.name.clone(), Archive { table: Arc::new(table), incarnation });
        }
        let state = Some(self.state.clone());
        Ok(context(&self.config, self.lake.clone(), self.clock.clone(), archives, state))
    }
}

/// What a batch run works with beside a process that holds the log: the lake alone.
pub async fn batch_beside(config: &Config) -> Result<Context> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lake = lake(config)?;
    let mut archives = BTreeMap::new();
    for source in &config.sources {
        if let Some((table, incarnation)) = ArchiveTable::existing(lake.clone(), source, clock.clone()).await? {
            archives.insert(source.name.clone(), Archive { table: Arc::new(table), incarnation });
        }
    }
    Ok(context(config, lake, clock, archives, None))
}

/// The state in a Redis, which is connected to when it is first needed.
#[cfg(feature = "redis")]
fn redis(settings: &RedisSettings) -> Result<Arc<dyn StateStore>> {
    Ok(Arc::new(seam_shared::state::redis::RedisState::open(settings.clone())))
}

#[cfg(not(feature = "redis"))]
fn redis(_: &RedisSettings) -> Result<Arc<dyn StateStore>> {
    Err(seam_shared::Error::invalid("this program was built without Redis"))
}

fn context(
    config: &Config,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    archives: BTreeMap<String, Archive>,
    state: Option<Arc<dyn StateStore>>,
) -> Context {
    let views = config.views.iter().filter(|view| archives.contains_key(&view.source.name)).cloned().collect();
    let (compute, retain) = (seam_batch::compute::Settings::default(), seam_batch::retain::Settings::default());
    Context { store, clock, archives, views, state, compute, retain }
}

/// The lake alone, which any number of processes may use.
pub fn lake(config: &Config) -> Result<Arc<dyn ObjectStore>> {
    store::open(&config.storage.archive, Path::new("."))
}
