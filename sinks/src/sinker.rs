//! One sink at work: at each trigger, what the answer says now of the groups that the mode wants, and the mark, in one write.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seam_serving::Serving;
use seam_serving::answer::extract::{Between, Extract};
use seam_shared::clock::Clock;
use seam_shared::config::{OutputMode, Sink};
use seam_shared::lock::lock;
use seam_shared::log::EventLog;
use seam_shared::outlet::{Outlet, Record};
use seam_shared::telemetry::{Telemetry, ViewLabels};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::rows::Rows;
use seam_shared::{Error, Kind, Result};
use tokio_util::sync::CancellationToken;

use crate::mark::Mark;
use crate::reader::Reader;
use crate::records::{self, Made, Stamp};
use crate::remembered::Remembered;
use crate::touched::{self, Touched};

/// Bytes of written measures that are remembered.
const REMEMBERED_BYTES: usize = 128 << 20;
/// Records that are read back to remember them.
const READ_BACK: usize = 200_000;
/// How often an output begins again because a part of what it had pinned was retired under it.
const ATTEMPTS: u32 = 4;
/// The pause after an output that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause after another writer took over: who of both is to write is settled meanwhile.
const TAKEN_OVER: Duration = Duration::from_secs(5);

/// How long an output may take on when the process ends.
const FINISH: Duration = Duration::from_secs(2);

/// What came of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// So many records were written, or just the mark.
    Wrote(usize),
    /// There was nothing new.
    Nothing,
    /// There is no answer yet that could be written, and why.
    Waiting(String),
}

/// What a sink needs.
#[derive(Clone)]
pub struct Places {
    /// Answers.
    pub serving: Arc<Serving>,
    /// The log, with the archive below it.
    pub log: Arc<dyn EventLog>,
    /// Where the records go.
    pub outlet: Arc<dyn Outlet>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub telemetry: Arc<Telemetry>,
}

/// How a sink is.
#[derive(Debug, Default)]
pub struct Status(Mutex<Option<String>>);

impl Status {
    /// Why its last output failed, if it did.
    pub fn failure(&self) -> Option<String> {
        lock(&self.0).clone()
    }
    fn set(&self, failure: Option<String>) {
        *lock(&self.0) = failure;
    }
}

/// What is known as long as the outlet is claimed.
struct Claimed {
    mark: Option<Mark>,
    remembered: Remembered,
}

/// What is to be written.
struct Output {
    rows: Rows,
    mark: Mark,
    /// Events that came too late to be in it.
    late: u64,
    /// Whether the mark is worth a write without records.
    moved: bool,
}

/// One sink.
pub struct Sinker {
    places: Places,
    sink: Sink,
    reader: Reader,
    status: Arc<Status>,
    /// Bytes of written measures that are remembered.
    memory: usize,
    claimed: Option<Claimed>,
}

impl Sinker {
    /// It has claimed nothing yet.
    pub fn new(places: Places, sink: Sink) -> Sinker {
        let reader = Reader::new(places.log.clone(), sink.view.source.clone());
        Sinker { places, sink, reader, status: Arc::default(), memory: REMEMBERED_BYTES, claimed: None }
    }
    /// The same, telling how it is.
    #[must_use]
    pub fn told(self, status: Arc<Status>) -> Sinker {
        Sinker { status, ..self }
    }
    /// The same, remembering at most so many bytes of what it wrote.
    #[must_use]
    pub fn remembering(self, memory: usize) -> Sinker {
        Sinker { memory, ..self }
    }

    /// Writes at each trigger until cancelled: once at the start, then at the multiples of the trigger in wall time.
    ///
    /// # Errors
    /// What does not pass by itself: a damaged mark, another log than the mark's.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<()> {
        let labels = ViewLabels { view: self.sink.view.name.clone() };
        let mut waiting = None;
        while !cancel.is_cancelled() {
            let now = self.places.clock.now();
            let stepped = tokio::select! {
                stepped = self.step() => stepped,
                () = ended(&cancel) => return Ok(()),
            };
            let pause = match stepped {
                Ok(step) => {
                    self.note(&step, &mut waiting);
                    if matches!(step, Step::Wrote(_) | Step::Nothing) {
                        let seconds = now.0 as f64 / 1e6;
                        self.places.telemetry.sink_last_trigger_seconds.get_or_create(&labels).set(seconds);
                    }
                    until_next(self.places.clock.now(), self.sink.trigger)
                }
                Err(error) => {
                    self.places.telemetry.sink_failures.get_or_create(&labels).inc();
                    let text = error.to_string();
                    if self.status.failure().as_ref() != Some(&text) {
                        tracing::warn!(view = labels.view, %error, "an output failed and is tried again");
                    }
                    self.status.set(Some(text));
                    match error.kind() {
                        Kind::Unavailable | Kind::NotFound | Kind::TooLarge => PAUSE,
                        Kind::Conflict => TAKEN_OVER,
                        Kind::Invalid | Kind::Denied | Kind::Corrupt | Kind::Internal => return Err(error),
                    }
                }
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.places.clock.sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// Tells once why nothing is written.
    fn note(&self, step: &Step, waiting: &mut Option<String>) {
        self.status.set(None);
        let now = if let Step::Waiting(why) = step { Some(why.clone()) } else { None };
        if let Some(why) = now.as_ref().filter(|_| now != *waiting) {
            tracing::info!(view = self.sink.view.name, why, "the sink waits");
        }
        *waiting = now;
    }

    /// One output.
    ///
    /// # Errors
    /// Those of serving, log and outlet; the next step claims the outlet again, and its mark tells what was written.
    pub async fn step(&mut self) -> Result<Step> {
        let stepped = self.step_once().await;
        if stepped.is_err() {
            self.claimed = None;
        }
        stepped
    }

    async fn step_once(&mut self) -> Result<Step> {
        if self.claimed.is_none() {
            self.claimed = Some(self.claim().await?);
        }
        let view = self.sink.view.clone();
        for attempt in 1.. {
            let extract = match self.places.serving.extract(&view).await {
                Ok(extract) => extract,
                // A view that is being built, or a store that is away: both pass.
                Err(error) if error.kind() == Kind::Unavailable => return Ok(Step::Waiting(error.to_string())),
                Err(error) => return Err(error),
            };
            match self.output(&extract).await {
                Ok(Err(step)) => return Ok(step),
                Ok(Ok(output)) => return self.write(&extract, output).await,
                Err(error) if error.kind() == Kind::NotFound && attempt < ATTEMPTS => {
                    tracing::debug!(%error, "an output begins again");
                }
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn claim(&self) -> Result<Claimed> {
        let mark = self.places.outlet.claim().await?;
        let mark = mark.map(|bytes| Mark::decode(&bytes)).transpose()?;
        let mut remembered = Remembered::new(self.memory);
        if self.sink.mode == OutputMode::Update && mark.is_some() {
            let values = self.places.outlet.newest(READ_BACK).await?;
            let mut written: Vec<_> = values.iter().filter_map(|value| records::read_back(value)).collect();
            // Within a partition they are in order; a topic that grew may hold one key in two of them.
            written.sort_by_key(|(.., reached)| *reached);
            written.into_iter().for_each(|(key, measures, _)| remembered.note(key, measures));
        }
        Ok(Claimed { mark, remembered })
    }

    /// What the mode wants to be written of an extract; or why nothing is.
    async fn output(&mut self, extract: &Extract) -> Result<std::result::Result<Output, Step>> {
        let view = self.sink.view.clone();
        let coverage = extract.coverage()?;
        let incarnation = self.places.log.open(&view.source.name, view.source.partitions).await?.incarnation;
        let before = self.claimed.as_ref().and_then(|claimed| claimed.mark.clone());
        if let Some(mark) = &before {
            if mark.incarnation != incarnation {
                let message = format!(
                    "topic {} was made again since view {} wrote its last output: give its sink another topic",
                    view.source.name, view.name
                );
                return Err(Error::corrupt(message));
            }
            if !coverage.covers(&mark.coverage) {
                let reached = coverage.to_text(&view.source.name);
                return Ok(Err(Step::Waiting(format!("answers reach {reached}, which is behind the last output"))));
            }
        }
        let is_new = before.as_ref().is_none_or(|mark| mark.coverage != coverage);
        let redefined = before.as_ref().is_none_or(|mark| mark.definition != *view.id);
        let mark = Mark { definition: view.id.to_string(), incarnation, coverage, through: None };
        let rows = match self.sink.mode {
            OutputMode::Append => return self.append(extract, before, mark).await,
            OutputMode::Complete | OutputMode::Update if !is_new && !redefined => return Ok(Err(Step::Nothing)),
            OutputMode::Complete => self.places.serving.windows(extract, self.sink.window, &self.all(None)).await?,
            OutputMode::Update if redefined => {
                let since = if before.is_none() { None } else { Some(Timestamp::MIN) };
                self.places.serving.windows(extract, self.sink.window, &self.all(since)).await?
            }
            OutputMode::Update => {
                let (window, mut touched) = (self.sink.window, Touched::default());
                let from = before.map(|mark| mark.coverage).unwrap_or_default();
                self.reader.read(&from, &mark.coverage, |batch| touched.add(&view, window, batch)).await?;
                self.places.serving.windows(extract, window, &touched).await?
            }
        };
        Ok(Ok(Output { rows, mark, late: 0, moved: true }))
    }

    /// The windows that have become complete, and how many events came after theirs was written.
    async fn append(
        &mut self,
        extract: &Extract,
        before: Option<Mark>,
        mark: Mark,
    ) -> Result<std::result::Result<Output, Step>> {
        let (view, window) = (self.sink.view.clone(), self.sink.window);
        let complete = match self.places.serving.complete_until(extract)? {
            Ok(until) => until.floor(window),
            Err(why) => return Ok(Err(Step::Waiting(why))),
        };
        let written = before.as_ref().and_then(|mark| mark.through);
        let through = written.map_or(complete, |written| written.max(complete));
        let wanted = Between(written.unwrap_or_else(|| self.since()), through);
        let rows = self.places.serving.windows(extract, window, &wanted).await?;
        let mut late = 0;
        let from = before.map(|mark| mark.coverage);
        if let (Some(written), Some(from)) = (written, &from) {
            let count = |batch: &_| {
                late += touched::late(&view, batch, window, written);
                Ok(())
            };
            self.reader.read(from, &mark.coverage, count).await?;
        }
        let moved = from.as_ref() != Some(&mark.coverage);
        if rows.is_empty() && !moved {
            return Ok(Err(Step::Nothing));
        }
        Ok(Ok(Output { rows, mark: Mark { through: Some(through), ..mark }, late, moved }))
    }

    /// All windows, or as far back as the file says.
    fn all(&self, since: Option<Timestamp>) -> Between {
        Between(since.unwrap_or_else(|| self.since()), Timestamp::MAX.plus(self.sink.window))
    }
    fn since(&self) -> Timestamp {
        self.sink.last.map_or(Timestamp::MIN, |last| self.places.clock.now().minus(last))
    }

    async fn write(&mut self, extract: &Extract, output: Output) -> Result<Step> {
        let Output { rows, mark, late, moved } = output;
        let Some(claimed) = &mut self.claimed else { return Err(Error::conflict("the outlet is not claimed")) };
        let view = &self.sink.view;
        let stamp = Stamp { generation: extract.generation()?, coverage: mark.coverage.to_text(&view.source.name) };
        let remembered = (self.sink.mode == OutputMode::Update).then_some(&claimed.remembered);
        let made = records::make(view, self.sink.window, &rows, &stamp, remembered);
        if made.is_empty() && !moved {
            return Ok(Step::Nothing);
        }
        let written: Vec<Record> = made.iter().map(|made| made.record.clone()).collect();
        let (count, bytes) = (written.len(), mark.encode()?);
        self.places.outlet.write(&written, &bytes).await?;
        if self.sink.mode == OutputMode::Update {
            for Made { record, measures } in made {
                claimed.remembered.note(record.key, measures);
            }
        }
        claimed.mark = Some(mark);
        let labels = ViewLabels { view: view.name.clone() };
        let telemetry = &self.places.telemetry;
        telemetry.sink_records.get_or_create(&labels).inc_by(count as u64);
        telemetry.sink_outputs.get_or_create(&labels).inc();
        if late > 0 {
            tracing::warn!(
                view = view.name,
                late,
                "events came after their window had been written; the output does not hold them"
            );
        }
        telemetry.sink_late_events.get_or_create(&labels).inc_by(late);
        Ok(Step::Wrote(count))
    }
}

/// Returns a while after a process was told to end: what has begun may be finished until then, and else its mark tells.
async fn ended(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(FINISH).await;
}

/// How long it is to the next multiple of the trigger.
fn until_next(now: Timestamp, trigger: Span) -> Duration {
    let next = now.floor(trigger).plus(trigger);
    Duration::from_micros(next.0.saturating_sub(now.0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_aligned_to_wall_time() {
        let pause = |now: i64| until_next(Timestamp(now), Span(10)).as_micros();
        assert_eq!([0, 1, 9, 10, 15].map(pause), [10, 9, 1, 10, 5]);
    }
}
