//! The log on a real Kafka broker.
mod contract;
mod faults;
mod groups;
mod outlets;
mod prefix;
mod topics;
mod transactions;
mod world;
