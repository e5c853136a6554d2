//! Two sets of numbers compared, group by group and bucket by bucket; and how that is printed.
use std::collections::{BTreeMap, BTreeSet};

use seam_shared::view::definition::View;
use seam_shared::view::value::parse_decimal;
use seam_shared::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use crate::args::{Diff, Output};
use crate::table::{csv, table};

/// Digits after the point up to which a difference is exact.
const DIGITS: u8 = 12;

/// A bucket's time and the values of its group, in the order of the dimensions.
pub type Key = Vec<String>;
/// The values of a group by measure, as they are written.
pub type Values = BTreeMap<String, String>;
/// The numbers of one definition.
pub type Numbers = BTreeMap<Key, Values>;

/// The points of an answer.
#[derive(Deserialize)]
pub struct Points {
    points: Vec<BTreeMap<String, Box<RawValue>>>,
}

/// One of them.
pub struct Point {
    /// Which bucket and group.
    pub key: Key,
    /// The value, as it is written.
    pub value: String,
}

impl Points {
    /// Each point's key and value.
    pub fn split(self, dimensions: &[String]) -> impl Iterator<Item = Point> {
        let plain = |text: &RawValue| match serde_json::from_str(text.get()) {
            Ok(Json::String(text)) => text,
            _ => text.get().to_owned(),
        };
        self.points.into_iter().map(move |point| {
            let member = |name: &str| point.get(name).map(|text| plain(text)).unwrap_or_default();
            let names = std::iter::once("time").chain(dimensions.iter().map(String::as_str));
            Point { key: names.map(member).collect(), value: member("value") }
        })
    }
}

/// What became of a group in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the new definition has it.
    Added,
    /// Only the old one has it.
    Removed,
    /// Both have it, with other numbers.
    Changed,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        }
    }
}

/// One measure of a group that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Under the old definition.
    pub old: Option<String>,
    /// Under the new one.
    pub new: Option<String>,
    /// New less old, where both are numbers.
    pub difference: Option<String>,
}

/// One group in one bucket that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The bucket's time, then the values of the dimensions.
    pub key: Key,
    /// What became of it.
    pub change: Change,
    /// The measures that differ.
    pub measures: BTreeMap<String, Cell>,
}

/// How a view's numbers change.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    view: String,
    /// Why nothing was compared, if nothing was.
    note: Option<String>,
    old: Option<Json>,
    new: Option<Json>,
    /// What both cover.
    cut: String,
    dimensions: Vec<String>,
    /// Measures that the old definition alone has.
    only_old: Vec<String>,
    /// And the new one alone.
    only_new: Vec<String>,
    groups: Vec<Group>,
    unchanged: u64,
}

impl Difference {
    /// Nothing to compare.
    pub fn none(view: &View, why: &str) -> Difference {
        Difference {
            view: view.name.clone(),
            note: Some(why.to_owned()),
            old: None,
            new: None,
            cut: String::new(),
            dimensions: Vec::new(),
            only_old: Vec::new(),
            only_new: Vec::new(),
            groups: Vec::new(),
            unchanged: 0,
        }
    }

    /// Compares two definitions: of each its id, where its numbers are from and its measures.
    pub fn new(
        view: &View,
        sides: [(String, String, Vec<String>); 2],
        cut: String,
        dimensions: Vec<String>,
        (old, new): (Numbers, Numbers),
    ) -> Difference {
        let [(old_id, old_from, old_measures), (new_id, new_from, new_measures)] = sides;
        let only = |a: &[String], b: &[String]| a.iter().filter(|name| !b.contains(name)).cloned().collect();
        let (only_old, only_new) = (only(&old_measures, &new_measures), only(&new_measures, &old_measures));
        let keys: BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
        let all = keys.len() as u64;
        let groups: Vec<Group> = keys.into_iter().filter_map(|key| group(key, old.get(key), new.get(key))).collect();
        Difference {
            view: view.name.clone(),
            note: None,
            old: Some(json!({"id": old_id, "from": old_from})),
            new: Some(json!({"id": new_id, "from": new_from})),
            cut,
            dimensions,
            only_old,
            only_new,
            unchanged: all - groups.len() as u64,
            groups,
        }
    }

    /// Whether anything differs.
    pub fn is_one(&self) -> bool {
        !self.groups.is_empty() || !self.only_old.is_empty() || !self.only_new.is_empty()
    }

    fn count(&self, change: Change) -> usize {
        self.groups.iter().filter(|group| group.change == change).count()
    }

    /// In a line.
    pub fn summary(&self) -> String {
        if let Some(note) = &self.note {
            return format!("{}: {note}", self.view);
        }
        let side = |side: &Option<Json>| {
            let text = |name: &str| side.as_ref().and_then(|side| side[name].as_str()).unwrap_or_default().to_owned();
            format!("{} ({})", text("id"), text("from"))
        };
        let mut line = format!(
            "{}: {} added, {} removed, {} changed, {} unchanged; {} -> {} at {}",
            self.view,
            self.count(Change::Added),
            self.count(Change::Removed),
            self.count(Change::Changed),
            self.unchanged,
            side(&self.old),
            side(&self.new),
            self.cut,
        );
        for (what, names) in [("old", &self.only_old), ("new", &self.only_new)] {
            if !names.is_empty() {
                line.push_str(&format!("; only in the {what} one: {}", names.join(", ")));
            }
        }
        line
    }

    fn names(&self) -> Vec<String> {
        let first = ["view".to_owned(), "time".to_owned()];
        let last = ["change", "measure", "old", "new", "difference"].map(str::to_owned);
        first.into_iter().chain(self.dimensions.iter().cloned()).chain(last).collect()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let rows = self.groups.iter().flat_map(|group| {
            group.measures.iter().map(|(measure, cell)| {
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                let mut row = vec![self.view.clone()];
                row.extend(group.key.iter().cloned());
                row.extend([group.change.word().to_owned(), measure.clone()]);
                row.extend([text(&cell.old), text(&cell.new), text(&cell.difference)]);
                row
            })
        });
        rows.collect()
    }
}

fn group(key: &Key, old: Option<&Values>, new: Option<&Values>) -> Option<Group> {
    let change = match (old, new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Changed,
    };
    let names: BTreeSet<&String> = old.into_iter().chain(new).flat_map(BTreeMap::keys).collect();
    let value = |values: Option<&Values>, name: &String| values.and_then(|values| values.get(name)).cloned();
    let cells = names.into_iter().map(|name| (name.clone(), value(old, name), value(new, name)));
    let differing = cells.filter(|(_, old, new)| !same(old.as_deref(), new.as_deref()));
    let measures: BTreeMap<String, Cell> = differing
        .map(|(name, old, new)| {
            let difference = old.as_deref().zip(new.as_deref()).and_then(|(old, new)| subtracted(old, new));
            (name, Cell { old, new, difference })
        })
        .collect();
    (!measures.is_empty()).then(|| Group { key: key.clone(), change, measures })
}

/// Whether both are the same number, however many digits their types show, or the same text.
fn same(old: Option<&str>, new: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| parse_decimal(text, DIGITS));
    old == new || number(old).zip(number(new)).is_some_and(|(old, new)| old == new)
}

/// New less old: exact for decimals, else as doubles.
fn subtracted(old: &str, new: &str) -> Option<String> {
    if let (Some(old), Some(new)) = (parse_decimal(old, DIGITS), parse_decimal(new, DIGITS)) {
        let unit = 10_u128.pow(u32::from(DIGITS));
        let difference = new.checked_sub(old)?;
        let (sign, size) = (if difference < 0 { "-" } else { "" }, difference.unsigned_abs());
        let text = format!("{sign}{}.{:012}", size / unit, size % unit);
        return Some(text.trim_end_matches('0').trim_end_matches('.').to_owned());
    }
    let (old, new): (f64, f64) = (old.parse().ok()?, new.parse().ok()?);
    Some((new - old).to_string())
}

/// What is printed of all views.
pub fn written(found: &[Difference], command: &Diff) -> Result<String> {
    match command.output {
        Output::Json => {
            serde_json::to_string_pretty(found).map_err(|e| Error::internal("differences as JSON").because(e))
        }
        Output::Csv => {
            let mut parts = Vec::new();
            for difference in found.iter().filter(|difference| !difference.groups.is_empty()) {
                parts.push(csv(&difference.names(), &difference.rows())?);
            }
            Ok(parts.join("\n\n"))
        }
        Output::Table => {
            let mut lines = Vec::new();
            for difference in found {
                let rows = difference.rows();
                let shown = rows.len().min(command.limit);
                if shown > 0 {
                    lines.push(table(&difference.names(), &rows[..shown]));
                }
                if shown < rows.len() {
                    lines.push(format!("… and {} more; --limit shows more of them", rows.len() - shown));
                }
                lines.push(difference.summary());
            }
            Ok(lines.join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn groups_are_added_removed_or_changed_by_exact_differences() {
        let key = vec!["2026-01-01T00:00:00Z".to_owned(), "eu".to_owned()];
        let (old, new) =
            (values(&[("events", "3"), ("price", "12.30")]), values(&[("events", "3"), ("price", "12.10")]));
        let changed = group(&key, Some(&old), Some(&new)).unwrap();
        assert_eq!((changed.change, changed.measures.len()), (Change::Changed, 1));
        assert_eq!(changed.measures["price"].difference.as_deref(), Some("-0.2"));
        let wider = values(&[("events", "3"), ("price", "12.3000")]);
        assert_eq!(group(&key, Some(&old), Some(&wider)), None, "the same numbers");
        assert_eq!(group(&key, None, Some(&new)).unwrap().change, Change::Added);
        let removed = group(&key, Some(&old), None).unwrap();
        assert_eq!((removed.change, removed.measures.len()), (Change::Removed, 2));
        assert_eq!(removed.measures["events"].difference, None);
        assert_eq!(subtracted("1e300", "2e300").unwrap(), (2e300 - 1e300_f64).to_string());
        assert_eq!(subtracted("7", "10").as_deref(), Some("3"));
        assert_eq!(subtracted("eu", "us"), None);
    }
}
