//! How fast decode + fold + commit is, as a share of a plain loop that parses and aggregates the same events in one thread.
//!
//! `cargo run --release -p seam-speed --example fold_rate [events]`. The plain loop parses typed with serde_json and adds up in
//! a hash map: no segments, no duplicates, nothing durable. Ours commits to the embedded state store, on disk.
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use seam_generator::Generator;
use seam_shared::embedded::Database;
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::log::{Chunk, Offset, Partition};
use seam_shared::segment::SegmentRule;
use seam_shared::state::embedded::EmbeddedState;
use seam_shared::state::{Committed, Progress, Snapshot, StateStore};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{
    DimensionDefinition, DuplicateRule, Field, Figure, Measure, Source, StateDefinition, StateKind, View,
};
use seam_shared::view::rows::Rows;
use seam_shared::view::value::FieldType;
use seam_speed::segments::{Reach, Segments};

const CHUNK: usize = 8_192;

#[derive(serde::Deserialize)]
struct Event<'a> {
    event_type: &'a str,
    ts: i64,
    region: &'a str,
    product: &'a str,
    value: f64,
}

#[derive(Default)]
struct Codes(HashMap<String, u32>);

impl Codes {
    fn of(&mut self, text: &str) -> u64 {
        if let Some(&code) = self.0.get(text) {
            return u64::from(code);
        }
        let code = self.0.len() as u32;
        self.0.insert(text.to_owned(), code);
        u64::from(code)
    }
}

/// Count, sum, min and max.
type Stats = (u64, f64, f64, f64);

/// Events per second of the plain loop, with one hash map for each view.
fn plain(chunks: &[Chunk], masks: &[u64]) -> f64 {
    let started = Instant::now();
    let (mut types, mut regions, mut products) = (Codes::default(), Codes::default(), Codes::default());
    let mut maps: Vec<HashMap<(i64, u64), Stats>> = masks.iter().map(|_| HashMap::new()).collect();
    let mut events = 0u64;
    let mut held = 0usize;
    for chunk in chunks {
        for record in chunk.iter() {
            let event: Event = serde_json::from_slice(record.value).expect("the generator writes valid events");
            let key = types.of(event.event_type) << 40 | regions.of(event.region) << 20 | products.of(event.product);
            for (map, mask) in maps.iter_mut().zip(masks) {
                let pane = event.ts.div_euclid(60_000);
                let entry = map.entry((pane, key & mask)).or_insert((0, 0.0, f64::MAX, f64::MIN));
                entry.0 += 1;
                entry.1 += event.value;
                entry.2 = entry.2.min(event.value);
                entry.3 = entry.3.max(event.value);
            }
            events += 1;
        }
        // Windows fire and are forgotten; without that the maps outgrow every cache.
        if maps.iter().any(|map| map.len() > 200_000) {
            held += maps.iter().map(HashMap::len).sum::<usize>();
            maps.iter_mut().for_each(HashMap::clear);
        }
    }
    std::hint::black_box(held);
    events as f64 / started.elapsed().as_secs_f64()
}

fn source(ids: bool) -> Arc<Source> {
    let field = |name: &str, field_type| Field { name: name.to_owned(), path: vec![name.to_owned()], field_type };
    Arc::new(Source {
        name: "shop".to_owned(),
        id: ids.then(|| vec!["event_id".to_owned()]),
        time: vec!["ts".to_owned()],
        fields: vec![
            field("event_type", FieldType::String),
            field("region", FieldType::String),
            field("product", FieldType::String),
            field("value", FieldType::Decimal(2)),
        ],
        duplicates: ids.then_some(DuplicateRule { horizon: Span::MINUTE, max_records: 100_000 }),
        segments: SegmentRule::default(),
        partitions: 1,
    })
}

fn view(source: &Arc<Source>, number: usize, fields: &[usize]) -> Arc<View> {
    let dimensions = fields
        .iter()
        .map(|&field| DimensionDefinition {
            name: source.fields[field].name.clone(),
            field,
            field_type: FieldType::String,
        })
        .collect();
    Arc::new(View {
        name: format!("v{number}"),
        id: format!("v{number}@bench").into(),
        source: source.clone(),
        filter: None,
        dimensions,
        pane: Span::MINUTE,
        windows: vec![Span::MINUTE],
        states: vec![
            StateDefinition { kind: StateKind::Count, field: None },
            StateDefinition { kind: StateKind::Fixed { scale: 2 }, field: Some(3) },
        ],
        measures: vec![Measure { name: "events".to_owned(), state: 0, figure: Figure::Count }],
    })
}

fn decoder(source: &Arc<Source>) -> (Decoder, Duplicates) {
    (Decoder::new(source.clone()), Duplicates::new(source.duplicates))
}

/// Events per second of decode and duplicates alone.
fn decode(chunks: &[Chunk], source: &Arc<Source>) -> f64 {
    let (mut decoder, mut duplicates) = decoder(source);
    let started = Instant::now();
    let mut events = 0;
    for chunk in chunks {
        let mut batch = decoder.decode(chunk);
        duplicates.mark(&mut batch);
        events += batch.offsets.len();
    }
    events as f64 / started.elapsed().as_secs_f64()
}

/// Events per second of decode, fold and commit, and of decode and fold alone.
fn seam(chunks: &[Chunk], views: &[Arc<View>], directory: &std::path::Path) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _ = std::fs::remove_dir_all(directory);
    let database = Database::open(directory).expect("a database");
    let state = EmbeddedState::open(&database).expect("a state store");
    let partition = Partition::new("shop", 0);
    let source = &views[0].source;
    let resumed = |view: &Arc<View>| {
        let open = Arc::new(Rows::empty(view.dimensions.len(), &view.kinds()));
        (view.clone(), Snapshot { progress: Progress::at(Offset(0)), closed: Vec::new(), open })
    };
    let (decoder, duplicates) = decoder(source);
    let mut segments = Segments::resume(source, views.iter().map(resumed).collect(), decoder, duplicates);
    runtime.block_on(async {
        for view in views {
            state.claim(&partition, &view.id, Offset(0)).await.expect("a claim");
        }
    });
    let (mut events, mut folding) = (0, 0.0);
    let started = Instant::now();
    for chunk in chunks {
        let begun = Instant::now();
        segments.take(chunk);
        let commits = segments.commits(Reach::Closed);
        folding += begun.elapsed().as_secs_f64();
        events += chunk.len();
        if !commits.is_empty() {
            let done = runtime.block_on(state.commit(&partition, commits)).expect("a commit");
            assert_eq!(done, Committed::Applied);
        }
    }
    let all = started.elapsed().as_secs_f64();
    (events as f64 / all, events as f64 / folding)
}

fn main() {
    let count: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let mut chunks = Vec::new();
    let mut chunk = Chunk::at(Offset(0));
    let mut line = Vec::new();
    for (i, event) in Generator::new(1, 5_000_000).take(count as usize).enumerate() {
        line.clear();
        event.write_json(&mut line);
        let arrival = seam_generator::START * 1_000 + i as i64 * Span::DAY.0 / 5_000_000;
        chunk.push(Offset(i as u64), Timestamp(arrival), line.trim_ascii_end());
        if chunk.len() == CHUNK {
            let next = Chunk::at(chunk.next);
            chunks.push(std::mem::replace(&mut chunk, next));
        }
    }
    chunks.push(chunk);
    let directory = std::env::temp_dir().join(format!("seam-fold-rate-{}", std::process::id()));
    let fine: u64 = u64::MAX;
    let coarse: u64 = u64::MAX << 20;
    let source_of = |ids| source(ids);
    for ids in [false, true] {
        let source = source_of(ids);
        println!("duplicates {}", if ids { "on" } else { "off" });
        let decoded = decode(&chunks, &source);
        for (name, fines, coarses) in [("1 view", 1, 0), ("16 views", 4, 12)] {
            let views: Vec<Arc<View>> =
                (0..fines + coarses).map(|n| view(&source, n, if n < fines { &[0, 1, 2] } else { &[0, 1] })).collect();
            let masks: Vec<u64> = (0..fines + coarses).map(|n| if n < fines { fine } else { coarse }).collect();
            let plain = plain(&chunks, &masks);
            let (all, folded) = seam(&chunks, &views, &directory);
            println!(
                "  {name:8} plain loop {:.2} M/s, decode {:.2} M/s, decode+fold {:.2} M/s ({:.0} %), with commits {:.2} M/s ({:.0} %)",
                plain / 1e6,
                decoded / 1e6,
                folded / 1e6,
                folded / plain * 100.0,
                all / 1e6,
                all / plain * 100.0,
            );
        }
    }
    let _ = std::fs::remove_dir_all(directory);
}
