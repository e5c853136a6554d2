//! `/livez`, `/readyz` and `/metrics` of every process, whatever its roles; and the door to the routes that roles add.
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use seam_serving::access::Access;
use seam_serving::access::browsers::Browsers;
use seam_serving::access::tls::Entrance;
use seam_serving::http::connections::{self, Patience, Site};
use seam_serving::http::health::{report, text};
use seam_shared::config::ServerSettings;
use seam_shared::lock::lock;
use seam_shared::telemetry::Telemetry;
use seam_shared::{Error, Result};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::open_files;

/// How long one part may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a role tells of itself.
#[async_trait]
pub trait Part: Send + Sync {
    /// Each check by name.
    async fn checks(&self) -> Vec<(String, Result<()>)>;
    /// Sets the gauges that are only worth setting when somebody looks.
    async fn measure(&self) {}
}

/// How a process is.
pub struct Health {
    parts: Mutex<Vec<Arc<dyn Part>>>,
    /// Why it is not ready whatever the parts say.
    held_back: Mutex<Option<String>>,
    telemetry: OnceLock<Arc<Telemetry>>,
    routes: OnceLock<Router>,
}

impl Health {
    /// Of a process that is starting.
    pub fn new() -> Health {
        let held_back = Mutex::new(Some("starting".to_owned()));
        Health { parts: Mutex::default(), held_back, telemetry: OnceLock::new(), routes: OnceLock::new() }
    }
    /// What is being waited for.
    pub fn starting(&self, what: &str, error: &Error) {
        self.hold_back(Some(format!("starting: {what}: {error}")));
    }
    /// The end has begun: no more traffic, please.
    pub fn end(&self) {
        self.hold_back(Some("ending".to_owned()));
    }
    /// Everything is started; these are the routes.
    pub fn open(&self, routes: Router) {
        // It happens once: a process starts once.
        let _ = self.routes.set(routes);
        self.hold_back(None);
    }
    /// Adds what is asked.
    pub fn watch(&self, part: Arc<dyn Part>) {
        lock(&self.parts).push(part);
    }
    /// What `/metrics` prints.
    pub fn prints(&self, telemetry: Arc<Telemetry>) {
        let _ = self.telemetry.set(telemetry);
    }

    /// A connection was refused for want of room. What is refused before anything is printed is not counted.
    fn refused(&self) {
        if let Some(telemetry) = self.telemetry.get() {
            telemetry.connections_refused.inc();
        }
    }
    fn hold_back(&self, why: Option<String>) {
        *lock(&self.held_back) = why;
    }
    fn held_back(&self) -> Option<String> {
        lock(&self.held_back).clone()
    }
    fn parts(&self) -> Vec<Arc<dyn Part>> {
        lock(&self.parts).clone()
    }
}

/// Answers requests until `take` is cancelled: probes at once, the roles' routes once they are there.
pub async fn serve(
    entrance: Entrance,
    health: Arc<Health>,
    access: Arc<Access>,
    settings: ServerSettings,
    take: CancellationToken,
) {
    let probes = Router::new()
        .route("/livez", get(async || text(StatusCode::OK, "ok\n".to_owned())))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health.clone());
    let probes = access.guard(probes);
    // The roles' routes have a guard of their own, as they come later.
    let routes = probes.clone().merge(Router::new().fallback(pass_on).with_state(health.clone()));
    let site = Site { routes, probes, browsers: Browsers::new(&settings) };
    let patience = Patience { connections: open_files::room(settings.connections), ..Patience::default() };
    connections::serve(entrance, site, patience, move || health.refused(), take).await;
}

async fn pass_on(State(health): State<Arc<Health>>, request: Request) -> Response {
    match health.routes.get() {
        // A router is always ready and always answers: its error type has no values.
        Some(routes) => routes.clone().call(request).await.into_response(),
        None => {
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned());
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// The configuration is loaded, and every part is as it should be. `?verbose` lists the checks.
async fn ready(State(health): State<Arc<Health>>, uri: Uri) -> Response {
    let mut checks = vec![("config".to_owned(), Ok(()))];
    if let Some(why) = health.held_back() {
        checks.push(("process".to_owned(), Err(Error::unavailable(why))));
    }
    for part in health.parts() {
        match tokio::time::timeout(PATIENCE, part.checks()).await {
            Ok(found) => checks.extend(found),
            Err(_) => {
                let late = Error::unavailable(format!("a check took longer than {} s", PATIENCE.as_secs()));
                checks.push(("stores".to_owned(), Err(late)));
            }
        }
    }
    report(&checks, &uri)
}

async fn metrics(State(health): State<Arc<Health>>, headers: HeaderMap) -> Response {
    for part in health.parts() {
        // What cannot be measured now keeps its last value.
        let _ = tokio::time::timeout(PATIENCE, part.measure()).await;
    }
    match health.telemetry.get() {
        Some(telemetry) => seam_serving::http::telemetry::respond(telemetry, &headers),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
    }
}
