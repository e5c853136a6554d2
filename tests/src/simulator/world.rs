//! One seeded world: a log that grows, actors that run and crash, and readers whose every answer is checked.
mod checks;
mod truncation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_serving::{Serving, Settings, Stores};
use seam_shared::clock::Clock;
use seam_shared::config::Config;
use seam_shared::lake::archive::{ArchiveSnapshot, ArchiveTable};
use seam_shared::lake::faulty::FaultyStore;
use seam_shared::lake::views::ViewTable;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::tiered::TieredLog;
use seam_shared::log::{EventLog, NewRecord, Offset, OffsetVector, Partition};
use seam_shared::state::ViewId;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};

use super::Summary;
use super::actors::{Role, Stage};
use super::generate;
use super::lake::{DatedStore, SlowStore};
use super::log::UnsteadyLog;
use super::mutant::Mutant;
use super::reader::{Answered, Reader};
use super::reader_state::ReaderState;
use super::recompute::Batch;
use super::replicas::Replicas;
use super::state::Wire;
use super::truth::Truth;
use super::turn::{SeededClock, Turns, turn_with_threads};
use crate::dice::Dice;

/// Steps of a seed, before everything is healed.
const STEPS: u32 = 250;
/// Predecessors that do not know that they were replaced.
const ZOMBIES: usize = 3;
/// A year, by which clocks are wrong now and then.
const YEAR: i64 = 365 * Span::DAY.0;

/// All that one seed drives.
pub struct World {
    dice: Arc<Dice>,
    mutant: Option<Mutant>,
    clock: Arc<SeededClock>,
    config: Arc<Config>,
    log: Arc<MemoryLog>,
    replicas: Arc<Replicas>,
    objects: Arc<DatedStore>,
    faulty: Arc<FaultyStore>,
    truth: Arc<Mutex<Truth>>,
    stage: Stage,
    roles: Vec<Role>,
    actors: Vec<Turns<()>>,
    zombies: Vec<Turns<()>>,
    servings: Vec<Arc<Serving>>,
    readers: Vec<Reader>,
    tables: Vec<ViewTable>,
    archive: Option<Arc<ArchiveTable>>,
    cuts: BTreeMap<ViewId, OffsetVector>,
    /// The log forgets what is not archived yet: what was lost so nobody can catch up with.
    forgetful: bool,
    /// The step before which the log loses its end.
    truncation: Option<u32>,
    /// Views go back to earlier generations now and then; and these have since anybody looked.
    rolls_back: bool,
    rewound: BTreeSet<ViewId>,
    /// It has lost it; and somebody noticed.
    truncated: bool,
    noticed: bool,
    summary: Summary,
}

impl World {
    /// The world of a seed, with a wrong design in it or none, and with the real batch job or without.
    pub async fn new(seed: u64, mutant: Option<Mutant>, real: bool) -> World {
        let dice = Arc::new(Dice::new(seed));
        let clock = Arc::new(SeededClock::at(Timestamp(generate::START)));
        let config = generate::config(&dice);
        let source = config.sources[0].clone();
        let log = Arc::new(MemoryLog::new(clock.clone()));
        let topic = log.open(&source.name, source.partitions).await.expect("a log in memory");
        let partitions = (0..source.partitions).map(|number| Partition::new(source.name.as_str(), number));
        let redis = mutant.map_or_else(|| dice.one_in(2), |mutant| mutant.is_of_redis() || seed % 2 == 1);
        let replicas = Arc::new(Replicas::new(dice.clone(), redis, mutant, partitions.collect()));
        let truth = Arc::new(Mutex::new(Truth::new(&source)));
        let (wires, views) = (replicas.clone(), config.views.clone());
        let wire = Arc::new(Wire::new(dice.clone(), mutant, wires, truth.clone(), views.clone()));
        let objects = Arc::new(DatedStore::new(clock.clone()));
        let faulty = Arc::new(FaultyStore::new(objects.clone(), seed, dice.below(12)));
        let batch = Batch {
            lake: Arc::new(SlowStore::new(faulty.clone(), mutant)),
            log: Arc::new(UnsteadyLog::new(log.clone(), mutant)),
            state: Arc::new(wire.connect(None)),
            clock: clock.clone(),
            incarnation: topic.incarnation,
            truth: truth.clone(),
            mutant,
        };
        let rolls_back = mutant.is_none() && !real && dice.one_in(3);
        let mut roles = vec![Role::Trimmer];
        for number in 0..source.partitions {
            roles.extend([Role::Speed(number), Role::Speed(number), Role::Archiver(number), Role::Archiver(number)]);
            if rolls_back {
                roles.extend([Role::Rewinder(number), Role::Rewinder(number)]);
            }
        }
        (0..views.len()).for_each(|view| roles.extend([Role::Job(view), Role::Job(view)]));
        let table = |view| ViewTable::new(objects.clone() as Arc<dyn ObjectStore>, view, clock.clone());
        let tables = views.iter().cloned().map(table).collect();
        let views = views[..2].to_vec();
        let tiered = mutant.is_none() && dice.one_in(2);
        let truncates = mutant == Some(Mutant::NoAnchor) || (mutant.is_none() && dice.one_in(16));
        let silent = tiered && !truncates && seed.is_multiple_of(2);
        let wrong = Arc::default();
        let stage = Stage { dice: dice.clone(), source, views, batch, wire, real, tiered, silent, wrong };
        let mut world = World {
            actors: roles.iter().map(|&role| stage.start(role)).collect(),
            zombies: Vec::new(),
            servings: Vec::new(),
            readers: Vec::new(),
            archive: None,
            cuts: BTreeMap::new(),
            forgetful: mutant.is_none() && dice.one_in(16),
            truncation: truncates.then(|| dice.below(STEPS.into()) as u32),
            rolls_back,
            rewound: BTreeSet::new(),
            truncated: false,
            noticed: false,
            summary: Summary::default(),
            dice,
            mutant,
            clock,
            config,
            log,
            replicas,
            objects,
            faulty,
            truth,
            stage,
            roles,
            tables,
        };
        world.servings = (0..2).map(|_| world.serving()).collect();
        world
    }

    fn partition(&self, number: u32) -> Partition {
        Partition::new(self.stage.source.name.as_str(), number)
    }
    fn any_partition(&self) -> Partition {
        self.partition(self.dice.below(u64::from(self.stage.source.partitions)) as u32)
    }

    fn serving(&self) -> Arc<Serving> {
        let state = ReaderState::new(self.replicas.clone(), self.mutant, self.truth.clone());
        // The reader's lake does not fail, but it takes its time too.
        let lake = Arc::new(SlowStore::new(self.objects.clone(), None));
        let stores = Stores { log: Some(self.log.clone()), state: Arc::new(state), lake };
        let settings = Settings { share_snapshots_for: Duration::ZERO, ..Settings::default() };
        let telemetry = Arc::new(Telemetry::new());
        Arc::new(Serving::new(self.config.clone(), stores, self.clock.clone(), telemetry, settings))
    }

    /// Runs the seed: random steps, then everybody until nothing is left to do.
    ///
    /// # Errors
    /// What was wrong, in words.
    pub async fn run(mut self) -> Result<Summary, String> {
        for step in 0..STEPS {
            if self.truncation == Some(step) {
                self.truncate().await;
            }
            self.step().await?;
        }
        if matches!(self.mutant, None | Some(Mutant::NoAnchor)) && !self.forgetful {
            self.settle().await?;
        }
        self.summary.truncations = u64::from(self.noticed);
        self.summary.end = self.dice.below(u64::MAX);
        Ok(self.summary)
    }

    async fn step(&mut self) -> Result<(), String> {
        match self.dice.below(100) {
            0..10 => self.produce().await,
            10..70 => self.act()?,
            70..74 => self.crash(),
            74..77 => self.replicas.lose(),
            77..79 => self.stage.wire.deliver().await,
            79..80 => self.faulty.release().await,
            80..84 => self.clock.advance(
                [0, 1_000, 9_000_000, 31_000_000_000, -31_000_000_000, YEAR, -YEAR][self.dice.below(7) as usize],
            ),
            84..86 => self.retire().await,
            86 if self.rolls_back => self.roll_back().await,
            86..89 => self.refresh(),
            89 => self.begin_view(),
            90..91 => self.forget_archived().await,
            _ => self.ask(),
        }
        self.read()?;
        self.check_invariants().await
    }

    /// Appends some records, and tells the oracle.
    async fn produce(&mut self) {
        for _ in 0..1 + self.dice.below(3) {
            let partition = self.any_partition();
            if self.dice.one_in(12) {
                self.log.skip(&partition, 1 + self.dice.below(2)).expect("the partition exists");
            }
            self.clock.advance([0, 1_000, 2_000_000, -1_000_000][self.dice.below(4) as usize]);
            let record = NewRecord { partition: partition.number, value: Bytes::from(generate::event(&self.dice)) };
            let value = record.value.clone();
            let stored = self.log.append(&partition.source, vec![record]).await.expect("a log in memory");
            self.truth.lock().expect("never poisoned").keep(&partition, stored[0].1, self.clock.now(), value);
            self.summary.events += 1;
        }
    }

    /// Lets one actor go on for a while.
    fn act(&mut self) -> Result<(), String> {
        let i = self.dice.below((self.actors.len() + self.zombies.len()) as u64) as usize;
        let turns = 1 + self.dice.below(24);
        let actor = self.actors.iter_mut().chain(&mut self.zombies).nth(i).expect("one of them");
        let real = self.stage.real;
        go_on(actor, turns, real);
        self.wrong()
    }

    /// Somebody dies, or is thought to be dead, and is replaced.
    fn crash(&mut self) {
        let i = self.dice.below(self.actors.len() as u64) as usize;
        let old = std::mem::replace(&mut self.actors[i], self.stage.start(self.roles[i]));
        if self.dice.one_in(3) {
            self.zombies.truncate(ZOMBIES - 1);
            self.zombies.insert(0, old);
        }
        self.summary.crashes += 1;
    }

    /// A view that was not there before is configured; who runs already does not know it until it starts anew.
    fn begin_view(&mut self) {
        if self.stage.views.len() == self.config.views.len() || !self.dice.one_in(2) {
            return;
        }
        self.stage.views = self.config.views.clone();
        for (actor, &role) in self.actors.iter_mut().zip(&self.roles) {
            if matches!(role, Role::Job(_)) {
                *actor = self.stage.start(role);
            }
        }
    }

    /// The log's own retention: what is archived may go, whether or not a generation covers it.
    async fn forget_archived(&mut self) {
        if !self.stage.silent && !self.dice.one_in(3) {
            return;
        }
        if self.archive.is_none() {
            let (clock, lake): (Arc<dyn Clock>, Arc<dyn ObjectStore>) = (self.clock.clone(), self.objects.clone());
            let incarnation = &self.stage.batch.incarnation;
            self.archive = ArchiveTable::open(lake, &self.stage.source, incarnation, clock).await.ok().map(Arc::new);
        }
        let Some(Ok(archived)) = (match &self.archive {
            Some(table) => Some(table.latest().await),
            None => None,
        }) else {
            return;
        };
        if self.stage.silent && self.dice.one_in(2) {
            return self.forget_silent(&archived).await;
        }
        for (&number, &position) in &archived.positions.0 {
            let partition = self.partition(number);
            let kept = self.stage.source.duplicates.map_or(0, |rule| rule.max_records) * 4;
            let before = if self.forgetful && self.dice.one_in(2) {
                Offset(self.dice.below(self.log.bounds(&partition).await.expect("a log in memory").1.0 + 1))
            } else {
                Offset(position.0.saturating_sub(kept))
            };
            self.log.trim(&partition, before).await.expect("a log in memory");
        }
    }

    /// A retention that is shorter than the source is silent: what is archived or kept as a tail may go.
    async fn forget_silent(&mut self, archived: &ArchiveSnapshot) {
        let archives = self.archive.iter().map(|table| (self.stage.source.name.clone(), table.clone())).collect();
        let tiered = TieredLog::new(self.log.clone(), archives);
        for number in 0..self.stage.source.partitions {
            let partition = self.partition(number);
            let (start, _) = self.log.bounds(&partition).await.expect("a log in memory");
            let position = archived.position(number).unwrap_or(start);
            let held = tiered.held(&partition, position).await.expect("a lake without faults");
            self.summary.silences += u64::from(held > position && held > start);
            self.log.trim(&partition, held).await.expect("a log in memory");
        }
    }

    /// Deletes the files of generations before the newest, with no grace at all; but what was written since the newest was published may
    /// be of a job that will publish it again.
    async fn retire(&mut self) {
        for table in &self.tables {
            let Ok(Some(newest)) = table.latest().await else { continue };
            let Some(number) = (1..newest.number).nth_back(self.dice.below(2) as usize) else { continue };
            let fresh = ViewTable::new(self.objects.clone(), table.view().clone(), self.clock.clone());
            let Ok(old) = fresh.at(number).await else { continue };
            let is_settled =
                |path: &&Path| self.objects.written(path).is_some_and(|written| written < newest.published);
            for path in old.paths().filter(is_settled).filter(|path| newest.paths().all(|kept| kept != *path)) {
                let _: object_store::Result<()> = self.objects.delete(path).await;
            }
        }
    }

    /// A view goes back to an earlier generation whose files are all there.
    async fn roll_back(&mut self) {
        let table = &self.tables[self.dice.below(self.tables.len() as u64) as usize];
        let Ok(Some(newest)) = table.latest().await else { return };
        let to = self.dice.one_in(2).then(|| 1 + self.dice.below(newest.number));
        if table.roll_back(to, serde_json::Map::new()).await.is_ok() {
            self.rewound.insert(table.view().id.clone());
            self.summary.rollbacks += 1;
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
            self.readers.extend(Reader::asking(serving, &self.dice, true));
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
                Answered::With(_) if self.truncated => {}
                Answered::With(answer) => {
                    self.summary.answers += 1;
                    let told = answer.check(&self.truth.lock().expect("never poisoned"))?;
                    self.summary.excluded += u64::from(told);
                }
            }
        }
        self.readers = going;
        Ok(())
    }
}

fn go_on(actor: &mut Turns<()>, turns: u64, with_threads: bool) {
    for _ in 0..turns {
        if with_threads {
            turn_with_threads(actor);
        } else {
            super::turn::turn(actor);
        }
    }
}
