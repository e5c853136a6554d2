//! Sinks over the real speed layer, serving and outlets in memory.
mod exactly;
mod golden;
mod world;
