//! The state store on real Redis servers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod contracts;
mod losses;
mod servers;
mod world;
mod writes;
mod zombies;
