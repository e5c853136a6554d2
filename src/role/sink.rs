//! The sink role: what changed in views goes where others read it.
//!
//! Whoever has partition 0 of a source writes the sinks of its views, so that each has one writer; a writer that does not know yet that
//! another has taken over is refused by the outlet.
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use seam_shared::config::Sink;
use seam_shared::log::Partition;
use seam_shared::{Error, Result};
use seam_sinks::sinker::{Places, Sinker, Status};
use tokio_util::sync::CancellationToken;

use super::Process;
use super::crew::{self, Board, Hire};
use super::health::Part;
use super::serve;

/// Adds the sinks to a process, if views have any.
pub async fn start(process: &mut Process) -> Result<()> {
    let ports = process.ports.clone();
    if ports.config.sinks.is_empty() {
        return Ok(());
    }
    for source in &ports.config.sources {
        ports.topic(source).await?;
    }
    let log = ports.tiered().await?;
    let membership = ports.join("sink").await?;
    let serving = serve::serving(process).await?;
    let mut writers = Vec::new();
    for sink in &ports.config.sinks {
        let (outlet, clock, telemetry) = (ports.outlet(sink)?, ports.clock.clone(), ports.telemetry.clone());
        let places = Places { serving: serving.clone(), log: log.clone(), outlet, clock, telemetry };
        writers.push(Writer { sink: sink.clone(), places, status: Arc::default() });
    }
    let watch = Arc::new(Watch { board: Board::new("sink", &ports.telemetry), writers });
    let hire: Hire = {
        let watch = watch.clone();
        Box::new(move |partition, cancel| Box::pin(write(watch.clone(), partition.clone(), cancel)))
    };
    process.work("sink", crew::run(membership, watch.board.clone(), hire, process.layers()))?;
    process.watch(watch);
    Ok(())
}

/// One sink, as long as it is written here.
struct Writer {
    sink: Sink,
    places: Places,
    status: Arc<Status>,
}

struct Watch {
    board: Arc<Board>,
    writers: Vec<Writer>,
}

/// Writes the sinks of a source's views, if the partition is its first.
async fn write(watch: Arc<Watch>, partition: Partition, cancel: CancellationToken) -> Result<()> {
    let of_source =
        watch.writers.iter().filter(|w| partition.number == 0 && w.sink.view.source.name == partition.source);
    let mut at_work = Vec::new();
    for writer in of_source {
        let sinker = Sinker::new(writer.places.clone(), writer.sink.clone()).told(writer.status.clone());
        at_work.push(sinker.run(cancel.clone()));
    }
    if at_work.is_empty() {
        cancel.cancelled().await;
        return Ok(());
    }
    try_join_all(at_work).await.map(drop)
}

#[async_trait]
impl Part for Watch {
    async fn checks(&self) -> Vec<(String, Result<()>)> {
        let mut checks = self.board.checks();
        for Writer { sink, status, .. } in &self.writers {
            let name = format!("sink of {} ({})", sink.view.name, sink.mode.name());
            checks.push((name, status.failure().map_or(Ok(()), |why| Err(Error::unavailable(why)))));
        }
        checks
    }
}
