//! Offsets, positions and offset vectors: where in the log something is, and how far an answer reaches.
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in one partition of the log. As a *position* it is the next offset to read, never "last + 1":
/// offsets may have gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one source's topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition {
    /// The source's name, which is also the topic's.
    pub source: String,
    /// The partition's number, from 0.
    pub number: u32,
}

impl Partition {
    /// Partition `number` of `source`.
    pub fn new(source: impl Into<String>, number: u32) -> Self {
        Self { source: source.into(), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.number)
    }
}

/// Positions by partition number, of one source. A partition that is absent stands at offset 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OffsetVector(pub BTreeMap<u32, Offset>);

impl OffsetVector {
    /// The position in partition `number`.
    pub fn get(&self, number: u32) -> Offset {
        self.0.get(&number).copied().unwrap_or_default()
    }
    /// Sets the position in partition `number`.
    pub fn set(&mut self, number: u32, position: Offset) {
        self.0.insert(number, position);
    }
    /// The larger position in each partition.
    #[must_use]
    pub fn join(&self, other: &OffsetVector) -> OffsetVector {
        let mut out = self.clone();
        for (&number, &position) in &other.0 {
            out.set(number, out.get(number).max(position));
        }
        out
    }
    /// Whether this vector reaches `other` in every partition.
    pub fn covers(&self, other: &OffsetVector) -> bool {
        other.0.iter().all(|(&number, &position)| self.get(number) >= position)
    }
    /// `clicks/0@1234567,clicks/1@998`, the spelling of the HTTP API.
    pub fn to_text(&self, source: &str) -> String {
        let parts: Vec<String> = self.0.iter().map(|(n, o)| format!("{source}/{n}@{o}")).collect();
        parts.join(",")
    }
    /// Reads [`OffsetVector::to_text`] back: the positions by source.
    pub fn parse_text(text: &str) -> Result<BTreeMap<String, OffsetVector>, String> {
        let mut out: BTreeMap<String, OffsetVector> = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let bad = || format!("`{part}` is no position; write it like clicks/0@1234567");
            let (place, offset) = part.rsplit_once('@').ok_or_else(bad)?;
            let (source, number) = place.rsplit_once('/').ok_or_else(bad)?;
            let number = number.parse().map_err(|_| bad())?;
            let offset = Offset(offset.parse().map_err(|_| bad())?);
            out.entry(source.to_owned()).or_default().set(number, offset);
        }
        Ok(out)
    }
}
