//! Tables that change: each update is the row before, taken back, and the row after. What the view says is a recount of the table.
use std::collections::BTreeMap;

use bytes::Bytes;
use seam_proof::dice::Dice;
use seam_proof::trial::{Record, beyond, by_offset, cut_anywhere, figures, run};
use seam_shared::config;
use seam_shared::time::Timestamp;
use seam_shared::view::aggregate::More;
use seam_shared::view::groups::Groups;
use seam_shared::view::value::Value;

use crate::layers::setting;

const CONFIG: &str = r#"
version: 1
sources:
  orders:
    partitions: 2
    retract: op = "delete"
    fields: { op: string, region: string, amount: decimal(2), weight: float }
views:
  by_region:
    from: orders
    dimensions: [region]
    pane: 1m
    measures: { orders: count(), amount: sum(amount), weight: avg(weight), large: count() where amount > 50 }
"#;

/// A row of the table: its region, its amount in cents and its weight.
type Order = (&'static str, i64, Option<f64>);

fn order(dice: &Dice) -> Order {
    let weight = [Some(0.1), Some(0.2), Some(1e17), Some(-3.5), None][dice.below(5) as usize];
    (dice.pick(&["eu", "us", "asia"]), dice.below(10_000) as i64 - 1_000, weight)
}

fn event(op: &str, (region, amount, weight): &Order, minute: u64) -> Record {
    let weight = weight.map_or("null".to_owned(), |weight| format!("{weight:e}"));
    let sign = if *amount < 0 { "-" } else { "" };
    let amount = format!("{sign}{}.{:02}", amount.abs() / 100, amount.abs() % 100);
    let time = format!("2026-06-01T00:{minute:02}:00Z");
    let text = format!(r#"{{"op":"{op}","region":"{region}","amount":{amount},"weight":{weight},"time":"{time}"}}"#);
    Record { partition: (minute % 2) as u32, value: Bytes::from(text) }
}

/// What a table says of a region: rows, amounts, weights that are there with their sum, and large orders.
fn recount(table: &BTreeMap<u64, Order>, region: &str) -> (i64, i64, Vec<f64>, i64) {
    let rows: Vec<&Order> = table.values().filter(|(of, ..)| *of == region).collect();
    let large = rows.iter().filter(|(_, amount, _)| *amount > 5_000).count() as i64;
    let weights = rows.iter().filter_map(|(.., weight)| *weight).collect();
    (rows.len() as i64, rows.iter().map(|(_, amount, _)| amount).sum(), weights, large)
}

/// A stream of changes and the table that they leave behind.
fn changes(dice: &Dice) -> (Vec<Record>, BTreeMap<u64, Order>) {
    let (mut records, mut table) = (Vec::new(), BTreeMap::new());
    for _ in 0..4 + dice.below(40) {
        let (key, new, minute) = (dice.below(8), order(dice), dice.below(5));
        // the row before is taken back at the time of the change, or not at all where there was none
        records.extend(table.remove(&key).map(|before| event("delete", &before, minute)));
        if !dice.one_in(4) {
            records.push(event("insert", &new, dice.below(5)));
            table.insert(key, new);
        }
    }
    (records, table)
}

#[tokio::test]
async fn retractions_leave_what_a_recount_of_the_table_says_wherever_the_seam_lies() {
    let config = cut_anywhere(&config::load(CONFIG, "orders.yaml").unwrap_or_else(|report| panic!("{report}")));
    let source = config.sources[0].clone();
    let views = config.views_of("orders");
    let view = &views[0];
    let state = |name: &str| view.measure(name).unwrap().state;
    let (mut emptied, mut below_zero) = (0, 0);
    for seed in 0..setting("SEAM_RETRACTION_SEEDS", 60) {
        let dice = Dice::new(seed);
        let (records, table) = changes(&dice);
        let cut = dice.below(records.len() as u64 + 1) as usize;
        let pipeline = run(&source, &views, &records, cut).await.unwrap();
        let (batch, covered) = pipeline.batch_rows(view).await.unwrap();
        let (speed, _) = beyond(&pipeline, view, &covered).await.unwrap();
        let joined = by_offset(view, &batch, &speed);
        let count_of = |row: usize| figures(view, &joined, row)[state("orders")].more.clone();
        below_zero += (0..joined.len()).filter(|row| matches!(count_of(*row), More::Net { count: ..0 })).count();
        let mut total = Groups::new(1, &view.kinds());
        let states: Vec<usize> = (0..view.states.len()).collect();
        total.merge_chosen(&joined, &[0], &states, |_| Some(Timestamp(0)));
        let total = total.into_rows();
        for row in 0..total.len() {
            let Value::Str(region) = total.value(0, row) else { panic!("a region is text") };
            let (count, amount, weights, large) = recount(&table, region);
            let found = figures(view, &total, row);
            let context = format!("seed {seed}, {region}, cut at {cut} of {}", records.len());
            let net = |name: &str| found[state(name)].more.clone();
            assert_eq!(net("orders"), More::Net { count }, "{context}");
            assert_eq!(net("large"), More::Net { count: large }, "{context}");
            let weight = seam_shared::view::oracle::exact_sum(&weights) / weights.len() as f64;
            let (mean, sum) = (&found[state("weight")].avg, &found[state("amount")].sum);
            if weights.is_empty() {
                assert_eq!(*mean, Value::Null, "{context}");
            } else {
                assert_eq!(*mean, Value::Float(weight), "{context}");
            }
            match count {
                0 => {
                    assert_eq!(*sum, Value::Null, "{context}: all of it was taken back");
                    emptied += 1;
                }
                _ => assert_eq!(*sum, Value::Decimal(amount.into(), 2), "{context}"),
            }
        }
        let held: std::collections::BTreeSet<String> =
            table.values().map(|(region, ..)| (*region).to_owned()).collect();
        assert!(held.len() <= total.len(), "seed {seed}: a region is missing");
    }
    assert!(emptied > 5 && below_zero > 60, "{emptied} regions emptied, {below_zero} panes below zero");
}
