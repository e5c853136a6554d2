//! `seam batch run`: one recomputation, as a plain command for cron, systemd or Kubernetes. `seam batch status`: how views stand.
//! `seam batch rollback`: back to an earlier generation.
use seam_batch::archive::{self, Archiver};
use seam_batch::audit::Drift;
use seam_batch::job::{self, Options, Outcome, Status};
use seam_batch::rollback::{self, RolledBack};
use seam_batch::status::{self, ViewStatus};
use seam_shared::config::{Config, Mode};
use seam_shared::{Error, Kind, Result};

use crate::args::{BatchRollback, BatchRun, BatchStatus};
use crate::configuration;
use crate::failure::TRY_LATER;
use crate::output::{json, say};
use crate::runtime::runtime;
use crate::wire::{Ports, batch_beside};

/// What a person should know who sees that nothing is new although events have come.
const WAITING: &str = "the newest segment of each partition is archived once an event after it has come; answers hold its events all the same";

/// Recomputes and publishes. Exit code 0 also when there was nothing new, 75 when another run is at work.
pub fn run(config: Config, command: &BatchRun) -> Result<u8> {
    refuse_kappa(&config)?;
    for name in &command.view {
        configuration::view(&config, name)?;
    }
    let outcomes = runtime()?.block_on(recompute(config, command))?;
    if command.json {
        json(&outcomes)?;
    } else {
        outcomes.iter().for_each(|outcome| say!("{}", sentence(outcome)));
        if outcomes.iter().any(|outcome| outcome.skipped) {
            say!("{WAITING}");
        }
    }
    let any = |status: Status| outcomes.iter().any(|outcome| outcome.status == status);
    Ok(if any(Status::Failed) {
        1
    } else if any(Status::Held) {
        TRY_LATER
    } else {
        0
    })
}

/// Lets a view go back to an earlier generation. The lake alone is asked: a running speed layer notices within a second, folds again
/// from that generation's cut, and answers go over to it once that is done.
pub fn rollback(config: Config, command: &BatchRollback) -> Result<()> {
    refuse_kappa(&config)?;
    let config = config.with_own_stream();
    let view = configuration::view(&config, &command.view)?.clone();
    let done = runtime()?.block_on(async {
        let context = batch_beside(&config).await?;
        rollback::rollback(&context, &view, command.to).await
    })?;
    if command.json {
        json(&done)?;
        return Ok(());
    }
    let RolledBack { view: name, generation, rollback_to, cut } = &done;
    let cut = cut.to_text(&view.source.name);
    say!("{name}: generation {generation} published, which is generation {rollback_to} again and covers {cut}");
    say!("answers go over to it when the speed layer has folded again from there; the next batch run goes on from it");
    Ok(())
}

/// Without a batch layer there is nothing to run.
pub fn refuse_kappa(config: &Config) -> Result<()> {
    match config.batch.mode {
        Mode::Lambda => Ok(()),
        Mode::Kappa => Err(Error::invalid("there is no batch layer: the configuration says `batch: { mode: kappa }`")),
    }
}

/// With the log at hand, whatever is closed is archived first. While `seam up` holds the log, its archiver does that, and the
/// lake alone is enough to recompute; the audit then has no speed state to compare with and says so.
async fn recompute(config: Config, command: &BatchRun) -> Result<Vec<Outcome>> {
    let options = Options { views: command.view.clone(), full: command.full };
    let context = match Ports::open(config.clone()) {
        Ok(ports) => {
            let context = ports.batch().await?;
            for source in &ports.config.sources {
                let topic = ports.topic(source).await?;
                for number in 0..topic.partitions {
                    let table = context.archives[&source.name].table.clone();
                    let settings = archive::Settings::default();
                    let (log, clock) = (ports.log.clone(), ports.clock.clone());
                    let archiver = Archiver::new(log, table, source.clone(), number, clock, settings);
                    archiver.with_witness(ports.witness(source)).drain().await?;
                }
            }
            context
        }
        Err(error) if error.kind() == Kind::Unavailable => batch_beside(&config).await?,
        Err(error) => return Err(error),
    };
    job::run(&context, &options).await
}

/// Prints how each view stands; asks the lake alone.
pub fn status(config: Config, command: &BatchStatus) -> Result<()> {
    let views = runtime()?.block_on(async { status::status(&batch_beside(&config.with_own_stream()).await?).await })?;
    if command.json {
        json(&views)?;
        return Ok(());
    }
    for view in &views {
        say!("{}", described(view));
    }
    if views.is_empty() {
        say!("nothing is archived yet");
    }
    if views.iter().any(|view| view.generation.is_none() && view.behind == 0) {
        say!("{WAITING}");
    }
    Ok(())
}

fn described(view: &ViewStatus) -> String {
    let lease =
        view.lease.as_ref().map_or_else(String::new, |lease| format!(", being recomputed until {}", lease.until));
    match view.generation {
        None => format!("{}: no generation yet, {} records archived{lease}", view.view, view.behind),
        Some(generation) => format!(
            "{}: generation {generation}{}, {:.0} s old, covers {}, {} records behind the archive, {} rows in {} files, drift {}{lease}",
            view.view,
            view.rollback_to.map_or_else(String::new, |to| format!(" (rolled back to {to})")),
            view.age_seconds.unwrap_or_default(),
            view.cut.to_text(&view.source),
            view.behind,
            view.rows,
            view.files,
            audited(view.drift.as_ref()),
        ),
    }
}

fn sentence(outcome: &Outcome) -> String {
    let view = &outcome.view;
    match outcome.status {
        Status::Published => format!(
            "{view}: generation {} published, {} days and {} groups recomputed in {:.1} s, drift {}",
            outcome.generation.unwrap_or_default(),
            outcome.days,
            outcome.groups,
            outcome.seconds,
            drift(outcome.drift.as_ref()),
        ),
        Status::Skipped => format!("{view}: nothing new"),
        Status::Lost => format!("{view}: another run published first"),
        Status::Held => format!("{view}: another run is at work"),
        Status::Failed => format!("{view}: failed: {}", outcome.error.as_deref().unwrap_or_default()),
    }
}

/// What a generation says of its audit, as [`drift`] says it.
fn audited(found: Option<&serde_json::Value>) -> String {
    let groups = found.and_then(|found| found["groups"].as_u64());
    let reason = found.and_then(|found| found["not_audited"].as_str());
    drift(groups.map(Drift::Groups).or(reason.map(|reason| Drift::NotAudited(reason.to_owned()))).as_ref())
}

fn drift(found: Option<&Drift>) -> String {
    match found {
        Some(Drift::Groups(groups)) => format!("{groups} groups"),
        Some(Drift::NotAudited(reason)) => format!("not audited: {reason}"),
        None => "not audited".to_owned(),
    }
}
