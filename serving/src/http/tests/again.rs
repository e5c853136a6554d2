//! What is asked again is answered at once, in the same bytes with the same headers, and never for longer than a pin is shared.
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use seam_shared::access::{Caller, RowFilter, Scope};

use crate::access::Access;
use crate::http::{finish, routes};
use crate::testing::{World, ask, bytes, get, request};
use crate::{Serving, Settings};

const URL: &str = "/api/analytics/metrics/spend?dimension=carrier,origin&from=now-3h&step=5m";

/// The same routes, with and without what was answered before.
fn routers(world: &World, serving: &Arc<Serving>) -> [Router; 2] {
    [None, Some(serving.clone())]
        .map(|again| finish(routes(serving.clone()), &Arc::new(Access::open()), &world.config, again))
}

async fn serving(world: &World, share_snapshots_for: Duration) -> Arc<Serving> {
    world.serving_with(Settings { share_snapshots_for, ..Settings::default() }).await
}

async fn parts(response: Response<Body>) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let text = |value: &axum::http::HeaderValue| value.to_str().expect("text").to_owned();
    let headers = response.headers().iter().filter(|(name, _)| *name != "content-length");
    let mut headers: Vec<_> = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.sort();
    (response.status().as_u16(), headers, bytes(response).await)
}

#[tokio::test]
async fn it_is_the_answer_of_the_routes_whoever_asks_and_however() {
    let world = World::halved(3).await;
    let serving = serving(&world, Duration::from_secs(3_600)).await;
    let [plain, again] = routers(&world, &serving);
    let everybody = Caller::trusted();
    assert!(serving.again(&everybody, URL, None).is_none(), "nobody asked yet");
    let first = get(&again, URL).await;
    let tag = first.headers()["etag"].to_str().expect("text").to_owned();
    for _ in 0..2 {
        assert_eq!(get(&again, URL).await.status(), 200);
    }
    let found = serving.again(&everybody, URL, None).expect("it was asked three times");
    assert_eq!((found.body.expect("a body").to_vec(), &found.tag), (bytes(first).await, &tag));
    assert!(serving.again(&everybody, URL, Some(&tag)).expect("it is known").body.is_none());
    let some = Caller::new("some", vec![Scope::parse("query:by_route").expect("a scope")], RowFilter::default(), None);
    assert!(serving.again(&some, URL, None).is_none(), "somebody else");
    let asks: [&[(&str, &str)]; 9] = [
        &[],
        &[("if-none-match", &tag)],
        &[("if-none-match", "\"x\", *")],
        &[("if-none-match", &format!("W/{tag}"))],
        &[("if-none-match", &format!("{}-gzip\"", tag.trim_end_matches('"')))],
        &[("accept-encoding", "gzip")],
        &[("accept-encoding", "zstd"), ("if-none-match", &tag)],
        &[("accept", "text/csv")],
        &[("accept", "*/*"), ("if-none-match", "\"x\"")],
    ];
    for headers in asks {
        for method in ["GET", "HEAD", "POST"] {
            let asked = || {
                let asked = Request::builder().method(method).uri(URL);
                let asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(*name, *value));
                asked.body(Body::empty()).expect("a request")
            };
            let [by_route, by_memory] = [request(&plain, asked()).await, request(&again, asked()).await];
            assert_eq!(parts(by_memory).await, parts(by_route).await, "{method} {headers:?}");
        }
    }
}

#[tokio::test]
async fn it_is_asked_anew_when_a_pin_is_shared_no_more() {
    let world = World::new(5);
    let view = world.view("by_route");
    world.hold(&view, 0, Some(world.cuts(1))).await;
    let serving = serving(&world, Duration::from_millis(30)).await;
    let [_, router] = routers(&world, &serving);
    for _ in 0..3 {
        assert_eq!(ask(&router, URL).await["meta"]["stamp"]["views"][0]["generation"], 1);
    }
    world.publish(&view, world.cuts(3)).await;
    serving.refresh().await.expect("refreshed");
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert!(serving.again(&Caller::trusted(), URL, None).is_none());
    assert_eq!(ask(&router, URL).await["meta"]["stamp"]["views"][0]["generation"], 2);
}

#[tokio::test]
async fn what_is_asked_without_a_router_is_answered_as_the_routes_do() {
    let world = World::halved(4).await;
    let serving = serving(&world, Duration::from_secs(3_600)).await;
    let [plain, direct] = routers(&world, &serving);
    let metrics = "/api/analytics/metrics";
    let mut answered = 0;
    for (n, rest) in [
        "/spend",
        "/spend.csv?dimension=origin",
        "/spend?dimension=origin:eu:west&window=1h",
        "/spend?dimension=origin%3Aeu:west&&window=1h&",
        "/spend?dimension=origin:%22null%22,carrier:%22a,b%22&at=2026-01-01T00:00:00+00:00",
        "/spend?limit=",
        "/spend?limit",
        "/spend?=1",
        "/spend?token=x&window=1h",
        "/spend?window=7",
        "/spends",
        "/%73pend",
        "/%zz",
        "/a%2Fb",
        "/a/b",
        "/spend/",
        "/",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            let uri = format!("{metrics}{rest}");
            let asked = || Request::builder().method(method).uri(&uri).body(Body::empty()).expect("a request");
            let [routed, direct] = [request(&plain, asked()).await, request(&direct, asked()).await];
            answered += usize::from(method == "GET" && direct.status() == 200);
            assert_eq!(parts(direct).await, parts(routed).await, "{n}: {method} {uri}");
        }
    }
    assert!(answered >= 7, "{answered}");
}
