//! The lake: where Parquet lives, over `Arc<dyn ObjectStore>`, and the Delta log that says which files count.
//!
//! - [`store`] opens the object store; local files are written durably. [`upload`] writes one object, [`probe`] tries a store out.
//! - [`delta`] is the commit log of one table: create-only numbered JSON that every Delta reader understands.
//! - [`archive`] is the table of all events of a source, [`views`] the table of a view's generations.
//! - [`editions`] is the register of the definitions that ever ran over the lake.
//! - [`archive_file`] and [`view_file`] are their Parquet files; [`verified`] reads a file only if it is what was written,
//!   [`sealed`] only the parts of it that are used.
//! - [`roll_up`] makes and reads the coarser files beside a view's.
//! - [`faulty`] is an object store that fails on purpose, [`counting`] one that counts what is read, for tests and the simulator.

// where the bytes are
pub mod probe;
pub mod store;
pub mod upload;

// the commit log
pub mod delta;

// the two tables, and what they are made by
pub mod archive;
pub mod editions;
pub mod views;

// their files
pub mod archive_file;
pub mod parquet_file;
pub mod roll_up;
pub mod sealed;
pub mod verified;
pub mod view_file;

// for tests
pub mod counting;
pub mod faulty;
