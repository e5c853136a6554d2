//! Who acts in a world. Each runs until it is crashed, and then again from nothing; some go on beside their successors.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use seam_batch::archive::{Archiver, Settings as ArchiverSettings};
use seam_batch::audit::Drift;
use seam_batch::job::{self, Archive, Options};
use seam_batch::{compute, retain};
use seam_shared::error::{Error, Kind};
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::views::ViewTable;
use seam_shared::log::Partition;
use seam_shared::log::tiered::TieredLog;
use seam_shared::time::Span;
use seam_shared::view::definition::{Source, View};
use seam_speed::cuts::{Cuts, LakeCuts};
use seam_speed::recover::Places;
use seam_speed::rewind::Rewinder;
use seam_speed::trim::{TrimRule, Trimmer};
use seam_speed::worker::{Limits, Worker};

use super::mutant::{Mutant, RanksFromZero};
use super::recompute::Batch;
use super::state::Wire;
use super::turn::{Turns, pause};
use crate::dice::Dice;

/// What an actor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Folds a partition.
    Speed(u32),
    /// Archives a partition.
    Archiver(u32),
    /// Recomputes a view.
    Job(usize),
    /// Forgets what is covered.
    Trimmer,
    /// Folds a partition again after a rollback.
    Rewinder(u32),
}

/// Where actors find their places.
pub struct Stage {
    /// The seed's chance.
    pub dice: Arc<Dice>,
    /// The source.
    pub source: Arc<Source>,
    /// The views that have begun.
    pub views: Vec<Arc<View>>,
    /// The lake and the log.
    pub batch: Batch,
    /// The state store.
    pub wire: Arc<Wire>,
    /// Whether the real batch job is at work, instead of one that does without Polars.
    pub real: bool,
    /// Whether workers read from the archive what the log no longer holds.
    pub tiered: bool,
    /// Whether the log forgets open segments whose tails are kept; workers are tiered then.
    pub silent: bool,
    /// What somebody found that must never be.
    pub wrong: Arc<Mutex<Option<String>>>,
}

impl Stage {
    /// A role from nothing, as after a crash.
    pub fn start(&self, role: Role) -> Turns<()> {
        match role {
            Role::Speed(number) => self.worker(number),
            Role::Archiver(number) => self.archiver(number),
            Role::Job(view) if view >= self.views.len() => nobody(),
            Role::Job(view) if self.real => self.real_job(view),
            Role::Job(view) => self.job(view),
            Role::Trimmer => self.trimmer(),
            Role::Rewinder(number) => self.rewinder(number),
        }
    }

    /// Keeps what must never be.
    fn note(&self, who: &'static str) -> impl Fn(Error) + use<> {
        let wrong = self.wrong.clone();
        move |error| {
            if error.kind() == Kind::Corrupt {
                *wrong.lock().expect("never poisoned") = Some(format!("{who}: {error}"));
            }
        }
    }
    fn places(&self, partition: Option<&Partition>) -> Places {
        let cuts = LakeCuts::new(&self.batch.lake, &self.views, &self.batch.clock);
        let cuts: Arc<dyn Cuts> = match self.batch.mutant {
            Some(Mutant::RanksFromZero) => Arc::new(RanksFromZero(cuts)),
            _ => Arc::new(cuts),
        };
        Places { log: self.batch.log.clone(), state: Arc::new(self.wire.connect(partition)), cuts }
    }
    fn records(&self) -> usize {
        1 + self.dice.below(8) as usize
    }

    fn worker(&self, number: u32) -> Turns<()> {
        let places = self.places(Some(&Partition::new(self.source.name.as_str(), number)));
        let limits = Limits { records: self.records(), bytes: 1 << 20 };
        let (source, views, note) = (self.source.clone(), self.views.clone(), self.note("worker"));
        let batch = self.tiered.then(|| self.batch.clone());
        Box::pin(async move {
            let places = below(places, batch, &source, &note).await;
            let mut worker = Worker::new(places, source, views, number, limits);
            loop {
                let _ = worker.step().await.map_err(&note);
                pause().await;
            }
        })
    }

    fn rewinder(&self, number: u32) -> Turns<()> {
        let places = self.places(Some(&Partition::new(self.source.name.as_str(), number)));
        let (source, views, note) = (self.source.clone(), self.views.clone(), self.note("rewinder"));
        let batch = self.tiered.then(|| self.batch.clone());
        Box::pin(async move {
            let places = below(places, batch, &source, &note).await;
            let mut rewinder = Rewinder::new(places, source, views, number);
            loop {
                let _ = rewinder.step().await.map_err(&note);
                pause().await;
            }
        })
    }

    fn trimmer(&self) -> Turns<()> {
        let rule = TrimRule { grace: Span(self.dice.below(20) as i64 * 1_000_000), log: self.dice.one_in(2) };
        let (places, clock, keep) =
            (self.places(None), self.batch.clock.clone(), Span(self.dice.below(9) as i64 * Span::SECOND.0));
        let (source, views, note) = (self.source.clone(), self.views.clone(), self.note("trimmer"));
        let batch = self.tiered.then(|| self.batch.clone());
        Box::pin(async move {
            let (hot, tiered) = (places.log.clone(), batch.is_some());
            let places = below(places, batch, &source, &note).await;
            let mut trimmer = Trimmer::new(places, clock, source, views, rule);
            if tiered && rule.log {
                trimmer = trimmer.forgetting(hot, keep);
            }
            loop {
                let _ = trimmer.step().await.map_err(&note);
                pause().await;
            }
        })
    }

    fn job(&self, view: usize) -> Turns<()> {
        let (batch, source, view) = (self.batch.clone(), self.source.clone(), self.views[view].clone());
        let note = self.note("job");
        Box::pin(async move {
            let archive = opened(&batch, &source, &note).await;
            let table = ViewTable::new(batch.lake.clone(), view, batch.clock.clone());
            loop {
                let _ = batch.publish_once(&archive, &table).await.map_err(&note);
                pause().await;
            }
        })
    }

    fn archiver(&self, number: u32) -> Turns<()> {
        let (batch, source) = (self.batch.clone(), self.source.clone());
        let settings = ArchiverSettings {
            file_events: 1 + self.dice.below(20),
            chunk_events: self.records(),
            delay_max: Span(self.dice.below(20) as i64 * Span::SECOND.0),
            tail_after: self.silent.then_some(Span(Span::SECOND.0)),
            ..ArchiverSettings::default()
        };
        let note = self.note("archiver");
        Box::pin(async move {
            let table = opened(&batch, &source, &note).await;
            let mut archiver = Archiver::new(batch.log, table, source, number, batch.clock, settings);
            loop {
                let _ = archiver.step().await.map_err(&note);
                pause().await;
            }
        })
    }

    fn real_job(&self, view: usize) -> Turns<()> {
        let (batch, source, view) = (self.batch.clone(), self.source.clone(), self.views[view].clone());
        let compute = compute::Settings {
            slice_rows: 20,
            open_slices: 1 + self.dice.below(3) as usize,
            threads: 1,
            roll_up_from: 0,
        };
        let kept = retain::Settings { generations: 1, age: Span(0), ..retain::Settings::default() };
        let (note, wrong) = (self.note("job"), self.wrong.clone());
        let dice = self.dice.clone();
        let state = Arc::new(self.wire.connect(None));
        Box::pin(async move {
            let table = opened(&batch, &source, &note).await;
            let archive = Archive { table, incarnation: batch.incarnation };
            let context = job::Context {
                store: batch.lake,
                clock: batch.clock,
                archives: BTreeMap::from([(source.name.clone(), archive)]),
                views: vec![view],
                state: Some(state),
                compute,
                retain: kept,
                runs: Arc::default(),
            };
            loop {
                let options = Options { full: dice.one_in(6), ..Options::default() };
                let outcomes = job::run(&context, &options).await.map_err(&note).unwrap_or_default();
                let drifted = outcomes.iter().find(|outcome| matches!(outcome.drift, Some(Drift::Groups(1..))));
                if let Some(outcome) = drifted {
                    *wrong.lock().expect("never poisoned") = Some(format!("batch and speed drifted: {outcome:?}"));
                }
                pause().await;
            }
        })
    }
}

/// Who has nothing to do yet.
fn nobody() -> Turns<()> {
    Box::pin(async {
        loop {
            pause().await;
        }
    })
}

/// The archive, as soon as it can be opened.
async fn opened(batch: &Batch, source: &Source, note: &impl Fn(Error)) -> Arc<ArchiveTable> {
    loop {
        match batch.archive(source).await {
            Ok(table) => return Arc::new(table),
            Err(error) => note(error),
        }
        pause().await;
    }
}

/// The places with the archive below the log, if the batch layer is given.
async fn below(places: Places, batch: Option<Batch>, source: &Source, note: &impl Fn(Error)) -> Places {
    let Some(batch) = batch else { return places };
    let archives = BTreeMap::from([(source.name.clone(), opened(&batch, source, note).await)]);
    Places { log: Arc::new(TieredLog::new(places.log.clone(), archives)), ..places }
}
