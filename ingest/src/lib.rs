//! The one door into the log: sources -> validate -> append, or dead-letter with the reason.
//!
//! Bodies and files ([`http`], [`file`]) are cut into raw events ([`formats`]: JSON, NDJSON, CSV, CloudEvents); the [`door`]
//! checks each with the decoder that every layer uses and appends it durably before it answers. What is refused goes to
//! the source's dead letters ([`dead_letters`]), just as durably.
//!
//! Promise: an event that was acknowledged is in the log, and is valid; one that was refused is in the dead letters.
pub mod dead_letters;
pub mod document;
pub mod door;
pub mod file;
pub mod formats;
pub mod http;
pub mod limits;
pub mod own_stream;
pub mod problem;
pub mod raw_event;
mod tap;

pub use document::document;
pub use door::{Door, LineError, Receipt};
pub use http::{Rules, routes};
pub use raw_event::RawEvent;
