//! What the speed layer knows of the log above the archive. It folds within milliseconds what is archived within minutes, so records
//! that the log loses in between are lost above A: there nothing of the archive's own tells that the log is another one.
use std::sync::Arc;

use seam_shared::error::Result;
use seam_shared::log::{Anchor, EventLog, Partition, anchor};
use seam_shared::state::{StateStore, ViewId};

/// The state of the views of one source.
#[derive(Debug, Clone)]
pub struct Witness {
    state: Arc<dyn StateStore>,
    views: Vec<ViewId>,
}

impl Witness {
    /// The views of a source, as the speed layer keeps them in `state`.
    pub fn new(state: Arc<dyn StateStore>, views: Vec<ViewId>) -> Witness {
        Witness { state, views }
    }

    /// Fails if what was folded is no longer in the log. A state store that is away holds nothing up: the log may forget meanwhile
    /// what is not archived.
    ///
    /// # Errors
    /// `Corrupt` when the log ends below what was folded or holds other records there; those of the log.
    pub async fn check(&self, log: &dyn EventLog, partition: &Partition) -> Result<()> {
        let stand = match self.state.progress(partition, &self.views).await {
            Ok(stand) => stand,
            Err(error) => {
                tracing::warn!(%partition, %error, "archived without comparing the log with what the speed layer has folded");
                return Ok(());
            }
        };
        // Asked after the positions were: they only grow with it.
        let (_, end) = log.bounds(partition).await?;
        let mut checked: Vec<Anchor> = Vec::new();
        for (view, progress) in self.views.iter().zip(stand).filter_map(|(view, stand)| Some((view, stand?))) {
            if progress.position > end {
                let how = format!("ends at {end}, but {view} was folded up to {}", progress.position);
                return Err(anchor::cut(partition, &how));
            }
            if let Some(anchor) = progress.anchor.filter(|anchor| !checked.contains(anchor)) {
                anchor.check(log, partition).await?;
                checked.push(anchor);
            }
        }
        Ok(())
    }
}
