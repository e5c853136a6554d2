//! What the speed layer asks of the lake: how far each view's newest generation reaches.
pub mod by_hand;

use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::HashMap;
use object_store::ObjectStore;

use seam_shared::clock::Clock;
use seam_shared::error::Result;
use seam_shared::event::batch::Excluded;
use seam_shared::lake::views::ViewTable;
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::state::ViewId;
use seam_shared::view::definition::View;
use seam_shared::view::ranks::Ranks;

/// # Contract
/// A stale answer is safe: it only means more to replay. An answer that was never published is not.
#[async_trait]
pub trait Cuts: Send + Sync + std::fmt::Debug {
    /// The offset vector B of a view's newest generation, `None` while it has none.
    async fn cut(&self, view: &View) -> Result<Option<OffsetVector>>;
    /// Of a view with a count window: how many events of each key lie below a boundary of a partition, and that boundary, which is
    /// the newest one that is known. Offset 0 without any while it has no generation.
    async fn ranks(&self, view: &View, partition: u32) -> Result<(Offset, Ranks)>;
    /// What lies below a boundary of a partition and counts nowhere, and that boundary: the newest generation's cut, or offset 0 while there
    /// is none. `None` where the generation does not say.
    async fn excluded(&self, _view: &View, _partition: u32) -> Result<Option<(Offset, Excluded)>> {
        Ok(None)
    }
    /// The newest generation, if it went back to an earlier one: state may begin above its cut then.
    async fn rewound(&self, _view: &View) -> Result<Option<Rewound>> {
        Ok(None)
    }
}

/// A generation that went back to an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewound {
    /// Its number.
    pub generation: u64,
    /// Its B.
    pub cut: OffsetVector,
}

/// The cuts of the generations in a lake.
#[derive(Debug)]
pub struct LakeCuts {
    tables: HashMap<ViewId, ViewTable>,
}

impl LakeCuts {
    /// Looks at the tables of these views.
    pub fn new(store: &Arc<dyn ObjectStore>, views: &[Arc<View>], clock: &Arc<dyn Clock>) -> Self {
        let table = |view: &Arc<View>| ViewTable::new(store.clone(), view.clone(), clock.clone());
        Self { tables: views.iter().map(|view| (view.id.clone(), table(view))).collect() }
    }
}

#[async_trait]
impl Cuts for LakeCuts {
    async fn cut(&self, view: &View) -> Result<Option<OffsetVector>> {
        let Some(table) = self.tables.get(&view.id) else { return Ok(None) };
        Ok(table.latest().await?.map(|generation| generation.cut))
    }
    async fn excluded(&self, view: &View, partition: u32) -> Result<Option<(Offset, Excluded)>> {
        let Some(table) = self.tables.get(&view.id) else { return Ok(None) };
        let Some(newest) = table.latest().await? else { return Ok(Some((Offset(0), Excluded::default()))) };
        Ok(newest.excluded(partition).map(|excluded| (newest.cut.get(partition), excluded)))
    }
    async fn rewound(&self, view: &View) -> Result<Option<Rewound>> {
        let Some(table) = self.tables.get(&view.id) else { return Ok(None) };
        let newest = table.latest().await?.filter(|generation| generation.rolled_back_to().is_some());
        Ok(newest.map(|generation| Rewound { generation: generation.number, cut: generation.cut }))
    }
    async fn ranks(&self, view: &View, partition: u32) -> Result<(Offset, Ranks)> {
        let Some(table) = self.tables.get(&view.id) else { return Ok(Default::default()) };
        let Some(generation) = table.latest().await? else { return Ok(Default::default()) };
        let mut ranks = table.ranks(&generation, &[partition]).await?;
        Ok((generation.cut.get(partition), ranks.remove(&partition).unwrap_or_default()))
    }
}
