//! What Grafana and promtool ask beside queries, and what is refused.
use super::*;

#[tokio::test]
async fn grafanas_health_check_passes() {
    let (_, _, router) = world(1, 0, false).await;
    let body = post(&router, "query", "query=1%2B1&time=4").await;
    assert_eq!(body["data"], serde_json::json!({ "resultType": "scalar", "result": [4, "2"] }));
    let body = post(&router, "query_range", "query=1%2B1&start=1.5&end=4&step=1").await;
    let values = serde_json::json!([[1.5, "2"], [2.5, "2"], [3.5, "2"]]);
    assert_eq!(body["data"]["result"], serde_json::json!([{ "metric": {}, "values": values }]));
    let build = success(&router, "status/buildinfo").await;
    assert_eq!(build["data"]["version"], "2.55.0");
    assert_eq!(build["data"].get("features"), None, "features mean Mimir to Grafana");
    assert_eq!(success(&router, "query_exemplars?query=x&start=1&end=2").await["data"], serde_json::json!([]));
    assert_eq!(success(&router, "rules").await["data"]["groups"], serde_json::json!([]));
    assert_eq!(success(&router, "alerts").await["data"]["alerts"], serde_json::json!([]));
    assert_eq!(success(&router, "query?query=ALERTS").await["data"]["result"], serde_json::json!([]));
    assert_eq!(success(&router, "format_query?query=sum(a)by(b)").await["data"], "sum by (b) (a)");
}

#[tokio::test]
async fn queries_are_parsed_for_whoever_draws_them() {
    let (_, _, router) = world(1, 0, false).await;
    let parsed =
        async |query: &str| post(&router, "parse_query", &format!("query={}", escape(query))).await["data"].clone();
    let selector = |kind: &str, name: &str, matchers: &[[&str; 3]]| {
        let named = [["__name__", "=", name]];
        let all = matchers.iter().chain(named.iter().filter(|_| !name.is_empty()));
        let all: Vec<Value> = all.map(|[n, t, v]| serde_json::json!({ "name": n, "type": t, "value": v })).collect();
        serde_json::json!({
            "type": kind, "name": name, "matchers": all, "offset": 0, "timestamp": null, "startOrEnd": null,
        })
    };
    let x = selector("vectorSelector", "x", &[]);
    let number = |text: &str| serde_json::json!({ "type": "numberLiteral", "val": text });
    assert_eq!(parsed("1e-7").await, number("0.0000001"));
    assert_eq!(parsed("Inf").await, number("+Inf"));
    assert_eq!(parsed("\"a\"").await, serde_json::json!({ "type": "stringLiteral", "val": "a" }));
    assert_eq!(parsed("(-x)").await["expr"], serde_json::json!({ "type": "unaryExpr", "op": "-", "expr": x }));
    let matchers = [["a", "!=", "1"], ["b", "=~", "2|3"], ["c", "!~", ".*"]];
    assert_eq!(parsed("x{a!='1',b=~'2|3',c!~'.*'}").await, selector("vectorSelector", "x", &matchers));
    let mut ranged = selector("matrixSelector", "x", &[]);
    (ranged["range"], ranged["offset"], ranged["startOrEnd"]) = (300_000.into(), (-60_000).into(), "end".into());
    let called = parsed("rate(x[5m] offset -1m @ end())").await;
    assert_eq!(called["args"][0], ranged);
    let function = serde_json::json!({ "name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector" });
    assert_eq!((&called["type"], &called["func"]), (&"call".into(), &function));
    assert_eq!(parsed("x @ 1.5").await["timestamp"], 1_500);
    let top = parsed("topk without (a, b) (3, x)").await;
    let expected = serde_json::json!({
        "type": "aggregation", "op": "topk", "expr": x, "param": number("3"), "grouping": ["a", "b"], "without": true,
    });
    assert_eq!(top, expected);
    let joined = parsed("x == bool on (a) group_left (c) x").await;
    let matching = serde_json::json!({ "card": "many-to-one", "labels": ["a"], "on": true, "include": ["c"] });
    assert_eq!((&joined["op"], &joined["bool"], &joined["matching"]), (&"==".into(), &true.into(), &matching));
    assert_eq!(parsed("x and x").await["matching"]["card"], "many-to-many");
    assert_eq!(parsed("x / x").await["matching"]["card"], "one-to-one");
    assert_eq!(parsed("x / 2").await["matching"], Value::Null, "a number needs no match");
    // What is outside of the subset can be drawn all the same.
    let subquery = parsed("max_over_time(x[1h:5m] offset 1m)").await["args"][0].clone();
    let told = (&subquery["type"], &subquery["range"], &subquery["step"], &subquery["offset"]);
    assert_eq!(told, (&"subquery".into(), &3_600_000.into(), &300_000.into(), &60_000.into()));
}

#[tokio::test]
async fn names_and_values_are_listed() {
    let (_, _, router) = world(2, 1, true).await;
    let names = success(&router, "label/__name__/values").await;
    let names: Vec<&str> = names["data"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for name in [
        "by_route_events_total",
        "by_route_price_sum_total",
        "by_route_price_min",
        "by_route_price_avg:5m",
        "events_total",
        "errors_rate:1h",
        "processing_latency:5m",
        "carriers",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(names.is_sorted());
    let labels = post(&router, "labels", "match[]=carriers").await;
    assert_eq!(labels["data"], serde_json::json!(["__name__", "carrier"]));
    let carriers = serde_json::json!(["AA", "UA", "a,b"]);
    assert_eq!(success(&router, "label/carrier/values").await["data"], carriers);
    let path = format!(
        "label/carrier/values?match[]={}&start={}&end={AT}",
        escape("events_total{origin=\"JFK\"}"),
        AT - 86_400
    );
    assert_eq!(success(&router, &path).await["data"], carriers);
    assert_eq!(success(&router, "label/carrier/values?start=1000&end=2000").await["data"], serde_json::json!([]));
    assert_eq!(success(&router, "label/nothing/values").await["data"], serde_json::json!([]));
    let limited = success(&router, "label/carrier/values?limit=2").await;
    assert_eq!(
        (limited["data"].as_array().map(Vec::len), &limited["warnings"][0]),
        (Some(2), &"results truncated due to limit".into())
    );
    let names = success(
        &router,
        &format!("label/__name__/values?match[]={}", escape("{__name__=~\"events.*\",carrier=\"UA\"}")),
    )
    .await;
    assert_eq!(names["data"], serde_json::json!(["events_total", "events_total:1h", "events_total:5m"]));
    let series = success(&router, &format!("series?match[]={}", escape("carriers{carrier!=\"UA\"}"))).await;
    let expected = ["", "AA", "a,b"].map(|carrier| match carrier {
        "" => serde_json::json!({ "__name__": "carriers" }),
        _ => serde_json::json!({ "__name__": "carriers", "carrier": carrier }),
    });
    assert_eq!(series["data"], serde_json::json!(expected));
    let metadata = success(&router, "metadata?metric=events_total").await;
    let expected = serde_json::json!({ "events_total": [{ "type": "counter", "help": "all events", "unit": "" }] });
    assert_eq!(metadata["data"], expected);
    let gauge = success(&router, "metadata?metric=spend:5m").await;
    assert_eq!(gauge["data"]["spend:5m"][0]["unit"], "euros");
    assert_eq!(success(&router, "metadata?limit=3").await["data"].as_object().map(serde_json::Map::len), Some(3));
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_their_words() {
    let (_, _, router) = world(1, 0, false).await;
    let query = |text: &str| format!("query?time={AT}&query={}", escape(text));
    let cases = [
        (query("sum("), 400, "bad_data", "unclosed left parenthesis"),
        (query(""), 400, "bad_data", "the query is empty"),
        ("query".to_owned(), 400, "bad_data", "it is missing"),
        ("query?query=1&time=yesterday".to_owned(), 400, "bad_data", "cannot parse"),
        (
            query("histogram_quantile(0.9, events_total)"),
            422,
            "execution",
            "function histogram_quantile is outside the supported subset",
        ),
        (query("max_over_time(events_total[1h:5m])"), 422, "execution", "a subquery is outside the supported subset"),
        (query("rate(events_total[90s])"), 422, "execution", "the next is [2m]"),
        (query("rate(by_route_price_min[5m])"), 422, "execution", "is a gauge"),
        (query("limitk(2, events_total)"), 422, "execution", "aggregation limitk is outside"),
        (query("events_total + on() events_total"), 422, "execution", "many-to-many"),
        (query("events_total * on(carrier) sum by (carrier) (events_total)"), 422, "execution", "group_left"),
        (
            query("label_replace(events_total, \"a b\", \"x\", \"carrier\", \".*\")"),
            422,
            "execution",
            "invalid label name",
        ),
        (query(&"(".repeat(1_000)), 400, "bad_data", "400 operators"),
        ("query_range?query=1&start=10&end=5&step=1".to_owned(), 400, "bad_data", "before start"),
        ("query_range?query=1&start=1&end=5&step=0".to_owned(), 400, "bad_data", "zero or negative"),
        ("query_range?query=1&start=1&end=99999&step=1".to_owned(), 400, "bad_data", "11,000 points"),
        ("query_range?query=events_total[5m]&start=1&end=5&step=1".to_owned(), 400, "bad_data", "range vector"),
        ("series".to_owned(), 400, "bad_data", "no match[]"),
        ("labels?match[]=1%2B1".to_owned(), 400, "bad_data", "no series selector"),
        (format!("{}&timeout=0.0000001", query("events_total")), 503, "timeout", "timed out"),
        ("status/config".to_owned(), 404, "not_found", "endpoint"),
        ("targets".to_owned(), 404, "not_found", "scrapes no targets"),
        ("parse_query".to_owned(), 400, "bad_data", "it is missing"),
        ("parse_query?query=sum(".to_owned(), 400, "bad_data", "unclosed left parenthesis"),
    ];
    for (path, status, kind, text) in cases {
        let (found, error, detail) = failure(&router, &path).await;
        assert_eq!((found, error.as_str()), (status, kind), "{path}: {detail}");
        assert!(detail.contains(text), "{path}: {detail}");
    }
    let told = success(&router, &query("by_route_event_total")).await;
    assert_eq!(told["infos"][0], "there is no series by_route_event_total; did you mean by_route_events_total?");
    let told = success(&router, &query("errors_rate")).await;
    assert_eq!(
        told["infos"][0],
        "there is no series errors_rate; errors_rate is a gauge by window, any multiple of 1m: errors_rate:1h, errors_rate:5m"
    );
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let (world, _, router) = world(1, 0, false).await;
    let told = success(&router, &format!("query?time={AT}&query=events_total")).await;
    assert!(told["warnings"][0].as_str().is_some_and(|text| text.contains("no batch generation yet")), "{told}");
    let (_, _, whole) = super::world(1, 2, true).await;
    assert_eq!(success(&whole, &format!("query?time={AT}&query=events_total")).await.get("warnings"), None);
    // A partition of which the speed layer holds nothing.
    let half = World::new(1);
    let view = half.view("by_route");
    half.publish(&view, [half.boundaries[0][1], half.boundaries[1][1]]).await;
    half.fold(&view, 0, 1, half.end(0)).await;
    let router = crate::router(half.serving().await);
    let told = success(&router, &format!("query?time={AT}&query=events_total")).await;
    assert!(told["warnings"][0].as_str().is_some_and(|text| text.contains("clicks/1@")), "{told}");
    drop(world);
}

#[tokio::test]
async fn a_caller_sees_its_views_and_rows_only() {
    use seam_shared::access::{Caller, RowFilter, Scope};
    let (_, serving, whole) = super::world(2, 1, true).await;
    let filter = serde_json::json!({ "carrier": "UA" });
    let rows = RowFilter::from_json(filter.as_object().expect("an object")).expect("a filter");
    let scopes = vec![Scope::parse("query:by_route").expect("a scope")];
    let caller = Caller::new("test", scopes, rows, None);
    let router = crate::prometheus::routes(serving).layer(axum::Extension(caller));
    let all = instant(&whole, "sum by (carrier) (events_total)", AT).await;
    let own = instant(&router, "sum by (carrier) (events_total)", AT).await;
    assert_eq!(own, BTreeMap::from([("{\"carrier\":\"UA\"}".to_owned(), all["{\"carrier\":\"UA\"}"])]));
    assert!(all.len() > 1);
    assert_eq!(instant(&router, "sum(events_total)", AT).await.into_values().sum::<f64>(), all["{\"carrier\":\"UA\"}"]);
    assert!(instant(&router, "carriers", AT).await.is_empty(), "another view");
    assert!(instant(&router, "{__name__=~\"carriers.*\"}", AT).await.is_empty());
    assert_eq!(success(&router, "label/carrier/values").await["data"], serde_json::json!(["UA"]));
    let names = success(&router, "label/__name__/values").await;
    assert!(
        names["data"].as_array().expect("a list").iter().all(|name| !name.to_string().contains("carrier")),
        "{names}"
    );
    assert_eq!(success(&router, "metadata?metric=carriers").await["data"], serde_json::json!({}));
}

#[tokio::test]
async fn too_many_series_are_refused_with_the_limit() {
    let (mut world, _, router) = world(5, 2, true).await;
    let path = format!("query?query=by_route_events_total&time={AT}");
    let series = success(&router, &path).await["data"]["result"].as_array().map(Vec::len).expect("a list");
    assert!(series > 2);
    for (limit, fits) in [(series, true), (series - 1, false)] {
        let mut config = (*world.config).clone();
        config.server.prometheus.max_series = limit;
        world.config = Arc::new(config);
        let router = crate::router(world.serving().await);
        if fits {
            success(&router, &path).await;
            continue;
        }
        let (status, kind, text) = failure(&router, &path).await;
        assert_eq!((status, kind.as_str()), (422, "execution"));
        assert!(text.contains(&format!("more than {limit} series")), "{text}");
    }
}
