//! Sources: their paths, typed fields (declared, or inferred from the views), duplicate and segment rules.
use std::sync::Arc;

use super::measures::{MeasureCall, parse_call};
use super::report::{Place, Problems};
use super::tree::Node;
use super::{Format, Intake, scalars};
use crate::event::url::UrlRule;
use crate::segment::SegmentRule;
use crate::time::Span;
use crate::view::definition::{DuplicateRule, Field, Origin, Source};
use crate::view::value::FieldType;

/// The text field that every source has.
const TYPE: &str = "type";
/// Field names that start with this are the archive's own columns.
const RESERVED: &str = "seam_";
/// How long an id is remembered unless the file says otherwise.
const DUPLICATES: DuplicateRule = DuplicateRule { horizon: Span(600_000_000), max_records: 1_000_000 };

/// The fields of every source in the file's order.
pub(super) fn declare(root: &Node, problems: &mut Problems) -> Vec<Vec<Field>> {
    let entries = root.get("sources").map_or(&[][..], Node::entries);
    let fields = entries.iter().map(|(key, source)| {
        let type_path = source.get("map").and_then(|map| path(map, TYPE)).unwrap_or_else(|| vec![TYPE.to_owned()]);
        let mut fields = vec![Field::new(TYPE, type_path, FieldType::String)];
        match source.get("fields") {
            Some(node) => declared(node, &mut fields, problems),
            None => inferred(root, &key.name, &mut fields, problems),
        }
        fields
    });
    fields.collect()
}

fn declared(node: &Node, fields: &mut Vec<Field>, problems: &mut Problems) {
    for (key, value) in node.entries() {
        if key.name.starts_with(RESERVED) {
            problems.add(key.place, format!("names that start with {RESERVED} are the archive's own columns"));
        }
        let text = value.text().or_else(|| value.text_of("type"));
        let Some(field_type) = text.and_then(|text| scalars::field_type(text).ok()) else {
            problems.breaks(&key.name);
            continue;
        };
        let url = (text.map(str::trim) == Some(scalars::URL)).then(|| match value.text_of("query") {
            Some("drop") => UrlRule::Drop,
            _ => UrlRule::Keep,
        });
        if let (None, Some(query)) = (url, value.get("query")) {
            problems.suggest(query.place, "only a url has a query", Some("make the field's type url".to_owned()));
        }
        if key.name == TYPE {
            match (field_type, value.get("path")) {
                (FieldType::String, None) if url.is_none() => {}
                (_, Some(node)) => problems.add(node.place, "the path of `type` is set by `map: { type: … }`"),
                (_, None) => problems.add(value.place, "`type` is a string field; every source has it"),
            }
            continue;
        }
        let path = path(value, "path").unwrap_or_else(|| default_path(&key.name));
        let origin = origin(value, field_type, problems);
        fields.push(Field { origin, url, ..Field::new(&key.name, path, field_type) });
    }
}

/// Whether a field may have been added later, or had a narrower type before.
fn origin(node: &Node, now: FieldType, problems: &mut Problems) -> Origin {
    let optional = node.text_of("optional") == Some("true");
    let Some(was) = node.get("was") else { return if optional { Origin::Optional } else { Origin::First } };
    let before = was.text().and_then(|text| scalars::field_type(text).ok());
    match (before, now) {
        _ if optional => problems.add(was.place, "a field that is optional has no narrower type before"),
        (Some(before), now) if now.is_wider_than(before) => return Origin::Widened(before),
        (Some(_), _) => {
            let rule = "an int may become a decimal, and a decimal one of more digits, as long as every value stays what it is";
            problems.suggest(was.place, "this is no narrower type", Some(rule.to_owned()));
        }
        (None, _) => {}
    }
    Origin::First
}

/// A name with points is a path of its own.
fn default_path(name: &str) -> Vec<String> {
    name.split('.').map(str::to_owned).collect()
}

/// What the views say about the fields of a source that declares none: dimensions are text, measured fields are floats.
fn inferred(root: &Node, source: &str, fields: &mut Vec<Field>, problems: &mut Problems) {
    let views = root.get("views").map_or(&[][..], Node::entries);
    for (_, view) in views.iter().filter(|(_, view)| view.text_of("from") == Some(source)) {
        let dimensions = view.get("dimensions").map(Node::texts).unwrap_or_default();
        for (name, place) in dimensions {
            infer(name, FieldType::String, place, fields, problems);
        }
        for (_, measure) in view.get("measures").map_or(&[][..], Node::entries) {
            if let Some(Ok(call)) = measure.text().map(parse_call)
                && let MeasureCall { field: Some((name, at)), .. } = &call
            {
                let place = Place { length: name.chars().count(), ..measure.inside(*at) };
                infer(name, call.field_type(), place, fields, problems);
            }
        }
    }
}

fn infer(name: &str, field_type: FieldType, place: Place, fields: &mut Vec<Field>, problems: &mut Problems) {
    match fields.iter().find(|f| f.name == name) {
        Some(field) if field.field_type == field_type => {}
        Some(_) => problems.suggest(
            place,
            format!("`{name}` is used as a dimension and measured too, so its type cannot be inferred"),
            Some("declare it under `fields` of the source".to_owned()),
        ),
        None => match scalars::identifier(name) {
            Ok(()) if name.starts_with(RESERVED) => {
                problems.add(place, format!("names that start with {RESERVED} are the archive's own columns"));
            }
            Ok(()) => fields.push(Field::new(name, default_path(name), field_type)),
            Err(rule) => problems.suggest(
                place,
                format!("`{name}` is no field name"),
                Some(format!("{rule}, with `path: $.{name}` under `fields` of the source")),
            ),
        },
    }
}

fn path(node: &Node, name: &str) -> Option<Vec<String>> {
    scalars::path(node.text_of(name)?).ok()
}

/// The sources and how they take events over HTTP.
pub(super) fn compile(root: &Node, fields: &[Vec<Field>], problems: &mut Problems) -> (Vec<Arc<Source>>, Vec<Intake>) {
    let Some(node) = root.get("sources") else { return Default::default() };
    if node.entries().is_empty() && !node.is_null() {
        problems.add(node.place, "there is no source");
    }
    let compiled = node.entries().iter().zip(fields).map(|((key, source), fields)| {
        let formats = source.get("http").and_then(|http| http.get("formats")).map(formats);
        let formats = formats.unwrap_or_else(|| Format::ALL.to_vec());
        let intake = Intake { source: key.name.clone(), formats, topic: topic(source, problems) };
        (Arc::new(source_of(&key.name, source, fields.clone(), problems)), intake)
    });
    compiled.unzip()
}

/// The Kafka topic that a source reads, when the log is Kafka.
fn topic(source: &Node, problems: &mut Problems) -> Option<String> {
    let node = source.get("kafka")?.get("topic")?;
    let topic = node.text()?;
    if let Err(message) = topic_name(topic) {
        problems.add(node.place, message);
    }
    Some(topic.to_owned())
}

/// Whether a topic can be called so.
pub(super) fn topic_name(topic: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() || topic.len() > 249 || !topic.chars().all(legal) || matches!(topic, "." | "..") {
        return Err(format!("`{topic}` is no topic name: letters, digits, `.`, `_` and `-`, at most 249"));
    }
    Ok(())
}

fn formats(node: &Node) -> Vec<Format> {
    let mut formats: Vec<Format> = Vec::new();
    for (text, _) in node.texts() {
        if let Some(format) = Format::ALL.into_iter().find(|f| f.name() == text && !formats.contains(f)) {
            formats.push(format);
        }
    }
    formats
}

fn source_of(name: &str, node: &Node, fields: Vec<Field>, problems: &mut Problems) -> Source {
    let map = node.get("map");
    let id = map.and_then(|map| path(map, "id"));
    let time = map.and_then(|map| path(map, "time")).unwrap_or_else(|| vec!["time".to_owned()]);
    let segment = node.get("segment");
    let default = SegmentRule::default();
    let segments = SegmentRule {
        max_events: segment.and_then(|s| s.number("events")).unwrap_or(default.max_events),
        interval: segment.and_then(|s| s.duration("interval")).unwrap_or(default.interval),
    };
    let partitions = node.number("partitions").and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    let duplicates = duplicates(node, id.is_some(), problems);
    Source { name: name.to_owned(), id, time, fields, duplicates, segments, partitions }
}

fn duplicates(node: &Node, has_id: bool, problems: &mut Problems) -> Option<DuplicateRule> {
    let Some(dedupe) = node.get("dedupe") else { return has_id.then_some(DUPLICATES) };
    if dedupe.text() == Some("off") {
        return None;
    }
    let map_has_id = node.get("map").is_some_and(|map| map.get("id").is_some());
    if !has_id && !map_has_id {
        let suggestion = Some("say where the id lies: `map: { id: $.id }`".to_owned());
        problems.suggest(dedupe.place, "duplicates are found by their id, and this source has none", suggestion);
    }
    Some(DuplicateRule {
        horizon: dedupe.duration("horizon").unwrap_or(DUPLICATES.horizon),
        max_records: dedupe.number("max_records").unwrap_or(DUPLICATES.max_records),
    })
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 4] = [Format::Json, Format::Ndjson, Format::Cloudevents, Format::Csv];
    /// The word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Cloudevents => "cloudevents",
            Format::Csv => "csv",
        }
    }
}
