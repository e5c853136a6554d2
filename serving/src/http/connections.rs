//! The connections of an HTTP server: whoever is slow to say what it wants is cut off, so that it cannot hold a place for ever.
//! There is room for so many at once. While little of it is left, nobody keeps a place for a further request; whoever comes beyond it is
//! told so, and may try again. Probes are answered all the same: a process that is busy is not to be taken for one that is ill.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tower_http::timeout::TimeoutBody;

use crate::access::browsers::Browsers;
use crate::access::tls::{Entrance, Peer, Stream};

/// Connections beyond the room whose request is still read; further ones are closed without a word.
const REFUSED: usize = 256;

/// How patient a server is, and with how many.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Connections at once: 10,000 by default.
    pub connections: usize,
    /// From the start of a connection, or the end of an answer, to the end of the next request's head: one minute by default.
    pub head: Duration,
    /// For the head of a request that there is no room for: 5 seconds by default.
    pub refusal: Duration,
    /// From one piece of a request's body to the next: 30 seconds by default.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connections: 10_000,
            head: Duration::from_secs(60),
            refusal: Duration::from_secs(5),
            body: Duration::from_secs(30),
        }
    }
}

/// What a server answers with.
#[derive(Debug)]
pub struct Site {
    /// All routes.
    pub routes: Router,
    /// Those that are answered beyond the room as well.
    pub probes: Router,
    /// Which requests of browsers are let in.
    pub browsers: Browsers,
}

/// Answers requests from `entrance` until cancelled, and then those that have begun. Each refusal for want of room is told to `refused`.
pub async fn serve(
    mut entrance: Entrance,
    site: Site,
    patience: Patience,
    refused: impl Fn() + Clone + Send + Sync + 'static,
    cancel: CancellationToken,
) {
    let tell = refused.clone();
    let probes = site.probes.fallback(move || {
        tell();
        std::future::ready(full(patience))
    });
    let [room, beyond] = [patience.connections, REFUSED].map(|places| Arc::new(Semaphore::new(places)));
    let server = Arc::new(Server { site: Site { probes, ..site }, patience, room });
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = entrance.accept() => accepted,
        };
        let (server, cancel) = (server.clone(), cancel.clone());
        if let Ok(place) = server.room.clone().try_acquire_owned() {
            connections.spawn(async move {
                server.answer(stream, peer, cancel).await;
                drop(place);
            });
        } else if let Ok(place) = beyond.clone().try_acquire_owned() {
            connections.spawn(async move {
                server.refuse(stream, peer, cancel).await;
                drop(place);
            });
        } else {
            refused();
        }
    }
    drop(entrance);
    connections.close();
    connections.wait().await;
}

#[derive(Debug)]
struct Server {
    site: Site,
    patience: Patience,
    room: Arc<Semaphore>,
}

impl Server {
    /// Answers the requests of a connection until it ends or, once cancelled, until what has begun is answered.
    async fn answer(&self, stream: Stream, peer: SocketAddr, cancel: CancellationToken) {
        let answer = service_fn(|request: Request<Incoming>| {
            let response = self.respond(&self.site.routes, request, peer);
            async move {
                let mut response = response.await;
                if self.is_almost_full() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(self.patience.head);
        let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), answer));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = cancel.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, %peer, "a connection ended early");
        }
    }

    /// Answers the first request of a connection that there is no room for, and closes it; at once when cancelled.
    async fn refuse(&self, stream: Stream, peer: SocketAddr, cancel: CancellationToken) {
        let answer = service_fn(|request: Request<Incoming>| {
            let response = self.respond(&self.site.probes, request, peer);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(self.patience.refusal).keep_alive(false);
        let connection = server.serve_connection(TokioIo::new(stream), answer);
        tokio::select! {
            _ = tokio::time::timeout(self.patience.refusal * 2, connection) => {}
            () = cancel.cancelled() => {}
        }
    }

    fn respond(
        &self,
        router: &Router,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + use<> {
        request.extensions_mut().insert(ConnectInfo(Peer(peer)));
        let (mut router, refused) = (router.clone(), self.site.browsers.refuse(&request));
        let patience = self.patience.body;
        async move {
            if let Some(response) = refused {
                return response;
            }
            let request = request.map(|body| Body::new(TimeoutBody::new(patience, body)));
            router.call(request).await.unwrap_or_else(|never| match never {})
        }
    }

    /// Whether less than a quarter of the room is left.
    fn is_almost_full(&self) -> bool {
        self.room.available_permits() < self.patience.connections.div_ceil(4)
    }
}

fn full(patience: Patience) -> Response {
    let detail = format!("the server has {} connections, which is all that it takes; try again", patience.connections);
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], detail).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);
    const PATIENCE: Patience = Patience { connections: 100, head: SHORT, refusal: SHORT, body: SHORT };

    const QUICK: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    const PROBE: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

    async fn server(patience: Patience) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let (address, cancel, served, _) = counting(patience).await;
        (address, cancel, served)
    }

    /// With a count of refusals.
    async fn counting(
        patience: Patience,
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let probes = Router::new().route("/livez", get(async || "alive"));
        let routes = probes.clone().route("/", post(async |body: String| format!("{} bytes", body.len())));
        let site = Site { routes, probes, browsers: Browsers::default() };
        let (cancel, refused) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let count = {
            let refused = refused.clone();
            move || {
                refused.fetch_add(1, Ordering::Relaxed);
            }
        };
        let served = serve(Entrance::Plain(listener), site, patience, count, cancel.clone());
        (address, cancel.clone(), tokio::spawn(served), refused)
    }

    /// Sends the pieces with a pause behind each; what comes back until the server closes, and how long that took.
    async fn send(address: SocketAddr, pieces: &[&str], pause: Duration) -> (String, Duration) {
        let (begun, mut stream) = (Instant::now(), TcpStream::connect(address).await.expect("connects"));
        let (mut reader, mut writer) = stream.split();
        let write = async {
            for piece in pieces {
                if writer.write_all(piece.as_bytes()).await.is_err() {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        };
        let read = async {
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(20), reader.read_to_end(&mut answer)).await;
            (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
        };
        tokio::join!(write, read).1
    }

    #[tokio::test]
    async fn the_slow_are_cut_off_and_the_others_answered() {
        let (address, cancel, served) = server(PATIENCE).await;
        let (answer, _) = send(address, &[QUICK], Duration::ZERO).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("2 bytes"), "{answer}");

        // Each piece is in time, the whole head is not.
        let drops: Vec<&str> = "POST / HTTP/1.1\r\nhost: example.org\r\n".split_inclusive("").collect();
        let (answer, took) = send(address, &drops, Duration::from_millis(50)).await;
        assert!(!answer.contains("200") && took < Duration::from_secs(10), "{answer} after {took:?}");

        // A body may take long as long as something comes; one that stops is given up.
        let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\nconnection: close\r\n\r\n";
        let (answer, _) = send(address, &[head, "ab", "cd", "ef", "gh"], Duration::from_millis(100)).await;
        assert!(answer.ends_with("8 bytes"), "{answer}");
        let (answer, took) = send(address, &[head, "ab"], Duration::ZERO).await;
        assert!(!answer.contains("200") && took < Duration::from_secs(10), "{answer} after {took:?}");

        // What has begun is ended first.
        let begun =
            tokio::spawn(async move { send(address, &[head, "abcd", "efgh"], Duration::from_millis(150)).await });
        tokio::time::sleep(Duration::from_millis(80)).await;
        cancel.cancel();
        assert!(begun.await.expect("sent").0.ends_with("8 bytes"));
        served.await.expect("the server ended");
        assert!(TcpStream::connect(address).await.is_err());
    }

    /// A connection whose request has come so far.
    async fn begun(address: SocketAddr, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        stream
    }

    #[tokio::test]
    async fn beyond_the_limit_connections_are_refused_until_one_ends_but_probes_are_answered() {
        const LONG: Duration = Duration::from_secs(20);
        let patient = Patience { connections: 3, head: LONG, refusal: LONG, body: LONG };
        let (address, cancel, served, refused) = counting(patient).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(begun(address, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\na").await);
        }
        // Who says nothing does not hold refusals up.
        let silent = TcpStream::connect(address).await.expect("connects");
        for count in 1..=20 {
            let (answer, took) = send(address, &[QUICK], Duration::ZERO).await;
            assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
            assert!(answer.contains("3 connections") && took < Duration::from_secs(5), "{answer} after {took:?}");
            let (answer, took) = send(address, &[PROBE], Duration::ZERO).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("alive"), "{answer}");
            assert!(took < Duration::from_secs(5), "closed after {took:?}");
            assert_eq!(refused.load(Ordering::Relaxed), count, "a probe is not refused");
        }
        drop(held.pop());
        let freed = Instant::now();
        while !send(address, &[QUICK], Duration::ZERO).await.0.starts_with("HTTP/1.1 200") {
            assert!(freed.elapsed() < Duration::from_secs(10), "a place that is free is taken");
        }
        drop(held);
        cancel.cancel();
        let ended = tokio::time::timeout(LONG / 4, served).await;
        ended.expect("what is refused does not hold up the end").expect("the server ended");
        drop(silent);
    }

    #[tokio::test]
    async fn while_little_room_is_left_nobody_keeps_a_place_for_a_further_request() {
        let patient = Patience { connections: 8, head: Duration::from_secs(20), ..PATIENCE };
        let (address, cancel, served) = server(patient).await;
        let mut kept = Vec::new();
        for number in 0..6 {
            let mut stream = begun(address, PROBE).await;
            let mut answer = vec![0; 1_024];
            let read = stream.read(&mut answer).await.expect("an answer");
            let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
            assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"), "{number}: {answer}");
            kept.push(stream);
        }
        for _ in 0..5 {
            let (answer, took) = send(address, &[PROBE], Duration::ZERO).await;
            assert!(answer.contains("connection: close") && answer.ends_with("alive"), "{answer}");
            assert!(took < Duration::from_secs(10), "closed after {took:?}");
        }
        cancel.cancel();
        served.await.expect("the server ended");
    }
}
