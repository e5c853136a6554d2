//! `seam ingest`: events from files or standard input into a running Seam, or straight into the log when none runs.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use seam_ingest::file::FileReader;
use seam_ingest::{Door, RawEvent};
use seam_shared::config::Config;
use seam_shared::view::definition::Source;
use seam_shared::{Error, Result};
use serde_json::Value;

use crate::args::Ingest;
use crate::client::{Client, Credentials};
use crate::wire::Ports;

/// Refused lines that are printed; the others are counted and kept as dead letters like these.
const SHOWN: u64 = 10;

/// Where the events go.
enum Target {
    Running(Client),
    Log(Arc<Door>),
}

#[derive(Default)]
struct Totals {
    accepted: u64,
    rejected: u64,
    position: String,
}

/// Sends every file; exit code 1 when an event was refused.
pub fn run(config: Config, command: &Ingest, credentials: &Credentials) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::internal("threads cannot be started").because(e))?;
    let source = source(&config, command.source.as_deref())?;
    let target = runtime.block_on(target(config, command.url.as_deref(), credentials))?;
    let bar = progress(command.quiet);
    let mut totals = Totals::default();
    for file in &command.files {
        let mut reader = FileReader::open(&source, Path::new(file), None)?;
        while let Some(events) = reader.next_batch()? {
            runtime.block_on(send(&target, &source, file, events, &mut totals, &bar))?;
            bar.set_position(totals.accepted + totals.rejected);
        }
    }
    bar.finish_and_clear();
    println!("{} accepted, {} refused, up to {}", totals.accepted, totals.rejected, totals.position);
    if totals.rejected > 0 {
        eprintln!("refused events are kept: `seam dlq list --source {}`", source.name);
    }
    Ok(0)
}

/// The named source, or the only one.
pub fn source(config: &Config, name: Option<&str>) -> Result<Arc<Source>> {
    let names: Vec<&str> = config.sources.iter().map(|s| s.name.as_str()).collect();
    match name {
        Some(name) => config
            .source(name)
            .cloned()
            .ok_or_else(|| Error::not_found(format!("there is no source `{name}`; there is {}", names.join(", ")))),
        None => match &config.sources[..] {
            [only] => Ok(only.clone()),
            _ => Err(Error::invalid(format!("name the source with --source: {}", names.join(", ")))),
        },
    }
}

async fn target(config: Config, url: Option<&str>, credentials: &Credentials) -> Result<Target> {
    let client = match url {
        Some(url) => return Ok(Target::Running(Client::new(url, credentials)?)),
        None => Client::of(&config, credentials)?,
    };
    if client.is_up() {
        return Ok(Target::Running(client));
    }
    let ports = Ports::open(config)?;
    let door = Door::open(ports.log.clone(), ports.clock.clone(), &ports.config.sources).await?;
    Ok(Target::Log(Arc::new(door)))
}

fn progress(quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{spinner} {human_pos} events, {per_sec}, {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

async fn send(
    target: &Target,
    source: &Source,
    file: &str,
    events: Vec<RawEvent>,
    totals: &mut Totals,
    bar: &ProgressBar,
) -> Result<()> {
    let mut show = |line: u64, reason: &str| {
        if totals.rejected < SHOWN {
            bar.suspend(|| eprintln!("{file}:{line}: {reason}"));
        }
        totals.rejected += 1;
    };
    match target {
        Target::Log(door) => {
            let receipt = door.submit(&source.name, events).await?;
            receipt.errors.iter().for_each(|error| show(error.line, &error.reason));
            totals.rejected += receipt.rejected - receipt.errors.len() as u64;
            totals.accepted += receipt.accepted;
            totals.position = receipt.position;
        }
        Target::Running(client) => {
            let lines: Vec<u64> = events.iter().map(|e| e.line).collect();
            let receipt = post(client, source, &events)?;
            let number = |name: &str| receipt.get(name).and_then(Value::as_u64).unwrap_or_default();
            let errors = receipt.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for error in errors {
                let line = error.get("line").and_then(Value::as_u64).unwrap_or_default();
                let line = usize::try_from(line).ok().and_then(|l| lines.get(l.wrapping_sub(1))).copied();
                show(line.unwrap_or_default(), error.get("reason").and_then(Value::as_str).unwrap_or_default());
            }
            totals.rejected += number("rejected") - errors.len() as u64;
            totals.accepted += number("accepted");
            if let Some(position) = receipt.get("position").and_then(Value::as_str) {
                totals.position = position.to_owned();
            }
        }
    }
    Ok(())
}

/// One body of lines. A body of which every event is refused is answered with a problem that lists them like a receipt.
fn post(client: &Client, source: &Source, events: &[RawEvent]) -> Result<Value> {
    let mut body = Vec::with_capacity(events.iter().map(|e| e.value.len() + 1).sum());
    for event in events {
        body.extend_from_slice(&event.value);
        body.push(b'\n');
    }
    let reply = client.post(&format!("/v1/events/{}", source.name), "application/x-ndjson", &body)?;
    if reply.status == 422 {
        let mut receipt = reply.body;
        receipt["rejected"] = events.len().into();
        return Ok(receipt);
    }
    reply.success()
}
