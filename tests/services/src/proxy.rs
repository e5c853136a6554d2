//! A way to a server on which requests and replies get lost.
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a request is let through before its reply is cut off.
const TO_ARRIVE: Duration = Duration::from_millis(30);

#[derive(Debug, Default)]
struct Faults {
    in_256: AtomicU64,
    seed: AtomicU64,
    requests: AtomicU64,
    replies: AtomicU64,
}

/// A listener on the loopback in front of a server. Connections that a fault strikes are closed.
#[derive(Debug)]
pub struct Proxy {
    /// Its port on 127.0.0.1.
    pub port: u16,
    faults: Arc<Faults>,
}

impl Proxy {
    /// Leads to `target` on 127.0.0.1 for as long as the process lives; without faults at first.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(target: u16, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let faults = Arc::new(Faults { seed: seed.into(), ..Faults::default() });
        let shared = faults.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let faults = shared.clone();
                std::thread::spawn(move || carry(&client, target, &faults));
            }
        });
        Proxy { port, faults }
    }

    /// How many of 256 requests are struck from now on.
    pub fn set_faults(&self, in_256: u64) {
        self.faults.in_256.store(in_256, Ordering::SeqCst);
    }

    /// How many requests did not arrive, and how many arrived and were not answered.
    pub fn struck(&self) -> (u64, u64) {
        (self.faults.requests.load(Ordering::SeqCst), self.faults.replies.load(Ordering::SeqCst))
    }
}

impl Faults {
    /// Whether the next request is struck, and then whether it arrives.
    fn next(&self) -> Option<bool> {
        let step = 6_364_136_223_846_793_005;
        let number = self.seed.fetch_add(1, Ordering::SeqCst).wrapping_add(1).wrapping_mul(step);
        let number = (number ^ number >> 33).wrapping_mul(step) >> 32;
        (number & 0xFF < self.in_256.load(Ordering::SeqCst)).then_some(number >> 8 & 1 == 1)
    }
}

fn carry(client: &TcpStream, target: u16, faults: &Faults) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
    let close = || {
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pump(&server, client);
            close();
        });
        let mut bytes = vec![0; 64 << 10];
        while let Ok(length @ 1..) = (&mut &*client).read(&mut bytes) {
            match faults.next() {
                None if (&mut &server).write_all(&bytes[..length]).is_ok() => {}
                None => break,
                Some(false) => {
                    faults.requests.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Some(true) => {
                    // What the server sends meanwhile goes nowhere.
                    let _ = client.shutdown(Shutdown::Write);
                    let _ = (&mut &server).write_all(&bytes[..length]);
                    faults.replies.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(TO_ARRIVE);
                    break;
                }
            }
        }
        close();
    });
}

fn pump(mut from: &TcpStream, mut to: &TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}
