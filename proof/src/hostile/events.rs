//! Streams of hostile records: late, early, doubled, extreme and broken, with what each of them truly says.
use std::sync::Arc;

use bytes::Bytes;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::Source;
use seam_shared::view::value::Value;

use crate::dice::Dice;
use crate::hostile::values;

/// What a valid record says.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its id.
    pub id: Option<String>,
    /// Its event time.
    pub time: Timestamp,
    /// Its source's fields in order.
    pub values: Vec<Value>,
}

/// A record before it is appended.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// Its bytes.
    pub bytes: Bytes,
    /// What they say; `None` if they are no valid event.
    pub said: Option<Said>,
}

/// Makes the records of one seed.
#[derive(Debug)]
pub struct Maker {
    source: Arc<Source>,
    /// The days on which events lie.
    days: Vec<Timestamp>,
    /// Whether values stay small, so that narrow sums are used too.
    tame: bool,
}

impl Maker {
    /// A maker for `source`.
    pub fn new(dice: &Dice, source: &Arc<Source>) -> Maker {
        let base = match dice.below(8) {
            0 => Timestamp(0),
            1 => Timestamp::MIN,
            2 => Timestamp::MAX,
            _ => Timestamp(1_780_272_000_000_000),
        };
        let base = base.floor(Span::DAY);
        let days = [0, -1, -3, 1].map(|days| Timestamp(base.0 + days * Span::DAY.0));
        let days = days.into_iter().filter(|day| (Timestamp::MIN..=Timestamp::MAX).contains(day)).collect();
        Maker { source: source.clone(), days, tame: dice.one_in(2) }
    }

    /// One record: some are no events at all.
    pub fn record(&self, dice: &Dice) -> Sketch {
        if dice.one_in(16) {
            return Sketch { bytes: broken(dice, &self.source), said: None };
        }
        let time = self.time(dice);
        let mut values: Vec<Value> = self.source.fields.iter().map(|f| values::value(dice, f.field_type)).collect();
        for value in &mut values {
            match value {
                Value::Int(number) if self.tame => *number %= 100,
                Value::Decimal(number, _) if self.tame => *number %= 1000,
                _ => {}
            }
        }
        let (id, id_text) = self.id(dice);
        let mut members = vec![("time".to_owned(), spell_time(dice, time))];
        members.extend(id_text.map(|text| ("id".to_owned(), text)));
        let mut inner = Vec::new();
        for (field, value) in self.source.fields.iter().zip(&values) {
            let Some(text) = values::spell(dice, value) else { continue };
            let member = (field.name.clone(), text);
            if field.path.len() > 1 { inner.push(member) } else { members.push(member) }
        }
        if !inner.is_empty() || dice.one_in(2) {
            members.push(("inner".to_owned(), object(&inner)));
        }
        for at in (1..members.len()).rev() {
            members.swap(at, dice.below(at as u64 + 1) as usize);
        }
        if dice.one_in(8) {
            // of two members with one name the last one counts
            members.insert(0, ("f0".to_owned(), "{\"no\":[\"text\"]}".to_owned()));
            if self.source.fields[0].path.len() == 1 && !members[1..].iter().any(|(name, _)| name == "f0") {
                members[0].1 = "null".to_owned();
            }
        }
        Sketch { bytes: object(&members).into(), said: Some(Said { id, time, values }) }
    }

    fn time(&self, dice: &Dice) -> Timestamp {
        // mostly of the first day
        let day = self.days[if dice.one_in(3) { dice.below(self.days.len() as u64) as usize } else { 0 }];
        let within = if dice.one_in(4) { Span::DAY.0 } else { 600 * Span::SECOND.0 };
        let time = day.plus(Span(dice.below(within as u64) as i64));
        let time = if dice.one_in(5) { time.floor(Span::MINUTE) } else { time };
        let time = if dice.one_in(20) { time.floor(Span::MINUTE).plus(Span(Span::MINUTE.0 - 1)) } else { time };
        time.clamp(Timestamp::MIN, Timestamp::MAX)
    }

    /// An id, and how it is spelled.
    fn id(&self, dice: &Dice) -> (Option<String>, Option<String>) {
        let number = dice.below(30);
        let (id, text) = match dice.below(8) {
            0 => (None, Some("null".to_owned())),
            1 => (None, Some("\"\"".to_owned())),
            2 => (None, None),
            3 => (Some(number.to_string()), Some(number.to_string())),
            4 => (Some(format!("{number}é")), Some(format!("\"{number}\\u00e9\""))),
            _ => (Some(number.to_string()), Some(format!("\"{number}\""))),
        };
        (id.filter(|_| self.source.id.is_some()), text)
    }
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, text)| format!("\"{name}\":{text}")).collect();
    format!("{{{}}}", members.join(","))
}

fn spell_time(dice: &Dice, time: Timestamp) -> String {
    let text = time.to_rfc3339();
    match dice.below(4) {
        0 if (100_000_000_000_000..100_000_000_000_000_000).contains(&time.0.abs()) => time.0.to_string(),
        1 => format!("\"{}+00:00\"", text.trim_end_matches('Z')),
        _ => format!("\"{text}\""),
    }
}

/// Bytes that are no event of the source.
fn broken(dice: &Dice, source: &Source) -> Bytes {
    let wrong = |field: usize, text: &str| {
        let path = &source.fields[field].path;
        let member = format!("\"{}\":{text}", source.fields[field].name);
        let member = if path.len() > 1 { format!("\"inner\":{{{member}}}") } else { member };
        format!("{{\"time\":\"2026-06-01T00:00:00Z\",\"id\":\"1\",{member}}}")
    };
    let text = match dice.below(16) {
        0 => String::new(),
        1 => "{".to_owned(),
        2 => "[]".to_owned(),
        3 => "null".to_owned(),
        4 => "{}".to_owned(),
        5 => "{\"time\":\"never\"}".to_owned(),
        6 => "{\"time\":null,\"f2\":1}".to_owned(),
        7 => "{\"time\":\"2026-06-01T00:00:00Z\"} x".to_owned(),
        8 => wrong(0, "5"),
        9 => wrong(1, "\"true\""),
        10 => wrong(2, "9223372036854775808"),
        11 => wrong(2, "\"5\""),
        12 => wrong(3, "1e400"),
        13 => wrong(4, "0.001"),
        14 => wrong(4, "100000000000000000000000000.00"),
        _ => return Bytes::from_static(b"{\"time\":\"2026-06-01T00:00:00Z\",\"x\":\"\xff\"}"),
    };
    text.into()
}
