//! Promises of the built program, seen from outside: real processes, real files, real HTTP, kill -9.
mod access;
mod api;
mod cluster;
mod commands;
mod doctor;
mod flights;
mod server;
#[cfg(feature = "sql")]
mod sql;
