//! The archiver and the batch job in plain Rust: the tables' own commit code, but no Parquet plan to compute a view with.
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use seam_shared::clock::Clock;
use seam_shared::error::Result;
use seam_shared::event::batch::Verdict;
use seam_shared::lake::archive::{ArchiveTable, NewFile};
use seam_shared::lake::archive_file::Written;
use seam_shared::lake::views::{Publication, ViewTable};
use seam_shared::log::{EventLog, Offset, OffsetVector, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::StateStore;
use seam_shared::time::Span;
use seam_shared::view::aggregate::State;
use seam_shared::view::definition::{Source, View};
use seam_shared::view::groups::Groups;
use seam_shared::view::oracle::Oracle;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;

use crate::fault::{Truth, pause};
use crate::mutant::Mutant;

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
    /// The events that the archive would hold if files were more than their ranges.
    pub oracle: Arc<Mutex<Oracle>>,
    /// What mutants need to know.
    pub truth: Arc<Mutex<Truth>>,
    /// The wrong design, if any.
    pub mutant: Option<Mutant>,
}

impl Batch {
    async fn archive(&self, source: &Source) -> Result<ArchiveTable> {
        ArchiveTable::open(self.lake.clone(), source, &self.incarnation, self.clock.clone()).await
    }

    /// Archives up to `records` records of one partition, as far as segments are closed.
    pub async fn archive_once(&self, source: &Source, number: u32, records: usize) -> Result<()> {
        let table = self.archive(source).await?;
        let partition = Partition::new(source.name.as_str(), number);
        let from = match table.latest().await?.position(number) {
            Some(position) => position,
            None => self.log.bounds(&partition).await?.0,
        };
        let chunk = self.log.read(&partition, from, records, usize::MAX).await?;
        let mut open = OpenSegment::at(from);
        let mut boundaries = vec![from];
        for record in chunk.iter() {
            boundaries.extend(open.admit(source.segments, record.offset, record.timestamp));
        }
        let Some(to) = boundaries.pop().filter(|_| !boundaries.is_empty()) else { return Ok(()) };
        let rows = chunk.iter().filter(|record| record.offset < to).count() as u64;
        let bytes = Bytes::from(format!("{partition} {from} {to}"));
        let content = Written { bytes, rows, days: Default::default(), times: None };
        table.commit_file(NewFile { partition: number, from, to, boundaries, content, anchor: None }).await?;
        Ok(())
    }

    /// Recomputes a view from the archive and publishes it, if the archive has grown.
    pub async fn publish_once(&self, view: &Arc<View>) -> Result<()> {
        let snapshot = self.archive(&view.source).await?.latest().await?;
        let table = ViewTable::new(self.lake.clone(), view.clone(), self.clock.clone());
        let parent = table.latest().await?;
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
        let rows = self.recompute(view, &ranges);
        let last = rows.panes.last().copied();
        let mut files = Vec::new();
        if let (Some(&first), Some(last)) = (rows.panes.first(), last) {
            files.push(table.put(&rows, first.minus(view.pane).floor(Span::DAY), last.ceil(Span::DAY)).await?);
        }
        if self.mutant == Some(Mutant::ClearBeforePublish) {
            self.clear(view, &cut).await?;
        }
        let publication = Publication {
            parent: parent.map(|generation| generation.number),
            cut,
            incarnation: self.incarnation.clone(),
            files,
            info: serde_json::Map::new(),
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

    fn recompute(&self, view: &View, ranges: &[(u32, Offset, Offset)]) -> Rows {
        let oracle = self.oracle.lock().expect("never poisoned");
        let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
        for &(partition, from, to) in ranges {
            let within = oracle.events.iter().filter(|e| e.partition == partition && (from..to).contains(&e.offset));
            for event in within.filter(|event| event.verdict == Verdict::Counts) {
                if view.filter.as_ref().is_some_and(|f| f.matches(&|i| event.values[i].clone()) != Some(true)) {
                    continue;
                }
                let key: Vec<Value> = view.dimensions.iter().map(|d| event.values[d.field].clone()).collect();
                let mut states: Vec<State> = view.kinds().into_iter().map(State::empty).collect();
                for (state, definition) in states.iter_mut().zip(&view.states) {
                    state.lift(&definition.field.map_or(Value::Null, |field| event.values[field].clone()));
                }
                groups.merge_row(view.pane_of(event.time), &key, &states);
            }
        }
        let mut rows = groups.into_rows();
        rows.sort();
        rows
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
