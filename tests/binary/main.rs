//! Promises of the built program, seen from outside: real processes, real files, real HTTP, kill -9.
mod access;
mod alerts;
mod api;
mod browser;
mod browsers;
mod chaos;
mod cluster;
mod commands;
mod doctor;
mod fleet;
mod flights;
mod grafana;
mod keyed;
mod life;
mod page;
mod prometheus;
mod recommend;
mod server;
mod sinks;
#[cfg(feature = "sql")]
mod sql;
