//! What folding an event and answering a question cost, in instructions: as multiples of something plain that is counted in the same
//! run, so that neither machine nor compiler matters much, and held against the multiples in `costs.txt`.
//!
//! `SEAM_WORK="fold: one view" valgrind --tool=callgrind BINARY work` says where the instructions of one piece of work go; it begins
//! with `prepared` work, which is subtracted.
mod answer;
mod fold;
#[path = "../../../../speed/benches/fold/plain.rs"]
mod plain;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use seam_services::{installed, skipped};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each piece of work beside its yardstick, which does as much.
const WORK: [(&str, &str); 6] = [
    ("fold: one view", "fold: plain loop, one view"),
    ("fold: one view, duplicates by id", "fold: plain loop, one view"),
    ("fold: sixteen views", "fold: plain loop, sixteen views"),
    ("answer: one key, every question different", "answer: bare handler"),
    ("answer: one key, the same question again", "answer: bare handler"),
    ("answer: an hour by minute, every question different", "answer: bare handler"),
];
/// What stands before the pieces of work whose preparations are the same.
const LAYERS: [&str; 2] = ["fold: ", "answer: "];
const PREPARED: &str = "prepared";
/// Names the work that a process of this binary does under valgrind.
const VARIABLE: &str = "SEAM_WORK";
/// So much dearer than in `costs.txt` is a regression. Less than that, and another compiler may be the reason.
const DEARER: f64 = 1.15;
const COMMAND: &str = "cargo test --release -p seam -p seam-services --test costs";

/// Not a test of its own: what [`costs_stay_what_they_were`] counts.
#[test]
fn work() {
    let Ok(work) = std::env::var(VARIABLE) else { return };
    let [fold, answer] = LAYERS.map(|layer| work.strip_prefix(layer));
    match (fold, answer) {
        (Some(work), _) => fold::run(work),
        (_, Some(work)) => answer::run(work),
        _ => panic!("{VARIABLE}: no work is called {work:?}"),
    }
}

#[test]
fn costs_stay_what_they_were() {
    if cfg!(debug_assertions) {
        return skipped("only a release build's instructions mean something", COMMAND);
    }
    if !installed("valgrind") {
        return;
    }
    let counts = count_all();
    let effort = |work: &str| {
        let layer = LAYERS.into_iter().find(|layer| work.starts_with(layer)).expect("a layer's work");
        counts[work] as f64 - counts[&format!("{layer}{PREPARED}")] as f64
    };
    let measured = WORK.map(|(work, yardstick)| (work, effort(work) / effort(yardstick)));
    for (work, ratio) in measured {
        println!("{ratio:6.2} {work}");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/costs/costs.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let lines = measured.map(|(work, ratio)| format!("{ratio:6.2} {work}\n"));
        return std::fs::write(file, lines.concat()).expect("costs.txt can be written");
    }
    let text = std::fs::read_to_string(file).expect("costs.txt is there");
    let known: BTreeMap<&str, f64> = text
        .lines()
        .map(|line| line.trim_start().split_once(' ').expect("a multiple and its work"))
        .map(|(ratio, work)| (work, ratio.parse().expect("a multiple")))
        .collect();
    let problems: Vec<String> =
        measured.into_iter().filter_map(|(work, now)| problem(work, now, known[work])).collect();
    assert!(
        problems.is_empty(),
        "{}\nto see all: {COMMAND} -- --nocapture; to state what is measured: UPDATE_GOLDEN=1 {COMMAND}",
        problems.join("\n")
    );
}

/// What is wrong with a ratio, if anything is. What got cheaper passes: whoever made it so states it in the file.
fn problem(work: &str, now: f64, before: f64) -> Option<String> {
    let percent = (now / before - 1.0) * 100.0;
    (now > before * DEARER).then(|| {
        format!(
            "{work}: {now:.2} times the yardstick's instructions, {before:.2} in costs.txt ({percent:+.0} %): dearer; \
             SEAM_WORK={work:?} valgrind --tool=callgrind … says where they go"
        )
    })
}

#[test]
fn what_got_dearer_is_a_problem() {
    assert!(problem("w", 1.14, 1.0).is_none() && problem("w", 0.5, 1.0).is_none());
    assert!(problem("w", 2.34, 2.0).is_some_and(|said| said.contains("+17 %") && said.contains("dearer")));
}

/// The instructions of each piece of work, with its preparations.
fn count_all() -> BTreeMap<String, u64> {
    let mut all: Vec<String> =
        WORK.iter().flat_map(|(work, yardstick)| [*work, *yardstick]).map(str::to_owned).collect();
    all.extend(LAYERS.map(|layer| format!("{layer}{PREPARED}")));
    all.sort_unstable();
    all.dedup();
    let mut counts = BTreeMap::new();
    // Two at a time, as many as the smallest machine has cores.
    for two in all.chunks(2) {
        let running: Vec<Child> = two.iter().map(|work| start(work)).collect();
        counts.extend(two.iter().cloned().zip(running.into_iter().map(instructions)));
    }
    counts
}

/// This binary again, under valgrind, for one piece of work. Cachegrind without caches and files only counts, and is the quickest.
fn start(work: &str) -> Child {
    Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("this binary has a path"))
        .args(["work", "--exact"])
        .env(VARIABLE, work)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("valgrind starts")
}

fn instructions(child: Child) -> u64 {
    let output = child.wait_with_output().expect("valgrind ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let counted = said.lines().find_map(|line| line.split_once("refs:"));
    let count = counted.and_then(|(_, count)| count.trim().replace(',', "").parse().ok());
    count.unwrap_or_else(|| panic!("valgrind counts nothing: {said}"))
}
