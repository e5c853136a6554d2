//! The decoder against a plain one over `serde_json::Value`, on hostile JSON.
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;
use crate::log::Offset;
use crate::segment::SegmentRule;
use crate::view::definition::Field;
use crate::view::value::parse_decimal;

pub(super) fn source() -> Arc<Source> {
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let field = |name: &str, at: &str, field_type| Field::new(name, path(at), field_type);
    Arc::new(Source {
        name: "clicks".to_owned(),
        id: Some(path("id")),
        time: path("t"),
        fields: vec![
            field("region", "r", FieldType::String),
            field("flag", "b", FieldType::Bool),
            field("count", "i", FieldType::Int),
            field("price", "o.d", FieldType::Decimal(2)),
            field("score", "f", FieldType::Float),
            field("ident", "id", FieldType::String),
        ],
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    })
}

fn chunk<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Chunk {
    let mut chunk = Chunk::at(Offset(10));
    for (at, record) in records.into_iter().enumerate() {
        chunk.push(Offset(10 + 2 * at as u64), Timestamp(at as i64), record);
    }
    chunk
}

/// One decoded row: id, time and field values, or nothing for an invalid one.
type Row = Option<(Option<String>, i64, Vec<Value>)>;

fn rows(batch: &EventBatch) -> Vec<Row> {
    let row = |i: usize| {
        let values = (0..batch.columns.len()).map(|f| batch.value(f, i)).collect();
        (batch.verdicts[i] == Verdict::Counts).then(|| (batch.ids.get(i).map(str::to_owned), batch.times[i].0, values))
    };
    (0..batch.len()).map(row).collect()
}

/// The same row by way of a whole document tree; the outer `None` where the tree has lost what was written.
fn plain(source: &Source, text: &str) -> Option<Row> {
    if text.contains("\\ud800") {
        return None; // The tree refuses it even where it is not read.
    }
    let Ok(document) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) else {
        return Some(None);
    };
    let at = |path: &[String]| {
        let mut value = document.get(&path[0])?;
        for name in &path[1..] {
            value = value.as_object()?.get(name)?;
        }
        (!value.is_null()).then_some(value)
    };
    let rounded = |value: Option<&serde_json::Value>| value.is_some_and(serde_json::Value::is_f64);
    if rounded(at(&source.time)) || rounded(source.id.as_deref().and_then(at)) {
        return None;
    }
    Some(plain_row(source, at))
}

fn plain_row<'j>(source: &Source, at: impl Fn(&[String]) -> Option<&'j serde_json::Value>) -> Row {
    let time = match at(&source.time)? {
        serde_json::Value::String(text) => Timestamp::parse_rfc3339(text)?,
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Timestamp::from_epoch_guess(number),
            None => Timestamp(i64::try_from(number.as_u64()? / 1000).ok()?),
        },
        _ => return None,
    };
    let id = match source.id.as_deref().and_then(&at) {
        None => None,
        Some(serde_json::Value::String(text)) => (!text.is_empty()).then(|| text.clone()),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        Some(_) => return None,
    };
    let mut values = Vec::new();
    for field in &source.fields {
        use serde_json::Value as J;
        values.push(match (at(&field.path), field.field_type) {
            (None, _) => Value::Null,
            (Some(J::String(text)), FieldType::String) => Value::text(text),
            (Some(J::Bool(flag)), FieldType::Bool) => Value::Bool(*flag),
            (Some(J::Number(n)), FieldType::Int) => Value::Int(match n.as_i64() {
                Some(n) => n,
                None => i64::try_from(parse_decimal(&n.to_string(), 0)?).ok()?,
            }),
            (Some(J::Number(n)), FieldType::Decimal(scale)) => {
                Value::Decimal(parse_decimal(&n.to_string(), scale)?, scale)
            }
            (Some(J::Number(n)), FieldType::Float) => Value::Float(n.as_f64()? + 0.0),
            (Some(J::String(text)), FieldType::Float) => Value::Float(match text.as_str() {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => return None,
            }),
            _ => return None,
        });
    }
    Some((id, time.0, values))
}

fn spaces() -> impl Strategy<Value = String> {
    "[ \n\t\r]{0,2}"
}

/// Numbers that a document tree holds exactly, so that both decoders see the same.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        (-1000i64..1000).prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        (-100_000i64..100_000, 0u32..4).prop_map(|(n, d)| format!("{:.*}", d as usize, n as f64 / 1000.0)),
        Just("-0".to_owned()),
        Just("-0.0".to_owned()),
        Just("1e3".to_owned()),
        Just("25e-1".to_owned()),
        Just("1E+2".to_owned()),
        Just("01".to_owned()),
        Just("1.".to_owned()),
    ]
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|s| serde_json::Value::from(s).to_string()),
        r#""[a-c]{0,3}""#,
        Just(r#""\u00e9\ud83d\ude00\n\/""#.to_owned()),
        Just(r#""\ud800""#.to_owned()),
        Just("\"NaN\"".to_owned()),
        Just("\"-Infinity\"".to_owned()),
        Just("\"2026-02-28T23:59:59.5Z\"".to_owned()),
        Just("\"2026-02-30T23:59:59Z\"".to_owned()),
        Just("\"2026-02-28T23:59:59+01:30\"".to_owned()),
        Just("\"unclosed".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => number(), 4 => string(), 1 => Just("true".to_owned()), 1 => Just("false".to_owned()), 1 => Just("null".to_owned())
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec((key(), inner.clone()), 0..4).prop_map(|m| object(&m, "")),
            proptest::collection::vec(inner, 0..3).prop_map(|v| format!("[{}]", v.join(","))),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let names = ["id", "t", "r", "b", "i", "o", "d", "f", "x", "rr", ""].map(|n| format!("\"{n}\""));
    prop_oneof![8 => proptest::sample::select(names.to_vec()), 1 => Just(r#""\u0072""#.to_owned())]
}

fn object(members: &[(String, String)], space: &str) -> String {
    let members: Vec<String> = members.iter().map(|(k, v)| format!("{space}{k}{space}:{space}{v}{space}")).collect();
    format!("{{{}}}", members.join(","))
}

/// Mostly sound events with hostile members before and behind.
fn event() -> impl Strategy<Value = String> {
    let sound = (number(), string(), number(), proptest::sample::select(vec!["1.25", "7", "-0.5", "3e-1", "null"]))
        .prop_map(|(i, r, f, d)| {
            let member = |k: &str, v: String| (format!("\"{k}\""), v);
            vec![
                member("t", "1780272000123".to_owned()),
                member("i", i),
                member("r", r),
                member("f", f),
                member("o", format!("{{\"d\":{d}}}")),
            ]
        });
    let noise = || proptest::collection::vec((key(), value()), 0..3);
    let mixed = (noise(), sound, noise(), spaces()).prop_map(|(a, b, c, s)| object(&[a, b, c].concat(), &s));
    let wild = (proptest::collection::vec((key(), value()), 0..8), spaces()).prop_map(|(m, s)| object(&m, &s));
    prop_oneof![3 => mixed, 1 => wild]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn decodes_as_a_plain_decoder_does(texts in proptest::collection::vec(event(), 1..6)) {
        let source = source();
        let mut decoder = Decoder::new(source.clone());
        let batch = decoder.decode(&chunk(texts.iter().map(String::as_bytes)));
        for (got, text) in rows(&batch).iter().zip(&texts) {
            let checked = check(&source, text.as_bytes());
            prop_assert_eq!(checked.is_ok(), got.is_some(), "check and decode differ on {}", text);
            if let Some(want) = plain(&source, text) {
                prop_assert_eq!(format!("{:?}", got), format!("{:?}", want), "{}", text);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..5)) {
        let batch = Decoder::new(source()).decode(&chunk(records.iter().map(Vec::as_slice)));
        prop_assert_eq!(batch.len(), records.len());
    }

    #[test]
    fn no_broken_event_makes_it_panic(text in event(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let got = rows(&Decoder::new(source()).decode(&chunk([&bytes[..], &bytes[..at]])));
        prop_assert_eq!(got[0].is_some(), check(&source(), &bytes).is_ok());
        prop_assert_eq!(&got[1], &None);
    }
}

#[test]
fn the_generator_is_not_vacuous() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let texts: Vec<String> =
        (0..1000).map(|_| event().new_tree(&mut runner).map(|tree| tree.current()).unwrap_or_default()).collect();
    let got = rows(&Decoder::new(source()).decode(&chunk(texts.iter().map(String::as_bytes))));
    let valid = got.iter().filter(|r| r.is_some()).count();
    assert!((100..900).contains(&valid), "{valid} of 1000 generated events are valid");
}

#[test]
fn one_bad_record_stops_nothing() {
    let records: [&[u8]; 4] = [
        b"{\"t\":1,\"r\":\"a\",\"id\":\"x\"}",
        b"\xff",
        b"{\"t\":2,\"i\":\"5\",\"id\":\"y\"}",
        b"{\"t\":3,\"id\":\"\"}",
    ];
    let batch = Decoder::new(source()).decode(&chunk(records));
    use Verdict::{Counts, Invalid};
    assert_eq!(batch.verdicts, [Counts, Invalid, Invalid, Counts]);
    assert_eq!(batch.ids.iter().collect::<Vec<_>>(), [Some("x"), None, Some("y"), None]);
    assert_eq!(batch.offsets, [10, 12, 14, 16].map(Offset));
    assert_eq!(batch.value(0, 0), Value::text("a"));
    assert_eq!(batch.value(0, 3), Value::Null);
}

#[test]
fn codes_last_until_the_reset() {
    let mut decoder = Decoder::new(source());
    let code = |batch: &EventBatch, row: usize| match &batch.columns[0] {
        Column::Str(codes) => codes[row],
        _ => panic!("region is text"),
    };
    let event = |region: &str| format!("{{\"t\":1,\"r\":{region}}}").into_bytes();
    let first = decoder.decode(&chunk([&event("\"a\"")[..], &event("\"b\"")[..], &event("\"\\u0061\"")[..]]));
    assert_eq!((code(&first, 0), code(&first, 1), code(&first, 2)), (1, 2, 1));
    let second = decoder.decode(&chunk([&event("\"c\"")[..], &event("\"b\"")[..]]));
    assert_eq!((code(&second, 0), code(&second, 1)), (3, 2));
    assert_eq!(first.dictionaries[0].len(), 3, "an earlier batch keeps its dictionary");
    decoder.reset();
    let third = decoder.decode(&chunk([&event("\"c\"")[..]]));
    assert_eq!((code(&third, 0), third.value(0, 0)), (1, Value::text("c")));
}

#[test]
fn rejections_name_the_member_and_the_reason() {
    let reason = |event: &str| check(&source(), event.as_bytes()).map(drop).map_err(|r| r.reason);
    let says = |event: &str, want: &str| assert_eq!(reason(event), Err(want.to_owned()));
    says(r#"{"r":"a"}"#, "`t` is missing: every event needs its time");
    says(r#"{"t":1,"i":"5"}"#, "`i` must be an integer, not a string");
    says(r#"{"t":1,"o":{"d":1.234}}"#, "`o.d` must be a decimal within the digits of its type; 1.234 is not");
    says(r#"{"t":1,"id":{}}"#, "`id` must be a string, not an object");
    says(r#"{"t":"soon"}"#, "`t` must be a time like 2026-01-31T12:00:00Z or a Unix time, not \"soon\"");
    says(r#"{"t":1,"r":"\ud800"}"#, "`r` holds an escape that is no Unicode character");
    assert!(reason("[1]").is_err_and(|r| r.starts_with("event is no JSON object: ")));
    let good = br#"{"t":1,"id":"\u0061"}"#;
    assert_eq!(check(&source(), good), Ok(Checked { id: Some("a".into()), time: Timestamp(1_000_000) }));
}
