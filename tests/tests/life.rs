//! The life of a view over time: a definition that changes in the middle of a stream, and a deployment without a batch layer.
//! Every answer is exact at its own stamp, by the definition that the stamp names.
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use seam_serving::Serving;
use seam_shared::access::Caller;
use seam_shared::clock::Clock;
use seam_shared::config::Config;
use seam_shared::event::decode::Decoder;
use seam_shared::lake::editions::Editions;
use seam_shared::log::{EventLog, OffsetVector};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::oracle::Oracle;
use seam_speed::worker::{Limits, Step};
use seam_tests::dice::Dice;
use seam_tests::pipeline::Pipeline;
use serde_json::{Value as Json, json};

use crate::layers::setting;
use crate::vectors::{cold_serving, load};

pub const NOW: Timestamp = Timestamp(1_780_272_000_000_000 + 12 * Span::HOUR.0);

pub fn config(pane: &str, dimensions: &str, condition: &str) -> Arc<Config> {
    let text = format!(
        r#"
version: 1
sources:
  clicks:
    map: {{ time: $.time }}
    partitions: 2
    segment: {{ events: 5, interval: 10s }}
    fields: {{ region: string, product: string, price: "decimal(2)", delay: float }}
views:
  by_key:
    from: clicks
    where: {condition}
    dimensions: [{dimensions}]
    pane: {pane}
    windows: [5m]
    measures: {{ events: count(), price: stats(price), delay: stats(delay) }}
metrics:
  events: {{ view: by_key, measure: events }}
  price: {{ view: by_key, measure: price }}
  delay: {{ view: by_key, measure: delay }}
"#
    );
    load(&text)
}

pub async fn pipeline(config: &Arc<Config>) -> Pipeline {
    Pipeline::new(config.sources[0].clone(), config.views.clone(), Arc::new(InMemory::new()), NOW).await
}

/// Appends random events, some of them late, some with nothing in them.
pub async fn produce(dice: &Dice, pipeline: &Pipeline, records: u64) {
    for _ in 0..records {
        pipeline.clock.advance(dice.below(3) as i64 * 1_500_000);
        let time = NOW.minus(Span(dice.below(12 * 60) as i64 * Span::SECOND.0));
        let event = json!({
            "time": time.to_rfc3339(),
            "region": serde_json::from_str::<Json>(dice.pick(&["\"eu\"", "\"us\"", "null"])).unwrap(),
            "product": format!("p{}", dice.below(3)),
            "price": dice.below(1_000),
            "delay": dice.below(1_000) as f64 / 7.0,
        });
        pipeline.append(dice.below(2) as u32, Bytes::from(event.to_string())).await;
    }
}

/// What the log says, decoded as the source of a configuration has it.
pub async fn oracle(pipeline: &Pipeline, config: &Config) -> Oracle {
    let mut oracle = Oracle::default();
    for number in 0..2 {
        let chunk = pipeline.log.read(&pipeline.partition(number), Default::default(), usize::MAX, usize::MAX).await;
        oracle.keep(number, &Decoder::new(config.sources[0].clone()).decode(&chunk.unwrap()));
    }
    oracle
}

pub async fn ask(serving: &Serving, metric: &str, parameters: &[(&str, &str)]) -> Result<Vec<u8>, String> {
    let mut all = vec![("window".to_owned(), "5m".to_owned()), ("at".to_owned(), NOW.to_rfc3339())];
    all.extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let query = serving.parse(&Caller::trusted(), metric, &all).map_err(|refusal| refusal.detail)?;
    let answer = serving.answer(&query.into(), None).await.map_err(|refusal| refusal.detail)?;
    Ok(answer.body.unwrap().to_vec())
}

/// The view that an answer's stamp names, and how far the answer reaches.
pub fn stamp(body: &Json, configs: &[&Arc<Config>]) -> (Arc<View>, OffsetVector) {
    let stamp = &body["meta"]["stamp"]["views"][0];
    let view = configs.iter().flat_map(|config| &config.views).find(|view| *view.id == *stamp["id"].as_str().unwrap());
    let reached = OffsetVector::parse_text(stamp["coverage"]["text"].as_str().unwrap()).unwrap();
    (view.expect("the stamp names a definition").clone(), reached.into_values().next().unwrap_or_default())
}

/// A definition changes while events come, both are folded by workers of their own, in any order and with batch runs in between: every
/// answer is what its own definition says of the log up to its own coverage, which never goes back.
#[tokio::test]
async fn a_definition_that_changes_in_the_middle_of_a_stream_never_shows_a_wrong_number() {
    let seeds = setting("SEAM_LIFE_SEEDS", 30);
    let (mut by_old, mut by_new, mut while_building) = (0, 0, 0);
    for seed in 0..seeds {
        let dice = Dice::new(seed);
        let old = config("1m", "region, product", "price >= 0");
        let new = config(
            dice.pick(&["30s", "5m"]),
            dice.pick(&["region", "region, product"]),
            dice.pick(&["price > 300", "price >= 0"]),
        );
        let before = pipeline(&old).await;
        let clock: Arc<dyn Clock> = before.clock.clone();
        let editions = Editions::new(before.lake.clone(), clock);
        editions.register(&old, Span::HOUR).await.unwrap();
        produce(&dice, &before, 20 + dice.below(60)).await;
        before.fold().await.unwrap();
        if dice.one_in(2) {
            before.archive().await.unwrap();
            before.recompute(false).await.unwrap();
        }
        // the new file: the same log, state and lake
        let after = before.redefined(new.sources[0].clone(), new.views.clone());
        if dice.one_in(2) {
            editions.register(&new, Span::HOUR).await.unwrap();
        }
        let serving = cold_serving(&new, &after);
        serving.refresh().await.unwrap();
        let (mut reached, mut taken_over) = (OffsetVector::default(), false);
        for _ in 0..40 {
            match dice.below(6) {
                0 => produce(&dice, &before, 1 + dice.below(8)).await,
                1 => fold_some(&dice, &before).await,
                2 | 3 => fold_some(&dice, &after).await,
                4 if dice.one_in(4) => {
                    after.archive().await.unwrap();
                    after.recompute(false).await.unwrap();
                }
                _ => serving.refresh().await.unwrap(),
            }
            let Ok(body) = ask(&serving, "events", &[("dimension", "region")]).await else {
                panic!("seed {seed}: somebody always answers");
            };
            let body: Json = serde_json::from_slice(&body).unwrap();
            let (view, covered) = stamp(&body, &[&old, &new]);
            check(&oracle(&before, &old).await, &view, &body, &covered, seed);
            assert!(covered.covers(&reached), "seed {seed}: an answer went back");
            reached = covered;
            let is_new = view.id == new.views[0].id;
            assert!(is_new || !taken_over, "seed {seed}: a name that was taken over is kept");
            taken_over |= is_new;
            by_old += u64::from(!is_new);
            by_new += u64::from(is_new);
            while_building += u64::from(body["meta"]["stamp"]["views"][0]["building"].is_string());
        }
        after.fold().await.unwrap();
        serving.refresh().await.unwrap();
        let body: Json = serde_json::from_slice(&ask(&serving, "events", &[]).await.unwrap()).unwrap();
        assert_eq!(stamp(&body, &[&old, &new]).0.id, new.views[0].id, "seed {seed}: in the end the new one is whole");
    }
    println!("{seeds} streams: {by_old} answers by the old definition, {by_new} by the new one");
    assert!(by_old > 3 * seeds && by_new > 3 * seeds && while_building > seeds, "{by_old} {by_new} {while_building}");
}

/// A few steps of a worker that knows nothing, as after a crash.
pub async fn fold_some(dice: &Dice, pipeline: &Pipeline) {
    let number = dice.below(2) as u32;
    let mut worker = pipeline.worker(number, Limits { records: 1 + dice.below(20) as usize, bytes: 1 << 20 });
    for _ in 0..1 + dice.below(8) {
        if worker.step().await.unwrap() == Step::Idle {
            return;
        }
    }
}

/// Counts by region, as the oracle has them.
pub fn check(oracle: &Oracle, view: &View, body: &Json, covered: &OffsetVector, seed: u64) {
    let region = view.dimension("region").expect("both definitions have it");
    let kept = oracle.answer(view, &[region], (NOW.minus(Span(5 * Span::MINUTE.0)), NOW), covered);
    let mut expected: Vec<(String, u64)> = kept.iter().map(|(key, f)| (key[0].to_json(), f[0].count)).collect();
    let points = body["points"].as_array().unwrap();
    let mut told: Vec<(String, u64)> =
        points.iter().map(|point| (point["region"].to_string(), point["value"].as_u64().unwrap())).collect();
    expected.sort();
    told.sort();
    assert_eq!(told, expected, "seed {seed}: {} at {}", view.id, covered.to_text("clicks"));
}

/// Without archive and batch the same log gives the same bytes, at the same vector.
#[tokio::test]
async fn kappa_answers_are_those_of_lambda_byte_for_byte() {
    let seeds = setting("SEAM_LIFE_SEEDS", 30);
    let (mut compared, mut with_both_halves) = (0, 0);
    for seed in 0..seeds {
        let dice = Dice::new(seed);
        let config = config(dice.pick(&["30s", "1m"]), "region, product", "price >= 100");
        let lambda = pipeline(&config).await;
        let kappa = lambda.apart(Arc::new(InMemory::new()));
        for _ in 0..4 {
            produce(&dice, &lambda, 5 + dice.below(40)).await;
            lambda.fold().await.unwrap();
            if !dice.one_in(4) {
                lambda.archive().await.unwrap();
                lambda.recompute(dice.one_in(3)).await.unwrap();
            }
            kappa.fold().await.unwrap();
            let both = [cold_serving(&config, &lambda), cold_serving(&config, &kappa)];
            for serving in &both {
                serving.refresh().await.unwrap();
            }
            for metric in ["events", "price", "delay"] {
                for parameters in [&[][..], &[("dimension", "product,region")], &[("from", "now-12m"), ("step", "1m")]]
                {
                    let parameters: Vec<(&str, &str)> = parameters.to_vec();
                    let ranged = parameters.iter().any(|(name, _)| *name == "from");
                    let mut bodies = Vec::new();
                    for serving in &both {
                        let body = if ranged {
                            ask_range(serving, metric).await
                        } else {
                            ask(serving, metric, &parameters).await
                        };
                        bodies.push(String::from_utf8(body.unwrap()).unwrap());
                    }
                    let stamps =
                        bodies.iter().map(|body| serde_json::from_str::<Json>(body).unwrap()["meta"]["stamp"].clone());
                    let stamps: Vec<Json> = stamps.collect();
                    assert_eq!(stamps[0]["coverage"], stamps[1]["coverage"], "seed {seed}");
                    assert!(stamps[1]["views"][0]["generation"].is_null());
                    with_both_halves += u64::from(!stamps[0]["views"][0]["generation"].is_null());
                    let points = |body: &str| body.split("\"meta\":").next().map(str::to_owned);
                    assert_eq!(points(&bodies[0]), points(&bodies[1]), "seed {seed}, {metric}");
                    assert!(bodies[0].find("\"points\":") < bodies[0].find("\"meta\":"), "points are compared");
                    compared += 1;
                }
            }
        }
    }
    println!("{compared} answers the same, {with_both_halves} of them from a generation and speed state");
    assert!(with_both_halves > compared / 2);
}

async fn ask_range(serving: &Serving, metric: &str) -> Result<Vec<u8>, String> {
    let parameter = |name: &str, value: String| (name.to_owned(), value);
    let from = NOW.minus(Span(12 * Span::MINUTE.0)).to_rfc3339();
    let all = [parameter("window", "1m".into()), parameter("from", from), parameter("to", NOW.to_rfc3339())];
    let query = serving.parse(&Caller::trusted(), metric, &all).map_err(|refusal| refusal.detail)?;
    let answer = serving.answer(&query.into(), None).await.map_err(|refusal| refusal.detail)?;
    Ok(answer.body.unwrap().to_vec())
}
