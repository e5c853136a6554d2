//! `/openapi.json`: the API as an OpenAPI 3.1 document, made from the routes' own limits and from the running configuration.
//!
//! A part that adds routes adds their operations in the same words: a document that `document` merges. A test compares what the
//! router answers with what is said here.
mod pipeline;
mod schemas;

use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::header};
pub use pipeline::pipeline;
use seam_shared::config::Config;
use serde_json::{Value, json};
pub use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::{Content, HttpMethod, Info, Paths, Ref, RefOr, Required, Schema};

use crate::query::{Format, PARAMETERS};

/// The page that shows the document to people. It needs nothing from elsewhere.
const PAGE: &str = include_str!("openapi/docs.html");
/// What that page may do: nothing but what it brings along, and ask this server.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The refusals that any query may meet, by status.
const REFUSALS: [(&str, &str); 9] = [
    ("400", "What was asked cannot be understood; `errors` names the parameter, or points to the member"),
    ("401", "It must be said who asks"),
    ("403", "This key may not ask for that"),
    ("404", "There is no metric of that name"),
    ("409", "The answer that a cursor goes on with is gone"),
    ("410", "The generation asked for is not kept any more"),
    ("422", "The query is beyond a limit, which is named with the numbers"),
    ("429", "Too many requests; `Retry-After` says when to ask again"),
    ("503", "It cannot be answered now, or not in time; ask again"),
];

/// `/openapi.json` and `/docs` of a process that has the routes which `parts` tell of, and the probes.
pub fn routes<S: Clone + Send + Sync + 'static>(config: &Config, parts: Vec<OpenApi>) -> Router<S> {
    let text = document(config, parts).to_string();
    let tag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..32]);
    let json = move || {
        let headers = [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::ETAG, tag),
            (header::CACHE_CONTROL, "no-cache".to_owned()),
        ];
        async move { (headers, text).into_response() }
    };
    Router::new().route("/openapi.json", get(json)).route("/docs", get(page))
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE).into_response()
}

/// The whole document. Where keys are needed it tells nobody what is configured: whoever has no key may read it.
pub fn document(config: &Config, parts: Vec<OpenApi>) -> Value {
    let closed = config.server.access.is_some().then(|| {
        let (sources, views, metrics) = (Vec::new(), Vec::new(), Vec::new());
        Config { name: "Seam".to_owned(), sources, views, metrics, ..config.clone() }
    });
    let config = closed.as_ref().unwrap_or(config);
    let mut all = OpenApi::new(info(config), probes());
    parts.into_iter().for_each(|part| all.merge(part));
    let mut document = serde_json::to_value(&all).expect("a document is JSON");
    let (schemas, mut parameters) = (schemas::answers(config), schemas::parameters(config));
    if let (Value::Object(into), Value::Object(from)) = (&mut parameters, schemas) {
        into.extend(from);
    }
    // What other parts declare stands beside it.
    if let Some(Value::Object(theirs)) = document.pointer_mut("/components/schemas").map(Value::take)
        && let Value::Object(ours) = &mut parameters
    {
        ours.extend(theirs);
    }
    document["components"]["schemas"] = parameters;
    let key = json!({"type": "http", "scheme": "bearer", "description": "an API key, or a JSON Web Token"});
    document["components"]["securitySchemes"] = json!({"key": key});
    document["security"] = json!([{}, {"key": []}]);
    document
}

fn info(config: &Config) -> Info {
    let mut info = Info::new(config.name.as_str(), env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Exact answers from batch and speed layer, each with a stamp that says from what it was made. Every refusal is a \
         problem document (RFC 9457)."
            .to_owned(),
    );
    info
}

/// A schema of the components.
pub fn schema(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

/// An operation under a tag, with its name, what it does in a line, and the whole of it.
pub fn operation(tag: &str, id: &str, summary: &str, description: &str) -> OperationBuilder {
    OperationBuilder::new().tag(tag).operation_id(Some(id)).summary(Some(summary)).description(Some(description))
}

/// A parameter of the URL's query, its schema named by `schema`.
pub fn parameter(name: &str, schema_name: &str, description: &str) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(Required::False);
    parameter.description(Some(description)).schema(Some(schema(schema_name))).build()
}

/// A part of the path.
pub fn path_parameter(name: &str, schema_name: &str, description: &str) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.description(Some(description)).schema(Some(schema(schema_name))).build()
}

/// The answer of a success as JSON of that schema, and the refusals with these statuses.
pub fn answers(description: &str, schema_name: &str, refusals: &[&str]) -> ResponsesBuilder {
    let success = ResponseBuilder::new().description(description);
    let success = success.content("application/json", Content::new(Some(schema(schema_name))));
    refused(ResponsesBuilder::new().response("200", success), refusals)
}

fn refused(answers: ResponsesBuilder, statuses: &[&str]) -> ResponsesBuilder {
    let known = REFUSALS.iter().filter(|(status, _)| statuses.contains(status));
    known.fold(answers, |answers, (status, description)| {
        let problem = Content::new(Some(schema("Problem")));
        answers.response(
            *status,
            ResponseBuilder::new().description(*description).content("application/problem+json", problem),
        )
    })
}

/// The answer of a query in every format.
fn in_every_format(schema_name: &str, refusals: &[&str]) -> ResponsesBuilder {
    let mut success = ResponseBuilder::new().description("The rows, and the stamp that proves them");
    for (format, _, media_type) in Format::NAMES {
        let content = if format == Format::Json { Content::new(Some(schema(schema_name))) } else { Content::default() };
        success = success.content(media_type, content);
    }
    let answers = ResponsesBuilder::new().response("200", success);
    let answers = answers.response("304", ResponseBuilder::new().description("`If-None-Match` names the answer's tag"));
    let nothing = Content::new(Some(schema("Problem")));
    let nothing =
        ResponseBuilder::new().description("No format suits `Accept`").content("application/problem+json", nothing);
    refused(answers.response("406", nothing), refusals)
}

/// What the parameters of a metric query mean, by name.
fn meaning(name: &str) -> &'static str {
    match name {
        "dimension" => "A dimension to break down by, or `name:value` to slice to a value; repeatable",
        "window" => "The length of each point's window; 5m by default, or the step of a range if that is longer",
        "from" => "The first moment of a range",
        "to" => "The end of the range, or of the only window; now by default",
        "at" => "The end of the only window",
        "step" => "From one point of a range to the next; the window by default",
        "limit" => "The most rows of a page",
        "order" => "Columns to order by, with commas; a minus puts the largest first",
        "fill" => "What stands for empty windows",
        "layer" => "Which layers to answer from",
        "min_position" => "The answer must cover this position, such as ingestion answers with, or wait for it",
        "timeout" => "How long the answer may take",
        "where" => "A condition over dimensions, like `region = \"eu\" and not type in (\"x\")`",
        "cursor" => "The page to go on with: `meta.next` of the answer before",
        "tz" => "The time zone of steps of days and more, and of the times shown",
        "generation" => "The number of an earlier generation to answer from, alone unless `layer=merged`",
        "as_of" => "The same for the generation that was the newest at this moment",
        _ => "See the documentation",
    }
}

/// The schema of a parameter, by name.
fn schema_of(name: &str) -> &'static str {
    match name {
        "dimension" => "Dimensions",
        "from" | "to" | "at" | "as_of" => "Moment",
        "window" | "step" | "timeout" => "Span",
        "limit" => "Limit",
        "fill" => "Fill",
        "layer" => "Layer",
        _ => "Text",
    }
}

fn query_parameters() -> Vec<Parameter> {
    PARAMETERS.into_iter().map(|name| parameter(name, schema_of(name), meaning(name))).collect()
}

fn add(paths: &mut Paths, method: HttpMethod, path: &str, operation: impl Into<Operation>) {
    paths.add_path_operation(path, vec![method], operation.into());
}

/// What the routes of this crate are, as a part of the document.
pub fn analytics() -> OpenApi {
    OpenApi::new(Info::new("analytics", env!("CARGO_PKG_VERSION")), analytics_paths())
}

fn analytics_paths() -> Paths {
    let mut paths = Paths::new();
    let tag = "analytics";
    let all = ["400", "401", "403", "404", "409", "410", "422", "429", "503"];
    let few = ["400", "401", "403", "429"];
    let metric = || path_parameter("metric", "MetricName", "The metric; with `.csv` and the like, the format too");
    let list =
        operation(tag, "listMetrics", "What can be asked for", "Every metric with its dimensions, panes and windows.");
    add(
        &mut paths,
        HttpMethod::Get,
        "/api/analytics/metrics",
        list.responses(answers("The metrics", "MetricList", &few)),
    );
    let one = operation(
        tag,
        "queryMetric",
        "One metric",
        "One row a time and group. The format follows from `Accept` or from an extension of the metric's name.",
    );
    let one = one.parameter(metric()).parameters(Some(query_parameters()));
    add(
        &mut paths,
        HttpMethod::Get,
        "/api/analytics/metrics/{metric}",
        one.responses(in_every_format("MetricAnswer", &all)),
    );
    for (i, extension) in std::iter::once("").chain(Format::NAMES.map(|(_, extension, _)| extension)).enumerate() {
        let id = if i == 0 { "query".to_owned() } else { format!("queryAs{}", extension[1..].to_uppercase()) };
        let inquiry = operation(
            tag,
            &id,
            "Several metrics side by side",
            "One row a time and group, one column a metric, all from one generation and one position of each view. What is \
             wrong is pointed to by JSON pointers.",
        );
        let body = RequestBodyBuilder::new().required(Some(Required::True));
        let inquiry =
            inquiry.request_body(Some(body.content("application/json", Content::new(Some(schema("Inquiry")))).build()));
        let too_large = ResponseBuilder::new().description("The body is too large");
        let too_large = too_large.content("application/problem+json", Content::new(Some(schema("Problem"))));
        let no_json = ResponseBuilder::new().description("The body is no JSON");
        let no_json = no_json.content("application/problem+json", Content::new(Some(schema("Problem"))));
        let answers = in_every_format("SheetAnswer", &all).response("413", too_large).response("415", no_json);
        add(&mut paths, HttpMethod::Post, &format!("/api/analytics/query{extension}"), inquiry.responses(answers));
    }
    let explain = operation(
        tag,
        "explainMetric",
        "How an answer comes about",
        "Generation and files, segments and positions, what each layer counted and what came late. Takes what the metric takes.",
    );
    let explain = explain.parameter(metric()).parameters(Some(query_parameters()));
    let explain = explain.parameter(parameter("rows", "RawLimit", "How many of the raw events to show beside it"));
    add(
        &mut paths,
        HttpMethod::Get,
        "/api/analytics/explain/{metric}",
        explain.responses(answers("What was used", "Explanation", &all)),
    );
    let rows = operation(
        tag,
        "rawRows",
        "The raw events behind one cell",
        "As many as the cell counts, by partition and offset, from archive and log. `limit` and `cursor` are of these rows.",
    );
    let rows = rows.parameter(metric()).parameters(Some(query_parameters()));
    let rows = rows.parameter(parameter("of", "PartOfRatio", "Which part of a ratio"));
    add(
        &mut paths,
        HttpMethod::Get,
        "/api/analytics/explain/{metric}/rows",
        rows.responses(answers("The events", "RawRows", &all)),
    );
    let generations = operation(
        tag,
        "listGenerations",
        "The generations of a view",
        "The newest first, with what each covers and whether it can still be asked; and what is being built to follow the view.",
    );
    let generations = generations.parameter(path_parameter("view", "ViewName", "The view"));
    let generations = generations.parameter(parameter("limit", "Limit", "The most generations to list"));
    add(
        &mut paths,
        HttpMethod::Get,
        "/api/analytics/generations/{view}",
        generations.responses(answers("The generations", "GenerationList", &all)),
    );
    add_views(&mut paths, tag, &all);
    let dashboard =
        operation(tag, "dashboard", "The configured metrics", "All of them at one snapshot, over one window each.");
    let own = ["window", "at", "layer"].map(|name| parameter(name, schema_of(name), meaning(name)));
    let answered = answers("The metrics", "Dashboard", &all)
        .response("304", ResponseBuilder::new().description("`If-None-Match` names the answer's tag"));
    add(&mut paths, HttpMethod::Get, "/api/analytics/dashboard", dashboard.parameters(Some(own)).responses(answered));
    add(&mut paths, HttpMethod::Get, "/api/analytics/live", live());
    let page = operation("about", "page", "The live page", "What is configured, as charts, for people.");
    let shown = ResponseBuilder::new().description("A page").content("text/html", Content::default());
    let known = ResponseBuilder::new().description("`If-None-Match` names its tag");
    add(&mut paths, HttpMethod::Get, "/", page.response("200", shown).response("304", known));
    paths
}

/// The views, their keys, and the state of one.
fn add_views(paths: &mut Paths, tag: &str, refusals: &[&str]) {
    let few = ["400", "401", "403", "429"];
    let list =
        operation(tag, "listViews", "The views", "Dimensions, measures, panes, and the generation of each view.");
    add(paths, HttpMethod::Get, "/api/analytics/views", list.responses(answers("The views", "ViewList", &few)));
    let view = || path_parameter("view", "ViewName", "The view");
    let keys = operation(
        tag,
        "listKeys",
        "The keys of a view",
        "Page by page, in the order of their values. With a parameter for a dimension, like `?user=ann`, it is the state of that key.",
    );
    let keys = keys.parameter(view()).parameter(parameter("limit", "Limit", "The most keys of a page"));
    let keys = keys.parameter(parameter("cursor", "Text", "The page to go on with: `next` of the page before"));
    let answered = in_every_format("KeyList", refusals);
    add(paths, HttpMethod::Get, "/api/analytics/views/{view}", keys.responses(answered));
    let state = operation(
        tag,
        "keyState",
        "The state of one key",
        "Every measure of the view for that key: the values of the dimensions from the first on, percent-encoded, with / between \
         two; `null` is null, `%22null%22` the text. Over all time, unless windows are asked for as of a metric.",
    );
    let not_here = crate::answer::by_key::NOT_HERE;
    let own = query_parameters().into_iter().filter(|p| !not_here.contains(&p.name.as_str()));
    let state = state.parameter(view()).parameter(path_parameter("key", "Text", "The key"));
    let answered = in_every_format("KeyState", refusals);
    add(
        paths,
        HttpMethod::Get,
        "/api/analytics/views/{view}/{key}",
        state.parameters(Some(own.collect::<Vec<_>>())).responses(answered),
    );
}

/// What every process answers.
fn probes() -> Paths {
    let mut paths = Paths::new();
    let this =
        operation("about", "openapi", "This document", "OpenAPI 3.1, made from the routes and the configuration.");
    add(&mut paths, HttpMethod::Get, "/openapi.json", this.responses(answers("The document", "Anything", &[])));
    let shown = ResponseBuilder::new().description("A page").content("text/html", Content::default());
    let docs = operation(
        "about",
        "docs",
        "This document for people",
        "Works without a connection to anything but this server.",
    );
    add(&mut paths, HttpMethod::Get, "/docs", docs.response("200", shown));
    operations(&mut paths);
    paths
}

fn live() -> OperationBuilder {
    let feed = operation(
        "analytics",
        "live",
        "A metric as it changes",
        "Server-sent events: `event: point` for each group whose value changed, with the old value and the stamp. `Last-Event-ID` \
         goes on where a feed was broken off: what did not change since is not sent again.",
    );
    let named = ParameterBuilder::new().name("metric").parameter_in(ParameterIn::Query).required(Required::True);
    let named = named.description(Some("The metric")).schema(Some(schema("MetricName")));
    let mut parameters = vec![named.build()];
    let known = ["dimension", "window", "to", "where", "layer", "fill", "order", "timeout"];
    parameters.extend(known.map(|name| parameter(name, schema_of(name), meaning(name))));
    let events = ResponseBuilder::new()
        .description("The feed, which does not end")
        .content("text/event-stream", Content::default());
    let responses = refused(ResponsesBuilder::new().response("200", events), &["400", "401", "403", "404", "429"]);
    feed.parameters(Some(parameters)).responses(responses)
}

fn operations(paths: &mut Paths) {
    let plain =
        |description: &str| ResponseBuilder::new().description(description).content("text/plain", Content::default());
    let alive =
        operation("operations", "livez", "Whether the process answers", "For a supervisor that restarts what hangs.");
    add(paths, HttpMethod::Get, "/livez", alive.response("200", plain("It does")));
    let ready = operation(
        "operations",
        "readyz",
        "Whether answers are whole",
        "Every view has an exact answer that has caught up with what the log held at the start. `?verbose` lists the checks.",
    );
    let verbose = parameter("verbose", "Text", "List every check");
    let ready = ready
        .parameter(verbose)
        .response("200", plain("They are"))
        .response("503", plain("Not yet; the checks say why"));
    add(paths, HttpMethod::Get, "/readyz", ready);
    let printed = plain("In the text format that the scraper accepts")
        .content("application/openmetrics-text", Content::default());
    let metrics = operation("operations", "metrics", "The platform's own metrics", "For Prometheus.");
    add(paths, HttpMethod::Get, "/metrics", metrics.response("200", printed));
}
