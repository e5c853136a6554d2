//! The simulator: the real code of all layers in one thread, driven by a seed.
//!
//! A [`world`] is a log, a state store and a lake, each behind a wrapper that may fail or wait, and [`actors`] of every role whose
//! futures are polled one by one in an order that the seed decides: they crash, meet, and stop half-way anywhere. Every answer
//! must equal the plain oracle at the answer's own stamp. A [`mutant`] is a naive design that must be found. A seed always goes
//! the same way: nothing waits for a timer or a thread (see [`turn`]).
pub mod actors;
pub mod generate;
pub mod mutant;
pub mod reader;
pub mod recompute;
pub mod truth;
pub mod turn;
pub mod world;

// the ports on a bad day
pub mod lake;
pub mod log;
pub mod reader_state;
pub mod redis;
pub mod replicas;
pub mod state;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mutant::Mutant;
use world::World;

/// Of so many seeds one has the real batch job, Polars and all; the others recompute views in plain Rust.
pub const REAL_EVERY: u64 = 50;

/// What seeds showed, if nothing was wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events appended.
    pub events: u64,
    /// Actors that were replaced.
    pub crashes: u64,
    /// Answers that were compared with the oracle.
    pub answers: u64,
    /// Those of them that knew of records which count nowhere.
    pub excluded: u64,
    /// Questions that got no answer.
    pub refused: u64,
    /// Generations published.
    pub generations: u64,
    /// Views that went back to an earlier generation.
    pub rollbacks: u64,
    /// Logs that lost their end after it was used, which somebody noticed.
    pub truncations: u64,
    /// Open segments that the log forgot while their source was silent.
    pub silences: u64,
    /// Where chance stood at the end: two runs of one seed that differ anywhere differ here.
    pub end: u64,
}

impl Summary {
    fn add(&mut self, other: &Summary) {
        self.events += other.events;
        self.crashes += other.crashes;
        self.answers += other.answers;
        self.excluded += other.excluded;
        self.refused += other.refused;
        self.generations += other.generations;
        self.rollbacks += other.rollbacks;
        self.truncations += other.truncations;
        self.silences += other.silences;
        self.end ^= other.end;
    }
}

/// Runs one seed, with a wrong design or none.
///
/// # Errors
/// What was wrong, in words.
pub fn run(seed: u64, mutant: Option<Mutant>) -> Result<Summary, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let real = mutant.is_none() && seed % REAL_EVERY == REAL_EVERY - 1;
    let world = async move { World::new(seed, mutant, real).await.run().await };
    let run = AssertUnwindSafe(|| runtime.block_on(tokio::task::unconstrained(world)));
    catch_unwind(run).unwrap_or_else(|panic| Err(format!("panicked: {:?}", panic.downcast_ref::<String>())))
}

/// Runs seeds on every core until one is wrong: the first such seed, and why.
///
/// # Errors
/// The lowest seed that is wrong, and what was wrong.
pub fn sweep(seeds: Range<u64>, mutant: Option<Mutant>) -> Result<Summary, (u64, String)> {
    let (next, end) = (AtomicU64::new(seeds.start), AtomicU64::new(seeds.end));
    let (all, wrong) = (Mutex::new(Summary::default()), Mutex::new(None::<(u64, String)>));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= end.load(Ordering::SeqCst) {
                return;
            }
            match run(seed, mutant) {
                Ok(summary) => all.lock().expect("never poisoned").add(&summary),
                Err(why) => {
                    end.fetch_min(seed, Ordering::SeqCst);
                    let mut wrong = wrong.lock().expect("never poisoned");
                    if wrong.as_ref().is_none_or(|(first, _)| seed < *first) {
                        *wrong = Some((seed, why));
                    }
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    match wrong.into_inner().expect("never poisoned") {
        Some(found) => Err(found),
        None => Ok(all.into_inner().expect("never poisoned")),
    }
}
