//! Seeds that must hold, and naive designs that must be found.
//!
//! `SEAM_SEEDS` says how many seeds to run (a few hundred by default), `SEAM_FIRST_SEED` where to start.
use std::time::Instant;

use seam_tests::mutant::Mutant;
use seam_tests::world::{Summary, World};

const STEPS: u32 = 250;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn run(seed: u64, mutant: Option<Mutant>) -> Result<Summary, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let world = async move { World::new(seed, mutant).await.run(STEPS).await };
    runtime.block_on(tokio::task::unconstrained(world))
}

/// After every step any answer equals the plain oracle at the answer's own stamp; at the end all is caught up.
#[test]
fn simulation_every_answer_equals_the_oracle_at_its_stamp() {
    let (first, seeds) = (setting("SEAM_FIRST_SEED", 0), setting("SEAM_SEEDS", 300));
    let (started, mut all) = (Instant::now(), Summary::default());
    for seed in first..first + seeds {
        match run(seed, None) {
            Ok(summary) => {
                all.answers += summary.answers;
                all.refused += summary.refused;
                all.generations += summary.generations;
            }
            Err(wrong) => panic!("seed {seed}: {wrong}"),
        }
    }
    println!("{seeds} seeds in {:.1} s: {all:?}, none wrong", started.elapsed().as_secs_f64());
    assert!(all.answers > seeds && all.generations > seeds, "the world hardly moved: {all:?}");
}

/// A harness that finds none of the naive designs shows nothing.
#[test]
fn simulation_finds_every_mutant() {
    let limit = setting("SEAM_MUTANT_SEEDS", 10_000);
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let started = Instant::now();
        let found = (0..limit).find_map(|seed| run(seed, Some(mutant)).err().map(|wrong| (seed, wrong)));
        match found {
            Some((seed, wrong)) => {
                let seconds = started.elapsed().as_secs_f64();
                println!("{mutant:?}: found by seed {seed}, in {seconds:.1} s: {wrong}");
            }
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not found within {limit} seeds: {missed:?}");
}
