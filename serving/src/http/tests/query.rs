//! Several metrics side by side over HTTP, typed formats, and what is refused with a pointer.
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::{ROUTE, whole};
use crate::testing::{World, bytes, get, json as read, request};

const QUERY: &str = "/api/analytics/query";

async fn post(router: &Router, path: &str, body: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let asked = Request::post(path).header("content-type", "application/json");
    let asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(*name, *value));
    request(router, asked.body(Body::from(body.to_owned())).expect("a request")).await
}

async fn ask(router: &Router, body: &Value) -> Value {
    let response = post(router, QUERY, &body.to_string(), &[]).await;
    assert_eq!(response.status(), 200, "{body}");
    read(response).await
}

/// The rows of one metric by time and group.
async fn alone(router: &Router, metric: &str, query: &str) -> Vec<Value> {
    let answer = read(get(router, &format!("{ROUTE}/{metric}?{query}")).await).await;
    answer["points"].as_array().expect("rows").clone()
}

#[tokio::test]
async fn metrics_side_by_side_are_the_same_as_alone_at_one_snapshot() {
    let (world, router) = whole(5).await;
    let query = "dimension=carrier&from=2025-12-31T22:00:00Z&to=2026-01-01T00:05:00Z&step=5m&window=1h&limit=10000";
    let metrics = ["events.total", "errors.rate", "spend", "carriers"];
    let asked = json!({
        "metrics": metrics, "dimensions": ["carrier"], "range": ["2025-12-31T22:00:00Z", "2026-01-01T00:05:00Z"],
        "step": "5m", "window": "1h", "limit": 10000,
    });
    let answer = ask(&router, &asked).await;
    let rows = answer["points"].as_array().expect("rows");
    assert!(rows.len() > 40, "{}", rows.len());
    for (i, metric) in metrics.into_iter().enumerate() {
        let own = alone(&router, metric, query).await;
        assert!(!own.is_empty());
        for point in &own {
            let row = rows.iter().find(|row| row["time"] == point["time"] && row["carrier"] == point["carrier"]);
            assert_eq!(row.expect("a row")[metric], point["value"], "{metric} {point}");
        }
        let others = rows
            .iter()
            .filter(|row| !own.iter().any(|point| point["time"] == row["time"] && point["carrier"] == row["carrier"]));
        for row in others {
            assert_eq!(row[metric], if i % 3 == 0 { json!(0) } else { json!(null) }, "{metric}");
        }
    }
    assert!(rows.is_sorted_by(|a, b| a["time"].as_str() <= b["time"].as_str()));
    let views: Vec<&str> =
        answer["meta"]["stamp"]["views"].as_array().expect("views").iter().filter_map(|v| v["view"].as_str()).collect();
    assert_eq!(views, ["by_carrier", "by_route"]);
    let coverage = format!("clicks/0@{},clicks/1@{}", world.end(0), world.end(1));
    assert_eq!(answer["meta"]["stamp"]["coverage"], coverage);
    assert_eq!(answer["meta"]["shares"]["errors.rate"][0]["view"], "by_route");
}

#[tokio::test]
async fn filters_say_the_same_as_conditions() {
    let (_, router) = whole(4).await;
    let cases = [
        (json!([["is", "origin", ["eu:west", "JFK"]]]), r#"origin in ["eu:west","JFK"]"#),
        (json!(["is", "origin", "JFK"]), r#"origin = "JFK""#),
        (
            json!([["is", "origin", [null, "JFK"]], ["is_not", "carrier", ["UA"]]]),
            r#"(origin is null or origin = "JFK") and (carrier != "UA" or carrier is null)"#,
        ),
        (
            json!(["or", ["is", "carrier", [null]], ["not", ["is", "origin", ["null"]]]]),
            r#"carrier is null or not origin = "null""#,
        ),
        (
            json!(["and", [["gt", "carrier", "B"], ["is_not", "origin", [null]]]]),
            r#"carrier > "B" and origin is not null"#,
        ),
        (json!(["is_not", "carrier", [null, "a,b"]]), r#"carrier is not null and carrier != "a,b""#),
        (json!(["is", "origin", ["\"q\""]]), r#"origin = "\"q\"""#),
    ];
    for (filter, condition) in cases {
        let asked =
            json!({"metrics": ["events.total"], "window": "4h", "filter": filter, "at": "2026-01-01T00:05:00Z"});
        let filtered = ask(&router, &asked).await;
        let asked =
            json!({"metrics": ["events.total"], "window": "4h", "where": condition, "at": "2026-01-01T00:05:00Z"});
        let conditioned = ask(&router, &asked).await;
        let value = &filtered["points"][0]["events.total"];
        assert!(value.as_u64().is_some_and(|n| n > 0), "{filter}: {filtered}");
        assert_eq!(value, &conditioned["points"][0]["events.total"], "{filter}");
    }
}

#[tokio::test]
async fn order_limit_pages_and_tags_work_as_for_one_metric() {
    let (_, router) = whole(5).await;
    let asked = json!({
        "metrics": ["spend", "events.total"], "dimensions": ["origin", "carrier"], "window": "4h", "order": ["-events.total", "origin"],
    });
    let all = ask(&router, &asked).await;
    let rows = all["points"].as_array().expect("rows").clone();
    let values: Vec<u64> = rows.iter().filter_map(|row| row["events.total"].as_u64()).collect();
    assert!(values.len() > 10 && values.is_sorted_by(|a, b| a >= b), "{values:?}");
    let mut page = asked.clone();
    page["limit"] = json!(7);
    let mut pages = Vec::new();
    loop {
        let answer = ask(&router, &page).await;
        pages.extend(answer["points"].as_array().expect("rows").clone());
        page["cursor"] = answer["meta"]["next"].clone();
        if page["cursor"].is_null() {
            break;
        }
    }
    assert_eq!(pages, rows);
    let first = post(&router, QUERY, &asked.to_string(), &[]).await;
    let tag = first.headers()["etag"].to_str().expect("text").to_owned();
    let again = post(&router, QUERY, &asked.to_string(), &[("if-none-match", &tag)]).await;
    assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().expect("text")), (304, tag.as_str()));
    for encoding in ["gzip", "zstd"] {
        let packed = post(&router, QUERY, &asked.to_string(), &[("accept-encoding", encoding)]).await;
        assert_eq!(packed.headers()["content-encoding"], encoding);
        let variant = packed.headers()["etag"].to_str().expect("text").to_owned();
        assert_eq!(variant, format!("{}-{encoding}\"", tag.trim_end_matches('"')));
        let again = post(&router, QUERY, &asked.to_string(), &[("if-none-match", &variant)]).await;
        assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().expect("text")), (304, variant.as_str()));
    }
}

fn from_stream(body: &[u8]) -> RecordBatch {
    let mut reader = StreamReader::try_new(body, None).expect("a stream");
    reader.next().expect("a batch").expect("readable")
}

#[tokio::test]
async fn arrow_and_parquet_have_typed_columns_and_the_stamp() {
    let (_, router) = whole(4).await;
    let query = "window=4h&dimension=carrier,origin&limit=6";
    let rows = alone(&router, "spend", query).await;
    let streamed = get(&router, &format!("{ROUTE}/spend.arrow?{query}")).await;
    assert_eq!(streamed.headers()["content-type"], "application/vnd.apache.arrow.stream");
    let coverage = streamed.headers()["seam-coverage"].to_str().expect("text").to_owned();
    let batch = from_stream(&bytes(streamed).await);
    assert_eq!(batch.schema().metadata()["seam.coverage"], coverage);
    let stamp: Value = serde_json::from_str(&batch.schema().metadata()["seam.stamp"]).expect("JSON");
    assert_eq!(stamp["coverage"], coverage);
    let parquet = get(&router, &format!("{ROUTE}/spend.parquet?{query}")).await;
    let body = bytes::Bytes::from(bytes(parquet).await);
    let reader = ParquetRecordBatchReaderBuilder::try_new(body).expect("a Parquet file");
    let notes = reader.metadata().file_metadata().key_value_metadata().expect("notes").clone();
    assert!(notes.iter().any(|note| note.key == "seam.coverage" && note.value.as_deref() == Some(&coverage)));
    let stored = reader.build().expect("readable").next().expect("a batch").expect("rows");
    for batch in [batch, stored] {
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["time", "start", "carrier", "origin", "value", "count", "sum", "avg", "min", "max"]);
        assert_eq!(batch.num_rows(), rows.len());
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let (carriers, sums) = (batch.column(2).as_string::<i32>(), batch.column(6).as_primitive::<Decimal128Type>());
        let counts = batch.column(5).as_primitive::<Int64Type>();
        let averages = batch.column(7).as_primitive::<Float64Type>();
        for (i, row) in rows.iter().enumerate() {
            let time = seam_shared::time::Timestamp(times.value(i)).to_rfc3339();
            assert_eq!(row["time"], time);
            assert_eq!(row["carrier"].as_str(), carriers.is_valid(i).then(|| carriers.value(i)));
            assert_eq!(row["count"].as_i64(), Some(counts.value(i)));
            let exact = sums.is_valid(i).then(|| seam_shared::view::value::decimal_text(sums.value(i), 2));
            assert_eq!(row["sum"].as_f64(), exact.map(|text| text.parse().expect("a number")));
            assert_eq!(row["avg"].as_f64(), averages.is_valid(i).then(|| averages.value(i)));
        }
    }
    let body = json!({"metrics": ["events.total", "errors.rate"], "dimensions": ["carrier"], "window": "4h"});
    for (path, headers) in
        [("/api/analytics/query.arrow", vec![]), (QUERY, vec![("accept", "application/vnd.apache.arrow.stream")])]
    {
        let streamed = post(&router, path, &body.to_string(), &headers).await;
        let batch = from_stream(&bytes(streamed).await);
        let types: Vec<String> = batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
        assert_eq!(types[3..], ["Int64", "Float64"], "{types:?}");
    }
    let csv = bytes(post(&router, "/api/analytics/query.csv", &body.to_string(), &[]).await).await;
    assert!(csv.starts_with(b"time,start,carrier,events.total,errors.rate\r\n"));
}

#[tokio::test]
async fn what_nobody_can_read_is_not_sent() {
    let (_, router) = whole(4).await;
    let image = Request::get(format!("{ROUTE}/spend")).header("accept", "image/png").body(Body::empty());
    let refused = request(&router, image.expect("a request")).await;
    assert_eq!(refused.status(), 406);
    assert_eq!(read(refused).await["type"], "urn:seam:problem:not-acceptable");
    let named = Request::get(format!("{ROUTE}/spend.csv")).header("accept", "image/png").body(Body::empty());
    assert_eq!(request(&router, named.expect("a request")).await.status(), 200, "an extension says more");
    let form = Request::post(QUERY).header("content-type", "application/x-www-form-urlencoded").body(Body::from("{}"));
    assert_eq!(request(&router, form.expect("a request")).await.status(), 415);
    let packed = Request::post("/api/analytics/query").header("content-encoding", "gzip").body(Body::from("{}"));
    assert_eq!(request(&router, packed.expect("a request")).await.status(), 415);
    let large = format!("{{\"metrics\": \"{}\"}}", "x".repeat(300 << 10));
    assert_eq!(post(&router, QUERY, &large, &[]).await.status(), 413);
}

#[tokio::test]
async fn refusals_point_to_the_member_at_fault() {
    let (_, router) = whole(2).await;
    let cases = [
        ("{", "#", "no JSON"),
        ("[]", "#", "no JSON object"),
        ("{}", "#/metrics", "name the metrics"),
        (r#"{"metrics": []}"#, "#/metrics", "name the metrics"),
        (r#"{"metrics": 3}"#, "#/metrics", "found a number"),
        (r#"{"metrics": ["events.totl"]}"#, "#/metrics/0", "did you mean events.total?"),
        (r#"{"metrics": ["spend", "spend"]}"#, "#/metrics/1", "there already"),
        (r#"{"metrics": ["spend"], "widow": "5m"}"#, "#/widow", "did you mean window?"),
        (r#"{"metrics": ["spend"], "a/b~": 1}"#, "#/a~1b~0", "no member"),
        (r#"{"metrics": ["spend"], "window": "90s"}"#, "#/window", "the nearest is 2m"),
        (r#"{"metrics": ["spend"], "window": {}}"#, "#/window", "found an object"),
        (r#"{"metrics": ["spend"], "range": ["now"]}"#, "#/range", "first moment and end"),
        (r#"{"metrics": ["spend"], "range": ["noon", "now"]}"#, "#/range/0", "is no time"),
        (r#"{"metrics": ["spend"], "range": ["now-1h", "now"], "to": "now"}"#, "#/to", "says already"),
        (r#"{"metrics": ["spend"], "dimensions": ["carier"]}"#, "#/dimensions", "did you mean carrier?"),
        (r#"{"metrics": ["spend"], "filter": ["is", "carier", ["UA"]]}"#, "#/filter/1", "did you mean carrier?"),
        (r#"{"metrics": ["spend"], "filter": [["is", "carrier", []]]}"#, "#/filter/0/2", "is empty"),
        (r#"{"metrics": ["spend"], "filter": [["si", "carrier", []]]}"#, "#/filter/0/0", "did you mean is?"),
        (r#"{"metrics": ["spend"], "filter": [["is", "carrier", [{}]]]}"#, "#/filter/0/2/0", "found an object"),
        (r#"{"metrics": ["spend"], "filter": [["is", "carrier", [3]]]}"#, "#/filter/0/2", "text"),
        (r#"{"metrics": ["spend"], "filter": "x"}"#, "#/filter", "found a text"),
        (r#"{"metrics": ["spend"], "order": ["-spent"]}"#, "#/order/0", "did you mean spend?"),
        (r#"{"metrics": ["spend"], "limit": 0}"#, "#/limit", "1 to 10000"),
        (r#"{"metrics": ["spend"], "cursor": "x"}"#, "#/cursor", "no cursor"),
        (r#"{"metrics": ["spend"], "min_position": "other/0@1"}"#, "#/min_position", "source other"),
    ];
    for (body, pointer, help) in cases {
        let response = post(&router, QUERY, body, &[]).await;
        assert_eq!(response.status(), 400, "{body}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem = read(response).await;
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(help), "{body}: {detail}");
    }
    let nested = format!("{}{}", r#"{"metrics":["spend"],"filter":"#, "[\"not\",".repeat(100));
    assert_eq!(post(&router, QUERY, &nested, &[]).await.status(), 400);
}

#[tokio::test]
async fn panes_that_differ_meet_on_the_coarser_grid() {
    let world = World::new(3);
    for name in ["by_route", "by_carrier"] {
        let view = world.view(name);
        world.hold(&view, 0, None).await;
    }
    let router = crate::http::router(world.serving().await);
    let answer = ask(&router, &json!({"metrics": ["events.total", "carriers"]})).await;
    assert_eq!(answer["points"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer["points"][0]["time"], "2026-01-01T00:05:00Z");
    assert_eq!(answer["points"][0]["events.total"], answer["points"][0]["carriers"]);
    let ranged =
        ask(&router, &json!({"metrics": ["carriers", "spend"], "range": ["now-1h", "now"], "step": "5m"})).await;
    assert_eq!(ranged["meta"]["from"], "2025-12-31T23:00:00Z");
}
