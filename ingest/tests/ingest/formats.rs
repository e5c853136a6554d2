//! CSV and CloudEvents read exactly, or refused with the reason.
use bytes::Bytes;
use proptest::prelude::*;
use seam_ingest::RawEvent;
use seam_ingest::formats::Format;

use super::source;

fn read(format: &Format, body: &str) -> Result<Vec<RawEvent>, String> {
    format.read(&source("clicks", 1), &Bytes::copy_from_slice(body.as_bytes())).map_err(|e| e.message().to_owned())
}

fn texts(events: &[RawEvent]) -> Vec<(u64, String)> {
    let text =
        |e: &RawEvent| (e.line, e.refused.clone().unwrap_or_else(|| String::from_utf8_lossy(&e.value).into_owned()));
    events.iter().map(text).collect()
}

#[test]
fn csv_cells_are_typed_by_the_fields() {
    let body = "\u{feff}id,meta.time,type,region,price,count,new,other\r\n\
        7,1780272000.5,view,\"eu, \"\"west\"\"\",1.50,007,TRUE,12\r\n\
        8,2026-06-01T00:00:00Z,,,,-3,no,\n\
        9,1\r\n\r\n\n\
        \"x\ny\",1,a,b,1e1,1,false,c\n";
    let events = read(&Format::Csv, body).expect("a header and rows");
    let want = [
        (
            2,
            r#"{"id":"7","meta":{"time":1780272000.5},"type":"view","geo":{"region":"eu, \"west\""},"price":1.50,"count":"007","new":true,"other":"12"}"#,
        ),
        (3, r#"{"id":"8","meta":{"time":"2026-06-01T00:00:00Z"},"geo":{},"count":-3,"new":"no"}"#),
        (4, "row has 2 cells, the header has 8"),
        (
            7,
            r#"{"id":"x\ny","meta":{"time":1},"type":"a","geo":{"region":"b"},"price":1e1,"count":1,"new":false,"other":"c"}"#,
        ),
    ];
    assert_eq!(texts(&events), want.map(|(line, text)| (line, text.to_owned())));
}

#[test]
fn csv_headers_are_checked() {
    let says = |body: &str| read(&Format::Csv, body).map(|e| e.len());
    assert_eq!(says(""), Err("CSV is empty: it needs a header row".to_owned()));
    assert_eq!(says("id,id\n"), Err("CSV header: name 2 `id` stands there twice".to_owned()));
    assert_eq!(says("id,,x\n"), Err("CSV header: name 2 `` is empty".to_owned()));
    let semicolons = "CSV header: \"id;time\" is one name; the cells of CSV are parted by commas";
    assert_eq!(says("id;time\na;1\n"), Err(semicolons.to_owned()));
    let both = "CSV header: `geo.region` and another name both stand for `geo.region`";
    assert_eq!(says("region,geo.region\n"), Err(both.to_owned()));
    assert_eq!(says("id,meta.time\n"), Ok(0));
}

#[test]
fn cloud_events_that_cannot_be_taken() {
    let says = |member: &str| {
        let body = format!(r#"{{"specversion":"1.0","id":"a","source":"s","type":"t",{member}}}"#);
        texts(&read(&Format::CloudEvent, &body).expect("JSON"))[0].1.clone()
    };
    assert_eq!(says(r#""data":[1]"#), "CloudEvent `data` must be a JSON object");
    assert_eq!(says(r#""data_base64":"AA==""#), "CloudEvent has binary data; only a JSON object can be taken");
    assert_eq!(says(r#""id":"""#), "CloudEvent needs `id`, a string that is not empty");
    assert_eq!(says(r#""data":null"#), r#"{"source":"s","type":"t","id":"a"}"#);
    assert!(read(&Format::CloudEvent, "{").is_err());
}

proptest! {
    #[test]
    fn no_body_makes_a_reader_panic(body in "[\\[\\]{}\",:a-c0-9\n\r \\\\]{0,60}", at in 0usize..6) {
        let formats = [
            Format::Json, Format::Ndjson, Format::Csv, Format::CloudEvent, Format::CloudEvents,
            Format::CloudEventData(vec![("specversion".to_owned(), "1.0".to_owned()), ("id".to_owned(), "a".to_owned()),
                ("source".to_owned(), "s".to_owned()), ("type".to_owned(), "t".to_owned())]),
        ];
        for event in read(&formats[at], &body).unwrap_or_default() {
            prop_assert!(event.line > 0);
        }
    }

    #[test]
    fn csv_texts_come_out_as_they_went_in(cell in "\\PC{1,20}|[\"\n\r,\\\\]{1,5}") {
        let quoted = cell.replace('"', "\"\"");
        let events = read(&Format::Csv, &format!("type,id\n\"{quoted}\",1\n")).expect("a header and a row");
        let document: serde_json::Value = serde_json::from_slice(&events[0].value).expect("JSON");
        prop_assert_eq!(document["type"].as_str(), Some(cell.as_str()));
    }
}
