//! The batch job in plain Rust: the tables' own commit code, but no plan to compute a view with.
use std::sync::{Arc, Mutex};

use object_store::ObjectStore;
use object_store::path::Path;
use seam_shared::clock::Clock;
use seam_shared::error::Result;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::views::{Publication, ViewTable, excluded_info};
use seam_shared::log::{EventLog, Offset, OffsetVector, Partition};
use seam_shared::state::StateStore;
use seam_shared::time::Span;
use seam_shared::view::definition::{Source, View};

use super::mutant::Mutant;
use super::truth::Truth;
use super::turn::pause;

/// What archivers and jobs share.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The lake.
    pub lake: Arc<dyn ObjectStore>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The state, only for the mutant that clears it.
    pub state: Arc<dyn StateStore>,
    /// Names files.
    pub clock: Arc<dyn Clock>,
    /// The log's incarnation.
    pub incarnation: String,
    /// The events, to recompute views from those in the ranges of archived files.
    pub truth: Arc<Mutex<Truth>>,
    /// The wrong design, if any.
    pub mutant: Option<Mutant>,
}

impl Batch {
    /// The archive of the source.
    ///
    /// # Errors
    /// Those of the lake.
    pub async fn archive(&self, source: &Source) -> Result<ArchiveTable> {
        ArchiveTable::open(self.lake.clone(), source, &self.incarnation, self.clock.clone()).await
    }

    /// Recomputes a view from the archive and publishes it, if the archive has grown.
    ///
    /// # Errors
    /// Those of the lake.
    pub async fn publish_once(&self, archive: &ArchiveTable, table: &ViewTable) -> Result<()> {
        let view = table.view();
        // In this order, for a generation that went back to be followed by one that covers what the one before it did.
        let parent = table.latest().await?;
        let snapshot = archive.latest().await?;
        let cut = snapshot.positions.clone();
        if cut.0.is_empty() || parent.as_ref().is_some_and(|parent| parent.cut == cut || !cut.covers(&parent.cut)) {
            return Ok(());
        }
        pause().await;
        let mut ranges: Vec<(u32, Offset, Offset)> =
            snapshot.files.iter().map(|file| (file.partition, file.from, file.to)).collect();
        if self.mutant == Some(Mutant::ListingIsArchive) {
            ranges = self.listing(&view.source).await?;
        }
        let rows = self.truth.lock().expect("never poisoned").rows(view, &ranges);
        let last = rows.panes.last().copied();
        let mut files = Vec::new();
        if let (Some(&first), Some(last)) = (rows.panes.first(), last) {
            files.push(table.put(&rows, first.minus(view.pane).floor(Span::DAY), last.ceil(Span::DAY)).await?);
        }
        if self.mutant.is_some_and(Mutant::clears_early) {
            self.clear(view, &cut).await?;
        }
        let publication = Publication {
            parent: parent.map(|generation| generation.number),
            cut,
            incarnation: self.incarnation.clone(),
            files,
            info: [excluded_info(&snapshot.excluded())].into_iter().collect(),
        };
        table.publish(publication).await?;
        let mut truth = self.truth.lock().expect("never poisoned");
        truth.last_panes.extend(last.map(|last| (view.id.clone(), last)));
        Ok(())
    }

    async fn clear(&self, view: &View, cut: &OffsetVector) -> Result<()> {
        for (&number, &floor) in &cut.0 {
            let partition = Partition::new(view.source.name.as_str(), number);
            self.state.trim(&partition, &view.id, floor).await?;
        }
        Ok(())
    }

    /// The ranges in the names of all files that lie in the archive, committed or not.
    async fn listing(&self, source: &Source) -> Result<Vec<(u32, Offset, Offset)>> {
        let root = Path::from("archive").join(source.name.as_str());
        let found = self.lake.list_with_delimiter(Some(&root)).await?;
        let range = |name: &str| {
            let mut parts = name.split('-');
            let mut number = || parts.next()?.parse::<u64>().ok();
            Some((u32::try_from(number()?).ok()?, Offset(number()?), Offset(number()?)))
        };
        Ok(found.objects.iter().filter_map(|object| range(object.location.filename()?)).collect())
    }
}
