//! `/metrics`: the platform's own metrics in the format that the scraper asks for.
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use seam_shared::log::{Offset, Partition};
use seam_shared::telemetry::Telemetry;

use crate::Serving;
use crate::query::Layer;

/// Prints all metrics.
pub async fn print(State(serving): State<Arc<Serving>>, headers: HeaderMap) -> Response {
    serving.measure_lag().await;
    respond(serving.telemetry(), &headers)
}

/// All metrics in the format that the `Accept` header asks for.
pub fn respond(telemetry: &Telemetry, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (content_type, body) = if accept.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", telemetry.encode_openmetrics())
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", telemetry.encode())
    };
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

impl Serving {
    /// Sets for each partition the lag, which is that of the view furthest behind, and what no generation covers. A view that cannot
    /// be pinned leaves them as they were.
    pub async fn measure_lag(&self) {
        for source in &self.config().sources {
            let views = self.config().views_of(&source.name);
            let Ok(pin) = self.pin(&views, Layer::Merged, false).await else { continue };
            let Some((_, coverage)) = crate::pin::stamp::common_coverage(&pin.views).pop() else { continue };
            let mut cut = coverage.clone();
            for (&number, position) in &mut cut.0 {
                let cuts =
                    pin.views.iter().map(|view| view.generation.as_ref().map_or(Offset(0), |g| g.cut.get(number)));
                *position = cuts.min().unwrap_or_default();
            }
            let telemetry = self.telemetry();
            for (from, gauge) in [(coverage, &telemetry.consumer_lag_records), (cut, &telemetry.rebuild_records)] {
                for (number, records) in self.lag(&source.name, &from) {
                    let labels = Telemetry::partition_labels(&Partition::new(source.name.as_str(), number));
                    gauge.get_or_create(&labels).set(i64::try_from(records).unwrap_or(i64::MAX));
                }
            }
        }
    }
}
