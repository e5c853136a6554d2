//! `seam speed rebuild` and `seam replay`: fold views again into a shadow beside the live state, compare, and swap where they differ.
use std::time::Instant;

use seam_shared::config::Config;
use seam_shared::log::{Offset, Partition};
use seam_shared::time::Timestamp;
use seam_shared::{Error, Kind, Result};
use seam_speed::rebuild::{Rebuild, Rebuilt, Start};
use serde::Serialize;

use crate::args;
use crate::configuration;
use crate::output::{json, say};
use crate::runtime::runtime;
use crate::wire::Ports;

/// What became of one view in one partition.
#[derive(Debug, Serialize)]
struct Line {
    view: String,
    partition: String,
    from: u64,
    to: u64,
    records: u64,
    segments_compared: u64,
    groups_that_differ: u64,
    segments_missing: usize,
    swapped: bool,
    seconds: f64,
}

/// Rebuilds the chosen views in every partition. Exit code 1 if live and shadow differ and the live one was left as it is.
pub fn run(config: Config, command: &args::Rebuild) -> Result<u8> {
    for name in &command.view {
        configuration::view(&config, name)?;
    }
    let start = match (&command.from_offset, &command.from_time) {
        (Some(offset), _) => Start::Offset(Offset(*offset)),
        (None, Some(text)) => {
            let wrong = || Error::invalid(format!("`{text}` is no time; write it like 2026-01-31T12:00:00Z"));
            Start::Time(Timestamp::parse_rfc3339(text).ok_or_else(wrong)?)
        }
        (None, None) => Start::Cut,
    };
    let lines = runtime()?.block_on(rebuild(config, command, start))?;
    if command.json {
        json(&lines)?;
    }
    let differs = |line: &Line| !line.swapped && (line.groups_that_differ > 0 || line.segments_missing > 0);
    Ok(u8::from(lines.iter().any(differs)))
}

async fn rebuild(config: Config, command: &args::Rebuild, start: Start) -> Result<Vec<Line>> {
    let ports = Ports::open(config).map_err(|error| {
        let held = error.kind() == Kind::Unavailable;
        let hint = "; a running `seam up` holds the embedded stores: stop it first";
        if held { Error::unavailable(format!("{}{hint}", error.message())) } else { error }
    })?;
    let archives = ports.archives().await?;
    let places = ports.places(archives, &[]);
    let mut lines = Vec::new();
    for view in ports.config.views.iter().filter(|v| command.view.is_empty() || command.view.contains(&v.name)) {
        let source = &view.source;
        let archive = match archives.get(&source.name) {
            Some(archive) => Some(archive.table.latest().await?),
            None => None,
        };
        for number in 0..ports.topic(source).await?.partitions {
            let partition = Partition::new(source.name.as_str(), number);
            if let Start::Offset(offset) = start
                && ports.log.bounds(&partition).await?.1 < offset
            {
                continue;
            }
            let boundaries = archive.as_ref().map_or_else(Vec::new, |archive| archive.boundaries(number));
            let nonce = ports.clock.nonce();
            let rebuild = Rebuild { places: &places, source, view, number, boundaries: &boundaries, nonce: &nonce };
            let begun = Instant::now();
            let found = rebuild.run(start, !command.compare).await?;
            let line = line(&view.name, &partition, &found, begun.elapsed().as_secs_f64());
            if !command.json {
                say!("{}", sentence(&line));
            }
            lines.push(line);
        }
    }
    match start {
        Start::Offset(offset) if lines.is_empty() => {
            Err(Error::invalid(format!("no partition reaches offset {offset}")))
        }
        _ => Ok(lines),
    }
}

fn line(view: &str, partition: &Partition, found: &Rebuilt, seconds: f64) -> Line {
    Line {
        view: view.to_owned(),
        partition: partition.to_string(),
        from: found.from.0,
        to: found.to.0,
        records: found.records,
        segments_compared: found.compared,
        groups_that_differ: found.differences,
        segments_missing: found.missing.len(),
        swapped: found.swapped,
        seconds,
    }
}

fn sentence(line: &Line) -> String {
    let verdict = match (line.groups_that_differ, line.segments_missing, line.swapped) {
        (0, 0, _) => "the same as the live state".to_owned(),
        (groups, missing, swapped) => format!(
            "{groups} groups differ, {missing} segments were missing; {}",
            if swapped { "replaced" } else { "left as it is" }
        ),
    };
    format!(
        "{} {}: {} records from {} to {} folded again in {:.1} s ({:.0}/s), {} segments compared: {verdict}",
        line.view,
        line.partition,
        line.records,
        line.from,
        line.to,
        line.seconds,
        line.records as f64 / line.seconds.max(1e-6),
        line.segments_compared,
    )
}
