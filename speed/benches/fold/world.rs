//! The events, as lines in a file and as records in an embedded log, and workers that fold them.
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use seam_generator::Generator;
use seam_shared::clock::SystemClock;
use seam_shared::embedded::Database;
use seam_shared::log::embedded::EmbeddedLog;
use seam_shared::log::{Chunk, EventLog, NewRecord, Offset, Partition};
use seam_shared::segment::SegmentRule;
use seam_shared::state::embedded::EmbeddedState;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Span;
use seam_shared::view::definition::{
    DimensionDefinition, DuplicateRule, Field, Figure, Measure, Source, StateDefinition, StateKind, View,
};
use seam_shared::view::value::FieldType;
use seam_speed::cuts::by_hand::CutsByHand;
use seam_speed::recover::Places;
use seam_speed::worker::{Limits, Worker};

const TOPIC: &str = "shop";
/// As many events as the generator spreads over its day.
const EVENTS_A_DAY: u64 = 5_000_000;

pub struct World {
    lines: PathBuf,
    pub runtime: tokio::runtime::Runtime,
    places: Places,
    events: u64,
    directory: PathBuf,
}

impl World {
    /// Writes the events to a file and to a log below the temporary directory.
    pub fn new(events: u64) -> Self {
        let directory = std::env::temp_dir().join(format!("seam-bench-fold-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
        let lines = directory.join("events.ndjson");
        let database = Database::open(&directory.join("store")).expect("a new database");
        let log = EmbeddedLog::open(&database, Arc::new(SystemClock)).expect("a new log");
        let state = EmbeddedState::open(&database).expect("a new state store");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(log.open(TOPIC, 1)).expect("a topic");
        let mut file = File::create(&lines).expect("a new file");
        let mut generator = Generator::new(1, EVENTS_A_DAY.max(events)).take(usize::try_from(events).expect("memory"));
        let mut text = Vec::new();
        loop {
            text.clear();
            generator.by_ref().take(4096).for_each(|event| event.write_json(&mut text));
            if text.is_empty() {
                break;
            }
            file.write_all(&text).expect("the file can be written");
            let values = Bytes::from(text.clone());
            let record = |line: &[u8]| NewRecord { partition: 0, value: values.slice_ref(line.trim_ascii_end()) };
            let records = values.split_inclusive(|&byte| byte == b'\n').map(record).collect();
            runtime.block_on(log.append(TOPIC, records)).expect("the log takes the events");
        }
        let places = Places { log: Arc::new(log), state: Arc::new(state), cuts: Arc::new(CutsByHand::default()) };
        Self { lines, runtime, places, events, directory }
    }

    /// The file of the events, one a line.
    pub fn lines(&self) -> impl BufRead {
        BufReader::with_capacity(4 << 20, File::open(&self.lines).expect("the events were written"))
    }

    /// Bytes of an event on average, with its line end.
    pub fn event_bytes(&self) -> u64 {
        std::fs::metadata(&self.lines).map_or(0, |file| file.len() / self.events.max(1))
    }

    /// Reads the whole log as a worker does; answers with the events read.
    pub fn read(&self, mut take: impl FnMut(&Chunk)) -> u64 {
        let (partition, limits, mut at) = (Partition::new(TOPIC, 0), Limits::default(), Offset(0));
        loop {
            let read = self.places.log.read(&partition, at, limits.records, limits.bytes);
            let chunk = self.runtime.block_on(read).expect("the log can be read");
            if chunk.is_empty() {
                return at.0;
            }
            take(&chunk);
            at = chunk.next;
        }
    }

    /// A worker of views that no state is held of yet.
    pub fn worker(&self, round: usize, fine: usize, coarse: usize, ids: bool) -> Worker {
        let source = source(ids);
        let view = |number| {
            let fields: &[usize] = if number < fine { &[0, 1, 2] } else { &[0, 1] };
            view(&source, format!("v{number}"), format!("v{number}@{round}-{fine}-{coarse}-{ids}"), fields)
        };
        let views = (0..fine + coarse).map(view).collect();
        let worker = Worker::new(self.places.clone(), source.clone(), views, 0, Limits::default());
        worker.metered(Arc::new(Telemetry::new()), Arc::new(SystemClock))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Left behind, it is one more temporary directory.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The shop's events; with `ids`, duplicates are found among the last million.
pub fn source(ids: bool) -> Arc<Source> {
    let at = |name: &str, path: &str, field_type| Field::new(name, vec![path.to_owned()], field_type);
    let field = |name: &str, field_type| at(name, name, field_type);
    Arc::new(Source {
        name: TOPIC.to_owned(),
        id: ids.then(|| vec!["event_id".to_owned()]),
        time: vec!["ts".to_owned()],
        fields: vec![
            at("type", "event_type", FieldType::String),
            field("region", FieldType::String),
            field("product", FieldType::String),
            field("user_id", FieldType::Int),
            field("value", FieldType::Decimal(2)),
        ],
        duplicates: ids.then_some(DuplicateRule { horizon: Span::HOUR, max_records: 1_000_000 }),
        segments: SegmentRule::default(),
        partitions: 1,
    })
}

fn view(source: &Arc<Source>, name: String, id: String, fields: &[usize]) -> Arc<View> {
    let dimension = |&field: &usize| {
        let Field { name, field_type, .. } = &source.fields[field];
        DimensionDefinition { name: name.clone(), field, field_type: *field_type }
    };
    Arc::new(View {
        name,
        id: id.into(),
        source: source.clone(),
        filter: None,
        dimensions: fields.iter().map(dimension).collect(),
        keyed: false,
        count_window: None,
        pane: Span::MINUTE,
        windows: vec![Span::MINUTE],
        states: vec![
            StateDefinition::new(StateKind::Count, None),
            StateDefinition::new(StateKind::Fixed { scale: 2 }, Some(4)),
        ],
        measures: vec![Measure { name: "events".to_owned(), state: 0, figure: Figure::Count }],
    })
}
