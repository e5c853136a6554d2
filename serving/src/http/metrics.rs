//! `/api/analytics/metrics` and `/api/analytics/metrics/{metric}`.
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Response};
use seam_shared::access::Caller;
use seam_shared::telemetry::QueryLabels;
use seam_shared::view::definition::View;
use tokio::time::Instant;

use super::{known, negotiate, parameters, problem, respond, respond_again};
use crate::Serving;
use crate::answer::Answer;
use crate::json::Json;
use crate::percent::decoded;
use crate::query::{Format, Refusal};

/// What it is counted as.
const ROUTE: &str = "metric";
/// Where metrics are asked for.
const PATH: &str = "/api/analytics/metrics/";
/// Bodies of fewer bytes are compressed for nobody.
pub const COMPRESS_FROM: u16 = 1_400;

/// A metric's name in a path.
pub type Metric = Result<Path<String>, PathRejection>;

/// One metric: `GET /api/analytics/metrics/{metric}?dimension=&window=5m`.
pub async fn answer(
    State(serving): State<Arc<Serving>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let begun = Instant::now();
    let (uri, headers) = (request.uri(), request.headers());
    let known = known(headers);
    let mut asked = None;
    let answered = async {
        let format = negotiate::format(headers);
        let other = match &format {
            Ok(Format::Json) => None,
            Ok(format) => Some(format.media_type()),
            Err(_) => Some("none"),
        };
        let read = || {
            let metric = last_part(uri)?;
            // An extension says more than the header.
            let format = if serving.names_a_format(&metric) { Format::Json } else { format? };
            serving.parse_as(&caller, &metric, &parameters(uri)?, format)
        };
        let asked = asked.insert(serving.question(&caller, (url_of(uri), other), read)?);
        serving.answer(&asked.question, known).await
    };
    let answered = answered.await;
    let (pinned, building) = match &answered {
        Ok(answer) if answer.body.is_some() => (answer.pinned, answer.building.is_some()),
        _ => (None, false),
    };
    let response = finish(&serving, ROUTE, begun, uri, answered, known);
    if let (Some(asked), Some(pinned), false) = (asked, pinned, building) {
        serving.note(&asked, pinned, response.headers());
    }
    response
}

/// Whether that is what a request asks for.
pub fn is_of_one(request: &Request) -> bool {
    let name = request.uri().path().strip_prefix(PATH);
    request.method() == Method::GET && name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

/// The same, at once, if it was answered already and is still the same, in JSON and not to be compressed.
pub fn again(serving: &Serving, caller: &Caller, request: &Request) -> Option<Response> {
    let headers = request.headers();
    let is_json =
        headers.get(header::ACCEPT).is_none_or(|accept| accept == "*/*" || accept == Format::Json.media_type());
    if request.method() != Method::GET || !is_json {
        return None;
    }
    let begun = Instant::now();
    let known = known(headers);
    let again = serving.again(caller, url_of(request.uri()), known)?;
    let is_plain = !headers.contains_key(header::ACCEPT_ENCODING);
    if again.body.as_ref().is_some_and(|body| !is_plain && body.len() >= COMPRESS_FROM.into()) {
        return None;
    }
    let response = respond_again(again, known);
    count(serving, ROUTE, begun, &response);
    Some(response)
}

fn url_of(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", PathAndQuery::as_str)
}

/// The metric that the last part of a path names.
fn last_part(uri: &Uri) -> Result<String, Refusal> {
    let part = uri.path().rsplit('/').next().unwrap_or_default();
    decoded(part).ok_or_else(|| Refusal::parameter("metric", format!("`{part}` is no encoded text")))
}

/// The metric that a path names.
pub fn name(metric: Metric) -> Result<String, Refusal> {
    let path = metric.map_err(|error| Refusal::parameter("metric", error.to_string()))?;
    Ok(path.0)
}

/// Counts what was answered and makes it a response.
pub fn finish(
    serving: &Serving,
    route: &'static str,
    begun: Instant,
    uri: &Uri,
    answered: Result<Answer, Refusal>,
    known: Option<&str>,
) -> Response {
    let response = match answered {
        Ok(answer) => respond(answer, known),
        Err(refusal) => problem::respond(uri, &refusal),
    };
    count(serving, route, begun, &response);
    response
}

fn count(serving: &Serving, route: &'static str, begun: Instant, response: &Response) {
    let telemetry = serving.telemetry();
    telemetry.query_seconds.observe(begun.elapsed().as_secs_f64());
    let labels = QueryLabels { route, status: u32::from(response.status().as_u16()) };
    telemetry.queries.get_or_create(&labels).inc();
}

/// What the caller can ask for.
pub async fn list(State(serving): State<Arc<Serving>>, Extension(caller): Extension<Caller>, uri: Uri) -> Response {
    match parameters(&uri).map(|given| given.into_iter().next()) {
        Ok(None) => {}
        Ok(Some((name, _))) => {
            let refusal =
                Refusal::parameter(&name, format!("there is no parameter `{name}`")).named("unknown-parameter");
            return problem::respond(&uri, &refusal);
        }
        Err(refusal) => return problem::respond(&uri, &refusal),
    }
    let mut json = Json::with_capacity(4_096);
    json.open('{').key("metrics").open('[');
    for metric in serving.metrics() {
        let measures = metric.kind.measures();
        if measures.iter().any(|measure| caller.admit(&measure.view).is_err()) {
            continue;
        }
        let view = &measures[0].view;
        json.open('{').key("name").text(&metric.name).key("help").optional_text(metric.help.as_deref());
        json.key("unit").optional_text(metric.unit.as_deref());
        json.key("kind").text(match metric.per {
            Some(_) => "rate",
            None if measures.len() == 1 => "measure",
            None => "ratio",
        });
        json.key("source").text(&view.source.name).key("views").open('[');
        for measure in &measures {
            json.open('{').key("view").text(&measure.view.name).key("id").text(&measure.view.id);
            json.key("measure").text(&measure.definition().name).key("generation");
            match serving.batch_view(&measure.view).pin() {
                Some(generation) => json.number(generation.number),
                None => json.null(),
            };
            json.close('}');
        }
        json.close(']').key("dimensions").open('[');
        let in_all = |name: &str| measures.iter().all(|measure| measure.view.dimension(name).is_some());
        for dimension in view.dimensions.iter().filter(|dimension| in_all(&dimension.name)) {
            json.open('{').key("name").text(&dimension.name);
            json.key("type").text(&dimension.field_type.to_string()).close('}');
        }
        json.close(']').key("pane").text(&view.pane.to_string());
        write_windows(&mut json, view);
        json.close('}');
    }
    json.close(']').close('}');
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], json.into_bytes())
        .into_response()
}

/// The windows that a view offers, as a member of the object that is open.
pub fn write_windows(json: &mut Json, view: &View) {
    json.key("windows").open('[');
    for window in &view.windows {
        json.text(&window.to_string());
    }
    json.close(']');
}
