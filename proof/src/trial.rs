//! One trial: records in order of arrival, the seam at one place among them, and what both halves then hold of each view.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use seam_shared::config::{Config, MeasureOf, Metric, MetricKind};
use seam_shared::error::{Error, Result};
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::log::{EventLog, Offset, OffsetVector};
use seam_shared::segment::SegmentRule;
use seam_shared::state::StateStore;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::{Figures, State};
use seam_shared::view::definition::{Source, View};
use seam_shared::view::groups::Groups;
use seam_shared::view::oracle::Oracle;
use seam_shared::view::rows::Rows;
use seam_shared::view::value::Value;

use crate::pipeline::Pipeline;

/// When the first record of a trial is appended.
pub const START: Timestamp = Timestamp(1_780_272_000_000_000);
/// Log time between two records.
const STEP: Span = Span::SECOND;
/// A record that is no event, behind the others of a partition: it closes the segment of the last one and counts nowhere.
const NO_EVENT: Bytes = Bytes::from_static(b"{}");

/// A record and its partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: u32,
    /// Its bytes.
    pub value: Bytes,
}

/// How the rows of a generation and those of the speed layer beyond its cut become an answer's.
pub type Join = dyn Fn(&View, &Rows, &Rows) -> Rows + Sync;

/// As Seam does it: everything beyond the cut, whatever its time.
pub fn by_offset(view: &View, batch: &Rows, speed: &Rows) -> Rows {
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    groups.merge(batch);
    groups.merge(speed);
    groups.into_rows()
}

/// The configuration with segments of one record, so that the seam may lie anywhere. Views keep their ids.
pub fn cut_anywhere(config: &Config) -> Config {
    let rule = SegmentRule { max_events: 1, ..SegmentRule::default() };
    let source = |source: &Arc<Source>| Arc::new(Source { segments: rule, ..source.as_ref().clone() });
    let sources: Vec<Arc<Source>> = config.sources.iter().map(source).collect();
    let source_of = |view: &View| sources.iter().find(|s| s.name == view.source.name).unwrap_or(&view.source).clone();
    let views: Vec<Arc<View>> =
        config.views.iter().map(|view| Arc::new(View { source: source_of(view), ..view.as_ref().clone() })).collect();
    let measure = |of: &MeasureOf| {
        let view = views.iter().find(|view| view.id == of.view.id).unwrap_or(&of.view);
        MeasureOf { view: view.clone(), ..of.clone() }
    };
    let metric = |metric: &Metric| {
        let kind = match &metric.kind {
            MetricKind::Measure(of) => MetricKind::Measure(measure(of)),
            MetricKind::Ratio(above, below) => MetricKind::Ratio(measure(above), measure(below)),
        };
        Metric { kind, ..metric.clone() }
    };
    let metrics = config.metrics.iter().map(metric).collect();
    Config { sources, views, metrics, ..config.clone() }
}

/// The layers after all records are appended and folded, of which the batch layer has taken in the first `cut`. Behind those
/// and behind all of them every partition has a record that is no event.
///
/// # Errors
/// Those of the layers.
pub async fn run(source: &Arc<Source>, views: &[Arc<View>], records: &[Record], cut: usize) -> Result<Pipeline> {
    let pipeline = Pipeline::new(source.clone(), views.to_vec(), Arc::new(InMemory::new()), START).await;
    append(&pipeline, &records[..cut]).await;
    if cut > 0 {
        end(&pipeline).await;
        pipeline.archive().await?;
        for outcome in pipeline.recompute(false).await? {
            if let Some(error) = outcome.error {
                return Err(Error::internal(format!("the batch run of {} failed: {error}", outcome.view)));
            }
        }
    }
    append(&pipeline, &records[cut..]).await;
    end(&pipeline).await;
    pipeline.fold().await?;
    Ok(pipeline)
}

async fn append(pipeline: &Pipeline, records: &[Record]) {
    for record in records {
        pipeline.clock.advance(STEP.0);
        pipeline.append(record.partition, record.value.clone()).await;
    }
}

async fn end(pipeline: &Pipeline) {
    for partition in 0..pipeline.source.partitions {
        pipeline.append(partition, NO_EVENT).await;
    }
}

/// Every record that the log holds, as decoded and marked in order.
///
/// # Errors
/// Those of the log.
pub async fn oracle(pipeline: &Pipeline) -> Result<Oracle> {
    let mut oracle = Oracle::default();
    for number in 0..pipeline.source.partitions {
        let partition = pipeline.partition(number);
        let mut decoder = Decoder::new(pipeline.source.clone());
        let mut duplicates = Duplicates::new(pipeline.source.duplicates);
        let chunk = pipeline.log.read(&partition, Offset(0), usize::MAX, usize::MAX).await?;
        let mut batch = decoder.decode(&chunk);
        duplicates.mark(&mut batch);
        oracle.keep(number, &batch);
    }
    Ok(oracle)
}

/// The first way in which the layers and the oracle disagree with the seam behind the first `cut` records; `None`: they agree.
///
/// # Errors
/// Those of the layers.
pub async fn difference(
    source: &Arc<Source>,
    views: &[Arc<View>],
    records: &[Record],
    cut: usize,
    join: &Join,
) -> Result<Option<String>> {
    let pipeline = run(source, views, records, cut).await?;
    let oracle = oracle(&pipeline).await?;
    for view in views {
        let (batch, covered) = pipeline.batch_rows(view).await?;
        let (speed, position) = beyond(&pipeline, view, &covered).await?;
        let told = |what: &str, said: String| Some(format!("view {}, {what}: {said}", view.name));
        if let Err(said) = compare(&oracle, view, &batch, &covered) {
            return Ok(told("batch", said));
        }
        let joined = join(view, &batch, &speed);
        if let Err(said) = compare(&oracle, view, &joined, &position) {
            return Ok(told(if cut == 0 { "speed" } else { "merged" }, said));
        }
    }
    Ok(None)
}

/// What the speed layer holds of a view beyond a generation's cut, and how far it reaches.
///
/// # Errors
/// Those of the state store.
pub async fn beyond(pipeline: &Pipeline, view: &View, covered: &OffsetVector) -> Result<(Rows, OffsetVector)> {
    let mut groups = Groups::new(view.dimensions.len(), &view.kinds());
    let mut position = OffsetVector::default();
    for number in 0..pipeline.source.partitions {
        let partition = pipeline.partition(number);
        let held = pipeline.state.snapshot(&partition, std::slice::from_ref(&view.id)).await?;
        let Some(held) = held.into_iter().next().flatten() else {
            return Err(Error::internal(format!("{} was not folded for {partition}", view.id)));
        };
        let cut = covered.get(number);
        for segment in held.closed.iter().filter(|segment| segment.start >= cut) {
            if let Some(rows) = pipeline.state.segment(&partition, &view.id, segment.start).await? {
                groups.merge(&rows);
            }
        }
        if held.progress.segment.start >= cut && !held.open.is_empty() {
            groups.merge(&held.open);
        }
        position.set(number, held.progress.position.max(cut));
    }
    Ok((groups.into_rows(), position))
}

/// Whether `rows` say what the oracle says of the events below `below`: by pane and key, and all in all.
///
/// # Errors
/// The first difference, in words.
pub fn compare(oracle: &Oracle, view: &View, rows: &Rows, below: &OffsetVector) -> std::result::Result<(), String> {
    let all: Vec<usize> = (0..view.dimensions.len()).collect();
    let mut found: BTreeMap<Timestamp, BTreeMap<Vec<Value>, Vec<Figures>>> = BTreeMap::new();
    for i in 0..rows.len() {
        let key = (0..view.dimensions.len()).map(|d| rows.value(d, i).clone()).collect();
        found.entry(rows.panes[i]).or_default().insert(key, figures(view, rows, i));
    }
    let times = oracle.events.iter().map(|event| view.pane_of(event.time));
    let panes: BTreeSet<Timestamp> = times.chain(rows.panes.iter().copied()).collect();
    for pane in panes {
        let expected = oracle.answer(view, &all, (pane.minus(view.pane), pane), below);
        let mut found = found.remove(&pane).unwrap_or_default();
        if view.dimensions.is_empty() {
            found.entry(Vec::new()).or_insert_with(|| nothing(view));
        }
        if found != expected {
            return Err(told(pane, &found, &expected));
        }
    }
    let mut total = Groups::new(0, &view.kinds());
    let states: Vec<usize> = (0..view.states.len()).collect();
    total.merge_chosen(rows, &[], &states, |_| Some(Timestamp(0)));
    let total = total.into_rows();
    let found = if total.is_empty() { nothing(view) } else { figures(view, &total, 0) };
    let expected = oracle.answer(view, &[], (Timestamp(i64::MIN), Timestamp(i64::MAX)), below);
    match expected.get(&Vec::new()) {
        Some(expected) if *expected == found => Ok(()),
        expected => Err(format!("in total {found:?} instead of {expected:?}")),
    }
}

type Keyed = BTreeMap<Vec<Value>, Vec<Figures>>;

fn told(pane: Timestamp, found: &Keyed, expected: &Keyed) -> String {
    let keys: BTreeSet<&Vec<Value>> = found.keys().chain(expected.keys()).collect();
    let differs = keys.into_iter().find(|key| found.get(*key) != expected.get(*key));
    let key = differs.map(|key| key.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")).unwrap_or_default();
    let say = |side: Option<&Vec<Figures>>| side.map_or_else(|| "nothing".to_owned(), |figures| format!("{figures:?}"));
    let (found, expected) = (differs.and_then(|key| found.get(key)), differs.and_then(|key| expected.get(key)));
    format!("the pane that ends at {pane}, key [{key}]: {} instead of {}", say(found), say(expected))
}

fn nothing(view: &View) -> Vec<Figures> {
    view.states.iter().map(|state| State::empty(state.kind).present(state)).collect()
}

/// The figures of each of a row's states.
pub fn figures(view: &View, rows: &Rows, i: usize) -> Vec<Figures> {
    rows.states.iter().zip(&view.states).map(|(column, state)| column.get(i).present(state)).collect()
}
