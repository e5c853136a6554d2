//! What the collector's routes take and give, as a part of the API's OpenAPI document.
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Components, Content, HttpMethod, Info, OpenApi, Paths, Ref, RefOr, Required, Schema};

/// The media types that events come in.
const MEDIA_TYPES: [&str; 5] = [
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
];
/// The refusals, by status.
const REFUSALS: [(&str, &str); 9] = [
    ("400", "The body as a whole cannot be read"),
    ("401", "It must be said who sends"),
    ("403", "This key may not add to the source"),
    ("404", "There is no such source, or dead letter"),
    ("413", "The body, or every event in it, is too large"),
    ("415", "This media type or encoding cannot be read"),
    ("422", "Every event was refused; they are kept in the dead letters"),
    ("429", "Too many requests; `Retry-After` says when to send again"),
    ("503", "Nothing can be taken now; send it again"),
];

/// Those of requests without a body.
const WITHOUT_BODY: [&str; 6] = ["400", "401", "403", "404", "429", "503"];

/// The operations of [`routes`](crate::routes). The schemas of problems and of sources' names are the document's own.
pub fn document() -> OpenApi {
    let mut paths = Paths::new();
    for (path, method, operation) in [
        ("/v1/events/{source}", HttpMethod::Post, post_events()),
        ("/v1/dead-letters/{source}", HttpMethod::Get, list_dead_letters()),
        ("/v1/dead-letters/{source}/{entry}", HttpMethod::Get, show_dead_letter()),
        ("/v1/dead-letters/{source}/{entry}/replay", HttpMethod::Post, replay_dead_letter()),
        ("/v1/tap/{source}", HttpMethod::Get, tap()),
    ] {
        paths.add_path_operation(path, vec![method], operation);
    }
    let mut document = OpenApi::new(Info::new("ingest", env!("CARGO_PKG_VERSION")), paths);
    document.components = Some(components());
    document
}

fn post_events() -> OperationBuilder {
    let body =
        MEDIA_TYPES.into_iter().fold(RequestBodyBuilder::new().required(Some(Required::True)), |body, media_type| {
            body.content(media_type, Content::default())
        });
    let before = ParameterBuilder::new().name("Seam-Lines-Before").parameter_in(ParameterIn::Header);
    let before = before.required(Required::False).schema(Some(number())).description(Some(
        "Of a part of a file: how many of its lines come before the body's; receipts and dead letters then name lines of the file",
    ));
    operation(
        "postEvents",
        "Send events",
        "Answers once everything that was accepted is durable. Refused events are kept with the reason; `position` is what a \
         query waits for with `min_position` to see all of them.",
    )
    .parameter(before)
    .request_body(Some(body.build()))
    .responses(refused(taken(), &REFUSALS.map(|(status, _)| status)))
}

fn list_dead_letters() -> OperationBuilder {
    operation("listDeadLetters", "Refused events", "The newest, oldest first, each with the reason.")
        .parameter(optional("limit", "The most of them"))
        .parameter(optional("from", "The first of them; the newest otherwise"))
        .responses(refused(success("Letters"), &WITHOUT_BODY))
}

fn show_dead_letter() -> OperationBuilder {
    operation("showDeadLetter", "A refused event", "With its original bytes.")
        .parameter(part("entry", number()))
        .responses(refused(success("Letter"), &WITHOUT_BODY))
}

fn replay_dead_letter() -> OperationBuilder {
    operation("replayDeadLetter", "Send a refused event again", "After the source was mended. The letter stays.")
        .parameter(part("entry", number()))
        .responses(refused(taken(), &[&WITHOUT_BODY[..], &["422"]].concat()))
}

fn tap() -> OperationBuilder {
    let feed = ResponseBuilder::new()
        .description("The feed, which does not end")
        .content("application/x-ndjson", Content::default())
        .content("text/event-stream", Content::default());
    operation(
        "tap",
        "Events as they come",
        "One JSON object a line, or server-sent events for those who accept them; for `admin` alone.",
    )
    .responses(refused(ResponsesBuilder::new().response("200", feed), &WITHOUT_BODY))
}

/// The schemas of what is answered.
fn components() -> Components {
    let receipt =
        vec![("accepted", number()), ("rejected", number()), ("errors", list_of_anything()), ("position", text())];
    let letters = vec![("kept", number()), ("letters", list_of_anything())];
    let letter =
        vec![("entry", number()), ("received", text()), ("line", number()), ("reason", text()), ("bytes", number())];
    let mut components = Components::new();
    for (name, members) in [("Receipt", receipt), ("Letters", letters), ("Letter", letter)] {
        components.schemas.insert(name.to_owned(), object(members));
    }
    components
}

/// An operation on a source.
fn operation(id: &str, summary: &str, description: &str) -> OperationBuilder {
    let operation = OperationBuilder::new().tag("ingest").operation_id(Some(id));
    operation.summary(Some(summary)).description(Some(description)).parameter(part("source", named("SourceName")))
}

fn part(name: &str, schema: RefOr<Schema>) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True).schema(Some(schema))
}

fn optional(name: &str, description: &str) -> ParameterBuilder {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(Required::False);
    parameter.description(Some(description)).schema(Some(number()))
}

fn success(schema: &str) -> ResponsesBuilder {
    let content = Content::new(Some(named(schema)));
    ResponsesBuilder::new()
        .response("200", ResponseBuilder::new().description("As asked").content("application/json", content))
}

/// The answer to events that were taken.
fn taken() -> ResponsesBuilder {
    let receipt = Content::new(Some(named("Receipt")));
    let receipt = ResponseBuilder::new().description("What was taken").content("application/json", receipt);
    ResponsesBuilder::new().response("202", receipt)
}

fn refused(answers: ResponsesBuilder, statuses: &[&str]) -> ResponsesBuilder {
    let known = REFUSALS.iter().filter(|(status, _)| statuses.contains(status));
    known.fold(answers, |answers, (status, description)| {
        let problem = Content::new(Some(named("Problem")));
        answers.response(
            *status,
            ResponseBuilder::new().description(*description).content("application/problem+json", problem),
        )
    })
}

fn named(schema: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(schema))
}

fn of_type(kind: Type) -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(SchemaType::Type(kind)).build()))
}

fn number() -> RefOr<Schema> {
    let whole = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)).minimum(Some(0));
    RefOr::T(Schema::Object(whole.build()))
}

fn text() -> RefOr<Schema> {
    of_type(Type::String)
}

fn list_of_anything() -> RefOr<Schema> {
    of_type(Type::Array)
}

fn object(members: Vec<(&str, RefOr<Schema>)>) -> RefOr<Schema> {
    let object = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object));
    let with =
        |object: ObjectBuilder, (name, schema): (&str, RefOr<Schema>)| object.property(name, schema).required(name);
    RefOr::T(Schema::Object(members.into_iter().fold(object, with).build()))
}
