//! Alert rules, evaluated by one of the processes that serve: whoever holds the lease in the lake. The others show what it has kept.
use std::sync::Arc;
use std::time::Duration;

use seam_batch::lease::Lease;
use seam_serving::Serving;
use seam_serving::alerts::Alerts;
use seam_shared::Result;
use seam_shared::config::LogStorage;
use tokio_util::sync::CancellationToken;

use super::Process;
use crate::wire::Ports;

/// The lease.
const NAME: &str = "alerts";
/// How often it is asked for.
const PAUSE: Duration = Duration::from_secs(5);

/// Adds the evaluation to a process.
pub fn start(process: &mut Process, serving: &Arc<Serving>) -> Result<()> {
    let (ports, alerts) = (process.ports.clone(), Alerts::new(serving.clone()));
    process.work("alerts", take_turns(ports, alerts, process.layers()))
}

async fn take_turns(ports: Arc<Ports>, alerts: Alerts, cancel: CancellationToken) {
    if !alerts.has_work().await {
        return;
    }
    // The process that holds the embedded log is alone: whoever held the lease before it is gone.
    if matches!(ports.config.storage.log, LogStorage::Embedded)
        && let Err(error) = Lease::free(&ports.lake, &ports.clock, NAME).await
    {
        tracing::warn!(%error, "the lease of a process before this one could not be freed; it runs out");
    }
    let mut failing = false;
    while !cancel.is_cancelled() {
        let turn = async {
            match Lease::take(ports.lake.clone(), ports.clock.clone(), NAME).await? {
                Some(lease) => lease.while_held(alerts.run(cancel.clone())).await.and(lease.release().await),
                None => alerts.follow().await,
            }
        };
        match turn.await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                tracing::warn!(%error, "who evaluates the alert rules cannot be settled: the lake holds the lease");
                failing = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = ports.clock.sleep(PAUSE) => {}
        }
    }
}
