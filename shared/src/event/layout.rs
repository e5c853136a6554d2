//! Which members of an event a source reads, and one pass over a record's JSON that finds their texts.
//!
//! Only what is read is looked into: other members need to be well-formed JSON and no more. Of two members of one object
//! with the same name the last one counts, whole: `{"a":{"x":1},"a":{"y":2}}` has no `a.x`.
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::scan::{self, Order};
pub use super::wanted::Found;
use super::wanted::{Member, Node};

/// The members to find, as a tree of names. Each wanted path has a slot, numbered in the order given.
#[derive(Debug, Clone)]
pub struct Layout {
    root: Node,
    slots: usize,
}

impl Layout {
    /// A layout that finds `paths`; the same path may be wanted more than once.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p [String]>) -> Self {
        let mut layout = Self { root: Node::default(), slots: 0 };
        for path in paths {
            layout.root.want(path, layout.slots);
            layout.slots += 1;
        }
        layout.root.index();
        layout
    }

    /// Finds the members in `text`, one JSON object; a member that is absent or null leaves its slot `None`.
    ///
    /// # Errors
    /// The text is no JSON object.
    pub fn find<'a>(&self, text: &'a str, found: &mut Found<'a>) -> Result<(), serde_json::Error> {
        found.clear();
        found.resize(self.slots, None);
        match scan::scan_one(&self.root, text, found) {
            Some(()) => Ok(()),
            None => self.parse(text, found),
        }
    }

    /// The same for one event of many, whose members often come in the same order.
    ///
    /// # Errors
    /// As [`Layout::find`].
    #[inline]
    pub(super) fn find_next<'a>(
        &self,
        order: &mut Order,
        text: &'a str,
        found: &mut Found<'a>,
    ) -> Result<(), serde_json::Error> {
        found.clear();
        found.resize(self.slots, None);
        match scan::scan(&self.root, order, text, found) {
            Some(()) => Ok(()),
            None => self.parse(text, found),
        }
    }

    /// The full parser, which decides whatever [`scan`] leaves to it.
    pub(super) fn parse<'a>(&self, text: &'a str, found: &mut Found<'a>) -> Result<(), serde_json::Error> {
        found.clear();
        found.resize(self.slots, None);
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_map(Members { node: &self.root, found })?;
        json.end()
    }
}

#[cfg(test)]
impl Layout {
    pub(super) fn root(&self) -> &Node {
        &self.root
    }
    pub(super) fn slots(&self) -> Found<'static> {
        vec![None; self.slots]
    }
}

/// Matches a member's name, escaped or not.
struct Name<'n>(&'n Node);

impl<'de, 'n> DeserializeSeed<'de> for Name<'n> {
    type Value = Option<&'n Member>;
    #[inline]
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Name<'n> {
    type Value = Option<&'n Member>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    #[inline]
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.member(name.as_bytes()))
    }
}

/// Visits one object (or something else in its place, which has no members) and fills the slots of `node`.
struct Members<'n, 'f, 'de> {
    node: &'n Node,
    found: &'f mut Found<'de>,
}

impl<'de> DeserializeSeed<'de> for Members<'_, '_, 'de> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_, '_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }
    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_key_seed(Name(self.node))? {
            let Some(member) = member else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if let Some(inner) = &member.inner {
                inner.clear(self.found);
                if member.slots.is_empty() {
                    map.next_value_seed(Members { node: inner, found: self.found })?;
                    continue;
                }
            }
            let text = map.next_value::<&'de RawValue>()?.get();
            let value = (text != "null").then_some(text);
            for &slot in &member.slots {
                self.found[slot] = value;
            }
            if let Some(inner) = member.inner.as_ref().filter(|_| text.starts_with('{')) {
                let seed = Members { node: inner, found: self.found };
                seed.deserialize(&mut serde_json::Deserializer::from_str(text)).map_err(serde::de::Error::custom)?;
            }
        }
        Ok(())
    }
    // A path that leads through something else than an object leads nowhere: its member is absent.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(paths: &[&str], text: &'a str) -> Result<Found<'a>, String> {
        let paths: Vec<Vec<String>> = paths.iter().map(|p| p.split('.').map(str::to_owned).collect()).collect();
        let mut found = Found::new();
        Layout::new(paths.iter().map(Vec::as_slice)).find(text, &mut found).map_err(|e| e.to_string())?;
        Ok(found)
    }

    #[test]
    fn finds_texts_as_written() {
        let found =
            find(&["a", "b", "c.d", "a"], r#" {"x":[1,{"a":2}], "a" : 1.50 ,"\u0062":"q\"","c":{"d":{"e": 1}}} "#);
        assert_eq!(found, Ok(vec![Some("1.50"), Some(r#""q\"""#), Some(r#"{"e": 1}"#), Some("1.50")]));
    }

    #[test]
    fn the_last_of_two_members_counts_whole() {
        assert_eq!(find(&["a", "c.d"], r#"{"a":1,"a":null,"c":{"d":1},"c":{}}"#), Ok(vec![None, None]));
        assert_eq!(find(&["c", "c.d"], r#"{"c":{"d":1},"c":7}"#), Ok(vec![Some("7"), None]));
        assert_eq!(find(&["c", "c.d"], r#"{"c":7,"c":{"d":1}}"#), Ok(vec![Some(r#"{"d":1}"#), Some("1")]));
    }

    #[test]
    fn a_path_through_no_object_is_absent() {
        for inner in ["1", "-1", "1.5", "\"s\"", "true", "null", "[{\"d\":1}]"] {
            assert_eq!(find(&["c.d"], &format!(r#"{{"c":{inner}}}"#)), Ok(vec![None]), "{inner}");
        }
    }

    #[test]
    fn only_one_whole_object_is_an_event() {
        for text in ["", "[]", "1", "{", "{}{}", "{}x", "{\"a\":}", "{\"a\":01}", "{\"a\":\"\u{1}\"}", "nul"] {
            assert!(find(&["a"], text).is_err(), "{text}");
        }
    }
}
