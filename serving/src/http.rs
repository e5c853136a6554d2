//! Every URL of the serving layer on one screen.
pub mod assets;
pub mod connections;
pub mod dashboard;
pub mod explain;
pub mod front;
pub mod generations;
pub mod health;
pub mod live;
pub mod metrics;
pub mod negotiate;
pub mod openapi;
pub mod query;
pub mod recommendations;
pub mod telemetry;
pub mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::get;
use seam_shared::Kind;
use seam_shared::config::Config;
use tower::Layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

use crate::Serving;
use crate::access::Access;
use crate::answer::Answer;
use crate::answer::again::{Again, LAG};
use crate::pin::etag;
use crate::problem;
use crate::query::{Format, Refusal};
use front::Front;

/// The routes of the serving layer alone, with all that stands in front of them.
pub fn router(serving: Arc<Serving>) -> Router {
    let config = serving.config().clone();
    finish(with_probes(serving.clone()), &Arc::new(Access::open()), &config, Some(serving))
}

fn with_probes(serving: Arc<Serving>) -> Router {
    let probes = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(telemetry::print))
        .with_state(serving.clone());
    let described = openapi::routes(serving.config(), vec![openapi::analytics()]);
    routes(serving).merge(probes).merge(described)
}

/// The routes alone, without probes, for a server that adds its own and calls [`finish`] itself.
pub fn routes(serving: Arc<Serving>) -> Router {
    Router::new()
        .route("/api/analytics/metrics", get(metrics::list))
        .route("/api/analytics/metrics/{metric}", get(metrics::answer))
        .route("/api/analytics/explain/{metric}", get(explain::answer))
        .route("/api/analytics/explain/{metric}/rows", get(explain::rows))
        .merge(query::routes())
        .route("/api/analytics/generations/{view}", get(generations::list))
        .route("/api/analytics/views", get(views::list))
        .route("/api/analytics/views/{view}", get(views::keys))
        .route("/api/analytics/views/{view}/{*key}", get(views::answer))
        .route("/api/analytics/recommendations/{user}", get(recommendations::answer))
        .route("/api/analytics/dashboard", get(dashboard::answer))
        .route("/api/analytics/live", get(live::feed))
        .with_state(serving.clone())
        .merge(assets::routes())
        .merge(crate::prometheus::routes(serving.clone()))
        .merge(crate::alerts::routes(serving))
}

/// Adds what all routes share: the guard, a limit of bodies, problem documents for what no route answers, compression, the origins
/// whose pages may ask, and an answer even to a panic. What `serving` answered already does not pass the routes.
pub fn finish(router: Router, access: &Arc<Access>, config: &Config, serving: Option<Arc<Serving>>) -> Router {
    let routes = router.fallback(nothing_here).method_not_allowed_fallback(wrong_method);
    let limit = DefaultBodyLimit::max(usize::try_from(config.server.max_body).unwrap_or(usize::MAX));
    let front = Front { access: access.clone(), serving, routes: limit.layer(routes) };
    let router = Router::new().fallback_service(front);
    match cross_origin(&config.server.cors) {
        Some(origins) => router.layer((CatchPanicLayer::custom(problem::of_panic), origins)),
        None => router,
    }
}

/// What browsers are told about other origins; nothing unless some are configured, so that they keep answers from all of them.
fn cross_origin(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let exposed = ["etag", "retry-after", "ratelimit", "ratelimit-policy", "seam-lag", "seam-coverage", "seam-next"];
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_NONE_MATCH, header::CACHE_CONTROL])
            .expose_headers(exposed.map(HeaderName::from_static))
            .max_age(Duration::from_secs(600))
    })
}

async fn nothing_here(request: Request) -> Response {
    let refusal = Refusal {
        kind: Kind::NotFound,
        problem: "no-such-route",
        detail: format!("there is nothing at {}", request.uri().path()),
        parameter: None,
        suggestion: None,
    };
    problem::respond(request.uri(), &refusal)
}

async fn wrong_method(request: Request) -> Response {
    problem::method_not_allowed(request.uri(), request.method())
}

/// The decoded parameters of a URL in order.
pub(crate) fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Refusal> {
    let Some(query) = uri.query() else { return Ok(Vec::new()) };
    // Where nothing is encoded, there is nothing to decode.
    if !query.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        let parts = query.split('&').filter(|part| !part.is_empty());
        let parts = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
        return Ok(parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    }
    let parsed = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    parsed.map(|query| query.0).map_err(|error| Refusal {
        kind: Kind::Invalid,
        problem: "invalid-query-string",
        detail: error.to_string(),
        parameter: None,
        suggestion: None,
    })
}

/// An answer as a response: its tag, its body unless the caller has it, and how far the log is ahead.
fn respond(answer: Answer, known: Option<&str>) -> Response {
    // A caller that has a compressed form is told that this form is unchanged.
    let tag = match known {
        Some(header) if answer.body.is_none() => etag::known_as(header, &answer.tag),
        _ => answer.tag,
    };
    let mut response = Response::default();
    let headers = response.headers_mut();
    headers.reserve(6);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    headers.insert(header::ETAG, header_value(tag));
    if let Some(lag) = answer.lag {
        headers.insert(LAG, header_value(lag));
    }
    if let Some(building) = answer.building {
        headers.insert(HeaderName::from_static("seam-building"), header_value(building));
    }
    // What JSON says in its `meta`.
    if answer.format != Format::Json {
        headers.insert(HeaderName::from_static("seam-coverage"), header_value(answer.coverage));
        if let Some(next) = answer.next {
            headers.insert(HeaderName::from_static("seam-next"), header_value(next));
        }
    }
    match answer.body {
        Some(body) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.format.media_type()));
            *response.body_mut() = body.into();
        }
        None => *response.status_mut() = StatusCode::NOT_MODIFIED,
    }
    response
}

/// An answer that was given before, as a response.
fn respond_again(again: Again, known: Option<&str>) -> Response {
    let Again { tag, body, headers, lag } = again;
    let mut response = Response::default();
    *response.headers_mut() = headers;
    match body {
        Some(body) => *response.body_mut() = body.into(),
        None => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_TYPE);
            let given = known.map_or_else(|| tag.clone(), |known| etag::known_as(known, &tag));
            if given != tag {
                response.headers_mut().insert(header::ETAG, header_value(given));
            }
        }
    }
    if let Some(lag) = lag {
        response.headers_mut().insert(LAG, header_value(lag));
    }
    response
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("tags and lags are made of header characters")
}

/// The `If-None-Match` header.
fn known(headers: &axum::http::HeaderMap) -> Option<&str> {
    headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests;
