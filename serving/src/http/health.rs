//! `/livez` and `/readyz`: whether the process answers, and whether its answers reach what the log held when it started.
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use seam_shared::Result;

use crate::Serving;
use crate::query::Layer;

/// The process answers.
pub async fn live() -> Response {
    text(StatusCode::OK, "ok\n".to_owned())
}

/// The configuration is loaded, log, state and lake can be reached, and every view has caught up to where the log ended when
/// serving began. `?verbose` lists the checks.
pub async fn ready(State(serving): State<Arc<Serving>>, uri: Uri) -> Response {
    let mut checks = vec![("config".to_owned(), Ok(()))];
    checks.push(("log and lake".to_owned(), serving.refresh().await));
    for view in &serving.config().views {
        checks.push((format!("view {}", view.name), caught_up(&serving, view).await));
    }
    let ready = checks.iter().all(|(_, check)| check.is_ok());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = uri.query().is_some_and(|query| query.split('&').any(|p| p.split('=').next() == Some("verbose")));
    if ready && !verbose {
        return text(status, "ok\n".to_owned());
    }
    let mut body = String::new();
    for (name, check) in &checks {
        match check {
            Ok(()) => body.push_str(&format!("[+] {name}: ok\n")),
            Err(error) => body.push_str(&format!("[-] {name}: {error}\n")),
        }
    }
    body.push_str(if ready { "ready\n" } else { "not ready\n" });
    text(status, body)
}

async fn caught_up(serving: &Serving, view: &Arc<seam_shared::view::definition::View>) -> Result<()> {
    let pin = serving.pin(std::slice::from_ref(view), Layer::Merged, false).await?;
    let source = &view.source.name;
    let wanted = serving.ends_at_start(source);
    let coverage = pin.views[0].coverage();
    if coverage.covers(&wanted) {
        return Ok(());
    }
    let (reached, wanted) = (coverage.to_text(source), wanted.to_text(source));
    Err(seam_shared::Error::unavailable(format!("has come to {reached}, the log was at {wanted}")))
}

fn text(status: StatusCode, body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
