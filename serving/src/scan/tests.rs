//! Scans of roll-ups give what scans of the rows give.
use std::sync::Arc;

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::groups::Groups;
use seam_shared::view::value::Value;

use super::{Access, Piece, Scan};
use crate::block::Block;
use crate::block::key::BlockKey;
use crate::cache::BlockCache;
use crate::testing::{Dice, NOW, World};

#[tokio::test]
async fn a_roll_up_answers_as_its_rows_do() {
    let world = World::new(1);
    let serving = world.serving().await;
    let view = world.view("by_route");
    let mut dice = Dice(5);
    let mut groups = Groups::new(2, &view.kinds());
    let carriers = [Value::text("UA"), Value::text("AA"), Value::Null];
    let end = NOW.ceil(Span::MINUTE);
    for minute in 0..8 * 60 {
        for key in 0..30 {
            if dice.pick(5) > 0 {
                let origin = if key < 3 { Value::text("JFK") } else { Value::Int(key) };
                let codes = [groups.intern(0, &carriers[key as usize % 3]), groups.intern(1, &origin)];
                let row = groups.row(end.minus(Span(minute * Span::MINUTE.0)), &codes);
                for column in groups.states_mut() {
                    let number = dice.pick(1_000);
                    let value = [Value::Decimal(number.into(), 2), Value::Float(number as f64 / 8.0)];
                    column.lift(row, &value[usize::from(matches!(column, seam_shared::view::rows::States::Float(_)))]);
                }
            }
        }
    }
    let rows = groups.into_rows();
    let name = BlockKey::file(&view.id, "a");
    let plain = Arc::new(Block::sorted(rows.clone()));
    let named = Arc::new(Block::sorted(rows).named(&name));
    let cache = BlockCache::new(1 << 26);
    for (metric, dimension, condition) in [
        ("spend", "carrier", ""),
        ("spend", "", ""),
        ("processing.latency", "carrier:UA", ""),
        ("errors.rate", "carrier", ""),
        ("spend", "origin:JFK", ""),
        ("processing.latency", "origin", "carrier is null"),
        ("spend", "carrier,origin", ""),
    ] {
        for (window, step, to) in
            [("1h", "1h", 0), ("1h", "1h", 7), ("2h", "25m", 3), ("1m", "1m", 0), ("40m", "1h", 1)]
        {
            let to = end.minus(Span(to * Span::MINUTE.0));
            let from = Timestamp(to.0 - 7 * Span::HOUR.0).to_rfc3339();
            let texts = [
                ("dimension", dimension),
                ("where", condition),
                ("window", window),
                ("step", step),
                ("from", &from),
                ("to", &to.to_rfc3339()),
            ];
            let given = texts.into_iter().filter(|(_, text)| !text.is_empty());
            let parameters: Vec<(String, String)> = given.map(|(name, text)| (name.into(), text.into())).collect();
            let query = serving
                .parse(&seam_shared::access::Caller::trusted(), metric, &parameters)
                .unwrap_or_else(|refusal| panic!("{refusal:?}"));
            let access = Access::new(&query, &view);
            let [expected, rolled, again] = [&plain, &named, &named].map(|block| {
                let mut scan = Scan::new(&query);
                let share = scan.add(&access, block, &cache).expect("within the limits");
                (share, scan.finish().expect("within the limits"))
            });
            assert!(expected.0.rows > 100);
            assert_eq!(expected, rolled, "{parameters:?}");
            assert_eq!(expected, again, "{parameters:?}");
        }
    }
    let used = |shape| cache.get(&name.rolled_up(shape)).is_some();
    let [wide, wider] = [5, 15].map(|minutes| Some(Span(minutes * Span::MINUTE.0)));
    let widths = [(0b01, None), (0b01, wide), (0b00, wide), (0b10, wide), (0b11, wide), (0b01, wider), (0b11, wider)];
    for (dimensions, width) in widths {
        assert!(used(crate::block::key::Shape { dimensions, width }), "{dimensions:b} {width:?}");
    }
}

#[tokio::test]
async fn days_in_one_cell_are_scanned_as_runs() {
    let world = World::new(1);
    let serving = world.serving().await;
    let view = world.view("by_route");
    let (mut dice, end) = (Dice(9), NOW.floor(Span::DAY));
    let day = |day: i64| {
        let mut groups = Groups::new(2, &view.kinds());
        for _ in 0..40 {
            let key = [Value::Int(dice.pick(3) as i64), Value::text(&format!("o{}", dice.pick(9)))];
            let codes = [groups.intern(0, &key[0]), groups.intern(1, &key[1])];
            let pane = end.minus(Span(day * Span::DAY.0 + dice.pick(1_440) as i64 * Span::MINUTE.0));
            let (row, number) = (groups.row(pane, &codes), dice.pick(1_000));
            let value = [Value::Decimal(number.into(), 2), Value::Float(number as f64 / 8.0)];
            groups.states_mut().iter_mut().for_each(|column| {
                column.lift(row, &value[usize::from(matches!(column, seam_shared::view::rows::States::Float(_)))]);
            });
        }
        let block = Block::sorted(groups.into_rows());
        Piece::whole(Arc::new(block.named(&BlockKey::file(&view.id, &day.to_string()))))
    };
    let pieces: Vec<Piece> = (0..30).rev().map(day).collect();
    let cache = BlockCache::new(1 << 26);
    for (metric, dimension, window, days) in [
        ("spend", "carrier", "20d", 3),
        ("spend", "origin", "28d", 0),
        ("processing.latency", "", "28d", 1),
        ("errors.rate", "carrier", "15d", 5),
        ("spend", "carrier,origin", "9d", 2),
    ] {
        let at = end.minus(Span(days * Span::DAY.0)).to_rfc3339();
        let given = [("dimension", dimension), ("window", window), ("at", &at)];
        let given: Vec<(String, String)> = given.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        let query = serving.parse(&seam_shared::access::Caller::trusted(), metric, &given).expect("a query");
        let access = Access::new(&query, &view);
        let mut plain = Scan::new(&query);
        for Piece { block, part } in &pieces {
            plain.add_part(&access, block, *part, &cache).expect("within the limits");
        }
        let expected = plain.finish().expect("within the limits");
        assert!(!expected.is_empty());
        let counts = [1, 2, 3].map(|_| {
            let mut scan = Scan::new(&query);
            let joined = scan.joined(&access, &pieces, &cache).into_owned();
            for Piece { block, part } in &joined {
                scan.add_part(&access, block, *part, &cache).expect("within the limits");
            }
            assert_eq!(scan.finish().expect("within the limits"), expected, "{given:?}");
            joined.len()
        });
        assert!(counts[0] < pieces.len() && counts[1] <= counts[0] && counts[2] < counts[0], "{counts:?} {given:?}");
    }
}
