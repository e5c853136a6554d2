//! `/api/analytics/recommendations/{user}`: what is recommended to a user.
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use seam_shared::access::Caller;
use tokio::time::Instant;

use super::{known, metrics, negotiate, parameters};
use crate::Serving;
use crate::advice::question;
use crate::percent::decoded;
use crate::query::Refusal;

/// The recommendations of the user that the path names.
pub async fn answer(
    State(serving): State<Arc<Serving>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (begun, known) = (Instant::now(), known(&headers));
    let answered = async {
        let part = uri.path().rsplit('/').next().unwrap_or_default();
        let user = decoded(part);
        let user = user.ok_or_else(|| Refusal::parameter("user", format!("`{part}` is no percent-encoded text")))?;
        let (given, asked) = (parameters(&uri)?, (serving.now(), negotiate::format(&headers)?));
        let question = question(serving.config(), |view| serving.shown(view), (&caller, &user), &given, asked)?;
        serving.recommend(&Arc::new(question), known).await
    };
    metrics::finish(&serving, "recommendations", begun, &uri, answered.await, known)
}
