//! The one file that chooses adapters: a checked configuration becomes ports that the layers take.
use std::cell::OnceCell;
use std::collections::BTreeMap;
#[cfg(not(feature = "kafka"))]
use std::convert::Infallible as KafkaLog;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use seam_batch::archive::Witness;
use seam_batch::job::{Archive, Context};
use seam_batch::runs::Runs;
use seam_shared::Result;
use seam_shared::advice::Advice;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::{
    Config, KafkaStorage, LogStorage, Mode, OWN_STREAM, RedisSettings, Sink, SinkTopic, SpeedStorage, Target,
};
use seam_shared::embedded::Database;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::store;
use seam_shared::log::embedded::EmbeddedLog;
use seam_shared::log::group::{Alone, Groups, Membership};
#[cfg(feature = "kafka")]
use seam_shared::log::kafka::KafkaLog;
use seam_shared::log::tiered::TieredLog;
use seam_shared::log::{EventLog, Topic};
use seam_shared::outlet::Outlet;
use seam_shared::outlet::lines::Lines;
use seam_shared::outlet::log::LogOutlet;
use seam_shared::state::StateStore;
use seam_shared::state::embedded::EmbeddedState;
use seam_shared::state::memory::MemoryState;
use seam_shared::telemetry::Telemetry;
use seam_shared::view::definition::{Source, View};
use seam_speed::cuts::LakeCuts;
use seam_speed::recover::Places;

/// Everything outside the process that the layers use.
pub struct Ports {
    /// What is configured.
    pub config: Arc<Config>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Who works on which of its partitions.
    pub groups: Arc<dyn Groups>,
    /// The speed layer's state.
    pub state: Arc<dyn StateStore>,
    /// The lake.
    pub lake: Arc<dyn ObjectStore>,
    /// Time and nonces.
    pub clock: Arc<dyn Clock>,
    /// Counters of all layers.
    pub telemetry: Arc<Telemetry>,
    /// Whether Seam's own stream is beside the user's sources, and not one of them.
    pub with_own: bool,
    /// What is known here of batch runs.
    pub runs: Arc<Runs>,
    archives: tokio::sync::OnceCell<BTreeMap<String, Archive>>,
    /// The log, if it is Kafka.
    kafka: Option<Arc<KafkaLog>>,
}

/// The log, who works on which of its partitions, and the log again if it is Kafka.
type Wired = (Arc<dyn EventLog>, Arc<dyn Groups>, Option<Arc<KafkaLog>>);

impl Ports {
    /// Opens log, state and lake; Seam's own stream is added to the configuration. One process at a time may hold an
    /// embedded log or state.
    pub fn open(config: Config) -> Result<Ports> {
        let with_own = config.source(OWN_STREAM).is_none() && config.view(OWN_STREAM).is_none();
        let config = config.with_own_stream();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let lake = lake(&config)?;
        let database = OnceCell::new();
        let (log, groups, kafka): Wired = match &config.storage.log {
            LogStorage::Embedded => {
                let log = Arc::new(EmbeddedLog::open(embedded(&database, &config)?, clock.clone())?);
                (log.clone(), Arc::new(Alone::new(log)), None)
            }
            LogStorage::Kafka(storage) => kafka(&config, storage)?,
        };
        let state: Arc<dyn StateStore> = match &config.storage.speed {
            SpeedStorage::Embedded => Arc::new(EmbeddedState::open(embedded(&database, &config)?)?),
            SpeedStorage::Memory => Arc::new(MemoryState::default()),
            SpeedStorage::Redis(settings) => redis(settings)?,
        };
        let telemetry = Arc::new(Telemetry::new());
        let archives = tokio::sync::OnceCell::new();
        let (config, runs) = (Arc::new(config), Arc::default());
        Ok(Ports { config, log, groups, kafka, state, lake, clock, telemetry, with_own, runs, archives })
    }

    /// What is to be said about the log, if it is a service.
    ///
    /// # Errors
    /// Those of a service that does not answer.
    pub async fn log_advice(&self) -> Result<Vec<Advice>> {
        match &self.kafka {
            Some(kafka) => kafka_advice(kafka, &self.config).await,
            None => Ok(Vec::new()),
        }
    }

    /// What is to be said about the state store, if it is a service.
    ///
    /// # Errors
    /// Those of a service that does not answer.
    pub async fn state_advice(&self) -> Result<Vec<Advice>> {
        match &self.config.storage.speed {
            SpeedStorage::Embedded | SpeedStorage::Memory => Ok(Vec::new()),
            SpeedStorage::Redis(settings) => redis_advice(settings).await,
        }
    }

    /// Whether the log forgets by a retention of its own, whatever is archived.
    pub fn log_forgets(&self) -> bool {
        self.kafka.is_some()
    }

    /// A source's topic, created if it does not exist.
    pub async fn topic(&self, source: &Source) -> Result<Topic> {
        self.log.open(&source.name, source.partitions).await
    }

    /// What a speed worker reads and writes. Its log goes on below where the log itself starts, as far as the archive holds it.
    /// `earlier` are views of definitions before this one that are folded too.
    pub fn places(&self, archives: &BTreeMap<String, Archive>, earlier: &[Arc<View>]) -> Places {
        let tables = archives.iter().map(|(name, archive)| (name.clone(), archive.table.clone())).collect();
        let log = Arc::new(TieredLog::new(self.log.clone(), tables));
        let views: Vec<Arc<View>> = self.config.views.iter().chain(earlier).cloned().collect();
        let cuts = LakeCuts::new(&self.lake, &views, &self.clock);
        Places { log, state: self.state.clone(), cuts: Arc::new(cuts) }
    }

    /// The archives of all sources, by source; made where there are none. An archive of another log than this is refused. Without a
    /// batch layer there are none.
    pub async fn archives(&self) -> Result<&BTreeMap<String, Archive>> {
        let open = async || {
            let mut archives = BTreeMap::new();
            let archived = self.config.sources.iter().filter(|_| self.config.batch.mode == Mode::Lambda);
            for source in archived {
                let incarnation = self.topic(source).await?.incarnation;
                let table = ArchiveTable::open(self.lake.clone(), source, &incarnation, self.clock.clone()).await?;
                archives.insert(source.name.clone(), Archive { table: Arc::new(table), incarnation });
            }
            Ok(archives)
        };
        self.archives.get_or_try_init(open).await
    }

    /// What the batch layer works with: the archives of all sources, and the state for the audit.
    pub async fn batch(&self) -> Result<Context> {
        let archives = self.archives().await?.clone();
        let state = Some(self.state.clone());
        let context = context(&self.config, self.lake.clone(), self.clock.clone(), archives, state);
        Ok(Context { runs: self.runs.clone(), ..context })
    }

    /// What the speed layer has folded of a source, which its archivers compare the log with.
    pub fn witness(&self, source: &Source) -> Witness {
        let views = self.config.views.iter().filter(|view| view.source.name == source.name);
        Witness::new(self.state.clone(), views.map(|view| view.id.clone()).collect())
    }

    /// The log with the archives below: records that it forgot are read from the lake.
    pub async fn tiered(&self) -> Result<Arc<TieredLog>> {
        let archives = self.archives().await?.iter().map(|(name, archive)| (name.clone(), archive.table.clone()));
        Ok(Arc::new(TieredLog::new(self.log.clone(), archives.collect())))
    }

    /// Where a sink writes.
    pub fn outlet(&self, sink: &Sink) -> Result<Arc<dyn Outlet>> {
        Ok(match (&sink.target, &self.config.storage.log) {
            (Target::Lines, _) => Arc::new(Lines::new(std::io::stdout(), self.lake.clone(), &sink.view.name)),
            (Target::Topic(topic), LogStorage::Embedded) => {
                Arc::new(LogOutlet::new(self.log.clone(), topic.name.as_str()))
            }
            (Target::Topic(topic), LogStorage::Kafka(storage)) => kafka_outlet(&self.config, storage, topic, sink)?,
        })
    }

    /// Joins the processes that share the partitions of all topics in a role.
    pub async fn join(&self, role: &str) -> Result<Membership> {
        let sources: Vec<String> = self.config.sources.iter().map(|source| source.name.clone()).collect();
        self.groups.join(role, &sources).await
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

#[cfg(feature = "redis")]
async fn redis_advice(settings: &RedisSettings) -> Result<Vec<Advice>> {
    seam_shared::state::redis::RedisState::open(settings.clone()).examine().await
}

#[cfg(not(feature = "redis"))]
async fn redis_advice(settings: &RedisSettings) -> Result<Vec<Advice>> {
    redis(settings).map(|_| Vec::new())
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
    Context { store, clock, archives, views, state, compute, retain, runs: Arc::default() }
}

/// The lake alone, which any number of processes may use.
pub fn lake(config: &Config) -> Result<Arc<dyn ObjectStore>> {
    store::open(&config.storage.archive, Path::new("."))
}

/// The store of what is embedded, opened when the first thing needs it: one process at a time may hold it.
fn embedded<'d>(database: &'d OnceCell<Database>, config: &Config) -> Result<&'d Database> {
    if let Some(database) = database.get() {
        return Ok(database);
    }
    let opened = Database::open(&config.storage.directory.join("store"))?;
    Ok(database.get_or_init(|| opened))
}

#[cfg(feature = "kafka")]
fn kafka(config: &Config, storage: &KafkaStorage) -> Result<Wired> {
    let log = Arc::new(kafka_log(config, storage)?);
    Ok((log.clone(), log.clone(), Some(log)))
}

#[cfg(feature = "kafka")]
async fn kafka_advice(kafka: &KafkaLog, config: &Config) -> Result<Vec<Advice>> {
    let sources: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    kafka.look(&sources).await
}

#[cfg(not(feature = "kafka"))]
async fn kafka_advice(kafka: &KafkaLog, _: &Config) -> Result<Vec<Advice>> {
    match *kafka {}
}

/// The log in Kafka; nothing is connected yet.
#[cfg(feature = "kafka")]
pub fn kafka_log(config: &Config, storage: &KafkaStorage) -> Result<KafkaLog> {
    let topic = |intake: &seam_shared::config::Intake| Some((intake.source.clone(), intake.topic.clone()?));
    let topics = config.intake.iter().filter_map(topic).collect();
    KafkaLog::new(storage, &config.name, topics)
}

#[cfg(feature = "kafka")]
fn kafka_outlet(config: &Config, storage: &KafkaStorage, topic: &SinkTopic, sink: &Sink) -> Result<Arc<dyn Outlet>> {
    let writer = format!("{}-{}", sink.view.name, topic.name);
    let outlet =
        seam_shared::log::kafka::KafkaOutlet::new(storage, &config.name, topic.clone(), &writer, sink.identity());
    Ok(Arc::new(outlet?))
}

#[cfg(not(feature = "kafka"))]
fn kafka_outlet(_: &Config, _: &KafkaStorage, _: &SinkTopic, _: &Sink) -> Result<Arc<dyn Outlet>> {
    Err(seam_shared::Error::invalid("this build has no Kafka: its feature `kafka` is off"))
}

#[cfg(not(feature = "kafka"))]
fn kafka(_: &Config, _: &KafkaStorage) -> Result<Wired> {
    Err(seam_shared::Error::invalid("this build has no Kafka: its feature `kafka` is off"))
}
