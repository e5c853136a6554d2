//! The ingest role: the collector over HTTP, and the stream that tells of it.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seam_ingest::door::Door;
use seam_ingest::{Rules, own_stream};
use seam_shared::Result;
use seam_shared::config::{LogStorage, OWN_STREAM};
use seam_shared::log::Partition;
use seam_shared::view::definition::Source;
use tokio_util::sync::CancellationToken;

use super::Process;
use super::health::Part;
use crate::wire::Ports;

/// How often topics are asked for new partitions.
const LOOK: Duration = Duration::from_secs(5);

/// Adds the collector to a process.
pub async fn start(process: &mut Process) -> Result<()> {
    let ports = process.ports.clone();
    let taken = |source: &&Arc<Source>| !ports.with_own || source.name != OWN_STREAM;
    let sources: Vec<Arc<Source>> = ports.config.sources.iter().filter(taken).cloned().collect();
    if let Some(own) = ports.config.source(OWN_STREAM).filter(|_| ports.with_own) {
        ports.topic(own).await?;
    }
    let door = Door::open(ports.log.clone(), ports.clock.clone(), &sources).await?;
    // A topic of Kafka is looked at with Kafka's own tools.
    let embedded = matches!(ports.config.storage.log, LogStorage::Embedded);
    let outputs = ports.config.sinks.iter().filter(|_| embedded).filter_map(|sink| Some(sink.topic()?.name.clone()));
    let door = Arc::new(door.metered(&ports.telemetry).with_outputs(outputs.collect()));
    if ports.with_own {
        let (door, cancel) = (door.clone(), process.layers());
        process.work("own stream", async move { own_stream::run(&door, cancel).await })?;
    }
    let (looking, cancel) = (door.clone(), process.layers());
    process.work("partitions", async move { look(&looking, &cancel).await })?;
    process.route(seam_ingest::routes(door, Rules::of(&ports.config)), seam_ingest::document());
    process.watch(Arc::new(Watch { ports, sources }));
    Ok(())
}

/// Looks for new partitions until cancelled.
async fn look(door: &Door, cancel: &CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(error) = door.look().await {
            tracing::debug!(%error, "it is not known whether there are new partitions");
        }
    }
}

/// Whether the log takes events.
struct Watch {
    ports: Arc<Ports>,
    sources: Vec<Arc<Source>>,
}

#[async_trait]
impl Part for Watch {
    async fn checks(&self) -> Vec<(String, Result<()>)> {
        let mut checks = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let reached = self.ports.log.bounds(&Partition::new(source.name.as_str(), 0)).await;
            let reached = reached.and_then(|_| self.ports.log.takes_appends());
            checks.push((format!("ingest: log of {}", source.name), reached));
        }
        checks
    }
}
