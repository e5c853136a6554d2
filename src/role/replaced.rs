//! Definitions that were replaced: folded on until those that follow them are whole, kept for a grace time, then forgotten.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seam_shared::Result;
use seam_shared::lake::editions::{Edition, Editions};
use seam_shared::lock::lock;
use seam_shared::log::{Offset, OffsetVector, Partition};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::{Source, View};
use seam_speed::recover::Places;
use tokio_util::sync::CancellationToken;

use crate::wire::Ports;

/// How often it is looked whether new definitions are whole.
const LOOK: Duration = Duration::from_secs(1);
/// How long workers may take to notice that their definition is no longer folded.
const NOTICE: Duration = Duration::from_secs(2);

/// Views of one source that one worker a partition folds.
pub struct Group {
    /// The source as the views' definition has it.
    pub source: Arc<Source>,
    /// The views.
    pub views: Vec<Arc<View>>,
    /// Cancelled when nobody needs them any more; `None` for what is configured.
    pub until: Option<CancellationToken>,
}

/// An edition before the configured one whose views are still folded.
struct Earlier {
    edition: Edition,
    /// Its views that nothing newer has.
    views: Vec<Arc<View>>,
    until: CancellationToken,
    /// Since when all that follows its views is whole.
    since: Mutex<Option<Timestamp>>,
    /// What each of its views reached at the last look.
    goals: Mutex<BTreeMap<String, OffsetVector>>,
}

/// The editions that this process knows of beside its own.
pub struct Replaced {
    ports: Arc<Ports>,
    editions: Editions,
    number: u64,
    earlier: Vec<Earlier>,
    /// Views of the configuration that another edition has too, or that follow nothing: they need not catch up.
    settled: BTreeSet<String>,
}

impl Replaced {
    /// Registers the configuration and reads what ran over this lake before it.
    pub async fn start(ports: Arc<Ports>) -> Result<Arc<Replaced>> {
        let editions = Editions::new(ports.lake.clone(), ports.clock.clone());
        let config = ports.config.clone();
        let number = editions.register(&config, config.storage.retain_replaced).await?;
        let others = editions.others(&config).await?;
        let mut taken: BTreeSet<String> = config.views.iter().map(|view| view.id.to_string()).collect();
        let followed = |view: &Arc<View>| others.iter().any(|other| other.views.contains_key(&view.name));
        let known =
            |view: &Arc<View>| others.iter().any(|o| o.views.get(&view.name).is_some_and(|id| **id == *view.id));
        let settled = config.views.iter().filter(|view| known(view) || !followed(view)).map(|v| v.id.to_string());
        let settled = settled.collect();
        let mut earlier = Vec::new();
        for edition in others {
            let views = edition.config.iter().flat_map(|config| &config.views);
            let views: Vec<Arc<View>> = views.filter(|view| taken.insert(view.id.to_string())).cloned().collect();
            for view in &views {
                tracing::info!(view = %view.id, edition = edition.number, "an earlier definition is folded on");
            }
            let until = CancellationToken::new();
            earlier.push(Earlier { edition, views, until, since: Mutex::default(), goals: Mutex::default() });
        }
        Ok(Arc::new(Replaced { ports, editions, number, earlier, settled }))
    }

    /// The views of earlier definitions.
    pub fn views(&self) -> Vec<Arc<View>> {
        self.earlier.iter().flat_map(|earlier| earlier.views.iter().cloned()).collect()
    }

    /// What the workers of a source's partition fold, the first being what answers: whoever has to catch up, and whoever follows an
    /// earlier definition, has a worker of its own and holds up nobody.
    pub fn groups(&self, source: &Arc<Source>) -> Vec<Group> {
        let configured = self.ports.config.views_of(&source.name);
        let (settled, new): (Vec<_>, Vec<_>) =
            configured.into_iter().partition(|view| self.settled.contains(view.id.as_ref()));
        let group = |views| Group { source: source.clone(), views, until: None };
        let mut groups = match (settled.is_empty(), new.is_empty()) {
            (true, _) => vec![group(new)],
            (false, true) => vec![group(settled)],
            (false, false) => vec![group(settled), group(new)],
        };
        for earlier in &self.earlier {
            let views: Vec<_> = earlier.views.iter().filter(|view| view.source.name == source.name).cloned().collect();
            if let Some(first) = views.first() {
                groups.push(Group { source: first.source.clone(), views, until: Some(earlier.until.clone()) });
            }
        }
        groups
    }

    /// Lets go of editions that are not needed any more, until cancelled.
    pub async fn run(self: Arc<Self>, places: Places, cancel: CancellationToken) {
        if let Err(error) = self.forget_retired(&places).await {
            tracing::warn!(%error, "state of definitions that were retired is left where it is");
        }
        while !cancel.is_cancelled() && self.earlier.iter().any(|earlier| !earlier.until.is_cancelled()) {
            if let Err(error) = self.look(&places).await {
                tracing::warn!(%error, "it cannot be told now whether earlier definitions are still needed");
            }
            tokio::select! { () = cancel.cancelled() => {}, () = tokio::time::sleep(LOOK) => {} }
        }
    }

    async fn look(&self, places: &Places) -> Result<()> {
        let retired: BTreeSet<u64> =
            self.editions.all().await?.into_iter().filter(|e| e.retired).map(|e| e.number).collect();
        for earlier in self.earlier.iter().filter(|earlier| !earlier.until.is_cancelled()) {
            let number = earlier.edition.number;
            // A newer edition than this process's own is not replaced by it.
            if !retired.contains(&number) && number < self.number && self.is_replaced(places, earlier).await? {
                self.editions.retire(number).await?;
                tracing::info!(edition = number, "an earlier definition is retired");
            } else if !retired.contains(&number) {
                continue;
            }
            earlier.until.cancel();
            tokio::time::sleep(NOTICE).await;
            for view in &earlier.views {
                self.forget(places, view).await?;
            }
        }
        Ok(())
    }

    /// Whether all that follows an edition's views has been whole for the grace time.
    async fn is_replaced(&self, places: &Places, earlier: &Earlier) -> Result<bool> {
        let now = self.ports.clock.now();
        let mut whole = true;
        for old in &earlier.views {
            let Some(new) = self.ports.config.view(&old.name).filter(|new| new.source.name == old.source.name) else {
                continue;
            };
            let reached = self.reached(places, old).await?.unwrap_or_default();
            let goal = lock(&earlier.goals).insert(old.name.clone(), reached.clone()).unwrap_or(reached);
            whole &= self.reached(places, new).await?.is_some_and(|new| new.covers(&goal));
        }
        let mut since = lock(&earlier.since);
        if !whole {
            *since = None;
            return Ok(false);
        }
        let since = *since.get_or_insert(now);
        Ok(now.0.saturating_sub(since.0) >= self.ports.config.storage.retain_replaced.0)
    }

    /// How far a view's answer would reach; `None` when its two halves do not meet.
    async fn reached(&self, places: &Places, view: &Arc<View>) -> Result<Option<OffsetVector>> {
        let cut = places.cuts.cut(view).await?.unwrap_or_default();
        let mut reached = cut.clone();
        for number in 0..self.ports.topic(&view.source).await?.partitions {
            let partition = Partition::new(view.source.name.as_str(), number);
            let held = places.state.snapshot(&partition, std::slice::from_ref(&view.id)).await?;
            let Some(held) = held.into_iter().flatten().next() else { continue };
            if held.progress.floor > cut.get(number) {
                return Ok(None);
            }
            reached.set(number, held.progress.position.max(cut.get(number)));
        }
        reached.0.retain(|_, position| *position > Offset(0));
        Ok(Some(reached))
    }

    /// Forgets what a process that ended between retiring and forgetting has left.
    async fn forget_retired(&self, places: &Places) -> Result<()> {
        let all = self.editions.all().await?;
        let live: BTreeSet<&String> = all.iter().filter(|e| !e.retired).flat_map(|e| e.views.values()).collect();
        for edition in all.iter().filter(|edition| edition.retired) {
            for view in edition.config.iter().flat_map(|config| &config.views) {
                if !live.contains(&view.id.to_string()) {
                    self.forget(places, view).await?;
                }
            }
        }
        Ok(())
    }

    async fn forget(&self, places: &Places, view: &Arc<View>) -> Result<()> {
        for number in 0..self.ports.topic(&view.source).await?.partitions {
            places.state.forget(&Partition::new(view.source.name.as_str(), number), &view.id).await?;
        }
        Ok(())
    }
}
