//! Promises of the built program, seen from outside: real processes, real files, real HTTP, kill -9.
mod access;
mod api;
mod browser;
mod cluster;
mod commands;
mod doctor;
mod flights;
mod page;
mod server;
