//! Reading keyed views: from files and segments only the rows of the keys that a query names, so that memory follows the answer and
//! not the view.
use std::sync::Arc;

use hashbrown::HashMap;
use seam_shared::lake::view_file::by_key::{KeyedFile, Slice, Wanted};
use seam_shared::lake::views::{Generation, ViewFile};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;
use seam_shared::view::expression::{Comparison, Expression};
use seam_shared::view::rows::{Dimension, Rows};
use seam_shared::view::value::Value;
use seam_shared::{Error, Kind, Result};

use crate::Serving;
use crate::batch_view::BatchView;
use crate::block::{Block, ByKey};
use crate::halves::Halves;
use crate::levels::files_in;
use crate::lru::Lru;
use crate::pinned::PinnedView;
use crate::query::{Query, Term};
use crate::scan::Piece;

/// Bytes of footers that are kept: about 0.8 MB for a file of a million rows.
pub const FOOTERS_BYTES: usize = 128 * 1024 * 1024;
/// Files that are read side by side.
const SIDE_BY_SIDE: usize = 8;

/// The footers of keyed views' files, by the files' content hashes.
pub type Footers = Lru<String, Arc<KeyedFile>>;

/// The values that queries name of a keyed view's dimensions: whatever counts for them has one of these. Nothing for other views.
pub fn slices<'q>(queries: impl IntoIterator<Item = &'q Query>, view: &View) -> Vec<Slice> {
    if !view.keyed {
        return Vec::new();
    }
    let terms = queries.into_iter().flat_map(|query| &query.terms).filter(|term| term.view.id == view.id);
    let mut terms = terms.map(named_by);
    let Some(mut common) = terms.next() else { return Vec::new() };
    for named in terms {
        common.retain_mut(|(d, values)| match named.iter().find(|(other, _)| other == d) {
            Some((_, more)) => {
                values.extend(more.iter().filter(|value| !values.contains(value)).cloned().collect::<Vec<_>>());
                true
            }
            None => false,
        });
    }
    common
}

/// The values that a term names, by its slices and by conditions that are nothing but values, those of the caller's rights among
/// them.
fn named_by(term: &Term) -> Vec<Slice> {
    let mut named = term.slices.clone();
    for condition in term.all_conditions() {
        collect(condition, &mut named);
    }
    named
}

fn collect(condition: &Expression, named: &mut Vec<Slice>) {
    let (d, values) = match condition {
        Expression::Compare(d, Comparison::Eq, value) => (*d, vec![value.clone()]),
        Expression::In(d, values) => (*d, values.clone()),
        Expression::And(parts) => return parts.iter().for_each(|part| collect(part, named)),
        Expression::Compare(..) | Expression::IsNull(_) | Expression::Not(_) | Expression::Or(_) => return,
    };
    match named.iter_mut().find(|(other, _)| *other == d) {
        Some((_, held)) => held.retain(|value| values.contains(value)),
        None => named.push((d, values)),
    }
}

/// The rows of a block that are wanted.
pub fn only(block: &Block, wanted: Wanted<'_>) -> Rows {
    match block {
        // rows that nothing was folded into do not even have the view's columns
        _ if block.is_empty() => Rows::default(),
        Block::AsHeld(rows) => only_held(rows, wanted),
        Block::ByKey(by_key) => only_by_key(by_key, wanted),
    }
}

fn only_held(rows: &Rows, Wanted { keys, range: (after, until) }: Wanted<'_>) -> Rows {
    let of_slice = |(d, wanted): &Slice| -> (usize, Vec<bool>) {
        (*d, rows.dimensions[*d].values.iter().map(|value| wanted.contains(value)).collect())
    };
    let counting: Vec<(usize, Vec<bool>)> = keys.iter().map(of_slice).collect();
    let counts = |row: &u32| {
        let row = *row as usize;
        let pane = rows.panes[row];
        after < pane
            && pane <= until
            && counting.iter().all(|(d, counts)| counts[rows.dimensions[*d].codes[row] as usize])
    };
    let picks: Vec<u32> = (0..rows.len() as u32).filter(counts).collect();
    rows.gather(&picks)
}

/// The same of a block whose keys and values are sorted: both are found by halving.
fn only_by_key(block: &ByKey, Wanted { keys, range: (after, until) }: Wanted<'_>) -> Rows {
    let of_slice = |(d, wanted): &Slice| -> (usize, Vec<u32>) {
        let code = |value: &Value| block.dimensions[*d].values.binary_search(value).ok();
        (*d, wanted.iter().filter_map(code).map(|code| code as u32).collect())
    };
    let slices: Vec<(usize, Vec<u32>)> = keys.iter().map(of_slice).collect();
    let first = slices.iter().find(|(d, _)| *d == 0);
    let mut runs: Vec<std::ops::Range<usize>> = match first {
        Some((_, codes)) => codes.iter().map(|&code| block.narrow(0..block.keys(), 0, code)).collect(),
        None => std::iter::once(0..block.keys()).collect(),
    };
    runs.sort_by_key(|run| run.start);
    let counts = |key: &usize| slices.iter().all(|(d, codes)| codes.contains(&block.dimensions[*d].codes[*key]));
    let mut picks: Vec<u32> = Vec::new();
    let mut codes: Vec<Vec<u32>> = vec![Vec::new(); block.dimensions.len()];
    for key in runs.into_iter().flatten().filter(counts) {
        let inside = block.rows(key).filter(|row| after < block.panes[*row] && block.panes[*row] <= until);
        let before = picks.len();
        picks.extend(inside.map(|row| row as u32));
        for (codes, dimension) in codes.iter_mut().zip(&block.dimensions) {
            codes.resize(codes.len() + picks.len() - before, dimension.codes[key]);
        }
    }
    Rows {
        panes: picks.iter().map(|&row| block.panes[row as usize]).collect(),
        dimensions: codes.iter().zip(&block.dimensions).map(|(codes, d)| compact(codes, &d.values)).collect(),
        states: block.states.iter().map(|states| states.gather(&picks)).collect(),
    }
}

/// Codes with no more values than they use.
fn compact(codes: &[u32], values: &[Value]) -> Dimension {
    let mut known: HashMap<u32, u32> = HashMap::new();
    let mut out = Dimension::default();
    for &code in codes {
        let new = *known.entry(code).or_insert_with(|| {
            out.values.push(values[code as usize].clone());
            (out.values.len() - 1) as u32
        });
        out.codes.push(new);
    }
    out
}

impl BatchView {
    /// The footer of a file, verified.
    pub(crate) async fn footer(&self, file: &ViewFile, footers: &Footers) -> Result<Arc<KeyedFile>> {
        if let Some(known) = footers.get(&file.blake3) {
            return Ok(known);
        }
        let opened = Arc::new(KeyedFile::open(self.store().as_ref(), self.view(), file).await?);
        footers.insert(file.blake3.clone(), opened.clone(), opened.memory());
        Ok(opened)
    }
    /// The rows of a keyed view's generation that are wanted: at most about `rows_max`.
    async fn keyed_rows(
        &self,
        generation: &Generation,
        wanted: Wanted<'_>,
        footers: &Footers,
        rows_max: usize,
    ) -> Result<Vec<Arc<Block>>> {
        let files: Vec<&ViewFile> = files_in(generation, wanted.range).iter().filter(|file| file.rows > 0).collect();
        let (mut blocks, mut left) = (Vec::new(), rows_max);
        for some in files.chunks(SIDE_BY_SIDE) {
            let read = some.iter().map(|file| async move {
                let opened = self.footer(file, footers).await?;
                opened.read(self.store().as_ref(), self.view(), wanted, left).await
            });
            for rows in futures::future::join_all(read).await {
                let rows = rows?;
                let (view, most) = (&self.view().name, rows_max);
                left = left.checked_sub(rows.len()).ok_or_else(|| too_many(view, most))?;
                if !rows.is_empty() {
                    blocks.push(Arc::new(Block::unsorted(Arc::new(rows))));
                }
            }
        }
        Ok(blocks)
    }
}

/// The refusal of a read that is no look-up.
pub fn too_many(view: &str, most: usize) -> Error {
    let detail = format!(
        "view {view} is keyed, and the query reads more than {most} rows of it: name its keys, ask for less time, or keep totals \
         in a view of their own"
    );
    Error::new(Kind::TooLarge, detail)
}

impl Serving {
    /// What was pinned of a keyed view, for some keys. One closed segment of the speed layer is looked through at a time.
    ///
    /// # Errors
    /// As [`Serving::halves`].
    pub(crate) async fn keyed_halves(
        &self,
        pinned: &PinnedView,
        wanted: Wanted<'_>,
        with_begin: bool,
    ) -> Result<Halves> {
        let view = &pinned.view;
        let batch_view = self.batch_view(view);
        let mut halves = Halves::default();
        let mut first: Option<Timestamp> = None;
        if let Some(generation) = &pinned.generation {
            let most = self.settings.keyed_rows;
            let blocks = batch_view.keyed_rows(generation, wanted, &self.footers, most).await?;
            halves.batch = blocks.into_iter().map(Piece::whole).collect();
            let oldest = generation.files.iter().filter(|file| file.rows > 0).min_by_key(|file| file.slice_start);
            if let Some(oldest) = oldest.filter(|_| with_begin) {
                first = batch_view.footer(oldest, &self.footers).await?.panes().map(|(first, _)| first);
            }
        }
        let mut add = |block: &Block| {
            first = first.into_iter().chain(block.first_pane().filter(|_| with_begin)).min();
            let rows = only(block, wanted);
            if !rows.is_empty() {
                halves.speed.push(Arc::new(Block::unsorted(Arc::new(rows))));
            }
        };
        self.for_each_segment(pinned, &mut add).await?;
        halves.begin = first.map(|pane| pane.minus(view.pane));
        Ok(halves)
    }
}
