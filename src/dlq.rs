//! `seam dlq`: the refused events, with the reason and the original bytes.
use std::sync::Arc;

use seam_ingest::dead_letters::{self, DeadLetter};
use seam_shared::config::Config;
use seam_shared::log::{EventLog, Offset};
use seam_shared::{Error, Result};
use serde_json::Value;

use crate::args::{DlqList, DlqShow};
use crate::client::{Client, Credentials};
use crate::ingest::source;
use crate::wire::Ports;

/// Where dead letters are read: from a running Seam, which holds the log, or from the log itself.
enum Place {
    Running(Client),
    Log(tokio::runtime::Runtime, Arc<dyn EventLog>),
}

fn place(config: Config, url: Option<&str>, credentials: &Credentials) -> Result<Place> {
    let client = match url {
        Some(url) => return Ok(Place::Running(Client::new(url, credentials)?)),
        None => Client::of(&config, credentials)?,
    };
    if client.is_up() {
        return Ok(Place::Running(client));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::internal("threads cannot be started").because(e))?;
    let _inside = runtime.enter();
    let log = Ports::open(config)?.log;
    drop(_inside);
    Ok(Place::Log(runtime, log))
}

/// Prints a line for each refused event.
pub fn list(config: Config, command: &DlqList, credentials: &Credentials) -> Result<()> {
    let source = source(&config, command.source.as_deref())?.name.clone();
    let (letters, kept) = match place(config, command.url.as_deref(), credentials)? {
        Place::Log(runtime, log) => {
            let (letters, kept) = runtime.block_on(dead_letters::newest(&log, &source, command.limit))?;
            (letters.iter().map(row).collect::<Vec<_>>(), kept)
        }
        Place::Running(client) => {
            let limit = [("limit", command.limit.to_string())];
            let answer = client.get(&format!("/v1/dead-letters/{source}"), &limit)?.success()?;
            let letters = answer.get("letters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            (letters.iter().map(json_row).collect(), answer.get("kept").and_then(Value::as_u64).unwrap_or_default())
        }
    };
    for letter in &letters {
        println!("{letter}");
    }
    println!("{} of {kept} refused events of {source}; `seam dlq show NUMBER` prints one whole", letters.len());
    Ok(())
}

fn row(letter: &DeadLetter) -> String {
    format!("{}  {}  line {}  {}", letter.offset, letter.received, letter.line, letter.reason)
}

fn json_row(letter: &Value) -> String {
    let text = |name: &str| match letter.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    format!("{}  {}  line {}  {}", text("entry"), text("received"), text("line"), text("reason"))
}

/// Prints one refused event: the reason on standard error, the original bytes on standard output.
pub fn show(config: Config, command: &DlqShow, credentials: &Credentials) -> Result<()> {
    use std::io::Write;
    let source = source(&config, command.source.as_deref())?.name.clone();
    let (reason, event) = match place(config, command.url.as_deref(), credentials)? {
        Place::Log(runtime, log) => {
            let letter = runtime.block_on(dead_letters::show(&log, &source, Offset(command.entry)))?;
            (row(&letter), letter.event)
        }
        Place::Running(client) => {
            let letter = client.get(&format!("/v1/dead-letters/{source}/{}", command.entry), &[])?.success()?;
            let event = letter.get("event").and_then(Value::as_str).unwrap_or_default().as_bytes().to_vec();
            (json_row(&letter), event)
        }
    };
    eprintln!("{reason}");
    let written = std::io::stdout().write_all(&event).and_then(|()| std::io::stdout().write_all(b"\n"));
    written.map_err(|e| Error::internal("standard output cannot be written").because(e))
}
