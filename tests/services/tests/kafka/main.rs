//! The log on a real Kafka broker.
mod contract;
mod faults;
mod groups;
mod topics;
mod transactions;
mod world;
