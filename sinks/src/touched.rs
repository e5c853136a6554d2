//! The windows and keys that events fall in: of those alone the answer can have changed. Pure.
use hashbrown::{HashMap, HashSet};
use seam_serving::answer::extract::Wanted;
use seam_shared::event::batch::{EventBatch, Verdict};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use seam_shared::view::value::Value;
use seam_shared::{Error, Kind, Result};

/// Groups that one output can be about.
pub const GROUPS_MAX: usize = 2_000_000;
/// Windows that lie no further apart are looked for in one go.
const NEAR: Span = Span::DAY;

/// The end of the window of that length which holds a moment.
pub fn window_of(time: Timestamp, window: Span) -> Timestamp {
    time.floor(window).plus(window)
}

/// The rows of a batch that a view counts.
fn counted(view: &View, batch: &EventBatch) -> Vec<usize> {
    let filtered = view.filter.as_ref().map(|filter| filter.filter(batch));
    let counts = |row: &usize| {
        batch.verdicts[*row] == Verdict::Counts && filtered.as_ref().is_none_or(|filtered| filtered[*row])
    };
    (0..batch.len()).filter(counts).collect()
}

/// How many events of a batch a view counts in windows that end at `through` or before.
pub fn late(view: &View, batch: &EventBatch, window: Span, through: Timestamp) -> u64 {
    counted(view, batch).into_iter().filter(|row| window_of(batch.times[*row], window) <= through).count() as u64
}

/// Keys by the end of their window.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    windows: HashMap<Timestamp, HashSet<Vec<Value>>>,
    groups: usize,
}

impl Touched {
    /// Takes in the events of a batch that `view` counts, in windows of a length.
    ///
    /// # Errors
    /// `TooLarge` for more groups than an output can hold.
    pub fn add(&mut self, view: &View, window: Span, batch: &EventBatch) -> Result<()> {
        let mut key: Vec<Value> = Vec::with_capacity(view.dimensions.len());
        for row in counted(view, batch) {
            key.clear();
            key.extend(view.dimensions.iter().map(|dimension| batch.value(dimension.field, row)));
            let keys = self.windows.entry(window_of(batch.times[row], window)).or_default();
            if !keys.contains(&key[..]) {
                keys.insert(key.clone());
                self.groups += 1;
            }
        }
        if self.groups <= GROUPS_MAX {
            return Ok(());
        }
        let message = format!("more than {GROUPS_MAX} groups changed since the last output");
        Err(Error::new(Kind::TooLarge, message))
    }
    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups == 0
    }
}

impl Wanted for Touched {
    fn ranges(&self) -> Vec<(Timestamp, Timestamp)> {
        let mut ends: Vec<Timestamp> = self.windows.keys().copied().collect();
        ends.sort_unstable();
        let mut ranges: Vec<(Timestamp, Timestamp)> = Vec::new();
        for end in ends {
            match ranges.last_mut() {
                Some(last) if end.minus(NEAR) <= last.1 => last.1 = end,
                _ => ranges.push((end.minus(Span(1)), end)),
            }
        }
        ranges
    }
    fn window(&self, end: Timestamp) -> bool {
        self.windows.contains_key(&end)
    }
    fn key(&self, end: Timestamp, key: &[Value]) -> bool {
        self.windows.get(&end).is_some_and(|keys| keys.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use seam_shared::config;
    use seam_shared::event::decode::Decoder;
    use seam_shared::log::{Chunk, Offset};

    use super::*;

    #[test]
    fn what_counts_touches_its_window_and_key() {
        let text = "version: 1\nsources: { s: { fields: { page: string, n: int } } }\nviews: { v: { from: s, where: n > 0, dimensions: \
                    [page], pane: 1m, windows: [1m], measures: { events: count() } } }\n";
        let config = config::load(text, "seam.yaml").unwrap_or_else(|report| panic!("{report}"));
        let view = config.view("v").unwrap();
        let mut chunk = Chunk::at(Offset(0));
        for (i, (time, page, n)) in
            [("00:00:59", "a", 1), ("00:01:00", "a", 1), ("00:01:10", "b", 0), ("00:01:20", "a", 2)].iter().enumerate()
        {
            let event = format!("{{\"time\":\"2026-01-01T{time}Z\",\"page\":\"{page}\",\"n\":{n}}}");
            chunk.push(Offset(i as u64), Timestamp(0), event.as_bytes());
        }
        chunk.push(Offset(9), Timestamp(0), b"no event");
        let batch = Decoder::new(view.source.clone()).decode(&chunk);
        let mut touched = Touched::default();
        touched.add(view, Span::MINUTE, &batch).unwrap();
        let at = |text: &str| Timestamp::parse_rfc3339(&format!("2026-01-01T{text}Z")).unwrap();
        assert_eq!(touched.len(), 2);
        let (a, b) = ([Value::text("a")], [Value::text("b")]);
        assert!(touched.key(at("00:01:00"), &a) && touched.key(at("00:02:00"), &a));
        assert!(!touched.key(at("00:02:00"), &b) && !touched.window(at("00:03:00")));
        assert_eq!(touched.ranges(), [(Timestamp(at("00:01:00").0 - 1), at("00:02:00"))]);
        assert_eq!(late(view, &batch, Span::MINUTE, at("00:01:00")), 1);
        assert_eq!(late(view, &batch, Span::MINUTE, at("00:02:00")), 3);
    }
}
