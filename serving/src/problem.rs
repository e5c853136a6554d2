//! Problem documents (RFC 9457): the one place that knows which status an error has.
use axum::body::Body;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::Response;
use seam_shared::Kind;

use crate::json::Json;
use crate::query::Refusal;

/// Seconds after which a caller may try again what is unavailable now.
const RETRY_AFTER: &str = "1";

/// The status of an error.
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Corrupt | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The status of a refusal: its kind's, but for what HTTP has a status of its own for.
fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal.problem {
        "not-acceptable" => StatusCode::NOT_ACCEPTABLE,
        "method-not-allowed" => StatusCode::METHOD_NOT_ALLOWED,
        "media-type" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "body-too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        // it was there, and will not be again
        "generation-retired" => StatusCode::GONE,
        _ => status(refusal.kind),
    }
}

/// A refusal as a response.
pub fn respond(uri: &Uri, refusal: &Refusal) -> Response {
    if matches!(refusal.kind, Kind::Corrupt | Kind::Internal) {
        tracing::error!(problem = refusal.problem, detail = %refusal.detail, path = uri.path(), "a request failed");
    }
    document(status_of(refusal), refusal, uri.path())
}

/// A method that a route does not have.
pub fn method_not_allowed(uri: &Uri, method: &Method) -> Response {
    let detail = format!("{} does not answer {method}", uri.path());
    let refusal =
        Refusal { kind: Kind::Invalid, problem: "method-not-allowed", detail, parameter: None, suggestion: None };
    document(status_of(&refusal), &refusal, uri.path())
}

/// A bug, told without its details.
pub fn of_panic(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request panicked");
    let detail = "a bug; the server's log says more".to_owned();
    let refusal = Refusal { kind: Kind::Internal, problem: "internal", detail, parameter: None, suggestion: None };
    document(StatusCode::INTERNAL_SERVER_ERROR, &refusal, "")
}

/// What is below speaks Prometheus' API; its clients read no other form of a refusal.
const PROMETHEUS: &str = "/prometheus/api/";

/// A refusal in the words of Prometheus' API.
fn of_prometheus(status: StatusCode, detail: &str) -> Vec<u8> {
    let kind = match status {
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::TOO_MANY_REQUESTS => "too_many_requests",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        status if status.is_server_error() => "internal",
        _ => "bad_data",
    };
    let mut json = Json::default();
    json.open('{').key("status").text("error").key("errorType").text(kind).key("error").text(detail).close('}');
    json.into_bytes()
}

/// A refusal as a document with this status.
pub fn document(status: StatusCode, refusal: &Refusal, path: &str) -> Response {
    let mut detail = refusal.detail.clone();
    if let Some(suggestion) = &refusal.suggestion {
        detail.push_str(&format!("; did you mean {suggestion}?"));
    }
    if path.starts_with(PROMETHEUS) {
        return response(status, "application/json", of_prometheus(status, &detail));
    }
    let mut json = Json::default();
    json.open('{').key("type").text(&format!("urn:seam:problem:{}", refusal.problem));
    json.key("title").text(&refusal.problem.replace('-', " ")).key("status").number(u64::from(status.as_u16()));
    json.key("detail").text(&detail).key("instance").text(path);
    if let Some(suggestion) = &refusal.suggestion {
        json.key("suggestion").text(suggestion);
    }
    if let Some(parameter) = &refusal.parameter {
        // A member of a body is named by its JSON pointer.
        let key = if parameter.starts_with('#') { "pointer" } else { "parameter" };
        json.key("errors").open('[').open('{').key(key).text(parameter);
        json.key("detail").text(&refusal.detail).close('}').close(']');
    }
    json.close('}');
    response(status, "application/problem+json", json.into_bytes())
}

fn response(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, content_type);
    response = response.header(header::CACHE_CONTROL, "no-store");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response = response.header(header::RETRY_AFTER, RETRY_AFTER);
    }
    response.body(Body::from(body)).expect("the headers are constants")
}
