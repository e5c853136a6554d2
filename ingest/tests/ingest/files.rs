//! Files: every line once with its number, whatever the blocks that it was read in.
use std::io::{Cursor, Read};

use proptest::prelude::*;
use seam_ingest::file::{FileFormat, FileReader};
use seam_ingest::{RawEvent, limits};

use super::source;

/// Input that comes in pieces of one size.
struct Pieces(Cursor<Vec<u8>>, usize);

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let size = into.len().min(self.1);
        self.0.read(&mut into[..size])
    }
}

fn all(input: Vec<u8>, piece: usize, format: FileFormat) -> Result<Vec<RawEvent>, String> {
    let text = |e: seam_shared::Error| e.to_string();
    let input = Pieces(Cursor::new(input), piece);
    let mut reader = FileReader::new("test", input, format).map_err(text)?;
    let mut events = Vec::new();
    while let Some(part) = reader.next_part().map_err(text)? {
        let whole = part.events(&source("clicks", 1)).map_err(text)?;
        // Cut in two as often as it can be, it is the same events.
        let (mut pieces, mut waiting) = (Vec::new(), vec![part]);
        while let Some(part) = waiting.pop() {
            match part.halves() {
                Some((first, second)) if waiting.len() < 3 => waiting.extend([second, first]),
                _ => pieces.extend(part.events(&source("clicks", 1)).map_err(text)?),
            }
        }
        assert_eq!(lines(&pieces), lines(&whole));
        events.extend(whole);
    }
    Ok(events)
}

fn lines(events: &[RawEvent]) -> Vec<(u64, Vec<u8>)> {
    events.iter().map(|e| (e.line, e.value.to_vec())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn lines_come_whole_and_numbered(text in "[a-c\n\r ]{0,200}", piece in 1usize..50, packed in 0u8..3) {
        let want: Vec<(u64, Vec<u8>)> = (1..)
            .zip(text.split('\n'))
            .map(|(n, line)| (n, line.trim_ascii().as_bytes().to_vec()))
            .filter(|(_, line)| !line.is_empty())
            .collect();
        let input = match packed {
            0 => text.into_bytes(),
            1 => zstd::encode_all(text.as_bytes(), 1).expect("memory"),
            _ => {
                let mut gzip = flate2::read::GzEncoder::new(text.as_bytes(), flate2::Compression::fast());
                let mut bytes = Vec::new();
                gzip.read_to_end(&mut bytes).expect("memory");
                bytes
            }
        };
        prop_assert_eq!(all(input, piece, FileFormat::Ndjson).map(|e| lines(&e)), Ok(want));
    }
}

#[test]
fn a_file_of_many_blocks_keeps_its_lines() {
    let line = |n: u64| format!("{{\"n\":{n},\"x\":\"{}\"}}", "y".repeat((n % 97) as usize));
    let text: String = (1..=150_000).map(|n| line(n) + "\n").collect();
    assert!(text.len() > 2 * seam_ingest::file::BATCH_BYTES);
    let events = all(text.into_bytes(), usize::MAX, FileFormat::Ndjson).expect("lines");
    assert_eq!(events.len(), 150_000);
    assert!(events.iter().all(|e| e.value == line(e.line)));
}

#[test]
fn a_line_that_is_too_long_is_refused_and_the_next_is_taken() {
    for length in [limits::EVENT_BYTES + 1, 6 << 20, 13 << 20] {
        for end in ["\n{\"b\":2}\n", ""] {
            let text = format!("{{\"a\":1}}\n{}{end}", "z".repeat(length));
            let events = all(text.into_bytes(), usize::MAX, FileFormat::Ndjson).expect("lines");
            let too_long = |e: &&RawEvent| e.refused.is_some() || e.value.len() > limits::EVENT_BYTES;
            let refused: Vec<_> = events.iter().filter(too_long).map(|e| e.line).collect();
            assert_eq!(refused, [2], "{length} {end}");
            let taken: Vec<_> = events.iter().filter(|e| !too_long(e)).map(|e| e.line).collect();
            assert_eq!(taken, if end.is_empty() { vec![1] } else { vec![1, 3] }, "{length}");
        }
    }
}

#[test]
fn rows_of_many_blocks_keep_their_lines() {
    // Every fifth row spans two lines; some cells hold quotes that open nothing.
    let mut text = "id,meta.time,type,region\r\n".to_owned();
    let mut want = Vec::new();
    let mut line = 2;
    for n in 0..150_000u64 {
        want.push((line, n));
        let (cell, lines) = if n % 5 == 0 { ("\"a \"\"b\"\",\nc\"", 2) } else { ("5\" pipe", 1) };
        text += &format!("{n},{n},{cell},{}{}", "y".repeat((n % 97) as usize), if n % 3 == 0 { "\r\n" } else { "\n" });
        line += lines;
    }
    assert!(text.len() > 2 * seam_ingest::file::BATCH_BYTES);
    let events = all(text.into_bytes(), usize::MAX, FileFormat::Csv).expect("rows");
    let number = |e: &RawEvent| {
        assert_eq!(e.refused, None, "line {}", e.line);
        let document: serde_json::Value = serde_json::from_slice(&e.value).expect("JSON");
        assert!(["a \"b\",\nc", "5\" pipe"].contains(&document["type"].as_str().expect("a type")));
        (e.line, document["meta"]["time"].as_u64().expect("a time"))
    };
    assert!(events.iter().map(number).eq(want));
}

#[test]
fn csv_files_and_hints() {
    let text = "id,meta.time,count\n1,1,5\n2,2\n3,3,6\n";
    let events = all(text.as_bytes().to_vec(), 7, FileFormat::Csv).expect("rows");
    let refused: Vec<_> = events.iter().map(|e| (e.line, e.refused.is_some())).collect();
    assert_eq!(refused, [(2, false), (3, true), (4, false)]);
    for (text, hint) in [("\n [{\"a\":1}]", "jq -c '.[]'"), ("{\n\"a\":1\n}\n", "jq -c '.'")] {
        let error = all(text.as_bytes().to_vec(), 100, FileFormat::Ndjson).expect_err("no lines");
        assert!(error.contains(hint), "{error}");
    }
    assert!(all(Vec::new(), 100, FileFormat::Csv).is_err(), "a header is needed");
    assert_eq!(all(b"id,meta.time\n".to_vec(), 100, FileFormat::Csv).map(|e| e.len()), Ok(0));
    assert!(all(b"\x28\xb5\x2f\xfd broken".to_vec(), 100, FileFormat::Ndjson).is_err());
    assert_eq!(FileFormat::of_name("a/B.CSV.gz"), FileFormat::Csv);
    assert_eq!(FileFormat::of_name("-"), FileFormat::Ndjson);
}

#[test]
fn a_quote_that_is_left_open_swallows_nothing_in_silence() {
    let text = "id,meta.time,type\n1,1,click\n2,2,\"click\n3,3,click\n4,4,click\n";
    let events = all(text.as_bytes().to_vec(), usize::MAX, FileFormat::Csv).expect("rows");
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!((events[0].line, &events[0].refused), (2, &None));
    assert_eq!((events[1].line, &events[1].value[..]), (3, &text.as_bytes()[text.find("2,2").expect("there")..]));
    assert!(events[1].refused.as_ref().is_some_and(|reason| reason.contains("a quote is left open")), "{events:?}");
}
