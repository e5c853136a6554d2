//! The batch role: recomputes by the schedule.
use std::sync::Arc;

use async_trait::async_trait;
use seam_batch::audit::Drift;
use seam_batch::job::{self, Context, Options, Outcome, Status};
use seam_batch::schedule::Moments;
use seam_shared::Result;
use seam_shared::config::{LogStorage, Mode};
use seam_shared::telemetry::{ErrorLabels, Telemetry, ViewLabels};
use seam_shared::time::Timestamp;
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
    let mut moments = Moments::new(rule, settings.starting_deadline, &*context.clock);
    while moments.wait(&cancel).await {
        watch.note(job::run(&context, &options).await);
    }
}

impl Watch {
    /// Tells logs and metrics how a run ended.
    fn note(&self, outcome: Result<Vec<Outcome>>) {
        let (telemetry, now) = (&self.ports.telemetry, self.ports.clock.now());
        match outcome {
            Ok(outcomes) => outcomes.iter().for_each(|outcome| tell(telemetry, now, outcome)),
            Err(error) => failed(telemetry, "every view", &error.to_string()),
        }
    }
}

fn tell(telemetry: &Telemetry, now: Timestamp, outcome: &Outcome) {
    let labels = &ViewLabels { view: outcome.view.clone() };
    let now = now.0 as f64 / 1e6;
    match outcome.status {
        Status::Failed => return failed(telemetry, &outcome.view, outcome.error.as_deref().unwrap_or_default()),
        Status::Lost | Status::Held => return,
        Status::Skipped => {}
        Status::Published => {
            telemetry.batch_last_publish_seconds.get_or_create(labels).set(now);
            telemetry.batch_duration_seconds.get_or_create(labels).set(outcome.seconds);
        }
    }
    telemetry.batch_last_success_seconds.get_or_create(labels).set(now);
    if let Some(Drift::Groups(groups)) = outcome.drift {
        telemetry.batch_drift_groups.get_or_create(labels).set(i64::try_from(groups).unwrap_or(i64::MAX));
    }
}

fn failed(telemetry: &Telemetry, view: &str, why: &str) {
    tracing::error!(view, why, "a batch run failed; the last generation goes on serving");
    let labels = ErrorLabels { r#type: "batch".to_owned(), error: "failed".to_owned() };
    telemetry.errors.get_or_create(&labels).inc();
}

#[cfg(test)]
mod tests {
    use seam_shared::log::OffsetVector;

    use super::*;

    fn ended(status: Status) -> Outcome {
        Outcome {
            view: "clicks".to_owned(),
            status,
            skipped: status == Status::Skipped,
            generation: None,
            cut: OffsetVector::default(),
            rows: 0,
            groups: 0,
            days: 0,
            seconds: 2.0,
            drift: None,
            error: None,
        }
    }

    #[test]
    fn a_run_that_finds_nothing_new_is_a_success_and_no_publish() {
        let telemetry = Telemetry::new();
        let labels = &ViewLabels { view: "clicks".to_owned() };
        let figures = || {
            let [success, publish] = [&telemetry.batch_last_success_seconds, &telemetry.batch_last_publish_seconds];
            [success, publish].map(|family| family.get(labels).map(|gauge| gauge.get()))
        };
        tell(&telemetry, Timestamp(1_000_000), &ended(Status::Held));
        tell(&telemetry, Timestamp(1_000_000), &ended(Status::Failed));
        assert_eq!(figures(), [None, None]);
        tell(&telemetry, Timestamp(2_000_000), &ended(Status::Published));
        tell(&telemetry, Timestamp(3_000_000), &ended(Status::Skipped));
        tell(&telemetry, Timestamp(4_000_000), &ended(Status::Failed));
        assert_eq!(figures(), [Some(3.0), Some(2.0)]);
    }
}
