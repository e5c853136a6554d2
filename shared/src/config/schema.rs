//! The JSON Schema for editors, made from the table that the check follows.
use serde_json::{Map, Value, json};

use super::keys::FILE;
use super::shape::{Shape, words};

/// Names that users choose.
const NAME: &str = "^[a-z][a-z0-9_.]{0,62}$";
/// A value that comes from the environment is text, whatever its place asks for.
const VARIABLE: &str = r"\$\{";

/// The JSON Schema (draft 2020-12) of `seam.yaml`.
pub fn schema() -> Value {
    let mut schema = of(&FILE);
    if let Value::Object(members) = &mut schema {
        members.shift_insert(0, "$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        members.shift_insert(1, "title".to_owned(), json!("seam.yaml"));
    }
    schema
}

fn of(shape: &'static Shape) -> Value {
    match shape {
        Shape::Text => json!({ "type": "string", "minLength": 1 }),
        Shape::Anything => json!({}),
        Shape::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Integer(low, high) if low == high => json!({ "const": low }),
        Shape::Integer(low, high) => or_variable(json!({ "type": "integer", "minimum": low, "maximum": high })),
        Shape::Duration | Shape::Delay => pattern(r"^([0-9]+(us|ms|s|m|h|d|w))+$"),
        Shape::Size(_) => or_variable(json!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^[0-9]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB)?$" },
        ] })),
        Shape::Path => pattern(r"^\$(\.[^.\[]+|\['[^']+'\])+$"),
        Shape::FieldType => pattern(r"^(string|url|bool|int|float|decimal\( *([0-9]|1[0-8]) *\))$"),
        Shape::Zone => json!({ "type": "string", "examples": ["UTC", "Europe/Berlin"] }),
        Shape::Cron => json!({ "type": "string", "examples": ["*/15 * * * *", "@hourly", "off"] }),
        Shape::Address => json!({ "type": "string", "examples": ["127.0.0.1:8080"] }),
        Shape::Flag => or_variable(json!({ "type": "boolean" })),
        Shape::OneOf(choices) => or_variable(json!({ "enum": words(choices).collect::<Vec<_>>() })),
        Shape::List(each, least) => json!({ "type": "array", "items": of(each), "minItems": least }),
        Shape::Named(_, each) => {
            json!({ "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": of(each) })
        }
        Shape::Labels => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$" },
            "additionalProperties": of(&Shape::Scalar),
        }),
        Shape::Either(scalar, other) => json!({ "anyOf": [of(scalar), of(other)] }),
        Shape::Table(keys) => {
            let mut properties = Map::new();
            for key in keys.iter() {
                let Some(shape) = key.shape else { continue };
                let mut value = of(shape);
                if let Value::Object(members) = &mut value {
                    members.insert("description".to_owned(), json!(key.help));
                }
                properties.insert(key.name.to_owned(), value);
            }
            let needed: Vec<&str> = keys.iter().filter(|k| k.required).map(|k| k.name).collect();
            json!({ "type": "object", "properties": properties, "required": needed, "additionalProperties": false })
        }
    }
}

fn pattern(pattern: &str) -> Value {
    or_variable(json!({ "type": "string", "pattern": pattern }))
}

fn or_variable(value: Value) -> Value {
    json!({ "anyOf": [value, { "type": "string", "pattern": VARIABLE }] })
}
