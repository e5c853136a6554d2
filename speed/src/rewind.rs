//! After a rollback: the newest generation covers less than the speed layer has forgotten. State that begins above its cut is folded
//! again from there, out of log and archive, beside the live state; until that has taken its place readers stay at the generation
//! before. A step that is broken off anywhere leaves state that is exact at its own position, and the next one goes on.
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use seam_shared::error::{Kind, Result};
use seam_shared::log::Partition;
use seam_shared::state::ViewId;
use seam_shared::view::definition::{Source, View};
use tokio_util::sync::CancellationToken;

use crate::cuts::Rewound;
use crate::rebuild::Rebuild;
use crate::recover::Places;

/// How often it is looked whether a view went back.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the state of one partition's views below the cuts of their generations. It runs beside the partition's workers.
#[derive(Debug)]
pub struct Rewinder {
    places: Places,
    source: Arc<Source>,
    views: Vec<Arc<View>>,
    number: u32,
    /// The generations that were found met.
    met: HashSet<(ViewId, u64)>,
}

impl Rewinder {
    /// Nothing was looked at yet. All views are of `source`.
    pub fn new(places: Places, source: Arc<Source>, views: Vec<Arc<View>>, number: u32) -> Rewinder {
        Rewinder { places, source, views, number, met: HashSet::new() }
    }

    /// Looks at the newest generations once; answers with how many views were folded again.
    ///
    /// # Errors
    /// Those of log, state store and lake; the next step tries again.
    pub async fn step(&mut self) -> Result<usize> {
        let partition = Partition::new(self.source.name.as_str(), self.number);
        let mut folded = 0;
        for view in &self.views {
            let Some(Rewound { generation, cut }) = self.places.cuts.rewound(view).await? else { continue };
            let (cut, nonce) = (cut.get(self.number), format!("rewind-{generation}"));
            let held = self.places.state.snapshot(&partition, std::slice::from_ref(&view.id)).await?;
            let (places, source, number) = (&self.places, &self.source, self.number);
            let rebuild = Rebuild { places, source, view, number, boundaries: &[], nonce: &nonce };
            if let Some(held) = held.into_iter().flatten().next().filter(|held| held.progress.floor > cut) {
                let floor = held.progress.floor;
                tracing::info!(view = %view.id, %partition, generation, %cut, %floor, "a rollback: folding again from its cut");
                rebuild.rewind(cut).await?;
                folded += 1;
            } else if !self.met.contains(&(view.id.clone(), generation)) {
                rebuild.forget_shadow().await?;
                self.met.insert((view.id.clone(), generation));
            }
        }
        Ok(folded)
    }

    /// Steps until cancelled. What goes wrong is logged and tried again.
    ///
    /// # Errors
    /// `Corrupt`: log or lake are not what they were.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<()> {
        while !cancel.is_cancelled() {
            match self.step().await {
                Err(error) if error.kind() == Kind::Corrupt => return Err(error),
                Err(error) => tracing::warn!(%error, number = self.number, "a rollback has to wait"),
                Ok(_) => {}
            }
            tokio::select! { () = cancel.cancelled() => {}, () = tokio::time::sleep(LOOK) => {} }
        }
        Ok(())
    }
}
