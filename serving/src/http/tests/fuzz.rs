//! Whatever is asked, seeded: an answer or a problem document that says why not; never a panic, never a fault of the server.
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::whole;
use crate::query::PARAMETERS;
use crate::testing::{Dice, bytes, request};

/// How often each is asked.
const TIMES: u64 = 1_500;
/// Words that mean something somewhere.
const WORDS: [&str; 40] = [
    "events.total",
    "errors.rate",
    "spend",
    "carriers",
    "carrier",
    "origin",
    "carrier:UA",
    "origin:eu:west",
    "null",
    "\"",
    "5m",
    "1h",
    "0s",
    "90s",
    "-1m",
    "99999999999999999999",
    "now",
    "now-1h",
    "now+",
    "2026-01-01T00:00:00Z",
    "0001-01-01",
    "9999-12-31T23:59:59Z",
    "value",
    "-value",
    "time",
    "zero",
    "merged",
    "speed",
    "clicks/0@1",
    "clicks/9@18446744073709551615",
    "1",
    "-0",
    "NaN",
    "carrier = \"UA\"",
    "not (origin is null)",
    "((((",
    "\u{0}",
    "é\u{202e}",
    "%",
    ",",
];
/// What may be named beside the parameters of a query.
const MORE_NAMES: [&str; 3] = ["rows", "of", "metric"];
const PATHS: [&str; 9] = [
    "/api/analytics/metrics/events.total",
    "/api/analytics/metrics/spend.csv",
    "/api/analytics/metrics/errors.rate.parquet",
    "/api/analytics/metrics/carriers.arrow",
    "/api/analytics/explain/spend",
    "/api/analytics/explain/share/rows",
    "/api/analytics/dashboard",
    "/api/analytics/metrics",
    "/api/analytics/metrics/%",
];

fn word(dice: &mut Dice) -> String {
    let mut word = WORDS[dice.pick(WORDS.len() as u64) as usize].to_owned();
    match dice.pick(8) {
        0 => word.push_str(WORDS[dice.pick(WORDS.len() as u64) as usize]),
        1 => word = word.chars().rev().collect(),
        2 => {
            let letters: Vec<char> = word.chars().collect();
            word = letters[..dice.pick(letters.len() as u64 + 1) as usize].iter().collect();
        }
        3 => word = (0..dice.pick(12)).filter_map(|_| char::from_u32(dice.pick(0x2_ffff) as u32)).collect(),
        _ => {}
    }
    word
}

/// Every byte but letters and digits escaped; now and then not.
fn escaped(text: &str, dice: &mut Dice) -> String {
    let loose = dice.pick(12) == 0;
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b':' => char::from(byte).to_string(),
        b'%' | b'+' | b'&' | b'=' if loose => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn value(dice: &mut Dice, depth: u32) -> Value {
    match dice.pick(if depth > 4 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => json!(dice.pick(2) == 0),
        2 => json!(dice.pick(20_000) as i64 - 10_000),
        3 => json!(f64::from_bits(dice.pick(u64::MAX))),
        4 => json!(word(dice)),
        5 | 6 => {
            let words = ["is", "is_not", "and", "or", "not", "gt", "le"];
            let mut items: Vec<Value> = (0..dice.pick(4)).map(|_| value(dice, depth + 1)).collect();
            if dice.pick(2) == 0 {
                items.insert(0, json!(words[dice.pick(words.len() as u64) as usize]));
            }
            Value::Array(items)
        }
        _ => Value::Object((0..dice.pick(3)).map(|_| (word(dice), value(dice, depth + 1))).collect()),
    }
}

/// Asks, and checks what every answer must be; says whether it was a success.
async fn ask(router: &Router, asked: Request<Body>) -> bool {
    let shown = format!("{} {}", asked.method(), asked.uri());
    let response = request(router, asked).await;
    let status = response.status();
    let is_problem = response.headers().get("content-type").is_some_and(|kind| kind == "application/problem+json");
    // A position may be asked for that the log has not reached, and a page of an answer that is gone.
    let expected = [200, 400, 404, 406, 409, 413, 415, 422, 503].contains(&status.as_u16());
    assert!(expected && (status == 200 || is_problem), "{shown}: {status}");
    let body = bytes(response).await;
    if is_problem {
        let problem: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(problem["status"], status.as_u16(), "{shown}");
        if status == 503 {
            let kinds = [
                "urn:seam:problem:position-not-covered",
                "urn:seam:problem:deadline-exceeded",
                "urn:seam:problem:unavailable",
            ];
            assert!(kinds.contains(&problem["type"].as_str().unwrap_or_default()), "{shown}: {problem}");
        }
    }
    status == 200
}

#[tokio::test]
async fn query_strings_of_any_kind_are_answered_or_refused() {
    let (_, router) = whole(3).await;
    let (mut dice, mut answered) = (Dice(0x5eed), 0);
    let names: Vec<&str> = PARAMETERS.into_iter().chain(MORE_NAMES).collect();
    for _ in 0..TIMES {
        let path = PATHS[dice.pick(PATHS.len() as u64) as usize];
        let mut pairs = vec!["timeout=20ms".to_owned()];
        for _ in 0..dice.pick(4) {
            let name = if dice.pick(20) == 0 {
                word(&mut dice)
            } else {
                names[dice.pick(names.len() as u64) as usize].to_owned()
            };
            let text = word(&mut dice);
            pairs.push(format!("{}={}", escaped(&name, &mut dice), escaped(&text, &mut dice)));
        }
        if dice.pick(3) == 0 {
            pairs.remove(0);
        }
        let asked = Request::get(format!("{path}?{}", pairs.join("&"))).header(
            "accept",
            if dice.pick(5) == 0 {
                word(&mut dice).replace(|c: char| !c.is_ascii_graphic(), "")
            } else {
                "*/*".to_owned()
            },
        );
        if let Ok(asked) = asked.body(Body::empty()) {
            answered += u32::from(ask(&router, asked).await);
        }
    }
    assert!(answered > 50, "{answered}");
}

#[tokio::test]
async fn bodies_of_any_kind_are_answered_or_refused() {
    let (_, router) = whole(3).await;
    let (mut dice, mut answered) = (Dice(0xb0d1), 0);
    for _ in 0..TIMES {
        let mut body = json!({"metrics": ["spend", "events.total"], "window": "1h", "timeout": "20ms"});
        for _ in 0..dice.pick(4) {
            let names: Vec<&str> = crate::query::inquiry::members().collect();
            let name = if dice.pick(20) == 0 {
                word(&mut dice)
            } else {
                names[dice.pick(names.len() as u64) as usize].to_owned()
            };
            body[name.as_str()] = value(&mut dice, 0);
        }
        let mut text = body.to_string().into_bytes();
        if dice.pick(6) == 0 {
            let at = dice.pick(text.len() as u64) as usize;
            text[at] = dice.pick(256) as u8;
        }
        if dice.pick(10) == 0 {
            text.truncate(dice.pick(text.len() as u64) as usize);
        }
        let extension = ["", "", ".csv", ".arrow", ".parquet", ".ndjson"][dice.pick(6) as usize];
        let asked = Request::post(format!("/api/analytics/query{extension}")).body(Body::from(text));
        answered += u32::from(ask(&router, asked.expect("a request")).await);
    }
    assert!(answered > 50, "{answered}");
}

#[tokio::test]
async fn cursors_of_any_kind_are_followed_or_refused() {
    let (_, router) = whole(3).await;
    let metric = "/api/analytics/metrics/spend?window=4h&dimension=carrier,origin&limit=2";
    let first = super::get(&router, metric).await;
    let first: Value = serde_json::from_slice(&bytes(first).await).expect("JSON");
    let cursor = first["meta"]["next"].as_str().expect("a further page").to_owned();
    let mut dice = Dice(0xc0de);
    for _ in 0..TIMES / 3 {
        let mut text = cursor.clone().into_bytes();
        for _ in 0..=dice.pick(3) {
            let at = dice.pick(text.len() as u64) as usize;
            match dice.pick(3) {
                0 => text[at] = b"0123456789abcdef-_x"[dice.pick(19) as usize],
                1 => text.insert(at, b"0123456789-"[dice.pick(11) as usize]),
                _ => text.truncate(at.max(1)),
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        for path in [metric.to_owned(), "/api/analytics/explain/spend/rows?window=4h".to_owned()] {
            let asked = Request::get(format!("{path}&cursor={}", escaped(&text, &mut dice))).body(Body::empty());
            ask(&router, asked.expect("a request")).await;
        }
        let body = json!({"metrics": ["spend"], "window": "4h", "cursor": text});
        let asked = Request::post("/api/analytics/query").body(Body::from(body.to_string()));
        ask(&router, asked.expect("a request")).await;
    }
}
