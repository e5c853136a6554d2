//! Ingestion as its users meet it: every format over a real server, limits, files and dead letters.
mod files;
mod formats;
mod http;
mod telemetry;

use std::sync::Arc;

use seam_ingest::Door;
use seam_shared::clock::ManualClock;
use seam_shared::log::memory::MemoryLog;
use seam_shared::log::{EventLog, Offset, Partition};
use seam_shared::segment::SegmentRule;
use seam_shared::time::Timestamp;
use seam_shared::view::definition::{Field, Source};
use seam_shared::view::value::FieldType;

fn path(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

fn source(name: &str, partitions: u32) -> Arc<Source> {
    let field = |name: &str, at: &str, field_type| Field::new(name, path(at), field_type);
    Arc::new(Source {
        name: name.to_owned(),
        id: Some(path("id")),
        time: path("meta.time"),
        fields: vec![
            field("type", "type", FieldType::String),
            field("region", "geo.region", FieldType::String),
            field("price", "price", FieldType::Decimal(2)),
            field("count", "count", FieldType::Int),
            field("new", "new", FieldType::Bool),
        ],
        duplicates: None,
        segments: SegmentRule::default(),
        partitions,
    })
}

/// A door with one source of one partition and one of four, over a log in memory.
async fn door() -> Arc<Door> {
    let clock = Arc::new(ManualClock::at(Timestamp(1_780_272_000_000_000)));
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(clock.clone()));
    let sources = [source("clicks", 1), source("orders", 4)];
    Arc::new(Door::open(log, clock, &sources).await.expect("a log in memory opens"))
}

/// All records of a partition as text.
async fn records(door: &Door, topic: &str, number: u32) -> Vec<String> {
    let partition = Partition::new(topic, number);
    let chunk = door.log().read(&partition, Offset(0), 100_000, 1 << 30).await.expect("a log in memory reads");
    chunk.iter().map(|record| String::from_utf8_lossy(record.value).into_owned()).collect()
}
