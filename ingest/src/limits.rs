//! Every limit of ingestion: one number each, refused beyond it.

/// A compressed body as it comes over the wire.
pub const COMPRESSED_BYTES: usize = 8 << 20;
/// A body that is not compressed, or after it was unpacked.
pub const BODY_BYTES: usize = 64 << 20;
/// One event.
pub const EVENT_BYTES: usize = 1 << 20;
/// One row of a CSV file.
pub const ROW_BYTES: usize = 4 << 20;
/// Bytes of all bodies that are held at one moment; beyond it the answer is 503.
pub const BODIES_BYTES: usize = 256 << 20;
/// Lines named in one answer; the count of refused events is always whole.
pub const ERRORS_NAMED: usize = 100;
/// What the dead letters keep of an event that is too large.
pub const DEAD_LETTER_BYTES: usize = 64 << 10;
