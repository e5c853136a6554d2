//! An open segment's rows: scanned as the store has them, and sorted, behind the queries' backs, once many queries have.
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use seam_shared::view::rows::Rows;

use crate::block::Block;
use crate::block::key::BlockKey;

/// Scans of unsorted rows after which sorting them costs less than what was spent on scanning already.
const SCANS_BEFORE_SORTING: u32 = 64;

/// The rows of an open segment at one position. Every few milliseconds there is another position, so nothing is prepared that
/// few queries would use, and nothing is copied.
#[derive(Debug)]
pub struct Open {
    rows: Arc<Rows>,
    sorted: Arc<Sorted>,
    /// What they are called once they are sorted.
    name: BlockKey,
}

/// What is known of the sorted form. It outlives the rows themselves: see [`Open::resume`].
#[derive(Debug, Default)]
pub struct Sorted {
    scans: AtomicU32,
    block: OnceLock<Arc<Block>>,
}

impl Open {
    /// The rows as the store handed them out.
    pub fn new(rows: Arc<Rows>, name: BlockKey) -> Open {
        Open::resume(rows, name, Arc::default())
    }
    /// The same rows as an earlier [`Open`] had, with what was done to sort them.
    pub fn resume(rows: Arc<Rows>, name: BlockKey, sorted: Arc<Sorted>) -> Open {
        Open { rows, sorted, name }
    }
    /// What to hand to [`Open::resume`]; it holds on to none of the store's rows.
    pub fn sorted(&self) -> Arc<Sorted> {
        self.sorted.clone()
    }
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The rows for one query to scan. Must be called within a runtime: the sorting is work of its own.
    pub fn block(&self) -> Arc<Block> {
        if let Some(block) = self.sorted.block.get() {
            return block.clone();
        }
        if self.sorted.scans.fetch_add(1, Ordering::Relaxed) == SCANS_BEFORE_SORTING {
            let (sorted, rows, name) = (self.sorted.clone(), self.rows.clone(), self.name.clone());
            let sort = move || sorted.block.set(Arc::new(Block::sorted(Arc::unwrap_or_clone(rows)).named(&name)));
            tokio::task::spawn_blocking(sort);
        }
        Arc::new(Block::unsorted(self.rows.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seam_shared::log::Offset;
    use seam_shared::time::Timestamp;
    use seam_shared::view::definition::StateKind;
    use seam_shared::view::value::Value;

    #[tokio::test]
    async fn the_rows_are_sorted_once_many_have_asked_and_stay_so_while_they_are_the_same() {
        let mut rows = Rows::empty(1, &[StateKind::Count]);
        for name in ["b", "a"] {
            rows.push_row(Timestamp(60), &[Value::text(name)]);
        }
        let rows = Arc::new(rows);
        let name = BlockKey::Segment("clicks@1".into(), 0, 0, Offset(0), Offset(2));
        let open = Open::new(rows.clone(), name.clone());
        for _ in 0..=SCANS_BEFORE_SORTING {
            assert!(open.block().by_key().is_none());
        }
        while open.sorted.block.get().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(open.block().by_key().is_some());
        assert_eq!(open.block().by_key().map(|by_key| by_key.dimensions[0].codes.clone()), Some(vec![0, 1]));
        let again = Open::resume(rows.clone(), name, open.sorted());
        drop(open);
        assert!(again.block().by_key().is_some());
        drop(again);
        assert_eq!(Arc::strong_count(&rows), 1, "nothing keeps the store from changing its rows in place");
    }
}
