//! Figure: what each measure costs in the fold, what a partial of it takes, and how far estimates are off from the truth.
//!
//! `cargo bench -p seam-speed --bench measures -- [events]`. `SEAM_FLIGHTS` names a gzip of flights to measure the errors on, one JSON
//! object a line with `tailnum` and `delay_min`; those of the demo otherwise.
#[path = "fold/measure.rs"]
#[expect(dead_code, reason = "wall time and memory are told by the other bench")]
mod measure;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::num::NonZeroU64;
use std::sync::Arc;

use seam_shared::event::batch::{Column, EventBatch, Verdict};
use seam_shared::lake::view_file;
use seam_shared::log::Offset;
use seam_shared::segment::SegmentRule;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::aggregate::distinct::{Distinct, STANDARD_ERROR, hash_text};
use seam_shared::view::aggregate::partial::Aggregate;
use seam_shared::view::aggregate::quantiles::{PARTS_DEFAULT, Quantiles, accuracy};
use seam_shared::view::aggregate::unit::Unit;
use seam_shared::view::definition::{DimensionDefinition, Field, Source, StateDefinition, StateKind, View};
use seam_shared::view::expression::Expression;
use seam_shared::view::rows::{Rows, States};
use seam_shared::view::value::{FieldType, Value};
use seam_speed::fold::Fold;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const BATCH: usize = 8_192;
const USERS: u64 = 10_000_000;

fn main() {
    let events: usize = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    errors_on_flights();
    errors_on_users();
    costs(events);
    sizes();
}

/// Numbers that look random and are the same on every run.
struct Chance(u64);

impl Chance {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
    /// Times as they are on the web: most short, some very long.
    fn latency(&mut self) -> f64 {
        let uniform = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
        let normal: f64 = (0..12).map(|_| (self.bits() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0;
        (normal + 3.0).exp() + uniform
    }
}

const QUANTILES: [(&str, u32); 5] =
    [("p50", 500_000), ("p90", 900_000), ("p95", 950_000), ("p99", 990_000), ("p99.9", 999_000)];

fn errors_on_flights() {
    let path = std::env::var("SEAM_FLIGHTS").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/flights/departures.ndjson.gz").to_owned()
    });
    let mut text = String::new();
    let file = std::fs::File::open(&path).expect("the flights are there");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the flights are gzip");
    let (mut planes, mut exact) = (Distinct::default(), BTreeSet::new());
    let mut days: BTreeMap<String, (Distinct, BTreeSet<String>)> = BTreeMap::new();
    let (mut sketch, mut delays) = (Quantiles::default(), Vec::new());
    for line in text.lines() {
        let flight: serde_json::Value = serde_json::from_str(line).expect("a flight is JSON");
        if let Some(plane) = flight["tailnum"].as_str() {
            planes.insert(hash_text(plane));
            exact.insert(plane.to_owned());
            let month = flight["time"].as_str().unwrap_or_default().get(..7).unwrap_or_default();
            let (estimate, truth) = days.entry(month.to_owned()).or_default();
            estimate.insert(hash_text(plane));
            truth.insert(plane.to_owned());
        }
        if let Some(delay) = flight["delay_min"].as_i64() {
            sketch.lift_fixed(delay.into(), PARTS_DEFAULT);
            delays.push(delay);
        }
    }
    println!("{} flights", text.lines().count());
    let off = |estimate: u64, truth: usize| 100.0 * (estimate as f64 - truth as f64) / truth as f64;
    let (estimate, _) = planes.estimate();
    println!("  distinct tailnum: {estimate} for {}, off by {:+.2} %", exact.len(), off(estimate, exact.len()));
    let worst =
        days.values().map(|(estimate, truth)| off(estimate.estimate().0, truth.len()).abs()).fold(0.0, f64::max);
    println!("  by month ({} of them): at most {worst:.2} % off", days.len());
    delays.sort_unstable();
    let ranks = sketch.ranks(Unit::Scaled(0), PARTS_DEFAULT);
    for (name, millionths) in QUANTILES {
        let truth = delays[(delays.len() - 1) * millionths as usize / 1_000_000];
        let found = ranks.quantile(millionths).unwrap_or(f64::NAN);
        let off = 100.0 * (found - truth as f64).abs() / (truth as f64).abs();
        println!("  delay_min {name}: {found:.3} for {truth}, off by {off:.2} %");
        assert!(off <= 100.0 * accuracy(PARTS_DEFAULT) * (1.0 + 1e-9) || truth == 0, "beyond the promise");
    }
}

fn errors_on_users() {
    println!("\n{USERS} synthetic users (standard error {:.2} %)", 100.0 * STANDARD_ERROR);
    let steps = [1_025, 10_000, 100_000, 1_000_000, USERS];
    let mut squares = [0.0; 5];
    const SEEDS: u64 = 4;
    for seed in 0..SEEDS {
        let mut set = Distinct::default();
        let mut seen = 0;
        for (step, squares) in steps.iter().zip(&mut squares) {
            (seen..*step).for_each(|user| set.insert(hash_text(&format!("user-{seed}-{user}"))));
            seen = *step;
            let off = set.estimate().0 as f64 / *step as f64 - 1.0;
            *squares += off * off;
        }
    }
    for (step, squares) in steps.iter().zip(squares) {
        println!(
            "  distinct of {step}: {:.2} % off (root of the mean square of {SEEDS})",
            100.0 * (squares / SEEDS as f64).sqrt()
        );
    }
    let mut chance = Chance(7);
    let mut latencies: Vec<f64> = (0..USERS).map(|_| chance.latency()).collect();
    let mut sketch = Quantiles::default();
    latencies.iter().for_each(|latency| sketch.lift_double(*latency, PARTS_DEFAULT));
    latencies.sort_unstable_by(f64::total_cmp);
    let ranks = sketch.ranks(Unit::Double, PARTS_DEFAULT);
    for (name, millionths) in QUANTILES {
        let truth = latencies[((latencies.len() - 1) as u64 * u64::from(millionths) / 1_000_000) as usize];
        let off = (ranks.quantile(millionths).unwrap_or(f64::NAN) - truth).abs() / truth;
        println!("  latency {name}: {truth:.3}, off by {:.2} %", 100.0 * off);
        assert!(off <= accuracy(PARTS_DEFAULT) * (1.0 + 1e-9), "beyond the promise");
    }
}

fn source() -> Arc<Source> {
    let field = |name: &str, field_type| Field::new(name, vec![name.to_owned()], field_type);
    Arc::new(Source {
        name: "clicks".to_owned(),
        id: None,
        time: vec!["time".to_owned()],
        fields: vec![
            field("region", FieldType::String),
            field("user", FieldType::String),
            field("latency", FieldType::Float),
            field("price", FieldType::Decimal(2)),
        ],
        duplicates: None,
        segments: SegmentRule::default(),
        partitions: 1,
    })
}

/// A view of some keys that keeps a count and one more state.
fn view(source: &Arc<Source>, state: Option<StateDefinition>) -> Arc<View> {
    let count = StateDefinition::new(StateKind::Count, None);
    Arc::new(View {
        name: "v".to_owned(),
        id: "v@0".into(),
        source: source.clone(),
        filter: None,
        dimensions: vec![DimensionDefinition { name: "region".to_owned(), field: 0, field_type: FieldType::String }],
        keyed: false,
        count_window: None,
        pane: Span::MINUTE,
        windows: vec![Span::MINUTE],
        states: [count].into_iter().chain(state).collect(),
        measures: Vec::new(),
    })
}

fn batches(events: usize, keys: usize, users: u64) -> Vec<EventBatch> {
    let mut chance = Chance(1);
    let texts = |what: &str, n: u64| -> Arc<Vec<Value>> {
        Arc::new([Value::Null].into_iter().chain((0..n).map(|i| Value::text(&format!("{what}{i}")))).collect())
    };
    let (regions, people) = (texts("region", keys as u64), texts("user-", users));
    (0..events.div_ceil(BATCH))
        .map(|number| {
            let rows = BATCH.min(events - number * BATCH);
            let mut code = |n: u64| -> Vec<u32> { (0..rows).map(|_| 1 + (chance.bits() % n) as u32).collect() };
            let (region, user) = (code(keys as u64), code(users));
            let valid = vec![true; rows];
            let latencies = (0..rows).map(|_| chance.latency()).collect();
            let prices = (0..rows).map(|_| i128::from(chance.bits() % 100_000)).collect();
            let columns = vec![
                Column::Str(region),
                Column::Str(user),
                Column::Float(latencies, valid.clone()),
                Column::Decimal(prices, valid, 2),
            ];
            EventBatch {
                offsets: (0..rows).map(|i| Offset((number * BATCH + i) as u64)).collect(),
                log_times: vec![Timestamp(0); rows],
                verdicts: vec![Verdict::Counts; rows],
                times: (0..rows).map(|i| Timestamp((i % 50) as i64 * 1_000_000)).collect(),
                columns,
                dictionaries: vec![regions.clone(), people.clone(), Arc::default(), Arc::default()],
                ..EventBatch::default()
            }
        })
        .collect()
}

fn measures(source: &Source) -> Vec<(&'static str, StateDefinition)> {
    let general = |aggregate, field: usize| {
        StateDefinition::new(StateKind::Partial(aggregate, Unit::of(source.fields[field].field_type)), Some(field))
    };
    let bounds: Vec<Value> = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000].map(|n| Value::Float(n.into())).into();
    let some = Expression::parse("price > 500.00", &source.fields).expect("a condition");
    let some = Arc::new(some);
    let filtered = StateDefinition { filter: Some(some.clone()), ..StateDefinition::new(StateKind::Count, None) };
    let net = |field| StateDefinition { retract: Some(some.clone()), ..general(Aggregate::Net, field) };
    vec![
        ("stats (decimal)", StateDefinition::new(StateKind::Fixed { scale: 2 }, Some(3))),
        ("stats (float)", StateDefinition::new(StateKind::Float, Some(2))),
        ("count where", filtered),
        ("variance (decimal)", general(Aggregate::Variance, 3)),
        ("variance (float)", general(Aggregate::Variance, 2)),
        ("distinct (text)", general(Aggregate::Distinct, 1)),
        ("quantiles (decimal)", general(Aggregate::Quantiles(PARTS_DEFAULT), 3)),
        ("quantiles (float)", general(Aggregate::Quantiles(PARTS_DEFAULT), 2)),
        ("first (text)", general(Aggregate::First, 1)),
        ("last (text)", general(Aggregate::Last, 1)),
        ("histogram (float)", StateDefinition { bounds: bounds.into(), ..general(Aggregate::Histogram, 2) }),
        ("retracted (decimal)", net(3)),
        ("retracted (float)", net(2)),
    ]
}

fn fold(view: &Arc<View>, batches: &[EventBatch]) -> Rows {
    let mut fold = Fold::new(std::slice::from_ref(view), 0);
    for batch in batches {
        fold.begin(batch);
        fold.fold(batch, 0..batch.len(), &[0]);
    }
    let mut rows = fold.take_all(0);
    rows.sort();
    rows
}

fn costs(events: usize) {
    println!("\n{events} events over 100 keys, 100,000 users: processor time beside a count alone, best of {ROUNDS}");
    let source = source();
    let batches = batches(events, 100, 100_000);
    let time = |view: Arc<View>| {
        let rounds = (0..ROUNDS).map(|_| measure::round(|| fold(&view, &batches).len() as u64).0.processor);
        rounds.fold(f64::INFINITY, f64::min) / events as f64 * 1e9
    };
    let alone = time(view(&source, None));
    println!("  {:<22} {alone:>8.1} ns an event", "count alone");
    for (name, state) in measures(&source) {
        println!("  {name:<22} {:>+8.1} ns", time(view(&source, Some(state))) - alone);
    }
    let mut counted = View::clone(&view(&source, None));
    counted.dimensions.extend(DimensionDefinition::of_count_window());
    counted.count_window = NonZeroU64::new(1_000);
    println!("  {:<22} {:>+8.1} ns", "a count window of 1000", time(Arc::new(counted)) - alone);
}

fn sizes() {
    println!("\nbytes a group: in memory, as stored rows, in Redis, in Parquet");
    let source = source();
    for (groups, each) in [(1_000, 10), (200, 1_000), (20, 50_000)] {
        println!("  {groups} groups of {each} events");
        let batches = batches(groups * each, groups, 100_000);
        let empty = fold(&view(&source, None), &batches);
        let base = sizes_of(&view(&source, None), &empty);
        for (name, state) in measures(&source) {
            let view = view(&source, Some(state));
            let rows = fold(&view, &batches);
            let all = sizes_of(&view, &rows);
            let of = |i: usize| all[i].saturating_sub(base[i]) as f64 / rows.len() as f64;
            println!("    {name:<22} {:>9.0} {:>9.0} {:>9.0} {:>9.0}", of(0), of(1), of(2), of(3));
        }
    }
}

fn sizes_of(view: &View, rows: &Rows) -> [usize; 4] {
    let memory = rows.states.iter().map(|states| match states {
        States::Count(all) => size_of_val(&**all),
        States::Fixed(all) => size_of_val(&**all),
        States::Float(all) => size_of_val(&**all) + all.len() * 48,
        States::Partial(all) => size_of_val(&**all) + all.iter().map(|partial| partial.heap_bytes()).sum::<usize>(),
    });
    let encoded = rows.encode().len();
    // In Redis, a general partial is its bytes in base 64, and a separator.
    let general = |states: &States| match states {
        States::Partial(all) => all
            .iter()
            .map(|partial| {
                let mut bytes = Vec::new();
                partial.encode(&mut bytes);
                4 + bytes.len().div_ceil(3) * 4
            })
            .sum(),
        _ => 0,
    };
    let parquet = view_file::write(view, rows).expect("rows of the view").bytes.len();
    [memory.sum(), encoded, rows.states.iter().map(general).sum(), parquet]
}
