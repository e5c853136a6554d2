//! Where a worker starts: from what the store holds, or at a boundary that the newest generation covers.
use std::sync::Arc;

use seam_shared::error::{Error, Kind, Result};
use seam_shared::event::batch::Excluded;
use seam_shared::event::decode::Decoder;
use seam_shared::event::lookback;
use seam_shared::log::{Anchor, EventLog, Offset, Partition, anchor};
use seam_shared::state::{Snapshot, StateStore, ViewId};
use seam_shared::view::definition::{Source, View};
use seam_shared::view::ranks::Ranks;

use crate::cuts::Cuts;
use crate::segments::{Resumed, Segments};

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
        let mut resumed: Vec<Resumed> = Vec::with_capacity(ready.len());
        let mut checked: Vec<Anchor> = Vec::new();
        for (view, snapshot) in ready.into_iter().zip(held) {
            let lost = || Error::unavailable(format!("state of {} in {partition} was lost just now", view.id));
            let mut snapshot = snapshot.ok_or_else(lost)?;
            if let Some(anchor) = snapshot.progress.anchor.filter(|anchor| !checked.contains(anchor)) {
                anchor.check(self.log.as_ref(), partition).await?;
                checked.push(anchor);
            }
            let ranks = match view.count_window {
                Some(_) => self.ranks(partition, &view, &snapshot).await?,
                None => Ranks::default(),
            };
            if snapshot.progress.excluded.is_none() {
                let known = resumed.iter().map(|resumed| resumed.snapshot.progress);
                let known = known.filter(|known| known.position == snapshot.progress.position);
                snapshot.progress.excluded = match known.filter_map(|known| known.excluded).next() {
                    Some(excluded) => Some(excluded),
                    None => self.excluded(partition, source, &view, snapshot.progress.position).await?,
                };
            }
            resumed.push(Resumed { view, snapshot, ranks });
        }
        let lowest = resumed.iter().map(|resumed| resumed.snapshot.progress.position).min();
        let mut decoder = Decoder::new(source.clone());
        let lowest = lowest.unwrap_or_default();
        let duplicates = lookback::duplicates(self.log.as_ref(), partition, source, &mut decoder, lowest).await?;
        let segments = Segments::resume(source, partition.number, resumed, decoder, duplicates);
        Ok(Recovered { segments, waiting })
    }

    /// The ranks of a count window where the stored state stands: those below the newest generation's cut, and what the state has
    /// counted from there on.
    async fn ranks(&self, partition: &Partition, view: &View, held: &Snapshot) -> Result<Ranks> {
        let (cut, mut ranks) = self.cuts.ranks(view, partition.number).await?;
        let Snapshot { progress, closed, open } = held;
        let moved = |how: String| Error::unavailable(format!("{} in {partition}: {how}; asked again", view.id));
        if cut < progress.floor || cut > progress.position {
            let how =
                format!("its ranks are known below {cut}, its state is of {} to {}", progress.floor, progress.position);
            return Err(moved(how));
        }
        for segment in closed.iter().filter(|segment| segment.end > cut) {
            if segment.start < cut {
                return Err(Error::corrupt(format!("{}: {cut} of {partition} is no segment boundary", view.id)));
            }
            let rows = self.state.segment(partition, &view.id, segment.start).await?;
            let rows = rows.ok_or_else(|| moved(format!("the segment at {} was dropped just now", segment.start)))?;
            ranks.add_rows(view, partition.number, &rows)?;
        }
        if progress.segment.start >= cut {
            ranks.add_rows(view, partition.number, open)?;
        }
        Ok(ranks)
    }

    /// What lies below `position` and counts nowhere: what the newest generation says of the records below its cut, and those of the
    /// log from there on, read again. After a claim the cut is the position. `None` where the generation does not say.
    async fn excluded(
        &self,
        partition: &Partition,
        source: &Arc<Source>,
        view: &View,
        position: Offset,
    ) -> Result<Option<Excluded>> {
        let known = self.cuts.excluded(view, partition.number).await?;
        let Some((mut at, mut excluded)) = known.filter(|(at, _)| *at <= position) else { return Ok(None) };
        let mut decoder = Decoder::new(source.clone());
        let mut duplicates = match at == position {
            true => return Ok(Some(excluded)),
            false => lookback::duplicates(self.log.as_ref(), partition, source, &mut decoder, at).await?,
        };
        while at < position {
            let chunk = lookback::read_below(self.log.as_ref(), partition, at, position).await?;
            at = if chunk.next > at { chunk.next } else { position };
            let mut batch = decoder.decode(&chunk);
            duplicates.mark(&mut batch);
            batch.verdicts.iter().for_each(|&verdict| excluded.note(verdict));
        }
        Ok(Some(excluded))
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
