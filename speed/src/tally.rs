//! What a worker tells the platform's metrics about the records that it folded, a chunk at a time.
use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashSet;

use seam_shared::clock::Clock;
use seam_shared::event::batch::{Column, EventBatch, Verdict};
use seam_shared::log::Partition;
use seam_shared::telemetry::{ErrorLabels, EventLabels, FAILED, SourceLabels, Telemetry, TypeLabels};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::{Source, View};
use seam_shared::view::value::Value;

/// The field whose values tell events apart in metrics.
const TYPE: &str = "type";
/// Types beyond so many are counted as one: metrics are no place for data.
const TYPES_MAX: usize = 64;
const OTHER: &str = "other";

/// What some records were.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Events that count, by their type; without a text field `type`, all of them under the empty text.
    pub types: Vec<(Box<str>, u64)>,
    /// Events whose id was seen before.
    pub duplicates: u64,
    /// Records that are no events.
    pub invalid: u64,
    /// Events that came after one of a later pane.
    pub late: u64,
    /// The latest event time so far.
    pub latest: Option<Timestamp>,
}

/// Tallies the batches of one source.
#[derive(Debug)]
pub struct Tallies {
    field: Option<usize>,
    /// The shortest pane of the views.
    pane: Span,
    /// The pane of the latest event time.
    open: Timestamp,
    tally: Tally,
}

impl Tallies {
    /// Nothing seen yet.
    pub fn new(source: &Source, views: &[Arc<View>]) -> Self {
        let pane = views.iter().map(|view| view.pane).min().unwrap_or(Span::MINUTE);
        Self { field: source.field(TYPE), pane, open: Timestamp::MIN, tally: Tally::default() }
    }

    /// Takes in a batch, duplicates marked.
    pub fn add(&mut self, batch: &EventBatch) {
        let codes = self.field.and_then(|field| match &batch.columns[field] {
            Column::Str(codes) => Some((codes.as_slice(), batch.dictionaries[field].as_slice())),
            _ => None,
        });
        let mut counts = vec![0u64; codes.map_or(1, |(_, texts)| texts.len())];
        for (row, verdict) in batch.verdicts.iter().enumerate() {
            match verdict {
                Verdict::Counts => {
                    counts[codes.map_or(0, |(codes, _)| codes[row] as usize)] += 1;
                    self.observe(batch.times[row]);
                }
                Verdict::Duplicate => self.tally.duplicates += 1,
                Verdict::Invalid => self.tally.invalid += 1,
            }
        }
        for (code, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let text: Box<str> = match codes.and_then(|(_, texts)| texts.get(code)) {
                Some(Value::Str(text)) => text.clone(),
                _ => Box::default(),
            };
            self.tally.types.push((text, count));
        }
    }

    #[inline]
    fn observe(&mut self, time: Timestamp) {
        if self.tally.latest.is_none_or(|latest| time > latest) {
            self.tally.latest = Some(time);
            if time >= self.open.plus(self.pane) {
                self.open = time.floor(self.pane);
            }
        } else if time < self.open {
            self.tally.late += 1;
        }
    }

    /// What was taken in since the last call; the latest event time stays.
    pub fn take(&mut self) -> Tally {
        let latest = self.tally.latest;
        std::mem::replace(&mut self.tally, Tally { latest, ..Tally::default() })
    }
}

/// Where tallies go.
#[derive(Debug)]
pub struct Meter {
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    source: String,
    types: HashSet<Box<str>>,
}

impl Meter {
    /// Bumps the metrics of `source`.
    pub fn new(telemetry: Arc<Telemetry>, clock: Arc<dyn Clock>, source: &Source) -> Self {
        Self { telemetry, clock, source: source.name.clone(), types: HashSet::new() }
    }

    /// Records were folded; what was committed with them arrived in the log at `arrived` or later.
    pub fn folded(&mut self, tally: Tally, arrived: Option<Timestamp>) {
        let labels = SourceLabels { source: self.source.clone() };
        let mut timed = BTreeSet::new();
        for (text, count) in tally.types {
            let known = self.types.contains(&text) || self.types.len() < TYPES_MAX;
            let name = if known { text.to_string() } else { OTHER.to_owned() };
            self.types.extend(known.then_some(text));
            timed.insert(name.clone());
            let labels = EventLabels { r#type: name, source: self.source.clone() };
            self.telemetry.events_processed.get_or_create(&labels).inc_by(count);
        }
        self.telemetry.duplicate_events.get_or_create(&labels).inc_by(tally.duplicates);
        self.telemetry.late_events.get_or_create(&labels).inc_by(tally.late);
        if tally.invalid > 0 {
            timed.insert(FAILED.to_owned());
            self.failed("invalid", tally.invalid);
        }
        if let Some(latest) = tally.latest {
            let watermark = self.telemetry.watermark_seconds.get_or_create(&labels);
            // Each partition has its own latest event: the gauge shows the latest of all.
            let seconds = latest.0 as f64 / 1e6;
            if seconds > watermark.get() {
                watermark.set(seconds);
            }
        }
        if let Some(arrived) = arrived {
            let micros = self.clock.now().0.saturating_sub(arrived.0).max(0);
            for name in timed {
                let timer = self.telemetry.processing_seconds.get_or_create(&TypeLabels { r#type: name });
                timer.observe(micros as f64 / 1e6);
            }
        }
    }

    /// The moment, for [`Meter::worked`].
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// So many records of the log, whatever they were, took from `begun` until now.
    pub fn worked(&self, records: usize, begun: Option<Timestamp>) {
        let labels = SourceLabels { source: self.source.clone() };
        let micros = begun.map_or(0, |begun| self.clock.now().0.saturating_sub(begun.0).max(0));
        self.telemetry.folded_records.get_or_create(&labels).inc_by(records as u64);
        self.telemetry.fold_seconds.get_or_create(&labels).inc_by(micros as f64 / 1e6);
    }

    /// State was lost.
    pub fn lost(&self) {
        let labels = SourceLabels { source: self.source.clone() };
        self.telemetry.state_rebuilds.get_or_create(&labels).inc();
    }

    /// The worker of a partition came from the stored state to the log's end in so many seconds.
    pub fn recovered(&self, partition: &Partition, seconds: f64) {
        self.telemetry.recovery_seconds.get_or_create(&Telemetry::partition_labels(partition)).set(seconds);
    }

    /// A step failed, or records did.
    pub fn failed(&self, error: &str, times: u64) {
        let labels = ErrorLabels { r#type: "speed".to_owned(), error: error.to_owned() };
        self.telemetry.errors.get_or_create(&labels).inc_by(times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seam_shared::clock::ManualClock;
    use seam_shared::event::decode::Decoder;
    use seam_shared::log::{Chunk, Offset};
    use seam_shared::segment::SegmentRule;
    use seam_shared::view::definition::Field;
    use seam_shared::view::value::FieldType;

    fn source() -> Arc<Source> {
        let field = Field::new(TYPE, vec![TYPE.to_owned()], FieldType::String);
        Arc::new(Source {
            name: "clicks".to_owned(),
            id: None,
            time: vec!["at".to_owned()],
            fields: vec![field],
            duplicates: None,
            segments: SegmentRule::default(),
            partitions: 1,
        })
    }

    fn tally(tallies: &mut Tallies, source: &Arc<Source>, events: &[String]) -> Tally {
        let mut chunk = Chunk::at(Offset(0));
        events.iter().zip(0..).for_each(|(event, at)| chunk.push(Offset(at), Timestamp(0), event.as_bytes()));
        tallies.add(&Decoder::new(source.clone()).decode(&chunk));
        tallies.take()
    }

    #[test]
    fn events_are_counted_by_type_and_late_ones_apart() {
        let source = source();
        let mut tallies = Tallies::new(&source, &[]);
        let event = |at: i64, kind: &str| format!("{{\"at\":{at},\"type\":{kind}}}");
        let events = [event(1_000_000, "\"a\""), event(1_000_070, "\"b\""), event(999_000, "\"a\""), event(1, "7")];
        let got = tally(&mut tallies, &source, &events);
        let latest = Some(Timestamp(1_000_070_000_000));
        assert_eq!(
            got,
            Tally { types: vec![("a".into(), 2), ("b".into(), 1)], duplicates: 0, invalid: 1, late: 1, latest }
        );
        assert_eq!(tallies.take(), Tally { latest, ..Tally::default() });
    }

    #[test]
    fn metrics_hold_few_types_however_many_there_are() {
        let source = source();
        let telemetry = Arc::new(Telemetry::new());
        let clock = Arc::new(ManualClock::at(Timestamp(3_000_000)));
        let mut meter = Meter::new(telemetry.clone(), clock, &source);
        let events: Vec<String> = (0..100).map(|n| format!("{{\"at\":{n},\"type\":\"t{n}\"}}")).collect();
        for _ in 0..2 {
            let folded = tally(&mut Tallies::new(&source, &[]), &source, &events);
            meter.folded(folded, Some(Timestamp(1_000_000)));
        }
        let text = telemetry.encode();
        assert!(text.contains("data_pipeline_events_processed_total{type=\"t0\",source=\"clicks\"} 2\n"), "{text}");
        assert!(text.contains("data_pipeline_events_processed_total{type=\"other\",source=\"clicks\"} 72\n"), "{text}");
        assert!(text.contains("data_pipeline_watermark_timestamp_seconds{source=\"clicks\"} 99"), "{text}");
        assert!(text.contains("data_pipeline_processing_seconds_sum{type=\"t0\"} 4"), "{text}");
        assert_eq!(text.matches("events_processed_total{").count(), TYPES_MAX + 1);
    }
}
