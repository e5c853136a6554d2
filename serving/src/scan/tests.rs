//! Scans of roll-ups give what scans of the rows give.
use std::sync::Arc;

use seam_shared::time::{Span, Timestamp};
use seam_shared::view::groups::Groups;
use seam_shared::view::value::Value;

use super::{Access, Scan};
use crate::block::Block;
use crate::cache::{BlockCache, BlockKey};
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
        assert!(used(crate::block::Shape { dimensions, width }), "{dimensions:b} {width:?}");
    }
}
