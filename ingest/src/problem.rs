//! Refusals over HTTP: RFC 9457 problem documents.
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use seam_shared::{Error, Kind};
use serde::Serialize;

use crate::door::LineError;

/// A problem document. Its `type` is `urn:seam:problem:<name>`.
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: Box<str>,
    title: &'static str,
    status: u16,
    detail: Box<str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    instance: String,
    /// How many events were refused, if all were.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<LineError>,
}

impl Problem {
    /// A problem called `name`, that says `detail`.
    pub fn new(status: StatusCode, name: &str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem");
        let kind = format!("urn:seam:problem:{name}").into();
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into().into(),
            instance: String::new(),
            rejected: None,
            errors: Vec::new(),
        }
    }
    /// The same problem at the request's path.
    #[must_use]
    pub fn at(mut self, instance: impl Into<String>) -> Self {
        self.instance = instance.into();
        self
    }
    /// The same problem with how many events were refused, and the first of them.
    #[must_use]
    pub fn with_refused(mut self, rejected: u64, errors: Vec<LineError>) -> Self {
        self.rejected = Some(rejected);
        self.errors = errors;
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, name) = match error.kind() {
            Kind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Kind::Denied => (StatusCode::FORBIDDEN, "denied"),
            Kind::Conflict => (StatusCode::CONFLICT, "conflict"),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Kind::Corrupt | Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Problem::new(status, name, error.message())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = status == StatusCode::SERVICE_UNAVAILABLE;
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        if retry {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}
