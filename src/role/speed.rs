//! The speed role: a worker for each partition that this process has, and the trimmers.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use seam_shared::config::{LogStorage, Mode};
use seam_shared::lock::lock;
use seam_shared::log::{Offset, Partition};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Span;
use seam_shared::{Error, Result};
use seam_speed::recover::Places;
use seam_speed::rewind::Rewinder;
use seam_speed::trim::{TrimRule, Trimmer};
use seam_speed::worker::{Limits, Track, Worker};
use tokio_util::sync::CancellationToken;

use super::Process;
use super::crew::{self, Board, Hire};
use super::health::Part;
use super::replaced::{Group, Replaced};
use crate::wire::Ports;

/// How long readers of a generation may still need the segments that the next one covers.
const TRIM_GRACE: Span = Span(10_000_000);

/// The pauses between two looks at what can be trimmed, and after one that failed.
const TRIM_EVERY: Duration = Duration::from_secs(1);
const TRIM_AGAIN: Duration = Duration::from_secs(15);

/// Adds the speed layer to a process.
pub async fn start(process: &mut Process) -> Result<()> {
    let ports = process.ports.clone();
    let replaced = Replaced::start(ports.clone()).await?;
    let places = ports.places(ports.archives().await?, &replaced.views());
    let membership = ports.join("speed").await?;
    let board = Board::new("speed", &ports.telemetry);
    let watch = Arc::new(Watch {
        ports: ports.clone(),
        places: places.clone(),
        replaced: replaced.clone(),
        board: board.clone(),
        tracks: Mutex::default(),
    });
    let hire: Hire = {
        let watch = watch.clone();
        Box::new(move |partition, cancel| Box::pin(fold(watch.clone(), partition.clone(), cancel)))
    };
    process.work("speed", crew::run(membership, board, hire, process.layers()))?;
    for source in &ports.config.sources {
        let rule = TrimRule { grace: TRIM_GRACE, log: false };
        let views = ports.config.views_of(&source.name);
        let mut trimmer = Trimmer::new(places.clone(), ports.clock.clone(), source.clone(), views, rule);
        // How long Kafka keeps records is a setting of its topic; without an archive the log keeps everything.
        if ports.config.batch.mode == Mode::Lambda && matches!(ports.config.storage.log, LogStorage::Embedded) {
            trimmer = trimmer.forgetting(ports.log.clone(), ports.config.storage.retain_log);
        }
        process.work(&format!("trim {}", source.name), trim(trimmer, process.layers()))?;
    }
    process.work("replaced definitions", replaced.run(places, process.layers()))?;
    process.watch(watch);
    Ok(())
}

/// Folds one partition: all groups of its views side by side. What answers decides how it ends.
async fn fold(watch: Arc<Watch>, partition: Partition, cancel: CancellationToken) -> Result<()> {
    let ports = &watch.ports;
    let source = ports.config.source(&partition.source);
    let source = source.ok_or_else(|| Error::internal(format!("{partition} is of no source")))?;
    let worker = |(i, group): (usize, Group)| {
        let Group { source, views, until } = group;
        let mut worker = Worker::new(watch.places.clone(), source, views, partition.number, Limits::default());
        if i == 0 {
            worker = worker.metered(ports.telemetry.clone(), ports.clock.clone()).tracked(watch.track(&partition));
        }
        until_replaced(worker, partition.clone(), until, cancel.clone())
    };
    let groups = watch.replaced.groups(source);
    let rewinder =
        Rewinder::new(watch.places.clone(), source.clone(), ports.config.views_of(&source.name), partition.number);
    let rewinding = rewinder.run(cancel.clone());
    let folding = try_join_all(groups.into_iter().enumerate().map(worker));
    futures::future::try_join(rewinding, folding).await.map(|_| ())
}

/// Runs a worker; one of an earlier definition until that is replaced, and whatever stops it stops nobody else.
async fn until_replaced(
    worker: Worker,
    partition: Partition,
    until: Option<CancellationToken>,
    cancel: CancellationToken,
) -> Result<()> {
    let Some(until) = until else { return worker.run(cancel).await };
    // A worker that is dropped in mid-step leaves a state that is exact at its position.
    let ended = tokio::select! { ended = worker.run(cancel) => ended, () = until.cancelled() => Ok(()) };
    if let Err(error) = ended {
        tracing::error!(%partition, %error, "an earlier definition cannot be folded on; its answers stay where they are");
    }
    Ok(())
}

/// How far the workers have come.
struct Watch {
    ports: Arc<Ports>,
    places: Places,
    replaced: Arc<Replaced>,
    board: Arc<Board>,
    tracks: Mutex<BTreeMap<Partition, Tracked>>,
}

#[derive(Clone)]
struct Tracked {
    track: Arc<Track>,
    /// Where the worker must come to before this process is ready.
    goal: Goal,
}

#[derive(Clone, Copy, PartialEq)]
enum Goal {
    /// Where the log ends when somebody asks.
    NotAsked,
    /// Where it ended then.
    End(Offset),
    /// It was there.
    Reached,
}

impl Watch {
    /// What a new worker of a partition reports to.
    fn track(&self, partition: &Partition) -> Arc<Track> {
        let track = Arc::new(Track::default());
        self.lock().insert(partition.clone(), Tracked { track: track.clone(), goal: Goal::NotAsked });
        track
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, Tracked>> {
        lock(&self.tracks)
    }
    fn set(&self, partition: &Partition, goal: Goal) {
        if let Some(tracked) = self.lock().get_mut(partition) {
            tracked.goal = goal;
        }
    }
    /// The partitions at work here.
    fn tracked(&self) -> Vec<(Partition, Tracked)> {
        let at_work = self.board.partitions();
        let tracks = self.lock();
        at_work.into_iter().filter_map(|partition| Some((partition.clone(), tracks.get(&partition)?.clone()))).collect()
    }
    /// The lowest cut of the generations of a partition's views: what is above it is folded again if the state is lost.
    async fn covered(&self, partition: &Partition) -> Result<Offset> {
        let mut lowest = None;
        for view in self.ports.config.views_of(&partition.source) {
            let cut = self.places.cuts.cut(&view).await?.map_or(Offset(0), |cut| cut.get(partition.number));
            lowest = Some(lowest.map_or(cut, |lowest: Offset| lowest.min(cut)));
        }
        Ok(lowest.unwrap_or_default())
    }
    /// Whether a worker has come to where the log ended when it was asked first.
    async fn caught_up(&self, partition: &Partition, tracked: &Tracked) -> Result<()> {
        let end = match tracked.goal {
            Goal::Reached => return Ok(()),
            Goal::End(end) => end,
            Goal::NotAsked => {
                let end = self.ports.log.bounds(partition).await?.1;
                self.set(partition, Goal::End(end));
                end
            }
        };
        let committed = tracked.track.committed();
        if tracked.track.waits() || committed.is_some_and(|committed| committed >= end) {
            self.set(partition, Goal::Reached);
            return Ok(());
        }
        let reached = committed.map_or_else(|| "nothing".to_owned(), |offset| offset.to_string());
        Err(Error::unavailable(format!("has come to {reached}, the log was at {end}")))
    }
}

#[async_trait]
impl Part for Watch {
    async fn checks(&self) -> Vec<(String, Result<()>)> {
        let mut checks = self.board.checks();
        for (partition, tracked) in self.tracked() {
            checks.push((format!("speed {partition} has caught up"), self.caught_up(&partition, &tracked).await));
        }
        checks
    }

    /// The lag of each partition at work here; those of other processes are theirs to tell.
    async fn measure(&self) {
        let at_work = self.tracked();
        let lags = &self.ports.telemetry.consumer_lag_records;
        self.lock().retain(|partition, _| {
            let stays = at_work.iter().any(|(here, _)| here == partition);
            if !stays {
                lags.remove(&Telemetry::partition_labels(partition));
            }
            stays
        });
        for (partition, tracked) in at_work {
            let Some(committed) = tracked.track.committed() else { continue };
            let Ok((_, end)) = self.ports.log.bounds(&partition).await else { continue };
            let gauge = |below: Offset| i64::try_from(end.0.saturating_sub(below.0)).unwrap_or(i64::MAX);
            let labels = Telemetry::partition_labels(&partition);
            lags.get_or_create(&labels).set(gauge(committed));
            if let Ok(covered) = self.covered(&partition).await {
                self.ports.telemetry.rebuild_records.get_or_create(&labels).set(gauge(covered));
            }
        }
    }
}

async fn trim(mut trimmer: Trimmer, cancel: CancellationToken) {
    let mut pause = TRIM_EVERY;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        // What is not trimmed takes room and nothing else: a store that is away is not asked, and told of, every second.
        pause = match trimmer.step().await {
            Ok(_) => TRIM_EVERY,
            Err(error) => {
                tracing::warn!(%error, "trimming has to wait");
                TRIM_AGAIN
            }
        };
    }
}
