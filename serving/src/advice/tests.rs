//! Recommendations are those of the plain events, from whichever layer they come.
use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Body as HttpBody;
use axum::http::Request;
use seam_shared::access::{RowFilter, Scope};
use seam_shared::time::Span;
use serde_json::{Value as Json, json};

use super::*;
use crate::query::Format;
use crate::router;
use crate::testing::{World, ask, bytes, fresh, get, json as read, request};
use seam_shared::access::Caller;

const CONFIG: &str = r#"
version: 1
name: test
sources:
  clicks:
    map: { id: $.id, time: $.time }
    partitions: 2
    fields: { carrier: string, origin: string, price: "decimal(2)", delay: float }
views: {}
recommend:
  deals:
    from: clicks
    user: carrier
    item: price
    category: origin
    events: { view: 1, buy: 5 }
    half_life: 1h
    window: 2h
    pane: 1m
    top: 7
  routes: { from: clicks, user: carrier, item: origin, pane: 5m, half_life: 30m, window: 150m, score: { interest: 1, popularity: 0.5, recency: 0.25 } }
  kept: { from: clicks, user: carrier, item: origin, pane: 5m, half_life: 30m, window: 150m, min_interval: 1m }
"#;

const URL: &str = "/api/analytics/recommendations";
/// Users of the events, one whose name has a comma, and one that is not there.
const USERS: [&str; 4] = ["UA", "AA", "a%2Cb", "nobody"];

/// A world of which the speed layer holds what lies from a boundary on, and a generation what lies below another.
async fn world(seed: u64, floor: usize, cut: Option<usize>) -> World {
    let world = World::of(CONFIG, seed);
    let cuts = cut.map(|cut| {
        [0, 1].map(|partition: usize| {
            let boundaries = &world.boundaries[partition];
            boundaries[cut.min(boundaries.len() - 1)]
        })
    });
    for view in &world.config.views {
        world.hold(view, floor, cuts).await;
    }
    world
}

async fn routes(world: &World) -> Router {
    router(world.serving_with(fresh()).await)
}

/// What one item comes to by the formula, in floats, from the events.
#[derive(Debug, Clone, PartialEq)]
struct Expected {
    interest: f64,
    popularity: f64,
    recency: f64,
    score: f64,
}

fn expected(world: &World, name: &str, user: &Value, now: Timestamp) -> BTreeMap<Value, Expected> {
    let recommendation = world.config.recommendations.iter().find(|r| r.name == name).expect("configured");
    let pane = recommendation.items.pane;
    let until = now.ceil(pane);
    let age = |end: Timestamp| (until.0 - end.0) as f64 / recommendation.half_life.0 as f64;
    let (mut by_item, mut by_category) = (BTreeMap::new(), BTreeMap::new());
    for event in &world.events {
        let end = event.time.floor(pane).plus(pane);
        let Value::Str(of_type) = event.value("type") else { panic!("a text") };
        let weight = match (&*of_type, name) {
            (_, "routes" | "kept") | ("view", _) => 1.0,
            ("buy", _) => 5.0,
            _ => continue,
        };
        if end.0 <= until.0 - recommendation.window.0 || end > until {
            continue;
        }
        let (item, left) = (event.value(&recommendation.item), weight * (-age(end)).exp2());
        let category = recommendation.category.as_ref().map_or(item.clone(), |name| event.value(name));
        if item != Value::Null {
            let (amount, last, categories) = by_item.entry(item).or_insert((0.0, end, BTreeSet::new()));
            *amount += left;
            *last = end.max(*last);
            categories.insert(category.clone());
        }
        if event.value(&recommendation.user) == *user && category != Value::Null {
            *by_category.entry(category).or_insert(0.0) += left;
        }
    }
    let most = |amounts: Vec<f64>| amounts.into_iter().fold(f64::MIN_POSITIVE, f64::max);
    let (most_item, most_category) =
        (most(by_item.values().map(|(a, ..)| *a).collect()), most(by_category.values().copied().collect()));
    let weights = recommendation.weights;
    let of = |(item, (amount, last, categories)): (Value, (f64, Timestamp, BTreeSet<Value>))| {
        let interest =
            categories.iter().filter_map(|c| by_category.get(c)).fold(0.0, |a: f64, b| a.max(*b)) / most_category;
        let (popularity, recency) = (amount / most_item, (-age(last)).exp2());
        let weigh = |weight: u64, part: f64| weight as f64 / 1000.0 * part;
        let score =
            weigh(weights.interest, interest) + weigh(weights.popularity, popularity) + weigh(weights.recency, recency);
        (item, Expected { interest, popularity, recency, score })
    };
    by_item.into_iter().map(of).collect()
}

fn number(json: &Json) -> f64 {
    json.as_f64().unwrap_or_else(|| panic!("{json} is no number"))
}

/// Compares an answer's rows with what the events say: every part of each, the order, and that nothing better is left out.
fn check(points: &Json, mut expected: BTreeMap<Value, Expected>, limit: usize, what: &str) {
    let points = points.as_array().expect("a list");
    assert_eq!(points.len(), limit.min(expected.len()), "{what}");
    let near = |a: f64, b: f64| (a - b).abs() < 3e-6;
    let mut before: Option<(Value, Expected)> = None;
    for point in points {
        let item = match &point["item"] {
            Json::String(text) => Value::text(text),
            number => {
                Value::Decimal(seam_shared::view::value::parse_decimal(&number.to_string(), 2).expect("a price"), 2)
            }
        };
        let wanted = expected.remove(&item).unwrap_or_else(|| panic!("{what}: {item:?} twice or never seen"));
        for (name, part) in [
            ("interest", wanted.interest),
            ("popularity", wanted.popularity),
            ("recency", wanted.recency),
            ("score", wanted.score),
        ] {
            assert!(near(number(&point[name]), part), "{what}: {name} of {point} is {part}");
        }
        if let Some((other, other_wanted)) = &before {
            assert!(other_wanted.score > wanted.score - 3e-6, "{what}: {other:?} before {item:?}");
            assert!(*other_wanted != wanted || *other < item, "{what}: a tie is broken by the item");
        }
        before = Some((item, wanted));
    }
    let last = before.map_or(0.0, |(_, wanted)| wanted.score);
    assert!(expected.values().all(|other| other.score < last + 3e-6), "{what}: something better is left out");
}

fn user(text: &str) -> Value {
    Value::text(&text.replace("%2C", ","))
}

#[tokio::test]
async fn every_layer_recommends_what_the_events_say() {
    for seed in 0..8 {
        let now = crate::testing::NOW;
        // the speed layer alone; a generation of everything; both, at two cuts
        let halves = [
            (0, None, "merged"),
            (0, None, "speed"),
            (0, Some(usize::MAX), "batch"),
            (0, Some(1), "merged"),
            (2, Some(3), "merged"),
        ];
        let mut answers: Vec<Vec<Json>> = Vec::new();
        for (floor, cut, layer) in halves {
            let world = world(seed, floor, cut).await;
            let routes = routes(&world).await;
            let mut of_world = Vec::new();
            for (name, limit) in [("deals", "&limit=100"), ("deals", ""), ("routes", "")] {
                for of in USERS {
                    let answer = ask(&routes, &format!("{URL}/{of}?name={name}&layer={layer}{limit}")).await;
                    let what = format!("seed {seed} {name} {of} {layer} {cut:?}: {answer}");
                    let limit = if limit.is_empty() {
                        answer["meta"]["limit"].as_u64().expect("a number") as usize
                    } else {
                        100
                    };
                    check(&answer["points"], expected(&world, name, &user(of), now), limit, &what);
                    of_world.push(answer["points"].clone());
                }
            }
            answers.push(of_world);
        }
        assert!(answers.iter().all(|other| *other == answers[0]), "seed {seed}: the layers differ");
    }
}

#[tokio::test]
async fn a_moment_of_the_past_has_its_own_answer_and_an_unknown_user_gets_what_is_popular() {
    let world = world(3, 0, Some(2)).await;
    let routes = routes(&world).await;
    let then = Timestamp(crate::testing::NOW.0 - Span::HOUR.0);
    let before = ask(&routes, &format!("{URL}/UA?name=deals&limit=50&at=now-1h")).await;
    check(&before["points"], expected(&world, "deals", &Value::text("UA"), then), 50, "an hour ago");
    assert_eq!(before["meta"]["to"], "2025-12-31T23:01:00Z");
    let nobody = ask(&routes, &format!("{URL}/nobody?name=deals")).await;
    let points = nobody["points"].as_array().expect("a list");
    assert!(points.len() == 7 && points.iter().all(|point| number(&point["interest"]) == 0.0), "{nobody}");
    assert_eq!(nobody["user"], "nobody");
    assert_eq!(nobody["meta"]["weights"], json!({"interest": 0.6, "popularity": 0.3, "recency": 0.1}));
    assert!(nobody["meta"]["stamp"]["coverage"].as_str().is_some_and(|text| text.starts_with("clicks/0@")), "{nobody}");
}

#[tokio::test]
async fn rankings_of_other_moments_are_made_for_whoever_waits_and_not_kept() {
    let world = world(3, 0, Some(2)).await;
    let serving = world.serving_with(fresh()).await;
    let routes = router(serving.clone());
    ask(&routes, &format!("{URL}/UA?name=deals")).await;
    let kept = serving.advice.rankings.bytes();
    assert!(kept > 0);
    for minutes in 1..30 {
        let then = ask(&routes, &format!("{URL}/UA?name=deals&at=now-{minutes}m")).await;
        assert!(then["points"].as_array().is_some_and(|points| !points.is_empty()), "{then}");
    }
    assert_eq!(serving.advice.rankings.bytes(), kept);
    let covering = format!("{URL}/UA?name=deals&min_position=clicks/0@5");
    assert_eq!(ask(&routes, &covering).await["points"], ask(&routes, &format!("{URL}/UA?name=deals")).await["points"]);
    assert_eq!(serving.advice.rankings.bytes(), kept, "the window that ends now is kept already");
    // Somebody's long way back holds up nobody who asks for now, and ends with its request.
    let back = serving.advice.looking_back.lock().await;
    let late = get(&routes, &format!("{URL}/UA?name=deals&at=now-31m&timeout=20ms")).await;
    assert_eq!(late.status(), 503);
    assert_eq!(get(&routes, &format!("{URL}/UA?name=routes")).await.status(), 200);
    drop(back);
}

#[tokio::test]
async fn answers_have_tags_formats_and_refusals_as_others() {
    let world = world(4, 0, Some(2)).await;
    let routes = routes(&world).await;
    let url = format!("{URL}/UA?name=routes");
    let first = get(&routes, &url).await;
    let tag = first.headers()["etag"].clone();
    let body = bytes(first).await;
    assert_eq!(bytes(get(&routes, &url).await).await, body);
    let asked = || Request::get(&url).header("if-none-match", &tag);
    let unchanged = request(&routes, asked().body(HttpBody::empty()).expect("a request")).await;
    assert_eq!((unchanged.status().as_u16(), &unchanged.headers()["etag"]), (304, &tag));
    let other = get(&routes, &format!("{URL}/AA?name=routes")).await;
    assert_ne!(other.headers()["etag"], tag);
    let csv = Request::get(&url).header("accept", "text/csv").body(HttpBody::empty()).expect("a request");
    let csv = String::from_utf8(bytes(request(&routes, csv).await).await).expect("text");
    let points = serde_json::from_slice::<Json>(&body).expect("JSON")["points"].as_array().expect("a list").len();
    assert_eq!((csv.lines().next(), csv.lines().count()), (Some("item,score,interest,popularity,recency"), points + 1));
    for (wrong, status, problem, parameter) in [
        ("UA", 400, "invalid-parameter", Some("name")),
        ("UA?name=route", 404, "unknown-recommendation", Some("name")),
        ("UA?name=routes&limit=0", 400, "invalid-parameter", Some("limit")),
        ("UA?name=routes&limit=101", 400, "invalid-parameter", Some("limit")),
        ("UA?name=routes&limit=3&limit=4", 400, "invalid-parameter", Some("limit")),
        ("UA?name=routes&window=1h", 400, "unknown-parameter", Some("window")),
        ("UA?name=routes&layer=both", 400, "invalid-parameter", Some("layer")),
        ("UA?name=routes&at=soon", 400, "invalid-parameter", Some("at")),
        ("%ff?name=routes", 400, "invalid-parameter", Some("user")),
        ("UA?name=routes&min_position=clicks/0@99999&timeout=50ms", 503, "position-not-covered", None),
        ("UA/AA?name=routes", 404, "no-such-route", None),
    ] {
        let response = get(&routes, &format!("{URL}/{wrong}")).await;
        assert_eq!(response.status(), status, "{wrong}");
        let refusal = read(response).await;
        assert!(refusal["type"].as_str().is_some_and(|text| text.ends_with(problem)), "{wrong}: {refusal}");
        if let Some(parameter) = parameter {
            assert!(refusal.to_string().contains(&format!("\"{parameter}\"")), "{wrong}: {refusal}");
        }
    }
    assert_eq!(get(&routes, &format!("{URL}/UA?name=routes&min_position=clicks/0@5")).await.status(), 200);
    let bare = World::of(
        &CONFIG[..CONFIG.find("recommend:").expect("there")]
            .replace("views: {}", "views: { v: { from: clicks, measures: { n: count() } } }"),
        1,
    );
    let refused = get(&router(bare.serving().await), &format!("{URL}/UA")).await;
    assert_eq!(
        (refused.status().as_u16(), read(refused).await["detail"].clone()),
        (404, json!("nothing is recommended here; `recommend` of the configuration says what is"))
    );
}

#[tokio::test]
async fn within_the_interval_a_users_answer_stays_what_it_was() {
    let world = World::of(CONFIG, 5);
    for view in &world.config.views {
        for partition in 0..2 {
            world.fold(view, partition, 0, world.boundaries[partition as usize][2]).await;
        }
    }
    let serving = world.serving_with(fresh()).await;
    let routes = router(serving.clone());
    let url = format!("{URL}/UA?name=kept&limit=3");
    let first = ask(&routes, &url).await;
    // everything else arrives
    for view in &world.config.views {
        world.publish(view, [world.end(0), world.end(1)]).await;
    }
    serving.refresh().await.expect("refreshed");
    assert_eq!(ask(&routes, &url).await, first, "kept");
    let other = ask(&routes, &format!("{URL}/UA?name=kept&limit=4")).await;
    assert_ne!(other["meta"]["stamp"], first["meta"]["stamp"], "another question is another answer");
    let covering = ask(&routes, &format!("{url}&min_position=clicks/0@{}", world.end(0))).await;
    assert_ne!(covering["meta"]["stamp"], first["meta"]["stamp"], "who waits for a position gets it");
    world.clock.advance(Span::MINUTE.0);
    let later = ask(&routes, &url).await;
    assert_eq!(later["meta"]["stamp"], covering["meta"]["stamp"]);
}

/// What a caller with these rows gets for a user.
async fn asked_by(world: &World, rows: Json, scopes: &[&str], name: &str, user: &str) -> Result<Json, Refusal> {
    let serving = world.serving_with(fresh()).await;
    let rows = RowFilter::from_json(rows.as_object().expect("an object")).expect("a filter");
    let scopes = scopes.iter().map(|scope| Scope::parse(scope).expect("a scope")).collect();
    let caller = Caller::new("app", scopes, rows, None);
    let parameters = [("name".to_owned(), name.to_owned()), ("limit".to_owned(), "100".to_owned())];
    let shown = |view: &Arc<seam_shared::view::definition::View>| serving.shown(view);
    let question = question(serving.config(), shown, (&caller, user), &parameters, (serving.now(), Format::Json))?;
    let answer = serving.recommend(&Arc::new(question), None).await?;
    Ok(serde_json::from_slice(&answer.body.expect("a body")).expect("JSON"))
}

#[tokio::test]
async fn row_filters_hold() {
    for seed in [1, 6] {
        let world = world(seed, 0, Some(2)).await;
        let both = ["query:recommend.deals.interest", "query:recommend.deals.items"];
        let all = async |user: &str| asked_by(&world, json!({}), &both, "deals", user).await.expect("admitted");
        // who sees one user gets that user's answer, and of others what those get of whom nothing is known
        let mine = json!({"carrier": ["UA"]});
        let own = asked_by(&world, mine.clone(), &both, "deals", "UA").await.expect("admitted");
        let others = asked_by(&world, mine, &both, "deals", "AA").await.expect("admitted");
        assert_eq!(own["points"], all("UA").await["points"], "seed {seed}");
        assert_eq!(others["points"], all("nobody").await["points"], "seed {seed}");
        assert_ne!(all("AA").await["points"], others["points"], "seed {seed}: there is something to hide");
        // who sees some categories gets their items alone, and no share of others
        let some = asked_by(&world, json!({"origin": ["JFK"]}), &both, "deals", "UA").await.expect("admitted");
        let points = some["points"].as_array().expect("a list");
        assert!(!points.is_empty() && points.iter().all(|point| point["category"] == "JFK"), "seed {seed}: {some}");
        assert_eq!(
            number(&points[0]["popularity"]).max(points.iter().map(|p| number(&p["popularity"])).fold(0.0, f64::max)),
            1.0
        );
        assert!(some["meta"]["items"].as_u64() < all("UA").await["meta"]["items"].as_u64());
        // both scopes are needed, and a filter about something that a view does not have lets nobody in
        for (rows, scopes) in [
            (json!({}), &both[..1]),
            (json!({}), &both[1..]),
            (json!({"price": [1]}), &both[..]),
            (json!({"delay": [1]}), &both[..]),
        ] {
            let refused = asked_by(&world, rows.clone(), scopes, "deals", "UA").await.expect_err("not admitted");
            assert_eq!(refused.kind, Kind::Denied, "{rows} {scopes:?}");
        }
    }
}
