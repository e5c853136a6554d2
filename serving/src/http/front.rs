//! What every request passes on its way to a route and back, in one step: the guard, an answer even to a panic, and compression for
//! those who accept it. Each further layer of a router costs each request about as much as routing does.
use std::convert::Infallible;
use std::future::ready;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tower::{Layer, Service, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::problem;
use crate::access::{self, Access};
use crate::etag;

/// Bodies below this many bytes are not compressed.
const COMPRESS_FROM: u16 = 1_400;

/// The layer.
#[derive(Debug, Clone)]
pub struct Front(pub Arc<Access>);

/// Routes behind it.
#[derive(Debug, Clone)]
pub struct Fronted<S> {
    access: Arc<Access>,
    routes: S,
}

impl<S> Layer<S> for Front {
    type Service = Fronted<S>;
    fn layer(&self, routes: S) -> Fronted<S> {
        Fronted { access: self.0.clone(), routes }
    }
}

impl<S> Service<Request> for Fronted<S>
where
    S: Service<Request, Error = Infallible> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(context)
    }
    fn call(&mut self, request: Request) -> Self::Future {
        let unready = self.routes.clone();
        let mut routes = std::mem::replace(&mut self.routes, unready);
        let access = self.access.clone();
        Box::pin(async move {
            let accepted = request.headers().get(header::ACCEPT_ENCODING).cloned();
            let next = move |request| async move {
                let Ok(response) = routes.call(request).await;
                response.into_response()
            };
            let work = AssertUnwindSafe(access::pass(&access, request, next)).catch_unwind();
            let response = work.await.unwrap_or_else(problem::of_panic);
            Ok(match accepted {
                Some(accepted) => compressed(response, accepted).await,
                None => told_to_vary(response),
            })
        })
    }
}

/// Not what is small, nor what is compressed in itself, nor a feed, whose events would wait in the compressor.
fn worth_compressing() -> impl Predicate {
    let packed = NotForContentType::const_new("application/vnd.apache.parquet");
    SizeAbove::new(COMPRESS_FROM).and(NotForContentType::SSE).and(packed)
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
