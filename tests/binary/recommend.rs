//! Recommendations over HTTP: those of the plain events, from one layer as from both, and the same after kill -9.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Folder, Server, agent};

const CONFIG: &str = r#"
version: 1
name: shop
sources:
  clicks:
    map: { id: $.id, time: $.time }
    fields: { user: string, product: string, category: string }
    segment: { events: 700, interval: 1h }
views: {}
recommend:
  products: { from: clicks, user: user, item: product, category: category, events: { view: 1, purchase: 5 }, half_life: 4d, window: 20d }
batch: { schedule: "@every 1s" }
"#;
const EVENTS: u64 = 3_000;
const UNTIL: u64 = 21;

/// Event `n`: who, what, of which category, of which type, and on which day of January.
fn event(n: u64) -> (u64, u64, u64, &'static str, u64) {
    let product = (n * n * 7 + n) % 101 % (1 + n % 40);
    (n * 7 % 31, product, product % 6, ["view", "purchase", "view", "view", "scroll"][n as usize % 5], 1 + n * 13 % 25)
}

/// The score of each product for a user by the formula, in floats.
fn expected(user: u64) -> BTreeMap<String, f64> {
    let (mut products, mut interests) = (BTreeMap::new(), BTreeMap::new());
    for (who, product, category, of_type, day) in (0..EVENTS).map(event) {
        let weight = match of_type {
            "view" => 1.0,
            "purchase" => 5.0,
            _ => continue,
        };
        // the pane of a day ends with it; those of the last 20 days count
        let age = UNTIL as f64 - (day + 1) as f64;
        if !(0.0..20.0).contains(&age) {
            continue;
        }
        let left = weight * (-age / 4.0).exp2();
        let (amount, youngest, _) = products.entry(product).or_insert((0.0, age, category));
        (*amount, *youngest) = (*amount + left, age.min(*youngest));
        if who == user {
            *interests.entry(category).or_insert(0.0) += left;
        }
    }
    let most = products.values().map(|(amount, ..)| *amount).fold(f64::MIN_POSITIVE, f64::max);
    let most_interest = interests.values().copied().fold(f64::MIN_POSITIVE, f64::max);
    let score = |(product, (amount, youngest, category)): (u64, (f64, f64, u64))| {
        let interest = interests.get(&category).copied().unwrap_or(0.0) / most_interest;
        (format!("p{product}"), 0.6 * interest + 0.3 * amount / most + 0.1 * (-youngest / 4.0_f64).exp2())
    };
    products.into_iter().map(score).collect()
}

/// The recommendations of some users, each compared with what the events say.
fn recommended(server: &Server) -> Vec<Value> {
    let of = |user: u64| {
        let uri = format!(
            "/api/analytics/recommendations/u%2F{user}?at=2026-01-{UNTIL}T00:00:00Z&limit=12&min_position=clicks/0@{EVENTS}&timeout=20s"
        );
        let (status, answer) = server.get(&uri).expect("an answer");
        assert_eq!(status, 200, "{uri}: {answer}");
        let points = answer["points"].as_array().expect("a list");
        let mut wanted = expected(user);
        assert_eq!(points.len(), 12, "{answer}");
        let mut last = f64::MAX;
        for point in points {
            let (item, score) = (point["item"].as_str().expect("a text"), point["score"].as_f64().expect("a number"));
            let said = wanted.remove(item).unwrap_or_else(|| panic!("{item} twice: {answer}"));
            assert!((score - said).abs() < 3e-6 && score <= last, "{item} comes to {said}: {answer}");
            last = score;
        }
        assert!(wanted.values().all(|score| *score < last + 3e-6), "nothing better is left out: {answer}");
        answer["points"].clone()
    };
    [0, 1, 7, 30, 99].map(of).to_vec()
}

#[test]
fn recommendations_are_those_of_the_events_from_either_layer_and_after_kill_9() {
    let folder = Folder::new("recommend");
    folder.write("seam.yaml", CONFIG);
    let server = Server::start(&folder.0);
    let line = |n: u64| {
        let (user, product, category, of_type, day) = event(n);
        let time = format!("2026-01-{day:02}T{:02}:{:02}:00Z", n % 24, n % 60);
        let (user, product, category) = (format!("u/{user}"), format!("p{product}"), format!("c{category}"));
        json!({"id": n.to_string(), "time": time, "type": of_type, "user": user, "product": product, "category": category})
            .to_string()
    };
    let lines: Vec<String> = (0..EVENTS).map(line).collect();
    for some in lines.chunks(500) {
        let url = format!("{}/v1/events/clicks", server.url);
        let reply = agent().post(url).header("content-type", "application/x-ndjson").send(some.join("\n"));
        assert_eq!(reply.expect("the events are taken").status(), 202);
    }
    let from_speed = recommended(&server);
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let (_, views) = server.get("/api/analytics/views").expect("the views");
        let views = views["views"].as_array().expect("a list").clone();
        let mut own = views
            .iter()
            .filter(|view| view["view"].as_str().is_some_and(|name| name.starts_with("recommend.products.")));
        if own.clone().count() == 2 && own.all(|view| view["rows"].as_u64() > Some(100)) {
            break;
        }
        assert!(Instant::now() < give_up, "generations are published: {views:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(recommended(&server), from_speed, "from both layers as from one");
    let (status, model) =
        server.get("/api/analytics/views/recommend.products.interest/u%2F7").expect("the user's model");
    assert_eq!((status, model["points"].as_array().map(Vec::len) > Some(2)), (200, true), "{model}");
    server.kill();
    let server = Server::start(&folder.0);
    assert_eq!(recommended(&server), from_speed, "after kill -9");
    assert_eq!(server.stop().0, Some(0));
}
