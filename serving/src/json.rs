//! JSON written straight into bytes: exact decimals, shortest doubles that read back, no tree in between.
mod digits;

use std::ops::Range;

use seam_shared::time::Timestamp;
use seam_shared::view::value::Value;
use serde::Serialize;

use crate::query::Zone;

/// Whole doubles below this are written with all their digits.
const WHOLE_BELOW: f64 = 1e15;

/// A JSON text under construction. Members of an object and items of an array are separated as they come.
#[derive(Debug, Default)]
pub struct Json {
    out: Vec<u8>,
    separate: bool,
}

impl Json {
    /// An empty text with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Json {
        Json { out: Vec::with_capacity(bytes), separate: false }
    }
    /// Takes all of it back, but keeps the room.
    pub fn clear(&mut self) {
        self.out.clear();
        self.separate = false;
    }
    /// The text.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
    #[inline]
    fn before_item(&mut self) {
        if self.separate {
            self.out.push(b',');
        }
    }
    #[inline]
    fn put(&mut self, text: &[u8]) -> &mut Self {
        self.before_item();
        self.out.extend_from_slice(text);
        self.separate = true;
        self
    }
    fn serialize(&mut self, value: &(impl Serialize + ?Sized)) -> &mut Self {
        self.before_item();
        serde_json::to_writer(&mut self.out, value).expect("writing to memory does not fail");
        self.separate = true;
        self
    }
    /// Opens an object or an array.
    #[inline]
    pub fn open(&mut self, bracket: char) -> &mut Self {
        self.before_item();
        self.out.push(bracket as u8);
        self.separate = false;
        self
    }
    /// Closes it.
    #[inline]
    pub fn close(&mut self, bracket: char) -> &mut Self {
        self.out.push(bracket as u8);
        self.separate = true;
        self
    }
    /// A member's name, of letters that need no escape; its value must follow.
    #[inline]
    pub fn key(&mut self, name: &'static str) -> &mut Self {
        self.before_item();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.separate = false;
        self
    }
    /// A part of the text that was written by hand, with all that separates it; a value must follow.
    #[inline]
    pub fn raw(&mut self, text: &'static str) -> &mut Self {
        self.out.extend_from_slice(text.as_bytes());
        self.separate = false;
        self
    }
    /// A value that is JSON already; what is not JSON becomes text.
    pub fn verbatim(&mut self, value: &[u8]) -> &mut Self {
        match serde_json::from_slice::<&serde_json::value::RawValue>(value) {
            Ok(value) => self.put(value.get().as_bytes()),
            Err(_) => self.text(&String::from_utf8_lossy(value)),
        }
    }
    /// The number of bytes so far.
    pub fn at(&self) -> usize {
        self.out.len()
    }
    /// Text that was written before: whole members, and a value must follow.
    #[inline]
    pub fn copied(&mut self, text: &[u8]) -> &mut Self {
        self.out.extend_from_slice(text);
        self.separate = false;
        self
    }
    /// A value once more that was written at that place.
    #[inline]
    pub fn again(&mut self, place: Range<usize>) -> &mut Self {
        self.before_item();
        self.out.extend_from_within(place);
        self.separate = true;
        self
    }
    /// A member's name that somebody else chose; its value must follow.
    pub fn named(&mut self, name: &str) -> &mut Self {
        self.text(name);
        self.out.push(b':');
        self.separate = false;
        self
    }
    /// What was written before: whole members or items, or a value up to where its next member or item comes.
    pub fn copy(&mut self, other: &Json) -> &mut Self {
        if !other.out.is_empty() {
            self.put(&other.out).separate = other.separate;
        }
        self
    }
    /// A value that is a tree already.
    pub fn tree(&mut self, value: Option<&serde_json::Value>) -> &mut Self {
        self.serialize(&value)
    }
    /// Text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            return self.serialize(text);
        }
        self.before_item();
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
        self.separate = true;
        self
    }
    /// null
    pub fn null(&mut self) -> &mut Self {
        self.put(b"null")
    }
    /// true or false.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.put(if value { b"true" } else { b"false" })
    }
    /// A whole number.
    #[inline]
    pub fn number(&mut self, value: u64) -> &mut Self {
        self.before_item();
        digits::natural(&mut self.out, value);
        self.separate = true;
        self
    }
    /// A moment as RFC 3339 text.
    pub fn time(&mut self, time: Timestamp) -> &mut Self {
        self.before_item();
        self.out.push(b'"');
        time.write_rfc3339(&mut self.out);
        self.out.push(b'"');
        self.separate = true;
        self
    }
    /// A moment as RFC 3339 text with the offset of a zone.
    pub fn time_in(&mut self, zone: Zone, time: Timestamp) -> &mut Self {
        self.before_item();
        self.out.push(b'"');
        zone.write(time, &mut self.out);
        self.out.push(b'"');
        self.separate = true;
        self
    }
    /// Text, or null.
    pub fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }
    /// A value: decimals with all their digits; null for a double that is not finite.
    pub fn value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Null => self.null(),
            Value::Bool(b) => self.bool(*b),
            Value::Str(text) => self.text(text),
            Value::Float(f) => self.double(*f),
            Value::Int(i) => self.decimal(i128::from(*i), 0),
            Value::Decimal(d, scale) => self.decimal(*d, usize::from(*scale)),
        }
    }
    /// A scaled integer with all its digits.
    #[inline]
    pub fn decimal(&mut self, unscaled: i128, scale: usize) -> &mut Self {
        self.before_item();
        digits::decimal(&mut self.out, unscaled, scale);
        self.separate = true;
        self
    }
    /// A double, the shortest text that reads back as it; null if it is not finite.
    #[inline]
    pub fn double(&mut self, value: f64) -> &mut Self {
        // Means of whole numbers often are whole.
        if value != 0.0 && value.abs() < WHOLE_BELOW && value.trunc() == value {
            return self.decimal(value as i128 * 10, 1);
        }
        if value.is_finite() { self.serialize(&value) } else { self.null() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_doubles_are_written_as_others_are() {
        let edges = [0.0, -0.0, 1.0, -7.0, 0.5, 1e14, 1e15 - 1.0, 1e15, 1e16, -1e15, 9_007_199_254_740_993.0, 1e-7];
        for value in edges.into_iter().chain((-2_000..2_000).map(|i| f64::from(i) / 8.0)) {
            let mut json = Json::default();
            json.double(value);
            assert_eq!(json.into_bytes(), serde_json::to_vec(&value).expect("a number"), "{value}");
        }
    }

    #[test]
    fn texts_are_escaped_as_others_escape_them() {
        for byte in 0..=0x7f_u8 {
            let text = format!("an ordinary text, then {}, and é", char::from(byte));
            let mut json = Json::default();
            json.open('[').text(&text).text(&text);
            let expected = serde_json::to_string(&[&text, &text]).expect("a text");
            assert_eq!(String::from_utf8(json.close(']').out.clone()).expect("UTF-8"), expected);
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        let mut json = Json::default();
        json.open('[');
        for value in [
            Value::Decimal(i128::MAX, 0),
            Value::Decimal(-7, 2),
            Value::Decimal(123_456, 3),
            Value::Decimal(i128::from(u64::MAX), 18),
            Value::Decimal(5, 18),
            Value::Decimal(-100, 1),
            Value::Decimal(7, 19),
            Value::Decimal(i128::MIN, 5),
            Value::Int(i64::MIN),
            Value::Float(0.1),
            Value::Float(1e300),
            Value::Float(f64::NAN),
            Value::text("a\"\u{1}"),
            Value::Null,
        ] {
            json.value(&value);
        }
        json.open('{').key("a").number(1).key("b").open('[').close(']').close('}').bool(true).close(']');
        let text = String::from_utf8(json.into_bytes()).expect("UTF-8");
        assert_eq!(
            text,
            "[170141183460469231731687303715884105727,-0.07,123.456,18.446744073709551615,0.000000000000000005,-10.0,0.0000000000000000007,\
             -1701411834604692317316873037158841.05728,-9223372036854775808,0.1,1e+300,null,\"a\\\"\\u0001\",null,\
             {\"a\":1,\"b\":[]},true]"
        );
    }
}
