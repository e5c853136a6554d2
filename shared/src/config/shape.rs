//! What may stand where in the file, as data; the one check that walks a tree along it, and the readers of what passed it.
use super::report::{Place, Problems, nearest};
use super::scalars::{Wrong, address, field_type, identifier, path, size, whole_number, zone};
use super::schedule::Schedule;
use super::tree::{Content, Node, Scalar};
use crate::time::Span;

/// What a value must be.
#[derive(Debug)]
pub(super) enum Shape {
    /// Any text.
    Text,
    /// A text, a number or a flag, taken as its text.
    Scalar,
    /// A whole number in a range.
    Integer(i64, i64),
    /// A length of time above zero, like `5m`.
    Duration,
    /// A length of time, which may be `0s`.
    Delay,
    /// A number of bytes, like `16MiB`.
    Size(u64),
    /// A place in the event's JSON, like `$.user.id`.
    Path,
    /// A field's type, like `decimal(2)`.
    FieldType,
    /// An IANA time zone.
    Zone,
    /// Five fields of cron, or a nickname like `@hourly`.
    Cron,
    /// An address and a port.
    Address,
    /// `true` or `false`.
    Flag,
    /// One of some words.
    OneOf(&'static [Choice]),
    /// A list, of at least that many.
    List(&'static Shape, usize),
    /// A mapping with these keys.
    Table(&'static [Key]),
    /// A mapping from names that the user chooses, and what a name stands for.
    Named(&'static str, &'static Shape),
    /// A mapping from names of labels, as Prometheus has them, to texts.
    Labels,
    /// Whatever it is; its reader checks it.
    Anything,
    /// The first for a scalar, the second for anything else.
    Either(&'static Shape, &'static Shape),
}

/// A word of [`Shape::OneOf`].
#[derive(Debug)]
pub(super) struct Choice {
    /// The word.
    pub word: &'static str,
    /// Why it cannot be had, if so.
    pub refused: Option<&'static str>,
}

/// A key of [`Shape::Table`].
#[derive(Debug)]
pub(super) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value must be; `None`: the key is known, but this version cannot do it yet.
    pub shape: Option<&'static Shape>,
    /// Whether it must be there.
    pub required: bool,
    /// What it means, for editors.
    pub help: &'static str,
}

/// Adds everything about `node` that is not of `shape`.
pub(super) fn check(node: &Node, shape: &'static Shape, problems: &mut Problems) {
    match (shape, &node.content) {
        (Shape::Anything, _) => {}
        (Shape::Either(scalar, other), content) => {
            check(node, if matches!(content, Content::Scalar(_)) { scalar } else { other }, problems);
        }
        (Shape::Table(keys), Content::Mapping(_)) => check_table(node, keys, problems),
        (Shape::Named(what, each), Content::Mapping(entries)) => {
            for (key, value) in entries {
                if key.name.ends_with([')', ']']) && !key.name.contains(['(', '[']) {
                    let better = "inside { } a comma ends a value; write one with a comma in quotes, like \"quantiles(ms, 0.1%)\"";
                    problems.suggest(key.place, format!("`{}` stands alone", key.name), Some(better.to_owned()));
                    continue;
                }
                if let Err(message) = identifier(&key.name) {
                    problems.suggest(key.place, format!("`{}` is no {what} name", key.name), Some(message));
                }
                check(value, each, problems);
            }
        }
        (Shape::Labels, Content::Mapping(entries)) => {
            for (key, value) in entries {
                if !is_label(&key.name) {
                    let hint = "it has letters, digits and _, and begins with no digit".to_owned();
                    problems.suggest(key.place, format!("`{}` is no label's name", key.name), Some(hint));
                }
                check(value, &Shape::Scalar, problems);
            }
        }
        (Shape::List(each, least), Content::Sequence(items)) => {
            if items.len() < *least {
                problems.add(node.place, format!("expected {}, found an empty list", expected(shape)));
            }
            for item in items {
                check(item, each, problems);
            }
        }
        // a key with nothing after it is a mapping with nothing in it
        (Shape::Table(keys), Content::Scalar(scalar)) if scalar.is_null() && keys.iter().all(|k| !k.required) => {}
        (_, Content::Scalar(scalar)) if !scalar.is_null() && !is_collection(shape) => {
            if let Err((message, suggestion)) = check_scalar(scalar, shape) {
                problems.suggest(node.place, message, suggestion);
            }
        }
        _ => problems.add(node.place, format!("expected {}, found {}", expected(shape), node.describe())),
    }
}

fn is_collection(shape: &Shape) -> bool {
    matches!(shape, Shape::List(..) | Shape::Table(_) | Shape::Named(..) | Shape::Labels)
}

/// Whether Prometheus takes it as the name of a label.
pub(super) fn is_label(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn check_table(node: &Node, keys: &'static [Key], problems: &mut Problems) {
    for (key, value) in node.entries() {
        match keys.iter().find(|k| k.name == key.name) {
            Some(Key { shape: Some(shape), .. }) => check(value, shape, problems),
            Some(Key { shape: None, .. }) => problems.add(key.place, format!("`{}` is not supported yet", key.name)),
            None => {
                let known = keys.iter().filter(|k| k.shape.is_some()).map(|k| k.name);
                problems.unknown(key.place, "unknown key", &key.name, known);
            }
        }
    }
    for key in keys.iter().filter(|k| k.required && node.get(k.name).is_none()) {
        problems.add(Place { length: 1, ..node.place }, format!("the key `{}` is missing: {}", key.name, key.help));
    }
}

fn check_scalar(scalar: &Scalar, shape: &Shape) -> Result<(), Wrong> {
    let text = scalar.text.as_str();
    let unlike = || format!("expected {}, found `{text}`", expected(shape));
    let plainly = |message: String| (message, None);
    match shape {
        Shape::Text if text.trim().is_empty() => Err(plainly("expected text, found an empty one".to_owned())),
        Shape::Text if scalar.plain && looks_like_a_number_or_flag(text) => {
            Err((unlike(), Some(format!("write it as text: \"{text}\""))))
        }
        Shape::Integer(low, high) => match whole_number(text) {
            Some(number) if (*low..=*high).contains(&number) => Ok(()),
            _ => Err(plainly(unlike())),
        },
        Shape::Duration => match Span::parse(text) {
            Ok(Span(0)) => Err(plainly(format!("`{text}` is no time at all; write it like 30s, 5m, 1h or 7d"))),
            Ok(_) => Ok(()),
            Err(message) => Err(plainly(message)),
        },
        Shape::Delay => Span::parse(text).map(|_| ()).map_err(plainly),
        Shape::Size(most) => match size(text) {
            None => Err(plainly(unlike())),
            Some(bytes) if bytes > *most => {
                Err(plainly(format!("`{text}` is more than is taken: at most {}MiB", most >> 20)))
            }
            Some(_) => Ok(()),
        },
        Shape::Path => path(text).map(|_| ()).map_err(|hint| (unlike(), hint)),
        Shape::FieldType => field_type(text).map(|_| ()),
        Shape::Zone => zone(text).map(|_| ()),
        Shape::Cron if text == "off" => Ok(()),
        Shape::Cron => Schedule::parse(text, chrono_tz::UTC).map(|_| ()).map_err(plainly),
        Shape::Address => address(text).map(|_| ()).ok_or_else(|| plainly(unlike())),
        Shape::Flag => matches!(text, "true" | "false").then_some(()).ok_or_else(|| plainly(unlike())),
        Shape::OneOf(choices) => match choices.iter().find(|c| c.word == text) {
            Some(Choice { refused: Some(reason), .. }) => Err(plainly(format!("`{text}` {reason}"))),
            Some(_) => Ok(()),
            None => Err((unlike(), nearest(text, words(choices)).filter(|s| s.starts_with("did you")))),
        },
        Shape::Text
        | Shape::Scalar
        | Shape::Anything
        | Shape::List(..)
        | Shape::Table(_)
        | Shape::Named(..)
        | Shape::Labels
        | Shape::Either(..) => Ok(()),
    }
}

/// The words that may be chosen.
pub(super) fn words(choices: &'static [Choice]) -> impl Iterator<Item = &'static str> + Clone {
    choices.iter().filter(|c| c.refused.is_none()).map(|c| c.word)
}

/// What a shape asks for, in words.
fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Scalar => "text, a number, true or false".to_owned(),
        Shape::Integer(low, high) if *high == i64::MAX => format!("a whole number, at least {low}"),
        Shape::Integer(low, high) if low == high => format!("{low}"),
        Shape::Integer(low, high) => format!("a whole number from {low} to {high}"),
        Shape::Duration | Shape::Delay => "a duration like 30s, 5m, 1h or 7d".to_owned(),
        Shape::Size(_) => "a size like 64KiB or 16MiB".to_owned(),
        Shape::Path => "a path like $.user.id".to_owned(),
        Shape::FieldType => "a field's type".to_owned(),
        Shape::Zone => "a time zone like Europe/Berlin".to_owned(),
        Shape::Cron => "a cron schedule like \"*/15 * * * *\"".to_owned(),
        Shape::Address => "an address with a port like 127.0.0.1:8080 or localhost:8080".to_owned(),
        Shape::Flag => "true or false".to_owned(),
        Shape::OneOf(choices) => {
            let all: Vec<String> = words(choices).map(|w| format!("`{w}`")).collect();
            all.join(" or ")
        }
        Shape::List(each, _) => match each {
            Shape::Text => "a list of names".to_owned(),
            other => format!("a list, each item {}", expected(other)),
        },
        Shape::Table(keys) => {
            let names: Vec<&str> = keys.iter().filter(|k| k.shape.is_some()).map(|k| k.name).collect();
            format!("a mapping with {}", names.join(", "))
        }
        Shape::Anything => "anything".to_owned(),
        Shape::Named(what, _) => format!("a mapping from {what} names"),
        Shape::Labels => "a mapping from names of labels to texts".to_owned(),
        Shape::Either(scalar, other) => format!("{} or {}", expected(scalar), expected(other)),
    }
}

fn looks_like_a_number_or_flag(text: &str) -> bool {
    let flag = matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE");
    flag || (text.parse::<f64>().is_ok() && text.contains(|c: char| c.is_ascii_digit()))
}

impl Node {
    /// The duration at `name`, if it is there and right; zero and nonsense were reported by [`check`].
    pub fn duration(&self, name: &str) -> Option<Span> {
        self.get(name)?.as_duration()
    }
    /// This node as a duration above zero.
    pub fn as_duration(&self) -> Option<Span> {
        Span::parse(self.text()?).ok().filter(|span| span.0 > 0)
    }
    /// The positive whole number at `name`, if it is there and right.
    pub fn number(&self, name: &str) -> Option<u64> {
        whole_number(self.get(name)?.text()?).and_then(|n| u64::try_from(n).ok())
    }
    /// The text at `name`.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }
}
