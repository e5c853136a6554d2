//! What the benches of serving measure with: a server on a thread of its own, and a client that counts the server's processor time.
//! The client never sleeps: over loopback the server would pay for waking it, which another machine does over a network, and
//! only a server that is slower than the client would.
#![allow(dead_code)] // each bench uses a part of it
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;

pub type Failure = Box<dyn std::error::Error>;

/// Connections of the client.
const CONNECTIONS: usize = 16;
/// How long each figure is measured.
pub const TIME: Duration = Duration::from_secs(1);
/// How often rates are measured.
const ROUNDS: usize = 3;

/// Serves on a thread of that name until the process ends.
pub fn serve(name: &str, router: Router) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router).await
        })
    })?;
    Ok(address)
}

/// The processor time of all threads but the one that asks; of those that ended, too.
pub fn processor_time() -> Result<Duration, Failure> {
    let own = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let own: u64 = own.split_whitespace().next().ok_or("no time")?.parse()?;
    let all = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold anything, in hundredths of a second.
    let (_, fields) = all.rsplit_once(')').ok_or("no name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10).saturating_sub(Duration::from_nanos(own)))
}

/// What came over a connection.
pub struct Received {
    pub status: u16,
    pub bytes: usize,
    pub tag: Option<String>,
}

/// A kept connection, which is read until something is there.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(1 << 20) })
    }
    pub fn send(&mut self, url: &str, tag: Option<&str>) -> Result<(), Failure> {
        let known = tag.map_or(String::new(), |tag| format!("if-none-match: {tag}\r\n"));
        Ok(self.stream.write_all(format!("GET {url} HTTP/1.1\r\nhost: bench\r\n{known}\r\n").as_bytes())?)
    }
    pub fn receive(&mut self) -> Result<Received, Failure> {
        self.buffer.clear();
        let mut chunk = [0; 65_536];
        let mut head: Option<(usize, Received)> = None;
        loop {
            let read = match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::hint::spin_loop();
                    continue;
                }
                read => read?,
            };
            if read == 0 {
                return Err("the server hung up".into());
            }
            self.buffer.extend_from_slice(&chunk[..read]);
            if head.is_none()
                && let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n")
            {
                let text = std::str::from_utf8(&self.buffer[..end])?.to_ascii_lowercase();
                let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let status: u16 = text.get(9..12).ok_or("no status")?.parse()?;
                let bytes = match (status, field("content-length:")) {
                    (304, _) => 0,
                    (_, Some(length)) => length.parse()?,
                    (_, None) => return Err("no length".into()),
                };
                head = Some((end + 4, Received { status, bytes, tag: field("etag:").map(str::to_owned) }));
            }
            if let Some((start, received)) = head.take() {
                if self.buffer.len() >= start + received.bytes {
                    return Ok(received);
                }
                head = Some((start, received));
            }
        }
    }
}

/// What is asked over TCP, beside others.
pub struct Asked<'a> {
    pub name: &'a str,
    pub address: SocketAddr,
    /// The tag that is known already, if it is.
    pub tag: Option<&'a str>,
    /// The URL of the `n`th question.
    pub url: &'a dyn Fn(usize) -> String,
}

/// Answers a second, a second of processor time, and the bytes of the last one.
#[derive(Clone, Copy, Default)]
struct Rate {
    by_time: f64,
    by_core: f64,
    bytes: usize,
}

/// Asks each in turn, several times, as this machine's speed swings. Prints the best rate of each and which part of the first one's it
/// is, and answers with them by processor time.
pub fn rates(all: &[Asked]) -> Result<Vec<f64>, Failure> {
    let mut best = vec![(0, Rate::default()); all.len()];
    for _ in 0..ROUNDS {
        for (asked, (next, best)) in all.iter().zip(&mut best) {
            let rate = round(asked, next)?;
            if rate.by_core > best.by_core {
                *best = rate;
            }
        }
    }
    let yardstick = best[0].1.by_core;
    for (i, (asked, (_, Rate { by_time, by_core, bytes }))) in all.iter().zip(&best).enumerate() {
        let part =
            if i == 0 { String::new() } else { format!("   {:.0} % of the bare handler", by_core / yardstick * 100.0) };
        println!("  {:36} {by_time:8.0} /s   {by_core:8.0} /s/core   {bytes} bytes{part}", asked.name);
    }
    Ok(best.into_iter().map(|(_, rate)| rate.by_core).collect())
}

/// Asks for some time after a warm-up of half as much, from the `next`th question on.
fn round(asked: &Asked, next: &mut usize) -> Result<Rate, Failure> {
    let mut connections = (0..CONNECTIONS).map(|_| Connection::open(asked.address)).collect::<Result<Vec<_>, _>>()?;
    let (mut bytes, mut first) = (0, *next);
    let (mut begun, mut before, mut is_warm) = (Instant::now(), processor_time()?, false);
    while !is_warm || begun.elapsed() < TIME {
        if !is_warm && begun.elapsed() > TIME / 2 {
            (begun, before, first, is_warm) = (Instant::now(), processor_time()?, *next, true);
        }
        for connection in &mut connections {
            connection.send(&(asked.url)(*next), asked.tag)?;
            *next += 1;
        }
        for connection in &mut connections {
            let received = connection.receive()?;
            if received.status != if asked.tag.is_some() { 304 } else { 200 } {
                return Err(format!("{}: status {}", asked.name, received.status).into());
            }
            bytes = received.bytes;
        }
    }
    let (taken, used) =
        (begun.elapsed().as_secs_f64(), processor_time()?.saturating_sub(before).as_secs_f64().max(0.01));
    let answers = (*next - first) as f64;
    Ok(Rate { by_time: answers / taken, by_core: answers / used, bytes })
}

/// The median and the 99th part of a hundred, in milliseconds.
pub fn percentiles(taken: &mut [Duration]) -> (f64, f64) {
    taken.sort_unstable();
    let at = |part: usize| taken.get(taken.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    (at(50), at(99))
}

/// A figure of this process's memory, in MB.
pub fn memory(name: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
    Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>()? / 1_024)
}
