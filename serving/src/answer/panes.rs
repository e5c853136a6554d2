//! Whole rows of views, one a pane and key, merged from both halves at one moment: what SQL reads. No window is laid over them.
use std::sync::Arc;

use seam_shared::access::Admission;
use seam_shared::time::Timestamp;
use seam_shared::view::definition::{StateKind, View};
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::{Dimension, Rows, States};
use seam_shared::view::value::Value;
use seam_shared::{Error, Kind};
use tokio_util::sync::CancellationToken;

use crate::Serving;
use crate::block::{Block, ByKey};
use crate::pin::Pin;
use crate::pin::halves::Halves;
use crate::query::{Layer, Refusal};
use crate::scan::levels;

/// Rows of a batch file or segment that may be read for one row of the table that may be had.
const READ_FOR_ONE: u64 = 16;
/// Rows after which a merge looks whether it is still wanted.
const ROWS_BETWEEN_LOOKS: usize = 8_192;

/// What is read of a view.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The view. No two selections of one read have the same.
    pub view: Arc<View>,
    /// Which of its rows may be seen.
    pub admission: Admission,
    /// Panes that end in `(after, until]`.
    pub range: (Timestamp, Timestamp),
    /// Per sliced dimension, the values that count.
    pub slices: Vec<(usize, Vec<Value>)>,
    /// The states that are needed, by their index in the view.
    pub states: Vec<usize>,
}

/// Rows of views at one moment.
#[derive(Debug)]
pub struct Panes {
    /// The views at that moment.
    pub pin: Arc<Pin>,
    /// Per selection, its rows in the order of pane and key; their states are the selection's.
    pub rows: Vec<Rows>,
}

impl Serving {
    /// Reads views at one moment: for each pane and key of a selection one row, merged from generation and speed layer. No more
    /// than `rows_max` rows in all.
    ///
    /// # Errors
    /// `Unavailable` when the halves do not meet; `TooLarge` beyond `rows_max`; `Corrupt` when a file is damaged.
    pub async fn panes(
        &self,
        selections: Vec<Selection>,
        rows_max: usize,
        cancel: CancellationToken,
    ) -> Result<Panes, Refusal> {
        let mut views: Vec<Arc<View>> = selections.iter().map(|selection| selection.view.clone()).collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        let mut attempts = 0;
        loop {
            let pin = self.pin(&views, Layer::Merged, attempts > 0).await?;
            match self.halves_of(&pin, &selections, rows_max).await {
                Ok(halves) => {
                    let merge = move || merge_all(&selections, &halves, rows_max, &cancel);
                    let merged = tokio::task::spawn_blocking(merge).await;
                    let rows = merged.map_err(|e| Error::internal("the merge failed").because(e))??;
                    return Ok(Panes { pin, rows });
                }
                Err(error) => {
                    attempts += 1;
                    self.look_again(error, attempts, &views).await?;
                }
            }
        }
    }

    async fn halves_of(&self, pin: &Pin, selections: &[Selection], rows_max: usize) -> Result<Vec<Halves>, Error> {
        let mut out = Vec::with_capacity(selections.len());
        let mut rows = 0;
        for selection in selections {
            let pinned = pin.views.iter().find(|pinned| pinned.view.id == selection.view.id);
            let pinned = pinned.ok_or_else(|| Error::internal("a view was not pinned"))?;
            let keys = if pinned.view.keyed { selection.slices.clone() } else { Vec::new() };
            let whole = pinned.generation.iter().filter(|_| keys.is_empty());
            let files = whole.flat_map(|g| levels::files_in(g, selection.range));
            rows += files.map(|file| file.rows).sum::<u64>();
            if rows > READ_FOR_ONE.saturating_mul(rows_max as u64) {
                return Err(Error::new(Kind::TooLarge, format!("about {rows} rows of batch files would be read")));
            }
            let mut halves = self.halves(std::slice::from_ref(pinned), &[keys], selection.range, false).await?;
            out.extend(halves.pop());
        }
        Ok(out)
    }
}

fn merge_all(
    selections: &[Selection],
    halves: &[Halves],
    rows_max: usize,
    cancel: &CancellationToken,
) -> Result<Vec<Rows>, Refusal> {
    let mut out = Vec::with_capacity(selections.len());
    let mut left = rows_max;
    for (selection, halves) in selections.iter().zip(halves) {
        let kinds: Vec<StateKind> = selection.states.iter().map(|&state| selection.view.states[state].kind).collect();
        let groups = Groups::new(selection.view.dimensions.len(), &kinds);
        let mut merge = Merge { selection, groups, left, cancel, unseen: 0 };
        for block in halves.blocks() {
            match block.as_ref() {
                Block::ByKey(block) => merge.add_by_key(block)?,
                Block::AsHeld(rows) => merge.add_as_held(rows)?,
            }
        }
        left -= merge.groups.len();
        out.push(merge.groups.into_rows());
    }
    Ok(out)
}

struct Merge<'s> {
    selection: &'s Selection,
    groups: Groups,
    /// Groups that there may be.
    left: usize,
    cancel: &'s CancellationToken,
    /// Rows since the last look.
    unseen: usize,
}

impl Merge<'_> {
    fn add_by_key(&mut self, block: &ByKey) -> Result<(), Refusal> {
        let (after, until) = self.selection.range;
        let mut codes = Codes::new(self.selection, &block.dimensions);
        for key in 0..block.keys() {
            let mut rows = block.rows(key);
            rows.start += block.rows_until(rows.clone(), after);
            rows.end = rows.start + block.rows_until(rows.clone(), until);
            if rows.is_empty() || !codes.translate(&mut self.groups, &block.dimensions, key) {
                continue;
            }
            for row in rows {
                self.take(block.panes[row], &codes.key, &block.states, row)?;
            }
        }
        Ok(())
    }
    fn add_as_held(&mut self, rows: &Rows) -> Result<(), Refusal> {
        let (after, until) = self.selection.range;
        let mut codes = Codes::new(self.selection, &rows.dimensions);
        for (row, &pane) in rows.panes.iter().enumerate() {
            let is_inside = after < pane && pane <= until;
            if is_inside && codes.translate(&mut self.groups, &rows.dimensions, row) {
                self.take(pane, &codes.key, &rows.states, row)?;
            }
        }
        Ok(())
    }
    fn take(&mut self, pane: Timestamp, key: &[u32], states: &[States], row: usize) -> Result<(), Refusal> {
        let to = self.groups.row(pane, key);
        for (column, &state) in self.groups.states_mut().iter_mut().zip(&self.selection.states) {
            column.combine(to, &states[state], row);
        }
        if self.groups.len() > self.left {
            return Err(Refusal::too_large(format!(
                "table {} has more rows than may be read",
                self.selection.view.name
            )));
        }
        self.unseen += 1;
        if self.unseen == ROWS_BETWEEN_LOOKS {
            self.unseen = 0;
            if self.cancel.is_cancelled() {
                return Err(Error::unavailable("the read was cancelled").into());
            }
        }
        Ok(())
    }
}

/// The codes of a table by those of a block, each looked up on its first use, and which of the block's count.
struct Codes<'s> {
    known: Vec<Vec<u32>>,
    /// Per sliced dimension, whether each code counts.
    slices: Vec<(usize, Vec<bool>)>,
    admission: &'s Admission,
    key: Vec<u32>,
}

impl<'s> Codes<'s> {
    fn new(selection: &'s Selection, dimensions: &[Dimension]) -> Codes<'s> {
        let counts = |(d, wanted): &(usize, Vec<Value>)| {
            (*d, dimensions[*d].values.iter().map(|value| wanted.contains(value)).collect())
        };
        Codes {
            known: dimensions.iter().map(|dimension| vec![u32::MAX; dimension.values.len()]).collect(),
            slices: selection.slices.iter().map(counts).collect(),
            admission: &selection.admission,
            key: vec![0; dimensions.len()],
        }
    }
    /// Puts the key of row or key `i` into `self.key`; `false` if it does not count.
    fn translate(&mut self, groups: &mut Groups, dimensions: &[Dimension], i: usize) -> bool {
        if !self.slices.iter().all(|(d, counts)| counts[dimensions[*d].codes[i] as usize]) {
            return false;
        }
        let value = |d: usize| dimensions[d].values[dimensions[d].codes[i] as usize].clone();
        if self.admission.rows().is_some() && !self.admission.admits(&value) {
            return false;
        }
        for (d, dimension) in dimensions.iter().enumerate() {
            let theirs = dimension.codes[i] as usize;
            if self.known[d][theirs] == u32::MAX {
                self.known[d][theirs] = groups.intern(d, &dimension.values[theirs]);
            }
            self.key[d] = self.known[d][theirs];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use seam_shared::access::{Caller, RowFilter, Scope};

    use super::*;
    use crate::testing::{NOW, World};

    #[tokio::test]
    async fn rows_are_the_events_grouped_by_pane_and_key_within_the_selection() {
        let world = World::new(7);
        let view = world.view("by_route");
        world.publish(&view, [world.boundaries[0][3], world.boundaries[1][2]]).await;
        world.hold(&view, 0, None).await;
        let serving = world.serving().await;
        let all = (Timestamp(NOW.0 - 100 * 3_600_000_000), NOW.ceil(view.pane));
        let half = (Timestamp(NOW.0 - 5_400_000_000).floor(view.pane), all.1);
        let carriers = vec![Value::text("UA"), Value::Null];
        for (range, slices) in [(all, vec![]), (half, vec![]), (half, vec![(0, carriers.clone())])] {
            let admission = Caller::trusted().admit(&view).expect("everything may be seen");
            let selection = Selection { view: view.clone(), admission, range, slices: slices.clone(), states: vec![0] };
            let tables = serving.panes(vec![selection.clone()], 10_000, CancellationToken::new()).await;
            let rows = tables.expect("read").rows.remove(0);
            let mut expected = std::collections::BTreeMap::new();
            for event in &world.events {
                let pane = view.pane_of(event.time);
                let is_in =
                    range.0 < pane && pane <= range.1 && (slices.is_empty() || carriers.contains(&event.carrier));
                if is_in {
                    *expected.entry((pane, event.carrier.clone(), event.origin.clone())).or_insert(0) += 1_u64;
                }
            }
            assert!(!expected.is_empty());
            let States::Count(counts) = &rows.states[0] else { panic!("the first state counts events") };
            let found: std::collections::BTreeMap<_, _> = (0..rows.len())
                .map(|i| ((rows.panes[i], rows.value(0, i).clone(), rows.value(1, i).clone()), counts[i]))
                .collect();
            assert_eq!(found, expected);
            let filter = serde_json::json!({"carrier": ["UA", null]});
            let rows = RowFilter::from_json(filter.as_object().expect("a map")).expect("a filter");
            let caller = Caller::new("", vec![Scope::parse("query:by_route").expect("a scope")], rows, None);
            let admission = caller.admit(&view).expect("admitted");
            let some =
                serving.panes(vec![Selection { admission, ..selection.clone() }], 10_000, CancellationToken::new());
            let some = some.await.expect("read").rows.remove(0);
            let seen = expected.keys().filter(|(_, carrier, _)| carriers.contains(carrier)).count();
            assert!(seen > 0 && some.len() == seen, "the row filter shows {} rows of {seen}", some.len());
            let few = serving.panes(vec![selection], expected.len() - 1, CancellationToken::new()).await;
            assert_eq!(few.expect_err("too many rows").kind, Kind::TooLarge);
        }
    }
}
