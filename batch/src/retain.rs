//! What is kept of old generations: their files, for readers that still hold one and for looking back.
use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use seam_shared::error::Result;
use seam_shared::lake::views::{Generation, ViewTable};
use seam_shared::time::{Span, Timestamp};

/// Generations that are read at once.
const AT_ONCE: u64 = 100;

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
/// Names are made from contents, so a run that goes on though its lease ran out may have written a retired file again, to publish it. Such
/// a run began from the newest generation, or it will not publish: what was written since then stays.
///
/// # Errors
/// Those of the store; what was deleted stays deleted.
pub async fn retain(store: &dyn ObjectStore, table: &ViewTable, settings: Settings, now: Timestamp) -> Result<usize> {
    let Some(newest) = table.latest().await? else { return Ok(0) };
    let (mut kept, mut retired) = (BTreeSet::new(), BTreeSet::new());
    let mut superseded = now; // when the generation after the one looked at was published
    let mut until = newest.number;
    'all: while until > 0 {
        // Back from one hundred to the one before: each is read once.
        let since = (until - 1) / AT_ONCE * AT_ONCE + 1;
        for generation in table.between(since, until).await?.into_iter().rev() {
            let recent =
                newest.number - generation.number < settings.generations || superseded.plus(settings.age) >= now;
            let names = paths(&generation);
            superseded = generation.published;
            if recent {
                kept.extend(names);
            } else if names.iter().all(|name| kept.contains(name) || retired.contains(name)) {
                break 'all; // an earlier run has been here
            } else {
                retired.extend(names);
            }
        }
        until = since - 1;
    }
    let root = Path::from("views").join(table.view().id.as_ref());
    let log = root.clone().join("_delta_log"); // checkpoints are Parquet, too
    let objects: Vec<object_store::ObjectMeta> = store.list(Some(&root)).try_collect().await?;
    let mut deleted = 0;
    for object in objects {
        let written = Timestamp(object.last_modified.timestamp_micros());
        let is_log = object.location.prefix_match(&log).is_some();
        let is_file = object.location.extension() == Some("parquet") && !is_log;
        let unnamed = !kept.contains(&object.location);
        let is_retired = retired.contains(&object.location) && written.plus(settings.age) < newest.published;
        if is_file && unnamed && (is_retired || written.plus(settings.orphans) < now) {
            store.delete(&object.location).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

fn paths(generation: &Generation) -> BTreeSet<Path> {
    generation.paths().cloned().collect()
}
