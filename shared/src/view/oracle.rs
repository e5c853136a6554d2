//! The plain oracle: keep every event, recompute from scratch. Every layer is tested against it.
