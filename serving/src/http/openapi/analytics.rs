//! What is said of the routes that answer questions: one function an operation.
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::{Content, HttpMethod, Info, OpenApi, Paths, Required};

use super::{add, answers, operation, parameter, path_parameter, refused, schema};
use crate::query::{Format, PARAMETERS};

const TAG: &str = "analytics";
/// The statuses of the refusals that a question may meet, and a list of what there is.
const ALL: [&str; 9] = ["400", "401", "403", "404", "409", "410", "422", "429", "503"];
const FEW: [&str; 4] = ["400", "401", "403", "429"];

/// The routes of a process that serves, as a part of the document.
pub fn analytics() -> OpenApi {
    let mut paths = Paths::new();
    let reads = [
        ("/api/analytics/metrics", metrics()),
        ("/api/analytics/metrics/{metric}", metric()),
        ("/api/analytics/explain/{metric}", explanation()),
        ("/api/analytics/explain/{metric}/rows", raw_rows()),
        ("/api/analytics/generations/{view}", generations()),
        ("/api/analytics/views", views()),
        ("/api/analytics/views/{view}", keys()),
        ("/api/analytics/views/{view}/{key}", key_state()),
        ("/api/analytics/recommendations/{user}", recommendations()),
        ("/api/analytics/dashboard", dashboard()),
        ("/api/analytics/live", live()),
        ("/api/analytics/alerts", alerts()),
        ("/", page()),
    ];
    for (path, operation) in reads {
        add(&mut paths, HttpMethod::Get, path, operation);
    }
    add(&mut paths, HttpMethod::Post, "/api/analytics/query", inquiry("query"));
    for (_, extension, _) in Format::NAMES {
        let id = format!("queryAs{}", extension[1..].to_uppercase());
        add(&mut paths, HttpMethod::Post, &format!("/api/analytics/query{extension}"), inquiry(&id));
    }
    OpenApi::new(Info::new(TAG, env!("CARGO_PKG_VERSION")), paths)
}

fn metrics() -> OperationBuilder {
    operation(TAG, "listMetrics", "What can be asked for", "Every metric with its dimensions, panes and windows.")
        .responses(answers("The metrics", "MetricList", &FEW))
}

fn metric() -> OperationBuilder {
    let whole = "One row a time and group. The format follows from `Accept` or from an extension of the metric's name.";
    operation(TAG, "queryMetric", "One metric", whole)
        .parameter(metric_name())
        .parameters(Some(query_parameters()))
        .responses(in_every_format("MetricAnswer"))
}

fn inquiry(id: &str) -> OperationBuilder {
    let whole = "One row a time and group, one column a metric, all from one generation and one position of each view. What is \
         wrong is pointed to by JSON pointers.";
    let body = RequestBodyBuilder::new().required(Some(Required::True));
    let body = body.content("application/json", Content::new(Some(schema("Inquiry")))).build();
    let answered = in_every_format("SheetAnswer")
        .response("413", refusal("The body is too large"))
        .response("415", refusal("The body is no JSON"));
    operation(TAG, id, "Several metrics side by side", whole).request_body(Some(body)).responses(answered)
}

fn explanation() -> OperationBuilder {
    let whole = "Generation and files, segments and positions, what each layer counted and what came late. Takes what the metric takes.";
    operation(TAG, "explainMetric", "How an answer comes about", whole)
        .parameter(metric_name())
        .parameters(Some(query_parameters()))
        .parameter(parameter("rows", "RawLimit", "How many of the raw events to show beside it"))
        .responses(answers("What was used", "Explanation", &ALL))
}

fn raw_rows() -> OperationBuilder {
    let whole = "As many as the cell counts, by partition and offset, from archive and log. `limit` and `cursor` are of these rows.";
    operation(TAG, "rawRows", "The raw events behind one cell", whole)
        .parameter(metric_name())
        .parameters(Some(query_parameters()))
        .parameter(parameter("of", "PartOfRatio", "Which part of a ratio"))
        .responses(answers("The events", "RawRows", &ALL))
}

fn generations() -> OperationBuilder {
    let whole = "The newest first, with what each covers and whether it can still be asked; and what is being built to follow the view.";
    operation(TAG, "listGenerations", "The generations of a view", whole)
        .parameter(view_name())
        .parameter(parameter("limit", "Limit", "The most generations to list"))
        .responses(answers("The generations", "GenerationList", &ALL))
}

fn views() -> OperationBuilder {
    operation(TAG, "listViews", "The views", "Dimensions, measures, panes, and the generation of each view.")
        .responses(answers("The views", "ViewList", &FEW))
}

fn keys() -> OperationBuilder {
    let whole = "Page by page, in the order of their values. With a parameter for a dimension, like `?user=ann`, it is the state of that key.";
    operation(TAG, "listKeys", "The keys of a view", whole)
        .parameter(view_name())
        .parameter(parameter("limit", "Limit", "The most keys of a page"))
        .parameter(parameter("cursor", "Text", "The page to go on with: `next` of the page before"))
        .responses(in_every_format("KeyList"))
}

fn key_state() -> OperationBuilder {
    let whole = "Every measure of the view for that key: the values of the dimensions from the first on, percent-encoded, with / between \
         two; `null` is null, `%22null%22` the text. Over all time, unless windows are asked for as of a metric.";
    let not_here = crate::answer::by_key::NOT_HERE;
    let own = query_parameters().into_iter().filter(|p| !not_here.contains(&p.name.as_str()));
    operation(TAG, "keyState", "The state of one key", whole)
        .parameter(view_name())
        .parameter(path_parameter("key", "Text", "The key"))
        .parameters(Some(own.collect::<Vec<_>>()))
        .responses(in_every_format("KeyState"))
}

fn recommendations() -> OperationBuilder {
    let whole = "The items with the highest scores: what the user's interest in their category, how often and how lately they occurred \
         come to, all at one pin. Of equal scores the item that comes first in order is first.";
    let own = ["at", "layer", "min_position", "timeout"].map(query_parameter);
    operation(TAG, "recommend", "What is recommended to a user", whole)
        .parameter(path_parameter("user", "Text", "The user, percent-encoded"))
        .parameter(parameter("name", "Text", "The recommendation, if there are several"))
        .parameter(parameter("limit", "FewItems", "The most items"))
        .parameters(Some(own))
        .responses(in_every_format("Recommendations"))
}

fn dashboard() -> OperationBuilder {
    operation(TAG, "dashboard", "The configured metrics", "All of them at one snapshot, over one window each.")
        .parameters(Some(["window", "at", "layer"].map(query_parameter)))
        .responses(answers("The metrics", "Dashboard", &ALL).response("304", unchanged()))
}

fn live() -> OperationBuilder {
    let whole = "Server-sent events: `event: point` for each group whose value changed, with the old value and the stamp. `Last-Event-ID` \
         goes on where a feed was broken off: what did not change since is not sent again.";
    let named = ParameterBuilder::new().name("metric").parameter_in(ParameterIn::Query).required(Required::True);
    let named = named.description(Some("The metric")).schema(Some(schema("MetricName")));
    let known = ["dimension", "window", "to", "where", "layer", "fill", "order", "timeout"];
    let events = ResponseBuilder::new()
        .description("The feed, which does not end")
        .content("text/event-stream", Content::default());
    let answered = refused(ResponsesBuilder::new().response("200", events), &["400", "401", "403", "404", "429"]);
    operation(TAG, "live", "A metric as it changes", whole)
        .parameter(named)
        .parameters(Some(known.map(query_parameter)))
        .responses(answered)
}

fn alerts() -> OperationBuilder {
    let whole = "Those that are pending, fire, or were over in the last 15 minutes, with the answer that fired each and what is answered for \
         that moment by now; and how each rule fares.";
    operation(TAG, "listAlerts", "The alerts", whole).responses(answers("The alerts", "AlertList", &FEW))
}

fn page() -> OperationBuilder {
    let shown = ResponseBuilder::new().description("A page").content("text/html", Content::default());
    operation("about", "page", "The live page", "What is configured, as charts, for people.")
        .response("200", shown)
        .response("304", ResponseBuilder::new().description("`If-None-Match` names its tag"))
}

fn metric_name() -> Parameter {
    path_parameter("metric", "MetricName", "The metric; with `.csv` and the like, the format too")
}

fn view_name() -> Parameter {
    path_parameter("view", "ViewName", "The view")
}

fn query_parameters() -> Vec<Parameter> {
    PARAMETERS.into_iter().map(query_parameter).collect()
}

fn query_parameter(name: &str) -> Parameter {
    parameter(name, schema_of(name), meaning(name))
}

/// The answer of a query in every format.
fn in_every_format(schema_name: &str) -> ResponsesBuilder {
    let mut success = ResponseBuilder::new().description("The rows, and the stamp that proves them");
    for (format, _, media_type) in Format::NAMES {
        let content = if format == Format::Json { Content::new(Some(schema(schema_name))) } else { Content::default() };
        success = success.content(media_type, content);
    }
    let answered = ResponsesBuilder::new().response("200", success).response("304", unchanged());
    refused(answered.response("406", refusal("No format suits `Accept`")), &ALL)
}

fn unchanged() -> Response {
    ResponseBuilder::new().description("`If-None-Match` names the answer's tag").build()
}

fn refusal(description: &str) -> Response {
    let problem = Content::new(Some(schema("Problem")));
    ResponseBuilder::new().description(description).content("application/problem+json", problem).build()
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
