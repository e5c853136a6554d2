//! Blocks: an immutable, scan-ready form of rows, for batch files and speed segments alike; and the cache that keeps them.
use std::ops::Range;
use std::sync::Arc;

use seam_shared::Result;
use seam_shared::log::Offset;
use seam_shared::state::ViewId;
use seam_shared::time::Timestamp;
use seam_shared::view::rows::{Rows, States};
use seam_shared::view::value::Value;

use crate::lru::Lru;

/// Rows that are not changed any more, in one of two forms: in canonical order (pane, then the dimensions' values; codes compare
/// as their values do) with the place of each pane, or as they came.
#[derive(Debug, Default)]
pub struct Block {
    rows: Arc<Rows>,
    /// Each pane's end and its first row, in order; `None` when the rows are as they came.
    panes: Option<Vec<(Timestamp, u32)>>,
    bytes: usize,
}

impl Block {
    /// `rows`, given in any order, in canonical order: what many queries will scan.
    pub fn sorted(mut rows: Rows) -> Block {
        rows.sort();
        let mut panes: Vec<(Timestamp, u32)> = Vec::new();
        for (row, &pane) in rows.panes.iter().enumerate() {
            if panes.last().is_none_or(|(last, _)| *last != pane) {
                panes.push((pane, row as u32));
            }
        }
        let bytes = size_of_rows(&rows) + panes.len() * size_of::<(Timestamp, u32)>();
        Block { rows: Arc::new(rows), panes: Some(panes), bytes }
    }
    /// `rows` as they are: what few queries will scan.
    pub fn unsorted(rows: Arc<Rows>) -> Block {
        Block { bytes: size_of_rows(&rows), rows, panes: None }
    }
    /// Whether its rows are in canonical order.
    pub fn is_sorted(&self) -> bool {
        self.panes.is_some()
    }
    /// Its rows.
    pub fn rows(&self) -> &Arc<Rows> {
        &self.rows
    }
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// The panes of a sorted block that end in `(after, until]`: each pane's end and its rows.
    pub fn panes(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = (Timestamp, Range<usize>)> {
        let panes = self.panes.as_deref().unwrap_or_default();
        let from = panes.partition_point(|(pane, _)| *pane <= after);
        let to = panes.partition_point(|(pane, _)| *pane <= until).max(from);
        (from..to).map(move |i| {
            let end = panes.get(i + 1).map_or(self.rows.len(), |(_, row)| *row as usize);
            (panes[i].0, panes[i].1 as usize..end)
        })
    }
    /// The codes, in order, that any of `values`, which are sorted, have in dimension `d`.
    pub fn codes(&self, d: usize, values: &[Value]) -> Vec<u32> {
        let Some(dimension) = self.rows.dimensions.get(d) else { return Vec::new() };
        if self.is_sorted() {
            let code = |value| dimension.values.binary_search(value).ok().map(|code| code as u32);
            return values.iter().filter_map(code).collect();
        }
        let codes = dimension.values.iter().zip(0..).filter(|(value, _)| values.binary_search(value).is_ok());
        codes.map(|(_, code)| code).collect()
    }
    /// The part of `range`, rows whose dimensions before `d` are all equal, that has `code` in dimension `d`. It is looked for
    /// first where it was found in another pane, since panes are much alike; `hint` holds that place and its length.
    pub fn narrow(&self, range: Range<usize>, d: usize, code: u32, hint: &mut (usize, usize)) -> Range<usize> {
        let codes = &self.rows.dimensions[d].codes[range.clone()];
        let from = boundary(codes, hint.0, |c| c < code);
        let to = boundary(codes, from + hint.1, |c| c <= code);
        *hint = (from, to - from);
        range.start + from..range.start + to
    }
}

/// The number of codes for which `is_before` holds; they come first. The search spreads from `hint`.
fn boundary(codes: &[u32], hint: usize, is_before: impl Fn(u32) -> bool) -> usize {
    let (mut low, mut step) = (hint.min(codes.len()), 1);
    let mut high = low;
    while high < codes.len() && is_before(codes[high]) {
        low = high + 1;
        high = (high + step).min(codes.len());
        step *= 2;
    }
    step = 1;
    while low > 0 && !is_before(codes[low - 1]) {
        high = low - 1;
        low = low.saturating_sub(step);
        step *= 2;
    }
    low + codes[low..high].partition_point(|code| is_before(*code))
}

fn size_of_value(value: &Value) -> usize {
    size_of::<Value>() + if let Value::Str(text) = value { text.len() + 16 } else { 0 }
}

fn size_of_rows(rows: &Rows) -> usize {
    let dimensions =
        rows.dimensions.iter().map(|d| d.codes.len() * 4 + d.values.iter().map(size_of_value).sum::<usize>());
    let states = rows.states.iter().map(|states| match states {
        States::Count(v) => v.len() * 8,
        States::Fixed(v) => std::mem::size_of_val(v.as_slice()),
        // The limbs of an exact sum lie outside the struct; ordinary data has few.
        States::Float(v) => std::mem::size_of_val(v.as_slice()) + v.len() * 48,
    });
    rows.panes.len() * 8 + dimensions.sum::<usize>() + states.sum::<usize>()
}

/// What names an immutable block for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKey {
    /// A file of a generation, by view and content hash.
    File(ViewId, Arc<str>),
    /// A closed segment: view, partition, the state's epoch as this process counts it, and the segment's start and end.
    Segment(ViewId, u32, u64, Offset, Offset),
}

/// Decoded blocks, the least recently used leaving first once they exceed a number of bytes.
#[derive(Debug)]
pub struct BlockCache {
    held: Lru<BlockKey, Arc<Block>>,
    loading: Vec<tokio::sync::Mutex<()>>,
}

impl BlockCache {
    /// A cache of at most `capacity` bytes. A block that is larger than that is answered from but not kept.
    pub fn new(capacity: usize) -> BlockCache {
        BlockCache { held: Lru::new(capacity), loading: (0..64).map(|_| tokio::sync::Mutex::new(())).collect() }
    }
    /// The block, if it is held.
    pub fn get(&self, key: &BlockKey) -> Option<Arc<Block>> {
        self.held.get(key)
    }
    /// The block, loaded if it is not held; callers that want the same one wait for one load. `None` when there is none.
    pub async fn get_or_load<F>(&self, key: &BlockKey, load: F) -> Result<Option<Arc<Block>>>
    where
        F: Future<Output = Result<Option<Block>>>,
    {
        if let Some(block) = self.get(key) {
            return Ok(Some(block));
        }
        let slot = self.held.hash(key) as usize % self.loading.len();
        let _one_loads = self.loading[slot].lock().await;
        if let Some(block) = self.get(key) {
            return Ok(Some(block));
        }
        let Some(block) = load.await?.map(Arc::new) else { return Ok(None) };
        self.held.insert(key.clone(), block.clone(), block.bytes());
        Ok(Some(block))
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.held.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seam_shared::view::definition::StateKind;

    fn rows(n: u64) -> Rows {
        let mut rows = Rows::empty(2, &[StateKind::Count]);
        for i in 0..n {
            let (a, b) = (format!("a{}", (i * 7) % 5), (i * 3 % 4) as i64);
            let row = rows.push_row(Timestamp(60 - 20 * (i as i64 % 3)), &[Value::text(&a), Value::Int(b)]);
            rows.states[0].lift(row, &Value::Null);
        }
        rows
    }

    #[test]
    fn a_boundary_is_found_from_every_hint() {
        let codes: Vec<u32> = [0, 2, 4, 9].into_iter().flat_map(|code| vec![code; 1 + code as usize]).collect();
        for code in 0..11 {
            for hint in 0..codes.len() + 3 {
                assert_eq!(boundary(&codes, hint, |c| c < code), codes.partition_point(|c| *c < code), "{code} {hint}");
            }
        }
        assert_eq!(boundary(&[], 5, |_| true), 0);
    }

    #[test]
    fn narrowing_finds_exactly_the_rows_of_a_key() {
        let block = Block::sorted(rows(60));
        let panes: Vec<_> = block.panes(Timestamp(20), Timestamp(60)).collect();
        assert_eq!(panes.iter().map(|p| p.0.0).collect::<Vec<_>>(), [40, 60]);
        for (_, range) in panes {
            assert_eq!(range.len(), 20);
            for (a, b) in [("a0", 0), ("a4", 3), ("a2", 1)] {
                let mut hint = (17, 3);
                let first = block.narrow(range.clone(), 0, block.codes(0, &[Value::text(a)])[0], &mut hint);
                assert_eq!(first.len(), 4);
                let both = block.narrow(first, 1, block.codes(1, &[Value::Int(b)])[0], &mut (99, 1));
                assert_eq!(both.len(), 1);
                assert_eq!(block.rows().value(0, both.start), &Value::text(a));
                assert_eq!(block.rows().value(1, both.start), &Value::Int(b));
            }
        }
        assert!(block.codes(0, &[Value::text("zz")]).is_empty());
        let values = [Value::text("a0"), Value::text("a3"), Value::text("zz")];
        let unsorted = Block::unsorted(Arc::new(rows(60)));
        for block in [&block, &unsorted] {
            let codes = block.codes(0, &values);
            assert!(codes.is_sorted());
            let mut found: Vec<&Value> =
                codes.iter().map(|&c| &block.rows().dimensions[0].values[c as usize]).collect();
            found.sort();
            assert_eq!(found, [&values[0], &values[1]]);
        }
        assert_eq!(block.panes(Timestamp(60), Timestamp(99)).count(), 0);
        assert_eq!(Block::sorted(Rows::default()).panes(Timestamp(0), Timestamp(99)).count(), 0);
    }
}
