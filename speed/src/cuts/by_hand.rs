//! Cuts without a lake, set by hand: for tests and benches.
use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use seam_shared::error::Result;
use seam_shared::lock::lock;
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::state::ViewId;
use seam_shared::view::definition::View;
use seam_shared::view::ranks::Ranks;

use super::Cuts;

/// Generations that exist by their cut alone; none at first.
#[derive(Debug, Default)]
pub struct CutsByHand(pub Mutex<BTreeMap<ViewId, OffsetVector>>);

#[async_trait]
impl Cuts for CutsByHand {
    async fn cut(&self, view: &View) -> Result<Option<OffsetVector>> {
        Ok(lock(&self.0).get(&view.id).cloned())
    }
    async fn ranks(&self, _view: &View, _partition: u32) -> Result<(Offset, Ranks)> {
        Ok(Default::default())
    }
}
