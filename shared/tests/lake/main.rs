//! Promises of the lake: one of two writers wins, nothing is lost or doubled, damage is named, the same rows are the same bytes.
mod damage;
mod racing;
mod readers;
mod rows;
mod samples;
