//! `seam top`: a running Seam at a glance, from its own metrics. Rates are those between two looks.
mod frame;
mod samples;

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use seam_shared::{Error, Result};
use serde_json::Value;

use crate::args::{Top, TopOutput};
use crate::client::Client;
use frame::Frame;
use samples::Samples;

/// Where the frame is drawn again: at the top left, over what was there.
const HOME: &str = "\x1b[H\x1b[J";
const SHORTEST: f64 = 0.1;

/// Shows frames until a signal, or one.
pub fn run(clients: &[Client], command: &Top) -> Result<()> {
    let interval = Duration::from_secs_f64(command.interval.clamp(SHORTEST, 3_600.0));
    let is_screen = std::io::stdout().is_terminal() && !command.once && command.output == TopOutput::Table;
    let mut before = look(clients)?;
    let mut since = Instant::now();
    loop {
        std::thread::sleep(interval.saturating_sub(since.elapsed()));
        let now = look(clients)?;
        let seconds = since.elapsed().as_secs_f64();
        since = Instant::now();
        let frame = Frame::new(&before, &now, seconds, unix_seconds());
        let text = match command.output {
            TopOutput::Json => frame.to_json().to_string(),
            TopOutput::Table => frame.to_string(),
        };
        let mut out = std::io::stdout().lock();
        let written = if is_screen { write!(out, "{HOME}{text}") } else { writeln!(out, "{text}") };
        if written.and_then(|()| out.flush()).is_err() || command.once {
            // Nobody reads any more.
            return Ok(());
        }
        before = now;
    }
}

fn look(clients: &[Client]) -> Result<Samples> {
    let mut samples = Samples::default();
    for client in clients {
        match client.get("/metrics", &[])?.success()? {
            Value::String(text) => samples.add(&text),
            _ => return Err(Error::invalid("what answers there is no Seam: its /metrics are no text")),
        }
    }
    Ok(samples)
}

fn unix_seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
