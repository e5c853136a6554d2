//! Rules are asked of views that have caught up, and stay there.
use async_trait::async_trait;
use seam_shared::config::{self, Config};
use seam_shared::lake::editions::Editions;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{EventLog, Offset, Partition};
use seam_shared::state::memory::MemoryState;
use seam_shared::state::{Committed, Progress, Snapshot, StateStore, ViewCommit};
use seam_shared::telemetry::Telemetry;
use seam_shared::view::definition::View;
use seam_shared::view::rows::Rows;

use super::*;
use crate::Stores;
use crate::testing::fresh;

const BUSY: &str = r#"
alerts:
  - name: shop
    rules: [ { alert: Busy, expr: "sum(increase(by_route_events_total[1h])) > 0" } ]
"#;

/// The rules of a configuration over a world whose log holds as much as its events take.
async fn alerts(world: &World, config: Arc<Config>) -> Alerts {
    let log = Arc::new(MemoryLog::new(world.clock.clone()));
    log.open("clicks", 2).await.expect("opened");
    for number in 0..2 {
        log.skip(&Partition::new("clicks", number), world.end(number)).expect("skipped");
    }
    let stores = Stores { log: Some(log), state: world.state.clone(), lake: world.lake.clone() };
    let serving = Serving::new(config, stores, world.clock.clone(), Arc::new(Telemetry::new()), fresh());
    serving.refresh().await.expect("refreshed");
    Alerts::new(Arc::new(serving))
}

/// Lets the speed layer hold a view up to these offsets, and nothing else of it.
async fn fold(world: &World, view: &View, ends: [u64; 2]) {
    for (number, end) in (0..).zip(ends) {
        world.state.forget(&Partition::new("clicks", number), &view.id).await.expect("forgotten");
        world.fold(view, number, 0, end).await;
    }
}

/// A tick of the only group now: the error of its rule, and how many alerts it has.
async fn tick(alerts: &Alerts) -> (Option<String>, usize) {
    let group = &alerts.board().groups[0];
    alerts.tick(group, alerts.serving.clock.now()).await;
    let health = alerts.board().health(&group.rules[0]).expect("it was evaluated");
    (health.error, alerts.board().alerts(&group.rules[0]).len())
}

#[tokio::test]
async fn a_changed_view_is_asked_once_its_new_definition_has_caught_up() {
    let world = World::of(CONFIG, 7);
    let text = format!("{CONFIG}{BUSY}").replace("pane: 1m", "pane: 30s");
    let changed = Arc::new(config::load(&text, "changed.yaml").unwrap_or_else(|report| panic!("{report}")));
    let ends = [world.end(0), world.end(1)];
    fold(&world, &world.view("by_route"), ends).await;
    let editions = Editions::new(world.lake.clone(), world.clock.clone());
    editions.register(&world.config, Span::HOUR).await.expect("registered");
    let view = changed.view("by_route").expect("configured").clone();
    fold(&world, &view, world.cuts(2)).await;
    let alerts = alerts(&world, changed).await;
    assert_ne!(alerts.serving.shown(&view).id, view.id, "the definition before still answers");
    let (error, count) = tick(&alerts).await;
    assert!(error.is_some_and(|error| error.contains("view by_route: has come to clicks/0@")), "it is still folding");
    assert_eq!(count, 0);
    fold(&world, &view, ends).await;
    assert_eq!(tick(&alerts).await, (None, 1));
}

#[tokio::test]
async fn a_view_that_went_back_leaves_alerts_as_they_are() {
    let world = World::of(&format!("{CONFIG}{BUSY}"), 7);
    let (view, ends) = (world.view("by_route"), [world.end(0), world.end(1)]);
    fold(&world, &view, ends).await;
    let before = alerts(&world, world.config.clone()).await;
    assert_eq!(tick(&before).await, (None, 1));
    // The state store has lost it all, and the speed layer has begun anew.
    fold(&world, &view, [0, ends[1]]).await;
    let (error, count) = tick(&before).await;
    let expected = format!("view by_route is behind what it had reached: clicks/0@0,clicks/1@{}", ends[1]);
    assert!(error.as_ref().is_some_and(|error| error.starts_with(&expected)), "{error:?}");
    assert_eq!(count, 1);
    fold(&world, &view, ends).await;
    assert_eq!(tick(&before).await, (None, 1));
    // Another process knows nothing of that, and waits for what the log held when it began.
    fold(&world, &view, [0, ends[1]]).await;
    let (error, _) = tick(&alerts(&world, world.config.clone()).await).await;
    assert!(error.is_some_and(|error| error.contains("has come to clicks/0@0")));
}

/// A state store that never answers when it is asked for the closed segments of one view.
#[derive(Debug)]
struct Slow(Arc<MemoryState>, ViewId);

#[async_trait]
impl StateStore for Slow {
    async fn commit(&self, partition: &Partition, commits: Vec<ViewCommit>) -> Result<Committed> {
        self.0.commit(partition, commits).await
    }
    async fn claim(&self, partition: &Partition, view: &ViewId, boundary: Offset) -> Result<Progress> {
        self.0.claim(partition, view, boundary).await
    }
    async fn snapshot(&self, partition: &Partition, views: &[ViewId]) -> Result<Vec<Option<Snapshot>>> {
        self.0.snapshot(partition, views).await
    }
    async fn segment(&self, partition: &Partition, view: &ViewId, start: Offset) -> Result<Option<Arc<Rows>>> {
        if *view == self.1 { std::future::pending().await } else { self.0.segment(partition, view, start).await }
    }
    async fn trim(&self, partition: &Partition, view: &ViewId, floor: Offset) -> Result<()> {
        self.0.trim(partition, view, floor).await
    }
    async fn forget(&self, partition: &Partition, view: &ViewId) -> Result<()> {
        self.0.forget(partition, view).await
    }
}

#[tokio::test]
async fn a_rule_that_takes_too_long_stops_no_other() {
    let both = r#"
alerts:
  - name: shop
    rules:
      - { alert: Slow, expr: "sum(increase(by_carrier_events_total[1h])) > 0" }
      - { alert: Busy, expr: "sum(increase(by_route_events_total[1h])) > 0" }
server: { prometheus: { timeout: 1s } }
"#;
    let world = World::of(&format!("{CONFIG}{both}"), 7);
    for name in ["by_route", "by_carrier"] {
        world.hold(&world.view(name), 0, None).await;
    }
    let slow = Slow(world.state.clone(), world.view("by_carrier").id.clone());
    let alerts = Alerts::new(world.serving_from(Arc::new(slow), fresh()).await);
    let group = &alerts.board().groups[0];
    alerts.tick(group, NOW).await;
    let errors: Vec<Option<String>> =
        group.rules.iter().map(|rule| alerts.board().health(rule).expect("it was evaluated").error).collect();
    assert!(errors[0].as_ref().is_some_and(|error| error.contains("timed out")), "{errors:?}");
    assert_eq!((&errors[1], alerts.board().alerts(&group.rules[1]).len()), (&None, 1));
}
