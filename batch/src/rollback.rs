//! `seam batch rollback`: a view goes back to an earlier generation, by publishing one more that carries its files.
use std::sync::Arc;

use seam_shared::error::{Error, Result};
use seam_shared::lake::views::ViewTable;
use seam_shared::log::OffsetVector;
use seam_shared::view::definition::View;
use serde::Serialize;
use serde_json::{Map, json};

use crate::job::{Context, lease_name};
use crate::lease::Lease;

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    /// The view's public name.
    pub view: String,
    /// The generation that was published.
    pub generation: u64,
    /// The one whose files it carries.
    pub rollback_to: u64,
    /// What it covers; the speed layer folds again from here.
    pub cut: OffsetVector,
}

/// Lets a view go back to generation `to`, or to the one before what the newest carries. The next run goes on from there.
///
/// # Errors
/// `NotFound` naming the generations that there are to go back to; `Conflict` while a run is at work; those of the lake.
pub async fn rollback(context: &Context, view: &Arc<View>, to: Option<u64>) -> Result<RolledBack> {
    let (store, clock) = (Arc::clone(&context.store), Arc::clone(&context.clock));
    let lease = Lease::take(Arc::clone(&store), Arc::clone(&clock), &lease_name(view)).await?;
    let busy = || Error::conflict(format!("a run of view {} is at work; try again when it is done", view.name));
    let lease = lease.ok_or_else(busy)?;
    let table = ViewTable::new(store, Arc::clone(view), clock);
    let mut info = Map::new();
    info.insert("engine".to_owned(), json!(concat!("seam-batch ", env!("CARGO_PKG_VERSION"))));
    info.insert("drift".to_owned(), json!({"not_audited": "a rollback"}));
    let published = lease.while_doing(table.roll_back(to, info)).await;
    if let Err(error) = lease.release().await {
        tracing::warn!(%error, "a lease could not be given back and will run out");
    }
    let published = published?;
    let rollback_to = published.rolled_back_to().unwrap_or_default();
    let (view, generation) = (view.name.clone(), published.number);
    Ok(RolledBack { view, generation, rollback_to, cut: published.cut })
}
