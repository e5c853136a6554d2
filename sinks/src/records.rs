//! From merged states to the records of an output: one a window and key. Pure.
//!
//! The key says what it is about, `{"start":…,"group":{…}}`, so that windows of one key never take each other's place. The value says all
//! of that again, so that it can be read alone.
use bytes::Bytes;
use seam_serving::json::Json;
use seam_shared::outlet::Record;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::{Figures, More};
use seam_shared::view::definition::{Figure, View};
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::remembered::Remembered;

/// Where the numbers of an output are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The generation that they are made from, if there is one.
    pub generation: Option<u64>,
    /// How far they reach: `clicks/0@12`.
    pub coverage: String,
}

/// A record, and its measures alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The record.
    pub record: Record,
    /// The value's `measures`.
    pub measures: Bytes,
}

/// The records of rows whose panes are the ends of windows of a length. With `remembered`, those only that say something else than
/// was written last, and beside it what that was, where it is known.
pub fn make(view: &View, window: Span, rows: &Rows, stamp: &Stamp, remembered: Option<&Remembered>) -> Vec<Made> {
    let mut made = Vec::with_capacity(rows.len());
    for row in 0..rows.len() {
        let end = rows.panes[row];
        let group = group(view, rows, row);
        let key = key(end.minus(window), &group);
        let measures = measures(view, rows, row);
        let before = remembered.and_then(|remembered| remembered.get(&key));
        if before.is_some_and(|before| *before == measures) {
            continue;
        }
        let mut json = Json::with_capacity(group.len() + 2 * measures.len() + stamp.coverage.len() + 160);
        json.open('{').key("view").text(&view.name).key("start").time(end.minus(window)).key("end").time(end);
        json.key("group").verbatim(&group).key("measures").verbatim(&measures);
        if let Some(before) = before {
            json.key("old").verbatim(before);
        }
        json.key("stamp").open('{').key("generation");
        match stamp.generation {
            Some(number) => json.number(number),
            None => json.null(),
        };
        json.key("coverage").text(&stamp.coverage).close('}').close('}');
        made.push(Made { record: Record { key, value: json.into_bytes().into() }, measures });
    }
    made
}

fn group(view: &View, rows: &Rows, row: usize) -> Vec<u8> {
    let mut json = Json::with_capacity(64);
    json.open('{');
    for (d, dimension) in view.dimensions.iter().enumerate() {
        json.named(&dimension.name).value(rows.value(d, row));
    }
    json.close('}');
    json.into_bytes()
}

fn key(start: Timestamp, group: &[u8]) -> Bytes {
    let mut json = Json::with_capacity(48 + group.len());
    json.open('{').key("start").time(start).key("group").verbatim(group).close('}');
    json.into_bytes().into()
}

fn measures(view: &View, rows: &Rows, row: usize) -> Bytes {
    let mut states = view.states.iter().zip(&rows.states);
    let figures: Vec<Figures> = states.by_ref().map(|(of, states)| states.get(row).present(of)).collect();
    let mut json = Json::with_capacity(48 * view.measures.len());
    json.open('{');
    for measure in &view.measures {
        json.named(&measure.name);
        match &figures[measure.state] {
            Figures { more: More::Buckets(buckets), .. } if measure.figure == Figure::Histogram => {
                write_buckets(&mut json, buckets);
            }
            figures => {
                json.value(&figures.get(measure.figure));
            }
        }
    }
    json.close('}');
    json.into_bytes().into()
}

/// How many numbers lie below each bound, and above the last.
fn write_buckets(json: &mut Json, buckets: &[(Value, u64)]) {
    json.open('[');
    for (to, count) in buckets {
        json.open('{').key("to").value(to).key("count").number(*count).close('}');
    }
    json.close(']');
}

/// What can be told from a value that was written: its key, its measures, and how far it reached in all partitions together.
pub fn read_back(value: &[u8]) -> Option<(Bytes, Bytes, u64)> {
    #[derive(Deserialize)]
    struct Written<'a> {
        #[serde(borrow)]
        start: &'a RawValue,
        #[serde(borrow)]
        group: &'a RawValue,
        #[serde(borrow)]
        measures: &'a RawValue,
        stamp: Coverage,
    }
    #[derive(Deserialize)]
    struct Coverage {
        coverage: String,
    }
    let written: Written<'_> = serde_json::from_slice(value).ok()?;
    let key = format!("{{\"start\":{},\"group\":{}}}", written.start.get(), written.group.get());
    let reached = written.stamp.coverage.split(',').filter_map(|part| part.rsplit_once('@')?.1.parse::<u64>().ok());
    Some((key.into(), Bytes::copy_from_slice(written.measures.get().as_bytes()), reached.sum()))
}

#[cfg(test)]
mod tests {
    use seam_shared::config;
    use seam_shared::view::aggregate::{FixedStats, State};
    use seam_shared::view::groups::Groups;

    use super::*;

    const CONFIG: &str = "version: 1\nsources: { s: { fields: { page: string, ok: bool, price: decimal(2) } } }\nviews: { v: { from: s, dimensions: \
                          [page, ok], pane: 1m, windows: [1m], measures: { events: count(), spent: sum(price) } } }\n";

    #[test]
    fn a_record_says_what_it_is_about_and_reads_back() {
        let config = config::load(CONFIG, "seam.yaml").unwrap_or_else(|report| panic!("{report}"));
        let view = config.view("v").unwrap();
        let mut groups = Groups::new(2, &view.kinds());
        let end = Timestamp::parse_rfc3339("2026-01-01T00:05:00Z").unwrap();
        let mut price = FixedStats::default();
        price.lift(1250);
        let states = view.states.iter().map(|state| match State::empty(state.kind) {
            State::Count(_) => State::Count(2),
            _ => State::Fixed(price),
        });
        let states: Vec<State> = states.collect();
        groups.merge_row(end, &[Value::text("a\"b"), Value::Null], &states);
        let rows = groups.into_rows();
        let stamp = Stamp { generation: None, coverage: "s/0@7,s/1@5".to_owned() };
        let mut remembered = Remembered::new(1 << 20);
        let made = make(view, Span::MINUTE, &rows, &stamp, Some(&remembered));
        let [one] = &made[..] else { panic!("{made:?}") };
        let key = r#"{"start":"2026-01-01T00:04:00Z","group":{"page":"a\"b","ok":null}}"#;
        assert_eq!(one.record.key, key);
        let value = r#"{"view":"v","start":"2026-01-01T00:04:00Z","end":"2026-01-01T00:05:00Z","group":{"page":"a\"b","ok":null},"measures":{"events":2,"spent":12.50},"stamp":{"generation":null,"coverage":"s/0@7,s/1@5"}}"#;
        assert_eq!(one.record.value, value);
        assert_eq!(read_back(&one.record.value), Some((key.into(), one.measures.clone(), 12)));
        remembered.note(one.record.key.clone(), one.measures.clone());
        assert!(make(view, Span::MINUTE, &rows, &stamp, Some(&remembered)).is_empty(), "nothing new");
        remembered.note(one.record.key.clone(), "{\"events\":1}".into());
        let made = make(view, Span::MINUTE, &rows, &stamp, Some(&remembered));
        assert!(std::str::from_utf8(&made[0].record.value).unwrap().contains(r#""old":{"events":1},"stamp""#));
    }
}
