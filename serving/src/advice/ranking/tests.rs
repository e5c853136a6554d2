//! What is read of a ranking has the first items of all, however the rows are spread over its layers.
use std::collections::BTreeMap;

use seam_shared::access::Caller;
use seam_shared::config;
use seam_shared::time::Span;
use seam_shared::view::definition::StateKind;
use seam_shared::view::groups::Groups;
use seam_shared::view::rows::Rows;

use super::super::score::{Formula, Score};
use super::*;
use crate::testing::Dice;

const DAY: i64 = Span::DAY.0;
const NOW: i64 = 100 * DAY;

fn counting(by_amount: bool) -> Arc<Counting> {
    let text = "{version: 1, sources: {s: {}}, views: {v: {from: s, dimensions: [a, b], pane: 1d, windows: [1d], measures: {n: count()}}}}";
    let config = config::load(text, "test").expect("a file");
    let admission = Caller::trusted().admit(&config.views[0]).expect("everything may be seen");
    let decay = Decay { until: Timestamp(NOW), half_life: Span(2 * DAY) };
    Arc::new(Counting { states: vec![(0, 1_000)], after: Timestamp(NOW - 10 * DAY), decay, by_amount, admission })
}

/// Rows of (pane, item, category, events).
fn block(rows: &[(i64, Value, Value, u64)]) -> Block {
    let mut groups = Groups::new(2, &[StateKind::Count]);
    for (pane, item, category, events) in rows {
        let key = [groups.intern(0, item), groups.intern(1, category)];
        let row = groups.row(Timestamp(*pane), &key);
        let States::Count(counts) = &mut groups.states_mut()[0] else { panic!("a count") };
        counts[row] += events;
    }
    Block::unsorted(Arc::new(groups.into_rows()))
}

fn ranking(by_amount: bool, below: Option<Arc<Ranking>>, blocks: &[Block]) -> Arc<Ranking> {
    let builder = Builder::new(below, counting(by_amount), (0, Some(1)));
    Arc::new(blocks.iter().try_fold(builder, |builder, block| builder.add(block)).expect("few items").finish())
}

/// Random rows: many items that are alike, some popular ones, some without a category or with several.
fn rows(dice: &mut Dice, number: usize) -> Vec<(i64, Value, Value, u64)> {
    let row = |_| {
        let item = match dice.pick(4) {
            0 => dice.pick(20),
            _ => dice.pick(3_000),
        };
        let category = match dice.pick(10) {
            0 => Value::Null,
            1 => Value::Int(dice.pick(4) as i64),
            _ => Value::Int((item % 4) as i64),
        };
        let name = if dice.pick(500) == 0 { Value::Null } else { Value::Int(item as i64) };
        (NOW - dice.pick(12) as i64 * DAY, name, category, 1 + dice.pick(3) / 2)
    };
    (0..number).map(row).collect()
}

#[test]
fn what_is_read_has_the_first_items_of_all() {
    for seed in 1..6 {
        let mut dice = Dice(seed * 77 + 1);
        let parts = [rows(&mut dice, 20_000), rows(&mut dice, 300), rows(&mut dice, 30)];
        for (interest, popularity, recency) in
            [(600, 300, 100), (0, 0, 1_000), (10, 990, 0), (1_000, 0, 0), (1_000, 1, 0)]
        {
            let weights = config::Weights { interest, popularity, recency };
            let made = |below, blocks: &[Block]| ranking(popularity > 0, below, blocks);
            let base = made(None, &[block(&parts[0][..9_000]), Block::sorted(rows_of(&parts[0][9_000..]))]);
            let closed = made(Some(base), &[block(&parts[1])]);
            let layered = made(Some(closed), &[block(&parts[2])]);
            let whole = made(None, &[block(&parts.concat())]);
            assert_eq!((layered.count(), layered.most()), (whole.count(), whole.most()));
            let all = first(&whole, whole.items.iter().collect(), weights);
            assert_eq!(all.len(), LISTED);
            for ranking in [&whole, &layered] {
                let codes: Vec<u32> = interests().keys().filter_map(|name| ranking.category(name)).collect();
                let read = |limit| ranking.candidates(&codes, std::iter::empty(), limit);
                assert!(read(LISTED).len() < ranking.count(), "not everything is read");
                assert_eq!(first(ranking, read(LISTED), weights), all, "seed {seed} {weights:?}");
                assert_eq!(first(ranking, read(7), weights)[..7], all[..7], "seed {seed} {weights:?}");
            }
        }
    }
}

fn interests() -> BTreeMap<Value, u64> {
    [(Value::Int(1), 1_000_000), (Value::Int(3), 400_000)].into()
}

/// The first of some items, by the formula.
fn first(ranking: &Ranking, found: Vec<(&Value, &Tally)>, weights: config::Weights) -> Vec<(Score, Value)> {
    let formula = Formula { weights, most: ranking.most() };
    let (interests, decay) = (interests(), counting(true).decay);
    let interest = |tally: &Tally| {
        let of = |code: &u32| interests.get(ranking.name(*code)).copied();
        tally.categories.iter().filter_map(of).max().unwrap_or(0)
    };
    let score = |tally: &Tally| formula.score(interest(tally), tally.amount, decay.recency(tally.last));
    let mut scored: Vec<_> = found.into_iter().map(|(item, tally)| (score(tally), item.clone())).collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    scored.truncate(LISTED);
    scored
}

fn rows_of(rows: &[(i64, Value, Value, u64)]) -> Rows {
    match block(rows) {
        Block::AsHeld(rows) => rows.as_ref().clone(),
        Block::ByKey(_) => panic!("it is as held"),
    }
}

#[test]
fn there_may_be_only_so_many_items() {
    const MOST: usize = 20_000;
    let builder = |below| Builder { items_max: MOST, ..Builder::new(below, counting(true), (0, Some(1))) };
    let item = |i: usize| (NOW, Value::Int(i as i64), Value::Null, 1);
    let all: Vec<_> = (0..MOST).map(item).collect();
    let whole = Arc::new(builder(None).add(&block(&all)).expect("so many may be").finish());
    assert_eq!((whole.count(), Builder::new(None, counting(true), (0, None)).items_max), (MOST, ITEMS_MAX));
    assert_eq!(whole.candidates(&[], std::iter::empty(), LISTED).len(), LISTED);
    let of_item = whole.bytes() / MOST;
    assert!((80..200).contains(&of_item), "{of_item} bytes an item");
    assert!(builder(Some(whole.clone())).add(&block(&[item(5)])).is_ok(), "no new one");
    let refused = builder(Some(whole)).add(&block(&[item(MOST)]));
    assert_eq!(refused.expect_err("one too many").kind(), Kind::TooLarge);
}

/// What that takes is printed: `cargo test --release -p seam -p seam-serving --lib -- --nocapture of_a_million_items`.
#[test]
fn of_a_million_items_some_hundreds_are_candidates() {
    let row = |i: u64| {
        (
            NOW - (i % 10) as i64 * DAY,
            Value::text(&format!("item-{:07}", i * 7 % 1_000_000)),
            Value::Int((i % 1_000) as i64),
            1,
        )
    };
    let rows = |n: u64| block(&(0..n).map(row).collect::<Vec<_>>());
    let (all, open) = (rows(1_000_000), rows(10_000));
    let begun = std::time::Instant::now();
    let whole = ranking(true, None, &[all]);
    println!("{} items: {:?}, {} bytes", whole.count(), begun.elapsed(), whole.bytes());
    assert_eq!(whole.count(), 1_000_000);
    let begun = std::time::Instant::now();
    let whole = ranking(true, Some(whole), &[open]);
    println!("10,000 open rows over them: {:?}", begun.elapsed());
    let (begun, codes) = (std::time::Instant::now(), (0..20).collect::<Vec<_>>());
    let found = whole.candidates(&codes, std::iter::empty(), 10).len();
    println!("{found} candidates of 20 categories: {:?}", begun.elapsed());
    assert!((10..1_000).contains(&found), "{found} candidates");
}
