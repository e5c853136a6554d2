//! Decoded events in columns, as the speed fold and the archive take them.
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

/// A typed column with one entry a record; what an invalid entry holds is meaningless.
#[derive(Debug, Clone)]
pub enum Column {
    /// Text, dictionary-coded: code 0 is null, code `c` is `Strings::get(c)`.
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
    pub ids: Vec<Option<Box<str>>>,
    /// The source's fields in order.
    pub columns: Vec<Column>,
    /// For each text field, its dictionary: entry 0 is `Null`. Shared by all batches of one decoder until it is reset.
    pub dictionaries: Vec<Vec<Value>>,
}
