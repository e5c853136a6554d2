//! The schemas of what is asked and answered, with limits from the code and names from the running configuration.
use seam_shared::config::{Config, RECOMMENDED_MAX};
use serde_json::{Map, Value, json};

use crate::answer::raw;
use crate::query::inquiry;
use crate::query::{LIMIT_DEFAULT, LIMIT_MAX};

/// Names of things, each once.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = all.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A text that is one of those names; any text where names are not told.
fn one_of(names: &[&str]) -> Value {
    if names.is_empty() {
        return json!({"type": "string", "minLength": 1});
    }
    json!({"type": "string", "minLength": 1, "examples": names, "enum": names})
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// What parameters may be.
pub fn parameters(config: &Config) -> Value {
    let views = names(config.views.iter().map(|view| view.name.as_str()));
    let metrics = names(config.metrics.iter().map(|metric| metric.name.as_str()));
    let sources = names(config.sources.iter().map(|source| source.name.as_str()));
    let dimensions = names(config.views.iter().flat_map(|view| view.dimensions.iter().map(|d| d.name.as_str())));
    let mut windows: Vec<_> = config.views.iter().flat_map(|view| view.windows.iter().copied()).collect();
    windows.sort_unstable();
    windows.dedup();
    let windows: Vec<String> = windows.into_iter().map(|window| window.to_string()).collect();
    let dimension = json!({"type": "string", "examples": dimensions});
    json!({
        "Anything": {},
        "Text": {"type": "string"},
        "ViewName": one_of(&views),
        "MetricName": one_of(&metrics),
        "Dimension": dimension,
        "Dimensions": {"type": "array", "items": reference("Dimension")},
        "SourceName": one_of(&sources),
        "Moment": {
            "type": "string", "description": "RFC 3339, seconds or milliseconds since 1970, or now-6h",
            "examples": ["now", "now-1h", "2026-01-01T00:00:00Z", "1767225600"],
        },
        "Span": {"type": "string", "description": "A length of time, a multiple of the view's pane", "examples": windows},
        "Limit": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
        "FewItems": {"type": "integer", "minimum": 1, "maximum": RECOMMENDED_MAX},
        "Fill": {
            "type": "string", "enum": ["none", "null", "zero"],
            "description": "none: no row; null, zero: a row for every group at every time. By default a row only where there are no dimensions",
        },
        "PartOfRatio": {"type": "string", "enum": ["numerator", "denominator"]},
        "RawLimit": {"type": "integer", "minimum": 1, "maximum": raw::LIMIT_MAX},
        "Layer": {"type": "string", "enum": ["merged", "batch", "speed"], "default": "merged"},
    })
}

/// What is answered, and the one body that is asked with.
pub fn answers(config: &Config) -> Value {
    let mut all = Map::new();
    let mut put = |name: &str, schema: Value| {
        all.insert(name.to_owned(), schema);
    };
    put("Problem", problem());
    put("Inquiry", inquiry(config));
    put("Stamp", stamp());
    put("Meta", meta());
    put("Point", point());
    put("MetricAnswer", answer("metric", json!({"type": "string"}), "Point"));
    put("SheetAnswer", answer("metrics", json!({"type": "array", "items": {"type": "string"}}), "Row"));
    put(
        "Row",
        json!({
            "type": "object", "required": ["time", "start"], "description": "A time and group, and each metric's value there",
            "properties": {"time": reference("Time"), "start": reference("Time")},
            "additionalProperties": reference("Scalar"),
        }),
    );
    put("KeyState", key_state());
    put("Recommendations", recommendations());
    put("KeyList", key_list());
    put("ViewList", view_list());
    put("Time", json!({"type": "string", "format": "date-time"}));
    put("Scalar", json!({"type": ["string", "number", "boolean", "null"]}));
    put("MetricList", metric_list());
    put("GenerationList", generation_list());
    put("AlertList", alert_list());
    put("Explanation", explanation());
    put("Dashboard", dashboard());
    put("RawRows", raw_rows());
    Value::Object(all)
}

fn key_state() -> Value {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    json!({
        "type": "object", "required": ["view", "measures", "window", "dimensions", "points", "meta"],
        "properties": {
            "view": {"type": "string"}, "measures": texts, "window": {"type": "string", "description": "`all`, or the length"},
            "dimensions": texts,
            "points": {"type": "array", "items": {"type": "object", "additionalProperties": reference("Scalar")}},
            "meta": {"type": "object"},
        },
    })
}

fn recommendations() -> Value {
    let part = json!({"type": "number", "minimum": 0, "maximum": 1});
    json!({
        "type": "object", "required": ["recommendation", "user", "points", "meta"],
        "properties": {
            "recommendation": {"type": "string"}, "user": reference("Scalar"),
            "points": {"type": "array", "items": {
                "type": "object", "required": ["item", "score", "interest", "popularity", "recency"],
                "properties": {
                    "item": reference("Scalar"), "category": reference("Scalar"), "score": {"type": "number", "minimum": 0},
                    "interest": part, "popularity": part, "recency": part,
                },
            }},
            "meta": {"type": "object"},
        },
    })
}

fn key_list() -> Value {
    json!({
        "type": "object",
        "properties": {
            "view": {"type": "string"}, "next": {"type": ["string", "null"]}, "stamp": reference("Stamp"),
            "keys": {"type": "array", "items": {
                "type": "object", "required": ["key"], "additionalProperties": reference("Scalar"),
                "properties": {"key": {"type": "string", "description": "As it is written in a path"}},
            }},
        },
    })
}

fn view_list() -> Value {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let number = json!({"type": ["integer", "null"]});
    json!({
        "type": "object", "required": ["views"],
        "properties": {"views": {"type": "array", "items": {
            "type": "object", "required": ["view", "id", "keyed", "dimensions", "measures", "pane"],
            "properties": {
                "view": {"type": "string"}, "id": {"type": "string"}, "source": {"type": "string"},
                "keyed": {"type": "boolean"}, "measures": texts, "windows": texts, "pane": {"type": "string"},
                "dimensions": {"type": "array", "items": {"type": "object"}},
                "generation": number, "rows": number, "bytes": number,
            },
        }}},
    })
}

fn problem() -> Value {
    json!({
        "type": "object", "description": "RFC 9457", "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "pattern": "^urn:seam:problem:"}, "title": {"type": "string"},
            "status": {"type": "integer"}, "detail": {"type": "string"}, "instance": {"type": "string"},
            "suggestion": {"type": "string", "description": "What was probably meant"},
            "errors": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "parameter": {"type": "string"}, "pointer": {"type": "string", "pattern": "^#"},
                    "detail": {"type": "string"}, "line": {"type": "integer"}, "reason": {"type": "string"},
                },
            }},
        },
    })
}

fn inquiry(config: &Config) -> Value {
    let metric = config.metrics.first();
    let dimension = metric.and_then(|metric| {
        metric.kind.measures().first().and_then(|m| m.view.dimensions.first()).map(|d| d.name.clone())
    });
    let example = json!({
        "metrics": metric.map(|metric| metric.name.as_str()).into_iter().collect::<Vec<_>>(),
        "dimensions": dimension.into_iter().collect::<Vec<_>>(), "range": ["now-1d", "now"], "limit": 10,
    });
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let mut properties = Map::new();
    for name in inquiry::members() {
        let schema = match name {
            "metrics" => json!({
                "type": "array", "items": reference("MetricName"), "minItems": 1, "maxItems": inquiry::METRICS_MAX, "uniqueItems": true,
            }),
            "dimensions" => json!({"type": "array", "items": reference("Dimension")}),
            "order" => json!({"anyOf": [{"type": "string"}, texts]}),
            "filter" => json!({
                "type": "array", "description": "[\"is\", \"region\", [\"eu\", null]], is_not, lt, le, gt, ge, and, or, not; or a list of such",
            }),
            "range" => json!({"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 2, "maxItems": 2}),
            "limit" => reference("Limit"),
            "fill" => reference("Fill"),
            "layer" => reference("Layer"),
            "window" | "step" | "timeout" => reference("Span"),
            "from" | "to" | "at" => reference("Moment"),
            _ => json!({"type": ["string", "null"]}),
        };
        properties.insert(name.to_owned(), schema);
    }
    json!({
        "type": "object", "required": ["metrics"], "properties": properties, "additionalProperties": false, "examples": [example],
    })
}

fn answer(name: &str, named: Value, row: &str) -> Value {
    json!({
        "type": "object", "required": [name, "window", "dimensions", "points", "meta"],
        "properties": {
            name: named, "window": {"type": "string"}, "dimensions": {"type": "array", "items": {"type": "string"}},
            "points": {"type": "array", "items": reference(row)}, "meta": reference("Meta"),
        },
    })
}

fn point() -> Value {
    let number = json!({"type": ["number", "null"]});
    json!({
        "type": "object", "required": ["time", "start", "value"],
        "description": "A window by its end and start, the group's dimensions, and figures; numbers have all their digits",
        "properties": {
            "time": reference("Time"), "start": reference("Time"), "count": {"type": "integer", "minimum": 0},
            "sum": number, "avg": number, "numerator": number, "denominator": number,
        },
    })
}

fn meta() -> Value {
    json!({
        "type": "object", "required": ["from", "to", "step", "tz", "layers", "limit", "rows", "truncated", "next", "stamp"],
        "properties": {
            "from": reference("Time"), "to": reference("Time"), "step": {"type": ["string", "null"]}, "tz": {"type": "string"},
            "layers": reference("Layer"), "limit": {"type": "integer"}, "rows": {"type": "integer", "minimum": 0},
            "truncated": {"type": "boolean"}, "next": {"type": ["string", "null"], "description": "The cursor of the next page"},
            "stamp": reference("Stamp"),
        },
    })
}

fn stamp() -> Value {
    let vector = json!({
        "type": ["object", "null"], "required": ["text", "positions"],
        "properties": {"text": {"type": "string"}, "positions": {"type": "object", "additionalProperties": {"type": "integer"}}},
    });
    json!({
        "type": "object", "required": ["layer", "coverage", "complete", "stale", "missing", "views"],
        "description": "The proof: which generation, which offsets, and what each layer put in",
        "properties": {
            "layer": {"type": "string"}, "coverage": {"type": "string", "examples": ["clicks/0@12"]}, "complete": {"type": "boolean"},
            "stale": {"type": "boolean"}, "missing": {"type": "array", "items": {"type": "object"}},
            "views": {"type": "array", "items": {
                "type": "object", "required": ["view", "id", "definition", "source", "generation", "batch", "speed", "coverage", "excluded"],
                "properties": {
                    "view": {"type": "string"}, "id": {"type": "string"}, "definition": {"type": "string"}, "source": {"type": "string"},
                    "generation": {"type": ["integer", "null"]}, "batch": vector, "speed": vector, "coverage": vector,
                    "excluded": {
                        "type": ["object", "null"], "required": ["invalid", "duplicates"],
                        "description": "The records below the coverage that count nowhere; null where that is not known",
                        "properties": {"invalid": {"type": "integer"}, "duplicates": {"type": "integer"}},
                    },
                },
            }},
        },
    })
}

fn generation_list() -> Value {
    json!({
        "type": "object", "required": ["view", "id", "building", "generations"],
        "properties": {
            "view": {"type": "string"}, "id": {"type": "string"}, "building": {"type": ["object", "null"]},
            "generations": {"type": "array", "items": {
                "type": "object", "required": ["generation", "covers", "published", "rows", "files", "bytes", "available"],
                "properties": {
                    "generation": {"type": "integer"}, "covers": {"type": "string"}, "published": {"type": "string"},
                    "rows": {"type": "integer"}, "files": {"type": "integer"}, "bytes": {"type": "integer"},
                    "available": {"type": "boolean"},
                },
            }},
        },
    })
}

fn alert_list() -> Value {
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let severity = json!({"enum": ["info", "warning", "critical"]});
    let fired = json!({
        "type": ["object", "null"], "description": "The answer that fired it",
        "properties": {
            "at": {"type": "string"}, "value": {"type": "string"}, "stamp": {"type": ["object", "null"]},
            "corrected": {
                "type": ["object", "null"], "description": "What is answered for that moment by now, where it is something else",
                "properties": {"value": {"type": ["string", "null"]}, "stamp": {"type": ["object", "null"]}},
            },
        },
    });
    json!({
        "type": "object", "required": ["alerts", "rules"],
        "properties": {
            "alerts": {"type": "array", "items": {
                "type": "object", "required": ["fingerprint", "group", "alert", "state", "severity", "labels", "value", "activeAt"],
                "properties": {
                    "fingerprint": {"type": "string"}, "group": {"type": "string"}, "alert": {"type": "string"},
                    "state": {"enum": ["pending", "firing", "resolved"]}, "severity": severity, "labels": texts,
                    "annotations": texts, "value": {"type": "string"}, "activeAt": {"type": "string"},
                    "firedAt": {"type": ["string", "null"]}, "resolvedAt": {"type": ["string", "null"]}, "fired": fired,
                },
            }},
            "rules": {"type": "array", "items": {
                "type": "object", "required": ["group", "alert", "severity", "query", "state", "health"],
                "properties": {
                    "group": {"type": "string"}, "alert": {"type": "string"}, "severity": severity, "query": {"type": "string"},
                    "state": {"enum": ["inactive", "pending", "firing"]}, "health": {"enum": ["ok", "err", "unknown"]},
                    "error": {"type": ["string", "null"]}, "evaluatedAt": {"type": ["string", "null"]},
                },
            }},
        },
    })
}

fn metric_list() -> Value {
    json!({
        "type": "object", "required": ["metrics"],
        "properties": {"metrics": {"type": "array", "items": {
            "type": "object", "required": ["name", "help", "unit", "kind", "source", "views", "dimensions", "pane", "windows"],
            "properties": {
                "name": {"type": "string"}, "help": {"type": ["string", "null"]}, "unit": {"type": ["string", "null"]},
                "kind": {"type": "string"}, "source": {"type": "string"}, "pane": {"type": "string"},
                "views": {"type": "array", "items": {"type": "object", "required": ["view", "id", "measure", "generation"]}},
                "dimensions": {"type": "array", "items": {"type": "object", "required": ["name", "type"]}},
                "windows": {"type": "array", "items": {"type": "string"}},
            },
        }}},
    })
}

fn explanation() -> Value {
    json!({
        "type": "object", "required": ["metric", "window", "panes", "points", "milliseconds", "views", "stamp"],
        "properties": {
            "metric": {"type": "string"}, "window": {"type": "string"}, "points": {"type": "integer"},
            "views": {"type": "array", "items": {"type": "object", "required": ["id", "pane", "generation", "partitions"]}},
            "lag": {"type": ["string", "null"]}, "stamp": reference("Stamp"),
        },
    })
}

fn dashboard() -> Value {
    json!({
        "type": "object", "required": ["name", "metrics", "meta"],
        "properties": {
            "name": {"type": "string"},
            "metrics": {"type": "array", "items": {"type": "object", "required": ["metric", "help", "unit", "window"]}},
            "meta": {"type": "object", "required": ["stamp"], "properties": {"stamp": reference("Stamp")}},
        },
    })
}

fn raw_rows() -> Value {
    json!({
        "type": "object", "required": ["metric", "window", "from", "to", "rows", "meta"],
        "properties": {
            "rows": {"type": "array", "items": {
                "type": "object", "required": ["partition", "offset", "part", "time", "received", "id", "event"],
                "properties": {
                    "partition": {"type": "string"}, "offset": {"type": "integer"}, "part": {"type": "string", "enum": ["batch", "speed"]},
                    "time": reference("Time"), "received": reference("Time"), "id": {"type": ["string", "null"]}, "event": {},
                },
            }},
            "meta": {"type": "object", "required": ["scanned", "files", "limit", "next", "coverage", "stamp"]},
        },
    })
}
