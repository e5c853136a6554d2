//! What of a file says what is computed: its sources, views and metrics, as a document that can be loaded again.
//!
//! The lake keeps it (`lake::editions`), so that a process with a newer file can go on answering by the definitions before it.
use serde_json::{Map, Number, Value, json};

use super::VERSION;
use super::tree::{Content, Node, Scalar};

/// The parts of a file that say what is computed.
const PARTS: [&str; 3] = ["sources", "views", "metrics"];

/// The document of a checked file, variables replaced, in one spelling: the same definitions are the same text.
pub(super) fn of(root: &Node) -> String {
    let mut document = Map::new();
    document.insert("version".to_owned(), json!(VERSION));
    for part in PARTS {
        if let Some(node) = root.get(part) {
            document.insert(part.to_owned(), value(node));
        }
    }
    // Where results go says nothing about what they are.
    if let Some(Value::Object(views)) = document.get_mut("views") {
        views.values_mut().filter_map(Value::as_object_mut).for_each(|view| drop(view.remove("sink")));
    }
    sorted(Value::Object(document)).to_string()
}

fn value(node: &Node) -> Value {
    match &node.content {
        Content::Scalar(scalar) => of_scalar(scalar),
        Content::Sequence(items) => items.iter().map(value).collect(),
        Content::Mapping(entries) => {
            Value::Object(entries.iter().map(|(key, node)| (key.name.clone(), value(node))).collect())
        }
    }
}

/// JSON is YAML: what stands without quotes here, and so may be a number, a flag or nothing, stands without quotes there.
fn of_scalar(scalar: &Scalar) -> Value {
    let number = || scalar.text.parse::<i64>().ok().filter(|number| number.to_string() == scalar.text);
    match scalar.text.as_str() {
        _ if scalar.is_null() => Value::Null,
        "true" if scalar.plain => Value::Bool(true),
        "false" if scalar.plain => Value::Bool(false),
        text => match number().filter(|_| scalar.plain) {
            Some(number) => Value::Number(Number::from(number)),
            None => Value::String(text.to_owned()),
        },
    }
}

/// The same with the members of every object in the order of their names.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.into_iter().map(|(name, v)| (name, sorted(v))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load_with;

    #[test]
    fn the_document_loads_as_the_same_views_and_metrics_whatever_the_order_of_keys() {
        let none = |name: &str| (name == "REGION").then(|| "eu".to_owned());
        let text = "version: 1\nserver: { listen: 127.0.0.1:1 }\nsources: { clicks: { map: { id: $.id }, segment: { events: 100 }, \
                    fields: { region: string, price: decimal(2) } } }\nviews: { v: { from: clicks, where: 'region = \"${REGION}\"', pane: 10s, windows: [1m], \
                    dimensions: [region], measures: { events: count(), p: stats(price) } } }\nmetrics: { all: { view: v, measure: events, help: '12' } }\n";
        let first = load_with(text, "a", &none).unwrap();
        let again = load_with(&first.definitions, "b", &|_| None).unwrap();
        assert_eq!(first.definitions, again.definitions, "a fixed point");
        assert_eq!(first.views[0].id, again.views[0].id);
        assert_eq!(again.metrics[0].help.as_deref(), Some("12"));
        assert_eq!(again.sources[0].segments.max_events, 100);
        assert!(!first.definitions.contains("listen") && first.definitions.contains("eu"));
        let other = text.replace("region: string, price: decimal(2)", "price: decimal(2), region: string");
        assert_eq!(load_with(&other, "c", &none).unwrap().definitions, first.definitions);
    }
}
