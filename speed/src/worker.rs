//! One worker a source partition: reads, folds and commits all views of the source, again and again.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seam_shared::clock::Clock;
use seam_shared::error::{Error, Kind, Result};
use seam_shared::failpoint::{self, Failpoint};
use seam_shared::log::{Offset, Partition};
use seam_shared::state::{Committed, ViewId};
use seam_shared::telemetry::Telemetry;
use seam_shared::view::definition::{Source, View};
use tokio_util::sync::CancellationToken;

use crate::recover::{Places, Recovered, is_below_log};
use crate::segments::Reach;
use crate::tally::Meter;

/// How long a worker with nothing to do waits before it looks at the store and the lake.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Records and bytes that a step reads at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records of one chunk; a full chunk means that there is more to catch up with.
    pub records: usize,
    /// Bytes of one chunk.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 8_192, bytes: 8 << 20 }
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There was nothing to read and nothing to commit.
    Idle,
    /// The worker loaded what the store holds, for it had nothing in memory that it could trust.
    Recovered,
    /// Records were folded, and committed or kept for the commit of a later step.
    Folded {
        /// How many.
        records: usize,
    },
}

/// How far a worker has come, for whoever watches it.
#[derive(Debug)]
pub struct Track(AtomicU64);

/// Nothing is known yet.
const UNKNOWN: u64 = u64::MAX;
/// No view can be folded before its first generation.
const WAITS: u64 = u64::MAX - 1;

impl Default for Track {
    fn default() -> Self {
        Self(AtomicU64::new(UNKNOWN))
    }
}

impl Track {
    /// What every view that can be folded is committed up to; `None` before the worker knows.
    pub fn committed(&self) -> Option<Offset> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at < WAITS).map(Offset)
    }
    /// Whether there is nothing to fold before a first generation is there.
    pub fn waits(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WAITS
    }
}

/// Folds one partition. Any number of workers may be at work on one partition: the store lets each range through once.
#[derive(Debug)]
pub struct Worker {
    places: Places,
    partition: Partition,
    source: Arc<Source>,
    views: Vec<Arc<View>>,
    limits: Limits,
    meter: Option<Meter>,
    track: Option<Arc<Track>>,
    /// `None` whenever memory may differ from the store.
    memory: Option<Recovered>,
    /// Whether the last step was idle.
    quiet: bool,
}

impl Worker {
    /// A worker that has not looked at anything yet. All views are of `source`.
    pub fn new(places: Places, source: Arc<Source>, views: Vec<Arc<View>>, number: u32, limits: Limits) -> Self {
        let partition = Partition::new(source.name.as_str(), number);
        Self { places, partition, source, views, limits, meter: None, track: None, memory: None, quiet: false }
    }

    /// Tells the platform's metrics what it folds.
    #[must_use]
    pub fn metered(mut self, telemetry: Arc<Telemetry>, clock: Arc<dyn Clock>) -> Self {
        self.meter = Some(Meter::new(telemetry, clock, &self.source));
        self
    }

    /// Tells `track` how far it has come.
    #[must_use]
    pub fn tracked(mut self, track: Arc<Track>) -> Self {
        self.track = Some(track);
        self
    }

    /// Reads one chunk, folds it, and commits. After an error the next step starts from what the store holds.
    ///
    /// # Errors
    /// Those of log, state store and lake; all may pass but `Kind::Corrupt`.
    pub async fn step(&mut self) -> Result<Step> {
        let Some(memory) = self.memory.take() else {
            let recovered = self.places.recover(&self.partition, &self.source, &self.views).await?;
            self.memory = Some(recovered);
            return Ok(Step::Recovered);
        };
        let (step, memory) = self.advance(memory).await?;
        self.memory = memory;
        self.quiet = step == Step::Idle;
        if let (Some(track), Some(memory)) = (&self.track, &self.memory) {
            let waits = memory.waiting.len() == self.views.len();
            let committed = memory.segments.committed().map(|(_, position)| position).min();
            track.0.store(if waits { WAITS } else { committed.map_or(UNKNOWN, |o| o.0) }, Ordering::Relaxed);
        }
        Ok(step)
    }

    async fn advance(&mut self, mut memory: Recovered) -> Result<(Step, Option<Recovered>)> {
        if memory.waiting.len() == self.views.len() {
            return self.idle(memory).await;
        }
        let Limits { records, bytes } = self.limits;
        let begun = self.meter.as_ref().map(Meter::now);
        let position = memory.segments.position();
        let chunk = match self.places.log.read(&self.partition, position, records, bytes).await {
            Ok(chunk) => chunk,
            Err(error) if is_below_log(&error) => return Ok((Step::Recovered, None)),
            Err(error) => return Err(error),
        };
        let closed = memory.segments.take(&chunk);
        // A full chunk means that the log is far ahead: then rows are written once, when their segment has closed.
        let reach = if chunk.len() == records { Reach::Closed } else { Reach::Everything };
        let commits = memory.segments.commits(reach);
        let committing = !commits.is_empty();
        if committing {
            failpoint::reach(Failpoint::SpeedFolded);
            match self.places.state.commit(&self.partition, commits).await? {
                Committed::Applied => failpoint::reach(Failpoint::SpeedCommitted),
                Committed::Moved => return Ok((Step::Recovered, None)),
                Committed::Missing => {
                    self.lost();
                    return Ok((Step::Recovered, None));
                }
            }
        }
        if let Some(meter) = self.meter.as_mut().filter(|_| !chunk.is_empty()) {
            meter.folded(memory.segments.tally(), committing.then(|| chunk.get(0).timestamp));
            meter.worked(chunk.len(), begun);
        }
        if chunk.is_empty() && self.quiet && !self.is_stored(&memory).await? {
            return Ok((Step::Recovered, None));
        }
        if chunk.is_empty() || closed > 0 {
            let (step, memory) = self.idle(memory).await?;
            let step = if chunk.is_empty() { step } else { Step::Folded { records: chunk.len() } };
            return Ok((step, memory));
        }
        Ok((Step::Folded { records: chunk.len() }, Some(memory)))
    }

    /// Whether the store still holds what was committed. Whoever has records to commit need not ask: the commit tells.
    async fn is_stored(&self, memory: &Recovered) -> Result<bool> {
        let (views, positions): (Vec<ViewId>, Vec<Offset>) = memory.segments.committed().unzip();
        let held = self.places.state.snapshot(&self.partition, &views).await?;
        if held.iter().any(Option::is_none) {
            self.lost();
        }
        Ok(held.iter().map(|held| held.as_ref().map(|held| held.progress.position)).eq(positions.into_iter().map(Some)))
    }

    /// Looks whether a view that waits can start; then everything is loaded anew, with it.
    async fn idle(&self, memory: Recovered) -> Result<(Step, Option<Recovered>)> {
        for view in &memory.waiting {
            if self.places.settle(&self.partition, view).await? {
                return Ok((Step::Recovered, None));
            }
        }
        Ok((Step::Idle, Some(memory)))
    }

    /// The next offset to read, when known.
    pub fn position(&self) -> Option<Offset> {
        self.memory.as_ref().map(|memory| memory.segments.position())
    }

    /// Steps until cancelled. Errors are logged and tried again, ever less often.
    ///
    /// # Errors
    /// `Corrupt`: log, state or lake are not what they were, and to go on would be to guess.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<()> {
        let mut pause = Duration::ZERO;
        let mut recovering = None;
        while !cancel.is_cancelled() {
            let stepped = self.step().await;
            if let Ok(step) = &stepped {
                self.watch_recovery(*step, &mut recovering);
            }
            match stepped {
                Ok(Step::Idle) => {
                    pause = Duration::ZERO;
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = self.wait() => {}
                    }
                }
                Ok(Step::Recovered | Step::Folded { .. }) => {
                    pause = Duration::ZERO;
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    if error.kind() == Kind::Corrupt {
                        return Err(error); // whoever runs the worker counts it
                    }
                    self.note(&error);
                    tracing::warn!(partition = %self.partition, %error, "speed worker goes back to the stored state");
                    pause = (pause * 2).clamp(Duration::from_millis(50), Duration::from_secs(5));
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells how long it took from the loading of the stored state to the end of the log.
    fn watch_recovery(&self, step: Step, recovering: &mut Option<(Instant, usize)>) {
        let folded = match step {
            Step::Recovered => {
                recovering.get_or_insert((Instant::now(), 0));
                return;
            }
            Step::Folded { records } => records,
            Step::Idle => 0,
        };
        let Some((begun, records)) = recovering else { return };
        *records += folded;
        // A chunk that is not full was the last one.
        if folded < self.limits.records {
            let seconds = begun.elapsed().as_secs_f64();
            tracing::info!(partition = %self.partition, records, seconds, "caught up with the log");
            if let Some(meter) = &self.meter {
                meter.recovered(&self.partition, seconds);
            }
            *recovering = None;
        }
    }

    fn note(&self, error: &Error) {
        let name = match error.kind() {
            Kind::Invalid => "invalid",
            Kind::NotFound => "not_found",
            Kind::Denied => "denied",
            Kind::Conflict => "conflict",
            Kind::Unavailable => "unavailable",
            Kind::TooLarge => "too_large",
            Kind::Corrupt => "corrupt",
            Kind::Internal => "internal",
        };
        if let Some(meter) = &self.meter {
            meter.failed(name, 1);
        }
    }

    /// The store holds nothing where it held something: it will be made again.
    fn lost(&self) {
        tracing::warn!(partition = %self.partition, "the state of the speed layer was lost; it is folded again");
        if let Some(meter) = &self.meter {
            meter.lost();
        }
    }

    /// Until there is more to read, or it is time to look whether the state was lost or a first generation appeared.
    async fn wait(&self) {
        let Some(memory) = &self.memory else { return };
        let more = self.places.log.wait(&self.partition, memory.segments.position());
        if let Ok(Err(error)) = tokio::time::timeout(LOOK_AGAIN, more).await {
            tracing::warn!(partition = %self.partition, %error, "cannot wait for the log");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
