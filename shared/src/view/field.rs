//! A field of a source: where it lies in an event, and what it holds.
use crate::event::url::UrlRule;
use crate::view::value::FieldType;

/// A field of a source: where it lies in the event's JSON and what type it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name used in dimensions, measures and filters; also its column in the archive.
    pub name: String,
    /// Member names from the outermost object inwards.
    pub path: Vec<String>,
    /// Its type.
    pub field_type: FieldType,
    /// If its texts are URLs: how they are brought into their normal form when an event is decoded.
    pub url: Option<UrlRule>,
    /// Since when it is what it is.
    pub origin: Origin,
}

/// How a field of a source came to be what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// It was so from the first event on: a value of another type refuses the event.
    #[default]
    First,
    /// It may have been added later: a value of another type counts as none, so that no event of before turns invalid.
    Optional,
    /// It had a narrower type before.
    Widened(FieldType),
}

impl Field {
    /// A field that is what it was from the first event on.
    pub fn new(name: impl Into<String>, path: Vec<String>, field_type: FieldType) -> Field {
        Field { name: name.into(), path, field_type, url: None, origin: Origin::First }
    }
}
