//! Seeds that must hold, and naive designs that must be found.
//!
//! `SEAM_SEEDS` says how many seeds to run (10,000 by default), `SEAM_FIRST_SEED` where to start.
use std::time::Instant;

use seam_tests::simulator::mutant::Mutant;
use seam_tests::simulator::{REAL_EVERY, run, sweep};

use crate::layers::setting;

/// Seeds that were wrong once.
const KEPT: [u64; 1] = [4_726];

/// After every step any answer equals the plain oracle at the answer's own stamp; at the end all is caught up.
#[test]
fn simulation_every_answer_equals_the_oracle_at_its_stamp() {
    let (first, seeds) = (setting("SEAM_FIRST_SEED", 0), setting("SEAM_SEEDS", 10_000));
    let started = Instant::now();
    for seed in KEPT {
        run(seed, None).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
    let all = sweep(first..first + seeds, None).unwrap_or_else(|(seed, wrong)| panic!("seed {seed}: {wrong}"));
    let seconds = started.elapsed().as_secs_f64();
    println!("{seeds} seeds in {seconds:.1} s, {:.0} a second: {all:?}, none wrong", seeds as f64 / seconds);
    assert!(
        all.answers > 4 * seeds && all.generations > 2 * seeds && all.rollbacks > seeds / 8,
        "the world hardly moved: {all:?}"
    );
    assert!(all.silences > seeds / 60, "hardly a source fell silent: {all:?}");
    assert!(all.excluded > seeds, "hardly an answer knew what it left out: {all:?}");
}

/// A seed that fails must fail again: it goes the same way every time, the real batch job included.
#[test]
fn simulation_of_a_seed_always_goes_the_same_way() {
    for seed in (0..30).chain([REAL_EVERY - 1, 2 * REAL_EVERY - 1]) {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
}

/// A harness that finds none of the naive designs shows nothing.
#[test]
fn simulation_finds_every_mutant() {
    let limit = setting("SEAM_MUTANT_SEEDS", 10_000);
    let mut missed = Vec::new();
    for mutant in Mutant::WRONG {
        let started = Instant::now();
        match sweep(0..limit, Some(mutant)) {
            Err((seed, wrong)) => {
                let seconds = started.elapsed().as_secs_f64();
                println!("{mutant:?}: found by seed {seed}, in {seconds:.1} s: {wrong}");
            }
            Ok(_) => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not found within {limit} seeds: {missed:?}");
}

/// Designs that only look wrong: whoever calls everything wrong shows nothing either.
#[test]
fn simulation_lets_harmless_designs_pass() {
    let seeds = setting("SEAM_HARMLESS_SEEDS", 300);
    for mutant in Mutant::HARMLESS {
        match sweep(0..seeds, Some(mutant)) {
            Ok(all) => println!("{mutant:?}: {} answers, none wrong", all.answers),
            Err((seed, wrong)) => panic!("{mutant:?}, seed {seed}: {wrong}"),
        }
    }
}
