//! The raw events behind a cell: as many as it counts, from archive and log, page by page.
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures::StreamExt;
use seam_shared::clock::Clock;
use seam_shared::event::decode::Decoder;
use seam_shared::lake::archive::{ArchiveTable, NewFile, Tail};
use seam_shared::lake::archive_file;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{EventLog, NewRecord, Offset, Partition};
use seam_shared::telemetry::Telemetry;
use seam_shared::view::value::{Value as FieldValue, decimal_text};
use serde_json::{Value, json};

use super::ROUTE;
use crate::testing::{Event, World, get, json as read, request};
use crate::{Serving, Settings, Stores};

fn text(event: &Event) -> String {
    let quoted = |value: &FieldValue| if *value == FieldValue::Null { Value::Null } else { json!(value.to_string()) };
    let price = event.price.map_or("null".to_owned(), |price| decimal_text(price, 2));
    let delay = match event.delay {
        None => "null".to_owned(),
        Some(delay) if delay.is_nan() => "\"NaN\"".to_owned(),
        Some(delay) if delay.is_infinite() => "\"Infinity\"".to_owned(),
        Some(delay) => delay.to_string(),
    };
    format!(
        r#"{{"id":"e{}-{}","time":"{}","carrier":{},"origin":{},"price":{price},"delay":{delay}}}"#,
        event.partition,
        event.offset,
        event.time.to_rfc3339(),
        quoted(&event.carrier),
        quoted(&event.origin)
    )
}

/// A world whose events are in a log, and in an archive up to its fourth boundary; the batch layer covers two segments, and each
/// partition ends with a record that is there already.
async fn world_with_events(seed: u64) -> (World, Router) {
    let (world, router, _) = world_and_log(seed).await;
    (world, router)
}

async fn world_and_log(seed: u64) -> (World, Router, Arc<MemoryLog>) {
    let mut world = World::new(seed);
    let clock: Arc<dyn Clock> = world.clock.clone();
    let log = Arc::new(MemoryLog::new(clock.clone()));
    world.incarnation = log.open("clicks", 2).await.expect("opened").incarnation;
    let view = world.view("by_route");
    let table =
        ArchiveTable::open(world.lake.clone(), &view.source, &world.incarnation, clock.clone()).await.expect("opened");
    for partition in 0..2 {
        let place = Partition::new("clicks", partition);
        let events: Vec<Event> = world.events.iter().filter(|e| e.partition == partition).cloned().collect();
        for event in events.iter().chain(events.last()) {
            let (_, end) = log.bounds(&place).await.expect("bounds");
            log.skip(&place, event.offset.saturating_sub(end.0)).expect("skipped");
            let record = NewRecord { partition, value: text(event).into() };
            log.append("clicks", vec![record]).await.expect("appended");
        }
        let cuts = &world.boundaries[partition as usize];
        for range in [cuts[0]..cuts[2], cuts[2]..cuts[4]] {
            let chunk = log.read(&place, Offset(0), 1_000, 1 << 20).await.expect("read");
            let parts = [(Decoder::new(view.source.clone()).decode(&chunk), chunk)];
            let (from, to) = (Offset(range.start), Offset(range.end));
            let content = archive_file::write(&view.source, partition, &parts, from..to).expect("written");
            let file = NewFile { partition, from, to, boundaries: vec![from], content, anchor: None };
            table.commit_file(file).await.expect("committed");
        }
        world.fold(&view, partition, 2, world.end(partition) + 1).await;
    }
    world.publish(&view, [world.boundaries[0][2], world.boundaries[1][2]]).await;
    let stores = Stores { log: Some(log.clone()), state: world.state.clone(), lake: world.lake.clone() };
    let telemetry = Arc::new(Telemetry::new());
    let serving = Arc::new(Serving::new(world.config.clone(), stores, clock, telemetry, Settings::default()));
    serving.refresh().await.expect("refreshed");
    (world, crate::http::router(serving), log)
}

async fn rows(router: &Router, metric: &str, query: &str) -> (Vec<Value>, usize) {
    let (mut all, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let uri = format!("/api/analytics/explain/{metric}/rows?{query}{cursor}");
        let response = get(router, &uri).await;
        let status = response.status();
        let page = read(response).await;
        assert_eq!(status, 200, "{uri}: {page}");
        all.extend(page["rows"].as_array().expect("rows").clone());
        pages += 1;
        match page["meta"]["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (all, pages),
        }
    }
}

#[tokio::test]
async fn there_are_as_many_rows_as_the_cell_counts() {
    let mut seen = (0, 0);
    for seed in [3, 9] {
        let (world, router) = world_with_events(seed).await;
        let queries = [
            "window=4h",
            "window=1h",
            "window=5m",
            "window=2h&at=2025-12-31T23:30:00Z",
            "window=4h&dimension=origin:eu:west",
            "window=4h&dimension=carrier:null,carrier:UA",
            "window=4h&where=carrier%20in%20(%22UA%22,%20%22AA%22)%20and%20origin%20is%20null",
            "window=4h&layer=batch",
            "window=4h&layer=speed",
        ];
        for query in queries {
            for (metric, member) in [
                ("events.total", "value"),
                ("errors.total", "value"),
                ("spend", "count"),
                ("processing.latency", "count"),
            ] {
                let cell = read(get(&router, &format!("{ROUTE}/{metric}?{query}")).await).await;
                let counted: u64 =
                    cell["points"].as_array().expect("rows").iter().filter_map(|p| p[member].as_u64()).sum();
                let (found, _) = rows(&router, metric, query).await;
                assert_eq!(found.len() as u64, counted, "{metric}?{query}");
                seen.0 += found.iter().filter(|row| row["part"] == "batch").count();
                seen.1 += found.iter().filter(|row| row["part"] == "speed").count();
                let places: std::collections::BTreeSet<String> =
                    found.iter().map(|row| format!("{}@{}", row["partition"], row["offset"])).collect();
                assert_eq!(places.len(), found.len(), "each once");
                for row in &found {
                    let offset = row["offset"].as_u64().expect("a number");
                    let partition = if row["partition"] == "clicks/0" { 0 } else { 1 };
                    let event =
                        world.events.iter().find(|e| (e.partition, e.offset) == (partition, offset)).expect("known");
                    assert_eq!(row["event"], serde_json::from_str::<Value>(&text(event)).expect("JSON"));
                }
            }
        }
    }
    assert!(seen.0 > 20 && seen.1 > 20, "{seen:?}");
}

#[tokio::test]
async fn what_the_log_forgot_of_a_silent_source_is_read_from_its_tail() {
    let (world, router, log) = world_and_log(3).await;
    let (all, _) = rows(&router, "events.total", "window=4h&limit=1000").await;
    let source = world.view("by_route").source.clone();
    let table = ArchiveTable::existing(world.lake.clone(), &source, world.clock.clone()).await.expect("at hand");
    let (table, _) = table.expect("made");
    let archived = table.latest().await.expect("at hand");
    for number in 0..2 {
        let (partition, from) = (Partition::new("clicks", number), archived.position(number).expect("archived"));
        let (_, end) = log.bounds(&partition).await.expect("bounds");
        let mut records = log.read(&partition, from, usize::MAX, usize::MAX).await.expect("read");
        records.next = end;
        assert!(!records.is_empty());
        table.keep_tail(number, &Tail { from, records }).await.expect("kept");
        log.trim(&partition, end).await.expect("trimmed");
    }
    assert_eq!(rows(&router, "events.total", "window=4h&limit=1000").await.0, all);
}

#[tokio::test]
async fn pages_of_rows_are_of_one_moment_and_bounded() {
    let (_, router) = world_with_events(5).await;
    let (all, _) = rows(&router, "events.total", "window=4h&limit=1000").await;
    let (paged, pages) = rows(&router, "events.total", "window=4h&limit=7").await;
    assert_eq!(paged, all);
    assert!(pages > 10, "{pages}");
    let part = |of: &'static str| rows(&router, "errors.rate", of);
    let (numerator, denominator) = (part("window=4h").await.0.len(), part("window=4h&of=denominator").await.0.len());
    assert!(numerator > 0 && numerator < denominator && denominator == all.len());
    let refused = async |query: &str| {
        let response = get(&router, &format!("/api/analytics/explain/events.total/rows?{query}")).await;
        (response.status().as_u16(), read(response).await["detail"].as_str().unwrap_or_default().to_owned())
    };
    for (query, help) in [
        ("limit=1001", "1 to 1000"),
        ("cursor=x", "no cursor"),
        ("cursor=0-0-99999_99999", "another log"),
        ("of=both", "numerator"),
        ("of=denominator", "only a ratio"),
        ("from=now-1h&window=5m", "one window"),
        ("windw=5m", "did you mean window?"),
    ] {
        let (status, detail) = refused(query).await;
        assert_eq!(status, 400, "{query}");
        assert!(detail.contains(help), "{query}: {detail}");
    }
}

#[tokio::test]
async fn an_explanation_counts_what_came_late_and_shows_rows() {
    let (world, router) = world_with_events(3).await;
    let explained = read(get(&router, "/api/analytics/explain/events.total?window=4h&rows=5").await).await;
    let view = &explained["views"][0];
    let cut = |partition: u32| world.boundaries[partition as usize][2];
    let definition = world.view("by_route");
    let in_batch = |e: &&Event| e.offset < cut(e.partition);
    let newest = world.events.iter().filter(in_batch).map(|e| definition.pane_of(e.time)).max().expect("some");
    let late = world.events.iter().filter(|e| !in_batch(e) && definition.pane_of(e.time) <= newest).count();
    assert!(late > 10, "{late}");
    assert_eq!(view["late"]["events"], late);
    assert_eq!(explained["raw"]["rows"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn a_feed_goes_on_where_it_was_broken_off() {
    let (_, router) = world_with_events(3).await;
    let uri = "/api/analytics/live?metric=events.total&dimension=carrier&window=4h";
    let begin = async |id: Option<&str>| {
        let asked = id.into_iter().fold(Request::get(uri), |asked, id| asked.header("last-event-id", id));
        let response = request(&router, asked.body(Body::empty()).expect("a request")).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut parts = response.into_body().into_data_stream();
        let mut text = String::new();
        while !text.contains("\nid: ") && !text.starts_with("id: ") {
            text.push_str(std::str::from_utf8(&parts.next().await.expect("an event").expect("bytes")).expect("text"));
        }
        text
    };
    let first = begin(None).await;
    let data: Vec<Value> = first
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(data.len(), 4, "{first}");
    assert_eq!(first.matches("event: point").count(), 4);
    for point in &data {
        assert_eq!(point["old"], json!(null));
        assert!(point["stamp"]["views"][0]["generation"].is_number() && point["value"].is_number(), "{point}");
    }
    let ids: Vec<&str> = first.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.len(), 1, "only with the last event has the client seen all");
    let again = begin(Some(ids[0])).await;
    assert_eq!(again.trim_end(), format!("id: {}", ids[0]), "nothing changed since");
    assert_eq!(begin(Some("clicks/0@1;0000")).await.matches("event: point").count(), 4);
}
