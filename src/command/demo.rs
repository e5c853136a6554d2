//! `seam demo`: replays real flights through every layer of this very program, shows an answer out of both halves, and says where to
//! look.
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use seam_shared::config::{self, Config};
use seam_shared::time::Span;
use seam_shared::{Error, Result};

use crate::args::{Demo, Output, Query};
use crate::client::{Client, Credentials};
use crate::command::{query, up};
use crate::output::say;
use crate::runtime::until_stopped;
use crate::shutdown;

const CONFIGURATION: &str = include_str!("../../seam.yaml");
const FLIGHTS: &[u8] = include_bytes!("../../examples/flights/departures.ndjson.gz");
/// Events of one request.
const BATCH: usize = 100;
/// How long a generation may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Replays, prints an answer, and serves on until a signal (or ends, with `--once`).
pub fn run(command: &Demo) -> Result<()> {
    let folder = command.data.clone().unwrap_or_else(fresh_folder);
    let config = configuration(command, &folder)?;
    let segment = config.sources.first().map_or(Span::MINUTE, |source| source.segments.interval);
    let segment = Duration::from_micros(segment.0.unsigned_abs());
    until_stopped(async {
        let signal = shutdown::on_signal().map_err(|e| Error::internal("signals cannot be caught").because(e))?;
        let running = up::start(config).await?;
        let url = format!("http://{}", running.address);
        say!("Seam is up at {url}; its data is in {}", folder.display());
        let (client, rate) = (Client::new(&url, &Credentials::default())?, command.rate);
        let replayed = tokio::select! {
            replayed = tokio::task::spawn_blocking(move || replay(&client, rate, segment)) => replayed,
            () = signal.cancelled() => return running.stop().await,
        };
        let replayed = replayed.map_err(|e| Error::internal("the replay broke off").because(e)).flatten();
        if replayed.is_ok() {
            guide(&url, command.once);
            if !command.once {
                signal.cancelled().await;
            }
        }
        running.stop().await.and_then(|ended| replayed.map(|()| ended))
    })?;
    if command.data.is_none() {
        // A temporary folder that cannot be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok(())
}

fn fresh_folder() -> PathBuf {
    std::env::temp_dir().join(format!("seam-demo-{}", std::process::id()))
}

fn configuration(command: &Demo, folder: &std::path::Path) -> Result<Config> {
    let mut config = config::load(CONFIGURATION, "seam.yaml (built in)")
        .map_err(|report| Error::internal(format!("the demo's own configuration is wrong\n{report}")))?;
    config.storage.archive = folder.join("lake").display().to_string();
    config.storage.directory = folder.to_path_buf();
    config.server.listen = command
        .listen
        .parse()
        .map_err(|_| Error::invalid(format!("`{}` is no address; write it like 127.0.0.1:8080", command.listen)))?;
    Ok(config)
}

/// Lets flights come in until a generation is published, then more of them, and asks: the answer's older part is the batch layer's,
/// its newer part the speed layer's.
fn replay(client: &Client, rate: u32, segment: Duration) -> Result<()> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(FLIGHTS)
        .read_to_string(&mut text)
        .map_err(|e| Error::internal("the demo's flights are damaged").because(e))?;
    let lines: Vec<&str> = text.lines().collect();
    let (first, rest) = lines.split_at(lines.len() * 2 / 3);
    say!("Replaying {} flights that left New York City in January 2013, {rate} a second", lines.len());
    let asked = question(send(client, first, rate)?);
    say!("{} are in. {}", first.len(), query::parts(client, &asked)?);
    // Only what comes after it ends a segment; only closed segments are archived.
    std::thread::sleep(segment);
    let (next, rest) = rest.split_at(BATCH);
    send(client, next, rate)?;
    say!("The batch layer archives them and recomputes the views …");
    await_generation(client, &asked)?;
    let asked = question(send(client, rest, rate)?);
    say!("It has; {} more flights came since.", next.len() + rest.len());
    say!("\nMean delay in minutes by carrier, 2013-01-01 to 2013-01-15:");
    say!("{}", query::query(client, &Query { by: vec!["carrier".to_owned()], ..asked })?);
    Ok(())
}

/// Sends events; the position behind the last of them.
fn send(client: &Client, lines: &[&str], rate: u32) -> Result<String> {
    let bar = ProgressBar::new(lines.len() as u64);
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} events, {per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let begun = Instant::now();
    let mut position = String::new();
    for (number, batch) in lines.chunks(BATCH).enumerate() {
        let due = begun + Duration::from_secs_f64((number * BATCH) as f64 / f64::from(rate));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let receipt = client.post(
            "/v1/events/flights",
            &[("content-type", "application/x-ndjson")],
            batch.join("\n").as_bytes(),
        )?;
        let receipt = receipt.success()?;
        receipt["position"].as_str().unwrap_or_default().clone_into(&mut position);
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(position)
}

/// Waits until a part of the answer is out of a generation.
fn await_generation(client: &Client, query: &Query) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while query::batch_events(client, query)? == 0 {
        if Instant::now() > give_up {
            return Err(Error::unavailable(format!("no generation was published within {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The mean delay of two weeks, of all that came below a position.
fn question(position: String) -> Query {
    Query {
        metric: "delay".to_owned(),
        by: Vec::new(),
        window: Some("14d".to_owned()),
        cumulative: None,
        tz: None,
        is_final: false,
        at: None,
        per: None,
        top: None,
        order: None,
        fill: None,
        from: None,
        to: Some("2013-01-15T00:00:00Z".to_owned()),
        step: None,
        condition: None,
        limit: None,
        layer: None,
        min_position: Some(position),
        output: Output::Table,
        url: None,
    }
}

fn guide(url: &str, once: bool) {
    // As it was called itself; another address than the configuration's has to be named.
    let seam = std::env::args().next().unwrap_or_else(|| "seam".to_owned());
    let there = if url.ends_with("127.0.0.1:8080") { String::new() } else { format!(" --url {url}") };
    say!(
        "
Where to look{}:
  {url}/   in a browser
  {url}/api/analytics/metrics
  {url}/api/analytics/metrics/delay?dimension=carrier&window=1d&from=2013-01-01&to=2013-01-15
  {url}/api/analytics/metrics/route.flights?dimension=origin&window=1d&at=2013-01-02T00:00:00Z&layer=batch
  {url}/api/analytics/explain/flights.total?window=14d&to=2013-01-15
  {url}/readyz?verbose   {url}/metrics
Or in another terminal:
  {seam} query route.flights --by origin --window 1d --from 2013-01-01 --to 2013-01-08{there}",
        if once { " (run without --once to keep it up)" } else { " (Ctrl-C ends it)" }
    );
}
