//! A source that is silent for longer than its topic keeps records: nothing of its newest segment is lost, and answers stay exact.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seam_batch::archive::{Archiver, Settings, Step};
use seam_serving::query::Question;
use seam_serving::{Serving, Stores};
use seam_shared::access::Caller;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::{self, Config};
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::store;
use seam_shared::log::tiered::TieredLog;
use seam_shared::log::{EventLog, NewRecord, Offset, Partition};
use seam_shared::state::memory::MemoryState;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Span;
use seam_shared::{Kind, Result};
use seam_speed::cuts::LakeCuts;
use seam_speed::recover::Places;
use seam_speed::worker::{Limits, Step as Folded, Worker};

use crate::world;

const CONFIG: &str = r#"
version: 1
name: silence
sources:
  silent:
    map: { time: $.at }
    segment: { events: 4, interval: 1h }
    fields: { page: string, size: int }
views:
  sizes:
    from: silent
    dimensions: [page]
    pane: 1m
    windows: [1m]
    measures: { events: count(), bytes: sum(size) }
metrics:
  bytes: { view: sizes, measure: bytes }
"#;

struct World {
    config: Arc<Config>,
    log: Arc<dyn EventLog>,
    lake: Arc<dyn object_store::ObjectStore>,
    table: Arc<ArchiveTable>,
    partition: Partition,
}

impl World {
    async fn new(bootstrap: &str) -> World {
        let config = Arc::new(config::load(CONFIG, "seam.yaml").unwrap_or_else(|report| panic!("{report}")));
        let log: Arc<dyn EventLog> = Arc::new(world::log(bootstrap));
        let lake = store::open("memory://", ".".as_ref()).expect("a lake in memory");
        let topic = log.open("silent", 1).await.expect("open");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let table = ArchiveTable::open(lake.clone(), &config.sources[0], &topic.incarnation, clock).await;
        let table = Arc::new(table.expect("a lake in memory"));
        World { config, log, lake, table, partition: Partition::new("silent", 0) }
    }

    async fn append(&self, sizes: std::ops::Range<u64>) {
        let event = |size| format!(r#"{{"at":"2026-05-01T10:00:00Z","page":"p{}","size":{size}}}"#, size % 3);
        let records = sizes.map(|size| NewRecord { partition: 0, value: Bytes::from(event(size)) }).collect();
        self.log.append("silent", records).await.expect("append");
    }

    /// Forgets everything, as the topic's retention does.
    async fn forget(&self, bootstrap: &str) {
        let (_, end) = self.log.bounds(&self.partition).await.expect("bounds");
        world::forget_below(bootstrap, "silent", i64::try_from(end.0).expect("few records")).await;
        for _ in 0..200 {
            if self.log.bounds(&self.partition).await.expect("bounds") == (end, end) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the records are still there");
    }

    fn archiver(&self) -> Archiver {
        let settings =
            Settings { delay_max: Span(0), tail_after: Some(Span(Span::SECOND.0 / 2)), ..Settings::default() };
        let (log, table, source) = (self.log.clone(), self.table.clone(), self.config.sources[0].clone());
        Archiver::new(log, table, source, 0, Arc::new(SystemClock), settings)
    }

    /// The figures of an answer that is computed from nothing but log, archive and tail.
    async fn answer(&self, archives: bool) -> Vec<(String, String)> {
        let tables: BTreeMap<_, _> = archives.then(|| ("silent".to_owned(), self.table.clone())).into_iter().collect();
        let log = Arc::new(TieredLog::new(self.log.clone(), tables));
        let (state, clock): (Arc<MemoryState>, Arc<dyn Clock>) = (Arc::default(), Arc::new(SystemClock));
        let views = self.config.views.clone();
        let cuts = Arc::new(LakeCuts::new(&self.lake, &views, &clock));
        let places = Places { log, state: state.clone(), cuts };
        let mut worker = Worker::new(places, self.config.sources[0].clone(), views, 0, Limits::default());
        while done(worker.step().await).await != Some(Folded::Idle) {}
        let stores = Stores { log: Some(self.log.clone()), state, lake: self.lake.clone() };
        let telemetry = Arc::new(Telemetry::new());
        let serving = Serving::new(self.config.clone(), stores, clock, telemetry, seam_serving::Settings::default());
        serving.refresh().await.expect("log and lake are at hand");
        let parameters =
            [("from", "2026-05-01T10:00:00Z"), ("to", "2026-05-01T10:01:00Z"), ("window", "1m"), ("dimension", "page")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let query = serving.parse(&Caller::trusted(), "bytes", &parameters).expect("a question");
        let Ok(answer) = serving.answer(&Question::from(query), None).await else { return Vec::new() };
        let body: serde_json::Value = serde_json::from_slice(&answer.body.expect("an answer")).expect("JSON");
        let points = body["points"].as_array().expect("points");
        points.iter().map(|point| (point["page"].to_string(), point["value"].to_string())).collect()
    }
}

/// Lets an archiver go on until the lake holds the partition up to its end.
async fn until_held(world: &World, mut archiver: Archiver) -> Offset {
    let log = TieredLog::new(world.log.clone(), [("silent".to_owned(), world.table.clone())].into());
    let (_, end) = log.bounds(&world.partition).await.expect("bounds");
    for _ in 0..600 {
        let idle = done(archiver.step().await).await == Some(Step::Idle);
        let archived = world.table.latest().await.expect("a lake in memory").position(0).unwrap_or_default();
        if log.held(&world.partition, archived).await.expect("a lake in memory") == end {
            return archived;
        }
        if idle {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    panic!("the segment that waits for its end is kept nowhere");
}

/// What a step did; what may pass is tried again: a consumer notices first that its last record is gone.
async fn done<T>(step: Result<T>) -> Option<T> {
    match step {
        Err(error) if error.kind() == Kind::Unavailable => {
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
        step => Some(step.expect("log and lake are at hand")),
    }
}

fn sums(sizes: u64) -> Vec<(String, String)> {
    let sum = |page| (0..sizes).filter(|size| size % 3 == page).sum::<u64>();
    (0..3).map(|page| (format!("\"p{page}\""), sum(page).to_string())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_source_said_last_outlives_its_topics_retention() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let world = World::new(&bootstrap).await;
    world.append(0..10).await;
    assert_eq!(until_held(&world, world.archiver()).await, Offset(8), "two whole segments");
    world.forget(&bootstrap).await;
    assert_eq!(world.answer(true).await, sums(10), "from the archive and the tail");
    assert_ne!(world.answer(false).await, sums(10), "the log alone has nothing left");
    // It speaks again: the segment that began before the silence ends, and the next silence is outlived as well.
    world.append(10..15).await;
    assert_eq!(world.answer(true).await, sums(15));
    assert_eq!(until_held(&world, world.archiver()).await, Offset(12));
    world.forget(&bootstrap).await;
    assert_eq!(world.answer(true).await, sums(15));
    let archive = world.table.latest().await.expect("a lake in memory");
    assert_eq!(archive.boundaries(0), [0, 4, 8, 12].map(Offset), "segments are what they would have been");
    let rest = world.table.tail(0, Some(Offset(8))).await.expect("a lake in memory");
    assert_eq!(rest, None, "what is archived has no tail");
}
