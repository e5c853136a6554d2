//! The harness of the promises: seeded chance, hostile events and views, a pipeline of the real layers, and a simulator.
//!
//! The simulator drives the real code of all layers in one thread. A [`world`] is a log, a state store and a lake, each behind
//! a wrapper of [`fault`], and actors of every role whose futures are polled one by one in an order that the seed decides: they
//! crash, meet, and stop half-way anywhere. Every answer must equal the plain oracle at the answer's own stamp. A [`mutant`]
//! is a naive design that it must find.
pub mod dice;
pub mod hostile;
pub mod pipeline;

// the simulator
pub mod fault;
pub mod generate;
pub mod mutant;
pub mod reader;
pub mod recompute;
pub mod world;
