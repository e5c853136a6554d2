//! `/livez` and `/readyz`: whether the process answers, and whether its answers reach what the log held when it started.
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use seam_shared::Result;
use seam_shared::lock::lock;
use seam_shared::view::definition::View;

use crate::Serving;
use crate::query::Layer;

/// The process answers.
pub async fn live() -> Response {
    text(StatusCode::OK, "ok\n".to_owned())
}

/// The configuration is loaded, and every view has an exact answer that has caught up to where the log ended when serving began. `?verbose` lists the checks.
pub async fn ready(State(serving): State<Arc<Serving>>, uri: Uri) -> Response {
    let mut checks = vec![("config".to_owned(), Ok(()))];
    checks.extend(serving.checks().await);
    report(&checks, &uri)
}

/// What `/readyz` answers with: 503 if a check failed. The checks are listed then, and with `?verbose`.
pub fn report(checks: &[(String, Result<()>)], uri: &Uri) -> Response {
    let ready = checks.iter().all(|(_, check)| check.is_ok());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = uri.query().is_some_and(|query| query.split('&').any(|p| p.split('=').next() == Some("verbose")));
    if ready && !verbose {
        return text(status, "ok\n".to_owned());
    }
    let mut body = String::new();
    for (name, check) in checks {
        match check {
            Ok(()) => body.push_str(&format!("[+] {name}: ok\n")),
            Err(error) => body.push_str(&format!("[-] {name}: {error}\n")),
        }
    }
    body.push_str(if ready { "ready\n" } else { "not ready\n" });
    text(status, body)
}

impl Serving {
    /// What readiness asks of serving, by name. A store that is away is told but is no reason to send nobody here: as long as every
    /// view has an exact answer, this process gives it.
    pub async fn checks(&self) -> Vec<(String, Result<()>)> {
        let (log, lake) = self.look().await;
        let told = |name: &str, found: Result<()>, what: &str| match found {
            Ok(()) => (name.to_owned(), Ok(())),
            Err(error) => (format!("{name} is away ({error}): answers are exact, {what}"), Ok(())),
        };
        let mut checks = vec![
            told("log", log, "how far the log is ahead of them is unknown"),
            told("lake", lake, "made from the generations known"),
        ];
        for view in &self.config().views {
            checks.push((format!("view {}", view.name), self.caught_up(&self.shown(view)).await));
        }
        checks
    }

    /// Whether a view has come to where the log ended when serving began.
    pub(crate) async fn caught_up(&self, view: &Arc<View>) -> Result<()> {
        let pin = self.pin(std::slice::from_ref(view), Layer::Merged, false).await?;
        let source = &view.source.name;
        let wanted = self.ends_at_start(source);
        let coverage = pin.views[0].coverage();
        let mut known = lock(&self.caught_up);
        if known.contains(&view.id) {
            return Ok(());
        }
        if coverage.covers(&wanted) {
            known.insert(view.id.clone());
            return Ok(());
        }
        let (reached, wanted) = (coverage.to_text(source), wanted.to_text(source));
        Err(seam_shared::Error::unavailable(format!("has come to {reached}, the log was at {wanted}")))
    }
}

/// A probe's answer.
pub fn text(status: StatusCode, body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
