//! What is true: every event, and where segments start. The oracle answers from it, and mutants need it to be wrong on purpose.
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use seam_shared::event::batch::{Excluded, Verdict};
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::log::{Chunk, Offset, OffsetVector, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::ViewId;
use seam_shared::time::Timestamp;
use seam_shared::view::aggregate::State;
use seam_shared::view::aggregate::partial::Lifted;
use seam_shared::view::definition::{Source, View};
use seam_shared::view::groups::Groups;
use seam_shared::view::oracle::{KeptEvent, Oracle};
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;

/// All that happened, known at once and for ever.
#[derive(Debug)]
pub struct Truth {
    /// Every event.
    pub oracle: Oracle,
    /// Segment starts by partition.
    pub boundaries: BTreeMap<Partition, Vec<Offset>>,
    /// The last pane of each view's newest generation.
    pub last_panes: BTreeMap<ViewId, Timestamp>,
    source: Arc<Source>,
    partitions: Vec<Written>,
    records: Vec<(Partition, Offset, Timestamp, Bytes)>,
    /// What became of each record, by partition.
    verdicts: BTreeMap<u32, Vec<(Offset, Verdict)>>,
}

/// One partition as its writer knows it.
#[derive(Debug)]
struct Written {
    decoder: Decoder,
    duplicates: Duplicates,
    open: OpenSegment,
    /// The position after its last record.
    end: Offset,
}

impl Written {
    fn new(source: &Arc<Source>) -> Written {
        Written {
            decoder: Decoder::new(source.clone()),
            duplicates: Duplicates::new(source.duplicates),
            open: OpenSegment::at(Offset(0)),
            end: Offset(0),
        }
    }
}

impl Truth {
    /// Nothing has happened yet.
    pub fn new(source: &Arc<Source>) -> Truth {
        let boundaries = (0..source.partitions).map(|n| (Partition::new(source.name.as_str(), n), vec![Offset(0)]));
        Truth {
            oracle: Oracle::default(),
            boundaries: boundaries.collect(),
            last_panes: BTreeMap::new(),
            source: source.clone(),
            partitions: (0..source.partitions).map(|_| Written::new(source)).collect(),
            records: Vec::new(),
            verdicts: BTreeMap::new(),
        }
    }
    /// The records below `coverage` that count nowhere.
    pub fn excluded(&self, coverage: &OffsetVector) -> Excluded {
        let mut out = Excluded::default();
        for (&number, verdicts) in &self.verdicts {
            let below = verdicts.iter().filter(|(offset, _)| *offset < coverage.get(number));
            below.for_each(|(_, verdict)| out.note(*verdict));
        }
        out
    }
    /// The log lost the records of a partition from `end` on: they never happened.
    pub fn truncate(&mut self, partition: &Partition, end: Offset) {
        self.oracle.events.retain(|event| event.partition != partition.number);
        self.boundaries.insert(partition.clone(), vec![Offset(0)]);
        self.partitions[partition.number as usize] = Written::new(&self.source);
        self.verdicts.remove(&partition.number);
        let records = std::mem::take(&mut self.records);
        let kept = |record: &(Partition, Offset, _, _)| record.0 != *partition || record.1 < end;
        for (of, offset, time, value) in records.into_iter().filter(kept) {
            if of == *partition {
                self.keep(&of, offset, time, value);
            } else {
                self.records.push((of, offset, time, value));
            }
        }
    }
    /// A record was appended.
    pub fn keep(&mut self, partition: &Partition, offset: Offset, time: Timestamp, value: Bytes) {
        let mut chunk = Chunk::at(offset);
        chunk.push(offset, time, &value);
        self.records.push((partition.clone(), offset, time, value));
        let written = &mut self.partitions[partition.number as usize];
        written.end = chunk.next;
        let mut batch = written.decoder.decode(&chunk);
        written.duplicates.mark(&mut batch);
        self.oracle.keep(partition.number, &batch);
        self.verdicts.entry(partition.number).or_default().push((offset, batch.verdicts[0]));
        if let Some(boundary) = written.open.admit(self.source.segments, offset, time) {
            self.boundaries.entry(partition.clone()).or_default().push(boundary);
        }
    }
    /// The position after the last record of a partition.
    pub fn end(&self, number: u32) -> Offset {
        self.partitions[number as usize].end
    }
    /// Segment starts of a partition.
    pub fn starts(&self, partition: &Partition) -> &[Offset] {
        self.boundaries.get(partition).map_or(&[], Vec::as_slice)
    }
    /// A view's rows of the events in some ranges of offsets; those in two ranges twice.
    pub fn rows(&self, view: &View, ranges: &[(u32, Offset, Offset)]) -> Rows {
        let windows = self.oracle.windows(view);
        let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
        for &(partition, from, to) in ranges {
            let within = |offset: Offset| (from..to).contains(&offset);
            let events = self.oracle.events.iter().filter(|e| e.partition == partition && within(e.offset));
            for event in events.filter(|event| event.is_of(view)) {
                let key: Vec<Value> = (0..view.dimensions.len()).map(|d| event.dimension(view, d, &windows)).collect();
                let mut states: Vec<State> = view.kinds().into_iter().map(State::empty).collect();
                for (state, definition) in states.iter_mut().zip(&view.states) {
                    if definition.passes(&|field| event.values[field].clone()) {
                        let value = &definition.measured(&|field| event.values[field].clone());
                        let retracted = definition.retracts(&|field| event.values[field].clone());
                        let KeptEvent { time, offset, .. } = *event;
                        state.lift_event(definition, &Lifted { time, partition, offset, value, retracted });
                    }
                }
                groups.merge_row(view.pane_of(event.time), &key, &states);
            }
        }
        groups.into_rows()
    }
}
