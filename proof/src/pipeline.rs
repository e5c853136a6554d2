//! The real layers over ports in memory, moved by hand: bytes -> log -> speed, and log -> archive -> batch.
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use seam_batch::archive::{Archiver, Settings as ArchiverSettings};
use seam_batch::job::{self, Archive, Context, Options, Outcome};
use seam_batch::rollback::{self, RolledBack};
use seam_batch::{compute, retain};
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::error::Result;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::views::ViewTable;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{EventLog, NewRecord, Offset, OffsetVector, Partition};
use seam_shared::state::StateStore;
use seam_shared::state::memory::MemoryState;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{Source, View};
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use seam_speed::cuts::LakeCuts;
use seam_speed::recover::Places;
use seam_speed::trim::{TrimRule, Trimmer};
use seam_speed::worker::{Limits, Step, Worker};

/// The layers of one source.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The time of day, and of the log.
    pub clock: Arc<ManualClock>,
    /// The log.
    pub log: Arc<MemoryLog>,
    /// The speed layer's state.
    pub state: Arc<MemoryState>,
    /// The lake.
    pub lake: Arc<dyn ObjectStore>,
    /// The source.
    pub source: Arc<Source>,
    /// Its views.
    pub views: Vec<Arc<View>>,
    /// What bounds the memory of a batch run.
    pub compute: compute::Settings,
    /// Which log it is.
    pub incarnation: String,
}

impl Pipeline {
    /// Nothing has happened yet.
    pub async fn new(
        source: Arc<Source>,
        views: Vec<Arc<View>>,
        lake: Arc<dyn ObjectStore>,
        now: Timestamp,
    ) -> Pipeline {
        let clock = Arc::new(ManualClock::at(now));
        let log = Arc::new(MemoryLog::new(clock.clone()));
        let topic = log.open(&source.name, source.partitions).await.expect("a log in memory");
        // However few events a day has, it has roll-ups.
        let compute = compute::Settings { roll_up_from: 0, ..compute::Settings::default() };
        let (state, incarnation) = (Arc::default(), topic.incarnation);
        Pipeline { clock, log, state, lake, source, views, compute, incarnation }
    }

    /// The same with another lake.
    #[must_use]
    pub fn over(&self, lake: Arc<dyn ObjectStore>) -> Pipeline {
        Pipeline { lake, ..self.clone() }
    }

    /// The same log, state and lake under other definitions.
    #[must_use]
    pub fn redefined(&self, source: Arc<Source>, views: Vec<Arc<View>>) -> Pipeline {
        Pipeline { source, views, ..self.clone() }
    }

    /// The same log with a state and a lake of its own.
    #[must_use]
    pub fn apart(&self, lake: Arc<dyn ObjectStore>) -> Pipeline {
        Pipeline { state: Arc::default(), lake, ..self.clone() }
    }

    /// Partition `number` of the source.
    pub fn partition(&self, number: u32) -> Partition {
        Partition::new(self.source.name.as_str(), number)
    }

    fn numbers(&self) -> std::ops::Range<u32> {
        0..self.source.partitions
    }

    /// Appends one record past the door; answers with its offset.
    pub async fn append(&self, partition: u32, value: Bytes) -> Offset {
        let stored = self.log.append(&self.source.name, vec![NewRecord { partition, value }]).await;
        stored.expect("a log in memory")[0].1
    }

    /// Where the speed layer reads and writes.
    pub fn places(&self) -> Places {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let cuts = Arc::new(LakeCuts::new(&self.lake, &self.views, &clock));
        Places { log: self.log.clone(), state: self.state.clone(), cuts }
    }

    /// A worker of partition `number` that knows nothing yet.
    pub fn worker(&self, number: u32, limits: Limits) -> Worker {
        Worker::new(self.places(), self.source.clone(), self.views.clone(), number, limits)
    }

    /// Forgets at once what the newest generations cover.
    ///
    /// # Errors
    /// Those of state and lake.
    pub async fn trim(&self) -> Result<()> {
        let (rule, clock) = (TrimRule { grace: Span(0), log: false }, self.clock.clone());
        Trimmer::new(self.places(), clock, self.source.clone(), self.views.clone(), rule).step().await
    }

    /// Lets a view go back to an earlier generation.
    ///
    /// # Errors
    /// As [`rollback::rollback`].
    pub async fn roll_back(&self, view: &Arc<View>, to: Option<u64>) -> Result<RolledBack> {
        rollback::rollback(&self.context().await?, view, to).await
    }

    /// Folds all that the log holds.
    ///
    /// # Errors
    /// Those of the workers.
    pub async fn fold(&self) -> Result<()> {
        for number in self.numbers() {
            let mut worker = self.worker(number, Limits::default());
            while worker.step().await? != Step::Idle {}
        }
        Ok(())
    }

    /// The archive of the source.
    ///
    /// # Errors
    /// Those of the lake.
    pub async fn archive_table(&self) -> Result<Arc<ArchiveTable>> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        Ok(Arc::new(ArchiveTable::open(self.lake.clone(), &self.source, &self.incarnation, clock).await?))
    }

    /// An archiver of partition `number` that knows nothing yet.
    ///
    /// # Errors
    /// Those of the lake.
    pub async fn archiver(&self, number: u32, settings: ArchiverSettings) -> Result<Archiver> {
        let (log, table) = (self.log.clone(), self.archive_table().await?);
        Ok(Archiver::new(log, table, self.source.clone(), number, self.clock.clone(), settings))
    }

    /// Archives every closed segment; answers with A.
    ///
    /// # Errors
    /// Those of the archivers.
    pub async fn archive(&self) -> Result<OffsetVector> {
        let mut archived = OffsetVector::default();
        for number in self.numbers() {
            let mut archiver = self.archiver(number, ArchiverSettings::default()).await?;
            archived.set(number, archiver.drain().await?);
        }
        Ok(archived)
    }

    /// One batch run over all views.
    ///
    /// # Errors
    /// Those of the run.
    pub async fn recompute(&self, full: bool) -> Result<Vec<Outcome>> {
        job::run(&self.context().await?, &Options { full, ..Options::default() }).await
    }

    async fn context(&self) -> Result<Context> {
        let archive = Archive { table: self.archive_table().await?, incarnation: self.incarnation.clone() };
        Ok(Context {
            store: self.lake.clone(),
            clock: self.clock.clone(),
            archives: BTreeMap::from([(self.source.name.clone(), archive)]),
            views: self.views.clone(),
            state: Some(self.state.clone()),
            compute: self.compute,
            retain: retain::Settings::default(),
            runs: Arc::default(),
        })
    }

    /// The table of a view's generations.
    pub fn view_table(&self, view: &Arc<View>) -> ViewTable {
        ViewTable::new(self.lake.clone(), view.clone(), self.clock.clone())
    }

    /// All rows of a view's newest generation, and its cut.
    ///
    /// # Errors
    /// Those of the lake.
    pub async fn batch_rows(&self, view: &Arc<View>) -> Result<(Rows, OffsetVector)> {
        let table = self.view_table(view);
        let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
        let Some(newest) = table.latest().await? else { return Ok((groups.into_rows(), OffsetVector::default())) };
        for file in &newest.files {
            groups.merge(&table.get(file).await?);
        }
        Ok((groups.into_rows(), newest.cut))
    }

    /// All rows that the speed layer holds of a view: those of the closed segments, and those of the open ones; and where the
    /// closed segments end and where it stands.
    ///
    /// # Errors
    /// Those of the state store.
    pub async fn speed_rows(&self, view: &Arc<View>) -> Result<SpeedRows> {
        let mut closed = Groups::new(view.dimensions.len(), &view.kinds());
        let mut open = Groups::new(view.dimensions.len(), &view.kinds());
        let (mut boundary, mut position, mut segments) = (OffsetVector::default(), OffsetVector::default(), 0);
        for number in self.numbers() {
            let partition = self.partition(number);
            let held = self.state.snapshot(&partition, std::slice::from_ref(&view.id)).await?;
            let held = held.into_iter().next().flatten().expect("the view was folded");
            for segment in &held.closed {
                let rows = self.state.segment(&partition, &view.id, segment.start).await?;
                closed.merge(&rows.expect("what a snapshot names is held"));
                segments += 1;
            }
            if !held.open.is_empty() {
                open.merge(&held.open);
            }
            boundary.set(number, held.progress.segment.start);
            position.set(number, held.progress.position);
        }
        Ok(SpeedRows { closed: closed.into_rows(), open: open.into_rows(), boundary, position, segments })
    }
}

/// What the speed layer holds of one view.
#[derive(Debug)]
pub struct SpeedRows {
    /// Of the closed segments.
    pub closed: Rows,
    /// Of the open ones.
    pub open: Rows,
    /// Where the open segments start.
    pub boundary: OffsetVector,
    /// How far the log is folded.
    pub position: OffsetVector,
    /// How many closed segments there are.
    pub segments: usize,
}
