//! One event as it came in, before anything was checked.
use bytes::Bytes;

/// One event of a body or file, not yet checked.
#[derive(Debug, Clone)]
pub struct RawEvent {
    /// Where it stood: the line (files, NDJSON, CSV) or the place in the array, from 1.
    pub line: u64,
    /// The event as flat JSON; as it came in if it is refused already.
    pub value: Bytes,
    /// Why it cannot even be checked, e.g. a CSV row with too many cells.
    pub refused: Option<String>,
}

impl RawEvent {
    /// An event to check.
    pub fn new(line: u64, value: impl Into<Bytes>) -> Self {
        Self { line, value: value.into(), refused: None }
    }
    /// Bytes that are no event, and why.
    pub fn refused(line: u64, value: impl Into<Bytes>, reason: impl Into<String>) -> Self {
        Self { line, value: value.into(), refused: Some(reason.into()) }
    }
}
