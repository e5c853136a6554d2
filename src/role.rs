//! A process of Seam: one role or all of them, started in the order of the data flow and stopped in the same order.
//!
//! Each role is one function that adds to a [`Process`]: work on threads, routes, and what `/readyz` and `/metrics` ask. `seam up`
//! calls all of them, `seam speed` and the like one each; there is no other difference.
pub mod archive;
pub mod batch;
mod check;
pub mod crew;
pub mod health;
pub mod ingest;
mod open_files;
pub mod replaced;
pub mod serve;
pub mod sink;
pub mod speed;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use seam_serving::Serving;
use seam_serving::access::tls::Entrance;
use seam_serving::access::{Access, check_listen};
use seam_serving::http::openapi::{self, OpenApi};
use seam_shared::clock::SystemClock;
use seam_shared::config::{Config, LogStorage, SpeedStorage, Target};
use seam_shared::{Error, Kind, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::runtime::{Ended, until_stopped};
use crate::shutdown;
use crate::wire::Ports;
use health::{Health, Part};

/// How long requests under way may take after the signal.
const DRAIN: Duration = Duration::from_secs(4);
/// How long the layers may take to commit what they hold.
const FINISH: Duration = Duration::from_secs(4);
/// The pauses between attempts to reach a store at the start.
const RETRY: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes events over HTTP.
    Ingest,
    /// Folds the log.
    Speed,
    /// Copies the log into the lake.
    Archive,
    /// Recomputes by the schedule.
    Batch,
    /// Writes what changed where others read it.
    Sink,
    /// Answers.
    Serve,
}

impl Role {
    /// In the order of the data flow, as far as starting goes: whoever takes or answers comes last.
    pub const ALL: [Role; 6] = [Role::Archive, Role::Speed, Role::Batch, Role::Sink, Role::Ingest, Role::Serve];

    /// As the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Speed => "speed",
            Role::Archive => "archive",
            Role::Batch => "batch",
            Role::Sink => "sink",
            Role::Serve => "serve",
        }
    }

    /// Whether it answers more than probes.
    fn has_api(self) -> bool {
        matches!(self, Role::Ingest | Role::Serve)
    }

    /// Adds it to a process. What fails does so before anything was added, so that it can be tried again.
    async fn start(self, process: &mut Process) -> Result<()> {
        match self {
            Role::Ingest => ingest::start(process).await,
            Role::Speed => speed::start(process).await,
            Role::Archive => archive::start(process).await,
            Role::Batch => batch::start(process).await,
            Role::Sink => sink::start(process).await,
            Role::Serve => serve::start(process).await,
        }
    }
}

/// `seam speed` and the like: one role until a signal.
pub fn run(config: Config, role: Role, listen: Option<SocketAddr>, insecure: bool) -> Result<()> {
    if matches!(role, Role::Archive | Role::Batch) {
        crate::command::batch::refuse_kappa(&config)?;
    }
    if role == Role::Sink && config.sinks.is_empty() {
        return Err(Error::invalid("no view has a `sink`: there is nothing to write"));
    }
    refuse_embedded(&config, role)?;
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let standard = if role.has_api() { config.server.listen } else { any_port };
    let listen = listen.unwrap_or(standard);
    let config = Config { server: seam_shared::config::ServerSettings { listen, ..config.server.clone() }, ..config };
    // The other roles answer probes and metrics only, which tell nothing of any event.
    if role.has_api() {
        check_listen(&config, insecure)?;
    }
    until_signal(config, &[role], &format!("seam {}", role.name()))
}

/// A role of its own needs stores that processes can share.
fn refuse_embedded(config: &Config, role: Role) -> Result<()> {
    let name = role.name();
    let how = "or run every layer in one process with `seam up`";
    if matches!(config.storage.log, LogStorage::Embedded) {
        return Err(Error::invalid(format!(
            "`seam {name}` is a process of its own, but `storage.log` is embedded, and one process alone can hold that: \
             set storage.log to the address of Kafka (host:9092), {how}"
        )));
    }
    let keeps_state = matches!(role, Role::Speed | Role::Serve | Role::Sink);
    if keeps_state && matches!(config.storage.speed, SpeedStorage::Embedded | SpeedStorage::Memory) {
        return Err(Error::invalid(format!(
            "`seam {name}` is a process of its own, but `storage.speed` is kept within one process: \
             set storage.speed to the address of Redis (redis://host:6379), {how}"
        )));
    }
    Ok(())
}

/// Runs `roles` in this process until a signal, then ends them in order.
pub fn until_signal(config: Config, roles: &[Role], name: &str) -> Result<()> {
    until_stopped(async {
        let signal = shutdown::on_signal().map_err(|e| Error::internal("signals cannot be caught").because(e))?;
        let process = tokio::select! {
            started = Process::start(config, roles) => started?,
            () = signal.cancelled() => return Ok(Ended::InOrder),
        };
        // Standard output may be what a sink writes.
        if process.writes_lines() {
            eprintln!("{name} is up: {}", process.url());
        } else {
            // A server goes on whether or not anybody reads that.
            let _ = writeln!(std::io::stdout(), "{name} is up: {}", process.url());
        }
        signal.cancelled().await;
        process.stop().await
    })
}

/// A running process.
pub struct Process {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its roles read and write.
    pub ports: Arc<Ports>,
    /// Who may ask: for contracts that do not speak HTTP.
    pub access: Arc<Access>,
    /// What it does.
    pub roles: Vec<Role>,
    health: Arc<Health>,
    /// The answers, once a role has needed them.
    serving: Option<Arc<Serving>>,
    routes: Router,
    /// What is said of the routes.
    documents: Vec<OpenApi>,
    take: CancellationToken,
    layers: CancellationToken,
    server: JoinHandle<()>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Opens the stores and starts `roles`. Probes are answered from the first moment on; stores that several processes share are
    /// waited for, as long as it takes.
    pub async fn start(config: Config, roles: &[Role]) -> Result<Process> {
        let listener = TcpListener::bind(config.server.listen).await;
        let listener = listener
            .map_err(|e| Error::unavailable(format!("cannot listen on {}", config.server.listen)).because(e))?;
        let address = listener.local_addr().map_err(|e| Error::internal("a listener has an address").because(e))?;
        let access = Arc::new(Access::of(&Arc::new(config.clone()), Arc::new(SystemClock))?);
        let entrance = Entrance::open(listener, config.server.tls.as_ref())?;
        let shared = !matches!(config.storage.log, LogStorage::Embedded);
        let health = Arc::new(Health::new());
        let take = CancellationToken::new();
        let settings = config.server.clone();
        let server = tokio::spawn(health::serve(entrance, health.clone(), access.clone(), settings, take.clone()));
        let (watched, until) = (access.clone(), take.clone());
        tokio::spawn(async move { watched.run(until).await });
        let ports = Arc::new(opened(config, shared, &health).await?);
        health.prints(ports.telemetry.clone());
        let mut pause = *RETRY.start();
        check::check(&ports, roles, async |what, error| match shared {
            true => {
                again(&health, what, &error, &mut pause).await;
                Ok(())
            }
            false => Err(error),
        })
        .await?;
        let (layers, routes, threads) = (CancellationToken::new(), Router::new(), Vec::new());
        let documents = Vec::new();
        let mut process = Process {
            address,
            ports,
            access,
            roles: roles.to_vec(),
            health,
            serving: None,
            routes,
            documents,
            take,
            layers,
            server,
            threads,
        };
        for role in roles {
            process.add(*role, shared).await?;
        }
        let about = openapi::routes(&process.ports.config, std::mem::take(&mut process.documents));
        let routes = std::mem::take(&mut process.routes).merge(about);
        let (access, config, serving) = (&process.access, &process.ports.config, process.serving.clone());
        process.health.open(seam_serving::http::finish(routes, access, config, serving));
        tracing::info!(%address, "every role is up");
        Ok(process)
    }

    async fn add(&mut self, role: Role, shared: bool) -> Result<()> {
        let mut pause = *RETRY.start();
        loop {
            match role.start(self).await {
                Err(error) if shared && error.kind() == Kind::Unavailable => {
                    again(&self.health, role.name(), &error, &mut pause).await;
                }
                done => return done,
            }
        }
    }

    /// Adds a layer on a thread of its own: its work is long stretches of computing, which would hold up requests.
    pub fn work(&mut self, name: &str, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        self.threads.push(thread(name.to_owned(), work)?);
        Ok(())
    }

    /// Whether a sink of its writes to standard output.
    fn writes_lines(&self) -> bool {
        let lines = self.ports.config.sinks.iter().any(|sink| sink.target == Target::Lines);
        lines && self.roles.contains(&Role::Sink)
    }

    /// Where it is to be asked.
    pub fn url(&self) -> String {
        let scheme = if self.ports.config.server.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Adds routes, and what is said of them in the API's document.
    pub fn route(&mut self, routes: Router, document: OpenApi) {
        self.routes = std::mem::take(&mut self.routes).merge(routes);
        self.documents.push(document);
    }

    /// Adds what readiness and metrics ask.
    pub fn watch(&self, part: Arc<dyn Part>) {
        self.health.watch(part);
    }

    /// Cancelled when the layers are to commit what they hold and end.
    pub fn layers(&self) -> CancellationToken {
        self.layers.clone()
    }

    /// Takes no more requests, lets those under way end, then the layers commit what they hold.
    pub async fn stop(self) -> Result<Ended> {
        self.health.end();
        self.take.cancel();
        if tokio::time::timeout(DRAIN, self.server).await.is_err() {
            tracing::warn!("requests were still under way and are cut off");
        }
        self.layers.cancel();
        let finished =
            tokio::task::spawn_blocking(move || self.threads.into_iter().filter_map(|t| t.join().err()).count());
        match tokio::time::timeout(FINISH, finished).await {
            Ok(Ok(0)) => Ok(Ended::InOrder),
            Ok(_) => Err(Error::internal("a layer ended with a panic; its message is in the log")),
            Err(_) => {
                tracing::warn!("a layer was still at work and is cut off; the next start goes on from its last commit");
                Ok(Ended::CutOff)
            }
        }
    }
}

async fn opened(config: Config, shared: bool, health: &Health) -> Result<Ports> {
    let mut pause = *RETRY.start();
    loop {
        match Ports::open(config.clone()) {
            Err(error) if shared && error.kind() == Kind::Unavailable => {
                again(health, "stores", &error, &mut pause).await;
            }
            done => return done,
        }
    }
}

async fn again(health: &Health, what: &str, error: &Error, pause: &mut Duration) {
    tracing::warn!(%error, "{what} cannot start yet");
    health.starting(what, error);
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(*RETRY.end());
}

/// Starts a thread of this name that drives `work` on the process's runtime.
pub fn thread(name: String, work: impl Future<Output = ()> + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Handle::current();
    let spawned = std::thread::Builder::new().name(name).spawn(move || runtime.block_on(work));
    spawned.map_err(|e| Error::internal("a thread cannot be started").because(e))
}
