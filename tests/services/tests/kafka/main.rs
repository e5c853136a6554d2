//! The log on a real Kafka broker.
mod brokers;
mod contract;
mod faults;
mod groups;
mod outlets;
mod prefix;
mod silence;
mod tls;
mod topics;
mod transactions;
mod world;
