//! A pin: for each view one generation and one moment of every partition, such that the two halves meet without gap or overlap.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hashbrown::HashMap;
use seam_shared::lake::views::Generation;
use seam_shared::log::{Offset, Partition};
use seam_shared::state::{ClosedSegment, ViewId};
use seam_shared::view::definition::View;
use seam_shared::{Error, Kind, Result};
use tokio::time::Instant;

use crate::pinned::{Part, PinnedView};
use crate::query::Layer;
use crate::speed_view::{Held, Moment};
use crate::stamp::Stamp;
use crate::{Serving, etag};

/// How often an answer looks again when the halves do not meet, before it says so.
const ATTEMPTS: u32 = 6;

/// Views at one moment, and what all answers from it have in common.
#[derive(Debug)]
pub struct Pin {
    /// The views, by source and id.
    pub views: Vec<PinnedView>,
    /// Nothing in it is older than this.
    pub taken: Instant,
    /// See [`etag::digest`].
    pub digest: [u8; 32],
    /// The stamp of its answers.
    pub stamp: Arc<Stamp>,
    /// How far the log was ahead of it: `flights/0=12`.
    pub lag: Option<String>,
    /// How far the definitions are that are being built to follow its views: `clicks@ab12=1200/4000` records.
    pub building: Option<String>,
}

/// The last pins, by views and layer, for the queries of a few milliseconds.
#[derive(Debug, Default)]
pub struct Pins(Mutex<HashMap<(Vec<ViewId>, Layer), Arc<Slot>>>);

/// The last pin of some views.
#[derive(Debug, Default)]
pub struct Slot {
    last: ArcSwapOption<Pin>,
    /// One is taken at a time.
    taking: tokio::sync::Mutex<()>,
}

impl Pins {
    /// Where the last pin of these views is.
    pub(crate) fn slot(&self, views: &[Arc<View>], layer: Layer) -> Arc<Slot> {
        let key = (views.iter().map(|view| view.id.clone()).collect(), layer);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }
}

impl Slot {
    /// The last pin, if it is not older than that.
    pub(crate) fn shared(&self, longest: Duration) -> Option<Arc<Pin>> {
        self.since(Instant::now().checked_sub(longest))
    }
    fn since(&self, oldest: Option<Instant>) -> Option<Arc<Pin>> {
        self.last.load_full().filter(|pin| oldest.is_none_or(|oldest| pin.taken >= oldest))
    }
}

/// Why two halves do not meet.
fn mismatch(view: &View, generation: Option<&Generation>, partition: u32, held: &Held) -> Error {
    let (id, floor) = (&view.id, held.progress.floor);
    let source = &view.source.name;
    Error::unavailable(match generation {
        None => format!(
            "view {id} is being built: the speed layer holds {source}/{partition} from {floor} on, and no generation covers what is before"
        ),
        Some(generation) => format!(
            "view {id} is between two states: generation {} covers {source}/{partition} up to {}, the speed layer holds it from {floor} on",
            generation.number,
            generation.cut.get(partition)
        ),
    })
}

fn part(
    view: &View,
    generation: Option<&Generation>,
    number: u32,
    held: Option<Arc<Held>>,
    away: bool,
    layer: Layer,
) -> Result<Part> {
    let cut = generation.map_or(Offset(0), |generation| generation.cut.get(number));
    let Some(held) = held else { return Ok(Part { held, away, segments: None, from: cut, coverage: cut }) };
    let from = if layer == Layer::Speed { held.progress.floor } else { cut };
    if layer == Layer::Merged && held.progress.position <= cut {
        return Ok(Part { held: Some(held), away, segments: None, from: cut, coverage: cut });
    }
    let Some(segments) = held.since(from).map(<[ClosedSegment]>::to_vec) else {
        return Err(mismatch(view, generation, number, &held));
    };
    let coverage = held.progress.position;
    Ok(Part { held: Some(held), away, segments: Some(segments), from, coverage })
}

/// A generation, if there is one, and the parts of every partition that meet it.
type Met = (Option<Arc<Generation>>, BTreeMap<u32, Part>);

/// The generation that answers: the newest. One that went back covers less than the speed layer may have forgotten; until that meets
/// it, and reaches as far with it, the generation before answers.
fn meet(
    line: Vec<Option<Arc<Generation>>>,
    partitions: u32,
    part: impl Fn(Option<&Generation>, u32) -> Result<Part>,
) -> Result<Met> {
    let mut met: Result<Met> = Err(Error::internal("there is no generation to ask, not even none"));
    for generation in line.into_iter().rev() {
        let parts = (0..partitions).map(|number| Ok((number, part(generation.as_deref(), number)?)));
        let parts: Result<BTreeMap<u32, Part>> = parts.collect();
        let reaches = |parts: &BTreeMap<u32, Part>| match &met {
            Ok((_, before)) => parts.iter().all(|(number, part)| part.coverage >= before[number].coverage),
            Err(_) => true,
        };
        match parts {
            Ok(parts) if reaches(&parts) => met = Ok((generation, parts)),
            Err(error) if met.is_err() => met = Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    met
}

impl Serving {
    /// Pins `views`, those of one source at one moment of each partition. With `fresh`, nothing seen before the call is used;
    /// else queries share a pin for as long as the settings say. A state store that is away is no error where a generation can
    /// answer alone.
    ///
    /// # Errors
    /// `Unavailable` when the halves do not meet even after looking again, or there is nothing to answer from.
    pub async fn pin(&self, views: &[Arc<View>], layer: Layer, fresh: bool) -> Result<Arc<Pin>> {
        let slot = self.pins.slot(views, layer);
        // Nobody has to wait who finds one.
        match slot.shared(self.settings.share_snapshots_for).filter(|_| !fresh) {
            Some(pin) => Ok(pin),
            None => Box::pin(self.take_pin(&slot, views, layer, fresh)).await,
        }
    }

    async fn take_pin(&self, slot: &Slot, views: &[Arc<View>], layer: Layer, fresh: bool) -> Result<Arc<Pin>> {
        let mut fresh = fresh;
        let mut pause = Duration::from_millis(2);
        for attempt in 1.. {
            match self.shared_pin(slot, views, layer, fresh).await {
                Err(error) if error.kind() == Kind::Unavailable && attempt < ATTEMPTS => {
                    let mut newer = false;
                    for view in views {
                        newer |= self.batch_view(view).refresh().await?;
                    }
                    if !newer {
                        self.clock.sleep(pause).await;
                        pause *= 2;
                    }
                    fresh = true;
                }
                result => return result,
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn shared_pin(&self, slot: &Slot, views: &[Arc<View>], layer: Layer, fresh: bool) -> Result<Arc<Pin>> {
        let asked = Instant::now();
        let oldest = if fresh { Some(asked) } else { asked.checked_sub(self.settings.share_snapshots_for) };
        let _one_takes = slot.taking.lock().await;
        if let Some(pin) = slot.since(oldest) {
            return Ok(pin);
        }
        // The store would have to copy rows that somebody still holds.
        slot.last.store(None);
        let taken = Instant::now();
        let views = self.pin_once(views, layer).await?;
        let (digest, stamp) = (etag::digest(layer, &views), Arc::new(Stamp::new(layer, &views)));
        let (lag, building) = (self.lag_text(&views), self.building_text(&views));
        let pin = Arc::new(Pin { lag, building, views, taken, digest, stamp });
        slot.last.store(Some(pin.clone()));
        Ok(pin)
    }

    async fn pin_once(&self, views: &[Arc<View>], layer: Layer) -> Result<Vec<PinnedView>> {
        let mut pinned: Vec<PinnedView> = Vec::with_capacity(views.len());
        let mut sources: Vec<&str> = views.iter().map(|view| view.source.name.as_str()).collect();
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            let views: Vec<&Arc<View>> = views.iter().filter(|view| view.source.name == source).collect();
            let lines: Vec<Vec<Option<Arc<Generation>>>> = views.iter().map(|view| self.line(view, layer)).collect();
            for (view, line) in views.iter().zip(&lines) {
                self.check_incarnation(view, line[0].as_deref())?;
            }
            let cuts = lines.iter().flatten().flatten().filter_map(|g| g.cut.0.keys().last().copied());
            let partitions = cuts.map(|last| last + 1).fold(self.partitions_of(source), u32::max);
            let ids: Vec<ViewId> = views.iter().map(|view| view.id.clone()).collect();
            let moments = self.moments(source, partitions, &ids, layer).await?;
            for (i, (view, line)) in views.into_iter().zip(lines).enumerate() {
                let (generation, parts) = meet(line, partitions, |generation, number| {
                    let moment = moments.get(number as usize);
                    let held = moment.and_then(|moment| moment.as_ref().ok()?.get(i)?.clone());
                    let away = moment.is_some_and(Result::is_err);
                    part(view, generation, number, held, away, layer)
                })?;
                if generation.is_none()
                    && let Some(Err(error)) = moments.iter().find(|moment| moment.is_err())
                {
                    return Err(Error::unavailable(error.to_string()));
                }
                if generation.is_none() && parts.values().all(|part| part.held.is_none()) {
                    let what = match layer {
                        Layer::Merged => "neither a generation nor speed state",
                        Layer::Batch => "no generation",
                        Layer::Speed => "no speed state",
                    };
                    return Err(Error::unavailable(format!("view {} has {what} yet", view.id)));
                }
                let successor = self.names.successor(view);
                pinned.push(PinnedView { view: view.clone(), generation, successor, parts });
            }
        }
        Ok(pinned)
    }

    /// The generations that a view may be answered from, the newest first; `None` where there is none.
    fn line(&self, view: &Arc<View>, layer: Layer) -> Vec<Option<Arc<Generation>>> {
        let batch = self.batch_view(view);
        match layer {
            Layer::Speed => vec![None],
            Layer::Batch => vec![batch.pin()],
            Layer::Merged if batch.pin().is_none() => vec![None],
            Layer::Merged => batch.line().iter().cloned().map(Some).collect(),
        }
    }

    /// The parts of every partition of one view, from the cut of the generation on.
    pub(crate) async fn parts_from(
        &self,
        view: &View,
        generation: &Generation,
        partitions: u32,
        layer: Layer,
    ) -> Result<BTreeMap<u32, Part>> {
        let moments = self.moments(&view.source.name, partitions, std::slice::from_ref(&view.id), layer).await?;
        let mut parts = BTreeMap::new();
        for number in 0..partitions {
            let moment = moments.get(number as usize);
            let held = moment.and_then(|moment| moment.as_ref().ok()?.first()?.clone());
            let away = moment.is_some_and(Result::is_err);
            parts.insert(number, part(view, Some(generation), number, held, away, layer)?);
        }
        Ok(parts)
    }

    async fn moments(
        &self,
        source: &str,
        partitions: u32,
        ids: &[ViewId],
        layer: Layer,
    ) -> Result<Vec<Result<Moment>>> {
        if layer == Layer::Batch {
            return Ok(Vec::new());
        }
        let names: Vec<Partition> = (0..partitions).map(|number| Partition::new(source, number)).collect();
        let mut moments = Vec::with_capacity(names.len());
        for moment in futures::future::join_all(names.iter().map(|name| self.speed().moment(name, ids))).await {
            match moment {
                Err(error) if layer == Layer::Merged && error.kind() == Kind::Unavailable => moments.push(Err(error)),
                moment => moments.push(Ok(moment?)),
            }
        }
        Ok(moments)
    }
}
