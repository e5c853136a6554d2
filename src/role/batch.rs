//! The batch role: recomputes by the schedule.
use std::sync::Arc;

use async_trait::async_trait;
use seam_batch::audit::Drift;
use seam_batch::job::{self, Context, Options, Outcome, Status};
use seam_batch::schedule;
use seam_shared::Result;
use seam_shared::config::{LogStorage, Mode};
use seam_shared::telemetry::{ErrorLabels, ViewLabels};
use tokio_util::sync::CancellationToken;

use super::Process;
use super::health::Part;
use crate::wire::Ports;

/// Adds the schedule to a process.
pub async fn start(process: &mut Process) -> Result<()> {
    let ports = process.ports.clone();
    if ports.config.batch.schedule.is_none() {
        match ports.config.batch.mode {
            Mode::Lambda => tracing::info!("no batch schedule: views are recomputed by `seam batch run` alone"),
            Mode::Kappa => tracing::info!("no batch layer: views are what the log folds to"),
        }
        return Ok(());
    }
    let context = ports.batch().await?;
    let watch = Arc::new(Watch { ports: ports.clone(), context: context.clone() });
    process.work("batch", recompute(watch.clone(), context, process.layers()))?;
    process.watch(watch);
    Ok(())
}

/// What the schedule works with. A run that failed is told by logs and metrics: the last generation goes on serving.
struct Watch {
    ports: Arc<Ports>,
    context: Context,
}

#[async_trait]
impl Part for Watch {
    async fn checks(&self) -> Vec<(String, Result<()>)> {
        let mut reached = Ok(());
        for archive in self.context.archives.values() {
            reached = reached.and(archive.table.latest().await.map(|_| ()));
        }
        vec![("batch: the lake".to_owned(), reached)]
    }
}

async fn recompute(watch: Arc<Watch>, context: Context, cancel: CancellationToken) {
    let settings = &watch.ports.config.batch;
    let Some(rule) = &settings.schedule else { return };
    // The process that holds the embedded log is alone: whoever held a lease before it is gone.
    if matches!(watch.ports.config.storage.log, LogStorage::Embedded)
        && let Err(error) = job::take_over(&context).await
    {
        tracing::warn!(%error, "leases of a process before this one could not be freed; they run out");
    }
    let options = Options { views: settings.views.clone(), full: false };
    let report = |outcome: Result<Vec<Outcome>>| watch.note(outcome);
    schedule::run(&context, &options, rule, settings.starting_deadline, &cancel, report).await;
}

impl Watch {
    /// Tells logs and metrics how a run ended.
    fn note(&self, outcome: Result<Vec<Outcome>>) {
        match outcome {
            Ok(outcomes) => outcomes.iter().for_each(|outcome| match outcome.status {
                Status::Failed => self.failed(&outcome.view, outcome.error.as_deref().unwrap_or_default()),
                Status::Published => self.published(outcome),
                Status::Skipped | Status::Lost | Status::Held => {}
            }),
            Err(error) => self.failed("every view", &error.to_string()),
        }
    }

    fn failed(&self, view: &str, why: &str) {
        tracing::error!(view, why, "a batch run failed; the last generation goes on serving");
        let labels = ErrorLabels { r#type: "batch".to_owned(), error: "failed".to_owned() };
        self.ports.telemetry.errors.get_or_create(&labels).inc();
    }

    fn published(&self, outcome: &Outcome) {
        let labels = &ViewLabels { view: outcome.view.clone() };
        let telemetry = &self.ports.telemetry;
        telemetry.batch_last_success_seconds.get_or_create(labels).set(self.ports.clock.now().0 as f64 / 1e6);
        telemetry.batch_duration_seconds.get_or_create(labels).set(outcome.seconds);
        if let Some(Drift::Groups(groups)) = outcome.drift {
            telemetry.batch_drift_groups.get_or_create(labels).set(i64::try_from(groups).unwrap_or(i64::MAX));
        }
    }
}
