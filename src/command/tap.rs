//! `seam tap`: events as they come into a running Seam, one JSON object a line.
use std::io::{BufRead, BufReader, ErrorKind, Write};

use seam_shared::config::Config;
use seam_shared::{Error, Result};

use crate::args::Tap;
use crate::client::Client;
use crate::command::ingest::source_of;

/// Prints events until the limit, or until nobody reads them.
pub fn run(config: Option<&Config>, client: &Client, command: &Tap) -> Result<()> {
    let source = source_of(client, config, command.source.as_deref())?;
    let mut parameters = vec![("from", command.from.clone())];
    parameters.extend(command.limit.map(|limit| ("limit", limit.to_string())));
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(client.stream(&format!("/v1/tap/{source}"), &parameters)?).lines() {
        let line = line.map_err(|e| Error::unavailable("the stream broke off").because(e))?;
        // An empty line shows that the stream is alive.
        if line.is_empty() {
            continue;
        }
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Error::internal("standard output cannot be written").because(error)),
        }
    }
    Ok(())
}
