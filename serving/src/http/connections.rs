//! The connections of an HTTP server: whoever is slow to say what it wants is cut off, so that it cannot hold a place for ever.
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tower_http::timeout::TimeoutBody;

use crate::access::browsers::Browsers;
use crate::access::tls::{Entrance, Peer};

/// How patient a server is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the start of a connection, or the end of an answer, to the end of the next request's head: one minute by default.
    pub head: Duration,
    /// From one piece of a request's body to the next: 30 seconds by default.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { head: Duration::from_secs(60), body: Duration::from_secs(30) }
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
    loop {
        let (stream, peer) = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = entrance.accept() => accepted,
        };
        let (router, browsers, cancel) = (router.clone(), browsers.clone(), cancel.clone());
        connections.spawn(async move {
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_millis(300), body: Duration::from_millis(300) };

    async fn server() -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/", post(async |body: String| format!("{} bytes", body.len())));
        let cancel = CancellationToken::new();
        let served = serve(Entrance::Plain(listener), router, Browsers::default(), PATIENCE, cancel.clone());
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
        let (address, cancel, served) = server().await;
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
}
