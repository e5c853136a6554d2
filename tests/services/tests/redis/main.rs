//! The state store on real Redis servers.
mod contracts;
mod losses;
mod world;
mod zombies;
