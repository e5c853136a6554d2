//! The whole path in the built program: ingest over HTTP acknowledged durable, and how soon an event is in an answer.
//!
//! `cargo bench --bench path` prints, from one run: (b) durable events/s over HTTP beside a plain one-thread parse of the same
//! bytes, (c) event to answer p50/p99 at a steady 20,000 events/s, and the server's peak memory.
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use seam_generator::Generator;

const CONFIG: &str = r#"
version: 1
name: shop
sources:
  clicks:
    map: { id: $.event_id, time: $.ts, type: $.event_type }
    fields: { region: string, product: string, value: decimal(2) }
    dedupe: off
views:
  clicks_by_product:
    from: clicks
    dimensions: [type, region, product]
    pane: 1m
    windows: [1m, 5m, 1h]
    measures: { events: count(), value: stats(value) }
metrics:
  events.total: { view: clicks_by_product, measure: events }
batch: { schedule: "* * * * *" }
"#;

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let listen = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let child = Command::new(env!("CARGO_BIN_EXE_seam"))
            .current_dir(folder)
            .args(["up", "--listen", &listen])
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .expect("the built program starts");
        let server = Server { child, url: format!("http://{listen}") };
        let give_up = Instant::now() + Duration::from_secs(30);
        while ureq::get(format!("{}/readyz", server.url)).call().is_err() {
            assert!(Instant::now() < give_up, "the server is ready within 30 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn peak_megabytes(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or("VmHWM: 0 kB");
        line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bodies(seed: u64, events: u64, per_body: usize) -> Vec<Vec<u8>> {
    let mut out = vec![Vec::new()];
    for (i, event) in Generator::new(seed, events).enumerate() {
        if i > 0 && i % per_body == 0 {
            out.push(Vec::new());
        }
        event.write_json(out.last_mut().expect("there is always one body"));
    }
    out
}

fn post(agent: &ureq::Agent, url: &str, body: &[u8]) -> serde_json::Value {
    let reply = agent.post(url).header("content-type", "application/x-ndjson").send(body);
    reply.expect("every event is taken").body_mut().read_json().expect("a receipt is JSON")
}

/// The plain one-thread loop over the same bytes: a typed parse and nothing else.
fn plain_parse(bodies: &[Vec<u8>]) -> f64 {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        event_type: &'a str,
        ts: i64,
        region: &'a str,
        product: &'a str,
        value: f64,
    }
    let begun = Instant::now();
    let (mut events, mut sum) = (0u64, 0.0);
    for line in bodies.iter().flat_map(|body| body.split(|&b| b == b'\n')).filter(|line| !line.is_empty()) {
        let event: Event = serde_json::from_slice(line).expect("generated events are JSON");
        sum += event.value
            + (event.ts + (event.event_type.len() + event.region.len() + event.product.len()) as i64) as f64;
        events += 1;
    }
    std::hint::black_box(sum);
    events as f64 / begun.elapsed().as_secs_f64()
}

fn ingest(folder: &Path) {
    let events = 1_000_000;
    let bodies = Arc::new(bodies(1, events, 1_000));
    let plain = plain_parse(&bodies);
    let server = Server::start(folder);
    let url = format!("{}/v1/events/clicks", server.url);
    let begun = Instant::now();
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (bodies, url) = (bodies.clone(), url.clone());
            std::thread::spawn(move || {
                let agent = ureq::Agent::new_with_defaults();
                bodies.iter().skip(sender).step_by(4).for_each(|body| drop(post(&agent, &url, body)));
            })
        })
        .collect();
    senders.into_iter().for_each(|s| s.join().expect("no sender fails"));
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    println!(
        "(b) ingest over HTTP, acknowledged durable (4 senders, 1,000 events a body, everything on the same cores):"
    );
    println!("    {rate:.0} events/s = {:.2} of the plain one-thread parse ({plain:.0} events/s)", rate / plain);
    println!("    peak memory of the server {:.0} MB", server.peak_megabytes());
}

fn freshness(folder: &Path) {
    let server = Server::start(folder);
    let url = format!("{}/v1/events/clicks", server.url);
    let stop = Arc::new(AtomicBool::new(false));
    // 200 bodies a second of 100 events: 20,000 events/s beside the probes.
    let background = bodies(2, 1_200_000, 100);
    let (load_url, load_stop) = (url.clone(), stop.clone());
    let load = std::thread::spawn(move || {
        let agent = ureq::Agent::new_with_defaults();
        let begun = Instant::now();
        let mut sent = 0u32;
        for body in &background {
            if load_stop.load(Ordering::Relaxed) {
                break;
            }
            let due = begun + Duration::from_micros(u64::from(sent) * 5_000);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            post(&agent, &load_url, body);
            sent += 1;
        }
        f64::from(sent) * 100.0 / begun.elapsed().as_secs_f64()
    });
    let agent = ureq::Agent::new_with_defaults();
    let probes = bodies(3, 2_000, 1);
    let mut took: Vec<Duration> = Vec::new();
    for probe in &probes {
        let begun = Instant::now();
        let receipt = post(&agent, &url, probe);
        let position = receipt["position"].as_str().expect("a receipt names its position");
        let question = format!("{}/api/analytics/metrics/events.total?window=1m&at=2026-06-01T12:00:00Z", server.url);
        let reply = agent.get(question).query("min_position", position).call();
        assert_eq!(reply.expect("the answer comes").status(), 200);
        took.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    stop.store(true, Ordering::Relaxed);
    let rate = load.join().expect("the load does not fail");
    took.sort();
    let percentile = |p: usize| took[(took.len() * p / 100).min(took.len() - 1)].as_secs_f64() * 1000.0;
    println!("(c) event sent to event in the answer, at a steady {rate:.0} events/s ({} probes):", took.len());
    println!("    p50 {:.2} ms, p99 {:.2} ms", percentile(50), percentile(99));
    println!("    peak memory of the server {:.0} MB", server.peak_megabytes());
}

fn main() {
    for (name, bench) in [("ingest", ingest as fn(&Path)), ("freshness", freshness)] {
        let folder = std::env::temp_dir().join(format!("seam-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
        std::fs::write(folder.join("seam.yaml"), CONFIG).expect("the folder is writable");
        bench(&folder);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
