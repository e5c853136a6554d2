//! What the door tells the platform's metrics.
use std::sync::Arc;

use seam_ingest::{Door, RawEvent};
use seam_shared::clock::ManualClock;
use seam_shared::log::EventLog;
use seam_shared::log::memory::MemoryLog;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Timestamp;

use super::source;

#[tokio::test]
async fn what_is_wrong_with_refused_events_is_counted() {
    let telemetry = Telemetry::new();
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(clock.clone()));
    let door = Door::open(log, clock, &[source("clicks", 1)]).await.expect("a log in memory opens").metered(&telemetry);
    let said = |name: &str| {
        let metric = format!("data_pipeline_quality_issues_total{{type=\"{name}\",source=\"clicks\"}} ");
        let text = telemetry.encode();
        text.lines()
            .find_map(|line| line.strip_prefix(&metric).map(str::to_owned))
            .expect("the metric is there from the start")
    };
    assert_eq!((said("missing_fields"), said("invalid_data")), ("0".to_owned(), "0".to_owned()));
    let good = r#"{"meta":{"time":1}}"#;
    let events = [good, r#"{"id":"a"}"#, "{", r#"{"meta":{"time":1},"price":"x"}"#, r#"{"meta":{"time":null}}"#];
    let events = events.iter().map(|event| RawEvent::new(1, event.to_string())).collect();
    let receipt = door.submit("clicks", events).await.expect("a log in memory takes it");
    assert_eq!((receipt.accepted, receipt.rejected), (1, 4));
    assert_eq!((said("missing_fields"), said("invalid_data")), ("2".to_owned(), "2".to_owned()));
}
