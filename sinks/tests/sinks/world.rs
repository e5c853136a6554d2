//! A small world: a log in memory with two partitions, the speed layer over it, generations, serving, and a plain recount.
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use seam_serving::{Serving, Settings, Stores};
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::config::{self, Config, Sink};
use seam_shared::lake::views::{Publication, ViewTable};
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{EventLog, NewRecord, Offset, OffsetVector, Partition};
use seam_shared::outlet::Outlet;
use seam_shared::state::StateStore;
use seam_shared::state::memory::MemoryState;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_sinks::sinker::{Places, Sinker};
use seam_speed::cuts::LakeCuts;
use seam_speed::worker::{Limits, Step, Worker};

pub const START: Timestamp = Timestamp(1_767_225_600_000_000); // 2026-01-01T00:00:00Z

/// A file with one view over one source, and this sink.
pub fn file(measures: &str, sink: &str) -> String {
    format!(
        "version: 1\nsources:\n  clicks:\n    map: {{ id: $.id }}\n    partitions: 2\n    segment: {{ events: 7 }}\n    dedupe: {{ max_records: 1000, horizon: 1d }}\n    \
         fields: {{ page: string, n: int }}\nviews:\n  clicks_per_minute:\n    from: clicks\n    where: type != \"bot\" or type is null\n    \
         dimensions: [page]\n    pane: 1m\n    windows: [1m]\n    measures: {measures}\n    sink: {sink}\n"
    )
}

/// An event that was appended and counts.
#[derive(Debug, Clone)]
struct Counted {
    partition: u32,
    offset: u64,
    time: Timestamp,
    page: String,
    n: i64,
}

/// Events and the largest n, by the start of the window and page.
pub type Count = BTreeMap<(String, String), (u64, i64)>;

pub struct World {
    pub clock: Arc<ManualClock>,
    pub log: Arc<MemoryLog>,
    pub state: Arc<MemoryState>,
    pub lake: Arc<dyn ObjectStore>,
    pub config: Arc<Config>,
    pub serving: Arc<Serving>,
    pub telemetry: Arc<Telemetry>,
    incarnation: String,
    counted: Vec<Counted>,
    seen: Vec<(u32, String)>,
    cut: OffsetVector,
}

impl World {
    pub async fn new(file: &str) -> World {
        let config = Arc::new(config::load(file, "seam.yaml").unwrap_or_else(|report| panic!("{report}")));
        let clock = Arc::new(ManualClock::at(START));
        let log = Arc::new(MemoryLog::new(clock.clone()));
        let incarnation = log.open("clicks", 2).await.expect("a log in memory").incarnation;
        let (state, lake): (Arc<MemoryState>, Arc<dyn ObjectStore>) = (Arc::default(), Arc::new(InMemory::new()));
        let telemetry = Arc::new(Telemetry::new());
        let stores = Stores { log: Some(log.clone()), state: state.clone(), lake: lake.clone() };
        let serving = Serving::new(config.clone(), stores, clock.clone(), telemetry.clone(), Settings::default());
        serving.refresh().await.expect("refreshed");
        let (counted, seen, cut) = (Vec::new(), Vec::new(), OffsetVector::default());
        let serving = Arc::new(serving);
        World { clock, log, state, lake, config, serving, telemetry, incarnation, counted, seen, cut }
    }

    pub fn sink(&self) -> &Sink {
        &self.config.sinks[0]
    }
    pub fn view(&self) -> &Arc<View> {
        &self.sink().view
    }

    pub fn sinker(&self, outlet: Arc<dyn Outlet>) -> Sinker {
        let (serving, log, clock) = (self.serving.clone(), self.log.clone(), self.clock.clone());
        Sinker::new(Places { serving, log, outlet, clock, telemetry: self.telemetry.clone() }, self.sink().clone())
    }

    /// Appends an event; a `page` of `bot` is filtered out.
    pub async fn event(&mut self, partition: u32, id: &str, time: Timestamp, page: &str, n: i64) {
        let kind = if page == "bot" { "bot" } else { "click" };
        let time_text = time.to_rfc3339();
        let value = format!(r#"{{"id":"{id}","time":"{time_text}","type":"{kind}","page":"{page}","n":{n}}}"#);
        let record = NewRecord { partition, value: Bytes::from(value) };
        let offset = self.log.append("clicks", vec![record]).await.expect("a log in memory")[0].1.0;
        let known = self.seen.contains(&(partition, id.to_owned()));
        self.seen.push((partition, id.to_owned()));
        if !known && kind == "click" {
            self.counted.push(Counted { partition, offset, time, page: page.to_owned(), n });
        }
    }

    /// Folds what a partition holds.
    pub async fn fold(&self, partition: u32) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let views = vec![self.view().clone()];
        let cuts = Arc::new(LakeCuts::new(&self.lake, &views, &clock));
        let places = seam_speed::recover::Places { log: self.log.clone(), state: self.state.clone(), cuts };
        let mut worker =
            Worker::new(places, self.view().source.clone(), views, partition, Limits { records: 5, bytes: 1 << 20 });
        while worker.step().await.expect("folded") != Step::Idle {}
    }

    /// Publishes a generation of the closed segments that `pick` keeps, and trims below the one before.
    pub async fn publish(&mut self, mut pick: impl FnMut() -> bool) {
        let (view, clock): (_, Arc<dyn Clock>) = (self.view().clone(), self.clock.clone());
        let table = ViewTable::new(self.lake.clone(), view.clone(), clock);
        let mut all = Groups::new(view.dimensions.len(), &view.kinds());
        let before = table.latest().await.expect("read");
        for file in before.iter().flat_map(|generation| &generation.files) {
            all.merge(&table.get(file).await.expect("read"));
        }
        let mut cut = self.cut.clone();
        for number in 0..2 {
            let partition = Partition::new("clicks", number);
            let held = self.state.snapshot(&partition, std::slice::from_ref(&view.id)).await.expect("held");
            for segment in held.into_iter().flatten().flat_map(|held| held.closed) {
                if segment.start == cut.get(number) && pick() {
                    let rows = self.state.segment(&partition, &view.id, segment.start).await.expect("held");
                    all.merge(&rows.expect("held"));
                    cut.set(number, segment.end);
                }
            }
        }
        if cut == self.cut {
            return;
        }
        let all = all.into_rows();
        let (mut files, mut at) = (Vec::new(), 0);
        while at < all.len() {
            let end = all.panes[at].ceil(Span::DAY);
            let next = all.panes.partition_point(|pane| *pane <= end);
            let picks: Vec<u32> = (at as u32..next as u32).collect();
            let mut slice = all.gather(&picks);
            slice.sort();
            files.push(table.put(&slice, end.minus(Span::DAY), end).await.expect("stored"));
            at = next;
        }
        let (parent, info) = (before.map(|generation| generation.number), serde_json::Map::new());
        let publication = Publication { parent, cut: cut.clone(), incarnation: self.incarnation.clone(), files, info };
        table.publish(publication).await.expect("published");
        for number in 0..2 {
            let partition = Partition::new("clicks", number);
            self.state.trim(&partition, &view.id, self.cut.get(number)).await.expect("trimmed");
        }
        self.cut = cut;
    }

    /// A plain recount of what lies below a coverage, as a stamp spells it.
    pub fn recount(&self, coverage: &str) -> Count {
        let coverage = OffsetVector::parse_text(coverage).expect("a coverage").remove("clicks").unwrap_or_default();
        let mut count = Count::new();
        for event in self.counted.iter().filter(|event| Offset(event.offset) < coverage.get(event.partition)) {
            let start = event.time.floor(self.sink().window).to_rfc3339();
            let group = count.entry((start, event.page.clone())).or_insert((0, i64::MIN));
            *group = (group.0 + 1, group.1.max(event.n));
        }
        count
    }

    /// How far the log goes, as a stamp spells it.
    pub async fn end(&self) -> String {
        let mut end = OffsetVector::default();
        for number in 0..2 {
            end.set(number, self.log.bounds(&Partition::new("clicks", number)).await.expect("bounds").1);
        }
        end.to_text("clicks")
    }
}
