//! What a view's table says of one generation, read alone: its commit, not what lies before it.
use serde_json::{Map, Value as Json};

use super::ViewTable;
use crate::error::Result;
use crate::lake::delta::action::Action;
use crate::log::{Offset, OffsetVector};
use crate::time::Timestamp;

/// One generation as its commit tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Its number.
    pub number: u64,
    /// B.
    pub cut: OffsetVector,
    /// When it was published, by its writer's clock.
    pub at: Timestamp,
    /// What its writer said of it: `drift`, `engine`, …
    pub info: Map<String, Json>,
}

impl ViewTable {
    /// What the commit of generation `number` says; `None` where there is none of that number.
    ///
    /// # Errors
    /// `Corrupt` naming the commit that is damaged; `Unavailable`.
    pub async fn published(&self, number: u64) -> Result<Option<Published>> {
        let Some(actions) = self.table.read_commit(number).await?.filter(|_| number > 0) else { return Ok(None) };
        let mut found = Published { number, cut: OffsetVector::default(), at: Timestamp(0), info: Map::new() };
        let prefix = format!("{}/", self.view.source.name);
        for action in actions {
            match action {
                Action::Txn(txn) => {
                    let partition = txn.app_id.strip_prefix(&prefix).and_then(|number| number.parse().ok());
                    if let Some(partition) = partition {
                        found.cut.set(partition, Offset(txn.version));
                    }
                }
                Action::CommitInfo(info) => {
                    let milliseconds = info.get("timestamp").and_then(Json::as_i64).unwrap_or(0);
                    found.at = Timestamp(milliseconds.saturating_mul(1_000));
                    found.info = info;
                }
                Action::Protocol(_) | Action::MetaData(_) | Action::Add(_) | Action::Remove(_) => {}
            }
        }
        Ok(Some(found))
    }
}
