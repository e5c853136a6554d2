//! The values of catalogs: compared, cast and spelt as PostgreSQL does, with text that is read as what it meets.
use std::cmp::Ordering;

use crate::array;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    /// The number of a table or type that is shown by its name.
    Named(i64, String),
}

impl Value {
    /// A text.
    pub fn of(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }
    pub fn is_null(&self) -> bool {
        *self == Value::Null
    }
    /// As a whole number.
    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(value) | Value::Named(value, _) => Some(*value),
            Value::Float(value) => Some(value.round() as i64),
            Value::Bool(value) => Some(i64::from(*value)),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Null | Value::List(_) => None,
        }
    }
    /// As a number.
    pub fn float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            Value::Text(text) => text.trim().parse().ok(),
            other => other.int().map(|value| value as f64),
        }
    }
    /// As a truth.
    pub fn bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            Value::Int(value) => Some(*value != 0),
            Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "t" | "true" | "yes" | "on" | "1" => Some(true),
                "f" | "false" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
    /// As text.
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Value::Null => return None,
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(text) | Value::Named(_, text) => text.clone(),
            Value::List(items) => {
                let items: Vec<String> =
                    items.iter().map(|item| item.text().map_or("NULL".to_owned(), quoted)).collect();
                format!("{{{}}}", items.join(","))
            }
        })
    }
    /// As a list.
    pub fn list(&self) -> Option<Vec<Value>> {
        match self {
            Value::List(items) => Some(items.clone()),
            Value::Text(text) => {
                let items = array::from_text(text)?.into_iter();
                Some(items.map(|item| item.map_or(Value::Null, Value::Text)).collect())
            }
            _ => None,
        }
    }
    /// How it stands to another; `None` if one is null.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        use Value as V;
        Some(match (self, other) {
            (V::Null, _) | (_, V::Null) => return None,
            (V::Text(a), V::Text(b) | V::Named(_, b)) | (V::Named(_, a), V::Text(b))
                if !is_digits(a) || !is_digits(b) =>
            {
                a.cmp(b)
            }
            (V::List(a), V::List(b)) => {
                let differing = a.iter().zip(b).filter_map(|(a, b)| a.compare(b)).find(|order| order.is_ne());
                differing.unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (V::List(_), V::Text(_)) => return self.compare(&V::List(other.list()?)),
            (V::Text(_), V::List(_)) => return V::List(self.list()?).compare(other),
            (V::Bool(_), _) | (_, V::Bool(_)) => self.bool()?.cmp(&other.bool()?),
            (V::Text(a), V::Text(b)) => a.cmp(b),
            (V::Float(_), _) | (_, V::Float(_)) => self.float()?.total_cmp(&other.float()?),
            _ => match (self.int(), other.int()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => self.text()?.cmp(&other.text()?),
            },
        })
    }
    /// Whether they are equal; `None` if one is null.
    pub fn equals(&self, other: &Value) -> Option<bool> {
        self.compare(other).map(Ordering::is_eq)
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An item of a list as it is spelt.
fn quoted(text: String) -> String {
    let is_plain =
        !text.is_empty() && !text.contains(['{', '}', ',', '"', '\\', ' ']) && !text.eq_ignore_ascii_case("null");
    if is_plain { text } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// Both, or what one of them decides alone.
pub fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Whether any is true; unknown if one is unknown and none true.
pub fn any(found: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut unknown = false;
    for one in found {
        match one {
            Some(true) => return Some(true),
            Some(false) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

/// A truth as a value.
pub fn truth(of: Option<bool>) -> Value {
    of.map_or(Value::Null, Value::Bool)
}

/// Whether a text is LIKE a pattern: `%` stands for anything, `_` for a letter, `escape` before either for itself.
pub fn is_like(pattern: &str, text: &str, escape: Option<char>) -> bool {
    fn from(pattern: &[char], text: &[char], escape: Option<char>) -> bool {
        match pattern {
            [] => text.is_empty(),
            [first, letter, rest @ ..] if Some(*first) == escape => {
                text.first() == Some(letter) && from(rest, &text[1..], escape)
            }
            ['%', rest @ ..] => (0..=text.len()).any(|skip| from(rest, &text[skip..], escape)),
            ['_', rest @ ..] => !text.is_empty() && from(rest, &text[1..], escape),
            [letter, rest @ ..] => text.first() == Some(letter) && from(rest, &text[1..], escape),
        }
    }
    let letters = |text: &str| text.chars().collect::<Vec<char>>();
    // Each further % may multiply the work.
    pattern.matches('%').count() <= 8 && from(&letters(pattern), &letters(text), escape)
}
