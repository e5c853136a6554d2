//! `seam test`: the file's tests in every layer, and random streams against the user's own views.
use std::sync::Arc;

use bytes::Bytes;
use seam_proof::dice::Dice;
use seam_proof::expected;
use seam_proof::random::{self, Counterexample, Options};
use seam_proof::trial::by_offset;
use seam_shared::Result;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::Config;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::{archive_file, verified};

use crate::args::Test;
use crate::output::say;
use crate::runtime::runtime;
use crate::wire::lake;

/// Events of the longest random stream.
const EVENTS: u64 = 16;
/// Records of each source that `--sample` takes.
const SAMPLES: usize = 200;
/// Files that they are taken from.
const SAMPLE_FILES: u64 = 8;

/// Runs what is asked for. Exit code 1 if anything does not hold.
pub fn run(config: Config, command: &Test) -> Result<u8> {
    runtime()?.block_on(async {
        let mut failed = tests(&config, command).await?;
        if let Some(streams) = command.random {
            failed |= !streams_agree(&config, command, streams).await?;
        }
        Ok(u8::from(failed))
    })
}

/// The file's tests; whether any of them failed.
async fn tests(config: &Config, command: &Test) -> Result<bool> {
    let chosen = |name: &str| command.names.is_empty() || command.names.iter().any(|part| name.contains(part.as_str()));
    let cases: Vec<_> = config.tests.iter().filter(|case| chosen(&case.name)).collect();
    if cases.is_empty() && command.random.is_none() {
        say!("there is no test to run: write `tests:` into the configuration, or try --random");
    }
    let mut failed = 0;
    for case in &cases {
        let outcome = match expected::run(config, case).await {
            Ok(outcome) => outcome,
            Err(error) => expected::Outcome { name: case.name.clone(), answers: 0, failures: vec![error.to_string()] },
        };
        let word = if outcome.failures.is_empty() { "ok" } else { "FAILED" };
        say!("{word:6} {} ({} answers: {})", outcome.name, outcome.answers, case.layers.join(", "));
        outcome.failures.iter().for_each(|failure| say!("       {failure}"));
        failed += usize::from(!outcome.failures.is_empty());
    }
    if !cases.is_empty() {
        say!("{} tests, {failed} failed", cases.len());
    }
    Ok(failed > 0)
}

/// Random streams; whether the layers agreed on all of them.
async fn streams_agree(config: &Config, command: &Test, streams: u64) -> Result<bool> {
    let samples = if command.sample { sample(config, command.seed).await? } else { Vec::new() };
    for (source, records) in &samples {
        say!("{} records of {source} sampled from the archive", records.len());
    }
    let options = Options { seed: command.seed, streams, events: EVENTS, samples };
    match random::run(config, &options, &by_offset).await? {
        Ok(tried) => {
            say!(
                "{} random streams (seeds from {}), {} records, the seam at {} places: speed, batch and merged equal the oracle",
                tried.streams,
                command.seed,
                tried.records,
                tried.cuts
            );
            Ok(true)
        }
        Err(found) => {
            print(&found);
            Ok(false)
        }
    }
}

fn print(found: &Counterexample) {
    let Counterexample { seed, source, records, cut, difference } = found;
    say!("DIFFERENCE with seed {seed}: {difference}");
    say!("the batch layer has taken in the first {cut} of these {} events of {source}:", records.len());
    for record in records {
        say!("  {}: {}", record.partition, String::from_utf8_lossy(&record.value));
    }
    say!("this is a bug of Seam, whatever the events are: please report it");
}

/// Records of the archive by source, from some files chosen by the seed.
async fn sample(config: &Config, seed: u64) -> Result<Vec<(String, Vec<Bytes>)>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (lake, dice) = (lake(config)?, Dice::new(seed));
    let mut all = Vec::new();
    for source in &config.sources {
        let Some((table, _)) = ArchiveTable::existing(lake.clone(), source, clock.clone()).await? else { continue };
        let files = &table.latest().await?.files;
        let mut records: Vec<Bytes> = Vec::new();
        for _ in 0..SAMPLE_FILES.min(files.len() as u64) {
            let file = &files[dice.below(files.len() as u64) as usize];
            let bytes = verified::get(lake.as_ref(), &file.path, &file.blake3).await?;
            let chunk = archive_file::read_records(&bytes)?;
            for _ in 0..SAMPLES / SAMPLE_FILES as usize {
                let record = chunk.get(dice.below(chunk.len() as u64) as usize);
                records.push(Bytes::copy_from_slice(record.value));
            }
        }
        all.push((source.name.clone(), records));
    }
    Ok(all)
}
