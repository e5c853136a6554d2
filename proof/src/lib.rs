//! Proof that the layers agree: the real layers over ports in memory, the seam cut at every place, the plain oracle beside them.
//!
//! `seam test` runs it on a user's own views: their `tests:` ([`expected`]), and random streams ([`random`]). The project's own
//! promises use the same pipeline and the same hostile events.
pub mod dice;
pub mod hostile;
pub mod pipeline;

pub mod trial;

pub mod expected;
pub mod random;
