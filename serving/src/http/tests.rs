//! Golden HTTP: bodies, tags, refusals and the operator's routes, against an in-process server.
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use seam_shared::time::Span;
use serde_json::json;

use super::router;
use crate::testing::{CONFIG, NOW, World, bytes, get, json, request};

mod again;
mod fuzz;
mod openapi;
mod query;
mod rows;

const ROUTE: &str = "/api/analytics/metrics";

async fn whole(seed: u64) -> (World, Router) {
    let world = World::halved(seed).await;
    let router = router(world.serving().await);
    (world, router)
}

#[tokio::test]
async fn without_a_batch_layer_nobody_waits_for_a_generation() {
    let world = World::of(&format!("{}batch: {{ mode: kappa }}\n", crate::testing::CONFIG), 3);
    world.hold(&world.view("by_route"), 0, None).await;
    let router = router(world.serving().await);
    for asked in ["", "?layer=speed", "?layer=merged"] {
        assert_eq!(get(&router, &format!("{ROUTE}/events.total{asked}")).await.status(), 200, "{asked}");
    }
    for (name, value) in [("layer", "batch"), ("generation", "1"), ("as_of", "now")] {
        let refused = get(&router, &format!("{ROUTE}/events.total?{name}={value}")).await;
        assert_eq!(refused.status(), 400, "{name}");
        let problem = json(refused).await;
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("mode: kappa")), "{problem}");
    }
}

#[tokio::test]
async fn a_metric_answers_with_flat_rows_and_a_stamp() {
    let (world, router) = whole(3).await;
    let response = get(&router, &format!("{ROUTE}/events.total")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "private, no-cache");
    let body = json(response).await;
    let end = NOW.ceil(Span::MINUTE);
    let start = end.minus(Span(5 * Span::MINUTE.0));
    let count = world.events.iter().filter(|e| start <= e.time && e.time < end).count();
    let golden = json!({"time": end.to_rfc3339(), "start": start.to_rfc3339(), "value": count});
    assert_eq!(body["points"], json!([golden]));
    assert_eq!(body["window"], "5m");
    assert_eq!(body["dimensions"], json!([]));
    let stamp = &body["meta"]["stamp"];
    assert_eq!(stamp["views"][0]["id"], world.view("by_route").id.as_ref());
    assert_eq!(stamp["views"][0]["generation"], 1);
    assert_eq!(stamp["coverage"], format!("clicks/0@{},clicks/1@{}", world.end(0), world.end(1)));
    assert_eq!(stamp["views"][0]["batch"]["positions"]["0"], world.boundaries[0][2]);
}

#[tokio::test]
async fn slices_conditions_order_and_limit_do_what_they_say() {
    let (world, router) = whole(4).await;
    let ask = async |query: &str| json(get(&router, &format!("{ROUTE}/events.total?window=4h&{query}")).await).await;
    let count = |test: &dyn Fn(&crate::testing::Event) -> bool| world.events.iter().filter(|e| test(e)).count() as u64;
    let text = |text: &str| seam_shared::view::value::Value::text(text);

    let sliced = ask("dimension=origin:eu:west").await;
    assert_eq!(sliced["points"][0]["value"], count(&|e| e.origin == text("eu:west")));
    assert_eq!(sliced["points"][0]["origin"], "eu:west");
    // null is not "null", and a value may hold the separators.
    let null = ask("dimension=origin:null").await;
    assert_eq!(null["points"][0]["origin"], json!(null));
    assert_eq!(null["points"][0]["value"], count(&|e| e.origin == seam_shared::view::value::Value::Null));
    let quoted = ask("dimension=origin:%22null%22,carrier:%22a,b%22").await;
    assert_eq!(quoted["points"][0]["origin"], "null");
    assert_eq!(quoted["points"][0]["carrier"], "a,b");
    assert_eq!(quoted["points"][0]["value"], count(&|e| e.origin == text("null") && e.carrier == text("a,b")));
    assert_eq!(ask("dimension=carrier:ZZ").await["points"], json!([]));

    let condition = ask("where=carrier%20in%20(%22UA%22,%20%22AA%22)%20and%20origin%20is%20null").await;
    let wanted = |e: &crate::testing::Event| {
        (e.carrier == text("UA") || e.carrier == text("AA")) && e.origin == seam_shared::view::value::Value::Null
    };
    assert_eq!(condition["points"][0]["value"], count(&wanted), "{condition}");

    let top = ask("dimension=carrier,origin&order=-value&limit=3").await;
    assert_eq!(top["points"].as_array().map(Vec::len), Some(3));
    assert_eq!(top["meta"]["truncated"], true);
    let all = ask("dimension=carrier,origin&order=-value").await;
    assert_eq!(all["meta"]["truncated"], false);
    let values: Vec<u64> = all["points"].as_array().expect("rows").iter().filter_map(|p| p["value"].as_u64()).collect();
    assert!(values.len() > 10 && values.is_sorted_by(|a, b| a >= b), "{values:?}");
    assert_eq!(top["points"].as_array(), all["points"].as_array().map(|rows| rows[..3].to_vec()).as_ref());
    assert_eq!(values.iter().sum::<u64>(), world.events.len() as u64);
}

#[tokio::test]
async fn empty_windows_are_counted_as_asked() {
    let (_, router) = whole(4).await;
    let ask = async |metric: &str, query: &str| {
        json(get(&router, &format!("{ROUTE}/{metric}?from=now-12h&to=now-10h&window=1h&{query}")).await).await
    };
    let natural = ask("spend", "").await;
    assert_eq!(natural["points"].as_array().map(Vec::len), Some(2));
    for name in ["value", "sum", "avg", "min", "max"] {
        assert_eq!(natural["points"][0][name], json!(null), "{name}");
    }
    assert_eq!(natural["points"][0]["count"], 0);
    assert_eq!(ask("events.total", "").await["points"][0]["value"], 0);
    assert_eq!(ask("events.total", "fill=none").await["points"], json!([]));
    assert_eq!(ask("events.total", "fill=null").await["points"][1]["value"], json!(null));
    assert_eq!(ask("spend", "fill=zero").await["points"][1]["value"], 0);
    assert_eq!(ask("errors.rate", "").await["points"][0]["value"], json!(null), "0 / 0");
    assert_eq!(ask("events.total", "dimension=carrier").await["points"], json!([]));
}

#[tokio::test]
async fn a_ratio_divides_merged_parts() {
    let (_, router) = whole(6).await;
    let value = async |uri: &str| json(get(&router, uri).await).await["points"][0].clone();
    for (metric, below) in [("errors.rate", "events.total"), ("share", "carriers")] {
        let query = "?window=4h&at=2026-01-01T00:05:00Z";
        let point = value(&format!("{ROUTE}/{metric}{query}")).await;
        let errors = value(&format!("{ROUTE}/errors.total{query}")).await["value"].as_f64().expect("a number");
        let total = value(&format!("{ROUTE}/{below}{query}")).await["value"].as_f64().expect("a number");
        assert!(errors > 0.0);
        assert_eq!(point["value"].as_f64(), Some(errors / total));
        assert_eq!(point["denominator"].as_f64(), Some(total));
    }
}

#[tokio::test]
async fn the_same_tag_means_the_same_bytes_and_new_events_another_tag() {
    let world = World::new(8);
    let view = world.view("by_route");
    let position = world.boundaries[0][3];
    world.publish(&view, [world.boundaries[0][1], world.boundaries[1][1]]).await;
    world.fold(&view, 0, 0, position).await;
    let router = router(world.serving().await);
    let uri = format!("{ROUTE}/events.total?window=4h&dimension=carrier,origin");
    let tag_of = |response: &axum::http::Response<Body>| response.headers()["etag"].to_str().expect("text").to_owned();
    let first = get(&router, &uri).await;
    let tag = tag_of(&first);
    let body = bytes(first).await;
    world.clock.advance(20_000_000);
    let again = get(&router, &uri).await;
    assert_eq!(tag_of(&again), tag, "within a pane `now` is the same window");
    assert_eq!(bytes(again).await, body);
    let conditional =
        |tag: &str| Request::get(&uri).header("if-none-match", tag).body(Body::empty()).expect("a request");
    let unchanged = request(&router, conditional(&tag)).await;
    assert_eq!(unchanged.status(), 304);
    assert_eq!(tag_of(&unchanged), tag);
    assert!(bytes(unchanged).await.is_empty());
    // Another generation, more events, another query: another tag.
    world.fold(&view, 1, 0, world.boundaries[1][2]).await;
    let more = request(&router, conditional(&tag)).await;
    assert_eq!(more.status(), 200);
    let second = tag_of(&more);
    assert_ne!(second, tag);
    let other = get(&router, &format!("{uri}&limit=7")).await;
    assert_ne!(tag_of(&other), second);
    // The compressed form is other bytes: its tag differs, and it too is known again.
    let zipped = |tag: Option<&str>| {
        let request = Request::get(&uri).header("accept-encoding", "gzip");
        let request = tag.into_iter().fold(request, |request, tag| request.header("if-none-match", tag));
        request.body(Body::empty()).expect("a request")
    };
    let compressed = request(&router, zipped(None)).await;
    assert_eq!(compressed.headers()["content-encoding"], "gzip");
    let zipped_tag = tag_of(&compressed);
    assert_eq!(zipped_tag, format!("{}-gzip\"", second.trim_end_matches('"')));
    let unchanged = request(&router, zipped(Some(&zipped_tag))).await;
    assert_eq!((unchanged.status().as_u16(), tag_of(&unchanged)), (304, zipped_tag));
}

#[tokio::test]
async fn min_position_waits_and_then_says_that_it_is_not_covered() {
    let world = World::new(8);
    let view = world.view("by_route");
    world.fold(&view, 0, 0, world.boundaries[0][2]).await;
    world.fold(&view, 1, 0, 0).await;
    let serving = world.serving().await;
    let router = router(serving);
    let at = world.boundaries[0][2];
    let uri = |at: u64| format!("{ROUTE}/events.total?min_position=clicks/0@{at}&timeout=50ms");
    assert_eq!(get(&router, &uri(at)).await.status(), 200);
    let late = get(&router, &uri(at + 1)).await;
    assert_eq!(late.status(), 503);
    assert_eq!(late.headers()["retry-after"], "1");
    assert_eq!(json(late).await["type"], "urn:seam:problem:position-not-covered");
    assert_eq!(get(&router, &format!("{ROUTE}/events.total?min_position=clicks/9@1&timeout=50ms")).await.status(), 400);
    assert_eq!(get(&router, &format!("{ROUTE}/events.total?min_position=other/0@1")).await.status(), 400);
}

#[tokio::test]
async fn every_refusal_is_a_problem_document_that_helps() {
    let (_, router) = whole(2).await;
    let cases = [
        ("/api/analytics/metrics/event.total", 404, "did you mean events.total?"),
        ("/api/analytics/metrics/events.total?window=90s", 400, "the nearest is 2m"),
        ("/api/analytics/metrics/events.total?window=0s", 400, "the nearest is 1m"),
        ("/api/analytics/metrics/events.total?window=five", 400, "no duration"),
        ("/api/analytics/metrics/events.total?window=40000d", 400, "longer than the largest"),
        ("/api/analytics/metrics/events.total?windw=5m", 400, "did you mean window?"),
        ("/api/analytics/metrics/events.total?window=5m&window=5m", 400, "more than once"),
        ("/api/analytics/metrics/events.total?dimension=carier", 400, "did you mean carrier?"),
        ("/api/analytics/metrics/share?dimension=origin", 400, "no dimension `origin`"),
        ("/api/analytics/metrics/events.total?limit=10001", 400, "1 to 10000"),
        ("/api/analytics/metrics/events.total?limit=0", 400, "1 to 10000"),
        ("/api/analytics/metrics/events.total?order=-valu", 400, "did you mean value?"),
        ("/api/analytics/metrics/events.total?fill=nul", 400, "did you mean null?"),
        ("/api/analytics/metrics/events.total?layer=fast", 400, "merged, batch, speed"),
        ("/api/analytics/metrics/events.total?from=yesterday", 400, "is no time"),
        ("/api/analytics/metrics/events.total?from=now&to=now-1h", 400, "is empty"),
        ("/api/analytics/metrics/events.total?at=now&from=now-1h", 400, "one moment"),
        ("/api/analytics/metrics/events.total?from=now-1h&step=90s", 400, "the nearest is 2m"),
        ("/api/analytics/metrics/events.total?from=1971-01-01&step=1m", 422, "at most 100000"),
        ("/api/analytics/metrics/events.total?timeout=31s", 400, "longer than the longest"),
        ("/api/analytics/metrics/events.total?min_position=x", 400, "is no position"),
        ("/api/analytics/metrics/events.total?where=carrier%20%3D", 400, "character"),
        ("/api/analytics/metrics/events.total?where=carier%20%3D%20%22x%22", 400, "carrier"),
        ("/api/analytics/dashboard?limit=3", 400, "it takes window"),
        ("/api/analytics/metrics?x=1", 400, "no parameter `x`"),
        ("/nowhere", 404, "nothing at /nowhere"),
    ];
    for (uri, status, help) in cases {
        let response = get(&router, uri).await;
        assert_eq!(response.status(), status, "{uri}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{uri}");
        let problem = json(response).await;
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"], uri.split('?').next().expect("a path"), "{uri}");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(help), "{uri}: {detail}");
    }
    let post = Request::post("/api/analytics/dashboard").body(Body::empty()).expect("a request");
    let refused = request(&router, post).await;
    assert_eq!(refused.status(), 405);
    assert_eq!(json(refused).await["type"], "urn:seam:problem:method-not-allowed");
}

#[tokio::test]
async fn head_answers_without_a_body() {
    let (_, router) = whole(2).await;
    let uri = format!("{ROUTE}/events.total");
    let full = get(&router, &uri).await;
    let head = request(&router, Request::head(&uri).body(Body::empty()).expect("a request")).await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["etag"], full.headers()["etag"]);
    assert!(bytes(head).await.is_empty());
}

#[tokio::test]
async fn the_dashboard_shows_all_metrics_at_one_pin() {
    let (world, router) = whole(6).await;
    let response = get(&router, "/api/analytics/dashboard?window=1h").await;
    let tag = response.headers()["etag"].clone();
    let body = json(response).await;
    for (i, (metric, member)) in
        [("events.total", "totalEvents"), ("errors.rate", "errorRate"), ("processing.latency", "processingLatency")]
            .into_iter()
            .enumerate()
    {
        let alone = json(get(&router, &format!("{ROUTE}/{metric}?window=1h")).await).await;
        assert_eq!(body["metrics"][i]["metric"], metric);
        assert_eq!(body["metrics"][i]["value"], alone["points"][0]["value"]);
        assert_eq!(body[member], alone["points"][0]["value"]);
    }
    assert_eq!(body["meta"]["stamp"]["views"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["meta"]["stamp"]["coverage"], format!("clicks/0@{},clicks/1@{}", world.end(0), world.end(1)));
    let known = Request::get("/api/analytics/dashboard?window=1h").header("if-none-match", tag);
    assert_eq!(request(&router, known.body(Body::empty()).expect("a request")).await.status(), 304);
}

#[tokio::test]
async fn a_dashboard_that_says_other_things_of_its_metrics_has_another_tag() {
    let mut world = World::halved(6).await;
    let mut tags = Vec::new();
    for (before, after) in [("", ""), ("help: all events", "help: every event"), ("unit: seconds", "unit: minutes")] {
        let config = seam_shared::config::load(&CONFIG.replace(before, after), "test.yaml");
        world.config = std::sync::Arc::new(config.unwrap_or_else(|report| panic!("{report}")));
        let response = get(&router(world.serving().await), "/api/analytics/dashboard?window=1h").await;
        tags.push(response.headers()["etag"].clone());
        let again = get(&router(world.serving().await), "/api/analytics/dashboard?window=1h").await;
        assert_eq!(again.headers()["etag"], tags[tags.len() - 1], "of the same configuration");
    }
    assert!(tags[0] != tags[1] && tags[0] != tags[2] && tags[1] != tags[2], "{tags:?}");
}

#[tokio::test]
async fn lists_explanations_probes_and_metrics_are_served() {
    let (_, router) = whole(6).await;
    let list = json(get(&router, ROUTE).await).await;
    let first = &list["metrics"][0];
    assert_eq!((&first["name"], &first["pane"]), (&json!("events.total"), &json!("1m")));
    assert_eq!(first["dimensions"][1], json!({"name": "origin", "type": "string"}));
    let explained = json(get(&router, "/api/analytics/explain/events.total?window=4h").await).await;
    let view = &explained["views"][0];
    assert!(view["generation"]["files"].as_array().is_some_and(|files| !files.is_empty()), "{explained}");
    assert!(explained["stamp"]["views"][0]["shares"]["batch"]["rows"].as_u64() > Some(0));
    assert!(explained["milliseconds"]["merge"].is_number());
    assert_eq!(bytes(get(&router, "/livez").await).await, b"ok\n");
    assert_eq!(bytes(get(&router, "/readyz").await).await, b"ok\n");
    let verbose = String::from_utf8(bytes(get(&router, "/readyz?verbose").await).await).expect("text");
    assert!(verbose.contains("[+] view by_route: ok"), "{verbose}");
    let metrics = String::from_utf8(bytes(get(&router, "/metrics").await).await).expect("text");
    assert!(metrics.contains("data_pipeline_build_info"), "{metrics}");
}

#[tokio::test]
async fn pages_are_of_one_moment_whatever_is_added_in_between() {
    let world = World::new(8);
    let view = world.view("by_route");
    world.publish(&view, [world.boundaries[0][1], world.boundaries[1][1]]).await;
    world.fold(&view, 0, 0, world.boundaries[0][3]).await;
    let router = router(world.serving().await);
    let uri = format!("{ROUTE}/spend?window=4h&dimension=carrier,origin&order=-value");
    let all = json(get(&router, &uri).await).await;
    assert_eq!(all["meta"]["next"], json!(null));
    let first = json(get(&router, &format!("{uri}&limit=7")).await).await;
    let mut rows = first["points"].as_array().expect("rows").clone();
    let mut next = first["meta"]["next"].as_str().map(str::to_owned);
    world.fold(&view, 1, 0, world.boundaries[1][2]).await;
    world.clock.advance(3_600_000_000);
    let newer = json(get(&router, &uri).await).await;
    assert_ne!(newer["meta"]["stamp"]["coverage"], all["meta"]["stamp"]["coverage"]);
    let mut last = None;
    while let Some(cursor) = next {
        let page = format!("{uri}&limit=7&cursor={cursor}");
        let body = json(get(&router, &page).await).await;
        assert_eq!(body["meta"]["stamp"], all["meta"]["stamp"]);
        rows.extend(body["points"].as_array().expect("rows").iter().cloned());
        next = body["meta"]["next"].as_str().map(str::to_owned);
        last = Some(page);
    }
    assert!(rows.len() > 14);
    assert_eq!(Some(&rows), all["points"].as_array());
    // A page has a tag of its own; a cursor is good for its question alone, and not for ever.
    let last = last.expect("a second page");
    let tag = get(&router, &last).await.headers()["etag"].clone();
    let again = Request::get(&last).header("if-none-match", tag).body(Body::empty()).expect("a request");
    assert_eq!(request(&router, again).await.status(), 304);
    let other = get(&router, &last.replace("spend", "processing.latency")).await;
    assert_eq!(other.status(), 400);
    assert!(json(other).await["detail"].as_str().is_some_and(|detail| detail.contains("another question")));
    assert_eq!(get(&router, &format!("{uri}&cursor=x")).await.status(), 400);
    let forgetful = crate::http::router(world.serving().await);
    let expired = get(&forgetful, &last).await;
    assert_eq!(expired.status(), 409);
    assert_eq!(json(expired).await["type"], "urn:seam:problem:cursor-expired");
    // As long as nothing is added, whoever is asked can make the pages again.
    let first = json(get(&router, &format!("{uri}&limit=7")).await).await;
    let cursor = first["meta"]["next"].as_str().expect("a cursor");
    assert_eq!(get(&forgetful, &format!("{uri}&limit=7&cursor={cursor}")).await.status(), 200);
}

#[tokio::test]
async fn answers_are_written_as_asked() {
    let (_, router) = whole(4).await;
    let query = "window=4h&dimension=carrier,origin&limit=3";
    let uri = format!("{ROUTE}/spend?{query}");
    let body = json(get(&router, &uri).await).await;
    let rows = body["points"].as_array().expect("rows");
    let accept =
        |media_type: &str| Request::get(&uri).header("accept", media_type).body(Body::empty()).expect("a request");
    for (by_extension, by_header) in [(".ndjson", "application/x-ndjson"), (".csv", "text/csv, application/json;q=0.5")]
    {
        let extended = get(&router, &format!("{ROUTE}/spend{by_extension}?{query}")).await;
        let negotiated = request(&router, accept(by_header)).await;
        for header in ["content-type", "etag", "seam-coverage", "seam-next"] {
            assert_eq!(extended.headers()[header], negotiated.headers()[header], "{header}");
        }
        assert_eq!(extended.headers()["content-type"], by_header.split(',').next().expect("one"));
        assert_eq!(extended.headers()["seam-coverage"], body["meta"]["stamp"]["coverage"].as_str().expect("text"));
        let text = String::from_utf8(bytes(extended).await).expect("text");
        assert_eq!(text.as_bytes(), bytes(negotiated).await);
        if by_extension == ".ndjson" {
            let lines: Vec<serde_json::Value> =
                text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            assert_eq!(&lines, rows);
        } else {
            let lines: Vec<&str> = text.split_terminator("\r\n").collect();
            assert_eq!(lines.len(), 4);
            assert_eq!(lines[0], "time,start,carrier,origin,value,count,sum,avg,min,max");
            let shown = |value: &serde_json::Value| value.as_str().map_or(value.to_string(), str::to_owned);
            assert!(
                lines[1].starts_with(&format!("{},{},", shown(&rows[0]["time"]), shown(&rows[0]["start"]))),
                "{text:?}"
            );
            assert!(lines[1].contains(&format!(",{},", shown(&rows[0]["count"]))), "{}", lines[1]);
        }
    }
    assert_eq!(get(&router, &format!("{ROUTE}/spend.json")).await.headers()["content-type"], "application/json");
    assert_eq!(get(&router, &format!("{ROUTE}/spend.xml")).await.status(), 404);
    let ratio = get(&router, &format!("{ROUTE}/errors.rate.csv?window=4h&at=2026-01-01T00:05:00Z")).await;
    let text = String::from_utf8(bytes(ratio).await).expect("text");
    assert!(text.starts_with("time,start,value,numerator,denominator\r\n"), "{text}");
}

#[tokio::test]
async fn a_query_that_would_read_too_much_is_refused_with_the_estimate() {
    let world = World::new(4);
    let view = world.view("by_route");
    world.publish(&view, [world.end(0), world.end(1)]).await;
    let settings = crate::Settings { query_rows: 20, ..crate::Settings::default() };
    let router = router(world.serving_with(settings).await);
    let refused = get(&router, &format!("{ROUTE}/spend?window=4h")).await;
    assert_eq!(refused.status(), 422);
    let problem = json(refused).await;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("at most 20 are read")), "{problem}");
    assert_eq!(get(&router, &format!("{ROUTE}/spend?window=5m&at=2026-02-01")).await.status(), 200);
    // The groups of a block are known before they are merged.
    let settings = crate::Settings { query_points: 3, ..crate::Settings::default() };
    let router = crate::http::router(world.serving_with(settings).await);
    let refused = get(&router, &format!("{ROUTE}/spend?window=6h&dimension=carrier,origin")).await;
    assert_eq!(refused.status(), 422);
    let problem = json(refused).await;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("at most 3 are computed")), "{problem}");
    assert_eq!(get(&router, &format!("{ROUTE}/spend?window=6h&dimension=carrier")).await.status(), 200);
}

#[test]
fn parameters_are_read_as_forms_are() {
    let mut dice = crate::testing::Dice(7);
    let letters = ["a", "b", "=", "&", "%20", "%C3%BC", "+", ":", ",", "%zz", "\u{fc}"];
    for _ in 0..5_000 {
        let text: String = (0..dice.pick(9)).map(|_| letters[dice.pick(letters.len() as u64) as usize]).collect();
        let Ok(uri) = format!("/x?{text}").parse::<axum::http::Uri>() else { continue };
        let form = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).expect("a form");
        assert_eq!(super::parameters(&uri).expect("parameters"), form.0, "{text}");
    }
}
