//! The archive role: an archiver for each partition that this process has.
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use seam_batch::archive::{self, Archiver};
use seam_batch::job::Archive;
use seam_shared::config::Mode;
use seam_shared::log::Offset;
use seam_shared::log::tiered::TieredLog;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Span;
use seam_shared::{Error, Result};

use super::Process;
use super::crew::{self, Board, Hire};
use super::health::Part;
use crate::wire::Ports;

/// Adds the archivers to a process.
pub async fn start(process: &mut Process) -> Result<()> {
    let ports = process.ports.clone();
    if ports.config.batch.mode == Mode::Kappa {
        tracing::info!("no batch layer: nothing is archived, the log keeps everything");
        return Ok(());
    }
    let archives = ports.archives().await?.clone();
    let membership = ports.join("archive").await?;
    let board = Board::new("archive", &ports.telemetry);
    let tiered = ports.tiered().await?;
    let watch = Arc::new(Watch { ports, archives, tiered, board: board.clone() });
    let hire: Hire = {
        let watch = watch.clone();
        Box::new(move |partition, cancel| {
            let ports = &watch.ports;
            let source = ports.config.source(&partition.source).cloned();
            let (Some(source), Some(archive)) = (source, watch.archives.get(&partition.source)) else {
                let unknown = Error::internal(format!("{partition} is of no source"));
                return Box::pin(async { Err(unknown) });
            };
            let (log, clock, table) = (ports.log.clone(), ports.clock.clone(), archive.table.clone());
            let witness = ports.witness(&source);
            let mut archiver =
                Archiver::new(log, table, source, partition.number, clock, settings(ports)).with_witness(witness);
            Box::pin(async move { archiver.run(cancel).await })
        })
    };
    process.work("archive", crew::run(membership, board, hire, process.layers()))?;
    process.watch(watch);
    Ok(())
}

/// Closed segments wait for a file at most half as long as batch runs are apart: a run that finds nothing new is a waste. The embedded
/// log forgets nothing that is not archived, so only Kafka's needs tails.
pub fn settings(ports: &Ports) -> archive::Settings {
    let standard = archive::Settings::default();
    let now = ports.clock.now();
    let next = |from| ports.config.batch.schedule.as_ref().and_then(|schedule| schedule.next_after(from));
    let apart = next(now).and_then(|first| Some(next(first)?.0 - first.0)).unwrap_or(i64::MAX);
    let delay_max = Span((apart / 2).clamp(Span::SECOND.0, standard.delay_max.0));
    archive::Settings { delay_max, tail_after: ports.log_forgets().then_some(archive::SILENCE), ..standard }
}

/// How far the archives have come.
struct Watch {
    ports: Arc<Ports>,
    archives: BTreeMap<String, Archive>,
    /// The log with archives and tails below.
    tiered: Arc<TieredLog>,
    board: Arc<Board>,
}

/// Whether less than a quarter of what the log keeps lies below `archived`, with something above it: it is worth asking for a tail then.
fn is_near(archived: Offset, start: Offset, end: Offset) -> bool {
    let headroom = archived.0.saturating_sub(start.0);
    archived < end && headroom <= end.0.saturating_sub(start.0) / 4
}

#[async_trait]
impl Part for Watch {
    async fn checks(&self) -> Vec<(String, Result<()>)> {
        let mut checks = self.board.checks();
        for (source, archive) in &self.archives {
            checks.push((format!("archive of {source} in the lake"), archive.table.latest().await.map(|_| ())));
        }
        checks
    }

    /// How far each partition at work here is behind the log's end, and ahead of what the log forgets.
    async fn measure(&self) {
        let telemetry = &self.ports.telemetry;
        let gauge = |records: u64| i64::try_from(records).unwrap_or(i64::MAX);
        for partition in self.board.partitions() {
            let Some(archive) = self.archives.get(&partition.source) else { continue };
            let Ok(archive) = archive.table.latest().await else { continue };
            let Ok((start, end)) = self.ports.log.bounds(&partition).await else { continue };
            let mut archived = archive.position(partition.number).unwrap_or(start);
            if self.ports.log_forgets() && is_near(archived, start, end) {
                archived = self.tiered.held(&partition, archived).await.unwrap_or(archived);
            }
            let labels = Telemetry::partition_labels(&partition);
            telemetry.archive_lag_records.get_or_create(&labels).set(gauge(end.0.saturating_sub(archived.0)));
            telemetry.retention_headroom_records.get_or_create(&labels).set(gauge(archived.0.saturating_sub(start.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_asked_for_where_the_log_may_soon_forget() {
        let near = |archived, start, end| is_near(Offset(archived), Offset(start), Offset(end));
        assert!(near(100, 100, 200) && near(125, 100, 200) && near(100, 100, 101));
        assert!(near(90, 100, 200) && near(90, 100, 100), "it has forgotten already");
        assert!(!near(130, 100, 200), "it forgets others first");
        assert!(!near(200, 100, 200) && !near(100, 100, 100), "nothing waits");
    }
}
