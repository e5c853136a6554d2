//! What this process knows of its runs: which are at work, how many of their days are done, and how the latest ended.
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use seam_shared::lock::lock;
use seam_shared::time::Timestamp;
use serde::Serialize;

use crate::outcome::{Outcome, Status};

/// Runs that are remembered after they ended.
const REMEMBERED: usize = 40;

/// A run at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AtWork {
    /// When it began.
    pub begun: Timestamp,
    /// Days that it recomputes; `None` as long as it is not known.
    pub days: Option<u64>,
    /// Days that it has recomputed.
    pub days_done: u64,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ended {
    /// When it began.
    pub begun: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
}

/// The runs of one process.
#[derive(Debug, Default)]
pub struct Runs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    at_work: BTreeMap<String, AtWork>,
    /// The newest first.
    ended: VecDeque<Ended>,
}

impl Runs {
    /// A run for a view begins.
    pub fn begin(&self, view: &str, now: Timestamp) {
        self.lock().at_work.insert(view.to_owned(), AtWork { begun: now, days: None, days_done: 0 });
    }
    /// It knows which days it recomputes.
    pub fn planned(&self, view: &str, days: usize) {
        if let Some(run) = self.lock().at_work.get_mut(view) {
            run.days = Some(days as u64);
        }
    }
    /// One of them is done.
    pub fn day_done(&self, view: &str) {
        if let Some(run) = self.lock().at_work.get_mut(view) {
            run.days_done += 1;
        }
    }
    /// It ended. One that found nothing to do is not worth remembering.
    pub fn end(&self, outcome: &Outcome) {
        let mut known = self.lock();
        let Some(AtWork { begun, .. }) = known.at_work.remove(&outcome.view) else { return };
        if !matches!(outcome.status, Status::Skipped | Status::Held) {
            known.ended.push_front(Ended { begun, outcome: outcome.clone() });
            known.ended.truncate(REMEMBERED);
        }
    }
    /// The runs at work, by view.
    pub fn at_work(&self) -> BTreeMap<String, AtWork> {
        self.lock().at_work.clone()
    }
    /// The runs that ended, the newest first.
    pub fn ended(&self) -> Vec<Ended> {
        self.lock().ended.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seam_shared::log::OffsetVector;

    fn outcome(view: &str, status: Status) -> Outcome {
        Outcome {
            view: view.to_owned(),
            status,
            skipped: status == Status::Skipped,
            generation: Some(1),
            cut: OffsetVector::default(),
            rows: 7,
            groups: 2,
            days: 3,
            seconds: 0.5,
            drift: None,
            error: None,
        }
    }

    #[test]
    fn a_run_is_at_work_until_it_ends_and_is_remembered_if_it_did_something() {
        let runs = Runs::default();
        runs.begin("clicks", Timestamp(5));
        assert_eq!(runs.at_work()["clicks"], AtWork { begun: Timestamp(5), days: None, days_done: 0 });
        runs.planned("clicks", 3);
        runs.day_done("clicks");
        assert_eq!(runs.at_work()["clicks"], AtWork { begun: Timestamp(5), days: Some(3), days_done: 1 });
        runs.end(&outcome("clicks", Status::Published));
        assert!(runs.at_work().is_empty());
        runs.begin("clicks", Timestamp(9));
        runs.end(&outcome("clicks", Status::Skipped));
        runs.end(&outcome("never begun", Status::Failed));
        let begun: Vec<Timestamp> = runs.ended().iter().map(|run| run.begun).collect();
        assert_eq!(begun, [Timestamp(5)]);
        for n in 0..2 * REMEMBERED as i64 {
            runs.begin("clicks", Timestamp(n));
            runs.end(&outcome("clicks", Status::Failed));
        }
        assert_eq!((runs.ended().len(), runs.ended()[0].begun.0), (REMEMBERED, 2 * REMEMBERED as i64 - 1));
    }
}
