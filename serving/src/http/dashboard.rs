//! `/api/analytics/dashboard`: the configured metrics at one snapshot.
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::http::Uri;
use axum::response::Response;
use seam_shared::access::Caller;
use tokio::time::Instant;

use super::{known, metrics, parameters};
use crate::Serving;

/// All metrics of the dashboard.
pub async fn answer(
    State(serving): State<Arc<Serving>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let begun = Instant::now();
    let known = known(&headers);
    let answered = async { serving.dashboard(&caller, &parameters(&uri)?, known).await };
    metrics::finish(&serving, "dashboard", begun, &uri, answered.await, known)
}
