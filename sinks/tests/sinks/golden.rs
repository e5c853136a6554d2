//! The three modes on standard output, line by line. With `UPDATE_GOLDEN=1` the lines are written instead, to be read before they
//! are committed.
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use seam_shared::outlet::lines::Lines;
use seam_shared::time::{Span, Timestamp};
use seam_sinks::sinker::Step;

use crate::world::{START, World, file};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn at(seconds: i64) -> Timestamp {
    START.plus(Span(seconds * 1_000_000))
}

/// What each trigger brings: the seconds at which it is, and events (partition, id, seconds, page, n).
type Trigger = (i64, &'static [(u32, &'static str, i64, &'static str, i64)]);

const TRIGGERS: [Trigger; 5] = [
    (30, &[(0, "1", 5, "/a", 3), (1, "2", 10, "/b", 7), (0, "3", 20, "/a", 1), (0, "4", 25, "bot", 9)]),
    // one of the next minute, one that is there twice, and a late one that comes in time
    (90, &[(0, "5", 65, "/a", 2), (0, "1", 5, "/a", 3), (1, "6", 50, "/b", 4)]),
    // one that comes after its minute was complete
    (150, &[(1, "7", 130, "/c", 5), (0, "8", 30, "/a", 8)]),
    // a bot alone changes nothing
    (210, &[(0, "9", 200, "bot", 1)]),
    (270, &[]),
];

/// Runs the triggers; the lines of each after a line that says which it was, and how many events were too late.
async fn run(mode: &str) -> (String, u64) {
    let sink = format!("{{ stdout: ndjson, mode: {mode}, trigger: 1m }}");
    let mut world = World::new(&file("{ events: count(), most: max(n) }", &sink)).await;
    let (out, mut text) = (Shared::default(), String::new());
    let mut sinker = world.sinker(Arc::new(Lines::new(out.clone(), world.lake.clone(), "clicks_per_minute")));
    for (i, (seconds, events)) in TRIGGERS.iter().enumerate() {
        world.clock.advance(at(*seconds).0 - seam_shared::clock::Clock::now(world.clock.as_ref()).0);
        for &(partition, id, time, page, n) in *events {
            world.event(partition, id, at(time), page, n).await;
        }
        if i == 2 {
            world.publish(|| true).await;
        }
        world.fold(0).await;
        world.fold(1).await;
        world.serving.refresh().await.expect("refreshed");
        // A process that dies after an output goes on where it was.
        if i == 3 {
            sinker = world.sinker(Arc::new(Lines::new(out.clone(), world.lake.clone(), "clicks_per_minute")));
        }
        let step = sinker.step().await.expect("written");
        let written = String::from_utf8(std::mem::take(&mut *out.0.lock().expect("nobody panicked"))).expect("UTF-8");
        let count = written.lines().count();
        assert!(
            matches!(step, Step::Wrote(n) if n == count) || count == 0 && step == Step::Nothing,
            "{step:?}: {written}"
        );
        text.push_str(&format!("trigger at {}\n{written}", at(*seconds)));
    }
    let labels = seam_shared::telemetry::ViewLabels { view: "clicks_per_minute".to_owned() };
    (text, world.telemetry.sink_late_events.get_or_create(&labels).get())
}

async fn check(mode: &str, late: u64) {
    let (text, too_late) = run(mode).await;
    assert_eq!(too_late, late, "events too late");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{mode}.ndjson"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("writable");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} holds other lines than\n{text}", path.display());
}

#[tokio::test]
async fn complete_writes_all_groups() {
    check("complete", 0).await;
}

#[tokio::test]
async fn update_writes_what_changed() {
    check("update", 0).await;
}

#[tokio::test]
async fn append_writes_each_group_once_when_its_window_is_complete() {
    check("append", 1).await;
}
