//! Random streams against a user's own views: hostile events and samples of the archive, the seam cut at every place, and the
//! smallest stream that shows a difference.
use std::sync::Arc;

use bytes::Bytes;
use seam_shared::config::Config;
use seam_shared::error::Result;
use seam_shared::view::definition::{Source, View};

use crate::dice::Dice;
use crate::hostile::events::Maker;
use crate::trial::{Join, Record, cut_anywhere, difference};

/// What to try.
#[derive(Debug, Clone)]
pub struct Options {
    /// The first seed.
    pub seed: u64,
    /// Streams to try for each source.
    pub streams: u64,
    /// Events of the longest stream.
    pub events: u64,
    /// Records of the archive to mix in, by source.
    pub samples: Vec<(String, Vec<Bytes>)>,
}

/// What was tried, if everything agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tried {
    /// Streams.
    pub streams: u64,
    /// Streams times places of the seam.
    pub cuts: u64,
    /// Records in all of them.
    pub records: u64,
}

/// A stream on which the layers disagree, as small as it could be made.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// The seed of the stream.
    pub seed: u64,
    /// The source.
    pub source: String,
    /// The records that are left.
    pub records: Vec<Record>,
    /// How many of them the batch layer has taken in.
    pub cut: usize,
    /// What differs.
    pub difference: String,
}

/// Tries `options.streams` streams for each source.
///
/// # Errors
/// Those of the layers; a difference is no error.
pub async fn run(
    config: &Config,
    options: &Options,
    join: &Join,
) -> Result<std::result::Result<Tried, Counterexample>> {
    let config = cut_anywhere(config);
    let mut tried = Tried::default();
    for source in &config.sources {
        let views = config.views_of(&source.name);
        if views.is_empty() {
            continue;
        }
        let none = Vec::new();
        let samples =
            options.samples.iter().find(|(name, _)| *name == source.name).map_or(&none, |(_, samples)| samples);
        for seed in options.seed..options.seed + options.streams {
            let records = stream(source, seed, options.events, samples);
            tried.streams += 1;
            tried.records += records.len() as u64;
            for cut in 0..=records.len() {
                tried.cuts += 1;
                if let Some(found) = difference(source, &views, &records, cut, join).await? {
                    let (records, cut, difference) = shrink(source, &views, records, cut, found, join).await?;
                    let source = source.name.clone();
                    return Ok(Err(Counterexample { seed, source, records, cut, difference }));
                }
            }
        }
    }
    Ok(Ok(tried))
}

/// The records of a seed.
fn stream(source: &Arc<Source>, seed: u64, events: u64, samples: &[Bytes]) -> Vec<Record> {
    let dice = Dice::new(seed);
    let maker = Maker::new(&dice, source);
    let mut records: Vec<Record> = Vec::new();
    for _ in 0..1 + dice.below(events.max(1)) {
        let partition = dice.below(u64::from(source.partitions)) as u32;
        let again = records.len() as u64;
        let value = match dice.below(8) {
            0 if again > 0 => records[dice.below(again) as usize].value.clone(),
            1..=5 if !samples.is_empty() => samples[dice.below(samples.len() as u64) as usize].clone(),
            _ => maker.record(&dice).bytes,
        };
        records.push(Record { partition, value });
    }
    records
}

/// Leaves records out, and moves the seam, as long as a difference remains.
async fn shrink(
    source: &Arc<Source>,
    views: &[Arc<View>],
    mut records: Vec<Record>,
    mut cut: usize,
    mut found: String,
    join: &Join,
) -> Result<(Vec<Record>, usize, String)> {
    loop {
        let before = records.len();
        let mut at = 0;
        while at < records.len() {
            let mut fewer = records.clone();
            fewer.remove(at);
            let moved = cut - usize::from(at < cut);
            match difference(source, views, &fewer, moved, join).await? {
                Some(difference) => (records, cut, found) = (fewer, moved, difference),
                None => at += 1,
            }
        }
        if records.len() == before {
            return Ok((records, cut, found));
        }
    }
}
