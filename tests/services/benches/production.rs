//! Figures of the production path: events from Kafka folded into Redis, folded again after a loss, and seen in answers.
//!
//! `cargo bench -p seam -p seam-services --bench production -- [catch-up] [replay] [peer] [steady]`, `SEAM_BENCH_EVENTS=10000000` for
//! more than two million events. Broker and Redis are processes of their own on this machine; rates by core are by processor
//! time of this process, librdkafka's threads included. One view counts and sums by minute, type, region and product.
//! - `catch-up`: a speed worker from the log's start to its end, beside a plain consumer that parses the same topic.
//! - `replay`: FLUSHALL under a worker that is done, until the state is whole again.
//! - `peer`: the worker again, and on the same topic Kafka Streams (exactly_once_v2) and Flink (a checkpoint each second); needs a JDK and
//!   Maven.
//! - `steady`: 50,000 events a second; from the moment that an event was due at the producer until it is acknowledged, committed,
//!   and covered by an answer that a reader waits for with `min_position`.
//!
//! Nothing here can fail by time.
#[path = "production/counted.rs"]
mod counted;
#[path = "production/peer.rs"]
mod peer;
#[path = "production/steady.rs"]
mod steady;
#[path = "plain/topic.rs"]
mod topic;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use seam_generator::meter::processor_seconds;
use seam_services::{Kafka, Redis};
use seam_serving::{Serving, Settings, Stores};
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::{self, Config, KafkaStorage, RedisSettings};
use seam_shared::lake::store;
use seam_shared::log::Partition;
use seam_shared::log::kafka::KafkaLog;
use seam_shared::state::StateStore;
use seam_shared::state::redis::RedisState;
use seam_shared::telemetry::Telemetry;
use seam_shared::view::rows::{Rows, States};
use seam_speed::cuts::LakeCuts;
use seam_speed::recover::Places;
use seam_speed::worker::{Limits, Step, Track, Worker};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use counted::Counted;
use topic::{TOPIC, fill, plain};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Many, for the processor of a shared machine is not always equally fast.
const ROUNDS: usize = 5;

const CONFIG: &str = r"
version: 1
name: bench
sources:
  shop:
    map: { ID time: $.ts, type: $.event_type }
    fields: { region: string, product: string, user_id: int, value: decimal(2) }
views:
  by_product:
    from: shop
    dimensions: [type, region, product]
    pane: 1m
    windows: [1m]
    measures: { events: count(), value: stats(value) }
metrics:
  events: { view: by_product, measure: events }
";

/// The services, and a topic full of events.
struct Bench {
    kafka: Kafka,
    redis: Redis,
    runtime: Runtime,
    events: u64,
}

/// A worker with the store that it writes to.
struct Setup {
    config: Arc<Config>,
    places: Places,
    state: Arc<Counted>,
}

impl Setup {
    fn worker(&self) -> Worker {
        let worker = Worker::new(
            self.places.clone(),
            self.config.sources[0].clone(),
            self.config.views.clone(),
            0,
            Limits::default(),
        );
        worker.metered(Arc::new(Telemetry::new()), Arc::new(SystemClock))
    }
}

/// Seconds so far: of the wall, of this process's processor time and of the server's; the commands that wrote, and bytes.
#[derive(Clone, Copy)]
struct Cost {
    at: Instant,
    own: f64,
    redis: f64,
    writes: u64,
    bytes: f64,
}

impl Bench {
    fn setup(&self, source: &str, ids: bool) -> Setup {
        let id = if ids { "id: $.event_id," } else { "" };
        let text = CONFIG.replace("ID", id).replace("shop", source);
        let config = Arc::new(config::load(&text, "bench.yaml").unwrap_or_else(|report| panic!("{report}")));
        let settings = RedisSettings::parse(&self.redis.url(), "bench").expect("a URL");
        let settings = RedisSettings { timeout: Duration::from_secs(30), ..settings };
        let state = Arc::new(Counted::new(RedisState::open(settings)));
        let lake = store::open("memory://", ".".as_ref()).expect("a lake in memory");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let cuts = Arc::new(LakeCuts::new(&lake, &config.views, &clock));
        let log = KafkaLog::new(&KafkaStorage::at(self.kafka.bootstrap()), "bench", Default::default());
        let places = Places { log: Arc::new(log.expect("a log")), state: state.clone(), cuts };
        self.runtime.block_on(places.log.open(source, 1)).expect("a topic");
        Setup { config, places, state }
    }

    fn cost(&self) -> Cost {
        let info = self.redis.info();
        let commands = ["hset", "hmset", "set", "mset", "hincrby", "hdel", "unlink", "del"];
        let writes = commands.into_iter().map(|command| info.calls(command)).sum();
        let (own, redis) = (processor_seconds(), info.processor_seconds());
        Cost { at: Instant::now(), own, redis, writes, bytes: info.bytes() as f64 }
    }

    /// Steps until there is nothing left to fold.
    fn drain(&self, worker: &mut Worker) {
        while self.runtime.block_on(worker.step()).expect("log and state are at hand") != Step::Idle {}
    }

    /// Groups by pane and segment that the state holds, those of the fullest segment, and the events counted in all of them.
    fn held(&self, setup: &Setup) -> (usize, usize, u64) {
        let view = &setup.config.views[0];
        let (view, partition) = (&view.id, Partition::new(view.source.name.as_str(), 0));
        let state = &setup.state;
        let held = self.runtime.block_on(state.snapshot(&partition, std::slice::from_ref(view))).expect("a snapshot");
        let held = held.into_iter().next().flatten().expect("the view was folded");
        let mut all = vec![held.open];
        for closed in &held.closed {
            let rows = self.runtime.block_on(state.segment(&partition, view, closed.start)).expect("a segment");
            all.push(rows.expect("what a snapshot names is held"));
        }
        let events = |rows: &Arc<Rows>| match rows.states.first() {
            Some(States::Count(counts)) => counts.iter().sum(),
            _ => 0,
        };
        let fullest = all.iter().map(|rows| rows.len()).max().unwrap_or(0);
        (all.iter().map(|rows| rows.len()).sum(), fullest, all.iter().map(events).sum())
    }

    fn catch_up(&self) {
        let names = [
            "plain consumer, serde_json",
            "speed worker, Kafka to Redis",
            "the same, duplicates by id among a million",
        ];
        // Of each round: processor seconds, and seconds on the wall.
        let mut rounds: [Vec<(f64, f64)>; 3] = Default::default();
        let mut notes: [String; 3] = Default::default();
        for _ in 0..ROUNDS {
            let (begun, own) = (Instant::now(), processor_seconds());
            assert_eq!(plain(&self.kafka.bootstrap(), self.events, true), self.events);
            rounds[0].push((processor_seconds() - own, begun.elapsed().as_secs_f64()));
            for (case, ids) in [(1, false), (2, true)] {
                self.redis.command(&["FLUSHALL"]).expect("FLUSHALL");
                let (setup, before) = (self.setup(TOPIC, ids), self.cost());
                self.drain(&mut setup.worker());
                let after = self.cost();
                rounds[case].push((after.own - before.own, (after.at - before.at).as_secs_f64()));
                notes[case] = self.notes(&setup, before, after);
            }
        }
        println!("\ncatch-up, {ROUNDS} rounds (M/s)        best: core      wall  of plain   worst: core");
        rounds.iter_mut().for_each(|rounds| rounds.sort_by(|a, b| a.0.total_cmp(&b.0)));
        let rate = |seconds: f64| self.events as f64 / seconds / 1e6;
        for ((name, note), rounds_of) in names.iter().zip(&notes).zip(&rounds) {
            let ((own, wall), (worst, _)) = (rounds_of[0], rounds_of[ROUNDS - 1]);
            let part = rounds[0][0].0 / own * 100.0;
            println!("  {name:<43} {:>5.2} {:>9.2} {part:>7.0} % {:>13.2}{note}", rate(own), rate(wall), rate(worst));
        }
    }

    /// What the store cost, and what it holds.
    fn notes(&self, setup: &Setup, before: Cost, after: Cost) -> String {
        let (groups, fullest, events) = self.held(setup);
        assert_eq!(events, self.events, "the state counts every event");
        let committing = setup.state.seconds();
        let own = after.own - before.own;
        format!(
            "\n    {}; commits {:.0} % of this process's time; {groups} groups held, {fullest} in the fullest segment, {:.1} bytes \
             in redis each",
            writes(setup, before, after),
            committing / own * 100.0,
            (after.bytes - before.bytes) / groups as f64
        )
    }

    fn replay(&self) {
        self.redis.command(&["FLUSHALL"]).expect("FLUSHALL");
        let setup = self.setup(TOPIC, false);
        let mut worker = setup.worker();
        self.drain(&mut worker);
        let before = self.cost();
        self.redis.command(&["FLUSHALL"]).expect("FLUSHALL");
        self.drain(&mut worker);
        let after = self.cost();
        let (groups, _, events) = self.held(&setup);
        assert_eq!(events, self.events, "the state is whole again");
        let (wall, own) = ((after.at - before.at).as_secs_f64(), after.own - before.own);
        println!(
            "\nreplay: FLUSHALL with {events} events: whole again ({groups} groups) after {wall:.2} s; {:.2} M events/s wall, {:.2} \
             M events/s/core; redis {:.0} % of a core",
            events as f64 / wall / 1e6,
            events as f64 / own / 1e6,
            (after.redis - before.redis) / wall * 100.0
        );
    }

    fn peer(&self) {
        self.redis.command(&["FLUSHALL"]).expect("FLUSHALL");
        let (setup, before) = (self.setup(TOPIC, false), self.cost());
        self.drain(&mut setup.worker());
        let after = self.cost();
        let (wall, own) = ((after.at - before.at).as_secs_f64(), after.own - before.own + after.redis - before.redis);
        println!("\npeer: {} events; broker apart, Redis and RocksDB included", self.events);
        let rate = |seconds: f64| self.events as f64 / seconds / 1e6;
        println!("  {:<43} {:>6.3} M/s wall {:>6.3} M/s/core", "speed worker and Redis", rate(wall), rate(own));
        for system in peer::PEERS {
            let Some(peer) = system.run(&self.kafka.bootstrap(), TOPIC, self.events) else { continue };
            println!("  {:<43} {:>6.3} M/s wall {:>6.3} M/s/core", system.name, rate(peer.wall), rate(peer.own));
            println!("  {:<43} {:>6.1} wall     {:>6.1} a core", "  ratio", peer.wall / wall, peer.own / own);
        }
    }

    fn steady(&self) {
        self.redis.command(&["FLUSHALL"]).expect("FLUSHALL");
        // Claims the view, so that there is something to answer from. Clients stay with the runtime that they began in.
        self.drain(&mut self.setup(steady::TOPIC, false).worker());
        let setup = self.setup(steady::TOPIC, false);
        let stores = Stores {
            log: Some(setup.places.log.clone()),
            // Serving is another process in production: it has its own client.
            state: self.setup(steady::TOPIC, false).state,
            lake: store::open("memory://", ".".as_ref()).expect("a lake in memory"),
        };
        let (clock, telemetry) = (Arc::new(SystemClock), Arc::new(Telemetry::new()));
        let serving = Serving::new(setup.config.clone(), stores, clock, telemetry, Settings::default());
        let ticks = steady::ticks();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let before = self.cost();
        let (sent, committed, answered) = runtime.block_on(async {
            serving.refresh().await.expect("log and lake are at hand");
            let (cancel, track, newest) =
                (CancellationToken::new(), Arc::<Track>::default(), Arc::<AtomicU64>::default());
            let worker = tokio::spawn(setup.worker().tracked(track.clone()).run(cancel.clone()));
            let producer = tokio::spawn(steady::produce(setup.places.log.clone(), ticks, newest.clone()));
            let follower = tokio::spawn(steady::follow(track));
            let answered = steady::ask(&serving, &newest).await;
            let committed = follower.await.expect("the worker is followed");
            cancel.cancel();
            worker.await.expect("the worker ends").expect("log and state are what they were");
            (producer.await.expect("the producer ends"), committed, answered)
        });
        let after = self.cost();
        let wall = (after.at - before.at).as_secs_f64();
        println!(
            "\nsteady: {} events/s in appends of {}; from when an event was due at the producer",
            steady::RATE,
            steady::EVENTS_A_TICK
        );
        for (name, times) in [
            ("until Kafka acknowledged it", steady::acknowledged(&sent)),
            ("until the worker had committed it", steady::seen(&sent, &committed)),
            ("until an answer of Serving covered it", steady::seen(&sent, &answered)),
        ] {
            let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
            println!("  {name:<40} p50 {:7.1} ms   p99 {:7.1} ms   max {:7.1} ms", at(50), at(99), at(100));
        }
        let own = (after.own - before.own) / wall * 100.0;
        let (groups, fullest, _) = self.held(&self.setup(steady::TOPIC, false));
        println!(
            "  {}; producer, worker and serving {own:.0} %; {groups} groups held, {fullest} in the fullest segment",
            writes(&setup, before, after)
        );
    }
}

/// Flushes, and what they were for the server.
fn writes(setup: &Setup, before: Cost, after: Cost) -> String {
    let (flushes, panes) = (setup.state.flushes(), setup.state.panes());
    format!(
        "{flushes} flushes, each {:.1} write commands for {:.1} dirty panes; redis {:.0} % of a core",
        (after.writes - before.writes) as f64 / flushes,
        panes / flushes,
        (after.redis - before.redis) / (after.at - before.at).as_secs_f64() * 100.0
    )
}

fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let parts: [(&str, fn(&Bench)); 4] =
        [("catch-up", Bench::catch_up), ("replay", Bench::replay), ("peer", Bench::peer), ("steady", Bench::steady)];
    let is_named = |part: &str| named.iter().any(|name| name == part);
    let all = !parts.iter().any(|(part, _)| is_named(part));
    let runs = |part: &str| all || is_named(part);
    let events = std::env::var("SEAM_BENCH_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_000);
    let (Some(kafka), Some(redis)) = (Kafka::start(&[]), Redis::start(&[])) else { return };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bench = Bench { kafka, redis, runtime, events };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine: {}", load.split(' ').next().unwrap_or_default());
    if runs("catch-up") || runs("replay") || runs("peer") {
        let bytes = fill(&bench.runtime, bench.setup(TOPIC, false).places.log.as_ref(), events);
        println!("{events} events of {} bytes in one partition", bytes / events);
    }
    for (part, run) in parts {
        if runs(part) {
            run(&bench);
        }
    }
}
