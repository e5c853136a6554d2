//! A source whose fields change while its log and archive stay: a field is added, a number becomes wider. Both layers read every event
//! by the fields that there are now, those of before too, and agree bit for bit.
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use seam_batch::archive::Settings as ArchiverSettings;
use seam_batch::job::{Outcome, Status};
use seam_batch::verify::verify;
use seam_shared::config::Config;
use seam_shared::error::Kind;
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::log::{EventLog, Offset};
use seam_shared::time::Span;
use seam_shared::view::oracle::Oracle;
use seam_tests::dice::Dice;
use seam_tests::pipeline::Pipeline;
use serde_json::{Value as Json, json};

use crate::layers::setting;
use crate::life::{NOW, ask, pipeline, stamp};
use crate::vectors::{cold_serving, load};

fn config(fields: &str, dimensions: &str) -> Arc<Config> {
    let text = format!(
        r#"
version: 1
sources:
  clicks:
    map: {{ id: $.id, time: $.time }}
    partitions: 2
    segment: {{ events: 5, interval: 10s }}
    dedupe: {{ horizon: 1h, max_records: 6 }}
    fields: {{ {fields} }}
views:
  by_key:
    from: clicks
    dimensions: [{dimensions}]
    pane: 1m
    windows: [5m]
    measures: {{ events: count(), price: stats(price) }}
metrics:
  events: {{ view: by_key, measure: events }}
  price: {{ view: by_key, measure: price.sum }}
"#
    );
    load(&text)
}

const OLD: &str = "region: string, price: int";
const NEW: &str = "region: string, price: { type: decimal(2), was: int }, coupon: { type: string, optional: true }";

/// Events as they came before anybody declared `coupon`; some have one, some of another type. `cents`: prices may have them.
async fn produce(dice: &Dice, pipeline: &Pipeline, records: u64, cents: bool) {
    for _ in 0..records {
        pipeline.clock.advance(dice.below(3) as i64 * 1_500_000);
        let time = NOW.minus(Span(dice.below(12 * 60) as i64 * Span::SECOND.0));
        let coupon = dice.pick(&["\"spring\"", "\"autumn\"", "7", "null", "[1]"]);
        let coupon = serde_json::from_str::<Json>(coupon).unwrap();
        let mut event = json!({
            "id": format!("e{}", dice.below(60)), "time": time.to_rfc3339(), "region": dice.pick(&["eu", "us"]),
            "price": dice.below(1_000), "coupon": coupon,
        });
        if cents && dice.one_in(2) {
            event["price"] = json!(dice.below(1_000) as f64 / 4.0);
        }
        if dice.one_in(10) {
            event["region"] = json!(1); // refused, by both definitions
        }
        pipeline.append(dice.below(2) as u32, Bytes::from(event.to_string())).await;
    }
}

/// What the log says, by the fields that the source has now.
async fn oracle(pipeline: &Pipeline) -> Oracle {
    let mut oracle = Oracle::default();
    for number in 0..2 {
        let chunk = pipeline.log.read(&pipeline.partition(number), Offset(0), usize::MAX, usize::MAX).await.unwrap();
        let mut batch = Decoder::new(pipeline.source.clone()).decode(&chunk);
        Duplicates::new(pipeline.source.duplicates).mark(&mut batch);
        oracle.keep(number, &batch);
    }
    oracle
}

fn files(outcomes: &[Outcome]) -> u64 {
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Published), "{outcomes:?}");
    outcomes[0].generation.unwrap()
}

#[tokio::test]
async fn events_of_before_are_read_by_the_fields_of_now_in_both_layers() {
    let seeds = setting("SEAM_LIFE_SEEDS", 20);
    let (mut coupons, mut duplicates) = (0, 0);
    for seed in 0..seeds {
        let dice = Dice::new(seed);
        let (old, new) = (config(OLD, "region"), config(NEW, "region, coupon"));
        let before = pipeline(&old).await;
        produce(&dice, &before, 60, false).await;
        before.fold().await.unwrap();
        before.archive().await.unwrap();
        before.recompute(false).await.unwrap();
        let mut late = before.archiver(0, ArchiverSettings::default()).await.unwrap();
        // the new file: the same log, state and lake
        let after = before.redefined(new.sources[0].clone(), new.views.clone());
        let version = before.archive_table().await.unwrap().latest().await.unwrap().version;
        assert_eq!(after.archive_table().await.unwrap().latest().await.unwrap().version, version + 1, "one commit");
        assert_eq!(after.archive_table().await.unwrap().latest().await.unwrap().version, version + 1, "and no other");
        after.fold().await.unwrap();
        produce(&dice, &after, 40, true).await;
        // somebody who still runs with the old file archives nothing more
        let refused = late.drain().await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert!(refused.message().contains("newer configuration"), "{refused}");
        after.fold().await.unwrap();
        after.archive().await.unwrap();
        files(&after.recompute(false).await.unwrap());
        produce(&dice, &after, 40, true).await;
        after.fold().await.unwrap();
        after.archive().await.unwrap();
        let outcomes = after.recompute(false).await.unwrap();
        let number = files(&outcomes);
        assert_eq!(serde_json::to_value(&outcomes[0].drift).unwrap()["groups"], 0, "seed {seed}: {outcomes:?}");
        // as if the archive had always been that of the new fields
        let anew = before.redefined(new.sources[0].clone(), new.views.clone()).apart(Arc::new(InMemory::new()));
        anew.fold().await.unwrap();
        anew.archive().await.unwrap();
        anew.recompute(true).await.unwrap();
        let view = &new.views[0];
        let (one, two) = (after.view_table(view).at(number).await.unwrap(), anew.view_table(view).at(1).await.unwrap());
        assert_eq!(one.cut, two.cut);
        let hashes = |generation: &seam_shared::lake::views::Generation| -> Vec<String> {
            generation.files.iter().map(|file| file.blake3.clone()).collect()
        };
        assert_eq!(hashes(&one), hashes(&two), "seed {seed}: the same rows, whatever the files were written by");
        let (batch, _) = after.batch_rows(view).await.unwrap();
        assert_eq!(batch.encode(), anew.speed_rows(view).await.unwrap().closed.encode(), "seed {seed}");
        // and both are what the log says
        let truth = oracle(&after).await;
        for layer in ["batch", "merged", "speed"] {
            let serving = cold_serving(&new, if layer == "speed" { &anew } else { &after });
            serving.refresh().await.unwrap();
            let body = ask(&serving, "events", &[("dimension", "coupon"), ("layer", layer)]).await;
            let body: Json = serde_json::from_slice(&body.unwrap()).unwrap();
            let covered = stamp(&body, &[&new]).1;
            let coupon = view.dimension("coupon").unwrap();
            let kept = truth.answer(view, &[coupon], (NOW.minus(Span(5 * Span::MINUTE.0)), NOW), &covered);
            let mut expected: Vec<(String, u64)> = kept.iter().map(|(key, f)| (key[0].to_json(), f[0].count)).collect();
            let points = body["points"].as_array().unwrap();
            let mut told: Vec<(String, u64)> =
                points.iter().map(|point| (point["coupon"].to_string(), point["value"].as_u64().unwrap())).collect();
            expected.sort();
            told.sort();
            assert_eq!(told, expected, "seed {seed}, {layer}");
            coupons += told.len();
        }
        // who asks by the definition before still reads it
        let reader = ArchiveTable::existing(after.lake.clone(), &old.sources[0], after.clock.clone()).await;
        assert!(reader.unwrap().is_some(), "seed {seed}");
        let table = after.archive_table().await.unwrap();
        let report = verify(&table, &new.sources[0]).await.unwrap();
        duplicates += report.duplicates;
        assert!(report.problems.is_empty() && report.invalid > 0, "seed {seed}: {report:?}");
    }
    println!("{seeds} sources, {coupons} groups the same, {duplicates} duplicates");
    assert!(coupons as u64 > 8 * seeds && duplicates > seeds, "{coupons} {duplicates}");
}

/// What an archive cannot follow is refused, and the refusal names the field and what to do.
#[tokio::test]
async fn fields_that_do_not_only_grow_are_refused_by_name() {
    let dice = Dice::new(7);
    let old = config(OLD, "region");
    let before = pipeline(&old).await;
    produce(&dice, &before, 40, false).await;
    before.archive().await.unwrap();
    let cases = [
        ("region: string, price: int, coupon: string", "`coupon` is new", "coupon: { type: string, optional: true }"),
        ("price: int, region: { type: string, path: $.area }", "`region` lay at $.region", "another name"),
        (
            "region: string, price: decimal(2)",
            "`price` was int and now is decimal(2)",
            "{ type: decimal(2), was: int }",
        ),
        ("region: string, price: float", "`price` was int and now is float", "undo the change"),
        ("region: { type: string, optional: true }, price: int", "`region` was not optional", "undo the change"),
        ("region: string, price: int, other: { type: int, optional: true }", "", ""),
        ("region: string, price: int", "`other` is in its events", "declare it again"),
    ];
    for (fields, what, how) in cases {
        let config = config(fields, "region");
        let after = before.redefined(config.sources[0].clone(), config.views.clone());
        match after.archive_table().await {
            Ok(_) => assert!(what.is_empty(), "{fields}"),
            Err(refused) => {
                assert_eq!(refused.kind(), Kind::Invalid);
                let message = refused.message();
                assert!(!what.is_empty() && message.contains(what) && message.contains(how), "{fields}: {message}");
            }
        }
    }
}

/// A wider type must not let an event count that was refused when it was archived.
#[tokio::test]
async fn a_wider_type_that_would_change_what_counted_is_refused() {
    let (old, new) = (config(OLD, "region"), config(NEW, "region"));
    let before = pipeline(&old).await;
    produce(&Dice::new(3), &before, 20, false).await;
    let event = json!({"id": "x", "time": NOW.to_rfc3339(), "region": "eu", "price": 1.5});
    let offset = before.append(1, Bytes::from(event.to_string())).await;
    produce(&Dice::new(4), &before, 40, false).await;
    before.archive().await.unwrap();
    let after = before.redefined(new.sources[0].clone(), new.views.clone());
    let refused = after.archive_table().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    let said = format!("offset {offset} was refused when it came and would be valid now");
    assert!(refused.message().contains(&said), "{refused}");
}

/// A field that only some views read changes the identity of those alone; a wider number that of all.
#[test]
fn a_new_field_leaves_the_views_that_do_not_read_it_what_they_are() {
    let id = |fields: &str, dimensions: &str| config(fields, dimensions).views[0].id.clone();
    let added = "region: string, price: int, coupon: { type: string, optional: true }";
    assert_eq!(id(OLD, "region"), id(added, "region"));
    assert_ne!(id(added, "region"), id(added, "region, coupon"));
    let wide = "region: { type: string }, price: int, other: { type: decimal(4), was: decimal(2) }";
    let narrow = "region: { type: string }, price: int, other: decimal(4)";
    assert_ne!(id(wide, "region"), id(narrow, "region"));
}
