//! What is said of the routes about the pipeline itself: how far its parts have come, and what was refused.
use serde_json::{Value, json};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::{Components, HttpMethod, Info, OpenApi, Paths, RefOr, Required, Schema};

use super::{add, answers, operation, parameter, schema};

/// The routes of a process that serves: `/api/analytics/pipeline` and `/api/analytics/dead_letters`.
pub fn pipeline() -> OpenApi {
    let mut paths = Paths::new();
    let picture = operation(
        "analytics",
        "pipeline",
        "How far the pipeline has come",
        "Per source the partitions of log and archive; per view its generation, cut, floor and position; the batch runs. Only what the \
         key may ask for; what this process cannot know is null, and `unknown` says so.",
    );
    let refusals = ["400", "401", "403", "429", "503"];
    add(
        &mut paths,
        HttpMethod::Get,
        "/api/analytics/pipeline",
        picture.responses(answers("The picture, at most a second old", "Pipeline", &refusals)),
    );
    let source = ParameterBuilder::new().name("source").parameter_in(ParameterIn::Query).required(Required::True);
    let letters = operation("analytics", "deadLetters", "The newest refused events of a source", "For `admin` alone.");
    let letters = letters.parameter(source.description(Some("The source")).schema(Some(schema("Text"))));
    let letters = letters.parameter(parameter("limit", "LetterLimit", "The most letters to show"));
    add(
        &mut paths,
        HttpMethod::Get,
        "/api/analytics/dead_letters",
        letters.responses(answers("The newest first", "DeadLetters", &["400", "401", "403", "404", "429", "503"])),
    );
    let mut document = OpenApi::new(Info::new("pipeline", env!("CARGO_PKG_VERSION")), paths);
    let mut components = Components::new();
    for (name, schema) in [("Pipeline", picture_schema()), ("DeadLetters", letters_schema()), ("LetterLimit", limit())]
    {
        components.schemas.insert(name.to_owned(), read(schema));
    }
    document.components = Some(components);
    document
}

fn read(schema: Value) -> RefOr<Schema> {
    RefOr::T(serde_json::from_value(schema).expect("a schema is written as one"))
}

fn object(members: &[(&str, Value)]) -> Value {
    let properties: serde_json::Map<String, Value> =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

fn offset() -> Value {
    json!({ "type": ["integer", "null"], "description": "An offset; null where nothing is known" })
}

fn text_or_null() -> Value {
    json!({ "type": ["string", "null"] })
}

fn picture_schema() -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "integer" });
    let count = || json!({ "type": ["integer", "null"] });
    let logged =
        object(&[("partition", number()), ("log_start", offset()), ("log_end", offset()), ("archived", offset())]);
    let source = object(&[
        ("name", text()),
        ("own", json!({ "type": "boolean" })),
        ("late", count()),
        ("duplicates", count()),
        ("dead_letters", count()),
        ("partitions", list(logged)),
        ("problem", text_or_null()),
    ]);
    let held = object(&[
        ("partition", number()),
        ("cut", offset()),
        ("floor", offset()),
        ("position", offset()),
        ("segments", list(number())),
    ]);
    let view = object(&[
        ("view", text()),
        ("id", text()),
        ("source", text()),
        ("pane", text()),
        ("newest", text_or_null()),
        ("generation", json!({ "type": ["object", "null"] })),
        ("partitions", list(held)),
        ("history", list(json!({ "type": "object" }))),
        ("problem", text_or_null()),
    ]);
    let batch = object(&[
        ("schedule", text_or_null()),
        ("zone", text_or_null()),
        ("next", text_or_null()),
        ("running", list(json!({ "type": "object" }))),
        ("runs", json!({ "type": ["array", "null"], "items": { "type": "object" } })),
    ]);
    object(&[
        ("now", text()),
        ("name", text()),
        ("version", text()),
        ("roles", list(text())),
        ("sources", list(source)),
        ("views", list(view)),
        ("batch", batch),
        ("unknown", list(text())),
    ])
}

fn letters_schema() -> Value {
    let letter = object(&[("entry", json!({ "type": "integer" })), ("reason", json!({ "type": "string" }))]);
    object(&[
        ("source", json!({ "type": "string" })),
        ("kept", json!({ "type": "integer" })),
        ("letters", list(letter)),
    ])
}

fn limit() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": 1_000 })
}
