//! Seeded shop events for benches and tests: the same seed and count give the same events on every machine.
//!
//! Event `i` of `n` arrives at `START + i * 24 h / n`. 98 % carry an event time up to 2 s before their arrival, 2 % are late by
//! 1 to 60 minutes. Types are skewed (70/20/6/3/1 %), regions (20) and products (1,000) follow Zipf laws, values are cents.
mod dice;
pub mod meter;

use std::io::Write;

pub use dice::Dice;

/// 2026-06-01T00:00:00Z in milliseconds.
pub const START: i64 = 1_780_272_000_000;
const DAY: i64 = 86_400_000;
/// The five event types.
pub const TYPES: [&str; 5] = ["view", "click", "cart", "purchase", "share"];
/// The twenty regions.
pub const REGIONS: [&str; 20] = [
    "us-east",
    "us-west",
    "eu-west",
    "eu-central",
    "cn-north",
    "cn-east",
    "jp",
    "kr",
    "in",
    "br",
    "uk",
    "fr",
    "au",
    "ca",
    "mx",
    "sg",
    "za",
    "ae",
    "id",
    "tr",
];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0",
    "Mozilla/5.0 (iPhone; CPU OS 17_5) Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0) Firefox/127.0",
    "okhttp/4.12.0 Android/14",
];

/// One event as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: u64,
    /// Its event time in milliseconds.
    pub time: i64,
    /// The index of its type in [`TYPES`].
    pub kind: usize,
    /// The index of its region in [`REGIONS`].
    pub region: usize,
    /// Its product's number, below 1,000.
    pub product: usize,
    /// Its user's number, below 1,000,000.
    pub user: usize,
    /// Its value in cents.
    pub cents: u32,
}

/// The events of a seed, in order of arrival.
#[derive(Debug)]
pub struct Generator {
    state: u64,
    next: u64,
    count: u64,
    regions: Vec<f64>,
    products: Vec<f64>,
    users: Vec<f64>,
}

fn zipf(n: usize, exponent: f64) -> Vec<f64> {
    let mut total = 0.0;
    let mut cumulative: Vec<f64> = (1..=n)
        .map(|rank| {
            total += 1.0 / (rank as f64).powf(exponent);
            total
        })
        .collect();
    cumulative.iter_mut().for_each(|c| *c /= total);
    cumulative
}

fn pick(cumulative: &[f64], uniform: f64) -> usize {
    cumulative.partition_point(|&c| c < uniform).min(cumulative.len() - 1)
}

impl Generator {
    /// The `count` events of `seed`.
    pub fn new(seed: u64, count: u64) -> Self {
        let (regions, products, users) = (zipf(20, 0.7), zipf(1000, 0.9), zipf(1_000_000, 1.0));
        Self { state: seed, next: 0, count, regions, products, users }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.next == self.count {
            return None;
        }
        let arrival = START + (i128::from(self.next) * i128::from(DAY) / i128::from(self.count)) as i64;
        self.next += 1;
        let late = self.uniform() < 0.02;
        let delay = self.uniform();
        let time = arrival - if late { 60_000 + (delay * 3_540_000.0) as i64 } else { (delay * 2000.0) as i64 };
        let kind = pick(&[0.70, 0.90, 0.96, 0.99, 1.0], self.uniform());
        let (r, p, u) = (self.uniform(), self.uniform(), self.uniform());
        let cents = 1 + (self.uniform() * self.uniform() * 20_000.0) as u32;
        Some(Event {
            id: self.bits(),
            time,
            kind,
            region: pick(&self.regions, r),
            product: pick(&self.products, p),
            user: pick(&self.users, u),
            cents,
        })
    }
}

impl Event {
    /// Appends the event as one line of JSON, about 237 bytes.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let (whole, cents) = (self.cents / 100, self.cents % 100);
        let session = self.id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        writeln!(
            out,
            "{{\"event_id\":\"{:016x}\",\"event_type\":\"{}\",\"ts\":{},\"region\":\"{}\",\"product\":\"p{:04}\",\"user_id\":{},\
             \"value\":{whole}.{cents:02},\"session\":\"s{session:012x}\",\"page\":\"/shop/p{:04}?ref=home\",\"ua\":\"{}\"}}",
            self.id,
            TYPES[self.kind],
            self.time,
            REGIONS[self.region],
            self.product,
            self.user,
            self.product,
            AGENTS[(self.id & 3) as usize],
        )
        .expect("writing to memory cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_events() {
        let events: Vec<Event> = Generator::new(7, 1000).collect();
        assert_eq!(events, Generator::new(7, 1000).collect::<Vec<_>>());
        assert_ne!(events, Generator::new(8, 1000).collect::<Vec<_>>());
        let mut line = Vec::new();
        events[0].write_json(&mut line);
        assert!((220..250).contains(&line.len()) && line.ends_with(b"}\n"));
    }
}
