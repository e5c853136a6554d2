//! `seam ingest`: events from files or standard input into a running Seam, or straight into the log when none runs.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use seam_ingest::file::{FileFormat, FileReader, Part};
use seam_ingest::http::LINES_BEFORE;
use seam_ingest::{Door, LineError, Receipt};
use seam_shared::config::Config;
use seam_shared::log::OffsetVector;
use seam_shared::view::definition::Source;
use seam_shared::{Error, Result};

use crate::args::{FileKind, Ingest};
use crate::client::{Client, Credentials};
use crate::configuration;
use crate::output::say;
use crate::wire::Ports;

/// Refused lines that are printed; the others are counted and kept as dead letters like these.
const SHOWN: u64 = 10;

/// Where the events go.
enum Target {
    /// Through the door of a running Seam, to the source of that name.
    Running(Client, String),
    /// Straight into the log.
    Log(Arc<Door>, Arc<Source>),
}

impl Target {
    fn source(&self) -> &str {
        match self {
            Target::Running(_, source) => source,
            Target::Log(_, source) => &source.name,
        }
    }
}

#[derive(Default)]
struct Totals {
    accepted: u64,
    rejected: u64,
    position: OffsetVector,
}

/// Sends every file; exit code 1 if there were events and all of them were refused.
pub fn run(config: Option<Config>, command: &Ingest, credentials: &Credentials) -> Result<u8> {
    let runtime = crate::runtime::runtime()?;
    let target = runtime.block_on(target(config, command, credentials))?;
    let bar = progress(command.quiet);
    let mut totals = Totals::default();
    let format = command.format.map(|kind| match kind {
        FileKind::Ndjson => FileFormat::Ndjson,
        FileKind::Csv => FileFormat::Csv,
    });
    for file in &command.files {
        let mut reader = FileReader::open(Path::new(file), format)?;
        while let Some(part) = reader.next_part()? {
            runtime.block_on(send(&target, file, part, &mut totals, &bar))?;
            bar.set_position(totals.accepted + totals.rejected);
        }
    }
    bar.finish_and_clear();
    let source = target.source();
    let up_to =
        if totals.accepted > 0 { format!(", up to {}", totals.position.to_text(source)) } else { String::new() };
    say!("{} accepted, {} refused{up_to}", totals.accepted, totals.rejected);
    if totals.rejected > 0 {
        eprintln!("refused events are kept: `seam dlq list --source {source}`");
    }
    Ok(u8::from(totals.accepted == 0 && totals.rejected > 0))
}

/// The named source, or the only one.
pub fn source(config: &Config, name: Option<&str>) -> Result<Arc<Source>> {
    if let Some(name) = name {
        return configuration::source(config, name).cloned();
    }
    match &config.sources[..] {
        [only] => Ok(only.clone()),
        all => Err(unnamed(all.iter().map(|source| source.name.as_str()))),
    }
}

fn unnamed<'n>(sources: impl Iterator<Item = &'n str>) -> Error {
    Error::invalid(format!("say which source: {}", sources.collect::<Vec<_>>().join(", ")))
}

/// The name of a source of the Seam that was named by its address: as it was given, or the only one that it has.
pub fn source_of(client: &Client, config: Option<&Config>, name: Option<&str>) -> Result<String> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    let names = client.sources();
    match (names.as_deref(), config) {
        (Ok([only]), _) => Ok(only.clone()),
        (Ok(names), _) => Err(unnamed(names.iter().map(String::as_str))),
        // This key may not ask.
        (Err(_), Some(config)) => source(config, None).map(|source| source.name.clone()),
        (Err(error), None) => {
            Err(Error::new(error.kind(), format!("say which source; asked for its sources: {error}")))
        }
    }
}

async fn target(config: Option<Config>, command: &Ingest, credentials: &Credentials) -> Result<Target> {
    let name = command.source.as_deref();
    if let Some(url) = command.url.as_deref() {
        let client = Client::new(url, credentials)?;
        let source = source_of(&client, config.as_ref(), name)?;
        return Ok(Target::Running(client, source));
    }
    let config = config.ok_or_else(|| Error::invalid("there is no configuration"))?;
    let source = source(&config, name)?;
    let client = Client::of(&config, credentials)?;
    if client.is_up() {
        return Ok(Target::Running(client, source.name.clone()));
    }
    let ports = Ports::open(config)?;
    let door = Door::open(ports.log.clone(), ports.clock.clone(), &ports.config.sources).await?;
    Ok(Target::Log(Arc::new(door), source))
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

/// Sends a part, in smaller ones if it is more than the receiver takes at once.
async fn send(target: &Target, file: &str, part: Part, totals: &mut Totals, bar: &ProgressBar) -> Result<()> {
    let mut waiting = vec![part];
    while let Some(part) = waiting.pop() {
        let receipt = match target {
            Target::Log(door, source) => {
                let named = |e: Error| Error::invalid(format!("{file}: {e}"));
                door.submit(&source.name, part.events(source).map_err(named)?).await?
            }
            Target::Running(client, source) => match post(client, source, &part)? {
                Sent::Done(receipt) => receipt,
                Sent::TooLarge(error) => {
                    let too_large = || Error::new(error.kind(), format!("{file}: {}", error.message()));
                    let (first, second) = part.halves().ok_or_else(too_large)?;
                    waiting.extend([second, first]);
                    continue;
                }
            },
        };
        for (LineError { line, reason }, _) in receipt.errors.iter().zip(totals.rejected..SHOWN) {
            bar.suspend(|| eprintln!("{file}:{line}: {reason}"));
        }
        totals.rejected += receipt.rejected;
        totals.accepted += receipt.accepted;
        let reached = OffsetVector::parse_text(&receipt.position).unwrap_or_default();
        if let Some(reached) = reached.get(target.source()) {
            totals.position = totals.position.join(reached);
        }
    }
    Ok(())
}

/// What became of a body.
enum Sent {
    Done(Receipt),
    /// It is too large as a whole.
    TooLarge(Error),
}

/// One body. If every event is refused, the answer is a problem that lists them like a receipt.
fn post(client: &Client, source: &str, part: &Part) -> Result<Sent> {
    let (name, before) = (LINES_BEFORE, part.lines_before.to_string());
    let headers = [("content-type", part.format.media_type()), (name.as_str(), &before)];
    let reply = client.post(&format!("/v1/events/{source}"), &headers, &part.body)?;
    let unreadable = |e| Error::internal("the answer is no receipt").because(e);
    let body = match (reply.status, reply.body.get("rejected")) {
        (413 | 422, Some(rejected)) => {
            serde_json::json!({ "accepted": 0, "rejected": rejected, "errors": reply.body["errors"], "position": "" })
        }
        (413, None) => return Ok(Sent::TooLarge(reply.success().err().unwrap_or_else(|| Error::internal("")))),
        _ => reply.success()?,
    };
    serde_json::from_value(body).map(Sent::Done).map_err(unreadable)
}
