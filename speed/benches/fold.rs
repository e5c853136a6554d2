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

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;

/// One line of the table.
struct Case<'w> {
    name: String,
    /// The line that it is compared with.
    yardstick: Option<usize>,
    /// Does all the work in a round; answers with the events taken.
    run: Box<dyn Fn(usize) -> u64 + 'w>,
    best: Option<Round>,
}

fn main() {
    let events: u64 = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let world = World::new(events);
    println!("{events} events of {} bytes, best of {ROUNDS} rounds\n", world.event_bytes());
    let mut cases = cases(&world);
    // Round by round, so that whatever else the machine does in a while meets all of them.
    for round in 0..ROUNDS {
        for case in &mut cases {
            let (taken, done) = measure::round(|| (case.run)(round));
            assert_eq!(done, events, "{} takes every event", case.name);
            if case.best.as_ref().is_none_or(|best| taken.processor < best.processor) {
                case.best = Some(taken);
            }
        }
    }
    println!("{:<48} {:>9} {:>9} {:>8} {:>8}", "", "M/s core", "M/s wall", "of loop", "peak MB");
    let seconds = |case: usize| cases[case].best.as_ref().map_or(f64::NAN, |best| best.processor);
    for (number, Case { name, yardstick, best, .. }) in cases.iter().enumerate() {
        let share =
            yardstick.map_or(String::new(), |plain| format!("{:.0} %", seconds(plain) / seconds(number) * 100.0));
        let rate = |seconds: f64| events as f64 / seconds / 1e6;
        let Some(Round { processor, wall, peak_bytes }) = best else { continue };
        let (core, wall, peak) = (rate(*processor), rate(*wall), peak_bytes >> 20);
        println!("{name:<48} {core:>9.2} {wall:>9.2} {share:>8} {peak:>8}");
    }
    let [one, sixteen] = [cases.len() - 3, cases.len() - 1].map(seconds);
    println!("\n16 views over one parse take {:.2} times as long as one view", sixteen / one);
}

/// The table: the loops first, the folds last.
fn cases(world: &World) -> Vec<Case<'_>> {
    let case = |name: &str, yardstick, run| Case { name: name.to_owned(), yardstick, run, best: None };
    let mut cases = vec![
        case(
            "plain loop, 1 fine view",
            None,
            Box::new(|_| plain::run(world.lines(), 1, 0)) as Box<dyn Fn(usize) -> u64>,
        ),
        case("plain loop, 4 fine and 12 coarse views", None, Box::new(|_| plain::run(world.lines(), 4, 12))),
        case("log read", None, Box::new(|_| world.read(|_| {}))),
    ];
    for ids in [false, true] {
        let source = world::source(ids);
        let decode = move |_| {
            let (mut decoder, mut duplicates) = (Decoder::new(source.clone()), Duplicates::new(source.duplicates));
            world.read(|chunk| duplicates.mark(&mut decoder.decode(chunk)))
        };
        let with = if ids { ", duplicates by id" } else { "" };
        cases.push(case(&format!("log read and decode{with}"), None, Box::new(decode)));
    }
    for (with, fine, coarse, ids, plain) in [
        ("1 fine view", 1, 0, false, 0),
        ("1 fine view, duplicates by id", 1, 0, true, 0),
        ("4 fine and 12 coarse views", 4, 12, false, 1),
    ] {
        let run = Box::new(move |round| fold(world, round, fine, coarse, ids));
        cases.push(case(&format!("read, decode, fold and commit, {with}"), Some(plain), run));
    }
    cases
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
