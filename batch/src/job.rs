//! One run of the batch layer: for each view, recompute the days that new segments touched and publish a generation.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::ObjectStore;
use seam_shared::clock::Clock;
use seam_shared::error::{Error, Result};
use seam_shared::failpoint::{self, Failpoint};
use seam_shared::lake::archive::{ArchiveFile, ArchiveSnapshot, ArchiveTable};
use seam_shared::lake::views::{Generation, ViewFile, ViewTable};
use seam_shared::state::StateStore;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;

use crate::compute;
use crate::lease::Lease;
pub use crate::outcome::{Outcome, Status};
use crate::publish::{self, Candidate};
use crate::retain;
use crate::runs::Runs;

/// The archive of one source.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Its table.
    pub table: Arc<ArchiveTable>,
    /// The log that it archives.
    pub incarnation: String,
}

/// What the batch layer works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// The lake.
    pub store: Arc<dyn ObjectStore>,
    /// For leases, labels and the age of files.
    pub clock: Arc<dyn Clock>,
    /// The archives by source.
    pub archives: BTreeMap<String, Archive>,
    /// The views that are configured.
    pub views: Vec<Arc<View>>,
    /// What the speed layer holds, for the audit.
    pub state: Option<Arc<dyn StateStore>>,
    /// What bounds the memory.
    pub compute: compute::Settings,
    /// What is kept of old generations.
    pub retain: retain::Settings,
    /// Who else in this process wants to know of the runs.
    pub runs: Arc<Runs>,
}

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names of views; empty: all.
    pub views: Vec<String>,
    /// Recompute every day, not only those that new segments touched.
    pub full: bool,
}

/// Runs once over the chosen views. What fails for one of them keeps none of the others from being published.
///
/// # Errors
/// `Invalid` for a view that is not configured.
pub async fn run(context: &Context, options: &Options) -> Result<Vec<Outcome>> {
    if let Some(unknown) = options.views.iter().find(|name| !context.views.iter().any(|view| view.name == **name)) {
        return Err(Error::invalid(format!("there is no view `{unknown}`")));
    }
    let chosen = context.views.iter().filter(|view| options.views.is_empty() || options.views.contains(&view.name));
    let mut outcomes = Vec::new();
    for view in chosen {
        context.runs.begin(&view.name, context.clock.now());
        let outcome = match run_view(context, view, options.full).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome { error: Some(error.to_string()), ..Outcome::idle(view, Status::Failed, None) },
        };
        tracing::info!(view = %outcome.view, status = ?outcome.status, generation = outcome.generation, "batch run");
        context.runs.end(&outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// What the lease on a view's recompute is called.
pub fn lease_name(view: &View) -> String {
    format!("batch-{}", view.id)
}

/// Frees the leases of runs that died with the process before this one. For the process that holds the log: there is only one.
///
/// # Errors
/// Those of the lake.
pub async fn take_over(context: &Context) -> Result<()> {
    for view in &context.views {
        Lease::free(&context.store, &context.clock, &lease_name(view)).await?;
    }
    Ok(())
}

async fn run_view(context: &Context, view: &Arc<View>, full: bool) -> Result<Outcome> {
    let name = lease_name(view);
    match Lease::take(Arc::clone(&context.store), Arc::clone(&context.clock), &name).await? {
        None => Ok(Outcome::idle(view, Status::Held, None)),
        Some(lease) => {
            let outcome = lease.while_doing(recompute(context, view, full)).await;
            let released = lease.release().await;
            let outcome = outcome?;
            if let Err(error) = released {
                tracing::warn!(%error, "a lease could not be given back and will run out");
            }
            Ok(outcome)
        }
    }
}

async fn recompute(context: &Context, view: &Arc<View>, full: bool) -> Result<Outcome> {
    let started = context.clock.now();
    let source = &view.source.name;
    let archive =
        context.archives.get(source).ok_or_else(|| Error::internal(format!("source {source} has no archive")))?;
    let table = Arc::new(ViewTable::new(Arc::clone(&context.store), Arc::clone(view), Arc::clone(&context.clock)));
    let parent = table.latest().await?;
    let snapshot = archive.table.latest().await?;
    let Some(plan) = Plan::new(parent.as_ref(), &snapshot, &archive.incarnation, full) else {
        return Ok(Outcome::idle(view, Status::Skipped, parent.as_ref()));
    };
    context.runs.planned(&view.name, plan.days.len());
    let counted = compute::counted(&context.store, &table, plan.base, plan.new).await?.map(Arc::new);
    let mut files = plan.kept;
    let mut outcome = Outcome::idle(view, Status::Lost, parent.as_ref());
    for &day in &plan.days {
        let computed =
            compute::day(&context.store, &table, &snapshot.files, counted.as_ref(), day, context.compute).await?;
        context.runs.day_done(&view.name);
        outcome.days += 1;
        outcome.rows += snapshot.files.iter().filter_map(|file| file.days.get(&day)).sum::<u64>();
        outcome.groups += computed.iter().map(|file| file.rows).sum::<u64>();
        files.extend(computed);
    }
    failpoint::reach(Failpoint::BatchComputed);
    let cut = &snapshot.positions;
    let (incarnation, excluded) = (archive.incarnation.as_str(), snapshot.excluded());
    let candidate = Candidate { parent: parent.as_ref(), cut, incarnation, excluded, files };
    if let Some((generation, drift)) = publish::publish(&table, context.state.as_deref(), candidate).await? {
        failpoint::reach(Failpoint::BatchPublished);
        outcome.status = Status::Published;
        outcome.generation = Some(generation.number);
        outcome.cut = generation.cut;
        outcome.drift = Some(drift);
        let now = context.clock.now();
        if let Err(error) = retain::retain(&context.store, &table, context.retain, now).await {
            tracing::warn!(%error, view = %view.id, "old files could not be deleted");
        }
    }
    outcome.seconds = (context.clock.now().0 - started.0) as f64 / 1e6;
    Ok(outcome)
}

/// Which days to recompute and which files to keep.
struct Plan<'a> {
    /// The generation that files are kept of.
    base: Option<&'a Generation>,
    /// The archive's files that it does not cover.
    new: Vec<Arc<ArchiveFile>>,
    days: BTreeSet<Timestamp>,
    kept: Vec<ViewFile>,
}

impl<'a> Plan<'a> {
    /// `None` when there is nothing to do.
    fn new(
        parent: Option<&'a Generation>,
        archive: &ArchiveSnapshot,
        incarnation: &str,
        full: bool,
    ) -> Option<Plan<'a>> {
        let base = parent.filter(|parent| !full && parent.incarnation == incarnation);
        if archive.files.is_empty() || base.is_some_and(|base| base.cut.covers(&archive.positions)) {
            return None;
        }
        let reached = base.map(|base| base.cut.clone()).unwrap_or_default();
        let is_new = |file: &&Arc<ArchiveFile>| base.is_none() || file.to > reached.get(file.partition);
        let new: Vec<Arc<ArchiveFile>> = archive.files.iter().filter(is_new).cloned().collect();
        let days: BTreeSet<Timestamp> = new.iter().flat_map(|file| file.days.keys().copied()).collect();
        let clean = |file: &&ViewFile| !days.contains(&file.slice_start.floor(Span::DAY));
        let kept = base.iter().flat_map(|base| &base.files).filter(clean).cloned().collect();
        Some(Plan { base, new, days, kept })
    }
}

#[cfg(test)]
mod tests;
