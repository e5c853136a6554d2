//! Figure (a): how fast events are decoded, folded and committed, beside a plain loop over the same bytes in the same run.
//!
//! `cargo bench -p seam-speed --bench fold -- [events]`. The plain loop reads lines from a file, parses six fields typed with
//! serde_json and adds up in hash maps: no segments, no duplicates, nothing durable, one thread. Ours reads the embedded log and
//! commits to the embedded state store, both on disk, by the worker that `seam up` runs. Rates are by processor time of the
//! whole process, background threads included, so that other work on the machine does not matter; the best of three rounds.
#[path = "fold/measure.rs"]
mod measure;
#[path = "fold/plain.rs"]
mod plain;
#[path = "fold/world.rs"]
mod world;

use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_speed::worker::Step;

use measure::Round;
use world::World;

const ROUNDS: usize = 3;

fn main() {
    let events: u64 = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let world = World::new(events);
    println!("{events} events of {} bytes, best of {ROUNDS} rounds\n", world.event_bytes());
    println!("{:<44} {:>9} {:>9} {:>8} {:>7}", "", "M/s core", "M/s wall", "of loop", "MB");
    let one = best("plain loop, 1 fine view", events, None, |_| plain::run(&world.lines, 1, 0));
    let sixteen = best("plain loop, 4 fine and 12 coarse views", events, None, |_| plain::run(&world.lines, 4, 12));
    best("log read", events, None, |_| world.read(|_| {}));
    for ids in [false, true] {
        let source = world::source(ids);
        let with = if ids { ", duplicates by id" } else { "" };
        best(&format!("log read and decode{with}"), events, None, |_| {
            let (mut decoder, mut duplicates) = (Decoder::new(source.clone()), Duplicates::new(source.duplicates));
            world.read(|chunk| duplicates.mark(&mut decoder.decode(chunk)))
        });
    }
    let mut seconds = Vec::new();
    for (name, fine, coarse, ids, plain) in [
        ("fold and commit, 1 fine view", 1, 0, false, &one),
        ("fold and commit, 1 fine view, duplicates by id", 1, 0, true, &one),
        ("fold and commit, 4 fine and 12 coarse views", 4, 12, false, &sixteen),
    ] {
        let round = best(name, events, Some(plain), |round| fold(&world, round, fine, coarse, ids));
        seconds.push(round.processor);
    }
    println!("\n16 views over one parse take {:.2} times as long as one view", seconds[2] / seconds[0]);
}

/// Runs a worker on a state of its own until it has caught up with the log.
fn fold(world: &World, round: usize, fine: usize, coarse: usize, ids: bool) -> u64 {
    let mut worker = world.worker(round, fine, coarse, ids);
    let mut folded = 0;
    loop {
        match world.runtime.block_on(worker.step()).expect("log and state are at hand") {
            Step::Recovered => {}
            Step::Folded { records } => folded += records as u64,
            Step::Idle => return folded,
        }
    }
}

/// Prints the best of some rounds, which all must take every event.
fn best(name: &str, events: u64, plain: Option<&Round>, mut run: impl FnMut(usize) -> u64) -> Round {
    let rounds = (0..ROUNDS).map(|round| {
        let (taken, done) = measure::round(|| run(round));
        assert_eq!(done, events, "{name} takes every event");
        taken
    });
    let best = rounds.min_by(|a, b| a.processor.total_cmp(&b.processor)).expect("there is a round");
    let rate = |seconds: f64| events as f64 / seconds / 1e6;
    let share = plain.map_or(String::new(), |plain| format!("{:.0} %", plain.processor / best.processor * 100.0));
    let Round { processor, wall, peak_bytes } = best;
    println!("{name:<44} {:>9.2} {:>9.2} {share:>8} {:>7}", rate(processor), rate(wall), peak_bytes >> 20);
    best
}
