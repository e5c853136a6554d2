//! Decoded events in columns, as the speed fold and the archive take them.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::log::Offset;
use crate::time::Timestamp;
use crate::view::value::Value;

/// What becomes of a record. Decided from the log's bytes alone, so that every layer agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Counts,
    /// Its id was seen within the horizon: the earlier record counts.
    Duplicate,
    /// It is no valid event of its source.
    Invalid,
}

/// How many records of a log, from its beginning up to some offset, count nowhere. A function of the log, as the verdicts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Excluded {
    /// No valid events of their source.
    pub invalid: u64,
    /// Events whose id was seen within the horizon.
    pub duplicates: u64,
}

impl Excluded {
    /// Takes in one more record.
    pub fn note(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Counts => {}
            Verdict::Duplicate => self.duplicates += 1,
            Verdict::Invalid => self.invalid += 1,
        }
    }
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Excluded) -> Excluded {
        Excluded { invalid: self.invalid + other.invalid, duplicates: self.duplicates + other.duplicates }
    }
}

/// A typed column with one entry a record; what an invalid entry holds is meaningless.
#[derive(Debug, Clone)]
pub enum Column {
    /// Text, dictionary-coded: code 0 is null, code `c` is `dictionaries[field][c]`.
    Str(Vec<u32>),
    /// true and false, and whether there is one.
    Bool(Vec<bool>, Vec<bool>),
    /// Integers, and whether there is one.
    Int(Vec<i64>, Vec<bool>),
    /// Scaled integers, whether there is one, and the scale.
    Decimal(Vec<i128>, Vec<bool>, u8),
    /// Doubles, and whether there is one.
    Float(Vec<f64>, Vec<bool>),
}

/// The ids of a run of records, in one allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    text: String,
    /// Where each id ends in `text`, and whether there is one.
    ends: Vec<(usize, bool)>,
}

impl Ids {
    /// Adds the next record's id; an empty one is none.
    pub fn push(&mut self, id: Option<&str>) {
        let id = id.unwrap_or_default();
        self.text.push_str(id);
        self.ends.push((self.text.len(), !id.is_empty()));
    }
    /// The id of record `i`.
    pub fn get(&self, i: usize) -> Option<&str> {
        let (end, present) = self.ends[i];
        let start = if i == 0 { 0 } else { self.ends[i - 1].0 };
        present.then(|| &self.text[start..end])
    }
    /// How many records there are, with or without an id.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// The ids in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.len()).map(|i| self.get(i))
    }
}

/// A run of decoded records in log order.
#[derive(Debug, Clone, Default)]
pub struct EventBatch {
    /// Their offsets.
    pub offsets: Vec<Offset>,
    /// When the log received them.
    pub log_times: Vec<Timestamp>,
    /// What becomes of them.
    pub verdicts: Vec<Verdict>,
    /// Event times; meaningless for invalid records.
    pub times: Vec<Timestamp>,
    /// The id of each record that has one (valid or not), for the archive.
    pub ids: Ids,
    /// The source's fields in order.
    pub columns: Vec<Column>,
    /// One for each of the source's fields, in order: entry 0 is `Null`, the others `Str`; empty unless the field is text.
    /// Shared by all batches of one decoder until it is reset (codes keep their meaning), and free to clone.
    pub dictionaries: Vec<Arc<Vec<Value>>>,
}

impl EventBatch {
    /// How many records there are, valid or not.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
    /// Field `field` of record `row`; meaningless for invalid records.
    pub fn value(&self, field: usize, row: usize) -> Value {
        match &self.columns[field] {
            Column::Str(codes) => self.dictionaries[field][codes[row] as usize].clone(),
            Column::Bool(values, present) if present[row] => Value::Bool(values[row]),
            Column::Int(values, present) if present[row] => Value::Int(values[row]),
            Column::Decimal(values, present, scale) if present[row] => Value::Decimal(values[row], *scale),
            Column::Float(values, present) if present[row] => Value::Float(values[row]),
            _ => Value::Null,
        }
    }
}
