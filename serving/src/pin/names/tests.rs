//! A changed view: its name is answered by the definition before until the new one is whole, and the stamp says by which.
use std::sync::Arc;
use std::time::Duration;

use seam_shared::config::{self, Config};
use seam_shared::lake::editions::Editions;
use seam_shared::log::Partition;
use seam_shared::state::StateStore;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Span;
use seam_shared::view::definition::View;

use crate::http::router;
use crate::testing::{CONFIG, World, get, json};
use crate::{Serving, Settings, Stores};

const TOTAL: &str = "/api/analytics/metrics/events.total?window=4h";
const SHARE: &str = "/api/analytics/metrics/share?window=4h";

/// The same sources with another pane of `by_route`.
fn changed() -> Arc<Config> {
    let text = CONFIG.replace("pane: 1m", "pane: 30s");
    Arc::new(config::load(&text, "changed.yaml").unwrap_or_else(|report| panic!("{report}")))
}

async fn serving(world: &World, config: &Arc<Config>) -> Arc<Serving> {
    let stores = Stores { log: None, state: world.state.clone(), lake: world.lake.clone() };
    let settings = Settings { share_snapshots_for: Duration::ZERO, ..Settings::default() };
    let serving = Serving::new(config.clone(), stores, world.clock.clone(), Arc::new(Telemetry::new()), settings);
    serving.refresh().await.expect("refreshed");
    Arc::new(serving)
}

async fn fold(world: &World, view: &View, ends: [u64; 2]) {
    for (partition, end) in (0..).zip(ends) {
        world.state.forget(&Partition::new("clicks", partition), &view.id).await.expect("forgotten");
        world.fold(view, partition, 0, end).await;
    }
}

async fn id_of(router: &axum::Router, uri: &str) -> String {
    let body = json(get(router, uri).await).await;
    let views = body["meta"]["stamp"]["views"].as_array().expect("views").clone();
    let by_route = views.iter().find(|view| view["view"] == "by_route").expect("the view");
    by_route["id"].as_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_changed_view_takes_its_name_over_when_it_is_whole_and_keeps_it() {
    let world = World::new(21);
    let (old, config) = (world.view("by_route"), changed());
    let new = config.view("by_route").expect("configured").clone();
    assert_ne!(old.id, new.id);
    assert_eq!(world.view("by_carrier").id, config.view("by_carrier").expect("configured").id);
    let ends = [world.end(0), world.end(1)];
    fold(&world, &old, ends).await;
    fold(&world, &world.view("by_carrier"), ends).await;
    let editions = Editions::new(world.lake.clone(), world.clock.clone());
    editions.register(&world.config, Span::HOUR).await.expect("registered");

    // nobody has begun with the new one, nor even registered it
    let serving = serving(&world, &config).await;
    let router = router(serving.clone());
    let response = get(&router, TOTAL).await;
    assert_eq!(response.status(), 200);
    let told = response.headers()["seam-building"].to_str().expect("text").to_owned();
    assert_eq!(told, format!("{}=0/{}", new.id, ends[0] + ends[1]));
    let first = json(response).await;
    assert_eq!(first["points"][0]["value"], world.events.len());
    assert_eq!(first["meta"]["stamp"]["views"][0]["id"], old.id.as_ref());
    assert_eq!(first["meta"]["stamp"]["views"][0]["building"], new.id.as_ref());
    assert_eq!(id_of(&router, SHARE).await, *old.id, "also where another view is not changed");

    // it is being built, and its answer would be exact, but it would go back
    editions.register(&config, Span::HOUR).await.expect("registered");
    fold(&world, &new, [world.boundaries[0][2], world.boundaries[1][1]]).await;
    serving.refresh().await.expect("refreshed");
    assert_eq!(id_of(&router, TOTAL).await, *old.id);
    let list = json(get(&router, "/api/analytics/generations/by_route").await).await;
    assert_eq!((&list["id"], &list["building"]["id"]), (&old.id.as_ref().into(), &new.id.as_ref().into()));
    let reached = format!("clicks/0@{},clicks/1@{}", world.boundaries[0][2], world.boundaries[1][1]);
    assert_eq!(list["building"]["reached"], reached);
    let metrics = json(get(&router, "/api/analytics/metrics").await).await;
    let listed = metrics["metrics"].as_array().expect("a list").iter().find(|m| m["name"] == "events.total");
    assert_eq!(listed.expect("listed")["views"][0]["id"], old.id.as_ref());

    // it is whole
    fold(&world, &new, ends).await;
    serving.refresh().await.expect("refreshed");
    let response = get(&router, TOTAL).await;
    assert!(!response.headers().contains_key("seam-building"));
    let body = json(response).await;
    assert_eq!(body["meta"]["stamp"]["views"][0]["id"], new.id.as_ref());
    assert!(body["meta"]["stamp"]["views"][0]["building"].is_null());
    assert_eq!(body["points"][0]["value"], world.events.len());
    assert_eq!(id_of(&router, SHARE).await, *new.id);
    let ready = get(&router, "/readyz").await;
    assert_eq!(ready.status(), 200);

    // from now on the name is its own, whatever is lost
    fold(&world, &new, [world.boundaries[0][1], world.boundaries[1][1]]).await;
    serving.refresh().await.expect("refreshed");
    assert_eq!(id_of(&router, TOTAL).await, *new.id);

    // the editions before are retired: a process that starts then knows of the new one only
    editions.retire(0).await.expect("retired");
    let late = serving_of(&world, &config).await;
    assert_eq!(id_of(&late, TOTAL).await, *new.id);
}

async fn serving_of(world: &World, config: &Arc<Config>) -> axum::Router {
    router(serving(world, config).await)
}

#[tokio::test]
async fn of_several_definitions_the_newest_that_is_whole_answers() {
    let world = World::new(22);
    let first = world.view("by_route");
    let second = changed();
    let text = CONFIG.replace("pane: 1m", "pane: 10s");
    let third = Arc::new(config::load(&text, "third.yaml").unwrap_or_else(|report| panic!("{report}")));
    let editions = Editions::new(world.lake.clone(), world.clock.clone());
    for config in [&world.config, &second, &third] {
        editions.register(config, Span::HOUR).await.expect("registered");
    }
    let ends = [world.end(0), world.end(1)];
    fold(&world, &first, ends).await;
    fold(&world, second.view("by_route").expect("configured"), [world.boundaries[0][1], ends[1]]).await;
    let router = router(serving(&world, &third).await);
    assert_eq!(id_of(&router, TOTAL).await, *first.id, "the second was never whole");
    fold(&world, second.view("by_route").expect("configured"), ends).await;
    let router = serving_of(&world, &third).await;
    assert_eq!(id_of(&router, TOTAL).await, *second.view("by_route").expect("configured").id);
    // new metrics of the third have nothing to fall back on: they are not answered wrongly, and not hidden
    fold(&world, third.view("by_route").expect("configured"), ends).await;
    let router = serving_of(&world, &third).await;
    assert_eq!(id_of(&router, TOTAL).await, *third.view("by_route").expect("configured").id);
}
