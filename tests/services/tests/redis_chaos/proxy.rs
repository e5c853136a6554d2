//! A way to a server that loses replies and delivers requests long after their sender gave up.
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// It arrives; its reply does not.
    LoseReply,
    /// The connection breaks; it arrives this much later, in milliseconds.
    Late(u64),
}

struct Shared {
    target: AtomicU16,
    mode: std::sync::Mutex<Mode>,
    struck: AtomicUsize,
}

/// A listener on the loopback in front of a server that may change.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    cut: watch::Sender<u64>,
}

impl Proxy {
    pub async fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = std::sync::Mutex::new(Mode::Pass);
        let shared = Arc::new(Shared { target: target.into(), mode, struck: AtomicUsize::new(0) });
        let (cut, cuts) = watch::channel(0);
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, serving.clone(), cuts.clone()));
            }
        });
        Proxy { port, shared, cut }
    }
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
    /// New connections go to `port`, old ones end.
    pub fn lead_to(&self, port: u16) {
        self.shared.target.store(port, Ordering::SeqCst);
        self.cut.send_modify(|count| *count += 1);
    }
    /// Strikes the next request.
    pub fn strike(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }
    /// How many requests were struck.
    pub fn struck(&self) -> usize {
        self.shared.struck.load(Ordering::SeqCst)
    }
}

async fn carry(mut client: TcpStream, shared: Arc<Shared>, mut cuts: watch::Receiver<u64>) {
    cuts.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", shared.target.load(Ordering::SeqCst))).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                // Only what changes or reads state is struck, not the greetings of a new connection.
                let is_script = up[..length].windows(7).any(|word| word == b"EVALSHA");
                let mode = if is_script { std::mem::replace(&mut *shared.mode.lock().unwrap(), Mode::Pass) } else { Mode::Pass };
                match mode {
                    Mode::Pass => {
                        if server.write_all(&up[..length]).await.is_err() {
                            return;
                        }
                    }
                    Mode::LoseReply | Mode::Late(_) => {
                        shared.struck.fetch_add(1, Ordering::SeqCst);
                        return strike(client, server, up[..length].to_vec(), mode).await;
                    }
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&down[..length]).await.is_err() {
                    return;
                }
            }
            _ = cuts.changed() => return,
        }
    }
}

async fn strike(mut client: TcpStream, mut server: TcpStream, mut request: Vec<u8>, mode: Mode) {
    let mut more = vec![0; 64 << 10];
    // The rest of a large request.
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(Duration::from_millis(3), client.read(&mut more)).await {
        request.extend_from_slice(&more[..length]);
    }
    if let Mode::Late(millis) = mode {
        drop(client);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    let _ = server.write_all(&request).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), server.read(&mut more)).await;
}
