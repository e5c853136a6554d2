//! `seam dlq`: the refused events, with the reason and the original bytes, and their way back.
use std::io::Write;
use std::sync::Arc;

use seam_ingest::dead_letters::{self, DeadLetter};
use seam_ingest::{Door, Receipt};
use seam_shared::config::Config;
use seam_shared::log::Offset;
use seam_shared::{Error, Kind, Result};
use tokio::runtime::Runtime;

use crate::args::{DlqList, DlqReplay, DlqShow};
use crate::client::{Client, Credentials};
use crate::command::ingest::{source, source_of};
use crate::output::say;
use crate::wire::Ports;

/// Letters that are asked for at once.
const PAGE: usize = 1_000;

/// Where dead letters are: behind a running Seam, which holds the log, or in the log itself.
enum Place {
    Running(Client),
    Log(Runtime, Box<Door>),
}

impl Place {
    /// The place, and the name of the source.
    fn of(
        config: Option<Config>,
        url: Option<&str>,
        name: Option<&str>,
        keys: &Credentials,
    ) -> Result<(Place, String)> {
        if let Some(url) = url {
            let client = Client::new(url, keys)?;
            let source = source_of(&client, config.as_ref(), name)?;
            return Ok((Place::Running(client), source));
        }
        let config = config.ok_or_else(|| Error::invalid("there is no configuration"))?;
        let source = source(&config, name)?.name.clone();
        let client = Client::of(&config, keys)?;
        if client.is_up() {
            return Ok((Place::Running(client), source));
        }
        let runtime = crate::runtime::runtime()?;
        let door = runtime.block_on(async {
            let Ports { log, clock, config, .. } = Ports::open(config)?;
            Door::open(Arc::clone(&log), Arc::clone(&clock), &config.sources).await
        })?;
        Ok((Place::Log(runtime, Box::new(door)), source))
    }

    /// The newest letters, or those from an entry on, oldest first; and how many are kept.
    fn letters(&self, source: &str, from: Option<Offset>, limit: usize) -> Result<(Vec<DeadLetter>, u64)> {
        match self {
            Place::Log(runtime, door) => runtime.block_on(async {
                match from {
                    Some(from) => dead_letters::list(door.log(), source, from, limit).await,
                    None => dead_letters::newest(door.log(), source, limit).await,
                }
            }),
            Place::Running(client) => {
                let limit = ("limit", limit.to_string());
                let from = from.map(|from| ("from", from.to_string()));
                let asked: Vec<_> = from.into_iter().chain([limit]).collect();
                let answer = client.get(&format!("/v1/dead-letters/{source}"), &asked)?.success()?;
                let letters = answer["letters"].as_array().map_or(&[][..], Vec::as_slice);
                let letters = letters.iter().map(DeadLetter::from_json).collect::<Result<_>>()?;
                Ok((letters, answer["kept"].as_u64().unwrap_or_default()))
            }
        }
    }

    fn letter(&self, source: &str, entry: Offset) -> Result<DeadLetter> {
        match self {
            Place::Log(runtime, door) => runtime.block_on(dead_letters::show(door.log(), source, entry)),
            Place::Running(client) => {
                DeadLetter::from_json(&client.get(&format!("/v1/dead-letters/{source}/{entry}"), &[])?.success()?)
            }
        }
    }

    fn replay(&self, source: &str, entry: Offset) -> Result<Receipt> {
        let client = match self {
            Place::Log(runtime, door) => return runtime.block_on(door.replay(source, entry)),
            Place::Running(client) => client,
        };
        let reply = client.post(
            &format!("/v1/dead-letters/{source}/{entry}/replay"),
            &[("content-type", "application/json")],
            &[],
        )?;
        let again = reply.status == 422; // refused again: a problem that lists why, like a receipt
        let mut receipt = if again { reply.body } else { reply.success()? };
        if again {
            receipt = serde_json::json!({ "accepted": 0, "rejected": 1, "errors": receipt["errors"], "position": "" });
        }
        serde_json::from_value(receipt).map_err(|e| Error::internal("the answer is no receipt").because(e))
    }
}

/// Prints a line for each refused event.
pub fn list(config: Option<Config>, command: &DlqList, credentials: &Credentials) -> Result<()> {
    let (place, source) = Place::of(config, command.url.as_deref(), command.source.as_deref(), credentials)?;
    let (letters, kept) = place.letters(&source, None, command.limit)?;
    for letter in &letters {
        say!("{}", row(letter));
    }
    say!("{} of {kept} refused events of {source}; `seam dlq show NUMBER` prints one whole", letters.len());
    Ok(())
}

fn row(letter: &DeadLetter) -> String {
    format!("{}  {}  line {}  {}", letter.offset, letter.received, letter.line, letter.reason)
}

/// Prints one refused event: the reason on standard error, the original bytes on standard output.
pub fn show(config: Option<Config>, command: &DlqShow, credentials: &Credentials) -> Result<()> {
    let (place, source) = Place::of(config, command.url.as_deref(), command.source.as_deref(), credentials)?;
    let letter = place.letter(&source, Offset(command.entry))?;
    eprintln!("{}", row(&letter));
    let written = std::io::stdout().write_all(&letter.event).and_then(|()| std::io::stdout().write_all(b"\n"));
    written.map_err(|e| Error::internal("standard output cannot be written").because(e))
}

/// Sends refused events through the door again and prints what became of each; exit code 1 if one was refused again.
pub fn replay(config: Option<Config>, command: &DlqReplay, credentials: &Credentials) -> Result<u8> {
    let (place, source) = Place::of(config, command.url.as_deref(), command.source.as_deref(), credentials)?;
    let entries = match command.all {
        true => all(&place, &source)?,
        false => command.entries.iter().copied().map(Offset).collect(),
    };
    let (mut accepted, mut position) = (0, String::new());
    for &entry in &entries {
        let refused = match place.replay(&source, entry) {
            Ok(receipt) if receipt.accepted > 0 => {
                accepted += 1;
                position = receipt.position;
                continue;
            }
            Ok(receipt) => receipt.errors.first().map_or_else(String::new, |error| error.reason.clone()),
            // It was too large to keep whole: the others are not.
            Err(error) if error.kind() == Kind::Invalid => error.message().to_owned(),
            Err(error) => return Err(error),
        };
        eprintln!("{entry}: {refused}");
    }
    let up_to = if position.is_empty() { String::new() } else { format!(", up to {position}") };
    say!("{accepted} of {} refused events of {source} accepted{up_to}", entries.len());
    Ok(u8::from(accepted < entries.len()))
}

/// The entries that are kept now; those that are refused again while they are sent are not among them.
fn all(place: &Place, source: &str) -> Result<Vec<Offset>> {
    let Some(last) = place.letters(source, None, 1)?.0.pop().map(|letter| letter.offset) else { return Ok(Vec::new()) };
    let (mut entries, mut from) = (Vec::new(), Offset(0));
    while from <= last {
        let (letters, _) = place.letters(source, Some(from), PAGE)?;
        let Some(newest) = letters.last() else { break };
        from = Offset(newest.offset.0 + 1);
        entries.extend(letters.iter().map(|letter| letter.offset).filter(|entry| *entry <= last));
    }
    Ok(entries)
}
