//! What every request passes on its way to a route and back, in one step: the guard, an answer even to a panic, and compression for
//! those who accept it. Each further layer of a router costs each request about as much as routing does; so what was answered before is
//! answered here.
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::FutureExt;
use futures::future::{BoxFuture, Either};
use seam_shared::access::Caller;
use tower::{Layer, Service, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::metrics;
use crate::access::{self, Access};
use crate::{Serving, etag, problem};

/// Routes, and what is in front of them.
#[derive(Debug, Clone)]
pub struct Front<S> {
    /// Who may ask.
    pub access: Arc<Access>,
    /// Whose answers may be given again without a route.
    pub serving: Option<Arc<Serving>>,
    /// The routes.
    pub routes: S,
}

impl<S> Service<Request> for Front<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(context)
    }
    fn call(&mut self, request: Request) -> Self::Future {
        // Where nobody has to say who it is, there is nothing to wait for, nor anything to guard.
        if let (Some(serving), Some(everybody)) = (&self.serving, self.access.everybody()) {
            if let Some(response) = metrics::again(serving, everybody, &request) {
                return Either::Left(ready(Ok(response)));
            }
            if metrics::is_of_one(&request) {
                return Either::Right(Box::pin(one(serving.clone(), everybody.clone(), request)));
            }
        }
        let Front { access, serving, routes } = self.clone();
        Either::Right(Box::pin(through(access, serving, routes, request)))
    }
}

/// One metric, for everybody.
async fn one(serving: Arc<Serving>, everybody: Caller, mut request: Request) -> Result<Response, Infallible> {
    access::forget_token(&mut request);
    let accepted = request.headers().get(header::ACCEPT_ENCODING).cloned();
    let work = AssertUnwindSafe(metrics::answer(State(serving), Extension(everybody), request)).catch_unwind();
    Ok(encoded(work.await.unwrap_or_else(problem::of_panic), accepted).await)
}

async fn through<S>(
    access: Arc<Access>,
    serving: Option<Arc<Serving>>,
    mut routes: S,
    request: Request,
) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let accepted = request.headers().get(header::ACCEPT_ENCODING).cloned();
    let is_open = access.everybody().is_some();
    let next = move |request: Request| async move {
        if let (Some(serving), Some(caller)) = (serving, request.extensions().get::<Caller>()) {
            let again = (!is_open).then(|| metrics::again(&serving, caller, &request)).flatten();
            if let Some(response) = again {
                return response;
            }
            // What is asked most needs no router to be found.
            if metrics::is_of_one(&request) {
                let caller = Extension(caller.clone());
                return metrics::answer(State(serving), caller, request).await;
            }
        }
        routes.call(request).await.unwrap_or_else(|never| match never {})
    };
    let work = AssertUnwindSafe(access::pass(&access, request, next)).catch_unwind();
    Ok(encoded(work.await.unwrap_or_else(problem::of_panic), accepted).await)
}

/// The response in an encoding that is accepted, or saying that there are such.
async fn encoded(response: Response, accepted: Option<HeaderValue>) -> Response {
    match accepted {
        Some(accepted) => Box::pin(compressed(response, accepted)).await,
        None => told_to_vary(response),
    }
}

/// Not what is small, nor what is compressed in itself, nor a feed, whose events would wait in the compressor.
fn worth_compressing() -> impl Predicate {
    let packed = NotForContentType::const_new("application/vnd.apache.parquet");
    SizeAbove::new(metrics::COMPRESS_FROM).and(NotForContentType::SSE).and(packed)
}

/// The response in an encoding that is accepted, if it is worth it. A compressed body is other bytes, so it has another strong tag.
async fn compressed(response: Response, accepted: HeaderValue) -> Response {
    let mut response = Some(response);
    let answer = service_fn(move |_: axum::http::Request<()>| {
        ready(Ok::<_, Infallible>(response.take().expect("it is asked for once")))
    });
    let mut request = axum::http::Request::new(());
    request.headers_mut().insert(header::ACCEPT_ENCODING, accepted);
    let mut layer = CompressionLayer::new().compress_when(worth_compressing()).layer(answer);
    let Ok(response) = layer.call(request).await;
    let mut response = response.map(Body::new);
    let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let (Some(encoding), Some(tag)) = (text(header::CONTENT_ENCODING), text(header::ETAG))
        && let Ok(tag) = HeaderValue::from_str(&etag::encoded(tag, encoding))
    {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Says that others might have got the response in an encoding.
fn told_to_vary(mut response: Response) -> Response {
    let headers = response.headers();
    let varies = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("accept-encoding"));
    if headers.get_all(header::VARY).iter().any(varies) || headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    if worth_compressing().should_compress(&response) {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}
