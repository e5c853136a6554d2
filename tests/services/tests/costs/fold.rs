//! Events read, decoded, folded and committed by a worker of the speed layer, on stores in memory; and by the plain loop of its bench.
use std::sync::Arc;

use bytes::Bytes;
use seam_generator::Generator;
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::config;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{EventLog, NewRecord};
use seam_shared::state::memory::MemoryState;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Timestamp;
use seam_speed::cuts::by_hand::CutsByHand;
use seam_speed::recover::Places;
use seam_speed::worker::{Limits, Step, Worker};
use tokio::runtime::Runtime;

use crate::{PREPARED, plain};

/// Enough for a segment that closes and one that stays open.
const EVENTS: usize = 80_000;
/// As many events as the generator spreads over its day in the bench.
const EVENTS_A_DAY: u64 = 5_000_000;

const SOURCES: &str = "
version: 1
name: costs
sources:
  shop:
    map: { time: $.ts, type: $.event_type }
    fields: { region: string, product: string, user_id: int, value: decimal(2) }
  shop_by_id:
    map: { id: $.event_id, time: $.ts, type: $.event_type }
    fields: { region: string, product: string, user_id: int, value: decimal(2) }
    dedupe: { horizon: 1h, max_records: 1000000 }
";

/// Makes the events and does `work` with them.
pub fn run(work: &str) {
    let mut lines = Vec::new();
    Generator::new(1, EVENTS_A_DAY).take(EVENTS).for_each(|event| event.write_json(&mut lines));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let log = Arc::new(MemoryLog::new(Arc::new(ManualClock::at(Timestamp(0)))));
    let source = if work.contains("by id") { "shop_by_id" } else { "shop" };
    runtime.block_on(fill(&log, source, &lines));
    let taken = match work {
        PREPARED => EVENTS as u64,
        "plain loop, one view" => plain::run(lines.as_slice(), 1, 0),
        "plain loop, sixteen views" => plain::run(lines.as_slice(), 4, 12),
        "one view" | "one view, duplicates by id" => fold(&runtime, log, source, 1, 0),
        "sixteen views" => fold(&runtime, log, source, 4, 12),
        _ => panic!("no work is called {work:?}"),
    };
    assert_eq!(taken, EVENTS as u64, "{work} takes every event");
}

async fn fill(log: &MemoryLog, topic: &str, lines: &[u8]) {
    log.open(topic, 1).await.expect("a topic");
    let values = Bytes::copy_from_slice(lines);
    let record = |line: &[u8]| NewRecord { partition: 0, value: values.slice_ref(line.trim_ascii_end()) };
    log.append(topic, values.split_inclusive(|&byte| byte == b'\n').map(record).collect())
        .await
        .expect("the log takes the events");
}

/// Runs a worker until it has caught up with the log.
fn fold(runtime: &Runtime, log: Arc<MemoryLog>, source: &str, fine: usize, coarse: usize) -> u64 {
    let view = |number| {
        let product = if number < fine { ", product" } else { "" };
        format!(
            "  v{number}: {{ from: {source}, dimensions: [type, region{product}], pane: 1m, windows: [1m], \
             measures: {{ events: count(), value: stats(value) }} }}\n"
        )
    };
    let views: String = (0..fine + coarse).map(view).collect();
    let config =
        config::load(&format!("{SOURCES}views:\n{views}"), "costs.yaml").unwrap_or_else(|report| panic!("{report}"));
    let places = Places { log, state: Arc::new(MemoryState::default()), cuts: Arc::new(CutsByHand::default()) };
    let source = config.views[0].source.clone();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp(0)));
    let worker = Worker::new(places, source, config.views.clone(), 0, Limits::default());
    let mut worker = worker.metered(Arc::new(Telemetry::new()), clock);
    let mut folded = 0;
    loop {
        match runtime.block_on(worker.step()).expect("log and state are at hand") {
            Step::Recovered => {}
            Step::Folded { records } => folded += records as u64,
            Step::Idle => return folded,
        }
    }
}
