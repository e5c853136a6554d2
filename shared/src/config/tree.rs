//! The file as a tree of nodes that know their places. Duplicate keys, tags and second documents are found here.
use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::report::{Place, Problems};

/// Nodes that aliases may make; a file that repeats itself beyond this is an attack or a mistake.
const MAX_NODES: usize = 100_000;

/// A value of the file and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Its place.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Text, a number, true, false or null; which one is decided by what the place asks for.
    Scalar(Scalar),
    /// `[a, b]`
    Sequence(Vec<Node>),
    /// `{ key: value }` in the file's order; no name occurs twice.
    Mapping(Vec<(Key, Node)>),
}

/// A scalar as written, escapes and quotes resolved.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// Its text.
    pub text: String,
    /// Whether it stands without quotes, so that `5` may be a number and an empty text is null.
    pub plain: bool,
    /// The column of its first character if it is written in one line without escapes, so that a place inside can be shown.
    pub verbatim: Option<usize>,
}

/// A mapping's key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Its name.
    pub name: String,
    /// Its place.
    pub place: Place,
}

impl Scalar {
    /// Whether it is YAML's null.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Node {
    /// The value of a mapping's key.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }
    /// A mapping's entries; none of anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.content {
            Content::Mapping(entries) => entries,
            Content::Scalar(_) | Content::Sequence(_) => &[],
        }
    }
    /// A sequence's items; none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::Sequence(items) => items,
            Content::Scalar(_) | Content::Mapping(_) => &[],
        }
    }
    /// A scalar that is not null.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => None,
        }
    }
    /// A scalar's text.
    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }
    /// The texts of a sequence of scalars with their places.
    pub fn texts(&self) -> Vec<(&str, Place)> {
        self.items().iter().filter_map(|item| Some((item.text()?, item.place))).collect()
    }
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.is_null())
    }
    /// The place of the word (or the sign) at byte `at` of a scalar's text, as exactly as its spelling allows.
    pub fn inside(&self, at: usize) -> Place {
        match self.scalar().and_then(|s| s.verbatim.map(|column| (column, &s.text))) {
            Some((column, text)) => {
                let before = text.get(..at).map_or(0, |head| head.chars().count());
                let word = |c: &char| c.is_alphanumeric() || *c == '_' || *c == '.';
                let length = text.get(at..).map_or(0, |tail| tail.chars().take_while(word).count()).max(1);
                Place { line: self.place.line, column: column + before, length }
            }
            None => self.place,
        }
    }
    /// What it is, in words.
    pub fn describe(&self) -> String {
        match &self.content {
            Content::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Content::Scalar(scalar) => {
                let short: String = scalar.text.chars().take(40).collect();
                format!("`{short}`")
            }
            Content::Sequence(_) => "a list".to_owned(),
            Content::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

/// A collection that is still open.
enum Open {
    Sequence { place: Place, anchor: usize, items: Vec<Node> },
    Mapping { place: Place, anchor: usize, entries: Vec<(Key, Node)>, key: Option<Key> },
}

struct Builder<'a> {
    text: &'a str,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    problems: &'a mut Problems,
}

/// Reads the one document of `text`. A syntax error is reported and nothing comes back.
pub(super) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let mut builder = Builder { text, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, problems };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => {
                let place = Place { line: error.marker().line(), column: error.marker().col() + 1, length: 1 };
                builder.problems.add(place, format!("this is no YAML: {}", error.info()));
                return None;
            }
        }
    }
    if builder.root.is_none() {
        builder.problems.add(Place { line: 1, column: 1, length: 1 }, "the file is empty");
    }
    builder.root
}

impl Builder<'_> {
    /// Takes in the next event; `None` ends the reading.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let place = place_of(span, self.text);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.problems.add(place, "a second document starts here; a configuration is one document");
                return None;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.string_tag(tag.as_deref(), place);
                let scalar = Scalar { verbatim: verbatim(span, self.text, &text), text: text.into_owned(), plain };
                self.close(Node { place, content: Content::Scalar(scalar) }, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.string_tag(tag.as_deref(), place);
                self.open.push(Open::Sequence { place, anchor, items: Vec::new() });
            }
            Event::MappingStart(_, anchor, tag) => {
                self.string_tag(tag.as_deref(), place);
                self.open.push(Open::Mapping { place, anchor, entries: Vec::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                match node {
                    Some(node) => {
                        self.nodes += size(&node);
                        self.close(Node { place, ..node }, 0)?;
                    }
                    None => {
                        self.problems.add(place, "an alias cannot stand inside of what it names");
                        return None;
                    }
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Whether a tag says that the scalar is text; any other tag is refused.
    fn string_tag(&mut self, tag: Option<&Tag>, place: Place) -> bool {
        let Some(tag) = tag else { return false };
        if !tag.is_yaml_core_schema_tag("str") {
            self.problems.add(place, format!("the tag {} is not understood here", tag.original()));
        }
        true
    }

    fn end(&mut self) -> Option<()> {
        match self.open.pop() {
            Some(Open::Sequence { place, anchor, items }) => {
                self.close(Node { place, content: Content::Sequence(items) }, anchor)
            }
            Some(Open::Mapping { place, anchor, entries, .. }) => {
                self.close(Node { place, content: Content::Mapping(entries) }, anchor)
            }
            None => Some(()),
        }
    }

    /// Puts a whole node where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.problems.add(node.place, format!("the file has more than {MAX_NODES} values, aliases included"));
            return None;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => match key.take() {
                None => {
                    let Content::Scalar(scalar) = &node.content else {
                        self.problems.add(node.place, format!("a key must be a name, not {}", node.describe()));
                        return None;
                    };
                    *key = Some(Key { name: scalar.text.clone(), place: node.place });
                }
                Some(name) => match entries.iter().find(|(other, _)| other.name == name.name) {
                    Some((first, _)) => self.problems.add(
                        name.place,
                        format!("the key `{}` is there already, in line {}", name.name, first.place.line),
                    ),
                    None => entries.push((name, node)),
                },
            },
        }
        Some(())
    }
}

/// How many values an alias brings.
fn size(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) => 1,
        Content::Sequence(items) => 1 + items.iter().map(size).sum::<usize>(),
        Content::Mapping(entries) => 1 + entries.iter().map(|(_, value)| 1 + size(value)).sum::<usize>(),
    }
}

/// A node's place: its first line only.
fn place_of(span: Span, text: &str) -> Place {
    let first = span.slice(text).and_then(|s| s.lines().next()).unwrap_or_default();
    Place { line: span.start.line(), column: span.start.col() + 1, length: first.trim_end().chars().count().max(1) }
}

/// The column where a scalar's text starts, if the file holds it word for word in one line.
fn verbatim(span: Span, source: &str, text: &str) -> Option<usize> {
    let slice = span.slice(source)?;
    let skipped = slice.find(text)?;
    let one_line = !text.contains('\n') && !text.is_empty() && skipped <= 1;
    one_line.then(|| span.start.col() + 1 + skipped)
}
