//! One seeded world: a log that grows, actors that run and crash, and readers whose every answer is checked.
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_serving::{Serving, Settings, Stores};
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::config::Config;
use seam_shared::error::{Error, Kind, Result};
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::lake::faulty::FaultyStore;
use seam_shared::lake::views::ViewTable;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{Chunk, EventLog, NewRecord, Offset, OffsetVector, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::memory::{Checkpoint, MemoryState};
use seam_shared::state::{StateStore, ViewId};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::Source;
use seam_shared::view::oracle::Oracle;
use seam_speed::cuts::LakeCuts;
use seam_speed::recover::Places;
use seam_speed::trim::{TrimRule, Trimmer};
use seam_speed::worker::{Limits, Worker};

use crate::dice::Dice;
use crate::fault::{ReaderState, SlowStore, Truth, UnsteadyLog, UnsteadyState, pause};
use crate::generate;
use crate::mutant::Mutant;
use crate::reader::{Answered, Reader};
use crate::recompute::Batch;

/// What a seed showed, if nothing was wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Answers that were compared with the oracle.
    pub answers: u64,
    /// Questions that got no answer.
    pub refused: u64,
    /// Generations published.
    pub generations: u64,
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

/// Who acts. Each runs until it is crashed, and then again from nothing.
#[derive(Debug, Clone, Copy)]
enum Role {
    Speed(u32),
    Archiver(u32),
    Job(usize),
    Trimmer,
}

/// The writer's side of one partition, to decide verdicts and boundaries as the truth has them.
struct Truthful {
    decoder: Decoder,
    duplicates: Duplicates,
    open: OpenSegment,
    /// The position after its last record.
    end: Offset,
}

/// All that one seed drives.
pub struct World {
    dice: Arc<Dice>,
    mutant: Option<Mutant>,
    clock: Arc<ManualClock>,
    config: Arc<Config>,
    log: Arc<MemoryLog>,
    state: Arc<MemoryState>,
    unsteady: Arc<UnsteadyState>,
    objects: Arc<InMemory>,
    faulty: Arc<FaultyStore>,
    batch: Batch,
    truth: Arc<Mutex<Truth>>,
    truthful: Vec<Truthful>,
    oracle: Arc<Mutex<Oracle>>,
    roles: Vec<Role>,
    actors: Vec<Running>,
    corrupt: Arc<Mutex<Option<String>>>,
    servings: Vec<Arc<Serving>>,
    readers: Vec<Reader>,
    checkpoints: Vec<(Partition, Checkpoint)>,
    cuts: BTreeMap<ViewId, OffsetVector>,
    summary: Summary,
}

impl World {
    /// The world of a seed, with a wrong design in it or none.
    pub async fn new(seed: u64, mutant: Option<Mutant>) -> World {
        let dice = Arc::new(Dice::new(seed));
        let clock = Arc::new(ManualClock::at(Timestamp(generate::START)));
        let config = generate::config(&dice);
        let source = config.sources[0].clone();
        let log = Arc::new(MemoryLog::new(clock.clone()));
        let topic = log.open(&source.name, source.partitions).await.expect("a log in memory");
        let state: Arc<MemoryState> = Arc::default();
        let unsteady = Arc::new(UnsteadyState::new(state.clone(), dice.clone(), mutant));
        let objects = Arc::new(InMemory::new());
        let faulty = Arc::new(FaultyStore::new(objects.clone(), seed, dice.below(12)));
        let (oracle, truth): (Arc<Mutex<Oracle>>, Arc<Mutex<Truth>>) = Default::default();
        let truthful = (0..source.partitions).map(|_| Truthful {
            decoder: Decoder::new(source.clone()),
            duplicates: Duplicates::new(source.duplicates),
            open: OpenSegment::at(Offset(0)),
            end: Offset(0),
        });
        let batch = Batch {
            lake: Arc::new(SlowStore::new(faulty.clone(), mutant)),
            log: Arc::new(UnsteadyLog::new(log.clone(), mutant)),
            state: unsteady.clone(),
            clock: clock.clone(),
            incarnation: topic.incarnation,
            oracle: oracle.clone(),
            truth: truth.clone(),
            mutant,
        };
        let mut roles = vec![Role::Trimmer];
        for number in 0..source.partitions {
            let start = Partition::new(source.name.as_str(), number);
            truth.lock().expect("never poisoned").boundaries.insert(start, vec![Offset(0)]);
            roles.extend([Role::Speed(number), Role::Speed(number), Role::Archiver(number), Role::Archiver(number)]);
        }
        (0..config.views.len()).for_each(|view| roles.extend([Role::Job(view), Role::Job(view)]));
        let mut world = World {
            truthful: truthful.collect(),
            corrupt: Arc::default(),
            servings: Vec::new(),
            actors: Vec::new(),
            readers: Vec::new(),
            checkpoints: Vec::new(),
            cuts: BTreeMap::new(),
            summary: Summary::default(),
            dice,
            mutant,
            clock,
            config,
            log,
            state,
            unsteady,
            objects,
            faulty,
            batch,
            truth,
            oracle,
            roles,
        };
        world.actors = world.roles.clone().into_iter().map(|role| world.start(role)).collect();
        world.servings = (0..2).map(|_| world.serving()).collect();
        world
    }

    fn source(&self) -> &Arc<Source> {
        &self.config.sources[0]
    }

    fn serving(&self) -> Arc<Serving> {
        let state = ReaderState::new(self.state.clone(), self.dice.clone(), self.mutant, self.truth.clone());
        // The reader's lake does not fail, but it takes its time too.
        let lake = Arc::new(SlowStore::new(self.objects.clone(), None));
        let stores = Stores { log: Some(self.log.clone()), state: Arc::new(state), lake };
        let settings = Settings { share_snapshots_for: Duration::ZERO, ..Settings::default() };
        let telemetry = Arc::new(Telemetry::new());
        Arc::new(Serving::new(self.config.clone(), stores, self.clock.clone(), telemetry, settings))
    }

    /// A role from nothing, as after a crash.
    fn start(&self, role: Role) -> Running {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let cuts = Arc::new(LakeCuts::new(&self.batch.lake, &self.config.views, &clock));
        let places = Places { log: self.batch.log.clone(), state: self.unsteady.clone(), cuts };
        let (source, views) = (self.source().clone(), self.config.views.clone());
        let corrupt = self.corrupt.clone();
        let note = move |who: &str, error: Error| {
            if error.kind() == Kind::Corrupt {
                *corrupt.lock().expect("never poisoned") = Some(format!("{who}: {error}"));
            }
        };
        let records = 1 + self.dice.below(8) as usize;
        let batch = self.batch.clone();
        match role {
            Role::Speed(number) => {
                let limits = Limits { records, bytes: 1 << 20 };
                let mut worker = Worker::new(places, source, views, number, limits);
                Box::pin(async move {
                    loop {
                        let _ = worker.step().await.map_err(|error| note("worker", error));
                        pause().await;
                    }
                })
            }
            Role::Archiver(number) => Box::pin(async move {
                loop {
                    let done = batch.archive_once(&source, number, records * 3).await;
                    let _ = done.map_err(|error| note("archiver", error));
                    pause().await;
                }
            }),
            Role::Job(view) => Box::pin(async move {
                loop {
                    let _ = batch.publish_once(&views[view]).await.map_err(|error| note("job", error));
                    pause().await;
                }
            }),
            Role::Trimmer => {
                let rule = TrimRule { grace: Span(self.dice.below(20) as i64 * 1_000_000), log: self.dice.one_in(2) };
                let mut trimmer = Trimmer::new(places, clock, source, views, rule);
                Box::pin(async move {
                    loop {
                        let _ = trimmer.step().await.map_err(|error| note("trimmer", error));
                        pause().await;
                    }
                })
            }
        }
    }

    /// Runs the seed: `steps` random steps, then everybody until nothing is left to do.
    ///
    /// # Errors
    /// What was wrong, in words.
    pub async fn run(mut self, steps: u32) -> Result<Summary, String> {
        for _ in 0..steps {
            self.step().await?;
            tokio::task::yield_now().await;
        }
        if self.mutant.is_none() {
            self.settle().await?;
        }
        Ok(self.summary)
    }

    async fn step(&mut self) -> Result<(), String> {
        match self.dice.below(100) {
            0..10 => self.produce().await,
            10..70 => self.act()?,
            70..74 => {
                let i = self.dice.below(self.actors.len() as u64) as usize;
                self.actors[i] = self.start(self.roles[i]);
            }
            74..77 => self.lose_state(),
            77..79 => self.unsteady.deliver().await,
            79..80 => self.faulty.release().await,
            80..84 => {
                self.clock.advance([0, 1_000, 9_000_000, 31_000_000_000, -31_000_000_000][self.dice.below(5) as usize])
            }
            84..86 => self.retire().await,
            86..90 => self.refresh(),
            90..91 => self.forget_archived().await,
            _ => self.ask(),
        }
        self.read()?;
        self.check_invariants().await
    }

    /// Appends some records, and tells the oracle.
    async fn produce(&mut self) {
        for _ in 0..1 + self.dice.below(3) {
            let number = self.dice.below(self.truthful.len() as u64) as u32;
            let partition = Partition::new(self.source().name.as_str(), number);
            if self.dice.one_in(12) {
                self.log.skip(&partition, 1 + self.dice.below(2)).expect("the partition exists");
            }
            self.clock.advance([0, 1_000, 2_000_000, -1_000_000][self.dice.below(4) as usize]);
            let record = NewRecord { partition: number, value: Bytes::from(generate::event(&self.dice)) };
            let value = record.value.clone();
            let stored = self.log.append(&partition.source, vec![record]).await.expect("a log in memory");
            let (offset, time) = (stored[0].1, self.clock.now());
            let mut chunk = Chunk::at(offset);
            chunk.push(offset, time, &value);
            let truthful = &mut self.truthful[number as usize];
            truthful.end = chunk.next;
            let mut batch = truthful.decoder.decode(&chunk);
            truthful.duplicates.mark(&mut batch);
            self.oracle.lock().expect("never poisoned").keep(number, &batch);
            if let Some(boundary) = truthful.open.admit(self.config.sources[0].segments, offset, time) {
                let mut truth = self.truth.lock().expect("never poisoned");
                truth.boundaries.entry(partition).or_default().push(boundary);
            }
        }
    }

    /// Lets one actor go on for a while.
    fn act(&mut self) -> Result<(), String> {
        let i = self.dice.below(self.actors.len() as u64) as usize;
        for _ in 0..1 + self.dice.below(24) {
            let _: Poll<()> = self.actors[i].as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        match self.corrupt.lock().expect("never poisoned").take() {
            Some(message) => Err(message),
            None => Ok(()),
        }
    }

    /// A partition falls back to an earlier moment, or everything is lost.
    fn lose_state(&mut self) {
        match self.dice.below(8) {
            0..4 => {
                let number = self.dice.below(self.truthful.len() as u64) as u32;
                let partition = Partition::new(self.source().name.as_str(), number);
                let checkpoint = self.state.checkpoint(&partition);
                self.checkpoints.push((partition, checkpoint));
            }
            4..7 if !self.checkpoints.is_empty() => {
                let i = self.dice.below(self.checkpoints.len() as u64) as usize;
                let (partition, checkpoint) = self.checkpoints.swap_remove(i);
                self.state.restore(&partition, checkpoint);
            }
            7 => self.state.flush_all(),
            _ => {}
        }
    }

    /// The log's own retention: what is archived may go, whether or not a generation covers it.
    async fn forget_archived(&mut self) {
        if !self.dice.one_in(3) {
            return;
        }
        let (clock, lake): (Arc<dyn Clock>, Arc<dyn ObjectStore>) = (self.clock.clone(), self.objects.clone());
        let table = seam_shared::lake::archive::ArchiveTable::open(lake, self.source(), &self.batch.incarnation, clock);
        let Ok(table) = table.await else { return };
        let Ok(archived) = table.latest().await else { return };
        for (&number, &position) in &archived.positions.0 {
            let kept = self.source().duplicates.map_or(0, |rule| rule.max_records) * 4;
            let partition = Partition::new(self.source().name.as_str(), number);
            let before = Offset(position.0.saturating_sub(kept));
            self.log.trim(&partition, before).await.expect("a log in memory");
        }
    }

    /// Deletes the files of generations before the newest, with no grace at all.
    async fn retire(&mut self) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        for view in &self.config.views {
            let table = ViewTable::new(self.objects.clone(), view.clone(), clock.clone());
            let Ok(Some(newest)) = table.latest().await else { continue };
            for number in 1..newest.number {
                let Ok(old) = table.at(number).await else { continue };
                let gone = old.files.iter().filter(|file| newest.files.iter().all(|kept| kept.path != file.path));
                for file in gone {
                    let _: object_store::Result<()> = self.objects.delete(&file.path).await;
                }
            }
        }
    }

    fn refresh(&mut self) {
        let serving = self.servings[self.dice.below(2) as usize].clone();
        self.readers.push(Reader::refreshing(serving));
    }

    /// A reader asks something.
    fn ask(&mut self) {
        if self.readers.len() < 4 {
            let serving = self.servings[self.dice.below(2) as usize].clone();
            self.readers.extend(Reader::asking(serving, &self.dice));
        }
    }

    /// Lets the readers go on, and checks what they were told.
    fn read(&mut self) -> Result<(), String> {
        let mut going = Vec::new();
        for mut reader in std::mem::take(&mut self.readers) {
            match reader.go_on(1 + self.dice.below(12)) {
                Answered::NotYet => going.push(reader),
                Answered::Done => {}
                Answered::GaveUp(_) => self.summary.refused += 1,
                Answered::With(answer) => {
                    self.summary.answers += 1;
                    answer.check(&self.oracle.lock().expect("never poisoned"))?;
                }
            }
        }
        self.readers = going;
        Ok(())
    }

    /// Cuts never go back, and floors never lie above them.
    async fn check_invariants(&mut self) -> Result<(), String> {
        if !self.dice.one_in(4) {
            return Ok(());
        }
        let clock: Arc<dyn Clock> = self.clock.clone();
        for view in &self.config.views {
            let table = ViewTable::new(self.objects.clone(), view.clone(), clock.clone());
            let newest = table.latest().await.map_err(|error| error.to_string())?;
            self.summary.generations = self.summary.generations.max(newest.as_ref().map_or(0, |g| g.number));
            let cut = newest.map(|generation| generation.cut).unwrap_or_default();
            let last = self.cuts.entry(view.id.clone()).or_default();
            if !cut.covers(last) {
                return Err(format!("the cut of {} went back from {last:?} to {cut:?}", view.id));
            }
            for number in 0..self.truthful.len() as u32 {
                let partition = Partition::new(view.source.name.as_str(), number);
                let held = self.state.snapshot(&partition, std::slice::from_ref(&view.id)).await;
                let held = held.map_err(|error| error.to_string())?.remove(0);
                if let Some(floor) = held.map(|held| held.progress.floor).filter(|&floor| floor > cut.get(number)) {
                    return Err(format!("the floor {floor} of {} lies above the cut {cut:?}", view.id));
                }
            }
            *last = cut;
        }
        Ok(())
    }

    /// Heals everything and waits until all is caught up; then every answer is there, and reaches the log's end.
    async fn settle(&mut self) -> Result<(), String> {
        self.faulty.set_faults(0);
        self.faulty.release().await;
        self.unsteady.heal();
        for _ in 0..200 {
            if self.is_caught_up().await {
                break;
            }
            self.clock.advance(Span::MINUTE.0);
            for i in 0..self.actors.len() {
                for _ in 0..40 {
                    let _: Poll<()> = self.actors[i].as_mut().poll(&mut Context::from_waker(Waker::noop()));
                }
            }
            tokio::task::yield_now().await;
        }
        self.act()?;
        self.readers.clear();
        for _ in 0..4 {
            for serving in self.servings.clone() {
                let _: Answered = Reader::refreshing(serving.clone()).finish();
                let Some(mut reader) = Reader::asking(serving, &self.dice) else { continue };
                match reader.finish() {
                    Answered::With(answer) => {
                        answer.check(&self.oracle.lock().expect("never poisoned"))?;
                        self.check_reach(&answer.coverage)?;
                        self.summary.answers += 1;
                    }
                    other => return Err(format!("no answer without faults: {other:?}; {}", self.describe().await)),
                }
            }
        }
        Ok(())
    }

    /// Whether every view stands at every partition's last record.
    async fn is_caught_up(&self) -> bool {
        let ids: Vec<ViewId> = self.config.views.iter().map(|view| view.id.clone()).collect();
        for (number, truthful) in self.truthful.iter().enumerate() {
            let partition = Partition::new(self.source().name.as_str(), number as u32);
            let held = self.state.snapshot(&partition, &ids).await.unwrap_or_default();
            let reached = |position: Offset| position >= truthful.end;
            if !held.iter().all(|held| held.as_ref().is_some_and(|held| reached(held.progress.position))) {
                return false;
            }
        }
        true
    }

    fn check_reach(&self, coverage: &OffsetVector) -> Result<(), String> {
        for (number, truthful) in self.truthful.iter().enumerate() {
            let reached = coverage.get(number as u32);
            if reached < truthful.end {
                return Err(format!("partition {number} is caught up to {reached} of {} only", truthful.end));
            }
        }
        Ok(())
    }

    /// Where everything stands, to look at after a failure.
    async fn describe(&self) -> String {
        let mut out = String::new();
        let clock: Arc<dyn Clock> = self.clock.clone();
        for number in 0..self.truthful.len() as u32 {
            let partition = Partition::new(self.source().name.as_str(), number);
            let ids: Vec<ViewId> = self.config.views.iter().map(|view| view.id.clone()).collect();
            let held = self.state.snapshot(&partition, &ids).await.unwrap_or_default();
            let held: Vec<_> = held.into_iter().map(|held| held.map(|held| (held.progress, held.closed))).collect();
            out += &format!("{partition}: log {:?}, state {held:?}; ", self.log.bounds(&partition).await);
        }
        for view in &self.config.views {
            let table = ViewTable::new(self.objects.clone(), view.clone(), clock.clone());
            let cut = table.latest().await.map(|newest| newest.map(|newest| newest.cut));
            out += &format!("{} is cut at {cut:?}; ", view.id);
        }
        out + &format!("{:?}", self.truth.lock().expect("never poisoned").boundaries)
    }
}
