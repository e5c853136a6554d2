//! `/metrics`: the platform's own metrics in the format that the scraper asks for.
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use seam_shared::log::Partition;
use seam_shared::telemetry::Telemetry;

use crate::Serving;
use crate::query::Layer;

/// Prints all metrics.
pub async fn print(State(serving): State<Arc<Serving>>, headers: HeaderMap) -> Response {
    measure_lag(&serving).await;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (content_type, body) = if accept.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", serving.telemetry().encode_openmetrics())
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", serving.telemetry().encode())
    };
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// Sets the lag of each partition: that of the view furthest behind. A view that cannot be pinned leaves it as it was.
async fn measure_lag(serving: &Serving) {
    for source in &serving.config().sources {
        let views = serving.config().views_of(&source.name);
        let Ok(pin) = serving.pin(&views, Layer::Merged, false).await else { continue };
        let Some((_, coverage)) = crate::stamp::common_coverage(&pin.views).pop() else { continue };
        for (number, lag) in serving.lag(&source.name, &coverage) {
            let labels = Telemetry::partition_labels(&Partition::new(source.name.as_str(), number));
            serving.telemetry().consumer_lag_records.get_or_create(&labels).set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
    }
}
