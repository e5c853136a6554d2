//! Why a query has no answer, in the words of Prometheus' API.
use axum::http::StatusCode;
use seam_shared::Kind;

use crate::query::Refusal;

/// The kinds that Prometheus' API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The request cannot be read.
    BadData,
    /// The query cannot be evaluated.
    Execution,
    /// It took longer than it may.
    Timeout,
    /// What it needs is away for now.
    Unavailable,
    /// The caller may not see it.
    Denied,
    /// There is no such endpoint.
    NotFound,
    /// Something is broken here.
    Internal,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the caller should do.
    pub reason: Reason,
    /// What is wrong.
    pub text: String,
}

impl Failure {
    /// The request cannot be read.
    pub fn bad_data(text: impl Into<String>) -> Failure {
        Failure { reason: Reason::BadData, text: text.into() }
    }
    /// The query cannot be evaluated.
    pub fn execution(text: impl Into<String>) -> Failure {
        Failure { reason: Reason::Execution, text: text.into() }
    }
    /// What is legal PromQL, but not spoken here.
    pub fn outside(what: &str, instead: &str) -> Failure {
        Failure::execution(format!("{what} is outside the supported subset: {instead}"))
    }
    /// The status of the response, and `errorType`.
    pub fn status(&self) -> (StatusCode, &'static str) {
        match self.reason {
            Reason::BadData => (StatusCode::BAD_REQUEST, "bad_data"),
            Reason::Execution => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            Reason::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            Reason::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Reason::Denied => (StatusCode::FORBIDDEN, "forbidden"),
            Reason::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Reason::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let reason = match refusal.kind {
            Kind::Unavailable | Kind::Conflict => Reason::Unavailable,
            Kind::Denied => Reason::Denied,
            Kind::Corrupt | Kind::Internal => Reason::Internal,
            Kind::Invalid | Kind::NotFound | Kind::TooLarge => Reason::Execution,
        };
        let meant = refusal.suggestion.map_or(String::new(), |suggestion| format!("; did you mean {suggestion}?"));
        Failure { reason, text: refusal.detail + &meant }
    }
}
