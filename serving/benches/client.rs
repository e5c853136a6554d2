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
/// How often rates are measured, for how long, and after how long a warm-up: this machine's speed swings from second to second, so
/// that only what follows at once can be compared.
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(300);
const WARM_UP: Duration = Duration::from_millis(100);

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

/// Asks each in turn, many times. Prints the best rate of each and which part of the first one's rate it had, as the median of all
/// turns; answers with the best rates by processor time.
pub fn rates(all: &[Asked]) -> Result<Vec<f64>, Failure> {
    let mut taken: Vec<(usize, Vec<Rate>)> = all.iter().map(|_| (0, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (asked, (next, rates)) in all.iter().zip(&mut taken) {
            rates.push(round(asked, next)?);
        }
    }
    let yardstick = &taken[0].1;
    let mut best = Vec::new();
    for (i, (asked, (_, rates))) in all.iter().zip(&taken).enumerate() {
        let mut parts: Vec<f64> = rates.iter().zip(yardstick).map(|(rate, bare)| rate.by_core / bare.by_core).collect();
        parts.sort_unstable_by(f64::total_cmp);
        let part = match i {
            0 => String::new(),
            _ => format!("   {:.0} % of the bare handler", parts[ROUNDS / 2] * 100.0),
        };
        let fastest = rates.iter().max_by(|a, b| a.by_core.total_cmp(&b.by_core)).ok_or("no rounds")?;
        let Rate { by_time, by_core, bytes } = fastest;
        println!("  {:36} {by_time:8.0} /s   {by_core:8.0} /s/core   {bytes} bytes{part}", asked.name);
        best.push(*by_core);
    }
    Ok(best)
}

/// Asks for some time after a warm-up, from the `next`th question on.
fn round(asked: &Asked, next: &mut usize) -> Result<Rate, Failure> {
    let mut connections = (0..CONNECTIONS).map(|_| Connection::open(asked.address)).collect::<Result<Vec<_>, _>>()?;
    let (mut bytes, mut first) = (0, *next);
    let (mut begun, mut before, mut is_warm) = (Instant::now(), processor_time()?, false);
    while !is_warm || begun.elapsed() < ROUND {
        if !is_warm && begun.elapsed() > WARM_UP {
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
