//! From computed files to a published generation: audit, then the one create-only commit at which the view changes.
use std::collections::BTreeMap;

use seam_shared::error::{Kind, Result};
use seam_shared::event::batch::Excluded;
use seam_shared::lake::views::{Generation, Publication, ViewFile, ViewTable, excluded_info};
use seam_shared::log::OffsetVector;
use seam_shared::state::StateStore;
use serde_json::json;

use crate::audit::{self, Drift};

/// What is about to be published.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// The generation it was made from.
    pub parent: Option<&'a Generation>,
    /// B.
    pub cut: &'a OffsetVector,
    /// Which log B counts in.
    pub incarnation: &'a str,
    /// What lies below B and counts nowhere.
    pub excluded: BTreeMap<u32, Excluded>,
    /// All of its files.
    pub files: Vec<ViewFile>,
}

/// Audits and publishes; `None` when another job was first. A drift is told, not hidden by refusing: batch is the truth.
///
/// # Errors
/// Those of the stores; `Unavailable` when it is unknown whether the commit was made.
pub async fn publish(
    table: &ViewTable,
    state: Option<&dyn StateStore>,
    candidate: Candidate<'_>,
) -> Result<Option<(Generation, Drift)>> {
    let Candidate { parent, cut, incarnation, excluded, files } = candidate;
    let drift = match (audit::nothing_to_compare(parent, incarnation, state.is_some()), parent, state) {
        (None, Some(parent), Some(state)) => match audit::audit(table, state, parent, cut, &files).await {
            Ok(drift) => drift,
            Err(error) if error.kind() == Kind::Corrupt => return Err(error),
            Err(error) => Drift::NotAudited(error.to_string()), // a store that is away must not keep batch from publishing
        },
        (Some(reason), ..) => reason,
        (None, ..) => Drift::NotAudited("nothing to compare".to_owned()),
    };
    let mut info = serde_json::Map::new();
    info.insert("engine".to_owned(), json!(concat!("seam-batch ", env!("CARGO_PKG_VERSION"))));
    info.insert("drift".to_owned(), json!(drift));
    info.extend([excluded_info(&excluded)]);
    let publication = Publication {
        parent: parent.map(|generation| generation.number),
        cut: cut.clone(),
        incarnation: incarnation.to_owned(),
        files,
        info,
    };
    match table.publish(publication).await {
        Ok(generation) => Ok(Some((generation, drift))),
        Err(error) if error.kind() == Kind::Conflict => Ok(None),
        Err(error) => Err(error),
    }
}
