//! Promises of the built program, seen from outside: real processes, real files, real HTTP, kill -9.
mod access;
mod api;
mod browser;
mod chaos;
mod cluster;
mod commands;
mod doctor;
mod fleet;
mod flights;
mod grafana;
mod life;
mod page;
mod server;
#[cfg(feature = "sql")]
mod sql;
