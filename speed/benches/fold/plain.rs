//! The yardstick: one thread, typed parse, one hash map a view. Same panes and keys as ours, far fewer promises.
use std::io::BufRead;

use hashbrown::HashMap;

#[derive(serde::Deserialize)]
struct Event<'a> {
    event_type: &'a str,
    ts: i64,
    region: &'a str,
    product: &'a str,
    user_id: u32,
    value: f64,
}

#[derive(Default)]
struct Codes(HashMap<String, u32>);

impl Codes {
    fn of(&mut self, text: &str) -> u64 {
        if let Some(&code) = self.0.get(text) {
            return u64::from(code);
        }
        let code = u32::try_from(self.0.len()).expect("few texts");
        self.0.insert(text.to_owned(), code);
        u64::from(code)
    }
}

struct Stats {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

/// Aggregates by minute, type and region, and product for `fine` of the views. Answers with the events taken.
pub fn run(mut lines: impl BufRead, fine: usize, coarse: usize) -> u64 {
    let (mut types, mut regions, mut products) = (Codes::default(), Codes::default(), Codes::default());
    let mut views: Vec<HashMap<(i64, u64), Stats>> = (0..fine + coarse).map(|_| HashMap::new()).collect();
    let (mut events, mut users, mut held) = (0u64, 0u64, 0usize);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).expect("the events can be read") > 0 {
        let event: Event = serde_json::from_slice(&line).expect("the generator writes valid events");
        let minute = event.ts.div_euclid(60_000);
        let coarse_key = types.of(event.event_type) << 40 | regions.of(event.region) << 20;
        let fine_key = coarse_key | products.of(event.product);
        for (view, groups) in views.iter_mut().enumerate() {
            let key = if view < fine { fine_key } else { coarse_key };
            let empty = Stats { count: 0, sum: 0.0, min: f64::MAX, max: f64::MIN };
            let stats = groups.entry((minute, key)).or_insert(empty);
            stats.count += 1;
            stats.sum += event.value;
            stats.min = stats.min.min(event.value);
            stats.max = stats.max.max(event.value);
        }
        users = users.wrapping_add(u64::from(event.user_id));
        events += 1;
        // Windows fire and are forgotten; without that the maps outgrow every cache. As often as our segments end.
        if events.is_multiple_of(65_536) {
            held += views.iter().map(HashMap::len).sum::<usize>();
            views.iter_mut().for_each(HashMap::clear);
        }
        line.clear();
    }
    std::hint::black_box((held, users));
    events
}
