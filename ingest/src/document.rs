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

/// The operations of [`routes`](crate::routes). The schemas of problems and of sources' names are the document's own.
pub fn document() -> OpenApi {
    let mut paths = Paths::new();
    let events = operation(
        "postEvents",
        "Send events",
        "Answers once everything that was accepted is durable. Refused events are kept with the reason; `position` is what a \
         query waits for with `min_position` to see all of them.",
    );
    let body =
        MEDIA_TYPES.into_iter().fold(RequestBodyBuilder::new().required(Some(Required::True)), |body, media_type| {
            body.content(media_type, Content::default())
        });
    let answers = refused(taken(), &REFUSALS.map(|(status, _)| status));
    let before = ParameterBuilder::new().name("Seam-Lines-Before").parameter_in(ParameterIn::Header);
    let before = before.required(Required::False).schema(Some(number()));
    let before = before.description(Some(
        "Of a part of a file: how many of its lines come before the body's; receipts and dead letters then name lines of the file",
    ));
    let events = events
        .parameter(part("source", named("SourceName")))
        .parameter(before)
        .request_body(Some(body.build()))
        .responses(answers);
    paths.add_path_operation("/v1/events/{source}", vec![HttpMethod::Post], events);

    let few = ["400", "401", "403", "404", "429", "503"];
    let list = operation("listDeadLetters", "Refused events", "The newest, oldest first, each with the reason.");
    let limit = ParameterBuilder::new().name("limit").parameter_in(ParameterIn::Query).required(Required::False);
    let limit = limit.description(Some("The most of them")).schema(Some(number()));
    let from = ParameterBuilder::new().name("from").parameter_in(ParameterIn::Query).required(Required::False);
    let from = from.description(Some("The first of them; the newest otherwise")).schema(Some(number()));
    let list = list
        .parameter(part("source", named("SourceName")))
        .parameter(limit)
        .parameter(from)
        .responses(refused(success("Letters"), &few));
    paths.add_path_operation("/v1/dead-letters/{source}", vec![HttpMethod::Get], list);
    let one = operation("showDeadLetter", "A refused event", "With its original bytes.");
    let one = one.parameter(part("source", named("SourceName"))).parameter(part("entry", number()));
    paths.add_path_operation(
        "/v1/dead-letters/{source}/{entry}",
        vec![HttpMethod::Get],
        one.responses(refused(success("Letter"), &few)),
    );
    let replay =
        operation("replayDeadLetter", "Send a refused event again", "After the source was mended. The letter stays.");
    let replay = replay.parameter(part("source", named("SourceName"))).parameter(part("entry", number()));
    let answers = refused(taken(), &[&few[..], &["422"]].concat());
    paths.add_path_operation(
        "/v1/dead-letters/{source}/{entry}/replay",
        vec![HttpMethod::Post],
        replay.responses(answers),
    );

    let tap = operation(
        "tap",
        "Events as they come",
        "One JSON object a line, or server-sent events for those who accept them; for `admin` alone.",
    );
    let feed = ResponseBuilder::new()
        .description("The feed, which does not end")
        .content("application/x-ndjson", Content::default())
        .content("text/event-stream", Content::default());
    let answers = refused(ResponsesBuilder::new().response("200", feed), &few);
    let tap = tap.parameter(part("source", named("SourceName"))).responses(answers);
    paths.add_path_operation("/v1/tap/{source}", vec![HttpMethod::Get], tap);

    let mut document = OpenApi::new(Info::new("ingest", env!("CARGO_PKG_VERSION")), paths);
    let mut components = Components::new();
    for (name, members) in [
        (
            "Receipt",
            vec![("accepted", number()), ("rejected", number()), ("errors", list_of_anything()), ("position", text())],
        ),
        ("Letters", vec![("kept", number()), ("letters", list_of_anything())]),
        (
            "Letter",
            vec![
                ("entry", number()),
                ("received", text()),
                ("line", number()),
                ("reason", text()),
                ("bytes", number()),
            ],
        ),
    ] {
        components.schemas.insert(name.to_owned(), object(members));
    }
    document.components = Some(components);
    document
}

fn operation(id: &str, summary: &str, description: &str) -> OperationBuilder {
    let operation = OperationBuilder::new().tag("ingest").operation_id(Some(id));
    operation.summary(Some(summary)).description(Some(description))
}

fn part(name: &str, schema: RefOr<Schema>) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True).schema(Some(schema))
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
