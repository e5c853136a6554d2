//! The guard itself: a request comes in, and either goes on with its caller or is answered 401, 403 or 429.
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use seam_shared::Kind;

use super::ring::Allowance;
use super::rules::{self, Need};
use super::tls::Peer;
use super::{Access, Known, Unknown, credentials};
use crate::problem;
use crate::query::Refusal;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The guard as a layer of its own.
pub async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    pass(&access, request, |request| next.run(request)).await
}

/// Takes a token out of a request that is not guarded.
pub fn forget_token(request: &mut Request) {
    credentials::take_parameter(request.uri_mut());
}

/// Lets a request through with its caller, or answers why not.
pub async fn pass<F>(access: &Access, mut request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let asked = rules::of(request.uri().path());
    let parameter = credentials::take_parameter(request.uri_mut()).filter(|_| asked.is_feed);
    if asked.need == Need::Nothing {
        return next(request).await;
    }
    let secret = credentials::of_headers(request.headers()).or(parameter);
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(address))| *address);
    let Known { caller, limit } = match access.identify(secret.as_deref(), peer).await {
        Ok(known) => known,
        Err(unknown) => return unauthorized(request.uri(), unknown),
    };
    let allowance = limit.map(|limit| limit.take());
    if let Some(allowance @ Allowance { wait: Some(wait), rate, .. }) = allowance {
        let detail = format!("this key may ask {rate}");
        let mut response = answer(request.uri(), StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail);
        retry_after(response.headers_mut(), wait);
        tell(response.headers_mut(), allowance);
        return response;
    }
    let mut response = if asked.is_had_by(&caller) {
        request.extensions_mut().insert(caller);
        next(request).await
    } else if asked.is_listed {
        let detail = match caller.is_filtered() && asked.need == Need::Admin {
            true => "this key sees some rows only, and what is asked for has no row filter".to_owned(),
            false => format!("this key has no scope `{}`", asked.scope()),
        };
        answer(request.uri(), StatusCode::FORBIDDEN, "denied", detail)
    } else {
        let detail = format!("there is nothing at {} for this key", request.uri().path());
        answer(request.uri(), StatusCode::NOT_FOUND, "no-such-route", detail)
    };
    if let Some(allowance) = allowance {
        tell(response.headers_mut(), allowance);
    }
    response
}

fn unauthorized(uri: &Uri, unknown: Unknown) -> Response {
    let (detail, challenge) = match unknown {
        Unknown::Nothing => ("send a key: `Authorization: Bearer <key>`", "Bearer realm=\"seam\""),
        Unknown::Wrong => ("this key is not known", "Bearer realm=\"seam\", error=\"invalid_token\""),
        Unknown::Expired => {
            ("this key has expired", "Bearer realm=\"seam\", error=\"invalid_token\", error_description=\"expired\"")
        }
        Unknown::Blocked(wait) => {
            let detail = "too many wrong keys came from this address".to_owned();
            let mut response = answer(uri, StatusCode::TOO_MANY_REQUESTS, "too-many-failures", detail);
            retry_after(response.headers_mut(), wait);
            return response;
        }
    };
    let mut response = answer(uri, StatusCode::UNAUTHORIZED, "unauthorized", detail.to_owned());
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

fn answer(uri: &Uri, status: StatusCode, problem: &'static str, detail: String) -> Response {
    let refusal = Refusal { kind: Kind::Denied, problem, detail, parameter: None, suggestion: None };
    problem::document(status, &refusal, uri.path())
}

/// Whole seconds, rounded up: a client that waits that long is not refused again.
fn retry_after(headers: &mut HeaderMap, wait: std::time::Duration) {
    headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
}

/// The limit and what is left of it, as draft-ietf-httpapi-ratelimit-headers has it.
fn tell(headers: &mut HeaderMap, allowance: Allowance) {
    let Allowance { rate, left, wait } = allowance;
    let window = rate.per.0 / 1_000_000;
    let policy = format!("\"key\";q={};w={window}", rate.count);
    let limit = format!("\"key\";r={left};t={}", wait.map_or(0, |wait| wait.as_secs() + 1));
    for (name, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, limit)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}
