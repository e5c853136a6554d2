//! `seam batch status`: how each view stands, from the lake alone.
use seam_shared::error::Result;
use seam_shared::lake::views::{Generation, ViewTable};
use seam_shared::log::OffsetVector;
use seam_shared::view::definition::View;
use serde::Serialize;

use crate::job::{self, Context};
use crate::lease::{Holder, Lease};

/// How a view stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewStatus {
    /// The view's public name.
    pub view: String,
    /// `name@definition-hash`.
    pub id: String,
    /// The source that it follows, whose positions these are.
    pub source: String,
    /// The newest generation; `None` before the first.
    pub generation: Option<u64>,
    /// The generation whose files it carries, if it was published to go back.
    pub rollback_to: Option<u64>,
    /// B: what it covers.
    pub cut: OffsetVector,
    /// A: what is archived.
    pub archived: OffsetVector,
    /// Offsets that are archived and not covered yet.
    pub behind: u64,
    /// When it was published, RFC 3339.
    pub published: Option<String>,
    /// Seconds since then.
    pub age_seconds: Option<f64>,
    /// Groups in it.
    pub rows: u64,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What its audit found: `{"groups": 0}`, or `{"not_audited": reason}`.
    pub drift: Option<serde_json::Value>,
    /// Who is recomputing it now.
    pub lease: Option<Holder>,
}

/// The status of every view of the context.
///
/// # Errors
/// Those of the lake.
pub async fn status(context: &Context) -> Result<Vec<ViewStatus>> {
    let mut out = Vec::with_capacity(context.views.len());
    for view in &context.views {
        let table = ViewTable::new(context.store.clone(), view.clone(), context.clock.clone());
        let generation = table.latest().await?;
        let archived = match context.archives.get(&view.source.name) {
            Some(archive) => archive.table.latest().await?.positions.clone(),
            None => OffsetVector::default(),
        };
        let cut = generation.as_ref().map(|generation| generation.cut.clone()).unwrap_or_default();
        let behind = archived.0.iter().map(|(&number, end)| end.0.saturating_sub(cut.get(number).0)).sum();
        let files = generation.as_ref().map_or(&[][..], |generation| &generation.files);
        let published = generation.as_ref().map(|generation| generation.published);
        out.push(ViewStatus {
            view: view.name.clone(),
            id: view.id.to_string(),
            source: view.source.name.clone(),
            generation: generation.as_ref().map(|generation| generation.number),
            rollback_to: generation.as_ref().and_then(Generation::rolled_back_to),
            behind,
            archived,
            published: published.map(|at| at.to_rfc3339()),
            age_seconds: published.map(|at| (context.clock.now().0 - at.0) as f64 / 1e6),
            rows: files.iter().map(|file| file.rows).sum(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            drift: generation.as_ref().and_then(|generation| generation.info.get("drift").cloned()),
            lease: holder(context, view).await?,
            cut,
        });
    }
    Ok(out)
}

async fn holder(context: &Context, view: &View) -> Result<Option<Holder>> {
    Lease::holder(&context.store, &context.clock, &job::lease_name(view)).await
}
