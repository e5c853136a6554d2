//! Which definition answers under a view's name: the configured one once it is whole, until then the newest one before it that is.
//!
//! A changed view is another namespace that has to be built. Each look asks how far the definitions of a name reach, oldest first;
//! a newer one takes the name over when it reaches what the older one does, so that answers do not go back. From then on it keeps
//! the name. Whoever asks is told by the stamp which definition answered, and by `Seam-Building` how far the next one is.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use seam_shared::Result;
use seam_shared::config::Metric;
use seam_shared::lake::editions::{Edition, Editions};
use seam_shared::lock::lock;
use seam_shared::log::OffsetVector;
use seam_shared::state::ViewId;
use seam_shared::view::definition::View;

use crate::Serving;
use crate::pin::pinned::PinnedView;
use crate::query::Layer;

/// How often a new definition may be found just behind the one before: where events never cease, it is as fresh by then.
const JUST_BEHIND: u32 = 30;

/// A view whose name an earlier definition still answers.
#[derive(Debug, Clone)]
pub struct Building {
    /// The definition that answers.
    pub shown: Arc<View>,
    /// The configured one.
    pub next: ViewId,
    /// How far the configured one reaches; `None` while it has no exact answer at all.
    pub reached: Option<OffsetVector>,
    /// What it has to reach.
    pub goal: OffsetVector,
}

/// The names whose configured definition does not answer yet, and what each look remembers for the next.
#[derive(Debug)]
pub struct Names {
    editions: Editions,
    /// By public name.
    building: ArcSwap<HashMap<String, Building>>,
    memory: Mutex<Memory>,
    /// How often a name went to another definition.
    moves: AtomicU64,
    /// One look at a time.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The definition that answers, by name.
    chosen: HashMap<String, ViewId>,
    /// By the id of a definition to come: what the one before reached at the last look, and at how many looks it was just behind.
    goals: HashMap<ViewId, (OffsetVector, u32)>,
}

impl Names {
    /// Every name is its configured definition's until somebody looks.
    pub fn new(editions: Editions) -> Names {
        let (memory, looking) = (Mutex::default(), tokio::sync::Mutex::default());
        Names { editions, building: ArcSwap::default(), memory, moves: AtomicU64::new(0), looking }
    }
    /// The names that an earlier definition answers.
    pub fn building(&self) -> Arc<HashMap<String, Building>> {
        self.building.load_full()
    }
    /// How often a name went to another definition: what was read of a question before may be about the one before.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Acquire)
    }
    /// The definition that is to follow `view` under its name.
    pub fn successor(&self, view: &View) -> Option<ViewId> {
        let building = self.building.load();
        building.get(&view.name).filter(|b| b.shown.id == view.id).map(|b| b.next.clone())
    }
    fn memory<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut lock(&self.memory))
    }
}

impl Serving {
    /// The definition that answers under the name of a configured view.
    pub fn shown(&self, view: &Arc<View>) -> Arc<View> {
        let building = self.names.building.load();
        building.get(&view.name).map_or_else(|| view.clone(), |b| b.shown.clone())
    }

    /// Looks which definitions are whole, and lets their names be theirs.
    pub(crate) async fn settle_names(&self) -> Result<()> {
        let _one_at_a_time = self.names.looking.lock().await;
        let others = self.names.editions.others(self.config()).await?;
        let mut building = HashMap::new();
        for view in &self.config().views {
            if let Some(found) = self.settle_name(view, &others).await {
                building.insert(view.name.clone(), found);
            }
        }
        let known = self.names.building.load_full();
        let shown = |names: &HashMap<String, Building>| {
            let mut ids: Vec<ViewId> = names.values().map(|b| b.shown.id.clone()).collect();
            ids.sort_unstable();
            ids
        };
        let moved = shown(&known) != shown(&building);
        self.names.building.store(Arc::new(building));
        if moved {
            self.catalog.show(self.config().metrics.iter().map(|own| self.shown_metric(own, &others)));
            self.names.moves.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// The earlier definition that answers under a configured view's name, if one does.
    async fn settle_name(&self, view: &Arc<View>, others: &[Edition]) -> Option<Building> {
        let mut definitions: Vec<&Arc<View>> = Vec::new();
        for earlier in others.iter().rev().filter_map(|edition| edition.view(&view.name)) {
            if earlier.id != view.id && !definitions.iter().any(|known| known.id == earlier.id) {
                definitions.push(earlier);
            }
        }
        definitions.push(view);
        let chosen = self.names.memory(|memory| memory.chosen.get(&view.name).cloned());
        let mut at = chosen.and_then(|id| definitions.iter().position(|d| d.id == id)).unwrap_or(0);
        if at + 1 == definitions.len() {
            return None;
        }
        let mut reached = self.reached(definitions[at]).await;
        let mut last = None;
        for (i, newer) in definitions.iter().enumerate().skip(at + 1) {
            // Asked after the older one: whoever is as fresh as that has caught up with it.
            let now = self.reached(newer).await;
            let (goal, whole) = self.goal(newer, definitions[at], reached.as_ref(), now.as_ref());
            if whole {
                (at, reached, last) = (i, now, None);
            } else {
                last = Some((now, goal));
            }
        }
        self.names.memory(|memory| memory.chosen.insert(view.name.clone(), definitions[at].id.clone()));
        if definitions[at].id == view.id {
            tracing::info!(view = %view.id, "the new definition is whole and takes its name over");
            return None;
        }
        let (reached, goal) = last.unwrap_or_default();
        Some(Building { shown: definitions[at].clone(), next: view.id.clone(), reached, goal })
    }

    /// What `newer` has to reach to be whole, and whether it does: what the older definition reaches; where that has no answer, what
    /// the log held when serving began.
    fn goal(
        &self,
        newer: &View,
        older: &View,
        reached: Option<&OffsetVector>,
        now: Option<&OffsetVector>,
    ) -> (OffsetVector, bool) {
        let reaches = |goal: &OffsetVector| now.is_some_and(|now| now.covers(goal));
        let Some(reached) = reached.filter(|_| older.source.name == newer.source.name) else {
            let goal = self.ends_at_start(&newer.source.name);
            let whole = reaches(&goal);
            return (goal, whole);
        };
        let looks = self.names.memory(|memory| {
            let (before, looks) = memory.goals.entry(newer.id.clone()).or_insert_with(|| (reached.clone(), 0));
            *looks = if reaches(before) { *looks + 1 } else { 0 };
            before.clone_from(reached);
            *looks
        });
        (reached.clone(), reaches(reached) || looks > JUST_BEHIND)
    }

    async fn reached(&self, view: &Arc<View>) -> Option<OffsetVector> {
        let pin = self.pin(std::slice::from_ref(view), Layer::Merged, true).await.ok()?;
        Some(pin.views[0].coverage())
    }

    /// What answers under a configured metric's name: itself if its views have their names, else the metric of that name in the
    /// newest edition all of whose views answer.
    fn shown_metric(&self, own: &Metric, others: &[Edition]) -> Metric {
        let answers = |metric: &&Metric| {
            let chosen = |view: &Arc<View>| {
                let configured = self.config().view(&view.name);
                configured.is_some_and(|configured| self.shown(configured).id == view.id)
            };
            metric.kind.measures().iter().all(|measure| chosen(&measure.view))
        };
        let earlier = others.iter().filter_map(|edition| edition.config.as_ref()?.metric(&own.name));
        std::iter::once(own).chain(earlier).find(answers).unwrap_or(own).clone()
    }

    /// How far the definitions to come are, of the views of an answer: `clicks@ab12=1200/4000` records.
    pub(crate) fn building_text(&self, pinned: &[PinnedView]) -> Option<String> {
        let building = self.names.building.load();
        let records = |vector: &OffsetVector| vector.0.values().map(|position| position.0).sum::<u64>();
        let parts = pinned.iter().filter_map(|view| {
            let found = building.get(&view.view.name).filter(|b| b.shown.id == view.view.id)?;
            let reached = found.reached.as_ref().map_or(0, &records);
            Some(format!("{}={reached}/{}", found.next, records(&found.goal)))
        });
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| parts.join(","))
    }
}

#[cfg(test)]
mod tests;
