//! The samples of a `/metrics` page, as far as `seam top` needs them.
use std::collections::BTreeMap;

/// Labels in order, and the value.
type Series = BTreeMap<BTreeMap<String, String>, f64>;

/// Samples by metric; those of several processes added up.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<String, Series>);

impl Samples {
    /// Adds a page.
    pub fn add(&mut self, page: &str) {
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, labels, value)) = sample(line) else { continue };
            *self.0.entry(name.to_owned()).or_default().entry(labels).or_default() += value;
        }
    }
    /// The sums of a metric by the value of one label.
    pub fn by(&self, metric: &str, label: &str) -> BTreeMap<String, f64> {
        let mut out = BTreeMap::new();
        for (labels, value) in self.series(metric) {
            if let Some(name) = labels.get(label) {
                *out.entry(name.clone()).or_default() += value;
            }
        }
        out
    }
    /// The values of a metric by `source/partition`.
    pub fn by_partition(&self, metric: &str) -> BTreeMap<String, f64> {
        let place =
            |labels: &BTreeMap<String, String>| Some(format!("{}/{}", labels.get("source")?, labels.get("partition")?));
        self.series(metric).filter_map(|(labels, value)| Some((place(labels)?, *value))).collect()
    }
    /// The sum of a metric.
    pub fn sum(&self, metric: &str) -> f64 {
        self.series(metric).map(|(_, value)| value).sum()
    }

    fn series(&self, metric: &str) -> impl Iterator<Item = (&BTreeMap<String, String>, &f64)> {
        self.0.get(&format!("data_pipeline_{metric}")).into_iter().flatten()
    }
}

/// A line's name, labels and value.
fn sample(line: &str) -> Option<(&str, BTreeMap<String, String>, f64)> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    if let Some(mut inside) = rest.strip_prefix('{') {
        while !inside.starts_with('}') {
            let (label, after) = inside.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.trim_start_matches(',').to_owned(), value);
            inside = after;
        }
        rest = &inside[1..];
    }
    Some((name, labels, rest.split_whitespace().next()?.parse().ok()?))
}

/// A label's value up to the quote that ends it, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((out, &text[at + 1..])),
            (_, '\\') => match characters.next()?.1 {
                'n' => out.push('\n'),
                other => out.push(other),
            },
            (_, other) => out.push(other),
        }
    }
}
