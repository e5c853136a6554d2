//! The listener of a process: plain, or with TLS whose certificate is read again when its files change.
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use seam_shared::config::TlsSettings;
use seam_shared::lock::lock;
use seam_shared::{Error, Result};
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// How long a client may take to shake hands, and how many may do so at once.
const PATIENCE: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 512;
/// How often the files of the certificate are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The pause after an error that another connection would meet too: too many open files.
const PAUSE: Duration = Duration::from_millis(500);

/// Whom a connection is from, for handlers: `ConnectInfo<Peer>`.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Entrance>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Entrance>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// Where connections come in.
#[derive(Debug)]
pub enum Entrance {
    /// As they are.
    Plain(TcpListener),
    /// After a handshake, from a task that shakes hands.
    Tls(SocketAddr, mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>),
}

impl Entrance {
    /// Takes connections of `listener`, with TLS if so configured.
    ///
    /// # Errors
    /// The certificate or its key cannot be used.
    pub fn open(listener: TcpListener, tls: Option<&TlsSettings>) -> Result<Entrance> {
        let Some(settings) = tls else { return Ok(Entrance::Plain(listener)) };
        let certificate = Certificate::open(settings.clone(), b"http/1.1")?;
        let address = listener.local_addr().map_err(|e| Error::internal("a listener has an address").because(e))?;
        let (ready, taken) = mpsc::channel(64);
        tokio::spawn(shake_hands(listener, certificate, HANDSHAKES, ready));
        Ok(Entrance::Tls(address, taken))
    }
}

impl Listener for Entrance {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        match self {
            Entrance::Plain(listener) => {
                let (stream, address) = accepted(listener).await;
                (Stream::Plain(stream), address)
            }
            Entrance::Tls(_, taken) => match taken.recv().await {
                Some((stream, address)) => (Stream::Tls(Box::new(stream)), address),
                // The task ends after this listener.
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Entrance::Plain(listener) => listener.local_addr(),
            Entrance::Tls(address, _) => Ok(*address),
        }
    }
}

async fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are written in one piece; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                return (stream, address);
            }
            Err(error) => {
                use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
                if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
                    tracing::error!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Shakes hands with `most` at once; ends when nobody takes connections any more. A slow client delays nobody: whoever comes when all
/// places are taken gets that of the one that has been at it for longest.
async fn shake_hands(
    listener: TcpListener,
    certificate: Certificate,
    most: usize,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let mut under_way: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let (stream, address) = tokio::select! {
            accepted = accepted(&listener) => accepted,
            () = ready.closed() => return,
        };
        under_way.retain(|handshake| !handshake.is_finished());
        if under_way.len() >= most
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.abort();
        }
        let (acceptor, ready) = (certificate.acceptor(), ready.clone());
        let handshake = tokio::spawn(async move {
            match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(ready.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%error, %address, "no TLS handshake"),
                Err(_) => tracing::debug!(%address, "the TLS handshake took too long"),
            }
        });
        under_way.push_back(handshake.abort_handle());
    }
}

/// The certificate in use, for one protocol.
#[derive(Debug)]
pub struct Certificate {
    settings: TlsSettings,
    /// The protocol by its name in ALPN.
    protocol: &'static [u8],
    used: ArcSwap<ServerConfig>,
    looked: Mutex<(Instant, Option<Written>)>,
}

/// When both files were written.
type Written = (SystemTime, SystemTime);

impl Certificate {
    /// Reads it, for a protocol by its name in ALPN.
    ///
    /// # Errors
    /// The certificate or its key cannot be used.
    pub fn open(settings: TlsSettings, protocol: &'static [u8]) -> Result<Certificate> {
        let looked = Mutex::new((Instant::now(), written(&settings)));
        Ok(Certificate { used: ArcSwap::from(read(&settings, protocol)?), settings, protocol, looked })
    }
    /// What shakes hands with it, read again if its files changed.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.look();
        TlsAcceptor::from(self.used.load_full())
    }
    /// Reads the files again if they changed. Files that do not fit, as when only one of them is there yet, are read again later.
    fn look(&self) {
        let mut looked = lock(&self.looked);
        if looked.0.elapsed() < LOOK {
            return;
        }
        looked.0 = Instant::now();
        let now = written(&self.settings);
        if now == looked.1 {
            return;
        }
        match read(&self.settings, self.protocol) {
            Ok(config) => {
                self.used.store(config);
                looked.1 = now;
                tracing::info!(certificate = %self.settings.certificate.display(), "the certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the certificate stays as it was"),
        }
    }
}

fn written(settings: &TlsSettings) -> Option<Written> {
    let time = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    Some((time(&settings.certificate)?, time(&settings.key)?))
}

fn read(settings: &TlsSettings, protocol: &[u8]) -> Result<Arc<ServerConfig>> {
    let TlsSettings { certificate, key } = settings;
    let unusable = |path: &Path, what: &str| Error::invalid(format!("{} cannot be used as {what}", path.display()));
    let not_certificate = || unusable(certificate, "a certificate");
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|e| not_certificate().because(e))?;
    let chain: Vec<_> = chain.collect::<std::result::Result<_, _>>().map_err(|e| not_certificate().because(e))?;
    if chain.is_empty() {
        return Err(not_certificate());
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, "a private key").because(e))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| Error::internal("TLS").because(e))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|e| Error::invalid("the certificate and its key do not fit").because(e))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }
    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio_rustls::rustls::server::ResolvesServerCertUsingSni;

    use super::*;

    /// One that fits no name: nobody's handshake succeeds.
    fn certificate() -> Certificate {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let config = builder.with_no_client_auth().with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        let settings = TlsSettings { certificate: "none.pem".into(), key: "none.pem".into() };
        let looked = Mutex::new((Instant::now(), None));
        Certificate { used: ArcSwap::from_pointee(config), settings, protocol: b"http/1.1", looked }
    }

    #[tokio::test]
    async fn who_says_nothing_gives_way_to_who_comes_when_all_places_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (ready, taken) = mpsc::channel(1);
        let shaking = tokio::spawn(shake_hands(listener, certificate(), 2, ready));
        let mut silent = Vec::new();
        for _ in 0..6 {
            silent.push(TcpStream::connect(address).await.expect("connects"));
        }
        for (place, stream) in silent.iter_mut().enumerate().take(4) {
            let ended = tokio::time::timeout(PATIENCE / 2, stream.read(&mut [0])).await;
            assert!(matches!(ended, Ok(Ok(0) | Err(_))), "place {place}: {ended:?}");
        }
        let waits = silent[5].try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(waits, Err(io::ErrorKind::WouldBlock), "the newest has a place");
        drop(taken);
        shaking.await.expect("it ends with its listener");
    }
}
