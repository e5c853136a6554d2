//! SQL over the merged views: PostgreSQL's wire protocol in front, an engine over tables in memory behind. Everything is read-only.
//!
//! A statement is read ([`parse`]), put into the engine's words ([`rewrite`]), reduced to what it needs of each view
//! ([`pushdown`]), read from serving at one moment ([`read`]) and executed ([`engine`]). Each part but the last is a function of
//! its input alone. Promises: a statement sees one moment of each view; what it is not shown was not needed; it holds no more
//! rows than its budget.

pub mod catalog;
pub mod engine;
pub mod error;
pub mod frame;
pub mod meta;
pub mod parse;
pub mod pushdown;
pub mod read;
pub mod rewrite;
pub mod service;
pub mod session;
pub mod system;
pub mod time;

mod array;
mod literal;
mod login;
mod parameters;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pgwire::tokio::process_socket;
use seam_serving::Serving;
use seam_serving::access::Access;
use seam_serving::access::tls::Certificate;
use seam_shared::config::SqlSettings;
use seam_shared::{Error, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use engine::Engine;
use service::{Limits, Service};
use wire::Handlers;

/// How often a connection is looked at whose client has sent something that nobody has read yet.
const LOOK: Duration = Duration::from_millis(100);
/// Connections at once.
const CONNECTIONS_MAX: usize = 256;

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    handlers: Arc<Handlers>,
    certificate: Option<Certificate>,
}

impl Server {
    /// Listens as `settings` say, and answers from `serving` whom `access` knows; encrypted to whoever asks for that, with the
    /// certificate of `server.tls`.
    ///
    /// # Errors
    /// `Unavailable` when the address is taken; `Invalid` when the certificate cannot be used.
    pub async fn bind(
        settings: &SqlSettings,
        serving: Arc<Serving>,
        access: Arc<Access>,
        engine: Arc<dyn Engine>,
    ) -> Result<Server> {
        let listen = settings.listen;
        let taken = |e| Error::unavailable(format!("cannot listen on {listen} for SQL")).because(e);
        let listener = TcpListener::bind(listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(|e| Error::internal("a listener has an address").because(e))?;
        let tls = serving.config().server.tls.clone();
        let certificate = tls.map(|tls| Certificate::open(tls, b"postgresql")).transpose()?;
        let limits = Limits {
            timeout: Duration::from_micros(settings.timeout.0.unsigned_abs()),
            rows: usize::try_from(settings.max_rows).unwrap_or(usize::MAX),
            statements: std::thread::available_parallelism().map_or(2, usize::from).max(2),
        };
        let service = Service::new(serving, engine, limits);
        let handlers = Arc::new(Handlers::new(Arc::new(service), settings, access));
        Ok(Server { listener, address, handlers, certificate })
    }
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Answers until cancelled; connections are then cut off.
    pub async fn run(self, cancel: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            let socket = tokio::select! {
                () = cancel.cancelled() => return,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                socket = self.listener.accept() => socket,
            };
            match socket {
                Ok((socket, peer)) if connections.len() < CONNECTIONS_MAX => {
                    let tls = self.certificate.as_ref().map(Certificate::acceptor);
                    let handlers = self.handlers.clone();
                    connections.spawn(async move {
                        if let Err(error) = connection(socket, tls, handlers).await {
                            tracing::debug!(%error, %peer, "a SQL connection ended");
                        }
                    });
                }
                Ok((_, peer)) => {
                    tracing::warn!(%peer, "a SQL connection is refused: there are {CONNECTIONS_MAX} already")
                }
                Err(error) => {
                    tracing::warn!(%error, "a SQL connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Answers one connection; ends what it asked for when it is gone.
async fn connection(socket: TcpStream, tls: Option<TlsAcceptor>, handlers: Arc<Handlers>) -> std::io::Result<()> {
    // While a statement is at work nobody reads: a second handle sees the end.
    let socket = socket.into_std()?;
    let watched = TcpStream::from_std(socket.try_clone()?)?;
    tokio::select! {
        ended = process_socket(TcpStream::from_std(socket)?, tls, handlers) => ended,
        () = gone(watched) => Ok(()),
    }
}

/// Until the client has closed the connection and all that it sent before is read.
async fn gone(socket: TcpStream) {
    let mut byte = [0];
    while let Ok(1..) = socket.peek(&mut byte).await {
        tokio::time::sleep(LOOK).await;
    }
}
