//! The document says what the router does: every route and method, and the form of the answers.
use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::{ROUTE, whole};
use crate::http::openapi::document;
use crate::http::with_probes;
use crate::testing::{bytes, get, json as read, request};

/// Routes that another document describes, and the files of the page.
const ELSEWHERE: [&str; 2] = ["/prometheus/", "/page/"];

/// The router's paths, as its `Debug` tells them.
fn paths_of(router: &Router) -> BTreeSet<String> {
    let listed = regex::Regex::new(r#"RouteId\(\d+\): "([^"]+)""#).expect("a pattern");
    listed.captures_iter(&format!("{router:?}")).map(|found| found[1].to_owned()).collect()
}

#[test]
fn where_keys_are_needed_the_document_tells_no_names() {
    let text = |access: &str| {
        let text = format!(
            "version: 1\nname: secret-shop\n{access}sources: {{ secret_source: {{ fields: {{ secret_field: string }} }} }}\n\
             views: {{ secret_view: {{ from: secret_source, dimensions: [secret_field], measures: {{ m: count() }} }} }}\n\
             metrics: {{ secret.metric: {{ view: secret_view, measure: m }} }}\n"
        );
        let config = seam_shared::config::load(&text, "seam.yaml").expect("a configuration");
        document(&config, vec![crate::http::openapi::analytics()]).to_string()
    };
    let open = text("");
    let closed = text("server: { access: { keys: ./keys.yaml } }\n");
    for name in ["secret-shop", "secret_source", "secret_view", "secret_field", "secret.metric"] {
        assert!(open.contains(name), "{name}");
        assert!(!closed.contains(name), "{name}");
    }
}

#[tokio::test]
async fn every_route_is_in_the_document_and_every_operation_is_a_route() {
    let (world, router) = whole(2).await;
    let document = read(get(&router, "/openapi.json").await).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut said = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        said.extend(
            item.as_object().expect("operations").keys().map(|method| format!("{} {path}", method.to_uppercase())),
        );
    }
    let mut routed = BTreeSet::new();
    let paths = paths_of(&with_probes(world.serving().await));
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths.iter().filter(|path| !ELSEWHERE.iter().any(|prefix| path.starts_with(prefix))) {
        let concrete = path.replace("{metric}", "events.total").replace("{view}", "by_route").replace("{*key}", "UA");
        let concrete = concrete.replace("{user}", "UA");
        let path = &path.replace("{*key}", "{key}");
        let refused =
            request(&router, Request::builder().method("TRACE").uri(&concrete).body(Body::empty()).expect("a request"))
                .await;
        // The fallback is listed too, under a name of its own and as the root.
        if refused.status() == 404 && (path == "/" || path.contains("__private")) {
            continue;
        }
        assert_eq!(refused.status(), 405, "{path}");
        let allowed = refused.headers()["allow"].to_str().expect("text").to_owned();
        routed.extend(allowed.split(',').filter(|method| *method != "HEAD").map(|method| format!("{method} {path}")));
    }
    let (unsaid, untrue): (Vec<_>, Vec<_>) = (routed.difference(&said).collect(), said.difference(&routed).collect());
    assert!(unsaid.is_empty() && untrue.is_empty(), "not in the document: {unsaid:?}; no such route: {untrue:?}");
}

/// What is wrong with a value, by the part of JSON Schema that the document uses.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = document.pointer(name.trim_start_matches('#'));
        return faults(document, target.unwrap_or_else(|| panic!("{name} is nowhere")), value, at, out);
    }
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind)) {
        out.push(format!("{at} is no {kinds:?}: {value}"));
    }
    if let Some(choices) = schema["enum"].as_array().filter(|choices| !choices.contains(value)) {
        out.push(format!("{at} is none of {choices:?}: {value}"));
    }
    if let Some(members) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                out.push(format!("{at} has no {name}"));
            }
        }
        for (name, member) in members {
            let own = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
            match own {
                Some(Value::Bool(false)) => out.push(format!("{at} may not have {name}")),
                Some(own) => faults(document, own, member, &format!("{at}/{name}"), out),
                None => {}
            }
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        faults(document, &schema["items"], item, &format!("{at}/{i}"), out);
    }
}

#[tokio::test]
async fn answers_have_the_form_that_the_document_gives_them() {
    let (_, router) = whole(5).await;
    let document = read(get(&router, "/openapi.json").await).await;
    let check = |schema: &str, value: &Value| {
        let mut out = Vec::new();
        faults(&document, &json!({"$ref": format!("#/components/schemas/{schema}")}), value, schema, &mut out);
        assert!(out.is_empty(), "{out:?}");
    };
    for (uri, schema) in [
        (format!("{ROUTE}/spend?window=4h&dimension=carrier,origin"), "MetricAnswer"),
        (format!("{ROUTE}/errors.rate?from=now-4h&step=5m&window=1h"), "MetricAnswer"),
        (format!("{ROUTE}/processing.latency?window=4h&layer=batch"), "MetricAnswer"),
        (ROUTE.to_owned(), "MetricList"),
        ("/api/analytics/dashboard".to_owned(), "Dashboard"),
        ("/api/analytics/views".to_owned(), "ViewList"),
        ("/api/analytics/views/by_route?limit=2".to_owned(), "KeyList"),
        ("/api/analytics/views/by_route/UA".to_owned(), "KeyState"),
        ("/api/analytics/views/by_route/UA?window=4h".to_owned(), "KeyState"),
        ("/api/analytics/explain/events.total?window=4h".to_owned(), "Explanation"),
        (format!("{ROUTE}/spnd"), "Problem"),
        (format!("{ROUTE}/spend?window=1ms"), "Problem"),
        ("/nowhere".to_owned(), "Problem"),
    ] {
        check(schema, &read(get(&router, &uri).await).await);
    }
    let body =
        json!({"metrics": ["spend", "errors.rate"], "dimensions": ["carrier"], "window": "4h", "order": "-spend"});
    check("Inquiry", &body);
    let asked =
        |body: &Value| Request::post("/api/analytics/query").body(Body::from(body.to_string())).expect("a request");
    check("SheetAnswer", &read(request(&router, asked(&body)).await).await);
    check("Problem", &read(request(&router, asked(&json!({"metrics": [1]}))).await).await);
    let mut out = Vec::new();
    faults(
        &document,
        &json!({"$ref": "#/components/schemas/MetricAnswer"}),
        &json!({"metric": 1, "points": [{"time": 3}]}),
        "",
        &mut out,
    );
    assert!(out.len() > 4, "the check finds what is wrong: {out:?}");
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let (_, router) = whole(2).await;
    let response = get(&router, "/docs").await;
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    let page = String::from_utf8(bytes(response).await).expect("text");
    assert!(page.len() < 60_000 && page.contains("openapi.json"));
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing from elsewhere");
}
