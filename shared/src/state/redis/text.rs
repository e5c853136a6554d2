//! The rows of an open segment as text: the fields and values of a pane's hash, for people with `redis-cli` as for us.
//!
//! A field is the group's key as a JSON array of the view's dimensions in order: `["eu",12,null,true]`. A decimal has its
//! point (`12.30`, `7.`), a double begins with `f`. So no value can be taken for one of another type or for two.
//! A value has the view's states in order, separated by ` | `: a count is `12`; statistics are count, sum, minimum and maximum
//! in units of the last digit, `3 600 100 300`; those of doubles are count, sum, minimum, maximum, NaNs, infinities above and
//! below, and the exact sum, `3 0.6 0.1 0.3 0 0 0 #0e00…`. What does not exist is `-`. Any other partial is `~` and its bytes in
//! base 64.
use std::collections::BTreeMap;
use std::io::Write as _;

use hashbrown::HashMap;

use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::view::aggregate::partial::Partial;
use crate::view::aggregate::{FixedStats, FloatStats, State};
use crate::view::exact_sum::ExactSum;
use crate::view::rows::{Dimension, Rows, States};
use crate::view::value::{Value, decimal_text};

const BETWEEN: &str = " | ";

/// The numbers of the rows of each pane.
pub(super) fn by_pane(rows: &Rows) -> BTreeMap<Timestamp, Vec<usize>> {
    let mut panes: BTreeMap<Timestamp, Vec<usize>> = BTreeMap::new();
    for (row, &pane) in rows.panes.iter().enumerate() {
        panes.entry(pane).or_default().push(row);
    }
    panes
}

/// Writes the rows of one view, one field and value at a time.
pub(super) struct Writer<'a> {
    rows: &'a Rows,
    /// By dimension and code: the value's text.
    texts: Vec<Vec<String>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(rows: &'a Rows) -> Self {
        let texts = rows.dimensions.iter().map(|d| d.values.iter().map(value_text).collect()).collect();
        Self { rows, texts }
    }
    pub(super) fn field(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'[');
        for (d, (texts, dimension)) in self.texts.iter().zip(&self.rows.dimensions).enumerate() {
            if d > 0 {
                out.push(b',');
            }
            out.extend_from_slice(texts[dimension.codes[row] as usize].as_bytes());
        }
        out.push(b']');
    }
    pub(super) fn value(&self, row: usize, out: &mut Vec<u8>) {
        for (s, states) in self.rows.states.iter().enumerate() {
            if s > 0 {
                out.extend_from_slice(BETWEEN.as_bytes());
            }
            // Writing to a vector cannot fail.
            let _ = match states {
                States::Count(counts) => write!(out, "{}", counts[row]),
                States::Fixed(stats) => write_fixed(&stats[row], out),
                States::Float(stats) => write_float(&stats[row], out),
                States::Partial(partials) => {
                    write_partial(&partials[row], out);
                    Ok(())
                }
            };
        }
    }
}

fn write_fixed(stats: &FixedStats, out: &mut Vec<u8>) -> std::io::Result<()> {
    match stats.count {
        0 => write!(out, "0 0 - -"),
        count => write!(out, "{count} {} {} {}", stats.sum, stats.min, stats.max),
    }
}

fn write_float(stats: &FloatStats, out: &mut Vec<u8>) -> std::io::Result<()> {
    match stats.count {
        0 => write!(out, "0 0 - -")?,
        count => write!(out, "{count} {:?} {:?} {:?}", stats.sum.round(), stats.min, stats.max)?,
    }
    write!(out, " {} {} {} #", stats.nan, stats.positive_infinite, stats.negative_infinite)?;
    let mut exact = Vec::new();
    stats.sum.encode(&mut exact);
    exact.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Three bytes as four digits, without padding (RFC 4648 §5).
fn write_partial(partial: &Partial, out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    partial.encode(&mut bytes);
    out.reserve(1 + bytes.len().div_ceil(3) * 4);
    out.push(b'~');
    for three in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, i| word << 8 | three.get(i).map_or(0, |byte| u32::from(*byte)));
        out.extend((0..=three.len()).map(|i| DIGITS[(word >> (18 - 6 * i) & 63) as usize]));
    }
}

fn read_partial(text: &str) -> Result<Partial> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for four in text.as_bytes().chunks(4) {
        let mut word = 0u32;
        for i in 0..4 {
            word = word << 6 | four.get(i).map_or(Ok(0), |digit| digit_of(*digit).ok_or_else(damaged))?;
        }
        if four.len() == 1 {
            return Err(damaged());
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..four.len()]);
    }
    Partial::decode(&bytes)
}

fn digit_of(digit: u8) -> Option<u32> {
    Some(
        match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        }
        .into(),
    )
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Decimal(unscaled, 0) => format!("{unscaled}."),
        Value::Decimal(unscaled, scale) => decimal_text(*unscaled, *scale),
        Value::Float(number) => format!("f{number:?}"),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Str(_) => value.to_json(),
    }
}

/// Reads the fields and values of one pane's hash.
pub(super) fn read(pane: Timestamp, pairs: &[(&[u8], &[u8])]) -> Result<Rows> {
    let mut rows = Rows::default();
    let mut codes: Vec<HashMap<&str, u32>> = Vec::new();
    for (number, (field, value)) in pairs.iter().enumerate() {
        let (field, value) = (utf8(field)?, utf8(value)?);
        let elements = split(field).ok_or_else(damaged)?;
        let states: Vec<State> = value.split(BETWEEN).filter(|s| !s.is_empty()).map(state).collect::<Result<_>>()?;
        if number == 0 {
            rows.dimensions = vec![Dimension::default(); elements.len()];
            rows.states = states.iter().map(empty_like).collect();
            codes = vec![HashMap::new(); elements.len()];
        }
        if elements.len() != rows.dimensions.len() || states.len() != rows.states.len() {
            return Err(damaged());
        }
        rows.panes.push(pane);
        for ((element, dimension), codes) in elements.into_iter().zip(&mut rows.dimensions).zip(&mut codes) {
            let code = match codes.get(element) {
                Some(&code) => code,
                None => {
                    let code = dimension.values.len() as u32;
                    dimension.values.push(read_value(element).ok_or_else(damaged)?);
                    codes.insert(element, code);
                    code
                }
            };
            dimension.codes.push(code);
        }
        for (state, column) in states.into_iter().zip(&mut rows.states) {
            match (state, column) {
                (State::Count(count), States::Count(column)) => column.push(count),
                (State::Fixed(stats), States::Fixed(column)) => column.push(stats),
                (State::Float(stats), States::Float(column)) => column.push(stats),
                (State::Partial(partial), States::Partial(column)) => column.push(partial),
                (State::Count(_) | State::Fixed(_) | State::Float(_) | State::Partial(_), _) => return Err(damaged()),
            }
        }
    }
    Ok(rows)
}

fn damaged() -> Error {
    Error::corrupt("rows in redis are damaged")
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| damaged())
}

fn empty_like(state: &State) -> States {
    match state {
        State::Count(_) => States::Count(Vec::new()),
        State::Fixed(_) => States::Fixed(Vec::new()),
        State::Float(_) => States::Float(Vec::new()),
        State::Partial(_) => States::Partial(Vec::new()),
    }
}

/// The elements of an array, as they are written.
fn split(field: &str) -> Option<Vec<&str>> {
    let inner = field.strip_prefix('[')?.strip_suffix(']')?;
    let (mut elements, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                elements.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inner.is_empty() {
        elements.push(&inner[start..]);
    }
    (!quoted).then_some(elements)
}

fn read_value(text: &str) -> Option<Value> {
    Some(match text {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if text.starts_with('"') => Value::Str(serde_json::from_str(text).ok()?),
        _ if text.starts_with('f') => Value::Float(text[1..].parse().ok()?),
        _ => match text.split_once('.') {
            None => Value::Int(text.parse().ok()?),
            Some((whole, fraction)) => {
                let unscaled = format!("{whole}{fraction}").parse().ok()?;
                Value::Decimal(unscaled, u8::try_from(fraction.len()).ok()?)
            }
        },
    })
}

fn state(text: &str) -> Result<State> {
    if let Some(digits) = text.strip_prefix('~') {
        return Ok(State::Partial(read_partial(digits)?));
    }
    let mut parts = [""; 8];
    let mut count = 0;
    for part in text.split(' ') {
        *parts.get_mut(count).ok_or_else(damaged)? = part;
        count += 1;
    }
    match count {
        1 => Ok(State::Count(number(parts[0])?)),
        4 => Ok(State::Fixed(fixed(&parts)?)),
        8 => Ok(State::Float(float(&parts)?)),
        _ => Err(damaged()),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| damaged())
}

fn fixed(parts: &[&str; 8]) -> Result<FixedStats> {
    match number(parts[0])? {
        0 => Ok(FixedStats::default()),
        count => Ok(FixedStats { count, sum: number(parts[1])?, min: number(parts[2])?, max: number(parts[3])? }),
    }
}

fn float(parts: &[&str; 8]) -> Result<FloatStats> {
    let mut stats = FloatStats { count: number(parts[0])?, ..FloatStats::default() };
    if stats.count > 0 {
        (stats.min, stats.max) = (number(parts[2])?, number(parts[3])?);
    }
    (stats.nan, stats.positive_infinite) = (number(parts[4])?, number(parts[5])?);
    stats.negative_infinite = number(parts[6])?;
    let exact = parts[7].strip_prefix('#').ok_or_else(damaged)?;
    let byte = |at: usize| exact.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
    let exact: Option<Vec<u8>> = (0..exact.len()).step_by(2).map(byte).collect();
    let exact = exact.ok_or_else(damaged)?;
    let mut rest = &exact[..];
    stats.sum = ExactSum::decode(&mut rest)?;
    if rest.is_empty() { Ok(stats) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::Offset;
    use crate::view::aggregate::partial::{Aggregate, Lifted};

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-(10i128.pow(28))..10i128.pow(28), 0..19u8).prop_map(|(n, scale)| Value::Decimal(n, scale)),
            any::<f64>().prop_map(|x| Value::Float(if x.is_nan() { 0.5 } else { x })),
            any::<String>().prop_map(|text| Value::text(&text)),
            "[\\[\\],\"\\\\ |:all0-9.\\x00]{0,6}".prop_map(|text| Value::text(&text)),
        ]
    }

    fn floats() -> impl Strategy<Value = FloatStats> {
        prop::collection::vec(any::<f64>(), 0..6).prop_map(|all| {
            let mut stats = FloatStats::default();
            all.into_iter().for_each(|x| stats.lift(x));
            stats
        })
    }

    fn fixed() -> impl Strategy<Value = FixedStats> {
        prop::collection::vec(any::<i64>(), 0..4).prop_map(|all| {
            let mut stats = FixedStats::default();
            all.into_iter().for_each(|n| stats.lift(i128::from(n) * 1_000_003));
            stats
        })
    }

    type Row = (Vec<Value>, u64, FixedStats, FloatStats, Partial);

    fn partials() -> impl Strategy<Value = Partial> {
        let one = |values: Vec<Value>| {
            let mut partial = Partial::Empty;
            for (value, offset) in values.iter().zip(0..) {
                let event =
                    Lifted { time: Timestamp(3), partition: 1, offset: Offset(offset), value, retracted: false };
                partial.lift(Aggregate::Last, &[], &event);
            }
            partial
        };
        let many = |hashes: Vec<u64>| {
            let mut partial = Partial::Empty;
            hashes.into_iter().for_each(|hash| partial.distinct().unwrap().insert(hash));
            partial
        };
        prop_oneof![
            prop::collection::vec(values(), 0..3).prop_map(one),
            prop::collection::vec(any::<u64>(), 0..1_200).prop_map(many),
        ]
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        (0..4usize).prop_flat_map(|width| {
            let key = prop::collection::vec(values(), width);
            prop::collection::vec((key, any::<u64>(), fixed(), floats(), partials()), 0..8)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(all in rows()) {
            let width = all.first().map_or(0, |row| row.0.len());
            let mut table = Rows { dimensions: vec![Dimension::default(); width], ..Rows::default() };
            for (key, ..) in &all {
                table.push_row(Timestamp(7), key);
            }
            let fixed = all.iter().map(|row| row.2).collect();
            let floats = all.iter().map(|row| row.3.clone()).collect();
            let partials = all.iter().map(|row| row.4.clone()).collect();
            let counts = all.iter().map(|row| row.1).collect();
            table.states =
                vec![States::Count(counts), States::Fixed(fixed), States::Float(floats), States::Partial(partials)];
            let writer = Writer::new(&table);
            let spelled: Vec<(Vec<u8>, Vec<u8>)> = (0..table.len())
                .map(|row| {
                    let (mut field, mut value) = (Vec::new(), Vec::new());
                    writer.field(row, &mut field);
                    writer.value(row, &mut value);
                    (field, value)
                })
                .collect();
            let pairs: Vec<(&[u8], &[u8])> = spelled.iter().map(|(f, v)| (&f[..], &v[..])).collect();
            let back = read(Timestamp(7), &pairs).unwrap();
            prop_assert_eq!(back.len(), table.len());
            for row in 0..table.len() {
                for d in 0..width {
                    prop_assert_eq!(back.value(d, row), table.value(d, row));
                }
                for (a, b) in back.states.iter().zip(&table.states) {
                    prop_assert_eq!(a.get(row), b.get(row));
                }
            }
            for (i, a) in spelled.iter().enumerate() {
                for (j, b) in spelled.iter().enumerate().skip(i + 1) {
                    let same = (0..width).all(|d| table.value(d, i) == table.value(d, j));
                    prop_assert_eq!(a.0 == b.0, same, "equal fields, equal keys");
                }
            }
        }

        #[test]
        fn rubbish_is_refused_and_never_panics(field in any::<Vec<u8>>(), value in any::<Vec<u8>>(), text in ".{0,20}") {
            let _ = read(Timestamp(0), &[(&field, &value)]);
            let _ = read(Timestamp(0), &[(format!("[{text}]").as_bytes(), b"1 | 0 0 - -")]);
            let _ = read(Timestamp(0), &[(b"[\"a\"]", text.as_bytes())]);
            let _ = read(Timestamp(0), &[(b"[\"a\"]", format!("~{text}").as_bytes())]);
        }
    }

    #[test]
    fn a_person_can_read_it() {
        let mut table = Rows { dimensions: vec![Dimension::default(); 2], ..Rows::default() };
        table.push_row(Timestamp(0), &[Value::text("all"), Value::Decimal(1230, 2)]);
        let mut float = FloatStats::default();
        [0.25, 0.5].into_iter().for_each(|x| float.lift(x));
        let fixed = FixedStats { count: 3, sum: 600, min: 100, max: 300 };
        table.states = vec![States::Count(vec![12]), States::Fixed(vec![fixed]), States::Float(vec![float])];
        let (mut field, mut value) = (Vec::new(), Vec::new());
        Writer::new(&table).field(0, &mut field);
        Writer::new(&table).value(0, &mut value);
        assert_eq!(String::from_utf8_lossy(&field), r#"["all",12.30]"#);
        assert!(String::from_utf8_lossy(&value).starts_with("12 | 3 600 100 300 | 2 0.75 0.25 0.5 0 0 0 #"));
    }
}
