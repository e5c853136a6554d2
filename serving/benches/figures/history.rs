//! A view of shop sales with thirty days of history and some 100,000 live groups, as batch and speed layer would have it.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use seam_generator::{Generator, REGIONS, START, TYPES};
use seam_serving::{Serving, Settings, Stores};
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::config::{self, Config};
use seam_shared::lake::roll_up::{Keep, Narrow, Wide};
use seam_shared::lake::store;
use seam_shared::lake::views::{Publication, ViewFile, ViewTable};
use seam_shared::log::{Offset, OffsetVector, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{Committed, Progress, SegmentWrite, StateStore, ViewCommit};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;

use crate::client::Failure;

const CONFIG: &str = "
version: 1
name: bench
sources:
  shop:
    map: { id: $.id, time: $.time }
    fields: { type: string, region: string, product: string, value: decimal(2) }
views:
  sales:
    from: shop
    dimensions: [type, region, product]
    pane: 1m
    windows: [1m, 5m, 1h, 1d]
    measures: { events: count(), value: stats(value) }
metrics:
  value: { view: sales, measure: value }
  events: { view: sales, measure: events }
dashboard: { window: 5m, metrics: [value, events] }
";
/// Days of history; the last one has most events.
pub const DAYS: i64 = 30;
/// What the speed layer holds alone.
const OPEN: Span = Span(5 * Span::MINUTE.0);
/// The speed layer's position at first.
const FIRST: u64 = 1_000_000;

/// The moment of all questions: the end of the last day.
pub fn now() -> Timestamp {
    Timestamp(START * 1_000).plus(Span(DAYS * Span::DAY.0))
}

/// Everything that questions are answered from.
pub struct World {
    pub view: Arc<View>,
    pub state: Arc<MemoryState>,
    pub table: Arc<ViewTable>,
    pub serving: Arc<Serving>,
    /// The last day's rows, hour by hour, as the generation has them.
    pub hours: BTreeMap<Timestamp, Groups>,
    /// Rows of the last day.
    pub rows: u64,
}

/// How many events the days have: most of them, and the last one.
pub struct Sizes {
    pub day: u64,
    pub last: u64,
}

fn partition() -> Partition {
    Partition::new("shop", 0)
}

/// The groups of a day's events, hour by hour.
fn fold(view: &View, day: i64, events: u64, into: &mut BTreeMap<Timestamp, Groups>) {
    let products: Vec<String> = (0..1_000).map(|product| format!("p{product:04}")).collect();
    let pane = view.pane.0 / 1_000;
    for event in Generator::new(7 + day as u64, events) {
        let end = (event.time + day * Span::DAY.0 / 1_000).div_euclid(pane) * pane + pane;
        let end = Timestamp(end * 1_000);
        let groups =
            into.entry(end.ceil(Span::HOUR)).or_insert_with(|| Groups::new(view.dimensions.len(), &view.kinds()));
        lift(groups, end, [TYPES[event.kind], REGIONS[event.region], &products[event.product]], event.cents);
    }
}

/// Adds one event.
pub fn lift(groups: &mut Groups, pane: Timestamp, key: [&str; 3], cents: u32) {
    let mut codes = [0; 3];
    for (d, text) in key.into_iter().enumerate() {
        codes[d] = groups.intern(d, &Value::text(text));
    }
    let row = groups.row(pane, &codes);
    let value = Value::Decimal(i128::from(cents), 2);
    groups.states_mut().iter_mut().for_each(|states| states.lift(row, &value));
}

/// The files of a day in slices of an hour, with their roll-ups, as the batch layer writes them.
pub async fn put_day(
    table: &ViewTable,
    day: Timestamp,
    hours: &BTreeMap<Timestamp, Groups>,
    kept: &BTreeMap<Timestamp, ViewFile>,
) -> Result<Vec<ViewFile>, Failure> {
    let view = table.view().clone();
    let (mut files, mut wide): (Vec<ViewFile>, Wide) = (Vec::new(), Wide::new(&view, Keep::WhatPays));
    for (&end, groups) in hours.range(day.plus(Span(1))..=day.plus(Span::DAY)) {
        let mut rows = groups.rows().clone();
        rows.sort();
        wide.push(&rows);
        if let Some(file) = kept.get(&end) {
            files.push(file.clone());
            continue;
        }
        let start = end.minus(Span::HOUR);
        let mut narrow = Narrow::new(&view, Keep::WhatPays);
        narrow.push(&rows);
        let mut file = table.put(&rows, start, end).await?;
        if let Some(content) = narrow.finish()? {
            file.rollups.push(table.put_roll_up(content, start, end).await?);
        }
        files.push(file);
    }
    if let Some(first) = files.first_mut() {
        first.rollups.retain(|rollup| rollup.level.without.is_some());
        for content in wide.finish()? {
            first.rollups.push(table.put_roll_up(content, day, day.plus(Span::DAY)).await?);
        }
    }
    Ok(files)
}

/// Commits rows of the segment that begins at `start`, for the offsets from the first to the second; `close` ends the segment there.
pub async fn commit(
    world: (&MemoryState, &View),
    start: u64,
    (from, to): (u64, u64),
    rows: Rows,
    close: bool,
) -> Result<(), Failure> {
    let (state, view) = world;
    let begin = Offset(if close { to } else { start });
    let segment = OpenSegment { start: begin, count: to - begin.0, max_timestamp: now() };
    let progress =
        Progress { position: Offset(to), floor: floor(state, view).await?, segment, anchor: None, excluded: None };
    let segments = vec![SegmentWrite { start: Offset(start), end: close.then_some(Offset(to)), rows }];
    let commit = ViewCommit { view: view.id.clone(), from: Offset(from), progress, segments };
    match state.commit(&partition(), vec![commit]).await? {
        Committed::Applied => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

async fn floor(state: &MemoryState, view: &View) -> Result<Offset, Failure> {
    let held = state.snapshot(&partition(), std::slice::from_ref(&view.id)).await?;
    Ok(held.into_iter().flatten().next().ok_or("no state")?.progress.floor)
}

/// Publishes files as what covers the log below `cut`.
pub async fn publish(table: &ViewTable, parent: Option<u64>, cut: u64, files: Vec<ViewFile>) -> Result<u64, Failure> {
    let cut = OffsetVector([(0, Offset(cut))].into_iter().collect());
    let (incarnation, info) = ("bench".to_owned(), serde_json::Map::new());
    Ok(table.publish(Publication { parent, cut, incarnation, files, info }).await?.number)
}

/// Makes the history in `folder`.
pub async fn make(folder: &Path, sizes: &Sizes, settings: Settings) -> Result<World, Failure> {
    let config: Arc<Config> = Arc::new(config::load(CONFIG, "bench.yaml").map_err(|report| report.to_string())?);
    let view = config.views[0].clone();
    let lake: Arc<dyn ObjectStore> = store::open(folder.to_str().ok_or("a folder without a name")?, folder)?;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now()));
    let table = Arc::new(ViewTable::new(lake.clone(), view.clone(), clock.clone()));
    let state = Arc::new(MemoryState::default());
    let begun = Timestamp(START * 1_000);
    let (mut hours, mut files): (BTreeMap<Timestamp, Groups>, Vec<ViewFile>) = Default::default();
    for day in 0..DAYS {
        fold(&view, day, if day == DAYS - 1 { sizes.last } else { sizes.day }, &mut hours);
        if day > 0 {
            // The day before has all its late events now.
            let before = begun.plus(Span((day - 1) * Span::DAY.0));
            files.extend(put_day(&table, before, &hours, &BTreeMap::new()).await?);
            hours = hours.split_off(&begun.plus(Span(day * Span::DAY.0 + 1)));
        }
    }
    let seam = now().minus(OPEN);
    let last = hours.last_entry().ok_or("no hours")?.remove();
    let is_open: Vec<bool> = last.rows().panes.iter().map(|pane| *pane > seam).collect();
    let picks = |open: bool| (0..is_open.len() as u32).filter(|i| is_open[*i as usize] == open).collect::<Vec<_>>();
    let (closed, open) = (last.rows().gather(&picks(false)), last.rows().gather(&picks(true)));
    let mut groups = Groups::like(&closed);
    groups.merge(&closed);
    hours.insert(now(), groups);
    let today = now().minus(Span::DAY);
    files.extend(put_day(&table, today, &hours, &BTreeMap::new()).await?);
    let rows = hours.values().map(|groups| groups.len() as u64).sum();
    publish(&table, None, FIRST, files).await?;
    state.claim(&partition(), &view.id, Offset(FIRST)).await?;
    commit((&state, &view), FIRST, (FIRST, FIRST + 1), open, false).await?;
    let stores = Stores { log: None, state: state.clone(), lake };
    let serving = Arc::new(Serving::new(config, stores, clock, Arc::new(Telemetry::new()), settings));
    serving.refresh().await?;
    Ok(World { view, state, table, serving, hours, rows })
}
