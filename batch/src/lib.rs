//! Log -> archive -> recompute -> publish. Comes in: closed segments of the log, and cron. Goes out: generations in the lake.
//!
//! - [`archive`] appends whole closed segments of the log to the archive.
//! - [`plan`] turns a view into a Polars plan whose result equals the speed fold's bit for bit; [`compute`] runs it slice by slice.
//! - [`job`] is one run with an [`outcome`] for each view: which days, then [`audit`] and [`publish`]; [`lease`] keeps two runs apart, [`retain`] cleans up.
//! - [`rollback`] goes back to an earlier generation.
//! - [`schedule`] is cron inside `seam up` and `seam batch`; [`status`], [`runs`] and [`verify`] tell people how things stand.

// from the log to archive files
pub mod archive;

// from archive files to rows
pub mod compute;
pub mod plan;

// from rows to a generation
pub mod audit;
pub mod job;
pub mod lease;
pub mod outcome;
pub mod publish;
pub mod retain;
pub mod rollback;
pub mod schedule;

// for people
pub mod runs;
pub mod status;
pub mod verify;
