//! What is kept of old generations: their files, for readers that still hold one and for looking back.
use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_shared::error::{Kind, Result};
use seam_shared::lake::views::{Generation, ViewTable};
use seam_shared::time::{Span, Timestamp};

/// How much is kept at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Newest generations.
    pub generations: u64,
    /// Generations that were the newest one within this time.
    pub age: Span,
    /// Files that no generation names: they may be of a run that still goes on.
    pub orphans: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self { generations: 3, age: Span::DAY, orphans: Span(7 * Span::DAY.0) }
    }
}

/// Deletes the files of a view that no kept generation names, and answers with how many. The caller holds the view's lease.
///
/// # Errors
/// Those of the store; what was deleted stays deleted.
pub async fn retain(store: &dyn ObjectStore, table: &ViewTable, settings: Settings, now: Timestamp) -> Result<usize> {
    let Some(newest) = table.latest().await? else { return Ok(0) };
    let (mut kept, mut retired) = (BTreeSet::new(), BTreeSet::new());
    let mut superseded = now; // when the generation after the one looked at was published
    for number in (1..=newest.number).rev() {
        let generation = match table.at(number).await {
            Ok(generation) => generation,
            Err(error) if error.kind() == Kind::NotFound => break,
            Err(error) => return Err(error),
        };
        let recent = newest.number - number < settings.generations || superseded.plus(settings.age) >= now;
        let names = paths(&generation);
        superseded = generation.published;
        if recent {
            kept.extend(names);
        } else if names.iter().all(|name| kept.contains(name) || retired.contains(name)) {
            break; // an earlier run has been here
        } else {
            retired.extend(names);
        }
    }
    let root = Path::from("views").join(table.view().id.as_ref());
    let objects: Vec<object_store::ObjectMeta> = store.list(Some(&root)).try_collect().await?;
    let mut deleted = 0;
    for object in objects {
        let written = Timestamp(object.last_modified.timestamp_micros());
        let is_file = object.location.extension() == Some("parquet");
        let unnamed = !kept.contains(&object.location);
        if is_file && unnamed && (retired.contains(&object.location) || written.plus(settings.orphans) < now) {
            store.delete(&object.location).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

fn paths(generation: &Generation) -> BTreeSet<Path> {
    generation.paths().cloned().collect()
}
