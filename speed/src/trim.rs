//! Forgets what a published generation covers: segments of the state store and, if wanted, records of the log.
use std::sync::Arc;

use hashbrown::HashMap;

use seam_shared::clock::Clock;
use seam_shared::error::Result;
use seam_shared::event::lookback;
use seam_shared::failpoint::{self, Failpoint};
use seam_shared::log::{EventLog, Offset, OffsetVector, Partition};
use seam_shared::state::ViewId;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{Source, View};

use crate::recover::Places;

/// When to trim, and what.
#[derive(Debug, Clone, Copy)]
pub struct TrimRule {
    /// How long after a generation was first seen its segments are kept for readers of the one before. Only spares them a
    /// second look; answers are exact without.
    pub grace: Span,
    /// Whether the log forgets what is archived and covered for every view.
    pub log: bool,
}

/// Trims all partitions of one source.
#[derive(Debug)]
pub struct Trimmer {
    places: Places,
    clock: Arc<dyn Clock>,
    source: Arc<Source>,
    views: Vec<Arc<View>>,
    rule: TrimRule,
    /// The log to trim where an archive is below it, and how much of it is kept whatever is archived.
    hot: Option<(Arc<dyn EventLog>, Span)>,
    /// By view: the cut that waits for its grace to end, and since when; and the cut trimmed to.
    seen: HashMap<ViewId, (OffsetVector, Timestamp)>,
    trimmed: HashMap<ViewId, OffsetVector>,
}

impl Trimmer {
    /// Nothing seen yet. `views` are all views of `source`.
    pub fn new(
        places: Places,
        clock: Arc<dyn Clock>,
        source: Arc<Source>,
        views: Vec<Arc<View>>,
        rule: TrimRule,
    ) -> Self {
        Self { places, clock, source, views, rule, hot: None, seen: HashMap::new(), trimmed: HashMap::new() }
    }

    /// Lets `hot` forget what is archived, covered for every view, and older than `keep`. The log of the places goes on below it, so
    /// that nothing is lost by that but speed.
    #[must_use]
    pub fn forgetting(mut self, hot: Arc<dyn EventLog>, keep: Span) -> Self {
        self.hot = Some((hot, keep));
        self.rule.log = true;
        self
    }

    /// Looks at the newest generations, and trims to those that are old enough.
    ///
    /// # Errors
    /// Those of log, state store and lake; the next step tries again.
    pub async fn step(&mut self) -> Result<()> {
        let now = self.clock.now();
        for view in self.views.clone() {
            let Some(cut) = self.places.cuts.cut(&view).await? else { continue };
            let (seen, since) = self.seen.entry(view.id.clone()).or_insert_with(|| (cut.clone(), now));
            // One cut waits at a time: generations that are published more often than the grace is long would start it anew for
            // ever. Only a cut that went back, or one that is done with, makes place at once.
            if !cut.covers(seen) || self.trimmed.get(&view.id) == Some(seen) && *seen != cut {
                (*seen, *since) = (cut, now);
            }
            // A clock that jumped back only makes the grace start again.
            *since = now.min(*since);
            if now.0.saturating_sub(since.0) < self.rule.grace.0 || self.trimmed.get(&view.id) == Some(seen) {
                continue;
            }
            let cut = seen.clone();
            for (&number, &floor) in &cut.0 {
                let partition = Partition::new(self.source.name.as_str(), number);
                self.places.state.trim(&partition, &view.id, floor).await?;
                failpoint::reach(Failpoint::SpeedTrimmed);
            }
            self.trimmed.insert(view.id.clone(), cut);
            if self.rule.log {
                self.trim_log().await?;
            }
        }
        Ok(())
    }

    /// Every view's events below the lowest cut are archived; what is left out are the ids that later records are
    /// compared with.
    async fn trim_log(&self) -> Result<()> {
        let cuts: Option<Vec<&OffsetVector>> = self.views.iter().map(|view| self.trimmed.get(&view.id)).collect();
        let Some(cuts) = cuts else { return Ok(()) };
        let kept = self.source.duplicates.map_or(0, |rule| rule.max_records);
        let numbers = cuts.iter().flat_map(|cut| cut.0.keys().copied()).max().map_or(0, |last| last + 1);
        for number in 0..numbers {
            let lowest = cuts.iter().map(|cut| cut.get(number)).min().unwrap_or_default();
            let partition = Partition::new(self.source.name.as_str(), number);
            let before = match &self.hot {
                // Should these offsets hold fewer records than the ids needed, the others are read from the archive.
                Some((hot, keep)) => {
                    let enough = Offset(lowest.0.saturating_sub(kept));
                    first_since(hot.as_ref(), &partition, self.clock.now().minus(*keep), enough).await?
                }
                None => lookback::lookback(self.places.log.as_ref(), &partition, lowest, kept).await?.0,
            };
            if before > Offset(0) {
                self.places.log.trim(&partition, before).await?;
            }
        }
        Ok(())
    }
}

/// The first offset below `end` that the log received at `time` or later, as far as its times ascend; `end` if there is none.
pub(crate) async fn first_since(
    log: &dyn EventLog,
    partition: &Partition,
    time: Timestamp,
    end: Offset,
) -> Result<Offset> {
    let (mut low, mut high) = (log.bounds(partition).await?.0.0, end.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let chunk = log.read(partition, Offset(middle), 1, 1).await?;
        match chunk.iter().next() {
            Some(record) if record.timestamp < time => low = record.offset.0 + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(Offset(low.min(end.0)))
}
