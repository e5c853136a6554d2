//! What a run of the batch layer did for a view.
use seam_shared::lake::views::Generation;
use seam_shared::log::OffsetVector;
use seam_shared::view::definition::View;
use serde::Serialize;

use crate::audit::Drift;

/// How a run ended for a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A generation was published.
    Published,
    /// There was nothing new.
    Skipped,
    /// Another run published first; nothing was changed.
    Lost,
    /// Another run is at work (exit code 75).
    Held,
    /// It failed; [`Outcome::error`] says why. The last generation goes on serving.
    Failed,
}

/// What a run did for a view.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The view's public name.
    pub view: String,
    /// How it ended.
    pub status: Status,
    /// Whether there was nothing to do.
    pub skipped: bool,
    /// The newest generation now, as far as this run knows.
    pub generation: Option<u64>,
    /// What that generation covers.
    pub cut: OffsetVector,
    /// Archived events that count in the days recomputed.
    pub rows: u64,
    /// Groups of the recomputed days.
    pub groups: u64,
    /// Days recomputed.
    pub days: u64,
    /// By the clock.
    pub seconds: f64,
    /// What the audit found; `None` when nothing was published.
    pub drift: Option<Drift>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl Outcome {
    /// A run that changed nothing.
    pub(crate) fn idle(view: &View, status: Status, newest: Option<&Generation>) -> Outcome {
        Outcome {
            view: view.name.clone(),
            status,
            skipped: status == Status::Skipped,
            generation: newest.map(|generation| generation.number),
            cut: newest.map(|generation| generation.cut.clone()).unwrap_or_default(),
            rows: 0,
            groups: 0,
            days: 0,
            seconds: 0.0,
            drift: None,
            error: None,
        }
    }
}
