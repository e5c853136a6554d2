//! A view's merged states by window and key at one pin, for those who write them elsewhere: no metric, no limit of points, no row filter.
use std::sync::Arc;

use seam_shared::lake::views::ViewFile;
use seam_shared::log::OffsetVector;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::{Dimension, Rows};
use seam_shared::view::value::Value;
use seam_shared::{Error, Kind, Result};

use crate::Serving;
use crate::block::{Block, ByKey};
use crate::pin::Pin;
use crate::pin::pinned::PinnedView;
use crate::query::{Layer, PARTIALS_MAX};

/// No pane lies in it.
const NEVER: (Timestamp, Timestamp) = (Timestamp(i64::MAX), Timestamp(i64::MIN));

/// One view at one moment.
#[derive(Debug, Clone)]
pub struct Extract {
    view: Arc<View>,
    pin: Arc<Pin>,
}

/// Which windows (by their end) and keys are wanted.
pub trait Wanted {
    /// The stretches of time `(after, until]` in which all wanted windows end.
    fn ranges(&self) -> Vec<(Timestamp, Timestamp)>;
    /// Whether any key of a window is wanted.
    fn window(&self, end: Timestamp) -> bool;
    /// Whether a key of a wanted window is.
    fn key(&self, end: Timestamp, key: &[Value]) -> bool;
}

/// Every key of the windows that end in `(.0, .1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between(pub Timestamp, pub Timestamp);

impl Wanted for Between {
    fn ranges(&self) -> Vec<(Timestamp, Timestamp)> {
        vec![(self.0, self.1)]
    }
    fn window(&self, end: Timestamp) -> bool {
        self.0 < end && end <= self.1
    }
    fn key(&self, _: Timestamp, _: &[Value]) -> bool {
        true
    }
}

impl Extract {
    fn pinned(&self) -> Result<&PinnedView> {
        self.pin.views.first().ok_or_else(|| Error::internal("a pin holds the view that it was made of"))
    }
    /// How far it reaches: it counts each event below exactly once.
    ///
    /// # Errors
    /// Never in fact.
    pub fn coverage(&self) -> Result<OffsetVector> {
        Ok(self.pinned()?.coverage())
    }
    /// The number of its generation, if it has one.
    ///
    /// # Errors
    /// Never in fact.
    pub fn generation(&self) -> Result<Option<u64>> {
        Ok(self.pinned()?.generation.as_ref().map(|generation| generation.number))
    }
}

impl Serving {
    /// The view as it is now.
    ///
    /// # Errors
    /// As [`Serving::pin`].
    pub async fn extract(&self, view: &Arc<View>) -> Result<Extract> {
        let pin = self.pin(std::slice::from_ref(view), Layer::Merged, true).await?;
        Ok(Extract { view: view.clone(), pin })
    }

    /// The moment before which everything that had reached the log is counted, as `final=true` means it; or why there is none.
    ///
    /// # Errors
    /// Never in fact.
    pub fn complete_until(&self, extract: &Extract) -> Result<Result<Timestamp, String>> {
        Ok(self.topics.consumed(&extract.view.source.name, &extract.coverage()?))
    }

    /// The view's states merged by tumbling windows of a length (the end in the place of the pane) and by key, of those that are
    /// wanted, in canonical order.
    ///
    /// # Errors
    /// `NotFound` when a part was retired since: extract again. `TooLarge` for more groups than may be held.
    pub async fn windows(&self, extract: &Extract, window: Span, wanted: &(dyn Wanted + Sync)) -> Result<Rows> {
        let (view, pinned) = (&extract.view, extract.pinned()?);
        let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
        // One slice of the generation after the other is in memory; one that several ranges touch counts once.
        let mut slices: Vec<(Timestamp, Timestamp)> = Vec::new();
        if let Some(generation) = &pinned.generation {
            let ranges: Vec<_> =
                wanted.ranges().into_iter().map(|(after, until)| (after.floor(window), until)).collect();
            let touched = |file: &&ViewFile| {
                ranges.iter().any(|(after, until)| file.slice_start < *until && file.slice_end > *after)
            };
            slices.extend(generation.files.iter().filter(touched).map(|file| (file.slice_start, file.slice_end)));
            slices.sort_unstable();
            slices.dedup_by(|next, last| {
                let overlap = next.0 < last.1;
                if overlap {
                    last.1 = last.1.max(next.1);
                }
                overlap
            });
            for slice in slices {
                let blocks = self.batch_view(view).blocks(generation, slice, self.cache()).await?;
                for block in blocks {
                    merge(&mut groups, &block, window, wanted)?;
                }
            }
        }
        let whole = vec![Vec::new(); extract.pin.views.len()];
        for halves in self.halves(&extract.pin.views, &whole, NEVER, false).await? {
            for block in halves.blocks() {
                merge(&mut groups, block, window, wanted)?;
            }
        }
        Ok(groups.into_rows())
    }
}

fn merge(groups: &mut Groups, block: &Block, window: Span, wanted: &dyn Wanted) -> Result<()> {
    match block {
        Block::AsHeld(rows) => {
            let all: Vec<usize> = (0..rows.dimensions.len()).collect();
            let states: Vec<usize> = (0..rows.states.len()).collect();
            groups.merge_chosen(rows, &all, &states, |row| {
                let end = rows.panes[row].ceil(window);
                let key = || (0..rows.dimensions.len()).map(|d| rows.value(d, row).clone()).collect::<Vec<_>>();
                (wanted.window(end) && wanted.key(end, &key())).then_some(end)
            });
        }
        Block::ByKey(by_key) => merge_by_key(groups, by_key, window, wanted),
    }
    if groups.len() <= PARTIALS_MAX {
        return Ok(());
    }
    let message = format!("an output has more than {PARTIALS_MAX} groups: shorten what it looks back on with `last`");
    Err(Error::new(Kind::TooLarge, message))
}

fn merge_by_key(groups: &mut Groups, block: &ByKey, window: Span, wanted: &dyn Wanted) {
    for key in 0..block.keys() {
        let mut rows = block.rows(key);
        let (mut values, mut codes): (Vec<Value>, Vec<u32>) = (Vec::new(), Vec::new());
        while !rows.is_empty() {
            let end = block.panes[rows.start].ceil(window);
            let next = rows.start + block.rows_until(rows.clone(), end);
            if wanted.window(end) {
                if values.len() < block.dimensions.len() {
                    let value = |d: &Dimension| d.values[d.codes[key] as usize].clone();
                    values = block.dimensions.iter().map(value).collect();
                }
                if wanted.key(end, &values) {
                    if codes.len() < values.len() {
                        codes = values.iter().enumerate().map(|(d, value)| groups.intern(d, value)).collect();
                    }
                    let to = groups.row(end, &codes);
                    let states = groups.states_mut().iter_mut().zip(&block.states);
                    states.for_each(|(to_state, from)| to_state.combine_all(to, from, rows.start..next));
                }
            }
            rows.start = next;
        }
    }
}
