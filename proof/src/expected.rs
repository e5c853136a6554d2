//! The tests of a configuration: each layer must give the rows that the file expects, the merged answer wherever the seam lies.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seam_ingest::door::partition_of;
use seam_serving::query::Question;
use seam_serving::{Serving, Settings, Stores};
use seam_shared::access::Caller;
use seam_shared::config::{Config, TestCase};
use seam_shared::error::{Error, Result};
use seam_shared::event::decode;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::Source;
use serde_json::{Map, Value as Json};

use crate::pipeline::Pipeline;
use crate::trial::{self, Record, cut_anywhere};

/// How a test went.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// Answers that were compared.
    pub answers: usize,
    /// What did not hold, in words; empty: the test passed.
    pub failures: Vec<String>,
}

/// Runs one test.
///
/// # Errors
/// Those of the layers, and a question that is refused.
pub async fn run(config: &Config, case: &TestCase) -> Result<Outcome> {
    let config = Arc::new(cut_anywhere(config));
    let source = config.source(&case.source).ok_or_else(|| Error::internal("a test's source is configured"))?;
    let records =
        case.events.iter().map(|event| record(source, event)).collect::<Result<Vec<(Timestamp, Record)>>>()?;
    let now = records.iter().map(|(time, _)| time.plus(Span(1)).ceil(Span::SECOND)).max().unwrap_or(trial::START);
    let records: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
    let mut outcome = Outcome { name: case.name.clone(), answers: 0, failures: Vec::new() };
    for layer in &case.layers {
        let cuts = match layer.as_str() {
            "speed" => 0..1,
            "batch" => records.len()..records.len() + 1,
            _ => 0..records.len() + 1,
        };
        for cut in cuts {
            let views = config.views_of(&source.name);
            let pipeline = trial::run(source, &views, &records, cut).await?;
            let points = ask(&config, &pipeline, case, layer, now).await?;
            outcome.answers += 1;
            if let Err(said) = compare(&points, &case.expect) {
                let place = if layer == "merged" {
                    format!(" with {cut} of {} events in batch", records.len())
                } else {
                    String::new()
                };
                outcome.failures.push(format!("{layer}{place}: {said}"));
                break;
            }
        }
    }
    Ok(outcome)
}

fn record(source: &Source, event: &str) -> Result<(Timestamp, Record)> {
    let checked = decode::check(source, event.as_bytes()).map_err(|rejection| Error::invalid(rejection.reason))?;
    let partition = partition_of(checked.id.as_deref(), event.as_bytes(), source.partitions);
    Ok((checked.time, Record { partition, value: Bytes::copy_from_slice(event.as_bytes()) }))
}

/// The rows of one layer's answer.
async fn ask(
    config: &Arc<Config>,
    pipeline: &Pipeline,
    case: &TestCase,
    layer: &str,
    now: Timestamp,
) -> Result<Vec<Json>> {
    let clock = Arc::new(seam_shared::clock::ManualClock::at(now));
    let stores = Stores { log: Some(pipeline.log.clone()), state: pipeline.state.clone(), lake: pipeline.lake.clone() };
    let settings = Settings { share_snapshots_for: Duration::ZERO, ..Settings::default() };
    let serving = Serving::new(config.clone(), stores, clock, Arc::new(Telemetry::new()), settings);
    serving.refresh().await?;
    let mut parameters = case.parameters.clone();
    parameters.push(("layer".to_owned(), layer.to_owned()));
    let refused = |refusal: seam_serving::query::Refusal| {
        Error::invalid(format!("the test `{}` cannot be asked: {}", case.name, refusal.detail))
    };
    let query = serving.parse(&Caller::trusted(), &case.metric, &parameters).map_err(refused)?;
    let answer = serving.answer(&Question::from(query), None).await.map_err(refused)?;
    let body: Json = answer
        .body
        .and_then(|body| serde_json::from_slice(&body).ok())
        .ok_or_else(|| Error::internal("an answer is JSON"))?;
    Ok(body["points"].as_array().cloned().unwrap_or_default())
}

/// Each expected row must be there, and no other; members that it does not name do not matter.
fn compare(points: &[Json], expect: &[Map<String, Json>]) -> std::result::Result<(), String> {
    let mut left: Vec<&Json> = points.iter().collect();
    for row in expect {
        let matches =
            |point: &&Json| row.iter().all(|(name, wanted)| same(wanted, point.get(name).unwrap_or(&Json::Null)));
        match left.iter().position(matches) {
            Some(at) => drop(left.remove(at)),
            None => {
                let wanted = Json::Object(row.clone());
                return Err(format!("no row is {wanted}; the answer is {}", Json::Array(points.to_vec())));
            }
        }
    }
    match left.first() {
        Some(point) => Err(format!("the row {point} was not expected")),
        None => Ok(()),
    }
}

/// Equal, numbers by their value: 2 is 2.0.
fn same(wanted: &Json, found: &Json) -> bool {
    match (wanted.as_f64(), found.as_f64()) {
        (Some(wanted), Some(found)) => wanted == found,
        _ => wanted == found,
    }
}
