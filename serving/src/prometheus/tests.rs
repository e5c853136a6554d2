//! The endpoints over the small world of the tests: what they answer equals what the HTTP API answers.
mod clients;
mod endpoints;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::Value;

use crate::testing::{NOW, World, get, json, request};
use crate::{Serving, router};

/// The last end of a pane before now: there both APIs look at the same moment.
const AT: i64 = NOW.0 / 60_000_000 * 60;

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

async fn success(router: &Router, path: &str) -> Value {
    let response = get(router, &format!("/prometheus/api/v1/{path}")).await;
    let status = response.status();
    let body = json(response).await;
    assert_eq!((status, &body["status"]), (StatusCode::OK, &Value::from("success")), "{path}: {body}");
    body
}

async fn failure(router: &Router, path: &str) -> (u16, String, String) {
    let response = get(router, &format!("/prometheus/api/v1/{path}")).await;
    let status = response.status().as_u16();
    let body = json(response).await;
    assert_eq!(body["status"], "error", "{path}: {body}");
    let text = |name: &str| body[name].as_str().expect("a text").to_owned();
    (status, text("errorType"), text("error"))
}

/// The values of an instant query by the labels of their series, without its name.
async fn instant(router: &Router, query: &str, at: i64) -> BTreeMap<String, f64> {
    let body = success(router, &format!("query?query={}&time={at}", escape(query))).await;
    assert_eq!(body["data"]["resultType"], "vector", "{query}");
    let result = body["data"]["result"].as_array().expect("a list").iter();
    let series = result.map(|series| {
        assert_eq!(series["value"][0], at, "{query}");
        (key(&series["metric"], "__name__"), number(&series["value"][1]))
    });
    series.collect()
}

fn key(labels: &Value, but: &str) -> String {
    let labels: BTreeMap<&String, &Value> =
        labels.as_object().expect("an object").iter().filter(|l| l.0 != but).collect();
    serde_json::to_string(&labels).expect("labels")
}

fn number(text: &Value) -> f64 {
    text.as_str().expect("a text").parse().expect("a number")
}

/// The values that the HTTP API answers with, by the labels that Prometheus' would have.
async fn analytics(router: &Router, query: &str, dimensions: &[&str]) -> BTreeMap<String, f64> {
    let body = json(get(router, &format!("/api/analytics/metrics/{query}")).await).await;
    let points = body["points"].as_array().unwrap_or_else(|| panic!("{query}: {body}"));
    let mut out = BTreeMap::new();
    for point in points {
        let Some(value) = point["value"].as_f64() else { continue };
        let labels = dimensions.iter().filter_map(|name| Some(((*name).to_owned(), point[name].as_str()?.into())));
        let labels: BTreeMap<String, Value> = labels.collect();
        let old = out.insert(serde_json::to_string(&labels).expect("labels"), value);
        assert_eq!(old, None, "{query}");
    }
    out
}

async fn world(seed: u64, floor: usize, generation: bool) -> (World, Arc<Serving>, Router) {
    let world = World::new(seed);
    for view in world.config.views.clone() {
        if generation {
            let cuts =
                [0, 1].map(|partition| world.boundaries[partition][floor.min(world.boundaries[partition].len() - 1)]);
            world.publish(&view, cuts).await;
        }
        for partition in 0..2 {
            let floor = if generation { floor.min(world.boundaries[partition as usize].len() - 2) } else { 0 };
            world.fold(&view, partition, floor, world.end(partition)).await;
        }
    }
    let serving = world.serving().await;
    let router = router(serving.clone());
    (world, serving, router)
}

#[tokio::test]
async fn values_equal_those_of_the_http_api() {
    for seed in 0..6 {
        let (_, _, router) = world(seed, seed as usize, seed > 0).await;
        for at in [AT, AT - 300, AT - 3_600] {
            let both = [
                ("increase(events_total[5m])", "events.total?window=5m", &["carrier", "origin"][..]),
                ("sum by (carrier) (increase(events_total[1h]))", "events.total?window=1h", &["carrier"]),
                ("sum(increase(events_total[7m]))", "events.total?window=7m", &[]),
                ("sum(rate(events_total[1h])) * 3600", "events.total?window=1h", &[]),
                ("sum(events_total)", "events.total?window=36500d", &[]),
                ("events_total", "events.total?window=36500d", &["carrier", "origin"]),
                ("sum by (origin) (errors_total)", "errors.total?window=36500d", &["origin"]),
                ("events_total:5m", "events.total?window=5m", &["carrier", "origin"]),
                ("errors_rate:1h", "errors.rate?window=1h", &["carrier", "origin"]),
                ("processing_latency:17m", "processing.latency?window=17m", &["carrier", "origin"]),
                ("spend:1h", "spend?window=1h", &["carrier", "origin"]),
                ("increase(carriers[1h])", "carriers?window=1h", &["carrier"]),
            ];
            for (query, api, dimensions) in both {
                let mut url = format!("{api}&at={at}&limit=10000");
                dimensions.iter().for_each(|dimension| url.push_str(&format!("&dimension={dimension}")));
                // The HTTP API rounds up to a pane, and carriers' are of five minutes.
                let at = at / 300 * 300;
                let url = if query.contains("carriers") {
                    url.replace(&format!("at={}", AT), &format!("at={at}"))
                } else {
                    url
                };
                let moment = if query.contains("carriers") { at } else { url_time(&url) };
                let expected = analytics(&router, &url, dimensions).await;
                assert_eq!(instant(&router, query, moment).await, expected, "seed {seed}: {query} at {moment}");
            }
        }
    }
}

fn url_time(url: &str) -> i64 {
    url.split("at=").nth(1).and_then(|rest| rest.split('&').next()).and_then(|text| text.parse().ok()).expect("a time")
}

#[tokio::test]
async fn extremes_are_those_of_all_panes_in_the_window() {
    let (_, _, router) = world(3, 2, true).await;
    for measure in ["min", "max"] {
        // The figures beside the value are those of the same state.
        let url = format!("/api/analytics/metrics/spend?window=1h&at={AT}&dimension=carrier&dimension=origin");
        let body = json(get(&router, &url).await).await;
        let points = body["points"].as_array().expect("points");
        let mut expected: Vec<f64> = points.iter().filter_map(|point| point[measure].as_f64()).collect();
        let query = format!("{measure}_over_time(by_route_price_{measure}[1h])");
        let mut answered: Vec<f64> = instant(&router, &query, AT).await.into_values().collect();
        expected.sort_by(f64::total_cmp);
        answered.sort_by(f64::total_cmp);
        assert_eq!(answered, expected, "{query}");
        let folded = instant(&router, &format!("{measure}({query})"), AT).await;
        let best = if measure == "min" { expected.first() } else { expected.last() };
        assert_eq!(folded.values().next(), best);
        // From the samples of panes, it is the same.
        let by_samples = format!(
            "{measure}_over_time(by_route_price_{measure}[1h]) == on (carrier, origin) {measure}_over_time({{__name__=\"by_route_price_{measure}\"}}[1h])"
        );
        assert_eq!(instant(&router, &by_samples, AT).await.len(), expected.len());
    }
}

#[tokio::test]
async fn a_range_holds_what_its_moments_hold() {
    let (_, _, router) = world(4, 3, true).await;
    let queries = [
        "sum by (carrier) (increase(events_total[5m]))",
        "events_total",
        "by_route_price_max",
        "max_over_time(by_route_price_max[10m])",
        "avg_over_time(by_route_delay_max[30m])",
        "errors_rate:1h > 0.1",
        "sum(events_total) - sum(events_total offset 10m)",
        "changes(sum_of_nothing[5m]) or vector(1)",
        "topk(2, rate(events_total[1h]))",
        "timestamp(by_route_events_total)",
        "carriers",
    ];
    for query in queries {
        // Steps of panes, of parts of panes, and of panes and a half.
        for (start, step, count) in [(AT - 1_800, 60, 30), (AT - 117, 13, 10), (AT - 900, 90, 11)] {
            let end = start + step * (count - 1);
            let path = format!("query_range?query={}&start={start}&end={end}&step={step}", escape(query));
            let body = success(&router, &path).await;
            assert_eq!(body["data"]["resultType"], "matrix");
            let mut ranged: BTreeMap<i64, BTreeMap<String, f64>> = BTreeMap::new();
            for series in body["data"]["result"].as_array().expect("a list") {
                for point in series["values"].as_array().expect("points") {
                    let at = point[0].as_i64().expect("seconds");
                    ranged.entry(at).or_default().insert(key(&series["metric"], "__name__"), number(&point[1]));
                }
            }
            let mut at_each = BTreeMap::new();
            for at in (0..count).map(|i| start + step * i) {
                let values = instant(&router, query, at).await;
                if !values.is_empty() {
                    at_each.insert(at, values);
                }
            }
            assert_eq!(ranged, at_each, "{query} by {step} s");
        }
    }
}

#[tokio::test]
async fn matchers_mean_what_they_say() {
    let (_, _, router) = world(5, 0, false).await;
    let all = instant(&router, "events_total", AT).await;
    let count = |matches: fn(&Value) -> bool| {
        let of = |(key, _): &(&String, &f64)| matches(&serde_json::from_str(key).expect("labels"));
        all.iter().filter(of).map(|(_, value)| value).sum::<f64>()
    };
    let cases: [(&str, fn(&Value) -> bool); 9] = [
        (r#"carrier="UA""#, |l| l["carrier"] == "UA"),
        (r#"carrier!="UA""#, |l| l["carrier"] != "UA"),
        (r#"carrier=~"UA|AA""#, |l| l["carrier"] == "UA" || l["carrier"] == "AA"),
        (r#"carrier=~".A""#, |l| l["carrier"] == "UA" || l["carrier"] == "AA"),
        (r#"carrier!~".A""#, |l| l["carrier"] != "UA" && l["carrier"] != "AA"),
        (r#"carrier="""#, |l| l["carrier"].is_null()),
        (r#"carrier=~".+",origin="null""#, |l| !l["carrier"].is_null() && l["origin"] == "null"),
        (r#"origin="eu:west""#, |l| l["origin"] == "eu:west"),
        (r#"nothing="",carrier="a,b""#, |l| l["carrier"] == "a,b"),
    ];
    for (matchers, matches) in cases {
        for query in [format!("sum(events_total{{{matchers}}})"), format!("sum(events_total{{{matchers}}} > -1)")] {
            let answered = instant(&router, &query, AT).await;
            assert_eq!(answered.values().sum::<f64>(), count(matches), "{query}");
        }
    }
    assert!(instant(&router, r#"events_total{nothing="x"}"#, AT).await.is_empty());
    assert!(instant(&router, r#"sum(increase(events_total{nothing=~".+"}[5m]))"#, AT).await.is_empty());
}

#[tokio::test]
async fn a_batch_publish_changes_no_answer() {
    let world = World::new(9);
    for view in world.config.views.clone() {
        world.hold(&view, 0, None).await;
    }
    let serving = world.serving().await;
    let router = router(serving.clone());
    let queries = ["events_total", "sum by (origin) (rate(events_total[1h]))", "errors_rate:1h", "spend:5m"];
    let mut before = Vec::new();
    for query in queries {
        before.push(instant(&router, query, AT).await);
    }
    let longest = world.boundaries.iter().map(Vec::len).max().expect("two");
    for i in 0..longest {
        let cuts = [0, 1].map(|p: usize| world.boundaries[p][i.min(world.boundaries[p].len() - 1)]);
        for view in world.config.views.clone() {
            world.publish(&view, cuts).await;
        }
        serving.refresh().await.expect("refreshed");
        for (query, before) in queries.iter().zip(&before) {
            assert_eq!(&instant(&router, query, AT).await, before, "{query} with generation {i} at {cuts:?}");
        }
    }
}

async fn post(router: &Router, path: &str, form: &str) -> Value {
    let request = Request::post(format!("/prometheus/api/v1/{path}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()));
    json(self::request(router, request.expect("a request")).await).await
}
