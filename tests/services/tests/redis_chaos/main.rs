//! Chaos: real workers and readers on a real primary and its replica, under all that can happen to them, and every answer
//! checked against the plain fold of the log at the answer's own position.
//!
//! `SEAM_CHAOS_SEED` repeats a run's choices (not its timing); `SEAM_CHAOS_SECONDS` makes it go on for that long.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod events;
mod proxy;
mod servers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seam_services::RedisPair;
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::config::RedisSettings;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{EventLog, NewRecord, Offset, Partition};
use seam_shared::state::redis::RedisState;
use seam_shared::state::{Snapshot, StateStore, ViewId};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{Source, View};
use seam_shared::view::groups::Groups as Merge;
use seam_speed::cuts::by_hand::CutsByHand;
use seam_speed::recover::Places;
use seam_speed::trim::{TrimRule, Trimmer};
use seam_speed::worker::{Limits, Step, Worker};

use events::{Dice, Oracle, by_key};
use proxy::Proxy;
use servers::Servers;

const PARTITIONS: u32 = 2;
const FAULTS: usize = 500;
const ANSWERS: usize = 10_000;
/// A run that has not had its faults and answers by then is on a machine that is too busy.
const GIVE_UP: Duration = Duration::from_secs(300);
const CATCH_UP: Duration = Duration::from_secs(60);

struct World {
    seed: u64,
    clock: Arc<ManualClock>,
    log: Arc<MemoryLog>,
    cuts: Arc<CutsByHand>,
    source: Arc<Source>,
    views: Vec<Arc<View>>,
    oracles: Vec<Mutex<Oracle>>,
    stop: AtomicBool,
    answers: AtomicUsize,
    /// Answers from the generation alone, for the state was lost.
    batch_only: AtomicUsize,
    /// Questions that got no answer.
    refused: AtomicUsize,
    /// Events in the speed part of answers.
    from_speed: AtomicUsize,
    errors: AtomicUsize,
    /// The last position that a reader saw.
    seen: Mutex<BTreeMap<(u32, ViewId), u64>>,
    wrong: Mutex<Vec<String>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_exact_whatever_happens_to_redis() {
    let Some(pair) = RedisPair::start(&["repl-diskless-sync-delay 0"]) else { return };
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("SEAM_CHAOS_SEED").unwrap_or(1);
    let least = Duration::from_secs(number("SEAM_CHAOS_SECONDS").unwrap_or(0));
    let world = Arc::new(World::new(seed).await);
    let mut dice = Dice(seed);
    let target = pair.primary.port;
    let (mut workers, mut others) = (Vec::new(), Vec::new());
    let mut tasks = Vec::new();
    for number in 0..2 * PARTITIONS {
        let proxy = Arc::new(Proxy::start(target).await);
        let worker = world.worker(&proxy, number % PARTITIONS);
        tasks.push(tokio::spawn(world.clone().work(worker, Dice(dice.bits()), number >= PARTITIONS)));
        workers.push(proxy);
    }
    let proxy = Arc::new(Proxy::start(target).await);
    tasks.push(tokio::spawn(world.clone().publish(store(&proxy), Dice(dice.bits()))));
    others.push(proxy);
    for _ in 0..3 {
        let proxy = Arc::new(Proxy::start(target).await);
        tasks.push(tokio::spawn(world.clone().read(store(&proxy), Dice(dice.bits()))));
        others.push(proxy);
    }
    tasks.push(tokio::spawn(world.clone().produce(Dice(dice.bits()))));

    let mut servers = Servers::new(pair, workers, others);
    let (tormented, faults) = (Arc::new(AtomicBool::new(false)), servers.count.clone());
    let started = Instant::now();
    let torment = std::thread::spawn({
        let tormented = tormented.clone();
        move || {
            servers.torment(&mut dice, &tormented);
            servers
        }
    });
    while !world.is_wrong() && started.elapsed() < GIVE_UP.max(least * 2) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let enough = faults.load(SeqCst) >= FAULTS && world.answers.load(SeqCst) >= ANSWERS;
        if enough && started.elapsed() >= least {
            break;
        }
    }
    tormented.store(true, SeqCst);
    let servers = tokio::task::spawn_blocking(move || torment.join().expect("the torment ends")).await.unwrap();
    let lasted = started.elapsed();
    let caught_up = world.catch_up().await;
    world.stop.store(true, SeqCst);
    for task in tasks {
        task.await.expect("no task fails");
    }
    let faults = faults.load(SeqCst);
    let count = |number: &AtomicUsize| number.load(SeqCst);
    let wrong = world.wrong.lock().unwrap();
    println!(
        "chaos: seed {seed}, {} s, {faults} faults: {} lost replies and late requests, {:?}; {} answers with {} events of the speed layer, {} of \
         the generation alone, {} refused, {} errors of workers; {} wrong; caught up in {caught_up:?}",
        lasted.as_secs(),
        servers.struck(),
        servers.faults,
        count(&world.answers),
        count(&world.from_speed),
        count(&world.batch_only),
        count(&world.refused),
        count(&world.errors),
        wrong.len(),
    );
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    assert!(caught_up.is_some(), "seed {seed}: the workers reach the log's end once the faults are over");
    assert!(faults >= FAULTS && count(&world.answers) >= ANSWERS, "too few: {faults} faults");
    assert!(count(&world.from_speed) > 10 * count(&world.answers), "most answers have a speed part");
}

fn store(proxy: &Proxy) -> Arc<RedisState> {
    let settings = RedisSettings::parse(&proxy.url(), "chaos").unwrap();
    Arc::new(RedisState::open(RedisSettings { timeout: Duration::from_millis(300), ..settings }))
}

impl World {
    async fn new(seed: u64) -> World {
        let clock = Arc::new(ManualClock::at(Timestamp(1_780_272_000_000_000)));
        let log = Arc::new(MemoryLog::new(clock.clone()));
        let source = events::source(PARTITIONS);
        log.open(&source.name, PARTITIONS).await.unwrap();
        World {
            seed,
            clock,
            log,
            cuts: Arc::default(),
            views: events::views(&source),
            source,
            oracles: (0..PARTITIONS).map(|_| Mutex::default()).collect(),
            stop: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
            batch_only: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            from_speed: AtomicUsize::new(0),
            errors: AtomicUsize::new(0),
            seen: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    fn places(&self, state: Arc<RedisState>) -> Places {
        Places { log: self.log.clone(), state, cuts: self.cuts.clone() }
    }

    fn worker(&self, proxy: &Proxy, partition: u32) -> Worker {
        let limits = Limits { records: 50, bytes: 1 << 20 };
        Worker::new(self.places(store(proxy)), self.source.clone(), self.views.clone(), partition, limits)
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(SeqCst)
    }

    fn is_wrong(&self) -> bool {
        !self.wrong.lock().unwrap().is_empty()
    }

    /// Appends events to all partitions.
    async fn produce(self: Arc<Self>, mut dice: Dice) {
        while self.goes_on() {
            for partition in 0..PARTITIONS {
                let now = self.clock.now();
                let mut records = Vec::new();
                for _ in 0..dice.below(8) {
                    // Known to the oracle before any reader can see it.
                    let value =
                        self.oracles[partition as usize].lock().unwrap().push(&mut dice, self.source.segments, now);
                    records.push(NewRecord { partition, value: Bytes::from(value) });
                }
                self.log.append(&self.source.name, records).await.unwrap();
            }
            self.clock.advance(dice.below(900_000) as i64);
            tokio::time::sleep(Duration::from_millis(5 + dice.below(15))).await;
        }
    }

    /// A worker; a zombie wakes up now and then, with what it believed when it fell asleep.
    async fn work(self: Arc<Self>, mut worker: Worker, mut dice: Dice, zombie: bool) {
        while self.goes_on() {
            match worker.step().await {
                Ok(Step::Idle) => tokio::time::sleep(Duration::from_millis(3)).await,
                Ok(_) => tokio::task::yield_now().await,
                Err(_) => {
                    self.errors.fetch_add(1, SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            if dice.one_in(if zombie { 8 } else { 400 }) {
                tokio::time::sleep(Duration::from_millis(100 + dice.below(600))).await;
            }
        }
    }

    /// Moves the cuts of generations up, and trims behind them.
    async fn publish(self: Arc<Self>, state: Arc<RedisState>, mut dice: Dice) {
        let rule = TrimRule { grace: Span(0), log: false };
        let clock: Arc<dyn Clock> = self.clock.clone();
        let mut trimmer = Trimmer::new(self.places(state), clock, self.source.clone(), self.views.clone(), rule);
        while self.goes_on() {
            tokio::time::sleep(Duration::from_millis(100 + dice.below(400))).await;
            for view in &self.views {
                let mut cuts = self.cuts.0.lock().unwrap();
                let cut = cuts.entry(view.id.clone()).or_default();
                for partition in 0..PARTITIONS {
                    let oracle = self.oracles[partition as usize].lock().unwrap();
                    let closed = oracle.starts().len() as u64;
                    let at = oracle.starts()[closed.saturating_sub(1 + dice.below(closed.min(30))) as usize];
                    let before = cut.get(partition);
                    cut.0.insert(partition, before.max(Offset(at)));
                }
            }
            // Errors are Redis's; the next step tries again.
            let _ = trimmer.step().await;
        }
    }

    /// Asks again and again, and checks each answer.
    async fn read(self: Arc<Self>, state: Arc<RedisState>, mut dice: Dice) {
        let ids: Vec<ViewId> = self.views.iter().map(|view| view.id.clone()).collect();
        while self.goes_on() {
            let partition = Partition::new(self.source.name.as_str(), dice.below(u64::from(PARTITIONS)) as u32);
            let cuts: BTreeMap<ViewId, u64> = {
                let cuts = self.cuts.0.lock().unwrap();
                ids.iter().map(|id| (id.clone(), cuts.get(id).map_or(0, |cut| cut.get(partition.number).0))).collect()
            };
            let Ok(found) = state.snapshot(&partition, &ids).await else {
                self.refused.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            for (view, held) in self.views.iter().zip(found) {
                let counter = match held {
                    None => &self.batch_only,
                    Some(held) => {
                        match self.answer(&state, &partition, view, held, cuts[&view.id], dice.one_in(8)).await {
                            Ok(true) => &self.answers,
                            Ok(false) => &self.refused,
                            Err(wrong) => {
                                let wrong = format!("seed {}: {} of {partition}: {wrong}", self.seed, view.id);
                                self.wrong.lock().unwrap().push(wrong);
                                return;
                            }
                        }
                    }
                };
                counter.fetch_add(1, SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(dice.below(6))).await;
        }
    }

    /// The generation up to `cut` and the speed segments from there on, merged as serving does, must be the fold of the log up
    /// to the position. `Ok(false)`: the halves do not meet, ask again.
    async fn answer(
        &self,
        state: &RedisState,
        partition: &Partition,
        view: &View,
        held: Snapshot,
        cut: u64,
        whole: bool,
    ) -> Result<bool, String> {
        let (floor, position) = (held.progress.floor.0, held.progress.position.0);
        let open = held.progress.segment.start.0;
        self.seen.lock().unwrap().insert((partition.number, view.id.clone()), position);
        if position < cut {
            return Ok(true); // the generation alone, which is further on
        }
        if floor > cut || open < cut {
            return Ok(false);
        }
        let oracle = |from, to| self.oracles[partition.number as usize].lock().unwrap().fold(view, from, to);
        if position > self.oracles[partition.number as usize].lock().unwrap().end() {
            return Err(format!("position {position} is beyond the log"));
        }
        let of_open = by_key(&held.open);
        if of_open != oracle(open, position) {
            return Err(format!("open segment {open}..{position} is {of_open:?}, not {:?}", oracle(open, position)));
        }
        self.from_speed.fetch_add((position - cut) as usize, SeqCst);
        if !whole {
            return Ok(true);
        }
        let mut merged = Merge::new(view.dimensions.len(), &view.kinds());
        let mut at = cut;
        for segment in held.closed.iter().filter(|segment| segment.start.0 >= cut) {
            if segment.start.0 != at {
                return Err(format!("segment {} does not start at {at}", segment.start));
            }
            at = segment.end.0;
            match state.segment(partition, &view.id, segment.start).await {
                Err(_) | Ok(None) => return Ok(false),
                Ok(Some(rows)) => {
                    if by_key(&rows) != oracle(segment.start.0, at) {
                        return Err(format!("segment {}..{at} is wrong", segment.start));
                    }
                    merged.merge(&rows);
                }
            }
        }
        if at != open {
            return Err(format!("closed segments end at {at}, the open one starts at {open}"));
        }
        merged.merge(&held.open);
        let merged = by_key(&merged.into_rows());
        if merged == oracle(cut, position) { Ok(true) } else { Err(format!("the merge of {cut}..{position} is wrong")) }
    }

    /// How long it took until every view stood at the end of every partition, as it was when the faults ended.
    async fn catch_up(&self) -> Option<Duration> {
        let started = Instant::now();
        let ends: Vec<u64> = self.oracles.iter().map(|oracle| oracle.lock().unwrap().end()).collect();
        while started.elapsed() < CATCH_UP && !self.is_wrong() {
            let seen = self.seen.lock().unwrap().clone();
            if (0..PARTITIONS)
                .all(|p| self.views.iter().all(|v| seen.get(&(p, v.id.clone())) >= Some(&ends[p as usize])))
            {
                return Some(started.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}
