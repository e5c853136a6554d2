//! The connections of an HTTP server: whoever is slow to say what it wants is cut off, so that it cannot hold a place for ever.
//! There is room for so many at once; whoever comes beyond that is told so, and may try again.
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tower_http::timeout::TimeoutBody;

use crate::access::browsers::Browsers;
use crate::access::tls::{Entrance, Peer};

/// Connections beyond the room that are told so at once; further ones are closed without a word.
const REFUSED: usize = 256;

/// How patient a server is, and with how many.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Connections at once: 10,000 by default.
    pub connections: usize,
    /// From the start of a connection, or the end of an answer, to the end of the next request's head: one minute by default.
    pub head: Duration,
    /// For the head of a request that is refused for want of room: 5 seconds by default.
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

/// Answers requests from `entrance` that `browsers` lets in, until cancelled, and then those that have begun.
pub async fn serve(
    mut entrance: Entrance,
    router: Router,
    browsers: Browsers,
    patience: Patience,
    cancel: CancellationToken,
) {
    let (connections, browsers) = (TaskTracker::new(), Arc::new(browsers));
    let [room, refused] = [patience.connections, REFUSED].map(|places| Arc::new(Semaphore::new(places)));
    loop {
        let (stream, peer) = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = entrance.accept() => accepted,
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            if let Ok(place) = refused.clone().try_acquire_owned() {
                connections.spawn(async move {
                    refuse(stream, patience).await;
                    drop(place);
                });
            }
            continue;
        };
        let (router, browsers, cancel) = (router.clone(), browsers.clone(), cancel.clone());
        connections.spawn(async move {
            let _place = place;
            let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(ConnectInfo(Peer(peer)));
                let (mut router, refused) = (router.clone(), browsers.refuse(&request));
                async move {
                    if let Some(response) = refused {
                        return Ok(response);
                    }
                    let request = request.map(|body| Body::new(TimeoutBody::new(patience.body, body)));
                    Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {}))
                }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(patience.head);
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
        });
    }
    drop(entrance);
    connections.close();
    connections.wait().await;
}

/// Answers the first request of a connection that there is no room for, and closes it.
async fn refuse(stream: impl AsyncRead + AsyncWrite + Unpin, patience: Patience) {
    let answer = service_fn(async |_: hyper::Request<hyper::body::Incoming>| Ok::<_, Infallible>(full(patience)));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(patience.refusal).keep_alive(false);
    let connection = server.serve_connection(TokioIo::new(stream), answer);
    let _: Result<_, _> = tokio::time::timeout(patience.refusal * 2, connection).await;
}

fn full(patience: Patience) -> Response {
    let detail = format!("the server has {} connections, which is all that it takes; try again", patience.connections);
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], detail).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);
    const PATIENCE: Patience = Patience { connections: 100, head: SHORT, refusal: SHORT, body: SHORT };

    async fn server(patience: Patience) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/", post(async |body: String| format!("{} bytes", body.len())));
        let cancel = CancellationToken::new();
        let served = serve(Entrance::Plain(listener), router, Browsers::default(), patience, cancel.clone());
        (address, cancel.clone(), tokio::spawn(served))
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
        let quick = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
        let (answer, _) = send(address, &[quick], Duration::ZERO).await;
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

    #[tokio::test]
    async fn beyond_the_limit_connections_are_refused_until_one_ends() {
        let patient = Patience { connections: 3, head: Duration::from_secs(20), ..PATIENCE };
        let (address, cancel, served) = server(patient).await;
        let quick = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            let request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na";
            stream.write_all(request).await.expect("it is sent");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200");
            held.push(stream);
        }
        // Who says nothing does not hold refusals up.
        let silent = TcpStream::connect(address).await.expect("connects");
        for _ in 0..20 {
            let (answer, took) = send(address, &[quick], Duration::ZERO).await;
            assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
            assert!(answer.contains("3 connections") && took < Duration::from_secs(5), "{answer} after {took:?}");
        }
        drop((silent, held.pop()));
        let begun = Instant::now();
        while !send(address, &[quick], Duration::ZERO).await.0.starts_with("HTTP/1.1 200") {
            assert!(begun.elapsed() < Duration::from_secs(10), "a place that is free is taken");
        }
        cancel.cancel();
        served.await.expect("the server ended");
    }
}
