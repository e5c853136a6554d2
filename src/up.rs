//! Every layer in one process: started in the order of the data flow, stopped in the same order.
use std::sync::Arc;
use std::time::Duration;

use seam_batch::archive::{self, Archiver};
use seam_batch::audit::Drift;
use seam_batch::job::{self, Context, Options, Outcome, Status};
use seam_batch::schedule;
use seam_ingest::door::Door;
use seam_ingest::own_stream;
use seam_serving::{Serving, Settings, Stores};
use seam_shared::config::{Config, OWN_STREAM};
use seam_shared::telemetry::ViewLabels;
use seam_shared::time::Span;
use seam_shared::view::definition::Source;
use seam_shared::{Error, Result};
use seam_speed::trim::{TrimRule, Trimmer};
use seam_speed::worker::{Limits, Worker};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::shutdown;
use crate::wire::Ports;

/// How long requests under way may take after the signal.
const DRAIN: Duration = Duration::from_secs(4);
/// How long the layers may take to commit what they hold.
const FINISH: Duration = Duration::from_secs(4);
/// How long readers of a generation may still need the segments that the next one covers.
const TRIM_GRACE: Span = Span(10_000_000);

/// `seam up`: runs until a signal, then ends in order.
pub fn run(config: Config, insecure: bool) -> Result<()> {
    let listen = config.server.listen;
    if !listen.ip().is_loopback() && !insecure {
        let why = "anybody who reaches it could read and write; there are no keys yet";
        return Err(Error::invalid(format!("refusing to listen on {listen}: {why}; add --insecure to do it anyway")));
    }
    runtime()?.block_on(async {
        let signal = shutdown::on_signal().map_err(|e| Error::internal("signals cannot be caught").because(e))?;
        let running = Running::start(config).await?;
        println!("seam is up: http://{}", running.address);
        signal.cancelled().await;
        running.stop().await
    })
}

/// The runtime of a process with every layer in it.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| Error::internal("threads cannot be started").because(e))
}

/// A Seam with every layer.
pub struct Running {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    take: CancellationToken,
    layers: CancellationToken,
    server: JoinHandle<()>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Opens everything and starts every layer.
    pub async fn start(config: Config) -> Result<Running> {
        let listener = TcpListener::bind(config.server.listen).await;
        let listener = listener
            .map_err(|e| Error::unavailable(format!("cannot listen on {}", config.server.listen)).because(e))?;
        let address = listener.local_addr().map_err(|e| Error::internal("a listener has an address").because(e))?;
        let with_own = config.source(OWN_STREAM).is_none();
        let ports = Arc::new(Ports::open(config.with_own_stream())?);
        let (take, layers) = (CancellationToken::new(), CancellationToken::new());
        let mut threads = Vec::new();
        let context = ports.batch().await?;
        for source in ports.config.sources.clone() {
            let topic = ports.topic(&source).await?;
            let views = ports.config.views_of(&source.name);
            for number in 0..topic.partitions {
                let worker = Worker::new(ports.places(), source.clone(), views.clone(), number, Limits::default())
                    .metered(ports.telemetry.clone(), ports.clock.clone());
                threads.push(thread(format!("speed {}/{number}", source.name), worker.run(layers.clone()))?);
            }
            let table = &context.archives[&source.name].table;
            for number in 0..topic.partitions {
                let archiver = Archiver::new(
                    ports.log.clone(),
                    table.clone(),
                    source.clone(),
                    number,
                    ports.clock.clone(),
                    archive_settings(&ports),
                );
                threads.push(thread(format!("archive {}/{number}", source.name), archive(archiver, layers.clone()))?);
            }
            let rule = TrimRule { grace: TRIM_GRACE, log: false };
            let trimmer = Trimmer::new(ports.places(), ports.clock.clone(), source.clone(), views, rule);
            threads.push(thread(format!("trim {}", source.name), trim(trimmer, layers.clone()))?);
        }
        threads.push(thread("batch".to_owned(), recompute(ports.clone(), context, layers.clone()))?);
        let taken = |source: &&Arc<Source>| !with_own || source.name != OWN_STREAM;
        let sources: Vec<Arc<Source>> = ports.config.sources.iter().filter(taken).cloned().collect();
        let door = Door::open(ports.log.clone(), ports.clock.clone(), &sources).await?;
        let door = Arc::new(door.metered(&ports.telemetry));
        if with_own {
            let (door, cancel) = (door.clone(), layers.clone());
            threads.push(thread("own stream".to_owned(), async move { own_stream::run(&door, cancel).await })?);
        }
        let server = serve(&ports, door, listener, &take, &layers).await?;
        tracing::info!(%address, "every layer is up");
        Ok(Running { address, take, layers, server, threads })
    }

    /// Takes no more requests, lets those under way end, then the layers commit what they hold.
    pub async fn stop(self) -> Result<()> {
        self.take.cancel();
        if tokio::time::timeout(DRAIN, self.server).await.is_err() {
            tracing::warn!("requests were still under way and are cut off");
        }
        self.layers.cancel();
        let finished =
            tokio::task::spawn_blocking(move || self.threads.into_iter().filter_map(|t| t.join().err()).count());
        match tokio::time::timeout(FINISH, finished).await {
            Ok(Ok(0)) => Ok(()),
            Ok(_) => Err(Error::internal("a layer ended with a panic; its message is in the log")),
            Err(_) => {
                tracing::warn!("a layer was still at work and is cut off; the next start goes on from its last commit");
                Ok(())
            }
        }
    }
}

async fn serve(
    ports: &Arc<Ports>,
    door: Arc<Door>,
    listener: TcpListener,
    take: &CancellationToken,
    layers: &CancellationToken,
) -> Result<JoinHandle<()>> {
    let stores = Stores { log: Some(ports.log.clone()), state: ports.state.clone(), lake: ports.lake.clone() };
    let serving =
        Serving::new(ports.config.clone(), stores, ports.clock.clone(), ports.telemetry.clone(), Settings::default());
    let serving = Arc::new(serving);
    serving.refresh().await?;
    let (refreshed, cancel) = (serving.clone(), layers.clone());
    tokio::spawn(async move { refreshed.run(cancel).await });
    let routes = seam_serving::http::routes(serving).merge(seam_ingest::http::routes(door));
    let router = seam_serving::http::finish(routes);
    let cancel = take.clone();
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the HTTP server ended");
        }
    }))
}

/// A layer on a thread of its own: its work is long stretches of computing, which would hold up requests.
fn thread(name: String, work: impl Future<Output = ()> + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Handle::current();
    let spawned = std::thread::Builder::new().name(name).spawn(move || runtime.block_on(work));
    spawned.map_err(|e| Error::internal("a thread cannot be started").because(e))
}

/// Closed segments wait for a file at most half as long as batch runs are apart: a run that finds nothing new is a waste.
fn archive_settings(ports: &Ports) -> archive::Settings {
    let standard = archive::Settings::default();
    let now = ports.clock.now();
    let next = |from| ports.config.batch.schedule.as_ref().and_then(|schedule| schedule.next_after(from));
    let apart = next(now).and_then(|first| Some(next(first)?.0 - first.0)).unwrap_or(i64::MAX);
    let delay_max = Span((apart / 2).clamp(Span::SECOND.0, standard.delay_max.0));
    archive::Settings { delay_max, ..standard }
}

async fn archive(mut archiver: Archiver, cancel: CancellationToken) {
    if let Err(error) = archiver.run(cancel).await {
        tracing::error!(%error, "archiving has stopped; answers stay exact, but nothing new reaches batch");
    }
}

async fn recompute(ports: Arc<Ports>, context: Context, cancel: CancellationToken) {
    let settings = &ports.config.batch;
    let Some(rule) = &settings.schedule else { return };
    if let Err(error) = job::take_over(&context).await {
        tracing::warn!(%error, "leases of a process before this one could not be freed; they run out");
    }
    let options = Options { views: settings.views.clone(), full: false };
    let report = |outcome: Result<Vec<Outcome>>| note(&ports, outcome);
    schedule::run(&context, &options, rule, settings.starting_deadline, &cancel, report).await;
}

/// Tells logs and metrics how a batch run ended.
fn note(ports: &Ports, outcome: Result<Vec<Outcome>>) {
    let outcomes = match outcome {
        Ok(outcomes) => outcomes,
        Err(error) => return tracing::error!(%error, "a batch run failed; the last generation goes on serving"),
    };
    for outcome in outcomes.iter().filter(|o| o.status == Status::Published) {
        let labels = ViewLabels { view: outcome.view.clone() };
        let telemetry = &ports.telemetry;
        telemetry.batch_last_success_seconds.get_or_create(&labels).set(ports.clock.now().0 as f64 / 1e6);
        telemetry.batch_duration_seconds.get_or_create(&labels).set(outcome.seconds);
        if let Some(Drift::Groups(groups)) = outcome.drift {
            telemetry.batch_drift_groups.get_or_create(&labels).set(i64::try_from(groups).unwrap_or(i64::MAX));
        }
    }
}

async fn trim(mut trimmer: Trimmer, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        if let Err(error) = trimmer.step().await {
            tracing::warn!(%error, "trimming has to wait");
        }
    }
}
