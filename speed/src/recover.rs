//! Where a worker starts: from what the store holds, or at a boundary that the newest generation covers.
use std::sync::Arc;

use seam_shared::error::{Error, Kind, Result};
use seam_shared::event::decode::Decoder;
use seam_shared::event::lookback;
use seam_shared::log::{Anchor, EventLog, Offset, Partition, anchor};
use seam_shared::state::{Snapshot, StateStore, ViewId};
use seam_shared::view::definition::{Source, View};

use crate::cuts::Cuts;
use crate::segments::Segments;

/// The places that a worker reads and writes.
#[derive(Debug, Clone)]
pub struct Places {
    /// Where events come from.
    pub log: Arc<dyn EventLog>,
    /// Where partials go.
    pub state: Arc<dyn StateStore>,
    /// What is covered already.
    pub cuts: Arc<dyn Cuts>,
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// The views that can be folded now, resumed.
    pub segments: Segments,
    /// The views that cannot start: their next events are no longer in the log and no generation reaches it yet.
    pub waiting: Vec<Arc<View>>,
}

impl Places {
    /// Claims what has no state, moves up what a generation has overtaken, and loads the rest.
    pub async fn recover(&self, partition: &Partition, source: &Arc<Source>, views: &[Arc<View>]) -> Result<Recovered> {
        let (mut ready, mut waiting) = (Vec::new(), Vec::new());
        for view in views {
            let list = if self.settle(partition, view).await? { &mut ready } else { &mut waiting };
            list.push(view.clone());
        }
        // One snapshot of all: positions and rows of the same moment.
        let ids: Vec<ViewId> = ready.iter().map(|view| view.id.clone()).collect();
        let held = self.state.snapshot(partition, &ids).await?;
        let mut resumed: Vec<(Arc<View>, Snapshot)> = Vec::with_capacity(ready.len());
        let mut checked: Vec<Anchor> = Vec::new();
        for (view, snapshot) in ready.into_iter().zip(held) {
            let lost = || Error::unavailable(format!("state of {} in {partition} was lost just now", view.id));
            let snapshot = snapshot.ok_or_else(lost)?;
            if let Some(anchor) = snapshot.progress.anchor.filter(|anchor| !checked.contains(anchor)) {
                anchor.check(self.log.as_ref(), partition).await?;
                checked.push(anchor);
            }
            resumed.push((view, snapshot));
        }
        let lowest = resumed.iter().map(|(_, s)| s.progress.position).min();
        let mut decoder = Decoder::new(source.clone());
        let lowest = lowest.unwrap_or_default();
        let duplicates = lookback::duplicates(self.log.as_ref(), partition, source, &mut decoder, lowest).await?;
        let segments = Segments::resume(source, partition.number, resumed, decoder, duplicates);
        Ok(Recovered { segments, waiting })
    }

    /// Makes a view's stored position one that the log can go on from; `false` if that has to wait for a generation.
    pub async fn settle(&self, partition: &Partition, view: &View) -> Result<bool> {
        let cut = self.cuts.cut(view).await?.map(|cut| cut.get(partition.number));
        let (start, _) = self.log.bounds(partition).await?;
        let held = self.state.snapshot(partition, std::slice::from_ref(&view.id)).await?;
        let position = match (held.into_iter().next().flatten(), cut) {
            (Some(held), Some(cut)) if held.progress.position < cut => {
                self.state.trim(partition, &view.id, cut).await?;
                cut
            }
            (Some(held), _) => held.progress.position,
            (None, Some(cut)) if cut >= start => self.state.claim(partition, &view.id, cut).await?.position,
            (None, None) if start == Offset(0) => self.state.claim(partition, &view.id, start).await?.position,
            (None, _) => return Ok(false),
        };
        // Asked after the position was read: until then another worker may have folded what was appended meanwhile.
        let (start, end) = self.log.bounds(partition).await?;
        if position > end {
            let how = format!("ends at {end}, but {} stands at {position}", view.id);
            return Err(anchor::cut(partition, &how));
        }
        Ok(position >= start)
    }
}

/// Whether an error says that the log was trimmed below the position that was asked for.
pub fn is_below_log(error: &Error) -> bool {
    error.kind() == Kind::NotFound
}
