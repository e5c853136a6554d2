//! What a seed is about: the configuration, and hostile events.
use std::fmt::Write;
use std::sync::Arc;

use seam_shared::config::{self, Config};

use crate::dice::Dice;

/// Where event times start.
pub const START: i64 = 1_780_272_000_000_000;

/// Measures whose partials are more than a few numbers; a seed has one of them.
const MORE: [&str; 7] = [
    "distinct(page)",
    "distinct(price)",
    "quantile(delay, 0.9)",
    "variance(price)",
    "stddev_pop(price)",
    "first(price)",
    "last(page)",
];

/// One source in one or two partitions, with small segments, and three or four views; the last one is to start later.
pub fn config(dice: &Dice) -> Arc<Config> {
    let (partitions, horizon) = (1 + dice.below(2), 1 + dice.below(30));
    let events = 1 + dice.below(if dice.one_in(4) { 12 } else { 4 });
    let max_records = 1 + dice.below(5);
    let (later, metric) = if dice.one_in(3) {
        (
            "  delays:\n    from: clicks\n    pane: 1m\n    windows: [1m]\n    measures: { delay: stats(delay) }",
            "  delays: { view: delays, measure: delay }",
        )
    } else {
        ("", "")
    };
    let counted = if dice.one_in(2) {
        format!("dimensions: [page]\n    count_window: {}", 1 + dice.below(4))
    } else {
        "dimensions: []".to_owned()
    };
    let more = dice.pick(&MORE);
    let text = format!(
        r#"
version: 1
name: simulation
sources:
  clicks:
    map: {{ id: $.id, time: $.time }}
    partitions: {partitions}
    segment: {{ events: {events}, interval: 10s }}
    dedupe: {{ horizon: {horizon}s, max_records: {max_records} }}
    fields: {{ page: string, price: "decimal(2)", delay: float }}
views:
  by_page:
    from: clicks
    dimensions: [page]
    pane: 1m
    windows: [1m, 5m]
    measures: {{ events: count(), price: stats(price), delay: stats(delay) }}
  pricey:
    from: clicks
    where: price > 1
    {counted}
    pane: 1m
    windows: [5m]
    measures: {{ events: count() }}
  more:
    from: clicks
    dimensions: [page]
    pane: 1m
    windows: [5m]
    measures: {{ more: "{more}" }}
{later}
metrics:
  events: {{ view: by_page, measure: events }}
  spend: {{ view: by_page, measure: price }}
  delay: {{ view: by_page, measure: delay }}
  pricey: {{ view: pricey, measure: events }}
  more: {{ view: more, measure: more }}
{metric}
"#
    );
    Arc::new(config::load(&text, "simulation.yaml").unwrap_or_else(|report| panic!("{report}")))
}

/// One record: few ids, times up to five minutes late, nulls, numbers that are none, now and then rubbish.
pub fn event(dice: &Dice) -> String {
    if dice.one_in(25) {
        return dice.pick(&["", "{", "[]", "{\"time\":\"never\"}"]).to_owned();
    }
    let time = (START - dice.below(300_000_000) as i64) / 1_000;
    let mut out = format!("{{\"time\":{time}");
    if dice.one_in(3) {
        let _ = write!(out, ",\"id\":\"{}\"", dice.below(12));
    }
    for (name, values) in [
        ("page", &["\"/\"", "\"/a\"", "\"\"", "\"null\"", "null"][..]),
        ("price", &["0.1", "1.25", "99.99", "-7", "null"]),
        ("delay", &["0.1", "0.2", "1e300", "-1e300", "\"NaN\"", "null"]),
    ] {
        let _ = write!(out, ",\"{name}\":{}", dice.pick(values));
    }
    out.push('}');
    out
}
