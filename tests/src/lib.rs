//! The harness
