//! `POST /api/analytics/query`: several metrics side by side at one snapshot, asked for by a JSON object.
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use seam_shared::Kind;
use seam_shared::access::Caller;
use tokio::time::Instant;

use super::{known, metrics, negotiate, parameters};
use crate::Serving;
use crate::query::{Format, Refusal};

/// Bytes of the largest body.
pub const BODY_BYTES: usize = 256 << 10;

/// Where it is asked; with the extension of a format for those who cannot send an `Accept` header.
pub fn routes() -> Router<Arc<Serving>> {
    let plain = Router::new().route("/api/analytics/query", post(answer));
    let with_extension = |router: Router<Arc<Serving>>, (format, extension, _): (Format, &str, &str)| {
        let asked = move |State(serving): State<Arc<Serving>>,
                          caller: Asker,
                          uri: Uri,
                          headers: HeaderMap,
                          body: Body| async move {
            respond(&serving, &caller, Ok(format), &uri, &headers, body).await
        };
        router.route(&format!("/api/analytics/query{extension}"), post(asked))
    };
    Format::NAMES.into_iter().fold(plain, with_extension).layer(DefaultBodyLimit::max(BODY_BYTES))
}

type Asker = Extension<Caller>;
type Body = Result<Bytes, BytesRejection>;

async fn answer(
    State(serving): State<Arc<Serving>>,
    caller: Asker,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(&serving, &caller, negotiate::format(&headers), &uri, &headers, body).await
}

async fn respond(
    serving: &Serving,
    caller: &Caller,
    format: Result<Format, Refusal>,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    let begun = Instant::now();
    let known = known(headers);
    let answered = async {
        if let Some((name, _)) = parameters(uri)?.into_iter().next() {
            let detail = format!("there is no parameter `{name}` here; write it into the body");
            return Err(Refusal::parameter(name, detail).named("unknown-parameter"));
        }
        check_media_type(headers)?;
        let body = body.map_err(unreadable)?;
        let inquiry = serving.inquire(caller, &body, format?)?;
        serving.sheet(&inquiry, known).await
    };
    metrics::finish(serving, "query", begun, uri, answered.await, known)
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|given| given.to_str().unwrap_or_default());
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let detail = format!("content encoding `{encoding}` cannot be read; send the query as it is");
        return Err(Refusal { kind: Kind::Invalid, problem: "media-type", detail, parameter: None, suggestion: None });
    }
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    Err(Refusal {
        kind: Kind::Invalid,
        problem: "media-type",
        detail: format!("media type `{essence}` cannot be read; send the query as application/json"),
        parameter: None,
        suggestion: None,
    })
}

fn unreadable(rejection: BytesRejection) -> Refusal {
    let too_large = rejection.into_response().status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE;
    let (problem, detail) = if too_large {
        ("body-too-large", format!("the body has more than {BODY_BYTES} bytes"))
    } else {
        ("invalid", "the body ended before it was whole".to_owned())
    };
    Refusal { kind: Kind::Invalid, problem, detail, parameter: None, suggestion: None }
}
