//! `/openapi.json`: the API as an OpenAPI 3.1 document, made from the routes' own limits and from the running configuration.
//!
//! A part that adds routes adds their operations in the same words: a document that `document` merges. A test compares what the
//! router answers with what is said here.
mod analytics;
mod pipeline;
mod schemas;

pub use analytics::analytics;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::header};
pub use pipeline::pipeline;
use seam_shared::config::Config;
use serde_json::{Value, json};
pub use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::{ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::{Content, HttpMethod, Info, Paths, Ref, RefOr, Required, Schema};

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

fn add(paths: &mut Paths, method: HttpMethod, path: &str, operation: impl Into<Operation>) {
    paths.add_path_operation(path, vec![method], operation.into());
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
