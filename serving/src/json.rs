//! JSON written straight into bytes: exact decimals, shortest doubles that read back, no tree in between.
use std::io::Write;

use seam_shared::time::Timestamp;
use seam_shared::view::value::{Value, decimal_text};

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
    /// The text.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
    fn before_item(&mut self) {
        if self.separate {
            self.out.push(b',');
        }
    }
    fn put(&mut self, text: &[u8]) {
        self.before_item();
        self.out.extend_from_slice(text);
        self.separate = true;
    }
    /// Opens an object or an array.
    pub fn open(&mut self, bracket: char) -> &mut Self {
        self.before_item();
        self.out.push(bracket as u8);
        self.separate = false;
        self
    }
    /// Closes it.
    pub fn close(&mut self, bracket: char) -> &mut Self {
        self.out.push(bracket as u8);
        self.separate = true;
        self
    }
    /// A member's name; its value must follow.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.text(name);
        self.out.push(b':');
        self.separate = false;
        self
    }
    /// Text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.before_item();
        serde_json::to_writer(&mut self.out, text).expect("writing text to memory does not fail");
        self.separate = true;
        self
    }
    /// null
    pub fn null(&mut self) -> &mut Self {
        self.put(b"null");
        self
    }
    /// true or false.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.put(if value { b"true" } else { b"false" });
        self
    }
    /// A whole number.
    pub fn number(&mut self, value: u64) -> &mut Self {
        self.before_item();
        write!(self.out, "{value}").expect("writing to memory does not fail");
        self.separate = true;
        self
    }
    /// A moment as RFC 3339 text.
    pub fn time(&mut self, time: Timestamp) -> &mut Self {
        self.text(&time.to_rfc3339())
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
            Value::Null => return self.null(),
            Value::Bool(b) => return self.bool(*b),
            Value::Str(text) => return self.text(text),
            Value::Float(f) if !f.is_finite() => return self.null(),
            Value::Int(_) | Value::Decimal(..) | Value::Float(_) => self.before_item(),
        }
        let written = match value {
            Value::Int(i) => write!(self.out, "{i}"),
            Value::Decimal(d, 0) => write!(self.out, "{d}"),
            Value::Decimal(d, scale) => self.out.write_all(decimal_text(*d, *scale).as_bytes()),
            Value::Float(f) => serde_json::to_writer(&mut self.out, f).map_err(std::io::Error::from),
            Value::Null | Value::Bool(_) | Value::Str(_) => Ok(()),
        };
        written.expect("writing to memory does not fail");
        self.separate = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        let mut json = Json::default();
        json.open('[');
        for value in [
            Value::Decimal(i128::MAX, 0),
            Value::Decimal(-7, 2),
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
            "[170141183460469231731687303715884105727,-0.07,-9223372036854775808,0.1,1e+300,null,\"a\\\"\\u0001\",null,\
             {\"a\":1,\"b\":[]},true]"
        );
    }
}
