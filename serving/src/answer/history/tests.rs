//! Answers from earlier generations are those of their own cut; what is gone is said to be gone.
use object_store::{ObjectStoreExt, path::Path};
use seam_shared::log::OffsetVector;
use serde_json::Value as Json;

use crate::http::router;
use crate::testing::{Event, World, get, json};

const TOTAL: &str = "/api/analytics/metrics/events.total?window=12h";

/// A world with three generations, each an hour after the one before, and all of the log in the speed layer from `floor` on.
async fn world(floor: usize) -> World {
    let world = World::new(11);
    let view = world.view("by_route");
    world.hold(&view, floor, None).await;
    for i in 1..=3 {
        world.publish(&view, [world.boundaries[0][i], world.boundaries[1][i]]).await;
        world.clock.advance(3_600_000_000);
    }
    world
}

/// How many events an answer should count by its own stamp. All of the world's events lie within four hours.
fn counted(world: &World, body: &Json) -> u64 {
    let coverage = body["meta"]["stamp"]["coverage"].as_str().expect("text");
    let coverage = OffsetVector::parse_text(coverage).expect("a vector").remove("clicks").unwrap_or_default();
    world.events.iter().filter(|e: &&Event| e.offset < coverage.get(e.partition).0).count() as u64
}

#[tokio::test]
async fn each_generation_answers_for_its_own_cut_with_its_own_tag() {
    let world = world(0).await;
    world.clock.advance(-3 * 3_600_000_000);
    let router = router(world.serving().await);
    let (mut tags, mut values) = (Vec::new(), Vec::new());
    for number in 1..=3 {
        let response = get(&router, &format!("{TOTAL}&generation={number}")).await;
        assert_eq!(response.status(), 200);
        tags.push(response.headers()["etag"].clone());
        let body = json(response).await;
        let view = &body["meta"]["stamp"]["views"][0];
        assert_eq!((view["generation"].as_u64(), &view["speed"]), (Some(number), &Json::Null));
        assert_eq!(view["batch"]["positions"]["0"], world.boundaries[0][number as usize]);
        assert_eq!(body["points"][0]["value"], counted(&world, &body));
        values.push(body["points"][0]["value"].as_u64());
        // merged with what the speed layer holds from its cut on, an earlier generation says what the newest one does
        let merged = json(get(&router, &format!("{TOTAL}&generation={number}&layer=merged")).await).await;
        assert_eq!(merged["points"][0]["value"], world.events.len());
        assert_eq!(merged["meta"]["stamp"]["views"][0]["generation"], number);
    }
    assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{values:?}");
    assert!(tags[0] != tags[1] && tags[1] != tags[2]);
    let newest = get(&router, &format!("{TOTAL}&layer=batch")).await;
    assert_eq!(newest.headers()["etag"], tags[2], "the same contents, the same tag");
}

#[tokio::test]
async fn a_moment_names_the_generation_that_was_the_newest_then() {
    let world = world(0).await;
    let router = router(world.serving().await);
    let list = json(get(&router, "/api/analytics/generations/by_route").await).await;
    let entries = list["generations"].as_array().expect("a list");
    assert_eq!(entries.iter().map(|e| e["generation"].as_u64()).collect::<Vec<_>>(), [Some(3), Some(2), Some(1)]);
    assert!(entries.iter().all(|entry| entry["available"] == true && entry["building"].is_null()), "{list}");
    let second = entries[1]["published"].as_str().expect("text");
    for (as_of, generation) in [(second, Some(2)), ("now", Some(3)), ("2001-01-01T00:00:00Z", None)] {
        let response = get(&router, &format!("{TOTAL}&as_of={as_of}")).await;
        match generation {
            Some(number) => {
                assert_eq!(json(response).await["meta"]["stamp"]["views"][0]["generation"], number, "{as_of}");
            }
            None => assert_eq!(response.status(), 404),
        }
    }
    let limited = json(get(&router, "/api/analytics/generations/by_route?limit=1").await).await;
    assert_eq!(limited["generations"].as_array().map(Vec::len), Some(1));
    let none = json(get(&router, "/api/analytics/generations/by_carrier").await).await;
    assert_eq!(none["generations"], serde_json::json!([]));
    let unknown = get(&router, "/api/analytics/generations/by_rout").await;
    assert_eq!(unknown.status(), 404);
    assert!(json(unknown).await["detail"].as_str().is_some_and(|detail| detail.contains("by_route")));
}

#[tokio::test]
async fn what_never_was_is_404_and_what_was_retired_is_410() {
    let world = world(2).await;
    let router = router(world.serving().await);
    for (query, status, says) in [
        ("generation=4", 404, "generations 1 to 3"),
        ("generation=0", 400, "no number from 1 on"),
        ("generation=1&as_of=now", 400, "give one of them"),
        ("generation=1&layer=speed", 400, "no generations"),
        // the speed layer begins above its cut: the two halves do not meet
        ("generation=1&layer=merged", 410, "layer=batch"),
        ("generation=1&min_position=clicks/0@1000", 400, "the generation reaches"),
    ] {
        let response = get(&router, &format!("{TOTAL}&{query}")).await;
        assert_eq!(response.status(), status, "{query}");
        let detail = json(response).await["detail"].to_string();
        assert!(detail.contains(says), "{query}: {detail}");
    }
    let ratio = get(&router, "/api/analytics/metrics/share?window=4h&generation=1").await;
    assert_eq!(ratio.status(), 400, "two views have generations of their own");
    let view = world.view("by_route");
    let serving = world.serving().await;
    let first = serving.batch_view(&view).at(1).await.expect("generation 1");
    let newest = serving.batch_view(&view).at(3).await.expect("generation 3");
    let only_first: Vec<&Path> = first.paths().filter(|path| newest.paths().all(|kept| kept != *path)).collect();
    assert!(!only_first.is_empty(), "some files were replaced");
    for path in only_first {
        world.lake.delete(path).await.expect("deleted");
    }
    let gone = get(&router, &format!("{TOTAL}&generation=1")).await;
    assert_eq!(gone.status(), 410);
    assert!(json(gone).await["detail"].as_str().is_some_and(|detail| detail.contains("/api/analytics/generations")));
    assert_eq!(get(&router, &format!("{TOTAL}&generation=3")).await.status(), 200);
    let list = json(get(&router, "/api/analytics/generations/by_route").await).await;
    assert_eq!(list["generations"][2]["available"], false);
    assert_eq!(list["generations"][0]["available"], true);
}
