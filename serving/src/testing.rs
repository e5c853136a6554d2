//! A small world for tests: seeded events in two partitions, and halves that hold them up to any chosen boundaries.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use object_store::memory::InMemory;
use seam_shared::clock::{Clock, ManualClock};
use seam_shared::config::{self, Config};
use seam_shared::event::batch::Excluded;
use seam_shared::lake::roll_up::{Keep, Narrow, Wide};
use seam_shared::lake::views::{Publication, ViewTable, excluded_info};
use seam_shared::log::{Offset, OffsetVector, Partition};
use seam_shared::segment::OpenSegment;
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{Committed, Progress, SegmentWrite, StateStore, ViewCommit};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::partial::Lifted;
use seam_shared::view::definition::View;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;
use tower::ServiceExt;

use crate::{Serving, Settings, Stores};

pub const CONFIG: &str = r#"
version: 1
name: test
sources:
  clicks:
    map: { id: $.id, time: $.time }
    partitions: 2
    fields: { carrier: string, origin: string, price: "decimal(2)", delay: float }
views:
  by_route:
    from: clicks
    dimensions: [carrier, origin]
    pane: 1m
    windows: [5m, 1h]
    measures: { events: count(), price: stats(price), delay: stats(delay) }
  by_carrier:
    from: clicks
    dimensions: [carrier]
    pane: 5m
    windows: [5m, 1h]
    measures: { events: count() }
metrics:
  events.total: { view: by_route, measure: events, help: all events }
  errors.total: { view: by_route, measure: events, where: origin = "eu:west" }
  errors.rate: { ratio: [errors.total, events.total] }
  share: { ratio: [errors.total, carriers] }
  carriers: { view: by_carrier, measure: events }
  spend: { view: by_route, measure: price, unit: euros }
  events.rate: { rate: events.total, per: 1h }
  processing.latency: { view: by_route, measure: delay, unit: seconds }
dashboard: { window: 5m, metrics: [events.total, errors.rate, processing.latency] }
"#;

/// One event that counts.
#[derive(Debug, Clone)]
pub struct Event {
    pub partition: u32,
    pub offset: u64,
    pub time: Timestamp,
    pub carrier: Value,
    pub origin: Value,
    pub price: Option<i128>,
    pub delay: Option<f64>,
}

/// The moment that the world's events lead up to.
pub const NOW: Timestamp = Timestamp(1_767_225_600_000_000 + 30_000_000);

/// A seeded sequence of numbers.
pub struct Dice(pub u64);

impl Dice {
    pub fn pick(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

pub struct World {
    pub config: Arc<Config>,
    pub events: Vec<Event>,
    /// Per partition, the segment boundaries, the last being the log's end.
    pub boundaries: Vec<Vec<u64>>,
    pub state: Arc<MemoryState>,
    pub lake: Arc<InMemory>,
    pub clock: Arc<ManualClock>,
    /// The name of the log that generations are made from.
    pub incarnation: String,
    /// Whether generations have roll-ups.
    pub rolled: bool,
}

/// What is said to lie below an offset and to count nowhere: any function of it.
pub fn excluded(offset: u64) -> Excluded {
    Excluded { invalid: offset / 7, duplicates: offset / 5 }
}

impl World {
    pub fn new(seed: u64) -> World {
        World::of(CONFIG, seed)
    }
    /// The same events under another configuration, of the same source.
    pub fn of(config: &str, seed: u64) -> World {
        let config = config::load(config, "test.yaml").unwrap_or_else(|report| panic!("{report}"));
        let mut dice = Dice(seed * 2 + 1);
        let (mut events, mut boundaries) = (Vec::new(), Vec::new());
        for partition in 0..2 {
            let mut cuts = vec![0];
            let mut offset = 0;
            for _ in 0..60 {
                offset += 1 + dice.pick(3) / 2;
                if dice.pick(8) == 0 {
                    cuts.push(offset);
                }
                events.push(event(&mut dice, partition, offset));
            }
            cuts.push(offset + 1);
            boundaries.push(cuts);
        }
        World {
            config: Arc::new(config),
            events,
            boundaries,
            state: Arc::default(),
            lake: Arc::new(InMemory::new()),
            clock: Arc::new(ManualClock::at(NOW)),
            incarnation: "log-1".to_owned(),
            rolled: true,
        }
    }
    /// A world of which both halves hold a part.
    pub async fn halved(seed: u64) -> World {
        let world = World::new(seed);
        for name in ["by_route", "by_carrier"] {
            world.hold(&world.view(name), 1, Some(world.cuts(2))).await;
        }
        world
    }
    /// Lets the speed layer hold a view from a boundary to the end, and publishes a generation with these cuts.
    pub async fn hold(&self, view: &Arc<View>, floor: usize, cuts: Option<[u64; 2]>) {
        for partition in 0..2 {
            self.fold(view, partition, floor, self.end(partition)).await;
        }
        if let Some(cuts) = cuts {
            self.publish(view, cuts).await;
        }
    }
    /// The boundary of that number in each partition.
    pub fn cuts(&self, number: usize) -> [u64; 2] {
        [0, 1].map(|partition: usize| self.boundaries[partition][number])
    }
    pub fn view(&self, name: &str) -> Arc<View> {
        self.config.view(name).expect("configured").clone()
    }
    pub fn rows(&self, view: &View, partition: u32, from: u64, to: u64) -> Rows {
        let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
        for event in self.events.iter().filter(|e| e.partition == partition && (from..to).contains(&e.offset)) {
            let value = |field: usize| event.value(&view.source.fields[field].name);
            if view.filter.as_ref().is_some_and(|filter| filter.matches(&value) != Some(true)) {
                continue;
            }
            let key: Vec<u32> =
                (0..view.dimensions.len()).map(|d| groups.intern(d, &value(view.dimensions[d].field))).collect();
            let row = groups.row(view.pane_of(event.time), &key);
            for (state, column) in view.states.iter().zip(groups.states_mut()) {
                let of = |field: usize| value(field);
                if state.passes(&of) {
                    let (time, offset, value) = (event.time, Offset(event.offset), &state.measured(&of));
                    let retracted = state.retracts(&of);
                    column.lift_event(row, state, &Lifted { time, partition, offset, value, retracted });
                }
            }
        }
        groups.into_rows()
    }
    /// Lets the speed layer hold `[boundaries[floor], position)` of a view.
    pub async fn fold(&self, view: &View, partition: u32, floor: usize, position: u64) {
        let place = Partition::new("clicks", partition);
        let cuts = &self.boundaries[partition as usize];
        let start = cuts[floor];
        self.state.claim(&place, &view.id, Offset(start)).await.expect("claimed");
        let (mut segments, mut open) = (Vec::new(), start);
        for &cut in cuts[floor + 1..cuts.len() - 1].iter().filter(|cut| **cut < position) {
            let rows = self.rows(view, partition, open, cut);
            segments.push(SegmentWrite { start: Offset(open), end: Some(Offset(cut)), rows });
            open = cut;
        }
        let rows = self.rows(view, partition, open, position);
        segments.push(SegmentWrite { start: Offset(open), end: None, rows });
        let segment = OpenSegment { start: Offset(open), count: position - open, max_timestamp: NOW };
        let progress = Progress {
            position: Offset(position),
            floor: Offset(start),
            segment,
            anchor: None,
            excluded: Some(excluded(position)),
        };
        let commit = ViewCommit { view: view.id.clone(), from: Offset(start), progress, segments };
        let committed = self.state.commit(&place, vec![commit]).await.expect("committed");
        assert_eq!(committed, Committed::Applied);
    }
    /// Publishes the next generation of a view with these cuts, as one file an hour.
    pub async fn publish(&self, view: &Arc<View>, cuts: [u64; 2]) {
        let lake: Arc<dyn object_store::ObjectStore> = self.lake.clone();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let table = ViewTable::new(lake, view.clone(), clock);
        let mut all = Groups::new(view.dimensions.len(), &view.kinds());
        let mut cut = OffsetVector::default();
        for (partition, to) in (0..).zip(cuts) {
            all.merge(&self.rows(view, partition, 0, to));
            cut.set(partition, Offset(to));
        }
        let all = all.into_rows();
        let (mut files, mut days) = (Vec::new(), BTreeMap::new());
        let mut at = 0;
        while at < all.len() {
            let end = all.panes[at].ceil(Span::HOUR);
            let next = all.panes.partition_point(|pane| *pane <= end);
            let picks: Vec<u32> = (at as u32..next as u32).collect();
            let mut slice = all.gather(&picks);
            slice.sort();
            let mut file = table.put(&slice, end.minus(Span::HOUR), end).await.expect("stored");
            let mut narrow = Narrow::new(view, Keep::All);
            narrow.push(&slice);
            if let Some(content) = narrow.finish().expect("rows of the view").filter(|_| self.rolled) {
                file.rollups.push(table.put_roll_up(content, file.slice_start, end).await.expect("stored"));
            }
            days.entry(file.slice_start.floor(Span::DAY)).or_insert_with(|| Wide::new(view, Keep::All)).push(&slice);
            files.push(file);
            at = next;
        }
        for (day, wide) in days.into_iter().filter(|_| self.rolled) {
            let first = files.iter_mut().find(|file| file.slice_start >= day).expect("a day has files");
            for content in wide.finish().expect("rows of the view") {
                first.rollups.push(table.put_roll_up(content, day, day.plus(Span::DAY)).await.expect("stored"));
            }
        }
        let parent = table.latest().await.expect("read").map(|g| g.number);
        let below = cut.0.iter().map(|(&number, position)| (number, excluded(position.0))).collect();
        let info = [excluded_info(&below)].into_iter().collect();
        let publication = Publication { parent, cut, incarnation: self.incarnation.clone(), files, info };
        table.publish(publication).await.expect("published");
    }
    pub async fn serving(&self) -> Arc<Serving> {
        self.serving_with(fresh()).await
    }
    pub async fn serving_with(&self, settings: Settings) -> Arc<Serving> {
        self.serving_from(self.state.clone(), settings).await
    }
    pub async fn serving_from(&self, state: Arc<dyn StateStore>, settings: Settings) -> Arc<Serving> {
        let stores = Stores { log: None, state, lake: self.lake.clone() };
        let telemetry = Arc::new(Telemetry::new());
        let serving = Serving::new(self.config.clone(), stores, self.clock.clone(), telemetry, settings);
        serving.refresh().await.expect("refreshed");
        Arc::new(serving)
    }
    pub fn end(&self, partition: u32) -> u64 {
        *self.boundaries[partition as usize].last().expect("never empty")
    }
}

fn event(dice: &mut Dice, partition: u32, offset: u64) -> Event {
    let carriers = [Value::text("UA"), Value::text("AA"), Value::text("a,b"), Value::Null];
    let origins = [Value::text("eu:west"), Value::text("null"), Value::text("JFK"), Value::Null, Value::text("\"q\"")];
    let late = dice.pick(3 * 3600) as i64 * 1_000_000;
    Event {
        partition,
        offset,
        time: Timestamp(NOW.0 - late),
        carrier: carriers[dice.pick(4) as usize].clone(),
        origin: origins[dice.pick(5) as usize].clone(),
        price: (dice.pick(4) > 0).then(|| i128::from(dice.pick(20_000)) - 10_000),
        delay: match dice.pick(8) {
            0 => None,
            1 => Some(f64::NAN),
            2 => Some(f64::INFINITY),
            _ => Some(dice.pick(64) as f64 / 4.0 - 4.0),
        },
    }
}

impl Event {
    /// A field's value.
    pub fn value(&self, field: &str) -> Value {
        match field {
            "carrier" => self.carrier.clone(),
            "origin" => self.origin.clone(),
            "price" => self.price.map_or(Value::Null, |price| Value::Decimal(price, 2)),
            "delay" => self.delay.map_or(Value::Null, Value::Float),
            "type" => Value::text(["view", "buy", "view", "other"][self.offset as usize % 4]),
            _ => Value::Null,
        }
    }
}

/// Settings with which each query looks anew.
pub fn fresh() -> Settings {
    Settings { share_snapshots_for: Duration::ZERO, ..Settings::default() }
}

/// The JSON at a URI.
pub async fn ask(router: &Router, uri: &str) -> serde_json::Value {
    json(get(router, uri).await).await
}

pub async fn get(router: &Router, uri: &str) -> Response<Body> {
    request(router, Request::get(uri).body(Body::empty()).expect("a request")).await
}

pub async fn request(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.expect("routers do not fail")
}

pub async fn bytes(response: Response<Body>) -> Vec<u8> {
    axum::body::to_bytes(response.into_body(), 1 << 24).await.expect("a body").to_vec()
}

pub async fn json(response: Response<Body>) -> serde_json::Value {
    let body = bytes(response).await;
    serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&body)))
}
