//! What passed the door, told as events of Seam's own stream: one a second and source in which something came.
use std::collections::BTreeMap;
use std::time::Duration;

use seam_shared::Result;
use seam_shared::config::OWN_STREAM;
use seam_shared::log::NewRecord;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::door::{Counts, Door};

/// How often it is told.
const PERIOD: Duration = Duration::from_secs(1);

/// Tells until cancelled, and once more then. What a crash keeps from being told is missing on the dashboard, nowhere else.
pub async fn run(door: &Door, cancel: CancellationToken) {
    let mut told = BTreeMap::new();
    loop {
        let last = cancel.is_cancelled();
        if let Err(error) = tell(door, &mut told).await {
            tracing::warn!(%error, "the own stream has to wait");
        }
        if last {
            return;
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Appends what came since it was told last.
async fn tell(door: &Door, told: &mut BTreeMap<String, Counts>) -> Result<()> {
    let time = door.clock().now().to_rfc3339();
    let mut records = Vec::new();
    let mut now: Vec<(String, Counts)> = Vec::new();
    for (source, counts) in door.counts() {
        let before = told.get(source).copied().unwrap_or_default();
        if counts.requests == before.requests {
            continue;
        }
        let errors = counts.rejected - before.rejected;
        let event = json!({
            "time": time,
            "type": "ingest",
            "source": source,
            "events": counts.accepted - before.accepted + errors,
            "errors": errors,
            "requests": counts.requests - before.requests,
            "latency_us": counts.micros - before.micros,
        });
        records.push(NewRecord { partition: 0, value: event.to_string().into() });
        now.push((source.to_owned(), counts));
    }
    if !records.is_empty() {
        door.log().append(OWN_STREAM, records).await?;
        told.extend(now);
    }
    Ok(())
}
